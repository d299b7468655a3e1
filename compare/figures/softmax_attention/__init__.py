"""Figures of He et al. 2025 and Chen et al. 2024."""
