"""What the claims on mixtures with a fixed teacher measure, predict and judge."""

from dataclasses import replace

import numpy as np

from .....models.attention import Merged
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import Statistics, sample, statistics
from .....task import Task
from .....theory import FeatureMoments, feature_moments
from ....evidence.claim import UNMODIFIED, RunContext
from ....evidence.evidence import Curve, Evidence, Judge
from ....evidence.judges import CONFIDENCE, curve, student_quantile
from ....evidence.seeding import seeds
from ....metrics.curves import sup_gap
from .mixtures import (
    FRACTIONS,
    RATE,
    SCALE,
    SEQUENCES,
    STEPS,
    exact,
    exact_source,
    flow_of_all_weights,
    learned_map,
    losses,
    sampled,
    start_at,
    trained_weights,
)

FAST_RATE, LONG_STEPS = 6e-3, 100_000
"""Learning rate and steps after which even the slowest mode is within 1e-10 of the minimum."""

SAMPLED_RATE, SAMPLED_STEPS = 1.5e-3, 30_000
"""The same on samples, whose largest eigenvalues scatter: within 1e-3, below what sampling makes."""

SIZES = (2_000, 8_000, 32_000)
SAMPLED = FRACTIONS[::2]
STARTS = 2
REPEATS = 12
KINDS = ("training loss", "in-context test", "in-weight test")
MIXED = FRACTIONS[1:-1]

BLOCK = "the restricted block alone"
SHORT_TEACHER = "|w₀| = 1 for √D"
CONSISTENT = "consistent labels at fraction 0"
LINEAR = "in proportion to 1 − p"
MINIMUM = "minimum over all effective maps"
FLOW = "flow of all weights to that time"
HALF = "flow to half that time"
PURE = "in-context learning alone"

SMALL = Task(
    [2, 1], trace=1.0, context_length=8, fixed_teacher=[1, -1], in_context_fraction=0.5
)
FIXED = Task(
    [2, 1], trace=1.0, context_length=8, fixed_teacher=[1, -1], in_context_fraction=0
)
MOMENT_SIZES = (1_000, 8_000, 64_000)
MOMENT_REPEATS = 12


# Sampled moments


def sampled_moments(context: RunContext) -> FloatArray:
    """c, b and S of a mixture and of an in-weight test set, for each number of sequences and seed."""
    every_seed = seeds(context.seed, MOMENT_REPEATS)
    return np.array(
        [[moments_of(count, seed) for seed in every_seed] for count in MOMENT_SIZES]
    )


def moments_of(count: int, seed: int) -> FloatArray:
    """c, b and S of a sampled mixture and in-weight test set, in units of their exact sizes."""
    mixed = sample(SMALL, count, seed)
    in_weight = sample(FIXED, count, seed, split="test", random_labels=True)
    units_of_mixed, units_of_in_weight = exact_sets()
    return np.concatenate(
        [
            in_units(statistics(mixed, Merged(1)), units_of_mixed),
            in_units(statistics(in_weight, Merged(1)), units_of_in_weight),
        ]
    )


def exact_sets(
    task: Task = SMALL, random_labels: bool = True
) -> tuple[FeatureMoments, FeatureMoments]:
    """Exact moments of the mixture and of the in-weight test set, D = 2."""
    mixed = feature_moments(task, Merged(1))
    in_weight = feature_moments(FIXED, Merged(1), random_labels=random_labels)
    return mixed, in_weight


def in_units(moments: Statistics | FeatureMoments, units: FeatureMoments) -> FloatArray:
    """c, b and S with every feature and y in units of its exact size, so that no entry outweighs the others."""
    size = np.sqrt(np.diag(units.S))  # (K,)
    c = moments.c / units.c
    b = moments.b / size / np.sqrt(units.c)
    S = moments.S / np.multiply.outer(size, size)
    return np.concatenate(([c], b, S.ravel()))


def exact_moments(context: RunContext, control: str) -> FloatArray:
    """The same quantities in expectation, for every number of sequences and seed."""
    task = SMALL
    if control == "fraction 0.4 for 0.5":
        task = Task.from_dict(SMALL.to_dict() | {"in_context_fraction": 0.4})
    stated = exact_sets(task, random_labels=control != CONSISTENT)
    in_both = [
        in_units(moments, units)
        for moments, units in zip(stated, exact_sets(), strict=True)
    ]
    numbers = np.concatenate(in_both)
    return np.broadcast_to(numbers, (len(MOMENT_SIZES), MOMENT_REPEATS, len(numbers)))


# The minimum over all effective maps


def trained_map(fraction: float, seed: int) -> FloatArray:
    """M after full-parameter training on the exact moments."""
    start = start_at(fraction, 0.005, seed)
    run = trained_weights(exact_source(fraction), start, FAST_RATE, LONG_STEPS)
    return learned_map(run.final)


def trained_losses(context: RunContext) -> FloatArray:
    """The three losses after training from each start, (starts, fractions, 3)."""
    of_starts = []
    for seed in seeds(context.seed, STARTS):
        of_starts.append([losses(p, trained_map(p, seed)) for p in FRACTIONS])
    return np.array(of_starts)


def minima(context: RunContext, control: str = UNMODIFIED) -> FloatArray:
    """The three losses at the minimum, (fractions, 3)."""
    return np.array([minimum_losses(p, control) for p in FRACTIONS])


def _teacher_length(control: str) -> float:
    return 1.0 if control == SHORT_TEACHER else 2.0


def minimum(fraction: float, control: str) -> FloatArray:
    """M of least loss, or what a wrong variant takes for it."""
    random_labels = False if control == CONSISTENT else None
    moments = exact(fraction, _teacher_length(control), random_labels)
    if control != BLOCK:
        return moments.minimum

    # On the restricted block only features (x_i y) x_d have a coefficient.
    i, j, _ = moments.indices.T
    inside = np.flatnonzero((i < 4) & (j == 4))
    S, b = moments.S[np.ix_(inside, inside)], moments.b[inside]
    learned = np.zeros(len(i))
    learned[inside] = np.linalg.solve(S, b)
    return learned


def minimum_losses(fraction: float, control: str) -> FloatArray:
    """The three losses at the minimum, (3,), or where a wrong variant takes it to be."""
    M = minimum(fraction, control)
    return losses(fraction, M, _teacher_length(control))


def equal(
    bound: float,
    fractions: tuple[float, ...] = FRACTIONS,
    kinds: tuple[str, ...] = KINDS,
) -> Judge:
    """Losses (fractions, kinds) as predicted, at every start if there are several."""

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        starts = np.atleast_3d(observed).reshape(-1, *predicted.shape)
        gaps = np.max(np.abs(starts / predicted - 1), axis=(1, 2))  # (starts,)
        worst = starts[np.argmax(gaps)]
        largest = float(np.max(gaps))
        return Evidence(
            agrees=largest <= bound,
            observed=f"largest relative gap {largest:.1e} "
            f"over {len(starts)} starts and {len(fractions)} fractions",
            expected=f"at most {bound:g}",
            residual=largest,
            curves=_by_fraction(predicted, worst, fractions, kinds),
            axes=("fraction of in-context sequences", "loss"),
        )

    return judge


def _by_fraction(
    predicted: FloatArray,
    observed: FloatArray,
    fractions: tuple[float, ...] = FRACTIONS,
    kinds: tuple[str, ...] = KINDS,
) -> tuple[Curve, ...]:
    """A curve over the fractions for each kind of loss, both sides (fractions, kinds)."""
    x = np.array(fractions)
    return tuple(
        curve(name, predicted[:, k], observed[:, k], x) for k, name in enumerate(kinds)
    )


# Training on samples


def sampled_maps(context: RunContext) -> FloatArray:
    """M after training on P sequences, (P, seeds, fractions, K), in units of its features' sizes."""
    of_sizes = []
    for count in SIZES:
        of_seeds = []
        for seed in seeds(context.seed, REPEATS):
            of_seeds.append([sampled_run(p, count, seed)[1] for p in SAMPLED])
        of_sizes.append(of_seeds)
    maps: FloatArray = np.array(of_sizes) * feature_sizes()
    return maps


def feature_sizes() -> FloatArray:
    """Root mean square of every feature at each sampled fraction, (fractions, K)."""
    return np.array([np.sqrt(np.diag(exact(p).S)) for p in SAMPLED])


def sampled_run(fraction: float, count: int, seed: int) -> tuple[float, FloatArray]:
    """Training loss and M after training on P sequences."""
    start = start_at(fraction, 0.005, seed)
    source = sampled(fraction, count, seed)
    run = trained_weights(source, start, SAMPLED_RATE, SAMPLED_STEPS)
    return float(run.loss[-1]), learned_map(run.final)


def population_maps(context: RunContext, control: str) -> FloatArray:
    """The minimum for every number of sequences and seed, in units of its features' sizes."""
    maps = np.array([minimum(p, control) for p in SAMPLED]) * feature_sizes()
    return np.broadcast_to(maps, (len(SIZES), REPEATS, *maps.shape))


def losses_at_sizes(context: RunContext) -> FloatArray:
    """Training loss and both test losses on 5,000 sequences and on four times as many, (2, seeds, fractions, 3)."""
    every_seed = seeds(context.seed, REPEATS)
    counts = (SEQUENCES, 4 * SEQUENCES)
    return np.array(
        [[_losses_at(count, seed) for seed in every_seed] for count in counts]
    )


def _losses_at(count: int, seed: int) -> FloatArray:
    """The three losses after training, (fractions, 3)."""
    of_fractions = []
    for p in FRACTIONS:
        training_loss, M = sampled_run(p, count, seed)
        _, in_context, in_weight = losses(p, M)
        of_fractions.append([training_loss, in_context, in_weight])
    return np.array(of_fractions)


def agree_on_average(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Every mean over the seeds within what Student's t allows, once what is of order 1/P is taken off."""
    at_P, at_4P = observed  # (seeds, fractions, 3) each
    extrapolated = (4 * at_4P - at_P) / 3
    largest, worst = _mean_gaps(predicted, extrapolated)
    before, _ = _mean_gaps(predicted, at_P)
    count = len(extrapolated)
    allowed = student_quantile(count - 1)
    return Evidence(
        agrees=worst <= allowed,
        observed=f"18 means over {count} seeds off by {100 * largest:.2f} % at most, "
        f"{worst:.1f} standard errors at most; before the extrapolation {100 * before:.1f} %",
        expected=f"{allowed:.1f} standard errors (Student's t at {CONFIDENCE:g})",
        residual=largest,
        curves=_by_fraction(predicted, extrapolated.mean(axis=0)),
        axes=("fraction of in-context sequences", "loss"),
    )


def _mean_gaps(predicted: FloatArray, observed: FloatArray) -> tuple[float, float]:
    """Largest distance of a mean over the seeds, relative and in its standard errors."""
    relative = observed / predicted - 1  # (seeds, …)
    mean = np.abs(relative.mean(axis=0))
    error = relative.std(axis=0, ddof=1) / np.sqrt(len(relative))
    return float(np.max(mean)), float(np.max(mean / error))


# The in-weight test loss against the fraction


def in_weight_losses(context: RunContext) -> FloatArray:
    """In-weight test loss after training, (fractions, 1)."""
    first_seed = seeds(context.seed)[0]
    return np.array([losses(p, trained_map(p, first_seed))[2:] for p in FRACTIONS])


def read_as(context: RunContext, variant: str) -> FloatArray:
    """In-weight test losses by the common reading, or at the minimum."""
    at_minimum = minima(context)[:, 2:]
    if variant == MINIMUM:
        return at_minimum
    if variant == PURE:
        return np.broadcast_to(at_minimum[-1], at_minimum.shape)
    p = np.array(FRACTIONS)[:, None]
    in_proportion: FloatArray = (1 - p) * at_minimum[0] + p * at_minimum[-1]
    return in_proportion


def gradual(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """In-weight test losses as read off, within 1 %."""
    comparison = equal(0.01, kinds=KINDS[2:])(predicted, observed)
    measured = ", ".join(f"{loss:.4f}" for loss in observed.ravel())
    stated = ", ".join(f"{loss:.4f}" for loss in predicted.ravel())
    return replace(
        comparison,
        observed=f"{measured} at p = 0 … 1; 1 is what predicting 0 costs",
        expected=f"{stated} ± 1 %",
    )


# The loss on the fixed teacher's sequences


def fixed_teacher_losses(context: RunContext) -> FloatArray:
    """Loss on sequences of the fixed teacher with consistent labels, after training, (fractions,)."""
    consistent = exact(0.0, 2.0, False)
    first_seed = seeds(context.seed)[0]
    return np.array([consistent.loss(trained_map(p, first_seed)) for p in FRACTIONS])


def predicted_fixed(context: RunContext, control: str) -> FloatArray:
    """Loss on the fixed teacher's sequences at the minimum, (fractions,), or in a wrong variant."""
    random_labels = control == "random labels"
    test_set = exact(0.0, 2.0, random_labels)
    trained_on = [1.0 if control == PURE else p for p in FRACTIONS]
    return np.array([test_set.loss(exact(p).minimum) for p in trained_on])


def falls_steadily(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """As predicted to 1e-5, and every step of p by 0.2 takes at least a twentieth of the whole fall."""
    gap = sup_gap(predicted, observed)
    falls = np.diff(observed) / (observed[-1] - observed[0])
    measured = ", ".join(f"{loss:.4f}" for loss in observed)
    stated = ", ".join(f"{loss:.4f}" for loss in predicted)
    name = "fixed teacher, consistent labels"
    return Evidence(
        agrees=gap <= 1e-5 and bool(np.all(falls >= 0.05)),
        observed=f"{measured} at p = 0 … 1, gap {gap:.1e}",
        expected=f"{stated}, each step 5 % of the whole",
        residual=gap,
        curves=(curve(name, predicted, observed, np.array(FRACTIONS)),),
        axes=("fraction of in-context sequences", "loss"),
    )


# The published number of steps


def published_start(fraction: float, context: RunContext) -> Weights:
    """The weights that the published runs start from."""
    return start_at(fraction, SCALE, seeds(context.seed)[0])


def published_losses(context: RunContext) -> FloatArray:
    """The three losses after the published steps, on exact moments, (fractions between, 3)."""
    of_fractions = []
    for p in MIXED:
        start = published_start(p, context)
        run = trained_weights(exact_source(p), start, RATE, STEPS)
        of_fractions.append(losses(p, learned_map(run.final)))
    return np.array(of_fractions)


def after_published_steps(context: RunContext, variant: str) -> FloatArray:
    """The three losses at the minimum, or along the flow at that time, (fractions between, 3)."""
    if variant == FLOW:
        return np.array([flow_losses(p, context, 1.0) for p in MIXED])
    if variant == HALF:
        return np.array([flow_losses(p, context, 0.5) for p in MIXED])
    return minima(context)[1:-1]


def flow_losses(fraction: float, context: RunContext, share: float) -> FloatArray:
    """The three losses of the flow of all weights at this share of the published time."""
    start = published_start(fraction, context)
    times = np.array([0.0, share * 2 * RATE * STEPS])
    return losses(fraction, flow_of_all_weights(fraction, start, times)[-1])
