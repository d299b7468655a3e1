"""One layer of linear attention with several outputs: Mainali and Teixeira 2025 (arXiv 2504.12916)."""

from .layer_losses import LayerGradient, layer_loss
from .minima import Minimum, minimum
from .mode_losses import mode_loss
from .mode_points import (
    ModeFixedPoint,
    ModeFixedPoints,
    mode_fixed_point,
    mode_fixed_points,
)

__all__ = [
    "LayerGradient",
    "Minimum",
    "ModeFixedPoint",
    "ModeFixedPoints",
    "layer_loss",
    "minimum",
    "mode_fixed_point",
    "mode_fixed_points",
    "mode_loss",
]
