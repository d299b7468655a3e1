"""Which plateaus of a run of the published separate model last long enough to be measured."""

import numpy as np

from .....runtime.arrays import BoolArray
from .....simulate import Trajectory
from .....theory import Population, fixed_point, population
from ....metrics.curves import exit_times
from ....metrics.plateaus import PlateauMatch, match_plateaus
from ..common.experiments import FOUR, SEPARATE

GREEDY = tuple(tuple(range(1, m + 1)) for m in range(5))
PATIENCE = 10.0
"""Drop times that a plateau must last: a head that drops at T has (1/(T − t))³ of its part at t, in that unit."""


def lasting(run: Trajectory, moments: Population) -> BoolArray:
    """Whether each greedy plateau m = 0 … D of a run lasts ten times what the drop at its end takes.

    The drop of direction d takes about 1/(b_d m_d^{1/3}) of flow time. Where two heads escape at nearly one time,
    the loss only slows down between them, and there is no plateau to measure.
    """
    exits = exit_times(run.flow_time, run.loss, moments.greedy_losses)
    ends = np.concatenate([[0.0], exits, [run.flow_time[-1]]])
    durations = np.diff(ends)  # nan from the first exit on that the run has not made
    drops = 1 / (moments.b * np.cbrt(moments.coefficients))
    needed = PATIENCE * np.append(drops, drops[-1])
    lasts: BoolArray = durations > needed
    return lasts


def lasting_plateaus(run: Trajectory) -> tuple[PlateauMatch, ...]:
    """The greedy plateaus of a published run that last, each with its fixed point and the weights there."""
    points = [fixed_point(FOUR, SEPARATE, subset) for subset in GREEDY]
    lasts = lasting(run, population(FOUR, SEPARATE))
    plateaus = match_plateaus(points, run)
    return tuple(match for match in plateaus if lasts[len(match.point.subset)])
