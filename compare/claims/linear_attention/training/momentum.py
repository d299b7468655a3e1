"""Descent with momentum, which follows the same flow faster."""

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import GradientDescent, initial_weights, train
from .....theory import time_course
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import converges_at_order
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.experiments import FOUR, SEPARATE

RATES = (0.002, 0.001, 0.0005, 0.00025)
MOMENTA = (0.9, 0.5)
FLOW_TIME = 20.0
"""Flow time of each descent: three of four heads have learned their directions by then."""
AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])

PLAIN_TIME = "2η for 2η/(1 − β)"
SQUARED = "1 − β² for 1 − β"


def _steps(rate: float, momentum: float) -> int:
    """Steps of this rate to the flow time 2η/(1 − β)·step."""
    return round(FLOW_TIME * (1 - momentum) / (2 * rate))


def _descents(context: RunContext) -> list[FloatArray]:
    """Losses of descent from aligned heads for each rate, both momenta one after the other."""
    source = population_statistics(FOUR, SEPARATE)
    start = initial_weights(SEPARATE, FOUR, AMPLITUDES, scheme="aligned")
    losses = []
    for rate in RATES:
        runs = [
            train(
                SEPARATE,
                source,
                start,
                optimizer=GradientDescent(rate, momentum=momentum),
                steps=_steps(rate, momentum),
            )
            for momentum in MOMENTA
        ]
        losses.append(np.concatenate([run.loss for run in runs]))
    return losses


def _flows(context: RunContext, control: str) -> list[FloatArray]:
    """Losses by the closed form at the flow times of the steps."""
    losses = []
    for rate in RATES:
        courses = []
        for momentum in MOMENTA:
            # A gradient adds to this and all later steps: Σ βⁿ = 1/(1 − β) of it in all.
            factor = {
                UNMODIFIED: 1 / (1 - momentum),
                PLAIN_TIME: 1.0,
                SQUARED: 1 / (1 - momentum**2),
            }[control]
            t = 2 * rate * factor * np.arange(_steps(rate, momentum))
            courses.append(time_course(FOUR, SEPARATE, t, AMPLITUDES).loss)
        losses.append(np.concatenate(courses))
    return losses


CLAIMS = (
    Claim(
        id="momentum.flow_time",
        title="Descent with momentum β follows gradient flow at flow time 2η·step/(1 − β) up to O(η)",
        origin="Qian 1999 for the rescaled time",
        statement=r"\theta_{\mathrm{step}} = \theta\bigl(2\eta\cdot\mathrm{step}/(1-\beta)\bigr) + O(\eta)",
        observable="loss of four aligned heads compared with the closed form, β = 0.9 and 0.5",
        limit="η → 0, error O(η)",
        order=1,
        measure=_descents,
        assumes=POPULATION_MOMENTS,
        predict=_flows,
        judge=converges_at_order(RATES, 1, name="η"),
        controls=(PLAIN_TIME, SQUARED),
        tier="fast",
    ),
)
