"""AdamW, whose decoupled decay is not that of descent."""

import numpy as np

from .....models.attention import Separate
from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import Adam, Schedule, initial_weights, train
from .....theory import fixed_points, population
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.experiments import FOUR

SEPARATE = Separate(heads=4)
DECAY = 0.02
NO_DECAY = "as without decay"
STEPS = 6_000

FALLING = Schedule({0: 0.01, 3_000: 0.01, STEPS: 1e-6})
"""Learning rates that end so small that AdamW, whose steps have their size, comes to rest."""


def _learned(context: RunContext) -> list[FloatArray]:
    """What four aligned heads have learned along their directions after AdamW on unlimited data."""
    source = population_statistics(FOUR, SEPARATE)
    start = initial_weights(SEPARATE, FOUR, np.full(4, 0.9), scheme="aligned")
    optimizer = Adam(FALLING, weight_decay=DECAY)
    run = train(SEPARATE, source, start, optimizer=optimizer, steps=STEPS, record=STEPS)
    e = population(FOUR, SEPARATE).directions
    return [np.diag(e.T @ effective_map(SEPARATE, run.final) @ e)]


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """m_d of the flow under L2 decay, or without it."""
    decay = {UNMODIFIED: DECAY, NO_DECAY: 0.0}[control]
    point = fixed_points(FOUR, SEPARATE, weight_decay=decay)[0]
    assert point.coefficients is not None
    m = np.zeros(FOUR.dimension)
    m[[d - 1 for d in point.subset]] = point.coefficients
    return [m]


CLAIMS = (
    Claim(
        id="refuted.adamw_decay",
        title="AdamW comes to rest where the equations of L2 decay say",
        paper="zhang2025",
        equation="a natural reading outside its hypotheses",
        beyond_paper=True,
        statement=r"b_d v - a_d \lambda_d v^4 = \mathrm{wd}/2,\quad m_d = v^3",
        observable="coefficients of four aligned heads after AdamW on unlimited data, wd = 0.02",
        limit="none",
        expected_level="refuted",
        corrected=(NO_DECAY,),
        measure=_learned,
        assumes=POPULATION_MOMENTS,
        predict=_stated,
        judge=equal_within(1e-3, axes=("direction", "coefficient")),
        hypotheses=("the decay is decoupled from the gradient, which Adam rescales",),
        tier="fast",
    ),
)
