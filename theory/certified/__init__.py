"""Enclosures that hold with certainty: fixed points, closed forms and reduced flows in ball arithmetic.

Nothing here shares a formula with the numerical theory: the equations are stated afresh, in exact rationals and in the
balls of python-flint, an extra: `pip install 'attndyn[certified]'`. A certificate is a theorem about these equations.
That they describe training is what other claims check.
"""

from .balls import NoCertificate
from .closed_forms import (
    aligned_exit_time,
    aligned_loss,
    head_amplitude,
    head_half_loss_time,
    merged_half_loss_time,
)
from .crossings import Crossing, LossTube, drop_time, loss_tube, losses_at
from .enclosures import Enclosure
from .lists_of_points import CertifiedPoint, CertifiedPoints, fixed_point, fixed_points
from .rational_moments import middle_of_drop
from .reduced_flows import (
    ReducedFlow,
    head_flow,
    heads_flow,
    merged_flow,
)

__all__ = [
    "CertifiedPoint",
    "CertifiedPoints",
    "Crossing",
    "Enclosure",
    "LossTube",
    "NoCertificate",
    "ReducedFlow",
    "aligned_exit_time",
    "aligned_loss",
    "drop_time",
    "fixed_point",
    "fixed_points",
    "head_amplitude",
    "head_flow",
    "head_half_loss_time",
    "heads_flow",
    "loss_tube",
    "losses_at",
    "merged_flow",
    "merged_half_loss_time",
    "middle_of_drop",
]
