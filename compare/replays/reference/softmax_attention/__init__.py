"""Recorded runs of the published code of He et al. 2025 (arXiv 2503.12734) and Chen et al. 2024 (arXiv 2402.19442)."""
