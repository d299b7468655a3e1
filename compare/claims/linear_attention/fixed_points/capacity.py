"""Fewer pairs of key and query than dimensions: which maps are fixed points, and which one training reaches."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....simulate import Experiment
from .....task import Task
from .....theory import fixed_points, population
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import curve
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS
from ..common.controls import MOMENTS, changed_moments, wrong_moments
from ..common.experiments import FOUR
from ..separate.rank_one import standard_errors
from .search import stationary_maps

Maps = list[list[FloatArray]]

PAIRS = ((1, 1), (2, 1), (1, 2))
"""Heads and rank of the searches, in three dimensions: one pair, two in two heads, two in one."""

TRAINED = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3))
SEARCHES, LONGEST = 100, 2000
"""How many searches, and after how many gradients one counts as stuck."""

SAME_MAP = 1e-6
"""Largest entry of the difference of two maps that count as one."""

ALL = "2^D, whatever the number of pairs"
LARGEST = "as many directions as there are pairs, and no fewer"
MINIMUM = "training reaches the minimum"
ONE_FEWER = "one pair stays zero"


# How many fixed points there are


def _task(seed: int) -> Task:
    """Three dimensions, Λ and Ω random and not in one basis, noise."""
    generator = np.random.default_rng(seed)
    matrices = []
    for _ in range(2):
        # Two random bases have no eigenvector in common.
        basis = np.linalg.qr(generator.standard_normal((3, 3)))[0]
        matrices.append(basis * [2.0, 1.1, 0.5] @ basis.T)
    covariance, teachers = matrices
    return Task(
        covariance=covariance,
        teacher_covariance=teachers,
        noise_variance=0.1,
        context_length=10,
    )


def _reached_maps(context: RunContext) -> Maps:
    """Different maps at which a search for a vanishing gradient ends, for each number of heads and rank."""
    seed = seeds(context.seed)[0]
    return [_search(Separate(*pair), seed) for pair in PAIRS]


def _search(model: Separate, seed: int) -> list[FloatArray]:
    """The different ones among the maps at which searches end."""
    ends = stationary_maps(
        _task(seed), model, seed, SEARCHES, smallest=-1.0, longest=LONGEST
    )
    different: list[FloatArray] = []
    for M in ends:
        if not _contains(different, M):
            different.append(M)
    return different


def _contains(maps: Sequence[FloatArray], M: FloatArray) -> bool:
    return any(float(np.max(np.abs(M - other))) <= SAME_MAP for other in maps)


def _stated_maps(context: RunContext, control: str) -> Maps:
    """The fixed points of the theory, or of a variant of it."""
    task = _task(seeds(context.seed)[0])
    if control == UNMODIFIED:
        return [
            [point.M for point in fixed_points(task, Separate(*pair))] for pair in PAIRS
        ]
    # Maps of wrong moments: as many as there are subsets that fit into the pairs.
    if control in MOMENTS:
        wrong = wrong_moments(task, Separate(1), control)
        return [[wrong.learned(S) for S in _subsets(0, H * R)] for H, R in PAIRS]

    moments = population(task, Separate(1))
    maps = []
    for H, R in PAIRS:
        # Either no limit by the pairs, or exactly as many directions as pairs.
        fewest, most = (0, 3) if control == ALL else (H * R, H * R)
        maps.append([moments.learned(S) for S in _subsets(fewest, most)])
    return maps


def _subsets(fewest: int, most: int) -> list[tuple[int, ...]]:
    """Sets of `fewest` to `most` of three directions."""
    sizes = range(fewest, most + 1)
    return [subset for size in sizes for subset in combinations((1, 2, 3), size)]


def _one_for_one(predicted: Maps, observed: Maps) -> Evidence:
    """Every map found is predicted and every predicted one is found."""
    unpredicted = missed = 0
    for stated, reached in zip(predicted, observed, strict=True):
        unpredicted += sum(not _contains(stated, M) for M in reached)
        missed += sum(not _contains(reached, M) for M in stated)

    counts = ", ".join(str(len(reached)) for reached in observed)
    expected = ", ".join(str(len(stated)) for stated in predicted)
    return Evidence(
        agrees=unpredicted == 0 and missed == 0,
        observed=f"{counts} stationary maps, {unpredicted} not predicted, "
        f"{missed} predicted and not found",
        expected=f"{expected}, one for one",
    )


# Which fixed point training reaches


def trained(seed: int) -> tuple[Experiment, ...]:
    """Runs of few pairs of key and query, long enough for all that they can learn."""
    runs = []
    for heads, rank in TRAINED:
        runs.append(
            Experiment(
                FOUR,
                Separate(heads, rank, divisor="none"),
                sequences=20_000,
                scale=0.1,
                learning_rate=0.02,
                steps=60_000,
                seed=seeds(seed)[0],
                whiten=True,
                centre=True,
                record=10_000,
            )
        )
    return tuple(runs)


def _finals(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Final loss of every run and its standard error over the sequences, (runs,) each."""
    # Each run is compared in the standard error of its own number of sequences.
    losses, errors = [], []
    runs = zip(context.experiments, context.trajectories, strict=True)
    for (heads, rank), (experiment, run) in zip(TRAINED, runs, strict=True):
        learned = tuple(range(1, heads * rank + 1))
        losses.append(run.loss[-1])
        errors.append(standard_errors(experiment, (learned,))[0])
    return np.array(losses), np.array(errors)


def _lowest(context: RunContext, control: str) -> FloatArray:
    """L(M_HR) for each number of heads and rank."""
    moments = changed_moments(FOUR, Separate(1, divisor="none"), control)
    learned = np.array([heads * rank for heads, rank in TRAINED])
    if control == MINIMUM:
        learned = np.full(len(TRAINED), FOUR.dimension)
    if control == ONE_FEWER:
        learned = learned - 1
    losses: FloatArray = moments.greedy_losses[learned]
    return losses


def _in_errors(
    predicted: FloatArray, observed: tuple[FloatArray, FloatArray]
) -> Evidence:
    """Every final loss within 4.5 standard errors: five comparisons, each surer than 1e-5."""
    losses, errors = observed
    gaps = np.abs(losses - predicted)
    worst = float(np.max(gaps / errors))
    pairs = np.array([heads * rank for heads, rank in TRAINED], dtype=float)

    measured = ", ".join(f"{loss:.4f}" for loss in losses)
    stated = ", ".join(f"{loss:.4f}" for loss in predicted)
    return Evidence(
        agrees=worst <= 4.5,
        observed=f"final losses {measured}, worst {worst:.1f} standard errors off",
        expected=f"{stated}, within 4.5",
        residual=float(np.max(gaps)),
        curves=(curve("final loss", predicted, losses, pairs),),
        axes=("pairs of key and query", "loss"),
    )


CLAIMS = (
    Claim(
        id="capacity.count",
        title="With H·R < D there is one fixed point for each subset of at most H·R directions",
        paper="zhang2025",
        equation="fixed points of separate attention, for fewer pairs than dimensions",
        statement=r"\#\{M_S\} = \sum_{m \le HR} \binom{D}{m}",
        observable="maps at which 100 searches for a vanishing simulated gradient end; D = 3, general Λ and Ω",
        limit="P → ∞, taken exactly",
        measure=_reached_maps,
        predict=_stated_maps,
        assumes=POPULATION_MOMENTS,
        judge=_one_for_one,
        controls=(ALL, LARGEST, *MOMENTS),
        hypotheses=("weights off the restricted block are zero",),
        tier="long",
        figure="fixed_points",
    ),
    Claim(
        id="capacity.reached",
        title="With H·R < D training ends at L(M_HR), which is above the minimum",
        paper="zhang2025",
        equation="separate attention with fewer pairs than dimensions",
        statement=r"L(t \to \infty) = L(M_{HR}) = c - \sum_{d \le HR} \lambda_d^3/a_d",
        observable="final loss of heads × rank = 1 × 1, 2 × 1, 1 × 2, 3 × 1, 1 × 3 at D = 4; 20,000 sequences",
        limit="P → ∞: within 4.5 standard errors over sequences",
        measure=_finals,
        predict=_lowest,
        judge=_in_errors,
        controls=(MINIMUM, ONE_FEWER),
        experiments=lambda context: trained(context.seed),
        hypotheses=("all weights are trained", "published convention, from scale 0.1"),
    ),
)
