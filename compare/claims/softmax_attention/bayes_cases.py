"""The loss of ridge regression where few numbers of the inputs count, so that its mean is known, and where it is drawn.

With a single positive eigenvalue of XᵀX, or two, their law is known in closed form. With inputs of independent signs
±1 and one token every quadratic form of it is known, so that nothing is left to average over.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from ....inputs import Inputs
from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.predictors import ridge_loss
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from ...evidence.seed_judges import within_standard_errors
from .setting import white_task

BAYES = "Bayes optimality up to a factor"

SHORT = Task(
    [2.0, 1.0, 0.5],
    teacher_covariance=np.diag([0.3, 0.6, 1.2]),
    noise_variance=0.4,
    query_noise_variance=0.2,
    context_length={0: 1.0, 1: 2.0},
)
"""Λ^½ΩΛ^½ = 0.6 · 1, a third of the contexts is empty, and the query's label has a noise of its own."""

NEARLY_CLEAN = Task(
    [2.0], teacher_covariance=[[3.0]], noise_variance=1e-4, context_length=1
)
"""One number, and noise that is small beside its square."""

LONG = Task([2.0], teacher_covariance=[[3.0]], noise_variance=0.6, context_length=401)

CLEAN = Task(
    [1.0] * 4,
    teacher_covariance=0.5 * np.eye(4),
    query_noise_variance=0.3,
    context_length={2: 1.0, 6: 1.0},
)
"""Labels without noise tell the teacher on the span of the inputs, which 6 tokens fill."""

PAIRS = (
    white_task(2, 7, noise=2.0),
    white_task(6, 2, noise=1.0),
    white_task(2, 90, noise=2.0),
)
"""Two positive eigenvalues: as many as directions, or as tokens."""

MANY = Task(
    [1.0] * 150,
    teacher_covariance=np.eye(150) / 150,
    noise_variance=1e7 / 150,
    query_noise_variance=0.0,
    context_length=150,
)
"""So many eigenvalues that their polynomials come near the largest number, and a penalty s = 1e7 above all of them."""

SIGNS = Task(
    [2.0, 1.0, 0.5],
    teacher_covariance=np.diag([0.3, 0.2, 0.9]),
    inputs="rademacher",
    noise_variance=0.4,
    query_noise_variance=0.1,
    context_length={0: 1.0, 1: 3.0},
)
"""x_d = ±√λ_d, with directions of unlike variance."""


def _skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Numbers of mean zero and variance one, of which many are small and negative, few large and positive."""
    return generator.exponential(size=shape) - 1


OBLIQUE = Task(
    covariance=[[1.0, 0.5], [0.5, 1.5]],
    input_mean=[0.6, 0.9],
    inputs=Inputs(_skewed),
    teacher_covariance=np.diag([0.8, 0.3]),
    noise_variance=0.4,
    query_noise_variance=0.1,
    context_length=3,
)
REPEATED = Task(
    [1.0, 1.5],
    inputs="rademacher",
    teacher_covariance=np.diag([0.8, 0.3]),
    query_noise_variance=0.1,
    context_length=2,
)
"""Two tokens of signs, of which the second tells nothing new in half of the contexts, and no noise in them."""
SAMPLES, CONTEXTS, MANY_CONTEXTS = 60, 60, 40_000
"""Samples, contexts in each, and those of the theory, whose error is small beside that of the samples."""

FEW_CONTEXTS = 10
"""Contexts where each of them has the same loss."""

OTHER_NOISE = "the noise of the context for that of the query"
OTHER_PENALTY = "half the noise in the context"
FIRST_LENGTH = "contexts of the first length alone"
NO_MEAN = "the mean of x left out"
NORMAL = "normal x of the same mean and covariance"
ERROR_OF_ONE = "the standard error of one context"


# Closed forms


def _known_losses(context: RunContext) -> list[FloatArray]:
    """Losses (2,) that are known, without and with an error, for each task; then how many contexts are drawn."""
    losses = [
        _short_loss(),
        1e-4 + 1e-4 * _inverse_mean(1, 1e-4 / 6),
        0.6 + 0.6 * _inverse_mean(401, 0.6 / 6),
        # c (D − N) where tokens are fewer than directions.
        0.3 + 0.5 * (0.5 * (4 - 2) + 0.5 * 0),
        *(_loss_of_two_eigenvalues(task) for task in PAIRS),
        _loss_of_signs(),
    ]
    drawn = np.zeros(len(losses))
    drawn[-1] = FEW_CONTEXTS
    many = np.array([_loss_of_large_penalty()])
    return [*(np.array([loss, loss]) for loss in losses), drawn, many]


def _loss_of_large_penalty() -> float:
    """σ² tr (W + s)⁻¹ = σ²(D/s − E tr W/s² + E tr W²/s³ − …), with E tr W = DN and E tr W² = DN(N + D + 1)."""
    s, D, N = 1e7, 150, 150
    return 1 - N / s + N * (N + D + 1) / s**2


def _short_loss() -> float:
    """σ_q² + tr ΩΛ without a token; with one |z|² ~ χ²_3 is the only positive eigenvalue, beside two that vanish."""
    c, σ2 = 0.6, 0.4
    s = σ2 / c
    one_token = σ2 * (_inverse_mean(3, s) + 2 / s)
    return 0.2 + (3 * c + 2 * one_token) / 3


def _inverse_mean(freedom: int, s: float) -> float:
    """E 1/(χ² + s) for an odd number of degrees of freedom: √(π/2s) e^{s/2} erfc √(s/2) for one.

    The density of k + 2 is x/k times that of k, and x/(x + s) = 1 − s/(x + s).
    """
    if freedom == 1:
        return (
            math.sqrt(math.pi / (2 * s)) * math.exp(s / 2) * math.erfc(math.sqrt(s / 2))
        )
    fewer = freedom - 2
    return (1 - s * _inverse_mean(fewer, s)) / fewer


def _loss_of_two_eigenvalues(task: Task) -> float:
    """σ² + σ² E tr (W + s)⁻¹ with s = Dσ², by Bartlett's decomposition of the positive part W = T Tᵀ (2, 2).

    T₁₁² and T₂₂² are χ² with k and k − 1 degrees of freedom, T₂₁ is normal, and all three are independent, where k is
    the larger of D and N. D − 2 eigenvalues vanish.
    """
    from scipy.special import roots_genlaguerre, roots_hermitenorm

    D, σ2 = task.dimension, task.noise_variance
    s, k = D * σ2, max(D, *task.context_lengths)
    rules = [roots_genlaguerre(40, freedom / 2 - 1) for freedom in (k, k - 1)]
    rules.append(roots_hermitenorm(60))
    first, second, below = np.meshgrid(*(nodes for nodes, _ in rules), indexing="ij")
    trace, determinant = 2 * first + 2 * second + below**2, 4 * first * second
    resolvent = (trace + 2 * s) / (determinant + s * trace + s**2)
    weights = [each / np.sum(each) for _, each in rules]
    mean = float(np.einsum("abg,a,b,g->", resolvent, *weights))
    return σ2 + σ2 * (mean + (D - 2) / s)


def _loss_of_signs() -> float:
    """σ_q² + tr ΩΛ, less xᵀΩΛΩx/(xᵀΩx + σ²) with x_d² = λ_d for the three quarters that have a token."""
    λ, Ω = np.array([2.0, 1.0, 0.5]), np.array([0.3, 0.2, 0.9])
    labels = float(λ @ Ω)
    explained = float((λ * Ω) @ (λ * Ω)) / (labels + 0.4)
    return 0.1 + labels - 0.75 * explained


KNOWN_TASKS = (SHORT, NEARLY_CLEAN, LONG, CLEAN, *PAIRS, SIGNS)


def _stated_losses(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's losses, without and with the errors that it states, or those of other tasks."""
    tasks = [_changed(task, control) for task in KNOWN_TASKS]
    stated = [ridge_loss(task, contexts=FEW_CONTEXTS) for task in tasks]
    losses = [np.array([each.loss, each.loss + each.error]) for each in stated]
    drawn = np.array([each.contexts for each in stated])
    return [*losses, drawn, np.array([_stated_loss_of_many()])]


@cache  # it takes as long as all others, and no control changes it
def _stated_loss_of_many() -> float:
    return ridge_loss(MANY).loss


def _changed(task: Task, control: str) -> Task:
    """The task with another noise or other contexts."""
    σ2, σ2_query = task.noise_variance, task.query_noise_variance
    changes: dict[str, dict[str, Any]] = {
        OTHER_NOISE: {"query_noise_variance": σ2},
        OTHER_PENALTY: {"noise_variance": σ2 / 2, "query_noise_variance": σ2_query},
        FIRST_LENGTH: {"context_length": min(task.context_lengths) or 1},
    }
    return Task(**task.arguments() | changes.get(control, {}))


# Drawn contexts


def _drawn_losses(context: RunContext) -> list[FloatArray]:
    """Mean losses given X of both tasks (samples, 2) on contexts drawn here, and the scatter of theory (samples, 1).

    Of two seeds: the square of how far their losses are apart, over the sum of their squared errors.
    """
    seeds = context.seeds(2 * SAMPLES)
    found = [ridge_loss(OBLIQUE, contexts=CONTEXTS, seed=seed) for seed in seeds]
    loss = np.array([each.loss for each in found])
    variance = np.array([each.error for each in found]) ** 2
    apart = (loss[::2] - loss[1::2]) ** 2 / (variance[::2] + variance[1::2])
    generator = np.random.default_rng(seeds[0])
    means = [
        [np.mean(_posterior_losses(generator)), np.mean(_span_losses(generator))]
        for _ in seeds[::2]
    ]
    return [np.array(means), apart[:, None]]


def _posterior_losses(generator: np.random.Generator) -> FloatArray:
    """σ_q² + tr M₂ (Ω⁻¹ + XᵀX/σ²)⁻¹ (P,) of contexts drawn here: that is what is left of the law of the teacher."""
    shape = (CONTEXTS, max(OBLIQUE.context_lengths), OBLIQUE.dimension)
    variances, directions = np.linalg.eigh(OBLIQUE.covariance)
    root = directions * np.sqrt(variances) @ directions.T
    x = OBLIQUE.input_mean + _skewed(generator, shape) @ root
    precision = np.linalg.inv(OBLIQUE.teacher_covariance)
    precision = precision + x.swapaxes(1, 2) @ x / OBLIQUE.noise_variance
    M2 = OBLIQUE.covariance + np.outer(OBLIQUE.input_mean, OBLIQUE.input_mean)
    left = np.einsum("pde,de->p", np.linalg.inv(precision), M2)
    return np.asarray(OBLIQUE.query_noise_variance + left)


def _span_losses(generator: np.random.Generator) -> FloatArray:
    """Losses (P,) of two tokens of signs: nothing is left of the teacher unless the tokens are x and ±x.

    Then one token x has told wᵀx: tr ΩΛ − xᵀΩΛΩx/(xᵀΩx) is left.
    """
    λ, Ω = np.diag(REPEATED.covariance), np.diag(REPEATED.teacher_covariance)
    signs = generator.choice([-1, 1], size=(CONTEXTS, 2, 2))
    is_repeated = np.prod(signs, axis=(1, 2)) == 1
    left = λ @ Ω - (λ * Ω) @ (λ * Ω) / (λ @ Ω)
    return np.asarray(REPEATED.query_noise_variance + left * is_repeated)


def _stated_means(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's losses (2,) over many contexts, and 1 for the scatter; or those of something else."""
    changes: dict[str, dict[str, Any]] = {
        NO_MEAN: {"input_mean": None},
        OTHER_NOISE: {"query_noise_variance": OBLIQUE.noise_variance},
        NORMAL: {"inputs": "gaussian"},
    }
    task = Task(**OBLIQUE.arguments() | changes.get(control, {}))
    scatter = CONTEXTS if control == ERROR_OF_ONE else 1.0
    losses = [
        ridge_loss(each, contexts=MANY_CONTEXTS).loss for each in (task, REPEATED)
    ]
    return [np.array(losses), np.array([scatter])]


CLAIMS = (
    Claim(
        id="softmax.ridge_known",
        title="The Bayes loss is the one that is known in closed form where few numbers of the inputs count",
        paper="he2025",
        equation=BAYES,
        beyond_paper=True,
        statement=r"L = \sigma_q^2 + E\,\mathrm{tr}\,M_2\big(\Omega - "
        r"\Omega X^\top(X\Omega X^\top + \sigma^2)^{-1}X\Omega\big)",
        observable="its mean over a χ², over two eigenvalues by Bartlett's decomposition, without noise, for a large "
        "penalty on 150 directions, and for one token of signs ±1; other units, noise of the query, two lengths",
        limit="none: exact",
        measure=_known_losses,
        predict=_stated_losses,
        # A large penalty leaves 1e-5 of the loss to the inputs.
        judge=equal_within(1e-12),
        controls=(OTHER_NOISE, OTHER_PENALTY, FIRST_LENGTH),
        tier="fast",
    ),
    Claim(
        id="softmax.ridge_drawn",
        title="Where the Bayes loss is drawn, it is the mean over contexts, and scatters by the error that is stated",
        paper="he2025",
        equation=BAYES,
        beyond_paper=True,
        statement=r"L = \sigma_q^2 + E\,\mathrm{tr}\,M_2\,(\Omega^{-1} + X^\top X/\sigma^2)^{-1}",
        observable=f"loss given X by the covariance of the teacher's posterior law, {SAMPLES} × {CONTEXTS} contexts of "
        "skewed x, and of repeated signs without noise; squared differences of the theory's losses between seeds, over "
        "their squared errors",
        limit="contexts → ∞",
        measure=_drawn_losses,
        predict=_stated_means,
        judge=within_standard_errors,
        controls=(NO_MEAN, OTHER_NOISE, NORMAL, ERROR_OF_ONE),
        tier="fast",
    ),
)
