"""Onsets of heads that start from next to nothing, and starts that leave little or nothing to learn."""

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
APART = (Task([0.1], context_length=4), Task([6.0], context_length=4))
"""One direction each: the head ends far above 1, or far below."""
SMALL, LATE, BEYOND = 1e-4, 0.95, 1.1
"""Starts in units of the end: next to nothing, close to it, above it."""
AROUND = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])
"""Times from the onset of the smallest start, in units of the end's rate."""
AFTER = np.array([0.0, 0.5, 1.0, 3.0])

PAIR = Task([1.0, 0.5], context_length=4)
FILLED = Separate(heads=2, rank=2)
STARTS = (0.35, 0.5, 0.6)
"""Amplitudes of a first head, which ends at 0.85: with the last one the loss starts below the middle."""
IDLE = 0.02
GRID = np.concatenate(
    [np.linspace(0.0, 4.0, 401), np.linspace(180.0, 210.0, 301), [400.0]]
)

UNBOUNDED = "as if nothing ever saturated"
FASTER = "twice the rate"
HALVED = "both heads half as large"
ALL_IDLE = "every head idle until its onset"


def _head_flows(context: RunContext) -> list[FloatArray]:
    """v of one head from next to nothing around 1/(α v₀), and near its end; times; its distance to the end at 0."""
    found = []
    for task in APART:
        α, end = _drive_and_end(task)
        around, after = 1 / (α * SMALL * end) + AROUND / (α * end), AFTER / (α * end)
        found += [
            _amplitudes(task, SMALL * end, np.append(0.0, around))[1:],
            _amplitudes(task, LATE * end, after),
            after,
            1 - _amplitudes(task, 0.0, after) / end,
        ]
    return found


def _drive_and_end(task: Task) -> tuple[float, float]:
    """Half the slope of the loss at zero, and where it is least, as the amplitude of one head."""
    source = population_statistics(task, HEAD)
    drive, curvature = float(source.b.ravel()[0]), float(source.S.ravel()[0])
    return drive, float(np.cbrt(drive / curvature))


def _amplitudes(task: Task, start: float, times: FloatArray) -> FloatArray:
    run = flow(
        HEAD,
        population_statistics(task, HEAD),
        separate_head(start, np.array([[start]])),
        times,
    )
    return np.asarray(run.weights["value"][:, 0, -1])


def _stated_heads(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for task in APART:
        moments = population(task, HEAD)
        α, γ = (
            float(moments.b[0]) * (2 if control == FASTER else 1),
            float(1 / moments.coefficients[0]),
        )
        end = γ ** (-1 / 3)
        first = 1 / (float(moments.b[0]) * SMALL * end)
        around, after = first + AROUND * SMALL * first, AFTER * SMALL * first
        onset = (
            1 / (α * LATE * end)
            if control == UNBOUNDED
            else blow_up_time(LATE * end, α, γ)
        )
        found += [
            amplitude_from_blow_up(around, first, α, γ),
            amplitude_from_blow_up(after, onset, α, γ),
            rank_one_time(_amplitudes(task, BEYOND * end, after), BEYOND * end, α, γ),
            rank_one_gap(after, 0.0, α, γ),
        ]
    return found


def _exits(context: RunContext) -> list[FloatArray]:
    """When the loss comes down to the middle of each drop, 0 where it starts below: one of two heads has grown."""
    rests = [
        _losses(*heads)[-1]
        for heads in ((0.0, 0.0), (STARTS[0], 0.0), (STARTS[0], IDLE))
    ]
    middles = (np.array(rests[:-1]) + np.array(rests[1:])) / 2
    found = []
    for start in STARTS:
        losses = _losses(start, IDLE)
        found.append(
            np.where(losses[0] <= middles, 0.0, crossing_times(GRID, losses, middles))
        )
    return found


def _losses(first: float, second: float) -> FloatArray:
    return flow(
        FILLED,
        population_statistics(PAIR, FILLED),
        _two_heads(FILLED, first, second),
        GRID,
        rtol=1e-10,
    ).loss


def _two_heads(model: Separate, *amplitudes: float) -> Weights:
    """Each head on one direction, the pairs that it has left zero."""
    weights = {name: np.zeros(shape) for name, shape in model.shapes(2).items()}
    for head, amplitude in enumerate(amplitudes):
        weights["value"][head, -1] = amplitude
        weights["key"][head, 0, head] = weights["query"][head, 0, head] = amplitude
    return weights


def _stated_exits(context: RunContext, control: str) -> list[FloatArray]:
    if control == ALL_IDLE:
        return [_unsaturated_exits(np.array([start, IDLE])) for start in STARTS]
    task = with_context(PAIR, 5) if control == LONGER_CONTEXT else PAIR
    share = 0.5 if control == HALVED else 1.0
    starts = [_two_heads(FILLED, share * start, share * IDLE) for start in STARTS]
    return [staircase(task, FILLED, start, verify=False).exit_times for start in starts]


def _unsaturated_exits(starts: FloatArray) -> FloatArray:
    """Exits as if a head saw no saturation of its own until it diverges, at 1/(α v₀)."""
    moments = population(PAIR, FILLED)
    middles = np.cbrt(
        (1 - np.sqrt(0.5)) * moments.coefficients
    )  # half of what a direction gains is left there
    return np.asarray(
        1 / (moments.b * starts)
        - blow_up_time(middles, moments.b, 1 / moments.coefficients)
    )


CLAIMS = (
    Claim(
        id="onsets.absolute",
        title="From next to nothing a head comes in at 1/(α v₀), whatever it ends at; at zero it stays",
        paper="zhang2025",
        equation="rank-one heads",
        statement=r"v(t) \to 1/(\alpha (T - t)) \ \text{as}\ t \to -\infty,\quad T = 1/(\alpha v_0) + O(v_0^2)",
        observable="v of one head around its onset, near its end, and from above it; ends at 1.9 and 0.5",
        limit="v₀ → 0, here so small that nothing shows",
        measure=_head_flows,
        assumes=POPULATION_MOMENTS,
        predict=_stated_heads,
        judge=equal_within(1e-6, axes=("time", "amplitude or time")),
        controls=(UNBOUNDED, FASTER),
        tier="fast",
    ),
    Claim(
        id="onsets.past_the_middle",
        title="A plateau is left when the loss passes the middle of the drop, at once where it starts below",
        paper="zhang2025",
        equation="rank-one heads",
        origin="starts that are not small go beyond it",
        statement=r"L(t_m) = (L_m + L_{m+1})/2,\quad t_m = 0 \ \text{if}\ L(0) \ \text{is less}",
        observable="loss along the flow of two heads, one grown to 0.35, 0.5 and 0.6 at the start; rank two",
        limit="second head → 0, here so small that nothing shows",
        measure=_exits,
        assumes=POPULATION_MOMENTS,
        predict=_stated_exits,
        judge=equal_within(1e-4, axes=("plateau", "exit time")),
        controls=(HALVED, ALL_IDLE, LONGER_CONTEXT),
        tier="fast",
    ),
)
