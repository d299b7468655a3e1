"""Losses of the algorithms beside softmax heads: gradient steps and ridge regression on drawn contexts, and in limits.

Given the inputs X of a context, the loss of each of them is an average over teacher, noise and query that has a closed
form. Only X is drawn, which makes standard errors ten times smaller than those of prompts.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import sample
from ....task import Task
from ....theory.predictors import (
    best_debiased_step,
    best_plain_step,
    debiased_step_loss,
    excess_ratio,
    excess_ratio_bound,
    largest_total_ratio,
    plain_step_loss,
    proportional_excess_ratio,
    proportional_ridge_loss,
    ridge_loss,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order, equal_within
from ...evidence.seed_judges import within_standard_errors
from .setting import PUBLISHED, white_task

ALGORITHMS, BAYES = "predictors", "Bayes optimality up to a factor"

SHIFTED = Task(
    eigenvalues=[1.0] * 5,
    input_mean=[1.0] * 5,
    teacher_covariance=np.eye(5) / 5,
    noise_variance=0.1,
    context_length=40,
)
"""x ~ N(1, I), for which a step without the mean taken off overshoots along it."""

OBLIQUE = Task(
    covariance=0.7 ** np.abs(np.subtract.outer(np.arange(3), np.arange(3))),
    teacher_covariance=np.diag([0.5, 0.2, 0.4]),
    noise_variance=0.4,
    context_length=8,
)
SIGNS = Task(
    eigenvalues=[1.0, 0.5],
    inputs="rademacher",
    teacher_covariance=np.diag([0.4, 0.9]),
    noise_variance=0.2,
    context_length=3,
)
"""Inputs of two values each, whose fourth cumulant is as large as it can be below zero."""
CASES = ((PUBLISHED, 0.8), (SHIFTED, 0.5), (OBLIQUE, 0.7), (SIGNS, 0.6))
"""Tasks and the step η on each."""

SAMPLES, CONTEXTS = 20, 200

PLUS_ONE = "M + 1 for M, as in the plain step"
MEAN_KEPT = "the mean of x not taken off"
CLEAN_CONTEXT = "no noise in the context"
WHITE_COVARIANCE = "Λ = 1"
DEBIASING_PAYS = "the debiased step ahead for centred x"
OTHER_PENALTY = "σ² for Dσ²"
NO_INPUT_NOISE = "1/σ² for (1 + σ²)/σ²"
INFINITE_DIMENSION = "the bound of D → ∞, (1 + σ²)/σ²"
LEAST_SQUARES = "no penalty"


class Contexts(NamedTuple):
    """Inputs of contexts (P, N, D) and what their losses given X depend on: Ω, E[x xᵀ] and σ²."""

    x: FloatArray
    Ω: FloatArray
    M2: FloatArray
    noise_variance: float

    def loss_of(self, maps: FloatArray, weights: FloatArray) -> FloatArray:
        """E over w, noise and query (P,) of the error of the prediction Σ_n y_n v_nᵀx_q, where y_n = w·x_n + noise.

        `weights` are v_n (P, N, D), and `maps` F = Σ_n x_n v_nᵀ (P, D, D), so that the prediction is wᵀF x_q + noise.
        """
        missed = np.eye(self.x.shape[2]) - maps
        of_teacher = np.sum(self.Ω @ missed @ self.M2 * missed, axis=(1, 2))
        of_noise = np.sum(weights @ self.M2 * weights, axis=(1, 2))
        return np.asarray(self.noise_variance * (1 + of_noise) + of_teacher)

    def step_loss(self, step: float, debiased: bool) -> FloatArray:
        """The loss (P,) of a gradient step, plain or with x_n − x̄ for x_n."""
        x = self.x
        v = x - np.mean(x, axis=1, keepdims=True) if debiased else x
        weights = step * v / x.shape[1]
        maps = x.swapaxes(1, 2) @ weights
        return self.loss_of(maps, weights)

    def ridge_loss(self) -> FloatArray:
        """The loss (P,) of w̄ = (XᵀX + σ²Ω⁻¹)⁻¹ Xᵀy."""
        x = self.x
        precision = x.swapaxes(1, 2) @ x + self.noise_variance * np.linalg.inv(self.Ω)
        weights = x @ np.linalg.inv(precision)
        maps = x.swapaxes(1, 2) @ weights
        return self.loss_of(maps, weights)


def drawn_contexts(task: Task, seed: int) -> Contexts:
    """Contexts of the inputs of a task."""
    x = sample(task, CONTEXTS, seed).tokens[:, :-1, : task.dimension]
    M2 = task.covariance + np.outer(task.input_mean, task.input_mean)
    return Contexts(x, task.teacher_covariance, M2, task.noise_variance)


# Gradient steps


def _steps_on_contexts(context: RunContext) -> list[FloatArray]:
    """Mean losses of the plain and of the debiased step (samples, 2) on drawn contexts, for each case."""
    losses = []
    for task, step in CASES:
        rows = []
        for seed in context.seeds(SAMPLES):
            contexts = drawn_contexts(task, seed)
            plain = np.mean(contexts.step_loss(step, debiased=False))
            rows.append([plain, np.mean(contexts.step_loss(step, debiased=True))])
        losses.append(np.array(rows))
    return losses


def _stated_steps(context: RunContext, control: str) -> list[FloatArray]:
    """The closed forms of both losses (2,), or of wrong variants."""
    losses = []
    for task, step in CASES:
        stated = task
        if control == CLEAN_CONTEXT:
            stated = Task(**task.arguments() | {"noise_variance": 0.0})
        if control == WHITE_COVARIANCE:
            others = task.arguments() | {"covariance": None}
            stated = Task(**others | {"eigenvalues": np.ones(task.dimension)})
        plain = float(plain_step_loss(stated, step))
        debiased = float(debiased_step_loss(stated, step))
        if control == MEAN_KEPT:
            debiased = plain
        if control == PLUS_ONE:
            # One more in E|x x|²: what the plain step has from its own fourth moment.
            debiased += step**2 / max(task.context_lengths)
        if control == CLEAN_CONTEXT:
            plain += task.noise_variance
            debiased += task.noise_variance
        losses.append(np.array([plain, debiased]))
    return losses


def _differences_on_contexts(context: RunContext) -> list[FloatArray]:
    """Loss of the debiased step minus that of the plain one (samples, 1), each best, for centred and shifted x."""
    differences = []
    for task in (PUBLISHED, SHIFTED):
        steps = (best_plain_step(task).step, best_debiased_step(task).step)
        rows = []
        for seed in context.seeds(SAMPLES):
            contexts = drawn_contexts(task, seed)
            plain = contexts.step_loss(steps[0], debiased=False)
            debiased = contexts.step_loss(steps[1], debiased=True)
            rows.append([np.mean(debiased - plain)])
        differences.append(np.array(rows))
    return differences


def _stated_differences(context: RunContext, control: str) -> list[FloatArray]:
    """(D(1 + σ²) + 1)/(M(M + 1)) for centred x, below zero for shifted x."""
    D, N, σ2 = 5, 40, PUBLISHED.noise_variance
    M = N + D + D * σ2
    centred = (D * (1 + σ2) + 1) / (M * (M + 1))
    if control == DEBIASING_PAYS:
        centred = -centred
    shifted = best_debiased_step(SHIFTED).loss - best_plain_step(SHIFTED).loss
    if control == MEAN_KEPT:
        shifted = 0.0
    return [np.array([centred]), np.array([shifted])]


# Ridge regression

RIDGE_TASKS = (
    PUBLISHED,
    white_task(20, 40),
    white_task(3, 6),
    white_task(3, 5, noise=1.0),
)


def _ridge_on_contexts(context: RunContext) -> list[FloatArray]:
    """Mean loss of ridge regression (samples, 1) on drawn contexts, for each task."""
    return [
        np.array([[np.mean(drawn_contexts(task, s).ridge_loss())] for s in seeds])
        for task in RIDGE_TASKS
        if (seeds := context.seeds(SAMPLES))
    ]


def _stated_ridge(context: RunContext, control: str) -> list[FloatArray]:
    """σ² + σ² E tr(XᵀX + Dσ²)⁻¹ (1,) for each task, or that of another penalty or of the plain step."""
    losses = []
    for task in RIDGE_TASKS:
        loss = ridge_loss(task).loss
        if control == OTHER_PENALTY:
            # The mean resolvent at a penalty of σ² is that of teachers of variance 1.
            other = Task(
                **task.arguments() | {"teacher_covariance": np.eye(task.dimension)}
            )
            loss = ridge_loss(other).loss
        if control == "the plain step":
            loss = best_plain_step(task).loss
        losses.append(np.array([loss]))
    return losses


ASPECTS = (0.125, 0.5, 1.0, 2.0)
DIMENSIONS = (8, 16, 32)
INVERSE_DIMENSIONS = tuple(1 / D for D in DIMENSIONS)


def _finite_ridge(context: RunContext) -> list[FloatArray]:
    """The loss of ridge regression (ratios,) at every D, exactly."""
    return [
        np.array([ridge_loss(_other_units(D, ξ)).loss for ξ in ASPECTS])
        for D in DIMENSIONS
    ]


def _other_units(dimension: int, aspect: float) -> Task:
    """White x and w with labels of variance 1.5, with D/N = `aspect`."""
    return Task(
        [2.0] * dimension,
        teacher_covariance=0.75 * np.eye(dimension) / dimension,
        noise_variance=0.1,
        context_length=round(dimension / aspect),
    )


def _limit_ridge(context: RunContext, control: str) -> list[FloatArray]:
    """The limit D → ∞ at fixed ξ = D/N, the same for every D."""
    limits = []
    for ξ in ASPECTS:
        loss = proportional_ridge_loss(_other_units(8, ξ))
        limits.append(0.1 / (1 - 0.9 * ξ) if control == LEAST_SQUARES else loss)
    return [np.array(limits)] * len(DIMENSIONS)


# Bayes up to a factor

RATIO_TASKS = (PUBLISHED, white_task(2, 60), white_task(10, 20), white_task(3, 6, 1.0))


def _measured_ratios(context: RunContext) -> list[FloatArray]:
    """Excess of the best plain step over that of ridge regression (samples, 1) on the same contexts, for each task."""
    ratios = []
    for task in RATIO_TASKS:
        noise = task.noise_variance
        step = best_plain_step(task).step
        rows = []
        for seed in context.seeds(SAMPLES):
            contexts = drawn_contexts(task, seed)
            plain = np.mean(contexts.step_loss(step, debiased=False)) - noise
            bayes = np.mean(contexts.ridge_loss()) - noise
            rows.append([plain / bayes])
        ratios.append(np.array(rows))
    return ratios


def _stated_ratios(context: RunContext, control: str) -> list[FloatArray]:
    """The exact ratio of the excess losses, and the supremum (1 + σ² + 1/D)/σ², (2,) for each task."""
    ratios = []
    for task in RATIO_TASKS:
        σ2 = task.noise_variance
        ratio, bound = excess_ratio(task), excess_ratio_bound(task)
        if control == "its supremum":
            ratio = bound
        if control == "Bayes optimal":
            ratio = 1.0
        if control == INFINITE_DIMENSION:
            bound = (1 + σ2) / σ2
        ratios.append(np.array([ratio, bound]))
    return ratios


def _below_the_bound(
    predicted: list[FloatArray], observed: list[FloatArray]
) -> Evidence:
    """Ratios are as predicted, within standard errors, and below the supremum of each task."""
    ratios = [numbers[:1] for numbers in predicted]
    evidence = within_standard_errors(ratios, observed)
    bounds = np.array([numbers[1] for numbers in predicted])
    means = np.array([np.mean(samples) for samples in observed])
    share = float(np.max(means / bounds))
    return Evidence(
        agrees=evidence.agrees and share < 1,
        observed=f"{evidence.observed}; at most {share:.3f} of the bound",
        expected=f"{evidence.expected}; below the bound",
        residual=evidence.residual,
        curves=evidence.curves,
        axes=evidence.axes,
    )


SMALL_ASPECTS = (1e-2, 1e-3, 1e-4)
NOISES = (0.1, 1.0)


def _limit_ratios(context: RunContext) -> list[FloatArray]:
    """Ratios of excess losses (noises + 1,) for each ξ: as D → ∞, by a fixed point of the mean resolvent, and D = 3."""
    return [
        np.array(
            [
                *(_step_excess(ξ, σ2) / _bayes_excess(ξ, σ2) for σ2 in NOISES),
                excess_ratio(_other_units(3, ξ)),
            ]
        )
        for ξ in SMALL_ASPECTS
    ]


def _step_excess(ξ: float, σ2: float) -> float:
    """1 − η* of the best step with D → ∞ at fixed ξ: its loss is 1 + σ² − 2η + η²(1 + ξ + ξσ²)."""
    return 1 - 1 / (1 + ξ + ξ * σ2)


@cache
def _bayes_excess(ξ: float, σ2: float) -> float:
    """ξσ² g, where g = (1/D) tr(XᵀX/N + ξσ²)⁻¹ solves g (ξσ² + 1/(1 + ξg)) = 1 (Marchenko and Pastur 1967)."""
    from scipy.optimize import brentq

    penalty = ξ * σ2

    def residual(g: float) -> float:
        return g * (penalty + 1 / (1 + ξ * g)) - 1

    g = brentq(residual, 0.0, 1 / penalty, xtol=1e-15, rtol=1e-14)
    return float(penalty * g)


def _suprema(context: RunContext, control: str) -> list[FloatArray]:
    """(1 + σ²)/σ² (noises,), and the supremum for three dimensions, the same for every ξ."""
    one = 0.0 if control == NO_INPUT_NOISE else 1.0
    suprema = np.array([(one + σ2) / σ2 for σ2 in NOISES])
    if control == NO_INPUT_NOISE:
        suprema = np.array([1 / σ2 for σ2 in NOISES])
    tasks = [_other_units(3, ξ) for ξ in SMALL_ASPECTS]
    return [np.append(suprema, excess_ratio_bound(task)) for task in tasks]


TOTAL_NOISES = (0.01, 0.1, 1.0, 3.0)
EXCESS_AT = ((0.3, 0.01), (0.3, 0.1), (1.5, 1.0), (3.0, 0.1), (2.0, 3.0))
"""ξ and σ² with fewer dimensions than tokens and with more."""


def _largest_ratios(context: RunContext) -> list[FloatArray]:
    """The largest ratio of losses, noise of the query included, the ξ of it, and excess ratios at some ξ."""
    largest = np.array([_largest_ratio(σ2) for σ2 in TOTAL_NOISES]).T  # (2, noises)
    excess = [_step_excess(ξ, σ2) / _bayes_excess(ξ, σ2) for ξ, σ2 in EXCESS_AT]
    return [*largest, np.array(excess)]


def _largest_ratio(σ2: float) -> tuple[float, float]:
    """The largest ratio of losses over ξ, and that ξ: the best of a grid, refined between its neighbours."""
    from scipy.optimize import minimize_scalar

    def negative(log_ξ: float) -> float:
        ξ = float(np.exp(log_ξ))
        return -(σ2 + _step_excess(ξ, σ2)) / (σ2 + _bayes_excess(ξ, σ2))

    grid = np.linspace(np.log(1e-2), np.log(1e2), 201)
    best = int(np.argmin([negative(log_ξ) for log_ξ in grid]))
    bounds = (grid[best - 1], grid[best + 1])
    found = minimize_scalar(
        negative, bounds=bounds, method="bounded", options={"xatol": 1e-7}
    )
    return -float(found.fun), float(np.exp(found.x))


def _stated_largest(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's largest ratios and where they are taken, and its excess ratios."""
    stated = [largest_total_ratio(σ2) for σ2 in TOTAL_NOISES]
    largest = np.array([each.ratio for each in stated])
    aspects = np.array([each.aspect_ratio for each in stated])
    if control == "as for the excess":
        largest = np.array([(1 + σ2) / σ2 for σ2 in TOTAL_NOISES])
    if control == "at ξ = σ²":
        aspects = np.array(TOTAL_NOISES)
    shift = 0.01 if control == "another ξ" else 0.0
    excess = [proportional_excess_ratio(σ2, ξ + shift) for ξ, σ2 in EXCESS_AT]
    return [largest, aspects, np.array(excess)]


CLAIMS = (
    Claim(
        id="softmax.steps",
        title="Losses of plain and debiased gradient steps have closed forms, for any mean, covariance and law of x",
        paper="he2025",
        equation=ALGORITHMS,
        beyond_paper=True,
        statement=r"L = 1 + \sigma^2 - 2\eta\tfrac{N-1}{N} + \eta^2\tfrac{(N-1)M}{N^2}\quad\text{(debiased)}",
        observable="loss given X on 20 × 200 drawn contexts; white, shifted, oblique and two-valued inputs",
        limit="contexts → ∞",
        measure=_steps_on_contexts,
        predict=_stated_steps,
        judge=within_standard_errors,
        controls=(PLUS_ONE, MEAN_KEPT, CLEAN_CONTEXT, WHITE_COVARIANCE),
        tier="fast",
    ),
    Claim(
        id="softmax.debiasing",
        title="Debiasing a gradient step pays for shifted x, and costs a little for centred x",
        paper="he2025",
        equation=ALGORITHMS,
        beyond_paper=True,
        statement=r"L_{\mathrm{debiased}} - L_{\mathrm{plain}} = \frac{D(1 + \sigma^2) + 1}{M(M + 1)}\quad(E x = 0)",
        observable="difference of the losses given X, each with its best step, on 20 × 200 drawn contexts",
        limit="contexts → ∞",
        measure=_differences_on_contexts,
        predict=_stated_differences,
        judge=within_standard_errors,
        controls=(DEBIASING_PAYS, MEAN_KEPT),
        tier="fast",
    ),
    Claim(
        id="softmax.ridge",
        title="The Bayes loss is that of ridge regression with the penalty Dσ²",
        paper="he2025",
        equation=BAYES,
        statement=r"L_{\mathrm{Bayes}} = \sigma^2 + \sigma^2\,E\,\mathrm{tr}(X^\top X + D\sigma^2)^{-1}",
        observable="loss given X of the posterior mean on 20 × 200 drawn contexts; four tasks",
        limit="contexts → ∞",
        measure=_ridge_on_contexts,
        predict=_stated_ridge,
        judge=within_standard_errors,
        controls=(OTHER_PENALTY, "the plain step"),
        tier="fast",
    ),
    Claim(
        id="softmax.proportional_ridge",
        title="The Bayes loss approaches its limit at fixed D/N with an error of O(1/D)",
        paper="he2025",
        equation=BAYES,
        beyond_paper=True,
        statement=r"L \to \sigma^2 + \frac{-u + \sqrt{u^2 + 4\xi^2\sigma^2}}{2\xi},\quad u = 1 - \xi + \xi\sigma^2",
        observable="exact loss of ridge regression, D = 8, 16, 32, ξ = 1/8, 1/2, 1, 2",
        limit="D → ∞ at fixed ξ = D/N, error O(1/D)",
        order=1.0,
        measure=_finite_ridge,
        predict=_limit_ridge,
        judge=converges_at_order(INVERSE_DIMENSIONS, 1, name="1/D"),
        controls=(LEAST_SQUARES,),
    ),
    Claim(
        id="softmax.bayes_factor",
        title="A gradient step is optimal up to a factor: its excess is below (1 + σ² + 1/D)/σ² times that of Bayes",
        paper="he2025",
        equation=BAYES,
        statement=r"\frac{L_{\mathrm{step}} - \sigma^2}{L_{\mathrm{Bayes}} - \sigma^2} < "
        r"\frac{1 + \sigma^2 + 1/D}{\sigma^2}",
        observable="ratio of both excess losses on the same 20 × 200 contexts; four tasks, σ² = 0.1 and 1",
        limit="contexts → ∞",
        measure=_measured_ratios,
        predict=_stated_ratios,
        judge=_below_the_bound,
        controls=("its supremum", "Bayes optimal", INFINITE_DIMENSION),
        tier="fast",
    ),
    Claim(
        id="softmax.bayes_supremum",
        title="The factor is reached as D/N → 0, for many dimensions (1 + σ²)/σ²",
        paper="he2025",
        equation=BAYES,
        beyond_paper=True,
        statement=r"\sup_\xi \frac{L_{\mathrm{step}} - \sigma^2}{L_{\mathrm{Bayes}} - \sigma^2} = "
        r"\frac{1 + \sigma^2}{\sigma^2}",
        observable="ratio as D → ∞ from the fixed point of the mean resolvent, σ² = 0.1, 1, and for D = 3, labels of "
        "variance 1.5; ξ = 0.01 … 0.0001",
        limit="ξ → 0, error O(ξ)",
        order=1.0,
        measure=_limit_ratios,
        predict=_suprema,
        judge=converges_at_order(SMALL_ASPECTS, 1, name="ξ"),
        controls=(NO_INPUT_NOISE,),
        tier="fast",
    ),
    Claim(
        id="softmax.total_ratio",
        title="With the noise of the query the loss of a step is at most 2.53 times Bayes' at σ² = 0.1",
        paper="he2025",
        equation=BAYES,
        beyond_paper=True,
        statement=r"\max_\xi L_{\mathrm{step}}/L_{\mathrm{Bayes}} = 17.9,\ 2.53,\ 1.08,\ 1.01",
        observable="largest ratio over ξ and where it is taken, from the fixed point of the mean resolvent; four σ²",
        limit="D → ∞ at fixed ξ = D/N",
        measure=_largest_ratios,
        predict=_stated_largest,
        judge=equal_within(1e-4),
        controls=("as for the excess", "another ξ", "at ξ = σ²"),
        tier="fast",
    ),
)
