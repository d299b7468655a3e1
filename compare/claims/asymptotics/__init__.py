"""Claims of Lu et al. 2025 (arXiv 2405.11751) on finite samples and finite task diversity."""
