"""Recorded runs of the published code of Zhang et al. 2025 (arXiv 2501.16265)."""
