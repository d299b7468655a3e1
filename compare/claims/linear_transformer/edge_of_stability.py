"""The edge of stability of descent on modes, and where descent goes above it."""

from typing import NamedTuple

import numpy as np

from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import Trajectory, train
from ....task import Task
from ....theory.linear_transformer import largest_step, minimum
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import equal_within
from ...exact_statistics import population_statistics
from .setting import LOSS, STAIRCASE, head_weights, mode_task, one_head

LENGTH = 20
SCALES = (0.7, 1.0, 1.4)
"""Of p, by which q is divided, along the line of minima."""

NUDGE = 1e-12
"""Of random weights beside the minimum, so small that descent is linear."""
PROBES = (0.252, 0.2535, 0.1667)
"""Steps at the three scales at which the steepest direction grows and all others shrink."""
PROBE_STEPS = 260
"""The growing direction is 10⁴ times the nudge then, and the others have shrunk."""
EDGE_BOUND = 1e-6

ABOVE, BELOW = 1.02, 0.98
"""Steps in parts of the edge."""
SLIDE_STEPS = 5_000
MOVED = 1e-3
"""Of the weights: below the edge they move by the nudge alone."""
AT_MINIMUM = 1e-5
"""Of the least loss: on the way the runs are above it by a hundredth or more."""

DECOUPLED = "the decoupled edge"
ONE_POINT = "the edge of one scale for all"
CURVATURE = "1/λ_max for 2/λ_max"
JUST_BELOW = "steps just below the edge"


def _task() -> Task:
    return mode_task(STAIRCASE, LENGTH)


def _minimum(scale: float) -> Weights:
    """The weights of the minimum whose p is this multiple of that where ω s p² = s² q²."""
    least = minimum(_task())
    s = np.array(STAIRCASE)
    p = scale * np.sqrt(least.coefficients * np.sqrt(s))
    return head_weights(_task(), p, least.coefficients / p)


def _nudged(weights: Weights, context: RunContext) -> Weights:
    """Weights with a small random part in p and q."""
    D = len(STAIRCASE)
    generator = np.random.default_rng(context.seeds(1)[0])
    p, q = NUDGE * generator.normal(size=(2, D, D))
    nudge = head_weights(_task(), p, q)
    return {name: values + nudge[name] for name, values in weights.items()}


# The edge


def _descend(weights: Weights, step: float, steps: int, record: int) -> Trajectory:
    """Gradient descent on the exact moments by steps of this flow time; weights are recorded every so many."""
    model = one_head(_task())
    moments = population_statistics(_task(), model)
    return train(
        model, moments, weights, learning_rate=step / 2, steps=steps, record=record
    )


def _measured_edges(context: RunContext) -> list[FloatArray]:
    """2/λ_max at each scale, by the factor with which descent beside the minimum multiplies its steepest direction."""
    edges = []
    for scale, step in zip(SCALES, PROBES, strict=True):
        run = _descend(_nudged(_minimum(scale), context), step, PROBE_STEPS, 1)
        # Differences of successive weights leave the line of minima out, along which nothing moves.
        moves = np.diff(run.weights["value"], axis=0)
        growth = np.linalg.norm(moves[-1]) / np.linalg.norm(moves[-2])
        # |1 − h λ_max| is that factor.
        edges.append(2 * step / (1 + growth))
    return [np.array(edges)]


def _stated_edges(context: RunContext, control: str) -> list[FloatArray]:
    """The largest step at each scale, or a wrong one."""
    scales = np.array(SCALES)
    if control == DECOUPLED:
        return [largest_step(_task(), scales, law="decoupled")]
    if control == ONE_POINT:
        return [np.full(len(scales), largest_step(_task()))]
    factor = 0.5 if control == CURVATURE else 1.0
    return [factor * largest_step(_task(), scales)]


class _Slide(NamedTuple):
    """How far a run moved, how far its last loss is above the least in parts of it, its step, and the edge there."""

    moved: float
    excess: float
    step: float
    edge: float


def _slides(context: RunContext) -> dict[str, list[_Slide]]:
    """Where descent from beside the minimum ends at each scale, with steps above and below the edge."""
    return {
        variant: [_slide(scale, factor, context) for scale in SCALES]
        for variant, factor in ((UNMODIFIED, ABOVE), (JUST_BELOW, BELOW))
    }


def _slide(scale: float, factor: float, context: RunContext) -> _Slide:
    task, start = _task(), _minimum(scale)
    step = factor * float(largest_step(task, scale))
    run = _descend(_nudged(start, context), step, SLIDE_STEPS, SLIDE_STEPS)
    moves = [run.weights[name][-1] - start[name] for name in start]
    p = np.diag(run.weights["value"][-1][0, :, len(STAIRCASE) :])
    start_p = np.diag(start["value"][0, :, len(STAIRCASE) :])
    # The point of the line whose p is nearest.
    last_scale = scale * float(np.exp(np.mean(np.log(p / start_p))))
    return _Slide(
        moved=float(np.sqrt(sum(np.sum(move**2) for move in moves))),
        excess=float(run.loss[-1] / minimum(task).loss - 1),
        step=step,
        edge=float(largest_step(task, last_scale)),
    )


def _slide_to_flatter(variant: str, slides: dict[str, list[_Slide]]) -> Evidence:
    """Whether each run left its point and rests at one whose edge is above its step."""
    runs = slides[variant]
    right = sum(
        run.moved > MOVED and run.excess <= AT_MINIMUM and run.step < run.edge
        for run in runs
    )
    moved = ", ".join(f"{run.moved:.1e}" for run in runs)
    return Evidence(
        agrees=right == len(runs),
        observed=f"{right} of {len(runs)} runs slide to a flatter minimum; they move by {moved}",
        expected="all",
    )


CLAIMS = (
    Claim(
        id="modes.edge",
        title="Descent stays at a minimum for steps below 2/λ_max, which changes along its line of scales",
        paper="mainali2025",
        beyond_paper=True,
        equation="discrete steps",
        origin="derived here",
        statement=r"h < 2 / \lambda_{\max}(H),\quad H = \tfrac12 \nabla^2 L \text{ of all modes together}",
        observable="factor by which descent on the exact moments multiplies its steepest direction, at three scales",
        limit="small distance from the minimum",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_measured_edges,
        predict=_stated_edges,
        judge=equal_within(EDGE_BOUND),
        controls=(DECOUPLED, ONE_POINT, CURVATURE),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.edge_slide",
        title="Descent just above the edge of a minimum slides along its line of scales to a flatter one",
        paper="mainali2025",
        beyond_paper=True,
        equation="discrete steps",
        origin="derived here",
        statement=r"h = 1.02 \cdot 2/\lambda_{\max}(c):\quad c \to c' \text{ with } h < 2/\lambda_{\max}(c')",
        observable="where descent on the exact moments ends from beside a minimum, at three scales",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_slides,
        predict=lambda context, control: control,
        judge=_slide_to_flatter,
        controls=(JUST_BELOW,),
        assumes=LOSS,
        tier="fast",
    ),
)
