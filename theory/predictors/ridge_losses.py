"""The loss of ridge regression in context with the task's own noise and Ω, which for Gaussian teachers is Bayes' loss.

Given the inputs X of the context, the noise and the law of the teachers leave, with Ω = E[w wᵀ] and M₂ = E[x xᵀ],

    L(X) = σ_q² + tr M₂ (Ω − Ω Xᵀ (X Ω Xᵀ + σ²)⁻¹ X Ω)

Where Λ^½ Ω Λ^½ is a multiple c of a projector of rank R (white x and w, or Ω ∝ Λ⁻¹) and x is Gaussian with mean zero,
this is σ_q² + σ² tr (W + σ²/c)⁻¹ for a Wishart matrix W of dimension R, whose mean is an integral. Elsewhere L(X) is
averaged over drawn X.
"""

import math
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number, whole_number
from ...runtime.covariances import symmetric_root
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import input_second_moments, teacher_second_moments
from .step_losses import best_plain_step
from .wishart_matrices import mean_resolvent_trace

# Relative difference up to which two eigenvalues are one: what an eigensolver makes of them.
_SAME_EIGENVALUE = 1e-10
# Contexts that are drawn at once hold about so many numbers.
_NUMBERS_AT_ONCE = 4_000_000


class RidgeLoss(NamedTuple):
    """A loss and its error: of the quadrature where `contexts` is 0, else the standard error over so many contexts."""

    loss: float
    error: float
    contexts: int


class _Mean(NamedTuple):
    """The loss at one context length, and its error."""

    loss: float
    error: float


def ridge_loss(task: Task, *, contexts: int = 20_000, seed: int = 0) -> RidgeLoss:
    """Mean loss of `ridge` with the σ² and the Ω of the task, in units of y²: Bayes' loss if w ~ N(0, Ω).

    For Gaussian x of mean zero with Λ^½ΩΛ^½ a multiple of a projector, as for white x and w, it is exact, by
    integration over the eigenvalues of XᵀX, to about 1e-12. Otherwise the loss given X, in which teacher, noise and
    query are averaged exactly, is averaged over so many drawn `contexts` of this `seed`.
    ValueError for several outputs. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(ridge_loss(task).loss, 6)
    0.114455
    """
    require_task_first("ridge_loss(task)", task, None)
    whole_number(contexts, "contexts", least=2)
    whole_number(seed, "seed", least=0)
    _refuse_outputs(task)
    projector = _signal_projector(task)
    by_length = []
    for N in task.context_lengths:
        if N == 0:
            by_length.append(_Mean(_zero_loss(task), 0.0))
        elif projector is None:
            by_length.append(_averaged_over_contexts(task, N, contexts, seed))
        else:
            by_length.append(_integrated(task, N, projector))
    losses = np.array([part.loss for part in by_length])
    errors = np.array([part.error for part in by_length])
    weights = task.context_weights
    # One seed draws the contexts of all lengths, so their errors may be added up.
    drawn = 0 if projector is not None else contexts
    return RidgeLoss(float(weights @ losses), float(weights @ errors), drawn)


def proportional_ridge_loss(task: Task) -> float:
    """The limit D → ∞ of `ridge_loss` at fixed ξ = D/N, off by O(1/D) at finite D, in units of y².

    With labels of variance 1: σ² + [−u + √(u² + 4ξ²σ²)]/(2ξ), u = 1 − ξ + ξσ².
    ValueError unless x is Gaussian with mean zero, Λ^½ΩΛ^½ is a multiple of a projector and there is one context
    length. Source: the law of Marchenko and Pastur.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(proportional_ridge_loss(task), 5)
    0.11406
    """
    require_task_first("proportional_ridge_loss(task)", task, None)
    v, ξ = _proportional_task(task, "the proportional limit of ridge regression")
    excess = v * proportional_excess(ξ, task.noise_variance / v)
    return task.query_noise_variance + excess


def proportional_excess(ξ: float, noise_variance: float) -> float:
    """Loss of ridge regression above the noise, for labels of variance 1, as D → ∞ at ξ = D/N."""
    σ2 = noise_variance
    u = 1 - ξ + ξ * σ2
    root = math.sqrt(u**2 + 4 * ξ**2 * σ2)
    # [−u + root]/(2ξ), without a difference of equal numbers.
    if u > 0:
        return 2 * ξ * σ2 / (u + root)
    return (root - u) / (2 * ξ)


def excess_ratio(task: Task) -> float:
    """(L_step − σ_q²)/(L_ridge − σ_q²) of the best plain gradient step, exactly at every D and N.

    `excess_ratio_bound` is above it. ValueError as `proportional_ridge_loss`, and without
    noise, where ridge regression may leave no excess. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(excess_ratio(task), 3)
    9.67
    """
    require_task_first("excess_ratio(task)", task, None)
    _proportional_task(task, "the ratio of excess losses")
    positive_number(task.noise_variance, "noise_variance")
    noise = task.query_noise_variance
    step_excess = best_plain_step(task).loss - noise
    return step_excess / (ridge_loss(task).loss - noise)


def excess_ratio_bound(task: Task) -> float:
    """(v (1 + 1/D) + σ²)/σ² for labels of variance v: the supremum over N of `excess_ratio`, reached as N → ∞.

    By Jensen's inequality ridge regression has an excess of at least σ²D/(N + σ²D/v); that of the best plain step is
    v (D + 1 + σ²D/v)/(N + D + 1 + σ²D/v). As D → ∞ it is (v + σ²)/σ². D is the rank of Λ^½ΩΛ^½.
    ValueError as `excess_ratio`. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(excess_ratio_bound(task), 6)
    13.0
    """
    require_task_first("excess_ratio_bound(task)", task, None)
    v, ξ = _proportional_task(task, "the ratio of excess losses")
    D = ξ * task.context_lengths[0]
    σ2 = positive_number(task.noise_variance, "noise_variance")
    return (v * (1 + 1 / D) + σ2) / σ2


def proportional_excess_ratio(noise_variance: float, aspect_ratio: float) -> float:
    """The limit of `excess_ratio` as D → ∞ at ξ = D/N = `aspect_ratio`, for labels of variance 1 and σ² > 0.

    >>> round(proportional_excess_ratio(0.1, 1e-5), 4)
    10.9998
    """
    σ2 = positive_number(noise_variance, "noise_variance")
    ξ = positive_number(aspect_ratio, "aspect_ratio")
    return _step_excess(ξ, σ2) / proportional_excess(ξ, σ2)


class TotalRatio(NamedTuple):
    """The largest ratio of two losses, and the ξ = D/N where it is taken."""

    ratio: float
    aspect_ratio: float


def largest_total_ratio(noise_variance: float) -> TotalRatio:
    """The largest L_step/L_ridge over ξ = D/N as D → ∞, noise of the query included, for labels of variance 1.

    >>> ratio, aspect_ratio = largest_total_ratio(0.1)
    >>> round(ratio, 3), round(aspect_ratio, 3)
    (2.532, 0.388)
    """
    from scipy.optimize import minimize_scalar

    σ2 = positive_number(noise_variance, "noise_variance")

    def ratio(log_ξ: float) -> float:
        ξ = math.exp(log_ξ)
        return (σ2 + _step_excess(ξ, σ2)) / (σ2 + proportional_excess(ξ, σ2))

    # The ratio is 1 at both ends, ξ → 0 and ξ → ∞, and its slope in log ξ falls off within these.
    grid = np.linspace(math.log(1e-12), math.log(1e12), 4001)
    best = int(np.argmax([ratio(log_ξ) for log_ξ in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = minimize_scalar(
        lambda log_ξ: -ratio(log_ξ), bounds=bounds, method="bounded",
        options={"xatol": 1e-10},
    )  # fmt: skip
    return TotalRatio(ratio(found.x), math.exp(found.x))


def _step_excess(ξ: float, σ2: float) -> float:
    """1 − η* of the best plain step as D → ∞, η* = 1/(1 + ξ(1 + σ²))."""
    return ξ * (1 + σ2) / (1 + ξ * (1 + σ2))


class _Projector(NamedTuple):
    """Λ^½ΩΛ^½ = c times a projector of this rank."""

    rank: int
    variance: float


def _signal_projector(task: Task) -> _Projector | None:
    """Λ^½ΩΛ^½ where it is a multiple of a projector and x is Gaussian with mean zero, else None."""
    if task.inputs.name != "gaussian" or np.any(task.input_mean != 0):
        return None
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    root = symmetric_root(task.covariance)
    variances = np.linalg.eigvalsh(root @ Ω @ root)
    positive = variances[variances > _SAME_EIGENVALUE * variances[-1]]
    if len(positive) == 0:
        return None
    c = float(np.mean(positive))
    if not np.allclose(positive, c, rtol=_SAME_EIGENVALUE, atol=0):
        return None
    return _Projector(len(positive), c)


def _zero_loss(task: Task) -> float:
    """The loss of the zero predictor."""
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    return float(np.sum(Ω * input_second_moments(task))) + task.query_noise_variance


def _integrated(task: Task, N: int, projector: _Projector) -> _Mean:
    """The loss at one length, from the mean resolvent of a Wishart matrix."""
    R, c = projector
    σ2, noise = task.noise_variance, task.query_noise_variance
    if σ2 == 0:
        # The teacher is known on the span of the inputs alone.
        return _Mean(noise + c * max(R - N, 0), 0.0)
    trace = mean_resolvent_trace(R, N, σ2 / c)
    return _Mean(noise + σ2 * trace.value, σ2 * trace.error)


def _averaged_over_contexts(task: Task, N: int, contexts: int, seed: int) -> _Mean:
    """The mean of L(X) over drawn contexts of length N, with its standard error."""
    generator = np.random.default_rng([seed, N])
    D = task.dimension
    at_once = max(1, _NUMBERS_AT_ONCE // (N * max(N, D)))
    parts, remaining = [], contexts
    while remaining > 0:
        count = min(at_once, remaining)
        z = task.inputs.draw(generator, (count, N, D))
        x = task.input_mean + z @ symmetric_root(task.covariance)
        parts.append(_losses_given_inputs(task, x))
        remaining -= count
    losses = np.concatenate(parts)
    error = float(np.std(losses, ddof=1)) / math.sqrt(contexts)
    return _Mean(float(np.mean(losses)), error)


def _losses_given_inputs(task: Task, x: FloatArray) -> FloatArray:
    """L(X) (P,) of contexts x (P, N, D)."""
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    M2 = input_second_moments(task)
    # XΩ = U R with R = Ω^½, where U Uᵀ + σ² is the covariance of the labels: all from singular values of U = X Ω^½.
    root = symmetric_root(Ω)
    U = x @ root  # (P, N, D)
    _, singular, right = np.linalg.svd(U, full_matrices=False)
    variances = singular**2  # (P, n)
    σ2 = task.noise_variance
    # What rounding makes of a variance of 0 explains nothing where there is no noise.
    floor = np.finfo(float).eps * max(x.shape[1:]) * np.max(variances, axis=1)
    known = np.where(variances > floor[:, None], variances / (variances + σ2), 0.0)
    query = root @ M2 @ root  # (D, D)
    along = np.einsum("pnd,de,pne->pn", right, query, right)
    explained = np.sum(known * along, axis=1)
    return np.asarray(task.query_noise_variance + np.trace(query) - explained)


def _proportional_task(task: Task, what: str) -> tuple[float, float]:
    """The variance of labels and ξ = D/N; ValueError where the limit is not known."""
    _refuse_outputs(task)
    projector = _signal_projector(task)
    if projector is None:
        raise ValueError(
            f"{what} is known for Gaussian x of mean zero with Λ^½ΩΛ^½ a multiple of a projector, as for white x and "
            "w, and this task is another: ridge_loss averages over drawn contexts"
        )
    if len(task.context_lengths) != 1 or task.context_lengths[0] == 0:
        raise ValueError(
            f"{what} is known for one context length of at least 1, not for {task.context_length!r}"
        )
    R, c = projector
    return R * c, R / task.context_lengths[0]


def _refuse_outputs(task: Task) -> None:
    """ValueError for several outputs."""
    if task.outputs != 1:
        raise ValueError(
            f"the loss of ridge regression is known for one label, not for the {task.outputs} outputs of this task: "
            "ask for each output by a task of its own"
        )
