"""Where merged attention rests: at the saddle M = 0, left at rate ‖B‖, and at the minimum M*."""

from itertools import combinations

import numpy as np

from .....models.attention import Merged, Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, objective
from .....task import Task
from .....theory import fixed_point, population
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_at_order, equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curvature import hessian
from ....metrics.curves import crossing_times
from ..common.controls import MOMENTS, wrong_moments
from ..common.experiments import FOUR, MERGED
from ..fixed_points.search import inside, maps_at_rest

TASKS, STARTS, HEADS = 3, 40, 3
SAME_MAP = 1e-7
"""Largest difference, in any entry, of a map that was found and one that is predicted."""

SCALES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def _task(seed: int) -> Task:
    """Two dimensions, Λ and Ω random and not in one basis, noise."""
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.standard_normal((2, 2)))[0] for _ in range(2)]
    covariance, teachers = (basis * rng.uniform(0.4, 2, 2) @ basis.T for basis in bases)
    return Task(
        covariance=covariance,
        teacher_covariance=teachers,
        noise_variance=0.1,
        context_length=10,
    )


def _found(context: RunContext) -> tuple[list[list[FloatArray]], int]:
    """Maps at which the search for a vanishing gradient ends, a list a task, and how many searches got stuck."""
    tasks = [_task(seed) for seed in context.seeds(TASKS)]
    ends = [
        _search(task, seed)
        for task, seed in zip(tasks, context.seeds(TASKS), strict=True)
    ]
    return ends, len(tasks) * STARTS - sum(map(len, ends))


def _search(task: Task, seed: int) -> list[FloatArray]:
    return maps_at_rest(task, Merged(heads=HEADS), seed, STARTS, smallest=-1.5)


def _points(context: RunContext, control: str) -> list[list[FloatArray]]:
    """The maps at rest that a variant of the theory knows, a list a task."""
    tasks = [_task(seed) for seed in context.seeds(TASKS)]
    if control == "as separate":
        subsets = [subset for size in range(3) for subset in combinations((1, 2), size)]
        return [
            [fixed_point(task, Separate(heads=2), subset).M for subset in subsets]
            for task in tasks
        ]
    moments = [
        wrong_moments(
            task, Merged(heads=HEADS), control if control in MOMENTS else UNMODIFIED
        )
        for task in tasks
    ]
    saddle = [] if control == "the minimum alone" else [np.zeros((2, 2))]
    minima = (
        [] if control == "the saddle alone" else [[each.minimum] for each in moments]
    )
    return [saddle + (minima[k] if minima else []) for k in range(TASKS)]


def _one_for_one(
    predicted: list[list[FloatArray]], observed: tuple[list[list[FloatArray]], int]
) -> Evidence:
    """Every map found is predicted, every predicted one is found, and one search in ten at most gets stuck."""
    found, stuck = observed
    gaps = [
        np.array([[np.max(np.abs(one - other)) for other in known] for one in maps])
        for known, maps in zip(predicted, found, strict=True)
    ]
    nearest = max(float(gap.min(axis=1).max()) for gap in gaps)
    hit = all(np.all(gap.min(axis=0) <= SAME_MAP) for gap in gaps)
    total = sum(map(len, found)) + stuck
    agrees = hit and nearest <= SAME_MAP and 10 * stuck <= total
    shown = f"{total - stuck} of {total} searches at rest, at most {nearest:.0e} from a predicted map"
    expected = f"each of {len(predicted[0])} maps found, none other"
    return Evidence(bool(agrees), shown, expected, residual=nearest)


def _curvatures(context: RunContext) -> list[FloatArray]:
    """Eigenvalues of the Hessian of the simulated loss where all weights are zero, for one to four heads."""
    return [_spectrum(Merged(heads, divisor="none")) for heads in (1, 2, 3, 4)]


def _spectrum(model: Merged) -> FloatArray:
    evaluate, free = (
        objective(model, population_statistics(FOUR, model)),
        inside(model, FOUR.dimension),
    )
    zero = {name: np.zeros(mask.shape) for name, mask in free.items()}
    return np.asarray(np.linalg.eigvalsh(hessian(evaluate, zero, free)))


def _expected_curvatures(context: RunContext, control: str) -> list[FloatArray]:
    """±2‖B‖ a head and zeros, in increasing order."""
    B = population(FOUR, MERGED).B
    size = float(
        np.linalg.norm(B, 2 if control == "largest singular value of B" else "fro")
    )
    size *= 1 if control == "‖B‖ for 2‖B‖" else 2
    pairs = [1 if control == "one way out" else heads for heads in (1, 2, 3, 4)]
    entries = FOUR.dimension**2 + 1
    sides = [
        np.repeat([-size, 0.0, size], [n, heads * entries - 2 * n, n])
        for heads, n in enumerate(pairs, 1)
    ]
    return [np.asarray(side) for side in sides]


def _delays(context: RunContext) -> list[FloatArray]:
    """Flow time by which the drop comes later from a tenth of each scale, a list of (starts,)."""
    middles = np.array(
        [[_middle(seed, scale) for seed in context.seeds(3)] for scale in SCALES]
    )
    return list(np.diff(middles, axis=0))


def _middle(seed: int, scale: float) -> float:
    """Flow time at which the loss is half of what it was."""
    start = initial_weights(MERGED, FOUR, scale, seed, "restricted")
    begin = flow(MERGED, population_statistics(FOUR, MERGED), start, [0.0]).loss[0]
    return crossing(FOUR, MERGED, start, begin / 2, 6.0)


def crossing(
    task: Task, model: Merged, start: Weights, level: float, last: float
) -> float:
    """Flow time before `last` at which the loss on unlimited data first comes down to a level; nan if it does not.

    The flow is followed once coarsely, and once more finely where it crosses, so that interpolation does not show.
    """
    times = np.linspace(0, last, 601)
    found = crossing_times(
        times,
        flow(model, population_statistics(task, model), start, times, rtol=1e-9).loss,
        [level],
    )[0]
    if not np.isfinite(found):
        return float("nan")
    cell = int(np.searchsorted(times, found))
    near = np.union1d(
        0.0, np.linspace(times[max(cell - 2, 0)], times[min(cell + 1, 600)], 301)
    )
    return float(
        crossing_times(
            near,
            flow(model, population_statistics(task, model), start, near).loss,
            [level],
        )[0]
    )


def _expected_delays(context: RunContext, control: str) -> list[FloatArray]:
    B, count = population(FOUR, MERGED).B, len(context.seeds(3))
    size = float(np.linalg.norm(B))
    rates = {"1/(2‖B‖)": 2 * size, "1/λ₁²": float(np.linalg.norm(B, 2))}
    delay = np.log(10) / rates.get(control, size)
    growth = 10 if control == "∝ 1/scale" else 1
    return [np.full(count, delay * growth**k) for k in range(len(SCALES) - 1)]


CLAIMS = (
    Claim(
        id="saddle.two_points",
        title="Gradient flow of merged attention rests at M = 0 and at M*, whatever the weights, and nowhere else",
        paper="zhang2025",
        equation="fixed points of merged attention",
        statement=r"\nabla L = 0 \iff M \in \{0,\ A^{-1} B \Lambda^{-1}\}",
        observable="effective maps at which searches for a vanishing gradient end, three heads, three tasks",
        limit="P → ∞, taken exactly",
        measure=_found,
        assumes=POPULATION_MOMENTS,
        predict=_points,
        judge=_one_for_one,
        controls=(*MOMENTS, "as separate", "the minimum alone", "the saddle alone"),
        hypotheses=("any Λ and Ω, D = 2, noise", "restricted block"),
        tier="fast",
    ),
    Claim(
        id="saddle.curvature",
        title="At zero weights the Hessian has one way down a head, all of curvature −2‖B‖, and as many up",
        paper="zhang2025",
        equation="stability of the saddle",
        beyond_paper=True,
        statement=r"\mathrm{spec}\,\nabla^2 L(0) = \{\pm 2\|B\|_F \ (H \text{ times}),\ 0\}",
        observable="eigenvalues of the Hessian of the simulated loss, restricted block, one to four heads",
        limit="P → ∞, taken exactly",
        measure=_curvatures,
        assumes=POPULATION_MOMENTS,
        predict=_expected_curvatures,
        judge=equal_within(1e-8, axes=("number", "eigenvalue")),
        controls=("largest singular value of B", "one way out", "‖B‖ for 2‖B‖"),
        tier="fast",
    ),
    Claim(
        id="saddle.delay",
        title="A start ten times smaller delays the drop by ln(10)/‖B‖, whichever start it is",
        paper="zhang2025",
        equation="duration of the plateau of merged attention",
        statement=r"t_{1/2}(w/10) - t_{1/2}(w) = \ln(10)/\|B\|_F + O(w)",
        observable="flow time at which the loss is halved, three random starts at scales 1e-2, 1e-3 … 1e-6",
        limit="initial scale → 0, error O(scale)",
        order=1,
        measure=_delays,
        assumes=POPULATION_MOMENTS,
        predict=_expected_delays,
        judge=converges_at_order(SCALES[:-1], 1, name="scale", floor=1e-8),
        controls=("1/(2‖B‖)", "1/λ₁²", "∝ 1/scale"),
        hypotheses=("restricted block, unlimited data",),
    ),
)
