"""Recorded runs of an independent implementation of the layer of Mainali and Teixeira 2025 (arXiv 2504.12916)."""
