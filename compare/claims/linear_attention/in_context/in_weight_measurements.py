"""What the claims on mixtures with a fixed teacher measure, predict and judge."""

from dataclasses import replace

import numpy as np

from .....models.attention import Merged
from .....runtime.arrays import FloatArray
from .....simulate import Statistics, initial_weights, sample, statistics, train
from .....task import Task
from .....theory import FeatureMoments, feature_moments
from ....evidence.claim import UNMODIFIED, RunContext
from ....evidence.evidence import Evidence, Judge
from ....evidence.judges import CONFIDENCE, curve, student_quantile
from ....evidence.seeding import seeds
from ....metrics.curves import sup_gap
from .mixtures import (
    FRACTIONS,
    MODEL,
    RATE,
    SCALE,
    SEQUENCES,
    STEPS,
    exact,
    exact_source,
    flow_of_all_weights,
    learned_map,
    losses,
    mixture,
    sampled,
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


def sampled_moments(context: RunContext) -> FloatArray:
    """c, b and S of a mixture and of an in-weight test set, for each number of sequences and seed."""
    every = seeds(context.seed, MOMENT_REPEATS)
    return np.array(
        [[moments_of(count, seed) for seed in every] for count in MOMENT_SIZES]
    )


def moments_of(count: int, seed: int) -> FloatArray:
    """c, b and S of a sampled mixture and in-weight test set, in units of their exact sizes."""
    sets = (
        sample(SMALL, count, seed),
        sample(FIXED, count, seed, split="test", random_labels=True),
    )
    found = [statistics(data, Merged(1)) for data in sets]
    return np.concatenate(
        [
            in_units(stats, moments)
            for stats, moments in zip(found, exact_sets(), strict=True)
        ]
    )


def exact_sets(
    task: Task = SMALL, random_labels: bool = True
) -> tuple[FeatureMoments, FeatureMoments]:
    """Exact moments of the mixture and of the in-weight test set, D = 2."""
    return feature_moments(task, Merged(1)), feature_moments(
        FIXED, Merged(1), random_labels=random_labels
    )


def in_units(found: Statistics | FeatureMoments, units: FeatureMoments) -> FloatArray:
    """c, b and S with every feature and y in units of its exact size, so that no entry outweighs the others."""
    size = np.sqrt(np.diag(units.S))
    parts = (
        [found.c / units.c],
        found.b / size / np.sqrt(units.c),
        (found.S / size / size[:, None]).ravel(),
    )
    return np.concatenate(parts)


def exact_moments(context: RunContext, control: str) -> FloatArray:
    """The same quantities in expectation, for every number of sequences and seed."""
    changes = {"in_context_fraction": 0.4} if control == "fraction 0.4 for 0.5" else {}
    sets = exact_sets(Task.from_dict(SMALL.to_dict() | changes), control != CONSISTENT)
    whole = np.concatenate(
        [
            in_units(found, units)
            for found, units in zip(sets, exact_sets(), strict=True)
        ]
    )
    return np.broadcast_to(whole, (len(MOMENT_SIZES), MOMENT_REPEATS, len(whole)))


def trained_map(fraction: float, seed: int) -> FloatArray:
    """M after full-parameter training on the exact moments."""
    start = initial_weights(MODEL, mixture(fraction), 0.005, seed, "zhang2025")
    run = train(
        MODEL,
        exact_source(fraction),
        start,
        learning_rate=FAST_RATE,
        steps=LONG_STEPS,
        record=LONG_STEPS,
    )
    return learned_map(run.final)


def trained_losses(context: RunContext) -> FloatArray:
    """The three losses after training from each start, (starts, fractions, 3)."""
    every = seeds(context.seed, STARTS)
    return np.array(
        [[losses(p, trained_map(p, seed)) for p in FRACTIONS] for seed in every]
    )


def minima(context: RunContext, control: str = UNMODIFIED) -> FloatArray:
    """The three losses at the minimum, (fractions, 3)."""
    return np.array([minimum_losses(p, control) for p in FRACTIONS])


def minimum(fraction: float, control: str) -> FloatArray:
    """M of least loss, or what a wrong variant takes for it."""
    length = 1.0 if control == SHORT_TEACHER else 2.0
    moments = exact(fraction, length, False if control == CONSISTENT else None)
    if control != BLOCK:
        return moments.minimum
    i, j, _ = moments.indices.T
    kept = np.flatnonzero((i < 4) & (j == 4))
    learned = np.zeros(len(i))
    learned[kept] = np.linalg.solve(moments.S[np.ix_(kept, kept)], moments.b[kept])
    return learned


def minimum_losses(fraction: float, control: str) -> FloatArray:
    """The three losses at the minimum, (3,), or where a wrong variant takes it to be."""
    return losses(
        fraction, minimum(fraction, control), 1.0 if control == SHORT_TEACHER else 2.0
    )


def equal(
    bound: float,
    fractions: tuple[float, ...] = FRACTIONS,
    kinds: tuple[str, ...] = KINDS,
) -> Judge:
    """Losses (fractions, kinds) as predicted, at every start if there are several."""

    def judge(predicted: FloatArray, observed: FloatArray) -> Evidence:
        every = np.atleast_3d(observed).reshape(-1, *predicted.shape)
        gap = float(np.max(np.abs(every / predicted - 1)))
        worst = every[np.argmax(np.max(np.abs(every / predicted - 1), axis=(1, 2)))]
        drawn = [
            curve(name, predicted[:, k], worst[:, k], np.array(fractions))
            for k, name in enumerate(kinds)
        ]
        return Evidence(
            gap <= bound,
            f"largest relative gap {gap:.1e} over {len(every)} starts and {len(fractions)} fractions",
            f"at most {bound:g}",
            residual=gap,
            curves=tuple(drawn),
            axes=("fraction of in-context sequences", "loss"),
        )

    return judge


def sampled_maps(context: RunContext) -> FloatArray:
    """M after training on P sequences, (P, seeds, fractions, K), in units of its features' sizes."""
    every = seeds(context.seed, REPEATS)
    found = [
        [[sampled_run(p, count, seed)[1] for p in SAMPLED] for seed in every]
        for count in SIZES
    ]
    return np.asarray(np.array(found) * feature_sizes())


def feature_sizes() -> FloatArray:
    """Root mean square of every feature at each sampled fraction, (fractions, K)."""
    return np.array([np.sqrt(np.diag(exact(p).S)) for p in SAMPLED])


def sampled_run(fraction: float, count: int, seed: int) -> tuple[float, FloatArray]:
    """Training loss and M after training on P sequences."""
    start = initial_weights(MODEL, mixture(fraction), 0.005, seed, "zhang2025")
    source, last = sampled(fraction, count, seed), SAMPLED_STEPS
    run = train(
        MODEL, source, start, learning_rate=SAMPLED_RATE, steps=last, record=last
    )
    return float(run.loss[-1]), learned_map(run.final)


def population_maps(context: RunContext, control: str) -> FloatArray:
    """The minimum for every number of sequences and seed, in units of its features' sizes."""
    maps = np.array([minimum(p, control) for p in SAMPLED]) * feature_sizes()
    return np.broadcast_to(maps, (len(SIZES), REPEATS, *maps.shape))


def losses_at_sizes(context: RunContext) -> FloatArray:
    """Training loss and both test losses on 5,000 sequences and on four times as many, (2, seeds, fractions, 3)."""
    every = seeds(context.seed, REPEATS)
    return np.array(
        [[_losses_at(SEQUENCES * factor, seed) for seed in every] for factor in (1, 4)]
    )


def _losses_at(count: int, seed: int) -> FloatArray:
    """The three losses after training, (fractions, 3)."""
    runs = [sampled_run(p, count, seed) for p in FRACTIONS]
    found = [
        [loss, *losses(p, M)[1:]] for p, (loss, M) in zip(FRACTIONS, runs, strict=True)
    ]
    return np.array(found)


def agree_on_average(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Every mean over the seeds within what Student's t allows, once what is of order 1/P is taken off."""
    typical = (4 * observed[1] - observed[0]) / 3
    relative = typical / predicted - 1
    fitted = 100 * float(np.max(np.abs(observed[0].mean(axis=0) / predicted - 1)))
    mean, error = (
        relative.mean(axis=0),
        relative.std(axis=0, ddof=1) / np.sqrt(len(relative)),
    )
    worst, allowed = (
        float(np.max(np.abs(mean) / error)),
        student_quantile(len(relative) - 1),
    )
    largest = 100 * float(np.max(np.abs(mean)))
    drawn = [
        curve(name, predicted[:, k], typical.mean(axis=0)[:, k], np.array(FRACTIONS))
        for k, name in enumerate(KINDS)
    ]
    return Evidence(
        worst <= allowed,
        f"18 means over {len(typical)} seeds off by {largest:.2f} % at most, {worst:.1f} standard errors at most; "
        f"before the extrapolation {fitted:.1f} %",
        f"{allowed:.1f} standard errors (Student's t at {CONFIDENCE:g})",
        residual=largest / 100,
        curves=tuple(drawn),
        axes=("fraction of in-context sequences", "loss"),
    )


def in_weight_losses(context: RunContext) -> FloatArray:
    """In-weight test loss after training, (fractions, 1)."""
    first = seeds(context.seed)[0]
    return np.array([losses(p, trained_map(p, first))[2:] for p in FRACTIONS])


def read_as(context: RunContext, variant: str) -> FloatArray:
    """In-weight test losses by the common reading, or at the minimum."""
    found = minima(context)[:, 2:]
    if variant == MINIMUM:
        return found
    if variant == PURE:
        return np.broadcast_to(found[-1], found.shape)
    p = np.array(FRACTIONS)[:, None]
    return np.asarray(found[0] + p * (found[-1] - found[0]))


def gradual(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """In-weight test losses as read off, within 1 %."""
    found = equal(0.01, kinds=KINDS[2:])(predicted, observed)
    shown = ", ".join(f"{loss:.4f}" for loss in observed.ravel())
    said = ", ".join(f"{loss:.4f}" for loss in predicted.ravel())
    return replace(
        found,
        observed=f"{shown} at p = 0 … 1; 1 is what predicting 0 costs",
        expected=f"{said} ± 1 %",
    )


def fixed_teacher_losses(context: RunContext) -> FloatArray:
    """Loss on sequences of the fixed teacher with consistent labels, after training, (fractions,)."""
    first = seeds(context.seed)[0]
    return np.array(
        [exact(0.0, 2.0, False).loss(trained_map(p, first)) for p in FRACTIONS]
    )


def predicted_fixed(context: RunContext, control: str) -> FloatArray:
    """Loss on the fixed teacher's sequences at the minimum, (fractions,), or in a wrong variant."""
    if control == PURE:
        return np.array(
            [exact(0.0, 2.0, False).loss(exact(1.0).minimum) for _ in FRACTIONS]
        )
    if control == "random labels":
        return np.array([exact(0.0).loss(exact(p).minimum) for p in FRACTIONS])
    return np.array([exact(0.0, 2.0, False).loss(exact(p).minimum) for p in FRACTIONS])


def falls_steadily(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """As predicted to 1e-5, and every step of p by 0.2 takes at least a twentieth of the whole fall."""
    gap, falls = (
        sup_gap(predicted, observed),
        np.diff(observed) / (observed[-1] - observed[0]),
    )
    agrees = gap <= 1e-5 and bool(np.all(falls >= 0.05))
    return Evidence(
        agrees,
        f"{', '.join(f'{loss:.4f}' for loss in observed)} at p = 0 … 1, gap {gap:.1e}",
        f"{', '.join(f'{loss:.4f}' for loss in predicted)}, each step 5 % of the whole",
        residual=gap,
        curves=(
            curve(
                "fixed teacher, consistent labels",
                predicted,
                observed,
                np.array(FRACTIONS),
            ),
        ),
        axes=("fraction of in-context sequences", "loss"),
    )


def published_losses(context: RunContext) -> FloatArray:
    """The three losses after the published steps, on exact moments, (fractions between, 3)."""
    return np.array([losses(p, published_map(p, context)) for p in MIXED])


def published_map(fraction: float, context: RunContext) -> FloatArray:
    """M (K,) after the published steps on exact moments."""
    start = initial_weights(
        MODEL, mixture(fraction), SCALE, seeds(context.seed)[0], "zhang2025"
    )
    run = train(
        MODEL,
        exact_source(fraction),
        start,
        learning_rate=RATE,
        steps=STEPS,
        record=STEPS,
    )
    return learned_map(run.final)


def after_published_steps(context: RunContext, variant: str) -> FloatArray:
    """The three losses at the minimum, or along the flow at that time, (fractions between, 3)."""
    if variant in (FLOW, HALF):
        return np.array(
            [flow_losses(p, context, 1.0 if variant == FLOW else 0.5) for p in MIXED]
        )
    return minima(context)[1:-1]


def flow_losses(fraction: float, context: RunContext, part: float) -> FloatArray:
    """The three losses of the flow of all weights at this part of the published time."""
    start = initial_weights(
        MODEL, mixture(fraction), SCALE, seeds(context.seed)[0], "zhang2025"
    )
    times = np.array([0.0, part * 2 * RATE * STEPS])
    return losses(fraction, flow_of_all_weights(fraction, start, times)[-1])
