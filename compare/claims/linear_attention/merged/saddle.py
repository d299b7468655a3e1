"""Fixed points of merged attention: the saddle M = 0, left at rate ‖B‖, and the minimum M*."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, objective
from .....task import Task
from .....theory import fixed_point, population
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_at_order, equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curvature import hessian
from ....metrics.curves import crossing_times
from ..common.controls import MOMENTS, changed_moments
from ..common.experiments import FOUR, MERGED
from ..fixed_points.search import inside, stationary_maps

TASKS, STARTS, HEADS = 3, 40, 3
SAME_MAP = 1e-7
"""Largest difference, in any entry, of a map that was found and one that is predicted."""

SCALES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


# The only two fixed points


def _task(seed: int) -> Task:
    """Two dimensions, Λ and Ω random and not in one basis, noise."""
    generator = np.random.default_rng(seed)
    bases = [np.linalg.qr(generator.standard_normal((2, 2)))[0] for _ in range(2)]
    matrices = []
    for basis in bases:
        # Eigenvalues far enough from zero that no direction is too slow.
        eigenvalues = generator.uniform(0.4, 2, 2)
        matrices.append(basis * eigenvalues @ basis.T)
    covariance, teachers = matrices
    return Task(
        covariance=covariance,
        teacher_covariance=teachers,
        noise_variance=0.1,
        context_length=10,
    )


class SearchEnds(NamedTuple):
    """Maps at which the searches of each task end, and how many of all searches got stuck."""

    maps: list[list[FloatArray]]
    stuck: int


def _reached_maps(context: RunContext) -> SearchEnds:
    seeds = context.seeds(TASKS)
    maps = [_search(_task(seed), seed) for seed in seeds]
    reached = sum(len(of_task) for of_task in maps)
    return SearchEnds(maps, len(seeds) * STARTS - reached)


def _search(task: Task, seed: int) -> list[FloatArray]:
    return stationary_maps(task, Merged(heads=HEADS), seed, STARTS, smallest=-1.5)


def _points(context: RunContext, control: str) -> list[list[FloatArray]]:
    """The fixed points by a variant of the theory, a list a task."""
    return [_stated_maps(_task(seed), control) for seed in context.seeds(TASKS)]


def _stated_maps(task: Task, control: str) -> list[FloatArray]:
    if control == "as separate":
        subsets = [subset for size in range(3) for subset in combinations((1, 2), size)]
        return [fixed_point(task, Separate(heads=2), S).M for S in subsets]

    saddle = np.zeros((2, 2))
    minimum = changed_moments(task, Merged(heads=HEADS), control).minimum
    if control == "the minimum alone":
        return [minimum]
    if control == "the saddle alone":
        return [saddle]
    return [saddle, minimum]


def _one_for_one(predicted: list[list[FloatArray]], observed: SearchEnds) -> Evidence:
    """Every map found is predicted, every predicted one is found, and one search in ten at most gets stuck."""
    farthest = 0.0  # distance of a reached map to the nearest predicted one
    every_map_reached = True
    for stated, reached in zip(predicted, observed.maps, strict=True):
        distances = np.array(
            [[np.max(np.abs(M - other)) for other in stated] for M in reached]
        )
        farthest = max(farthest, float(distances.min(axis=1).max()))
        every_map_reached &= bool(np.all(distances.min(axis=0) <= SAME_MAP))

    at_rest = sum(len(reached) for reached in observed.maps)
    total = at_rest + observed.stuck
    few_stuck = 10 * observed.stuck <= total
    return Evidence(
        agrees=every_map_reached and farthest <= SAME_MAP and few_stuck,
        observed=f"{at_rest} of {total} searches reach a fixed point, "
        f"at most {farthest:.0e} from a predicted map",
        expected=f"each of {len(predicted[0])} maps found, none other",
        residual=farthest,
    )


# Curvature at the saddle


def _curvatures(context: RunContext) -> list[FloatArray]:
    """Eigenvalues of the Hessian of the simulated loss where all weights are zero, for one to four heads."""
    return [_spectrum(Merged(heads, divisor="none")) for heads in (1, 2, 3, 4)]


def _spectrum(model: Merged) -> FloatArray:
    evaluate = objective(model, population_statistics(FOUR, model))
    free = inside(model, FOUR.dimension)
    zero = {name: np.zeros(mask.shape) for name, mask in free.items()}
    return np.asarray(np.linalg.eigvalsh(hessian(evaluate, zero, free)), dtype=float)


def _expected_curvatures(context: RunContext, control: str) -> list[FloatArray]:
    """±2‖B‖ a head and zeros, in increasing order."""
    B = population(FOUR, MERGED).B
    curvature = 2 * float(np.linalg.norm(B))
    if control == "largest singular value of B":
        curvature = 2 * float(np.linalg.norm(B, 2))
    if control == "‖B‖ for 2‖B‖":
        curvature /= 2

    spectra = []
    for heads in (1, 2, 3, 4):
        # Each head has one pair ±2‖B‖, along v and U ∝ B of equal size.
        unstable = 1 if control == "one unstable direction" else heads
        entries = heads * (FOUR.dimension**2 + 1)
        flat = np.zeros(entries - 2 * unstable)
        down = np.full(unstable, -curvature)
        spectra.append(np.concatenate([down, flat, -down]))
    return spectra


# How long the saddle delays the drop


def _delays(context: RunContext) -> list[FloatArray]:
    """Flow time by which the drop comes later from a tenth of each scale, a list of (starts,)."""
    seeds = context.seeds(3)
    middles = np.array([[_middle(seed, scale) for seed in seeds] for scale in SCALES])
    return list(np.diff(middles, axis=0))


def _middle(seed: int, scale: float) -> float:
    """Flow time at which the loss is half of what it was."""
    start = initial_weights(MERGED, FOUR, scale, seed, "restricted")
    source = population_statistics(FOUR, MERGED)
    loss_at_start = flow(MERGED, source, start, [0.0]).loss[0]
    return crossing(FOUR, MERGED, start, loss_at_start / 2, 6.0)


def crossing(
    task: Task, model: Merged, start: Weights, level: float, last: float
) -> float:
    """Flow time before `last` at which the loss on unlimited data first comes down to a level; nan if it does not.

    The flow is followed once coarsely, and once more finely where it crosses, so that interpolation does not show.
    """
    source = population_statistics(task, model)
    coarse = np.linspace(0, last, 601)
    loss = flow(model, source, start, coarse, rtol=1e-9).loss
    (time,) = crossing_times(coarse, loss, [level])
    if not np.isfinite(time):
        return float("nan")

    # The coarse crossing is right to one interval: two before it and one after it hold the true one.
    cell = int(np.searchsorted(coarse, time))
    first, end = coarse[max(cell - 2, 0)], coarse[min(cell + 1, 600)]
    fine = np.union1d(0.0, np.linspace(first, end, 301))
    loss = flow(model, source, start, fine).loss
    (time,) = crossing_times(fine, loss, [level])
    return float(time)


def _expected_delays(context: RunContext, control: str) -> list[FloatArray]:
    """ln(10)/‖B‖ from each scale to the next."""
    B = population(FOUR, MERGED).B
    rate = float(np.linalg.norm(B))
    if control == "1/(2‖B‖)":
        rate *= 2
    if control == "1/λ₁²":
        rate = float(np.linalg.norm(B, 2))

    starts = len(context.seeds(3))
    growth = 10 if control == "∝ 1/scale" else 1
    delays = []
    for k in range(len(SCALES) - 1):
        delay = np.log(10) / rate * growth**k
        delays.append(np.full(starts, delay))
    return delays


CLAIMS = (
    Claim(
        id="saddle.two_points",
        title="The only fixed points of merged attention are M = 0 and M*",
        paper="zhang2025",
        equation="fixed points of merged attention",
        statement=r"\nabla L = 0 \iff M \in \{0,\ A^{-1} B \Lambda^{-1}\}",
        observable="effective maps at which searches for a vanishing gradient end, three heads, three tasks",
        limit="P → ∞, taken exactly",
        measure=_reached_maps,
        assumes=POPULATION_MOMENTS,
        predict=_points,
        judge=_one_for_one,
        controls=(*MOMENTS, "as separate", "the minimum alone", "the saddle alone"),
        hypotheses=("any Λ and Ω, D = 2, noise", "restricted block"),
        tier="fast",
    ),
    Claim(
        id="saddle.curvature",
        title="At zero weights the Hessian has eigenvalues ±2‖B‖, one pair for each head, and zeros",
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
        controls=(
            "largest singular value of B",
            "one unstable direction",
            "‖B‖ for 2‖B‖",
        ),
        tier="fast",
    ),
    Claim(
        id="saddle.delay",
        title="Merged attention drops ln(10)/‖B‖ later from a start ten times smaller",
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
