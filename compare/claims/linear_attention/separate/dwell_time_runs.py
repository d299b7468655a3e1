"""How long heads stay between the drops of the flow, from starts of ever smaller scale."""

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import population
from .....theory.linear_attention.saddle_to_saddle.escapes import escape, separate_block
from ....evidence.claim import RunContext
from ....exact_statistics import population_statistics
from ....metrics.curves import crossing_times

THREE_GAINS = Task(eigenvalues=[3, 2, 1.2], context_length=20)
REVERSED_GAINS = Task(
    covariance=np.diag([1, 0.3]),
    teacher_covariance=np.diag([1, 4.5]),
    context_length=10,
)
"""On common eigenvectors, with gains in the reverse order of the growth rates."""

RANK_ONE = Separate(heads=2, rank=1)
RANK_TWO = Separate(heads=2, rank=2)
RANK_THREE = Separate(heads=2, rank=3)
STARTS, POINTS = 3, 900
BEFORE = 60.0
"""How long before the first escape the flow is recorded, in units of its fastest rate."""


def rotated(angle: float) -> Task:
    """`REVERSED_GAINS` with its teachers rotated: Λ and Ω do not commute.

    >>> bool(rotated(0.1).teacher_covariance[0, 1] == 0)
    False
    """
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    return Task(
        covariance=REVERSED_GAINS.covariance,
        teacher_covariance=rotation @ REVERSED_GAINS.teacher_covariance @ rotation.T,
        context_length=10,
    )


def start_at(task: Task, model: Separate, scale: float, seed: int) -> Weights:
    """Random weights on the restricted block: the same directions at every scale."""
    return initial_weights(model, task, scale, seed, "restricted")


def crossings(
    task: Task, model: Separate, start: Weights, times: FloatArray, levels: FloatArray
) -> FloatArray:
    """When the flow of all heads passes the middle between neighbouring levels (n,), (n − 1,) in flow time.

    It is recorded at 0 and at `times` (T,), and between them by the rate dL/dt = −|∂L/∂θ|²/2 at which it falls.
    """
    from scipy.interpolate import CubicHermiteSpline

    run = flow(
        model,
        population_statistics(task, model),
        start,
        np.append(0.0, times),
        rtol=1e-10,
        method="LSODA",
    )

    # Twenty points between neighbouring records, where the cubic of losses and rates is accurate.
    records = np.arange(len(times) + 1)
    fine = np.interp(np.arange(0, len(times), 0.05), records, run.flow_time)
    rates = -(run.gradient_norm**2) / 2
    loss = CubicHermiteSpline(run.flow_time, run.loss, rates)
    middles = (levels[1:] + levels[:-1]) / 2
    return crossing_times(fine, loss(fine), middles)


def dwell_times(
    task: Task,
    model: Separate,
    levels: FloatArray,
    context: RunContext,
    scales: tuple[float, ...],
) -> FloatArray:
    """Flow times between the exits of one head for each scale and start, (K, starts, len(levels) − 2)."""
    B = population(task, model).B
    unit = 1 / float(np.linalg.norm(B, 2))  # the inverse of the fastest rate

    def of_start(scale: float, seed: int) -> FloatArray:
        start = start_at(task, model, scale, seed)
        heads = separate_block(start, model, task.dimension)
        first_escape = escape(heads, B).duration

        # Records begin shortly before the first escape and go on for several times ln(1/scale).
        first = max(first_escape - BEFORE * unit, unit)
        last = first_escape + (BEFORE - 15 * np.log(scale)) * unit
        times = np.linspace(first, last, POINTS)
        return np.diff(crossings(task, model, start, times, levels))

    seeds = context.seeds(STARTS)
    return np.array([[of_start(scale, seed) for seed in seeds] for scale in scales])
