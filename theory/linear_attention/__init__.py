"""Linear attention (Zhang et al. 2025, arXiv 2501.16265): the formulas of this model alone."""

from ..two_layer import two_layer_amplitudes
from .conservation_laws import conserved_quantities
from .low_rank import low_rank_amplitudes
from .merged import (
    aligned_amplitudes,
    drop_time,
    half_loss_time,
    matrix_amplitudes,
    unstable_mode_amplitude,
)
from .rank_one import (
    amplitude_from_blow_up,
    blow_up_time,
    rank_one_amplitude,
    rank_one_gap,
    rank_one_time,
)
from .weight_decay import head_roots, largest_decay, merged_map

__all__ = [
    "aligned_amplitudes",
    "amplitude_from_blow_up",
    "blow_up_time",
    "conserved_quantities",
    "drop_time",
    "half_loss_time",
    "head_roots",
    "largest_decay",
    "low_rank_amplitudes",
    "matrix_amplitudes",
    "merged_map",
    "rank_one_amplitude",
    "rank_one_gap",
    "rank_one_time",
    "two_layer_amplitudes",
    "unstable_mode_amplitude",
]
