"""Fixed points: where they are, their loss, and how many unstable directions they have."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import network_features, objective, sample, statistics
from .....simulate.attention.initialisation import restricted
from .....simulate.attention.objectives import Objective
from .....theory import population
from .....theory.linear_attention.enumeration import (
    FixedPoint,
    fixed_point,
    fixed_points,
)
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_on_average
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curvature import hessian_index
from ....metrics.plateaus import PlateauMatch
from ..common.controls import LONGER_CONTEXT, MOMENTS, TRACE_DROPPED, wrong_moments
from ..common.experiments import FOUR, MERGED, SEPARATE, separate
from ..common.fixtures import every_entry
from ..separate.plateaus import GREEDY, lasting_plateaus

SEQUENCES = (2_000, 8_000, 32_000, 128_000)
REPEATS = 10
FLAT = 0.02
"""Curvature that sampling 80,000 sequences leaves where the exact one is zero, of at most 50."""

PAIRED = Separate(heads=3, rank=2, divisor="none")


def _subsets(most: int) -> list[tuple[int, ...]]:
    """Sets of at most so many of the four directions."""
    sizes = range(most + 1)
    return [subset for size in sizes for subset in combinations((1, 2, 3, 4), size)]


def _sampled_losses(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Mean and standard error of the squared error of M_S on 480,000 fresh prompts, for every S."""
    maps = [fixed_point(FOUR, SEPARATE, subset).M.ravel() for subset in _subsets(4)]
    errors = []
    for seed in seeds(context.seed):
        prompts = sample(FOUR, 80_000, seed, split="test")
        z, y = network_features(prompts, SEPARATE)  # (P, D²), (P,)
        errors.append((z @ np.array(maps).T - y[:, None]) ** 2)
    squared = np.concatenate(errors)  # (480,000, subsets)
    return squared.mean(axis=0), squared.std(axis=0) / np.sqrt(len(squared))


def _losses(context: RunContext, control: str) -> FloatArray:
    """c − Σ_{d ∈ S} g_d for every S."""
    moments = wrong_moments(FOUR, SEPARATE, control)
    losses = []
    for subset in _subsets(4):
        gained = sum(moments.gains[d - 1] for d in subset)
        losses.append(moments.c - gained)
    return np.array(losses)


def _agree_in_errors(
    predicted: FloatArray, observed: tuple[FloatArray, FloatArray]
) -> Evidence:
    """Sixteen losses within 4.5 standard errors: by chance one is further off in ten thousand checks."""
    mean, error = observed
    worst = float(np.max(np.abs(mean - predicted) / error))
    subsets = _subsets(4)
    greedy = [predicted[subsets.index(subset)] for subset in GREEDY]
    levels = ", ".join(f"{loss:.8f}" for loss in greedy)
    return Evidence(
        agrees=worst <= 4.5,
        observed=f"16 losses, worst {worst:.1f} standard errors off",
        expected=f"L(M_m) = {levels}",
    )


def _sampled_objectives(context: RunContext) -> list[list[Objective]]:
    """The sampled loss for each number of sequences and seed."""
    return [
        [_sampled_objective(count, seed) for seed in context.seeds(REPEATS)]
        for count in SEQUENCES
    ]


def _sampled_objective(count: int, seed: int) -> Objective:
    source = statistics(sample(FOUR, count, seed), SEPARATE, block="restricted")
    return objective(SEPARATE, source)


def _canonical_weights(context: RunContext, control: str) -> list[Weights]:
    """Weights of every M_S with the coefficients that a variant predicts."""
    true = population(FOUR, SEPARATE)
    wrong = wrong_moments(FOUR, SEPARATE, control)
    # Every weight of head d is proportional to m_d^{1/3}.
    factors = np.cbrt(wrong.coefficients / true.coefficients)

    weights_of_subsets = []
    for subset in _subsets(4):
        weights = fixed_point(FOUR, SEPARATE, subset).weights
        for head, d in enumerate(subset):
            for array in weights.values():
                array[head] *= factors[d - 1]
        weights_of_subsets.append(weights)
    return weights_of_subsets


def _gradients_vanish(
    predicted: list[Weights], observed: list[list[Objective]]
) -> Evidence:
    """The largest entry of each gradient falls as P^-1/2."""
    largest = np.array(
        [
            [[_largest_entry(loss(w)[1]) for w in predicted] for loss in of_seeds]
            for of_seeds in observed
        ]
    )
    # The exact gradient is zero: the distance from it is the sampled one.
    judge = converges_on_average(SEQUENCES, -0.5, "P")
    return judge(np.zeros_like(largest), largest)


def _cases() -> list[tuple[Merged | Separate, tuple[int, ...]]]:
    """Merged attention at both of its fixed points, and rank one and two at every subset."""
    cases: list[tuple[Merged | Separate, tuple[int, ...]]]
    cases = [(MERGED, ()), (MERGED, (1, 2, 3, 4))]
    cases += [(SEPARATE, subset) for subset in _subsets(4)]
    cases += [(PAIRED, subset) for subset in _subsets(4)]
    return cases


def _observed_indices(context: RunContext) -> list[int]:
    """Negative eigenvalues of the Hessian of the loss at the canonical weights, restricted block."""
    indices = []
    for model, subset in _cases():
        evaluate = objective(model, population_statistics(FOUR, model))
        weights = fixed_point(FOUR, model, subset).weights
        inside = restricted(every_entry(weights))
        indices.append(hessian_index(evaluate, weights, inside))
    return indices


class PlateauWeights(NamedTuple):
    """Hessian indices on the plateaus of runs, and the largest distance |M − M_m|/|M*| and gradient norm there."""

    indices: list[int]
    map_gap: float
    gradient_norm: float


def _plateau_weights(context: RunContext) -> PlateauWeights:
    """What three runs have on the plateaus that last, with every weight free to move."""
    indices, gaps, norms = [], [], []
    for experiment, run in zip(context.experiments, context.trajectories, strict=True):
        evaluate = objective(SEPARATE, experiment.source)
        for plateau in lasting_plateaus(run):
            free = every_entry(plateau.weights)
            floor = _small_head_curvature(plateau)
            indices.append(hessian_index(evaluate, plateau.weights, free, floor))
            gaps.append(plateau.map_gap)
            norms.append(plateau.gradient_norm)
    return PlateauWeights(indices, max(gaps), max(norms))


def _small_head_curvature(plateau: PlateauMatch) -> float:
    """A bound of the curvature that the largest small head makes by its own size: 2 |G| (|v| + |k| + |q|)."""
    small_count = SEPARATE.head_count - len(plateau.point.subset)
    by_value = np.argsort(np.abs(plateau.weights["value"][:, -1]))
    small = by_value[:small_count]

    size = np.zeros(small_count)
    for array in plateau.weights.values():
        size += np.linalg.norm(array[small].reshape(small_count, -1), axis=1)
    point = plateau.point
    assert isinstance(point, FixedPoint)
    G = point.population.residual_correlation(point.M)
    return 2 * float(np.linalg.norm(G, 2) * np.max(size)) + FLAT


def _plateau_indices(context: RunContext, control: str) -> set[int]:
    """Indices that the plateaus may have: those of greedy subsets, or of a variant's of one to three directions."""
    subsets = GREEDY
    if control != UNMODIFIED:
        subsets = tuple(tuple(range(5 - m, 5)) for m in (1, 2, 3))
    return {fixed_point(FOUR, SEPARATE, subset).hessian_index for subset in subsets}


def _all_among(predicted: set[int], observed: PlateauWeights) -> Evidence:
    indices, gap, norm = observed
    distinct = ", ".join(map(str, sorted(set(indices))))
    return Evidence(
        agrees=set(indices) <= predicted,
        observed=f"{len(indices)} plateaus of index {distinct}, "
        f"map within {gap:.3f}, gradient {norm:.1e}",
        expected=f"index {', '.join(map(str, sorted(predicted)))}",
    )


def _indices(context: RunContext, control: str) -> list[int]:
    return [_index(model, subset, control) for model, subset in _cases()]


def _index(model: Merged | Separate, subset: tuple[int, ...], control: str) -> int:
    """The index of a fixed point, or what a control counts in its place."""
    point = fixed_point(FOUR, model, subset)
    if control == UNMODIFIED or isinstance(model, Merged):
        return point.hessian_index

    left_out = [j for j in (1, 2, 3, 4) if j not in subset]
    zero_pairs = sum(model.rank - len(head) for head in point.assignment)
    from_pairs = zero_pairs * len(left_out)
    if control == "smaller gains count":
        return from_pairs + sum(j > d for d in subset for j in left_out)
    if control == "zero pairs do not count":
        return point.hessian_index - from_pairs
    return len(left_out)  # every direction left out is unstable


def _equal_lists(predicted: list[int], observed: list[int]) -> Evidence:
    agree = sum(p == o for p, o in zip(predicted, observed, strict=True))
    return Evidence(
        agrees=agree == len(observed),
        observed=f"{agree} of {len(observed)} indices as predicted",
        expected="all of them",
    )


def _stationary_maps(context: RunContext) -> tuple[int, int]:
    """How many different maps have no gradient at their canonical weights: separate, merged."""
    counts = []
    for model in (SEPARATE, MERGED):
        evaluate = objective(model, population_statistics(FOUR, model))
        maps = set()
        for point in fixed_points(FOUR, model):
            _, gradients = evaluate(point.weights)
            # A gradient of rounding size counts as none.
            if _largest_entry(gradients) < 1e-12:
                M = effective_map(model, point.weights)
                maps.add(tuple(np.round(M.ravel(), 9) + 0.0))  # −0 is 0
        counts.append(len(maps))
    return counts[0], counts[1]


def _largest_entry(gradients: dict[str, FloatArray]) -> float:
    return max(float(np.max(np.abs(gradient))) for gradient in gradients.values())


def _counts(context: RunContext, control: str) -> tuple[int, int]:
    """Fixed points of separate and of merged attention."""
    if control == "one per number of directions":
        return (5, 2)
    if control == "merged as separate":
        return (2**4, 2**4)
    return (2**4, 2)


def _equal_counts(predicted: tuple[int, int], observed: tuple[int, int]) -> Evidence:
    counts = "{} separate and {} merged"
    return Evidence(
        agrees=predicted == observed,
        observed=counts.format(*observed),
        expected=counts.format(*predicted),
    )


CLAIMS = (
    Claim(
        id="fixed_points.count",
        title="Separate attention has 2^D fixed points and merged attention has two",
        paper="zhang2025",
        equation="fixed points of both parametrizations",
        statement=r"M_S = \sum_{d\in S} m_d\, e_d e_d^\top,\quad S \subseteq \{1,\dots,D\}",
        observable="different effective maps at whose weights the simulated gradient vanishes",
        limit="P → ∞, taken exactly",
        measure=_stationary_maps,
        assumes=POPULATION_MOMENTS,
        predict=_counts,
        judge=_equal_counts,
        controls=("one per number of directions", "merged as separate"),
        tier="fast",
    ),
    Claim(
        id="fixed_points.losses",
        title="The loss at M_S is c minus the gains of the learned directions",
        paper="zhang2025",
        equation="losses of the fixed points",
        statement=r"L(M_S) = c - \sum_{d\in S} \lambda_d^3 / a_d",
        observable="mean squared error of M_S on fresh prompts, all 16 subsets, D = 4, N = 31",
        limit="none: an expectation, within 4.5 standard errors",
        measure=_sampled_losses,
        predict=_losses,
        judge=_agree_in_errors,
        controls=MOMENTS,
        tier="fast",
    ),
    Claim(
        id="fixed_points.gradient",
        title="The gradient of the sampled loss vanishes at the canonical weights of M_S",
        paper="zhang2025",
        equation="fixed points of separate attention",
        statement=r"v = |k| = |q| = m_d^{1/3},\quad m_d = \lambda_d / a_d",
        observable="norm of the gradient on P sequences at the weights of all 16 subsets",
        limit="P → ∞, error O(P^-1/2)",
        measure=_sampled_objectives,
        predict=_canonical_weights,
        judge=_gradients_vanish,
        controls=(TRACE_DROPPED, LONGER_CONTEXT),
    ),
    Claim(
        id="fixed_points.index",
        title="The index of a fixed point counts larger gains left out and zero pairs of active heads",
        paper="zhang2025",
        equation="stability of the fixed points",
        beyond_paper=True,
        statement=r"\#\{(d,j): d\in S, j\notin S, g_j > g_d\} + (\text{zero pairs})\,(D - |S|)",
        observable="negative eigenvalues of the simulated Hessian: merged, rank one and rank two, every subset",
        limit="P → ∞, taken exactly",
        measure=_observed_indices,
        assumes=POPULATION_MOMENTS,
        predict=_indices,
        judge=_equal_lists,
        controls=(
            "smaller gains count",
            "zero pairs do not count",
            "every direction left out counts",
        ),
        tier="fast",
    ),
    Claim(
        id="fixed_points.landing",
        title="Runs have plateaus at the greedy fixed points, whose Hessian index is 0",
        paper="zhang2025",
        equation="saddle-to-saddle dynamics",
        origin="the index goes beyond",
        statement=r"\mathrm{index}(M_{\{1..m\}}) = 0",
        observable="eigenvalues of the Hessian of all weights below those that small heads cause; "
        "plateaus of three runs",
        limit="initial scale → 0: small heads add eigenvalues of their own size",
        measure=_plateau_weights,
        predict=_plateau_indices,
        judge=_all_among,
        controls=("smallest gains first",),
        experiments=lambda context: separate(context.seed)[:3],
    ),
)
