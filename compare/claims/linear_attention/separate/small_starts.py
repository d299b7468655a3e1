"""Onsets of heads that start from next to nothing, and starts that leave little or nothing to learn."""

from itertools import chain

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow
from .....task import Task
from .....theory import population, staircase
from .....theory.linear_attention.rank_one import (
    amplitude_from_blow_up,
    blow_up_time,
    rank_one_gap,
    rank_one_time,
)
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import crossing_times
from ..common.controls import LONGER_CONTEXT, with_context
from ..common.fixtures import separate_head

HEAD = Separate(heads=1)
ENDS = (Task([0.1], context_length=4), Task([6.0], context_length=4))
"""One direction each: the head ends far above 1, or far below."""
SMALL, LATE, BEYOND = 1e-4, 0.95, 1.1
"""Starts in units of the end: next to nothing, close to it, above it."""
AROUND = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
"""Times from the blow-up of the smallest start, in units of the end's rate."""
AFTER = np.array([0.0, 0.5, 1.0, 3.0])

PAIR = Task([1.0, 0.5], context_length=4)
RANK_TWO = Separate(heads=2, rank=2)
STARTS = (0.35, 0.5, 0.6)
"""Amplitudes of a first head, which ends at 0.85: with the last one the loss starts below the middle."""
SMALL_SECOND = 0.02
GRID = np.concatenate(
    [np.linspace(0.0, 4.0, 401), np.linspace(180.0, 210.0, 301), [400.0]]
)
"""Flow times that are dense around the first drop and around the second."""

UNBOUNDED = "as if nothing saturated"
FASTER = "twice the rate"
HALVED = "both heads half as large"
ALL_SMALL = "every head unsaturated until it blows up"


# One head from a small start, near its end and beyond


def _head_flows(context: RunContext) -> list[FloatArray]:
    """v of one head from next to nothing around 1/(α v₀), and near its end; times; its distance to the end at 0."""
    curves = []
    for task in ENDS:
        α, end = _rate_and_end(task)
        around = (1 / SMALL + AROUND) / (α * end)
        after = AFTER / (α * end)
        from_small = _values(task, SMALL * end, np.append(0.0, around))[1:]
        from_late = _values(task, LATE * end, after)
        from_zero = _values(task, 0.0, after)
        curves += [from_small, from_late, after, 1 - from_zero / end]
    return curves


def _rate_and_end(task: Task) -> tuple[float, float]:
    """Half the slope of the loss at zero, and where it is least, as the amplitude of one head."""
    source = population_statistics(task, HEAD)
    rate, curvature = float(source.b.ravel()[0]), float(source.S.ravel()[0])
    return rate, float(np.cbrt(rate / curvature))


def _values(task: Task, start: float, times: FloatArray) -> FloatArray:
    """v (T,) of one balanced head by the gradient flow."""
    weights = separate_head(start, np.array([[start]]))
    run = flow(HEAD, population_statistics(task, HEAD), weights, times)
    v: FloatArray = run.weights["value"][:, 0, -1]
    return v


def _stated_heads(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the closed form with α = b and γ = 1/m, whose end is γ^{-1/3}."""
    curves = [_stated_head(task, control) for task in ENDS]
    return list(chain.from_iterable(curves))


def _stated_head(task: Task, control: str) -> list[FloatArray]:
    """v around the blow-up and near the end, times from above the end, and the distance to the end at 0."""
    moments = population(task, HEAD)
    true_rate = float(moments.b[0])
    α = 2 * true_rate if control == FASTER else true_rate
    γ = float(1 / moments.coefficients[0])
    end = γ ** (-1 / 3)

    # 1/(α v_end), the time in which the end is reached from half of it.
    unit = 1 / (true_rate * end)
    blow_up_from_small = unit / SMALL
    around = blow_up_from_small + AROUND * unit
    after = AFTER * unit
    blow_up_from_late = _stated_blow_up(LATE * end, α, γ, control)

    # From above the end there is no blow-up: the time at which it has each amplitude.
    beyond = _values(task, BEYOND * end, after)
    return [
        amplitude_from_blow_up(around, blow_up_from_small, α, γ),
        amplitude_from_blow_up(after, blow_up_from_late, α, γ),
        rank_one_time(beyond, BEYOND * end, α, γ),
        rank_one_gap(after, 0.0, α, γ),
    ]


def _stated_blow_up(v: float, α: float, γ: float, control: str) -> float:
    """The time at which a head that starts at v would blow up; 1/(α v) where nothing saturates."""
    if control == UNBOUNDED:
        return 1 / (α * v)
    return float(blow_up_time(v, α, γ))


# When a plateau is left


def _exits(context: RunContext) -> list[FloatArray]:
    """When the loss comes down to the middle of each drop, 0 where it starts below: one of two heads has grown."""
    levels = np.array(
        [
            _losses(0.0, 0.0)[-1],
            _losses(STARTS[0], 0.0)[-1],
            _losses(STARTS[0], SMALL_SECOND)[-1],
        ]
    )
    middles = (levels[:-1] + levels[1:]) / 2

    exits = []
    for start in STARTS:
        losses = _losses(start, SMALL_SECOND)
        times = crossing_times(GRID, losses, middles)
        exits.append(np.where(losses[0] <= middles, 0.0, times))
    return exits


def _losses(first: float, second: float) -> FloatArray:
    """Loss (T,) on the grid from two heads of these amplitudes."""
    source = population_statistics(PAIR, RANK_TWO)
    start = _two_heads(first, second)
    return flow(RANK_TWO, source, start, GRID, rtol=1e-10).loss


def _two_heads(*amplitudes: float) -> Weights:
    """Each head on one direction, its second pair zero."""
    shapes = RANK_TWO.shapes(2)
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    for head, amplitude in enumerate(amplitudes):
        weights["value"][head, -1] = amplitude
        weights["key"][head, 0, head] = amplitude
        weights["query"][head, 0, head] = amplitude
    return weights


def _stated_exits(context: RunContext, control: str) -> list[FloatArray]:
    task = with_context(PAIR, 5) if control == LONGER_CONTEXT else PAIR
    factor = 0.5 if control == HALVED else 1.0
    exits = []
    for start in STARTS:
        if control == ALL_SMALL:
            exits.append(_unsaturated_exits(np.array([start, SMALL_SECOND])))
            continue
        weights = _two_heads(factor * start, factor * SMALL_SECOND)
        steps = staircase(task, RANK_TWO, weights, verify=False)
        exits.append(steps.exit_times)
    return exits


def _unsaturated_exits(starts: FloatArray) -> FloatArray:
    """Exits as if a head saw no saturation of its own until it diverges, at 1/(α v₀)."""
    moments = population(PAIR, RANK_TWO)
    α, γ = moments.b, 1 / moments.coefficients

    # Half of what a direction gains is left where (1 − v³/m)² = ½.
    middles = np.cbrt((1 - np.sqrt(0.5)) * moments.coefficients)
    exits: FloatArray = 1 / (α * starts) - blow_up_time(middles, α, γ)
    return exits


CLAIMS = (
    Claim(
        id="onsets.absolute",
        title="Small heads blow up at T = 1/(α v₀) + O(v₀²), and a head at zero stays there",
        paper="zhang2025",
        equation="rank-one heads",
        statement=r"v(t) \to 1/(\alpha (T - t)) \ \text{as}\ t \to -\infty,\quad T = 1/(\alpha v_0) + O(v_0^2)",
        observable="v of one head around its blow-up, near its end, and from above it; ends at 1.9 and 0.5",
        limit="v₀ → 0, here so small that the error is below 1e-6",
        measure=_head_flows,
        assumes=POPULATION_MOMENTS,
        predict=_stated_heads,
        judge=equal_within(1e-6, axes=("time", "amplitude or time")),
        controls=(UNBOUNDED, FASTER),
        tier="fast",
    ),
    Claim(
        id="onsets.past_the_middle",
        title="Exit times are those at which the loss passes the middle of each drop, 0 where it starts below",
        paper="zhang2025",
        equation="rank-one heads",
        origin="starts that are not small go beyond it",
        statement=r"L(t_m) = (L_m + L_{m+1})/2,\quad t_m = 0 \ \text{if}\ L(0) \ \text{is less}",
        observable="loss along the flow of two heads, one grown to 0.35, 0.5 and 0.6 at the start; rank two",
        limit="second head → 0, here so small that the error is below 1e-4",
        measure=_exits,
        assumes=POPULATION_MOMENTS,
        predict=_stated_exits,
        judge=equal_within(1e-4, axes=("plateau", "exit time")),
        controls=(HALVED, ALL_SMALL, LONGER_CONTEXT),
        tier="fast",
    ),
)
