"""Optima of softmax heads: closed forms on the approximate loss, and what the exact loss adds to them."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.predictors import best_debiased_step
from ....theory.softmax_attention import (
    approximate_loss,
    best_exact_values,
    best_values,
    exact_optimum,
    exact_slope_at_zero,
    infimum,
    leading_optimum,
    same_sign_bound,
    single_head_minima,
    single_head_optimum,
    two_head_optimum,
    two_head_slope,
)
from ....theory.softmax_attention.exact_losses import value_averages
from ....theory.softmax_attention.losses_of_heads import HeadOptimum
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order, equal_within
from .heads_at_optimum import FEW_NODES, BestHeads, best_heads, best_scale
from .setting import EXACT_LOSSES, PUBLISHED, white_task

OPTIMALITY = "several heads and one head"
DEBIASED = "debiased gradient step"

OTHER_SCALE = Task(
    eigenvalues=[2.0] * 3,
    teacher_covariance=np.diag([0.5, 0.2, 0.4]),
    noise_variance=0.3,
    context_length=15,
)
"""Inputs of variance 2 and labels of variance 2.2, in which a factor in a wrong place shows."""

TASKS = (PUBLISHED, white_task(2, 6, noise=1.0), OTHER_SCALE)
SINGLE_TASKS = (white_task(5, 20), white_task(20, 160))
SIZES = (
    *SINGLE_TASKS,
    PUBLISHED,
    white_task(10, 80),
    white_task(40, 320),
    white_task(80, 640),
)
"""The last four are those of the long tier."""

PAIR_TASKS = ((white_task(4, 20), (0.1, 0.35)), (PUBLISHED, (0.05, 0.15)))
"""Sizes, and where γ of the best pair is looked for."""


SMALL_γ = (0.03, 0.06, 0.12)
"""γ of the expansion around the debiased step: the rounding of the loss is 1e-8 of the first change."""
SLOPE_TASKS = (white_task(3, 12), PUBLISHED, white_task(4, 9, noise=0.5), OTHER_SCALE)
LONG_CONTEXTS = (100, 200, 400)
INVERSE_LENGTHS = tuple(1 / N for N in LONG_CONTEXTS)
PAIR_BRACKET = (0.01, 0.06)
"""Where γ* of the long contexts is looked for, in inputs of variance 2."""

WITHOUT_E = "e missing"
WITH_E = "e κD for κD"
WITHOUT_NOISE = "κ without σ²"
INVERSE_DIMENSION = "ω = 1/D"
COSH = "cosh for sinh"
APPROXIMATE = "optimum of the approximate loss"
EQUAL = "no better than one head"
D_FOR_D_PLUS_2 = "D for D + 2"
PLUS_ONE = "M + 1 for M, as in the plain step"
NO_SIGNS = "Σμ = 0"
SYMMETRIC = "both signs alike"
TWO_ARE_ENOUGH = "two heads are enough"
ONE_EACH = "the value of one head for the step of two that merge"
E_SQUARED = "e² for e"

_STARTS = 2


def _clean(task: Task) -> Task:
    """The task without label noise."""
    return Task(
        eigenvalues=task.eigenvalues,
        teacher_covariance=task.teacher_covariance,
        context_length=task.context_length,
    )


# One head on the approximate loss


def _minimised_single(context: RunContext) -> list[FloatArray]:
    """|ω|, |μ| and the loss (3,) of one head where a minimisation of L̃ ends, for each task."""
    generator = np.random.default_rng(context.seeds(1)[0])
    optima = []
    for task in TASKS:
        start = generator.choice([-1, 1]) * np.array([0.6, 0.8])
        ω, μ, loss = _minimised(task, start)
        optima.append(np.array([abs(ω[0]), abs(μ[0]), loss]))
    return optima


# Long because the loss, its bounds and the minimisation are one computation.
def _minimised(task: Task, start: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """ω, μ (H,) and L̃ where a descent from (ω, μ) (2H,) ends."""
    from scipy.optimize import minimize

    H = len(start) // 2

    def loss(heads: FloatArray) -> tuple[float, FloatArray]:
        result = approximate_loss(task, heads[:H], heads[H:], gradient=True)
        assert result.gradient is not None
        return float(result), np.concatenate(result.gradient)

    # Beyond 3/√D, where the exponentials are those of s = 9, there is nothing to find, and soon no number.
    largest = 3 / (float(np.max(task.eigenvalues)) * np.sqrt(task.dimension))
    bounds = [(-largest, largest)] * H + [(None, None)] * H
    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 150}
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    return found.x[:H], found.x[H:], float(found.fun)


def _stated_single(context: RunContext, control: str) -> list[FloatArray]:
    """ω = 1/√D, μ = √D/(1 + eκD) and the loss, in the units of each task."""
    optima = []
    for task in TASKS:
        best = single_head_optimum(_clean(task) if control == WITHOUT_NOISE else task)
        ω, μ, loss = float(best.omega[0]), float(best.mu[0]), best.loss
        if control == WITHOUT_NOISE:
            loss += task.query_noise_variance
        if control == WITHOUT_E:
            loss = infimum(task, 2)
        if control == INVERSE_DIMENSION:
            ω /= np.sqrt(task.dimension)
        optima.append(np.array([ω, μ, loss]))
    return optima


# Two opposite heads on the approximate loss

PAIR_γ = np.array([0.02, 0.1, 0.3, 0.6])


def _minimised_pairs(context: RunContext) -> list[FloatArray]:
    """Best ω, μ, loss and slope in γ (24,) of heads ±(γ, m) for each task, from values and gradients of L̃ alone.

    And the slopes (1,) at each γ of each task, by a series: gradients resolve 1e-9 of the largest of them.
    """
    curves = [np.concatenate([_best_pair(task, γ) for γ in PAIR_γ]) for task in TASKS]
    slopes = [np.array([_slope_by_series(task, γ)]) for task in TASKS for γ in PAIR_γ]
    return [*curves, *slopes]


def _slope_by_series(task: Task, γ: float) -> float:
    """The slope in γ of L(0) − v/(1 + κq/v) with q = sinh(s)/(λγ)² = D Σ_k s^{2k}/(2k + 1)!, s = D(λγ)²."""
    D, λ, N = (
        task.dimension,
        float(np.mean(task.eigenvalues)),
        max(task.context_lengths),
    )
    v = λ * float(np.trace(task.teacher_covariance))
    κ = (v + task.noise_variance) / N
    s = D * (λ * γ) ** 2
    powers = [s ** (2 * k) / math.factorial(2 * k + 1) for k in range(12)]
    by_log_s = sum(2 * k * power for k, power in enumerate(powers))
    η = 1 / (1 + κ * D / v * sum(powers))
    return float(κ * η**2 * D * by_log_s * 2 / γ)


def _best_pair(task: Task, γ: float) -> FloatArray:
    """ω, μ, loss and slope (6,): L̃ is a parabola in m, which its slopes at m = 0 and m = 1 determine."""
    pair = np.array([1.0, -1.0])
    slopes = [_gradient(task, γ * pair, m * pair)[1] @ pair for m in (0.0, 1.0)]
    m = slopes[0] / (slopes[0] - slopes[1])
    loss = float(approximate_loss(task, γ * pair, m * pair))
    by_γ = _gradient(task, γ * pair, m * pair)[0] @ pair
    return np.array([γ, -γ, m, -m, loss, by_γ])


def _gradient(
    task: Task, ω: FloatArray, μ: FloatArray
) -> tuple[FloatArray, FloatArray]:
    result = approximate_loss(task, ω, μ, gradient=True)
    assert result.gradient is not None
    return result.gradient.omega, result.gradient.mu


def _stated_pairs(context: RunContext, control: str) -> list[FloatArray]:
    """The closed forms of m, loss and slope at every γ."""
    curves = []
    for task in TASKS:
        stated = _clean(task) if control == WITHOUT_NOISE else task
        numbers = []
        for γ in PAIR_γ:
            pair = two_head_optimum(stated, γ)
            s = task.dimension * (float(np.mean(task.eigenvalues)) * γ) ** 2
            factor = 1 / np.tanh(s) if control == COSH else 1.0
            numbers += [*pair.omega, *(factor * pair.mu), pair.loss]
            numbers.append(two_head_slope(stated, γ))
        curves.append(np.array(numbers))
    # Every sixth number is a slope.
    slopes = [curve[5::6] for curve in curves]
    return [*curves, *(np.array([slope]) for slope in np.concatenate(slopes))]


# Any heads on both losses

THREE_ω = np.array([0.3, -0.25, 0.1])


def _best_by_gradients(context: RunContext) -> list[FloatArray]:
    """Best μ and loss (4,) of three heads at given ω, from gradients of L̃ for each task and of the exact loss."""
    points = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    numbers = []
    for task in TASKS:
        gradients = np.array([_gradient(task, THREE_ω, μ)[1] for μ in points])
        form = gradients[1:] - gradients[0]
        μ = np.linalg.solve(form, -gradients[0])
        numbers.append(np.append(μ, float(approximate_loss(task, THREE_ω, μ))))
    exact = best_heads(PUBLISHED, THREE_ω, np.eye(3))
    return [*numbers, np.append(exact.mu, exact.loss)]


def _stated_best_values(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's best values and losses."""
    optima = [
        best_values(_clean(task) if control == WITHOUT_NOISE else task, THREE_ω)
        for task in TASKS
    ]
    exact = best_exact_values(PUBLISHED, THREE_ω)
    if control == APPROXIMATE:
        exact = best_values(PUBLISHED, THREE_ω)
    return [np.append(best.mu, best.loss) for best in (*optima, exact)]


# The infimum, and values of one sign

HEADS = (2, 4)


def _least_losses(context: RunContext) -> list[FloatArray]:
    """The least L̃ (2,) that descents from random starts end at with 2 and 4 heads, for each task."""
    generator = np.random.default_rng(context.seeds(1)[0])
    least = []
    for task in TASKS:
        by_heads = []
        for heads in HEADS:
            starts = 0.5 * generator.standard_normal((_STARTS, 2 * heads))
            # One pair of opposite heads in every start: others may end at the best single head.
            starts[:, :2], starts[:, heads : heads + 2] = [0.3, -0.3], [1.0, -1.0]
            by_heads.append(min(_minimised(task, start)[2] for start in starts))
        least.append(np.array(by_heads))
    return least


def _infima(context: RunContext, control: str) -> list[FloatArray]:
    """1 + σ² − 1/(1 + κD) for every number of heads, in the units of each task."""
    infima = []
    for task in TASKS:
        loss = infimum(task, 2)
        if control == WITH_E:
            loss = infimum(task, 1)
        if control == WITHOUT_NOISE:
            loss = infimum(_clean(task), 2) + task.query_noise_variance
        infima.append(np.full(len(HEADS), loss))
    return infima


_REACHED = 1e-5
"""A descent goes ever slower down the valley: it ends within this share of the infimum."""
_ROUNDING = 1e-12


def _reached_from_above(
    predicted: list[FloatArray], observed: list[FloatArray]
) -> Evidence:
    """No descent ends below the predicted loss, and some end close to it."""
    ratios = np.concatenate(observed) / np.concatenate(predicted) - 1
    lowest, highest = float(np.min(ratios)), float(np.max(ratios))
    return Evidence(
        agrees=lowest >= -_ROUNDING and highest <= _REACHED,
        observed=f"least losses {lowest:.1e} to {highest:.1e} above, relative",
        expected=f"from 0 to {_REACHED:g}",
        residual=highest,
    )


CASES, RANDOM_TASKS = 3_000, 30


class _Cases(NamedTuple):
    """L̃ of heads (cases,), and the numbers (D, N, σ²) of the task of each."""

    losses: FloatArray
    tasks: list[tuple[int, int, float]]


# Long because tasks and heads are drawn by one generator, in one order.
def _one_sign_losses(context: RunContext) -> _Cases:
    """L̃ of random heads whose values have one sign, in size the best ones; every tenth case attains the bound."""
    generator = np.random.default_rng(context.seeds(1)[0])
    drawn = [
        (
            int(generator.integers(1, 12)),
            int(generator.integers(1, 60)),
            float(generator.uniform(0, 2)),
        )
        for _ in range(RANDOM_TASKS)
    ]
    losses, tasks = np.empty(CASES), []
    for case in range(CASES):
        numbers = drawn[case % RANDOM_TASKS]
        heads = int(generator.integers(1, 9))
        width = 1 / np.sqrt(numbers[0])
        scale = width * np.exp(generator.uniform(-2, 0.7))
        ω = scale * generator.standard_normal(heads)
        if case % 10 == 0:
            ω = np.full(heads, width)
        share = generator.dirichlet(np.ones(heads))
        losses[case] = _best_of_shares(numbers, ω, share)
        tasks.append(numbers)
    return _Cases(losses, tasks)


def _best_of_shares(
    task_numbers: tuple[int, int, float], ω: FloatArray, share: FloatArray
) -> float:
    """The least L̃ of heads ω with values in these shares: written out here, as the definition says."""
    D, N, σ2 = task_numbers
    κ = (1 + σ2) / N
    η = float(share @ ω)
    noise = float(share @ np.exp(D * np.outer(ω, ω)) @ share)
    return 1 + σ2 - η**2 / (η**2 + κ * noise)


def _one_sign_bounds(
    context: RunContext, control: str
) -> Callable[[int, int, float], float]:
    """The bound as a function of D, N and σ²."""

    @cache
    def bound(D: int, N: int, σ2: float) -> float:
        task = white_task(D, N, σ2)
        if control == WITHOUT_E:
            return infimum(task, 2)
        if control == E_SQUARED:
            noise = 1 / (1 + σ2 - infimum(task, 1)) - 1  # e κD
            return 1 + σ2 - 1 / (1 + math.e * noise)
        return same_sign_bound(task)

    return bound


def _above_one_head(
    predicted: Callable[[int, int, float], float], observed: _Cases
) -> Evidence:
    """Every loss is at or above the bound of its task, and one in ten cases attains it."""
    bounds = np.array([predicted(*numbers) for numbers in observed.tasks])
    margins = observed.losses - bounds
    attained = int(np.sum(np.abs(margins) < _ROUNDING))
    least = float(np.min(margins))
    return Evidence(
        agrees=least >= -_ROUNDING and attained >= CASES // 10,
        observed=f"least margin {least:.1e}, {attained} cases attain the bound",
        expected=f"no margin below 0, and {CASES // 10} cases at the bound",
        residual=least,
    )


# The exact loss


def _measured_singles(context: RunContext) -> list[FloatArray]:
    """ω, μ and loss (3,) of the best single head on the exact loss, for each task."""
    optima = []
    for task in SINGLE_TASKS:
        width = 1 / np.sqrt(task.dimension)
        ω, best = best_scale(task, (1.0,), (0.5 * width, 1.8 * width))
        optima.append(np.array([ω, best.mu[0], best.loss]))
    return optima


def _stated_singles(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's optimum of one head, or that of the approximate loss."""
    optima = []
    for task in SINGLE_TASKS:
        best = _exact_optimum(task, 1)
        if control == APPROXIMATE:
            best = single_head_optimum(task)
        optima.append(np.array([best.omega[0], best.mu[0], best.loss]))
    return optima


# Each search takes up to a second, and every control needs the same one.
_exact_optimum = cache(exact_optimum)


def _measured_pairs(context: RunContext) -> list[FloatArray]:
    """γ and m (2,), and the loss (1,), of the best two heads ±(γ, m) on the exact loss, for each task."""
    curves = []
    for task, bracket in PAIR_TASKS:
        γ, best = best_scale(task, (1.0, -1.0), bracket)
        curves += [np.array([γ, best.mu[0]]), np.array([best.loss])]
    return curves


def _stated_optimal_pairs(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's finite optimum; the debiased step, or one head, in its place."""
    curves = []
    for task, _ in PAIR_TASKS:
        best = _exact_optimum(task, 2)
        loss = best.loss
        if control == "the limit γ → 0":
            loss = best_debiased_step(task).loss
        if control == EQUAL:
            loss = _exact_optimum(task, 1).loss
        γ = float(best.omega[0])
        if control == "leading order in 1/N":
            γ = leading_optimum(task).gamma
        curves += [np.array([γ, best.mu[0]]), np.array([loss])]
    return curves


def _both_losses(tasks: tuple[Task, ...], context: RunContext) -> list[FloatArray]:
    """Exact loss of the best single head, and of two heads ±(γ, m) with γ√D = 0.1, for each size."""
    losses = []
    for task in tasks:
        width = 1 / np.sqrt(task.dimension)
        bracket = (0.6 * width, 1.6 * width)
        _, single = best_scale(task, (1.0,), bracket, digits=1e-4)
        pair = best_heads(
            task, [0.1 * width, -0.1 * width], [[1.0, -1.0]], nodes=FEW_NODES
        )
        losses.append(np.array([single.loss, pair.loss]))
    return losses


def _stated_both(
    tasks: tuple[Task, ...], context: RunContext, control: str
) -> list[FloatArray]:
    """The theory's best single head, and the debiased step, which the pair is within 1e-3 of."""
    losses = []
    for task in tasks:
        single = _exact_optimum(task, 1).loss
        pair = best_debiased_step(task).loss
        if control == EQUAL:
            pair = single
        if control == APPROXIMATE:
            single = infimum(task, 1)
        losses.append(np.array([single, pair]))
    return losses


def _beats_one_head(name: str, tasks: tuple[Task, ...], **fields: Any) -> Claim:
    """The claim on these sizes."""
    sizes = [f"({task.dimension}, {max(task.context_lengths)})" for task in tasks]
    common: dict[str, Any] = {
        "paper": "he2025",
        "equation": OPTIMALITY,
        "statement": r"\min_{H=2} L < \min_{H=1} L",
        "limit": "γ → 0, error O(γ²)",
        # The pair is within 3e-4 of its limit, and one head 1e-1 above it.
        "judge": equal_within(1e-3),
        "controls": (EQUAL, APPROXIMATE),
        "assumes": EXACT_LOSSES,
    }
    return Claim(
        id=name,
        observable=f"loss of the best head, and of two heads at γ√D = 0.1; (D, N) = {', '.join(sizes)}",
        measure=partial(_both_losses, tasks),
        predict=partial(_stated_both, tasks),
        **common | fields,
    )


def _losses_of_small_γ(context: RunContext) -> list[FloatArray]:
    """Exact loss of two heads ±(γ, m) at the best m, (tasks · 2,) for each γ, each twice for two statements on it."""
    return [
        np.repeat([_pair_loss(task, _in_units(task, γ)) for task in SLOPE_TASKS], 2)
        for γ in SMALL_γ
    ]


def _in_units(task: Task, γ: float) -> float:
    """γ over the variance of x, so that scores are those of inputs of variance 1."""
    return γ / float(np.mean(task.eigenvalues))


def _pair_loss(task: Task, γ: float) -> float:
    return best_heads(task, [γ, -γ], [[1.0, -1.0]]).loss


def _tangents(context: RunContext, control: str) -> list[FloatArray]:
    """Loss of the debiased step and the slope in γ² from there, (tasks · 2,) for each γ.

    The second slope of a task follows from its leading optimum: the gain is half the slope times γ*², and N/(N − 1).
    """
    curves = []
    for γ in SMALL_γ:
        losses = []
        for task in SLOPE_TASKS:
            D, N = task.dimension, max(task.context_lengths)
            M = N + D * (1 + task.noise_variance)
            slope = exact_slope_at_zero(task)
            if control == D_FOR_D_PLUS_2:
                slope *= D / (D + 2)
            if control == PLUS_ONE:
                slope *= (M / (M + 1)) ** 2
            leading = leading_optimum(task)
            of_optimum = -2 * (1 - 1 / N) * leading.gain / leading.gamma**2
            limit = best_debiased_step(task).loss
            for each in (slope, of_optimum):
                losses.append(limit + each * _in_units(task, γ) ** 2)
        curves.append(np.array(losses))
    return curves


def _long_contexts() -> list[Task]:
    """Two dimensions of variance 2, and labels of variance 1.8."""
    return [
        Task(
            [2.0, 2.0],
            teacher_covariance=np.diag([0.3, 0.6]),
            noise_variance=0.2,
            context_length=N,
        )
        for N in LONG_CONTEXTS
    ]


def _measured_orders(context: RunContext) -> list[FloatArray]:
    """Logarithms of γ*² and of the gain over γ → 0 (2,) of two exact heads, for each context length, D = 2."""
    points = []
    for task in _long_contexts():
        γ, best = best_scale(
            task, (1.0, -1.0), PAIR_BRACKET, nodes=FEW_NODES, digits=1e-6
        )
        gain = best_debiased_step(task).loss - best.loss
        points.append(np.log([γ**2, gain]))
    return points


def _leading_orders(context: RunContext, control: str) -> list[FloatArray]:
    """12/(N(D + 4)(D(1 + σ²) + 3)) and 24(D + 2)/(N M²(D + 4)(D(1 + σ²) + 3)), as logarithms."""
    points = []
    for task in _long_contexts():
        leading = leading_optimum(task)
        γ2, gain = leading.gamma**2, leading.gain
        if control == D_FOR_D_PLUS_2:
            gain *= 2 / 4
        if control == "half of γ*²":
            γ2 /= 2
        points.append(np.log([γ2, gain]))
    return points


ONE_DIMENSION = tuple(
    Task([1.0], teacher_covariance=[[1.0]], noise_variance=0.0, context_length=N)
    for N in (29, 30, 100)
)
"""One dimension and no noise, where the stated error is nearest to the true one; there is none for N below 30."""
BRACKETS = ((0.15, 0.3), (0.06, 0.12))
"""Where γ* of the last two is."""
LARGEST_RATIO = 1.1
LONG_ALONE, NEARER = "12/N", "14/(N − 16)"


def _errors_of_leading_orders(context: RunContext) -> list[float]:
    """By how much γ*² or the gain exceeds its leading order, relative to it, where N is 30 and 100."""
    errors = []
    for task, bracket in zip(ONE_DIMENSION[1:], BRACKETS, strict=True):
        N = max(task.context_lengths)
        γ, best = best_scale(task, (1.0, -1.0), bracket, nodes=FEW_NODES, digits=1e-5)
        gain = best_debiased_step(task).loss - best.loss
        # 12/(N (D+4)(D+3)) and 24 (D+2)/(N M² (D+4)(D+3)) with D = 1 and M = N + 1.
        leading_γ2, leading_gain = 12 / (20 * N), 72 / (20 * N * (N + 1) ** 2)
        errors.append(max(γ**2 / leading_γ2, gain / leading_gain) - 1)
    return errors


def _stated_errors(context: RunContext, control: str) -> list[float]:
    """The error that the theory states at N = 29, 30 and 100."""
    stated = [leading_optimum(task).relative_error for task in ONE_DIMENSION]
    if control == LONG_ALONE:
        stated[1:] = [12 / 30, 12 / 100]
    if control == NEARER:
        stated[1:] = [14 / 14, 14 / 84]
    return stated


def _just_above(predicted: list[float], observed: list[float]) -> Evidence:
    """No error is stated for the shortest context, and the others are above the true ones, but not by far."""
    ratios = np.divide(predicted[1:], observed)
    lowest, highest = float(np.min(ratios)), float(np.max(ratios))
    return Evidence(
        agrees=predicted[0] == math.inf and lowest >= 1 and highest <= LARGEST_RATIO,
        observed=f"stated errors {lowest:.3f} to {highest:.3f} of the true ones, and {predicted[0]:g} at N = 29",
        expected=f"from 1 to {LARGEST_RATIO:g}, and infinite at N = 29",
        residual=highest,
    )


# More than two heads


def _two_pairs(context: RunContext) -> list[FloatArray]:
    """Loss, ω and μ of the outer pair, and the step of the inner pair (4,), of the best two pairs; and ones.

    The inner pair is at γ = 0.01, near the limit γ → 0. That ω at which the slope vanishes is found by two secants.
    """
    places = list(OUTER_BRACKET)
    slopes = [_inner_and_outer(place).slope for place in places]
    places.append(_secant(places, slopes))
    best = _inner_and_outer(places[-1])
    γ = _secant([places[0], places[-1]], [slopes[0], best.slope])
    step = 2 * INNER_γ * best.mu[0]
    return [np.array([best.loss]), np.array([γ, best.mu[2], step]), np.ones(3)]


INNER_γ, OUTER_BRACKET = 0.01, (1.55, 1.6)
"""The slope of the loss in ω of the outer pair changes its sign within the bracket."""


def _inner_and_outer(outer: float) -> BestHeads:
    """The best values of heads ±0.01 and ± this ω, their exact loss, and its slope in ω of the outer pair."""
    ω = np.array([INNER_γ, -INNER_γ, outer, -outer])
    form = value_averages(FEW_TOKENS, ω, nodes=14, error=1e-13, gradient=True)
    μ = form.best_μ()
    by_ω = form.by_ω(μ)
    return BestHeads(μ, form.loss(1 + FEW_TOKENS.noise_variance, μ), by_ω[2] - by_ω[3])


def _secant(places: list[float], values: list[float]) -> float:
    """Where the line through two points is zero."""
    rise = (values[1] - values[0]) / (places[1] - places[0])
    return places[0] - values[0] / rise


FEW_TOKENS = white_task(2, 10)


def _best_two_pairs(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's four heads, or the loss of two or of the approximate loss; the ones say which two of them merge."""
    best = _exact_optimum(FEW_TOKENS, 4)
    loss = best.loss
    if control == TWO_ARE_ENOUGH:
        loss = _exact_optimum(FEW_TOKENS, 2).loss
    if control == APPROXIMATE:
        loss = infimum(FEW_TOKENS, 4)
    outer = [best.omega[0], best.mu[0], best.step]
    if control == ONE_EACH:
        outer[-1] = best.mu[0]
    in_pairs = [group.heads / 2 for group in best.merged]
    # What does not vanish by symmetry, and the error that is stated.
    ones = [sum(in_pairs), 1 + np.sum(best.omega) + np.sum(best.mu), 1 + best.error]
    return [np.array([loss]), np.array(outer), np.array(ones)]


# With the query's own token among the keys


def _minima_with_query(context: RunContext) -> list[FloatArray]:
    """ω and loss (4,) of the best head of either sign of ω, negative first."""
    numbers: list[float] = []
    for sign, bracket in ((-1.0, (0.2, 1.0)), (1.0, (0.2, 0.6))):
        x, best = best_scale(PUBLISHED, (sign,), bracket, query_token=True)
        numbers += [sign * x, best.loss]
    # Without the query's token the other head is the mirror image.
    return [np.array(numbers), np.ones(3)]


@cache
def _both_minima(query_token: bool) -> tuple[HeadOptimum, ...]:
    return single_head_minima(PUBLISHED, query_token=query_token)


def _stated_minima(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's two minima; one more than the sums of ω and of μ without the query's token, and ratio of losses."""
    minima = _both_minima(control != SYMMETRIC)
    ordered = sorted(minima, key=lambda best: float(best.omega[0]))
    numbers: list[float] = []
    for best in ordered:
        numbers += [float(best.omega[0]), best.loss]

    one, other = _both_minima(False)
    sums = [1 + (one.omega + other.omega)[0], 1 + (one.mu + other.mu)[0]]
    return [np.array(numbers), np.array([*sums, one.loss / other.loss])]


QUERY_γ = (0.02, 0.04, 0.08)


def _sums_with_query(context: RunContext) -> list[FloatArray]:
    """1 + Σμ/η (1,) of the best values of ω = ±γ with the query's token, η = Σ μω, for each γ."""
    sums = []
    for γ in QUERY_γ:
        ω = np.array([γ, -γ])
        μ = best_heads(PUBLISHED, ω, np.eye(2), query_token=True).mu
        sums.append(np.array([1 + np.sum(μ) / (μ @ ω)]))
    return sums


def _stated_sums(context: RunContext, control: str) -> list[FloatArray]:
    """1 + D/(N + 1): the sum cancels the weight of the query's token, which has no label."""
    D, N = PUBLISHED.dimension, max(PUBLISHED.context_lengths)
    ratio = {NO_SIGNS: 0.0, "D/N": D / N}.get(control, D / (N + 1))
    return [np.array([1 + ratio])] * len(QUERY_γ)


CLAIMS = (
    Claim(
        id="softmax.one_head",
        title="A descent on the approximate loss of one head ends at ω = 1/√D with e κD in the loss",
        paper="he2025",
        equation=OPTIMALITY,
        statement=r"\tilde L = 1 + \sigma^2 - \frac{1}{1 + e\kappa D},\quad \omega = 1/\sqrt D",
        observable="end of a descent on L̃ with one head; three tasks, one with other variances of x and y",
        limit="none: exact",
        measure=_minimised_single,
        predict=_stated_single,
        judge=equal_within(1e-6),
        controls=(WITHOUT_E, WITHOUT_NOISE, INVERSE_DIMENSION),
        tier="fast",
    ),
    Claim(
        id="softmax.pair",
        title="The approximate loss of two opposite heads follows its closed form at every γ",
        paper="he2025",
        equation=OPTIMALITY,
        statement=r"\tilde L = 1 + \sigma^2 - \frac{1}{1 + \kappa\sinh(D\gamma^2)/\gamma^2}",
        observable="best m, loss and slope in γ from gradients of L̃ at γ = 0.02 … 0.6, slopes by a series; three tasks",
        limit="none: exact",
        measure=_minimised_pairs,
        predict=_stated_pairs,
        judge=equal_within(1e-9),
        controls=(COSH, WITHOUT_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax.best_values",
        title="The best values of heads at any ω solve a quadratic form, on either loss",
        paper="he2025",
        equation=OPTIMALITY,
        beyond_paper=True,
        statement=r"\mu = (\omega\omega^\top + \kappa E)^{-1}\omega",
        observable="zero of the gradient by μ of three heads, on L̃ of three tasks and on the exact loss",
        limit="nodes of the quadrature → ∞",
        measure=_best_by_gradients,
        predict=_stated_best_values,
        judge=equal_within(1e-6),
        controls=(WITHOUT_NOISE, APPROXIMATE),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.infimum",
        title="Two heads and four reach the same infimum of the approximate loss, and none goes below",
        paper="he2025",
        equation=OPTIMALITY,
        beyond_paper=True,
        statement=r"\inf \tilde L = 1 + \sigma^2 - \frac{1}{1 + \kappa D}\quad (H \ge 2)",
        observable="the least of two descents on L̃ from random starts with both signs; three tasks",
        limit="ω → 0",
        measure=_least_losses,
        predict=_infima,
        judge=_reached_from_above,
        controls=(WITH_E, WITHOUT_NOISE),
        tier="fast",
    ),
    Claim(
        id="softmax.one_sign",
        title="No heads whose values have one sign are better than the best single head",
        paper="he2025",
        equation=OPTIMALITY,
        beyond_paper=True,
        statement=r"\mu \ge 0:\quad \tilde L \ge 1 + \sigma^2 - \frac{1}{1 + e\kappa D}",
        observable="L̃ of 3,000 random tasks and heads, H = 1 … 8, the size of μ the best one",
        limit="none: exact",
        measure=_one_sign_losses,
        predict=_one_sign_bounds,
        judge=_above_one_head,
        controls=(WITHOUT_E, E_SQUARED),
        tier="fast",
    ),
    Claim(
        id="softmax.exact_single",
        title="The best single head on the exact loss is where its slope vanishes, and not where that of L̃ does",
        paper="he2025",
        equation=OPTIMALITY,
        beyond_paper=True,
        statement=r"\partial L/\partial\omega = \partial L/\partial\mu = 0",
        observable="ω, μ and loss at the zero of the slope, by bisection of the gradient; two sizes",
        limit="nodes of the quadrature → ∞",
        measure=_measured_singles,
        predict=_stated_singles,
        judge=equal_within(1e-6),
        controls=(APPROXIMATE,),
        assumes=EXACT_LOSSES,
    ),
    Claim(
        id="softmax.exact_pair",
        title="Two heads have a finite optimum on the exact loss, below the debiased step",
        paper="he2025",
        equation=DEBIASED,
        beyond_paper=True,
        statement=r"L(\pm\gamma_*) < \lim_{\gamma \to 0} L(\pm\gamma)",
        observable="γ, m and loss at the zero of the slope in γ, by bisection of the gradient; two sizes",
        limit="nodes of the quadrature → ∞",
        measure=_measured_pairs,
        predict=_stated_optimal_pairs,
        # The loss is flat: γ is off by 1e-6 where its slope is off by 1e-10.
        judge=equal_within(1e-5),
        controls=("the limit γ → 0", EQUAL, "leading order in 1/N"),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    _beats_one_head(
        "softmax.beats_one_head",
        SINGLE_TASKS,
        title="Two heads beat one head on the exact loss",
    ),
    _beats_one_head(
        "softmax.beats_one_head_sizes",
        SIZES,
        title="Two heads beat one head on the exact loss from D = 5 to D = 80",
        tier="long",
    ),
    Claim(
        id="softmax.slope",
        title="The exact loss of two heads falls from the debiased step with slope −4(N − 1)(D + 2)/(N M²) in γ²",
        paper="he2025",
        equation=DEBIASED,
        beyond_paper=True,
        statement=r"\min_m L = L_{\mathrm{debiased}} - \frac{4(N-1)(D+2)}{N M^2}\gamma^2 + O(\gamma^4)",
        observable="exact loss at the best m, γ = 0.03, 0.06, 0.12; four tasks",
        limit="γ → 0, error O(γ⁴)",
        order=4.0,
        measure=_losses_of_small_γ,
        predict=_tangents,
        judge=converges_at_order(SMALL_γ, 4, name="γ"),
        controls=(D_FOR_D_PLUS_2, PLUS_ONE),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.leading_optimum",
        title="Optimum and gain of two exact heads approach their leading orders in 1/N",
        paper="he2025",
        equation=DEBIASED,
        beyond_paper=True,
        statement=r"\gamma_*^2 = \frac{12\,(1 + O(1/N))}{N(D + 4)(D(1 + \sigma^2) + 3)}",
        observable="logarithms of γ*² and of the gain over γ → 0, D = 2, N = 100 … 400",
        limit="N → ∞ at fixed D, relative error O(1/N)",
        order=1.0,
        measure=_measured_orders,
        predict=_leading_orders,
        judge=converges_at_order(INVERSE_LENGTHS, 1, name="1/N"),
        controls=(D_FOR_D_PLUS_2, "half of γ*²"),
        assumes=EXACT_LOSSES,
    ),
    Claim(
        id="softmax.leading_error",
        title="The leading orders of the optimum of two exact heads are low by no more than they state",
        paper="he2025",
        equation=DEBIASED,
        beyond_paper=True,
        origin="measured here",
        statement=r"\gamma_*^2 \le \gamma_1^2\Big(1 + \frac{12}{N - 20}\Big)\quad (N \ge 30)",
        observable="what γ*² and the gain exceed their leading orders by; D = 1, σ = 0, N = 30, 100",
        limit="nodes of the quadrature → ∞",
        measure=_errors_of_leading_orders,
        predict=_stated_errors,
        judge=_just_above,
        controls=(LONG_ALONE, NEARER),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.more_heads",
        title="More than two heads help on the exact loss, as they do not on the approximate one",
        paper="he2025",
        equation=OPTIMALITY,
        beyond_paper=True,
        statement=r"\min_{H=4} L < \min_{H=2} L",
        observable="exact loss of two pairs with the best values, of which one is at γ = 0.01, and the ω at which its "
        "slope vanishes; D = 2, N = 10",
        limit="γ of the first pair → 0",
        measure=_two_pairs,
        predict=_best_two_pairs,
        # The limit γ → 0 is 2.3e-4 away, and two heads are 1.4e-2 above.
        judge=equal_within(5e-4),
        controls=(TWO_ARE_ENOUGH, APPROXIMATE, ONE_EACH),
        assumes=EXACT_LOSSES,
    ),
    Claim(
        id="softmax.query_token_minima",
        title="With the query's token among the keys a single head prefers negative ω",
        paper="he2025",
        equation=OPTIMALITY,
        beyond_paper=True,
        statement=r"L(\omega < 0) < L(\omega > 0)",
        observable="zeros of the slope of either sign of ω, by bisection of the gradient; D = 5, N = 40",
        limit="nodes of the quadrature → ∞",
        measure=_minima_with_query,
        predict=_stated_minima,
        # Both know ω to 1e-8; what the search leaves to its last step is 1e-7.
        judge=equal_within(3e-8),
        controls=(SYMMETRIC,),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.query_token_sum",
        title="With the query's token the values of two heads add up to ηD/(N + 1), not to zero",
        paper="he2025",
        equation=DEBIASED,
        beyond_paper=True,
        statement=r"\textstyle\sum_h \mu_h = \frac{\eta D}{N + 1} + O(\gamma^2)",
        observable="best values of ω = ±γ on the exact loss, γ = 0.02, 0.04, 0.08; D = 5, N = 40",
        limit="γ → 0, error O(γ²)",
        order=2.0,
        measure=_sums_with_query,
        predict=_stated_sums,
        judge=converges_at_order(QUERY_γ, 2, name="γ"),
        controls=(NO_SIGNS, "D/N"),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
)
