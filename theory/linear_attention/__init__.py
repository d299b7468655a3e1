"""Theory of multi-head linear attention (Zhang et al. 2025)."""
