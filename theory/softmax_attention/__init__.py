"""Softmax attention with several heads: He et al. 2025 (arXiv 2503.12734), Chen et al. 2024 (arXiv 2402.19442).

The heads of its symmetric family are B_h = (ω_h 1; 0), a_h = (0, μ_h): two numbers each.
"""

from .approximate_losses import approximate_loss
from .exact_losses import exact_loss
from .head_scalars import HeadScalars, common_matrix, head_scalars
from .losses_of_heads import ExactLoss, HeadGradient, HeadLoss
from .reduced_flows import ReducedFlow, reduced_flow

__all__ = [
    "ExactLoss",
    "HeadGradient",
    "HeadLoss",
    "HeadScalars",
    "ReducedFlow",
    "approximate_loss",
    "common_matrix",
    "exact_loss",
    "head_scalars",
    "reduced_flow",
]
