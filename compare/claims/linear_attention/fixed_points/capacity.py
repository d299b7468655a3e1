"""Fewer pairs of key and query than dimensions: which maps heads hold at rest, and which one training reaches."""

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
from ..common.controls import MOMENTS, wrong_moments
from ..common.experiments import FOUR
from ..separate.rank_one import standard_errors
from .search import maps_at_rest

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
ONE_FEWER = "one pair stays idle"


def _task(seed: int) -> Task:
    """Three dimensions, Λ and Ω random and not in one basis, noise."""
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)]
    covariance, teachers = (basis * [2.0, 1.1, 0.5] @ basis.T for basis in bases)
    return Task(
        covariance=covariance,
        teacher_covariance=teachers,
        noise_variance=0.1,
        context_length=10,
    )


def _found(context: RunContext) -> Maps:
    """Different maps at which a search for a vanishing gradient ends, for each number of heads and rank."""
    return [_search(Separate(*pair), seeds(context.seed)[0]) for pair in PAIRS]


def _search(model: Separate, seed: int) -> list[FloatArray]:
    """The different ones among the maps at which searches end."""
    found: list[FloatArray] = []
    for reached in maps_at_rest(
        _task(seed), model, seed, SEARCHES, smallest=-1.0, longest=LONGEST
    ):
        if not any(_same(reached, other) for other in found):
            found.append(reached)
    return found


def _same(one: FloatArray, other: FloatArray) -> bool:
    return float(np.max(np.abs(one - other))) <= SAME_MAP


def _enumerated(context: RunContext, control: str) -> Maps:
    """The fixed points of the theory, or of a variant of it."""
    task = _task(seeds(context.seed)[0])
    if control == UNMODIFIED:
        return [
            [point.M for point in fixed_points(task, Separate(*pair))] for pair in PAIRS
        ]
    if control in MOMENTS:
        wrong = wrong_moments(task, Separate(1), control)
        return [
            [wrong.learned(subset) for subset in _subsets(0, H * R)] for H, R in PAIRS
        ]
    moments = population(task, Separate(1))
    sizes = [(0, 3) if control == ALL else (H * R, H * R) for H, R in PAIRS]
    return [[moments.learned(subset) for subset in _subsets(*size)] for size in sizes]


def _subsets(fewest: int, most: int) -> list[tuple[int, ...]]:
    return [
        subset
        for size in range(fewest, most + 1)
        for subset in combinations((1, 2, 3), size)
    ]


def _one_for_one(predicted: Maps, observed: Maps) -> Evidence:
    """Every map found is predicted and every predicted one is found."""
    strange = [
        sum(not any(_same(one, p) for p in known) for one in found)
        for known, found in zip(predicted, observed, strict=True)
    ]
    missed = [
        sum(not any(_same(p, one) for one in found) for p in known)
        for known, found in zip(predicted, observed, strict=True)
    ]
    counts = ", ".join(str(len(found)) for found in observed)
    return Evidence(
        not any(strange) and not any(missed),
        f"{counts} maps at rest, {sum(strange)} not predicted, {sum(missed)} predicted and not found",
        f"{', '.join(str(len(known)) for known in predicted)}, one for one",
    )


def trained(seed: int) -> tuple[Experiment, ...]:
    """Runs of few pairs of key and query, long enough for all that they can learn."""
    first = seeds(seed)[0]
    return tuple(
        Experiment(
            FOUR,
            Separate(*pair, divisor="none"),
            20_000,
            0.1,
            learning_rate=0.02,
            steps=60_000,
            seed=first,
            whiten=True,
            centre=True,
            record=10_000,
        )
        for pair in TRAINED
    )


def _finals(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Final loss of every run and its standard error over the sequences, (runs,) each."""
    tops = [tuple(range(1, heads * rank + 1)) for heads, rank in TRAINED]
    errors = [
        standard_errors(each, (top,))[0]
        for each, top in zip(context.experiments, tops, strict=True)
    ]
    return np.array([run.loss[-1] for run in context.trajectories]), np.array(errors)


def _lowest(context: RunContext, control: str) -> FloatArray:
    moments = wrong_moments(
        FOUR, Separate(1, divisor="none"), control if control in MOMENTS else UNMODIFIED
    )
    learned = np.array([heads * rank for heads, rank in TRAINED])
    if control == MINIMUM:
        learned = np.full(len(TRAINED), FOUR.dimension)
    return np.asarray(moments.greedy_losses[learned - (control == ONE_FEWER)])


def _in_errors(
    predicted: FloatArray, observed: tuple[FloatArray, FloatArray]
) -> Evidence:
    losses, errors = observed
    worst = float(np.max(np.abs(losses - predicted) / errors))
    pairs = np.array([heads * rank for heads, rank in TRAINED], dtype=float)
    return Evidence(
        worst <= 4.5,
        f"final losses {', '.join(f'{loss:.4f}' for loss in losses)}, worst {worst:.1f} standard errors off",
        f"{', '.join(f'{loss:.4f}' for loss in predicted)}, within 4.5",
        residual=float(np.max(np.abs(losses - predicted))),
        curves=(curve("final loss", predicted, losses, pairs),),
        axes=("pairs of key and query", "loss"),
    )


CLAIMS = (
    Claim(
        id="capacity.count",
        title="With H·R < D there are as many fixed points as subsets of at most H·R directions",
        paper="zhang2025",
        equation="fixed points of separate attention, for fewer pairs than dimensions",
        statement=r"\#\{M_S\} = \sum_{m \le HR} \binom{D}{m}",
        observable="maps at which 100 searches for a vanishing simulated gradient end; D = 3, general Λ and Ω",
        limit="P → ∞, taken exactly",
        measure=_found,
        assumes=POPULATION_MOMENTS,
        predict=_enumerated,
        judge=_one_for_one,
        controls=(ALL, LARGEST, *MOMENTS),
        hypotheses=("weights off the restricted block are zero",),
        tier="long",
        figure="fixed_points",
    ),
    Claim(
        id="capacity.reached",
        title="With H·R < D training ends at L(M_HR), above the minimum",
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
        hypotheses=("no weight held at zero", "published convention, from scale 0.1"),
    ),
)
