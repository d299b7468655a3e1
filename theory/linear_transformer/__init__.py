"""One layer of linear attention with several outputs: Mainali and Teixeira 2025 (arXiv 2504.12916)."""

from .discrete_steps import mode_descent, modified_flow
from .edge_of_stability import largest_step
from .four_blocks import (
    Blocks,
    FourBlockFlow,
    FourBlockMinima,
    four_block_flow,
    four_block_loss,
    four_block_minima,
    held_by_p2,
    null_ratio,
)
from .gradient_noise import sgd_noise
from .kronecker_tasks import (
    KroneckerFlow,
    KroneckerMinimum,
    MergedEquivalent,
    kronecker_flow,
    kronecker_minimum,
    merged_equivalent,
    wiener_filter,
)
from .layer_flows import LayerFlow, layer_flow
from .layer_losses import LayerGradient, layer_loss
from .minima import Minimum, minimum
from .mode_flows import ModeFlow, mode_flow
from .mode_losses import mode_loss
from .mode_points import (
    ModeFixedPoint,
    ModeFixedPoints,
    mode_fixed_point,
    mode_fixed_points,
)
from .random_starts import HalfTimes, half_times
from .sgd_balances import SgdBalance, sgd_balance
from .sgd_floors import SgdFloor, sgd_floor
from .sgd_moments import SgdMoments, sgd_means

__all__ = [
    "Blocks",
    "FourBlockFlow",
    "FourBlockMinima",
    "HalfTimes",
    "KroneckerFlow",
    "KroneckerMinimum",
    "LayerFlow",
    "LayerGradient",
    "MergedEquivalent",
    "Minimum",
    "ModeFixedPoint",
    "ModeFixedPoints",
    "ModeFlow",
    "SgdBalance",
    "SgdFloor",
    "SgdMoments",
    "four_block_flow",
    "four_block_loss",
    "four_block_minima",
    "half_times",
    "held_by_p2",
    "kronecker_flow",
    "kronecker_minimum",
    "largest_step",
    "layer_flow",
    "layer_loss",
    "merged_equivalent",
    "minimum",
    "mode_descent",
    "mode_fixed_point",
    "mode_fixed_points",
    "mode_flow",
    "mode_loss",
    "modified_flow",
    "null_ratio",
    "sgd_balance",
    "sgd_floor",
    "sgd_means",
    "sgd_noise",
    "wiener_filter",
]
