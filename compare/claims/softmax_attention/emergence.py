"""Patterns of the heads emerge from random starts of all four matrices, trained with Adam on fresh prompts."""

from typing import NamedTuple

import numpy as np

from ....models.factorised import Factorised
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import train
from ....simulate.descent.optimizers import Adam
from ....simulate.descent.schedules import Schedule
from ....task import Task
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from .setting import PUBLISHED, mean_diagonals

BATCH = 256
"""Fresh prompts a step, as He et al. train."""

LARGEST = 0.1
"""What each pattern may miss: trained heads miss a few percent of it, and random weights nearly all of the diagonal."""

AT_START = "the weights before training"
WHATEVER_SIGNS = "heads of one sign, too"
ONE_SIGN = "heads of one sign alone"


class Missing(NamedTuple):
    """What heads lack of the four patterns, each between 0 and 1; single heads count by their load |μ_h ω_h|.

    The shares of |B_h|² off the multiples of 1 and of |a_h|² off the last entry, the standard deviation of |ω_h| over
    its mean, and |Σμ|/Σ|μ|. A head that carries nothing has nothing to be diagonal for.
    """

    diagonal: float
    last_entry: float
    homogeneity: float
    zero_sum: float

    @property
    def is_little(self) -> bool:
        """Whether every pattern is there."""
        return max(self) <= LARGEST


class Run(NamedTuple):
    """A run: what is missing before and after it, and whether it ends with both signs of ω."""

    at_start: Missing
    at_end: Missing
    has_both_signs: bool


class Size(NamedTuple):
    """Runs: the task, heads, learning rate of Adam and steps."""

    task: Task
    heads: int
    rate: float | Schedule
    steps: int

    @property
    def model(self) -> Factorised:
        """Heads of four matrices, as He et al. train them."""
        return Factorised(
            self.heads, softmax=True, query_token=False, score_divisor="sqrt_key"
        )


SHORT = Size(
    PUBLISHED, heads=2, rate=Schedule({0: 1e-2, 500: 1e-2, 600: 1e-3}), steps=600
)
"""The rate falls in the end, and with it what gradient noise does to the patterns."""

MIXED_RUNS, POSITIVE_RUNS = 4, 2

TRAPPED = SHORT._replace(rate=3e-3, steps=300)
"""Gradient noise moves heads of one sign along their flat minimum until one crosses zero: these steps are too small."""

POSITIVE = 1.0
"""What is added to the entries of positive heads: heads that are alike are furthest from crossing zero."""

TWO, FOUR = Size(PUBLISHED, 2, 3e-3, 4_000), Size(PUBLISHED, 4, 3e-3, 6_000)
"""Weak heads take longer to become diagonal than strong ones."""
RUNS_OF_TWO, RUNS_OF_FOUR = 8, 2


def random_start(size: Size, seed: int) -> Weights:
    """Every entry of the four matrices uniform within ±1/√(D + 1), as linear layers start."""
    D = size.task.dimension
    bound = 1 / np.sqrt(D + 1)
    generator = np.random.default_rng(seed)
    shapes = size.model.shapes(D)
    return {
        name: generator.uniform(-bound, bound, shape) for name, shape in shapes.items()
    }


def mixed_start(size: Size, seed: int) -> Weights:
    """A random start whose heads grow with both signs in turn: that of the growing mode μ_h + √D ω_h.

    Signs of keys and outputs are turned, which leaves a start as likely as it was.
    """
    start = random_start(size, seed)
    ω, μ, _, _ = _heads(size, start)
    growing = μ + np.sqrt(size.task.dimension) * ω
    wanted = np.where(np.arange(size.heads) % 2 == 0, 1.0, -1.0)
    turned = np.sign(growing) * wanted  # (H,)
    for name in ("key", "output"):
        start[name] *= turned[:, None, None]
    return start


def positive_start(size: Size, seed: int) -> Weights:
    """A random start of positive heads: keys and queries, and output and values, have a part in common."""
    start = random_start(size, seed)
    D = size.task.dimension
    for name in ("key", "query"):
        start[name][:, :D, :D] += POSITIVE * np.eye(D)
    start["value"][:, -1, -1] += POSITIVE
    start["output"][:, 0, -1] += POSITIVE
    return start


def _heads(
    size: Size, weights: Weights
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """ω and μ (H,), and the heads a (H, D+1) and B (H, D+1, D) that they are read from, in units of the score."""
    D = size.task.dimension
    a, B = size.model.heads(weights)
    B = B / np.sqrt(D + 1)
    ω = mean_diagonals(np.concatenate([B, np.zeros((size.heads, D + 1, 1))], axis=2))
    return ω, a[:, -1], a, B


def missing(size: Size, weights: Weights) -> Missing:
    """What the heads of these weights lack of the patterns."""
    ω, μ, a, B = _heads(size, weights)
    loads = np.abs(μ * ω)
    off_diagonal = 1 - size.task.dimension * ω**2 / np.sum(B**2, axis=(1, 2))
    off_last = 1 - μ**2 / np.sum(a**2, axis=1)
    mean = np.average(np.abs(ω), weights=loads)
    variance = np.average((np.abs(ω) - mean) ** 2, weights=loads)
    return Missing(
        diagonal=float(np.average(off_diagonal, weights=loads)),
        last_entry=float(np.average(off_last, weights=loads)),
        homogeneity=float(np.sqrt(variance) / mean),
        zero_sum=float(np.abs(np.sum(μ)) / np.sum(np.abs(μ))),
    )


def trained(size: Size, start: Weights, seed: int) -> Run:
    """A run with Adam on fresh prompts, every entry trained."""
    run = train(
        size.model,
        size.task,
        start,
        steps=size.steps,
        batch=BATCH,
        seed=seed,
        optimizer=Adam(size.rate),
        record=size.steps,
    )
    ω = _heads(size, run.final)[0]
    has_both_signs = bool(np.min(ω) < 0 < np.max(ω))
    return Run(missing(size, start), missing(size, run.final), has_both_signs)


def _short_runs(context: RunContext) -> list[Run]:
    """Runs from random starts with both signs, and from positive ones."""
    mixed = [
        trained(SHORT, mixed_start(SHORT, seed), seed)
        for seed in context.seeds(MIXED_RUNS)
    ]
    return mixed + _positive_runs(context)


def _positive_runs(context: RunContext) -> list[Run]:
    """Runs from starts of positive heads, which are trapped."""
    return [
        trained(TRAPPED, positive_start(TRAPPED, seed), seed)
        for seed in context.seeds(POSITIVE_RUNS)
    ]


def _larger_runs(context: RunContext) -> list[Run]:
    """Runs of the published task from any random start, of two heads and of four, and from positive ones."""
    # None of the random starts may be trapped, and then nothing would show what the trap lacks.
    runs = _positive_runs(context)
    for size, count in ((TWO, RUNS_OF_TWO), (FOUR, RUNS_OF_FOUR)):
        for seed in context.seeds(count):
            runs.append(trained(size, random_start(size, seed), seed))
    return runs


def _who_has_them(context: RunContext, control: str) -> str:
    """Which heads have all patterns: those of both signs after training, or others."""
    return control


def _as_stated(predicted: str, observed: list[Run]) -> Evidence:
    """All patterns are there in exactly the runs of which that is said, and there are runs of either kind."""
    mixed = [run for run in observed if run.has_both_signs]
    trapped = [run for run in observed if not run.has_both_signs]
    stated = {
        UNMODIFIED: [run.has_both_signs for run in observed],
        AT_START: [run.has_both_signs for run in observed],
        WHATEVER_SIGNS: [True for _ in observed],
        ONE_SIGN: [not run.has_both_signs for run in observed],
    }[predicted]
    looked_at = [
        run.at_start if predicted == AT_START else run.at_end for run in observed
    ]
    are_there = [patterns.is_little for patterns in looked_at]
    return Evidence(
        agrees=are_there == stated and bool(mixed) and bool(trapped),
        observed=f"{len(mixed)} runs end with both signs, {_described(mixed)}; {len(trapped)} with one, "
        f"{_described(trapped)}",
        expected=f"at most {100 * LARGEST:g} % of each pattern missing with both signs, and more with one",
        residual=max((max(run.at_end) for run in mixed), default=1.0),
    )


def _described(runs: list[Run]) -> str:
    """The most that runs lack of each pattern."""
    if not runs:
        return "none"
    most = np.max([run.at_end for run in runs], axis=0)
    names = ("diagonal", "last entry", "one |ω|", "Σμ = 0")
    listed = [
        f"{name} {100 * value:.1f} %" for name, value in zip(names, most, strict=True)
    ]
    return f"missing at most: {', '.join(listed)}"


CLAIMS = (
    Claim(
        id="softmax.patterns_emerge",
        title="From random weights of both signs key-query matrices become multiples of 1 of one size, and "
        "output-value rows zero but for last entries that add up to zero",
        paper="he2025",
        equation="patterns of trained heads",
        statement=r"B_h \to (\omega_h 1;\, 0),\quad a_h \to (0, \mu_h),\quad |\omega_h| \to \gamma,\quad "
        r"\textstyle\sum_h \mu_h \to 0",
        observable=f"shares of each pattern that two heads lack after {SHORT.steps} steps of Adam on {BATCH} fresh "
        f"prompts, {MIXED_RUNS} random starts that grow with both signs; and after {TRAPPED.steps} steps, "
        f"{POSITIVE_RUNS} starts of positive heads",
        limit="training time → ∞; gradient noise leaves a few percent",
        hypotheses=(
            "every entry of query, key, value and output matrices random and trained",
            "heads of both signs: those of one sign are trapped",
            "D = 5, N = 40; the learning rate falls from 1e-2 to 1e-3",
        ),
        measure=_short_runs,
        predict=_who_has_them,
        judge=_as_stated,
        controls=(AT_START, WHATEVER_SIGNS, ONE_SIGN),
    ),
    Claim(
        id="softmax.patterns_emerge_larger",
        title="At the published size the patterns emerge from every random start that is not trapped with one sign",
        paper="he2025",
        equation="patterns of trained heads",
        statement=r"B_h \to (\omega_h 1;\, 0),\quad a_h \to (0, \mu_h),\quad |\omega_h| \to \gamma,\quad "
        r"\textstyle\sum_h \mu_h \to 0",
        observable=f"shares of each pattern that heads lack after training on {BATCH} fresh prompts a step with Adam: "
        f"{RUNS_OF_TWO} random starts of two heads, {TWO.steps:,} steps, {RUNS_OF_FOUR} of four, {FOUR.steps:,} "
        f"steps, and {POSITIVE_RUNS} starts of positive heads, {TRAPPED.steps} steps",
        limit="training time → ∞; gradient noise leaves a few percent, weak heads take longest",
        hypotheses=(
            "every entry of query, key, value and output matrices random and trained",
            "D = 5, N = 40, learning rate 3e-3",
        ),
        measure=_larger_runs,
        predict=_who_has_them,
        judge=_as_stated,
        controls=(AT_START, WHATEVER_SIGNS, ONE_SIGN),
        tier="long",
    ),
)
