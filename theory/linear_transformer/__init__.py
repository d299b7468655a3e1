"""One layer of linear attention with several outputs: Mainali and Teixeira 2025 (arXiv 2504.12916)."""

from .layer_losses import LayerGradient, layer_loss
from .minima import Minimum, minimum
from .mode_losses import mode_loss

__all__ = ["LayerGradient", "Minimum", "layer_loss", "minimum", "mode_loss"]
