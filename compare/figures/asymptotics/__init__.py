"""Figures of Lu et al. 2025: finite samples, finite task diversity, high dimension."""
