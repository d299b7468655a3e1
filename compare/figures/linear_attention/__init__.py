"""Figures of Zhang et al. 2025."""
