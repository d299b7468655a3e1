"""Which plateaus a run of the published separate model rests on."""

import numpy as np
from numpy.typing import NDArray

from .....simulate import Trajectory
from .....theory import fixed_point, population
from ....metrics.curves import exit_times
from ....metrics.plateaus import PlateauMatch, match_plateaus
from ..common.experiments import FOUR, SEPARATE

GREEDY = tuple(tuple(range(1, m + 1)) for m in range(5))
PATIENCE = 10.0
"""Drop times that a plateau must last: a head that drops at T has (1/(T − t))³ of its part at t, in that unit."""


def resting(run: Trajectory) -> NDArray[np.bool_]:
    """Whether the run rests on each greedy plateau m = 0 … 4: for ten times what the drop at its end takes.

    The drop of direction d takes about 1/(b_d m_d^{1/3}) of flow time. Where two heads escape at nearly one time,
    the loss only slows down between them, and there is no plateau to measure.
    """
    moments = population(FOUR, SEPARATE)
    exits = exit_times(run.flow_time, run.loss, moments.greedy_losses)
    durations = np.diff(np.concatenate([[0.0], exits, [run.flow_time[-1]]]))
    drops = 1 / (moments.b * np.cbrt(moments.coefficients))
    return np.asarray(durations > PATIENCE * np.append(drops, drops[-1]))


def resting_landings(run: Trajectory) -> tuple[PlateauMatch, ...]:
    """Where the run lands, at the greedy plateaus on which it rests."""
    points = [fixed_point(FOUR, SEPARATE, subset) for subset in GREEDY]
    rests = resting(run)
    found = match_plateaus(run, SEPARATE, points, float(np.linalg.norm(points[-1].M)))
    return tuple(landing for landing in found if rests[len(landing.point.subset)])
