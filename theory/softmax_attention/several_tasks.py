"""Approximate losses of softmax heads on several tasks at once: how many heads T linear functions of x need.

Label t is w_tᵀx with independent coordinates of w_t, of variances Ω_td, 0 off its support. Heads have
B_h = diag(w_h) and values m_h (T,). For x ~ N(0, 1), with M_t = Σ_h m_ht w_h and κ_t = (Σ_d Ω_td + σ²)/N,

    L̃_t = L_t(0) − 2 Σ_d Ω_td M_td + Σ_d Ω_td M_td² + κ_t m_tᵀ E m_t,    E_hk = exp(w_hᵀw_k)

Inputs of variances λ_d have the same loss with λ_d w_hd for w_hd and λ_d Ω_td for Ω_td. By the theorem of Schur
E ⪰ WWᵀ, so that L̃_t ≥ L_t(0) − Σ_d Ω_td²/(Ω_td + κ_t), which is taken at M_td = Ω_td/(Ω_td + κ_t) if also Σ_h m_ht = 0
and W → 0: H heads of zero sum hold H − 1 independent maps. Source: derived here; the losses are those of He et al. 2025
(arXiv 2503.12734) and Chen et al. 2024 (arXiv 2402.19442).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, whole_number
from ...runtime.covariances import is_diagonal
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import teacher_second_moments

# e^700 is about the largest number.
_LARGEST_EXPONENT = 700.0
# Starts of a search are of this size: e^{w·w} is then of the order of 1.
_START = 0.5
# Relative changes of the loss below which a search ends, and its most iterations: a search over all weights creeps
# towards w → 0, where the loss is flat, of order four, and where the other search takes over.
_FLAT, _MOST_ITERATIONS = 1e-10, 150
_FLAT_LIMIT, _MOST_ITERATIONS_LIMIT = 1e-14, 500
# Excess over the limit w → 0 is of the order of the square of this, and rounding of its inverse square.
_SMALL = 3e-4
# What a search must find below the limit to be believed: more than both of those.
_LOWER = 1e-7
# Relative difference of values that are one.
_SAME = 1e-10


class SeveralTasksLoss(NamedTuple):
    """The mean loss over tasks, and that of each task (T,), in units of y²."""

    loss: float
    by_task: FloatArray


class SeveralTasksOptimum(NamedTuple):
    """The best heads of a search: diagonals `omega` (H, D), values `mu` (H, T), and their mean loss."""

    omega: FloatArray
    mu: FloatArray
    loss: float


def several_tasks_loss(task: Task, omega: ArrayLike, mu: ArrayLike) -> SeveralTasksLoss:
    """L̃ of heads B_h = diag(omega_h), a_h = (0, mu_h), with `omega` (H, D) and `mu` (H, T); the mean over tasks.

    The outputs of the `task` are its tasks, as of `Gaussian.on_supports`. The query's own token is not among the keys.
    ValueError for x that is not Gaussian with mean zero and independent coordinates, teachers whose coordinates depend
    on each other, several context lengths, other shapes, and where w_hᵀw_k is above 700.

    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.on_supports(4, [[0, 1], [2, 3]])
    >>> task = Task([1] * 4, teachers=teachers, noise_variance=0.1, context_length=16)
    >>> several_tasks_loss(task, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], np.eye(2)).by_task.round(4)
    array([0.4633, 0.4633])
    """
    several = _several(task, "several_tasks_loss(task, omega, mu)", omega)
    T, D = several.variances.shape
    w = finite_array(omega, "omega", "(H, D)", D=D) * several.input_variances
    m = finite_array(mu, "mu", "(H, T)", H=len(w), T=T)
    _refuse_large_exponents(w)
    by_task = several.losses(w, m)
    return SeveralTasksLoss(float(np.mean(by_task)), by_task)


def infimum(task: Task) -> float:
    """The infimum of the mean L̃ over heads of any number: L_t(0) − Σ_d Ω_td²/(Ω_td + κ_t), averaged over tasks.

    `heads_needed` heads reach it in the limit of small weights. ValueError as `several_tasks_loss`.

    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.on_supports(6, [[0, 1], [2, 3], [4, 5]])
    >>> round(infimum(Task([1] * 6, teachers=teachers, noise_variance=0.1, context_length=24)), 6)
    0.183969
    """
    several = _several(task, "infimum(task)")
    gains = np.sum(several.variances * several.best_maps(), axis=1)
    return float(np.mean(several.zero_losses - gains))


def best_maps(task: Task) -> FloatArray:
    """The diagonals M_td = Ω_td/(Ω_td + κ_t) of the maps of least loss, (T, D), in units of 1/λ_d.

    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1] * 2, teachers=Gaussian.on_supports(2, [[0], [0, 1]]), context_length=4)
    >>> best_maps(task).round(3)
    array([[0.8  , 0.   ],
           [0.667, 0.667]])
    """
    several = _several(task, "best_maps(task)")
    return np.asarray(several.best_maps() / several.input_variances)


def heads_needed(masks: ArrayLike) -> int:
    """How many heads reach the infimum for tasks with these supports (T, D): their rank plus one.

    T + 1 where the supports are independent: three tasks on {1, 2}, {3, 4} and {1, 2, 3, 4} need three heads, not
    four. Where variances within a task differ, the rank is that of `best_maps`, which may stand in place of the masks.
    ValueError unless every task has a coordinate. Source: derived here.

    >>> heads_needed([[1, 1, 0, 0], [0, 0, 1, 1]]), heads_needed([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    (3, 3)
    """
    supports = finite_array(masks, "masks", "(T, D)")
    if not np.all(np.any(supports != 0, axis=1)):
        raise ValueError("masks must give every task a coordinate: one of them is 0")
    # Maps of noisy tasks are small, and not dependent for that.
    supports = supports / np.max(np.abs(supports), axis=1, keepdims=True)
    return int(np.linalg.matrix_rank(supports)) + 1


def disjoint_infimum(task: Task, heads: int) -> float:
    """The infimum of the mean L̃ of H `heads` on T disjoint tasks of p coordinates each, with one variance v/p.

    L(0) − v/(1 + f κp/v) with f = eT for one head, T/(H − 1) for 2 ≤ H ≤ T + 1, and 1 from T + 1 on. It is proved for
    w → 0, where tight frames attain it; that no larger w is better is what every search finds.
    ValueError as `several_tasks_loss`, and for other supports and variances. Source: derived here.

    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.on_supports(6, [[0, 1], [2, 3], [4, 5]])
    >>> task = Task([1] * 6, teachers=teachers, noise_variance=0.1, context_length=24)
    >>> [round(disjoint_infimum(task, heads), 6) for heads in (1, 2, 3, 4)]
    [0.527763, 0.315686, 0.220879, 0.183969]
    """
    several = _several(task, "disjoint_infimum(task, heads)", heads)
    H = whole_number(heads, "heads")
    T = len(several.variances)
    factor = math.e * T if H == 1 else max(1.0, T / (H - 1))
    return _disjoint_loss(several, factor)


def one_head_per_task_loss(task: Task) -> float:
    """The least mean L̃ of T heads that serve one of T disjoint tasks each: L(0) − v/(1 + eκp/v).

    The limit of the balanced flow of Chen et al. T heads of mixed signs do better for T ≥ 2. ValueError as
    `disjoint_infimum`. Source: derived here.

    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1] * 4, teachers=Gaussian.on_supports(4, [[0, 1], [2, 3]]), noise_variance=0.1, context_length=16)
    >>> round(one_head_per_task_loss(task), 6), round(disjoint_infimum(task, 2), 6)
    (0.372073, 0.315686)
    """
    return _disjoint_loss(_several(task, "one_head_per_task_loss(task)"), math.e)


# Long because two searches, over all weights and over small ones, are compared at its end.
def least_several_tasks_loss(
    task: Task, heads: int, *, restarts: int = 6, seed: int = 0
) -> SeveralTasksOptimum:
    """The least mean L̃ that `heads` heads reach from so many random starts, values eliminated exactly.

    Two searches run from each start: over all weights, and for H ≥ 2 over the limit of small ones, in which only the
    space that H − 1 rows span counts. Unless the first finds less, which it did in no case seen, the heads returned are
    those of the limit, 3e-4 in size and of zero sum, within 1e-8 of it. ValueError as `several_tasks_loss`.
    Source: derived here.

    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1] * 4, teachers=Gaussian.on_supports(4, [[0, 1], [2, 3]]), noise_variance=0.1, context_length=16)
    >>> round(least_several_tasks_loss(task, 2, restarts=2).loss, 6)
    0.315686
    """
    several = _several(task, "least_several_tasks_loss(task, heads)", heads)
    H = whole_number(heads, "heads")
    count = whole_number(restarts, "restarts")
    generator = np.random.default_rng(whole_number(seed, "seed", least=0))
    D = several.variances.shape[1]

    ending = (_FLAT, _MOST_ITERATIONS)
    found = [
        _search(several.eliminated, (H, D), generator, ending) for _ in range(count)
    ]
    best = min(found, key=lambda w: several.eliminated(w)[0])
    rows = min(H - 1, D)
    if rows > 0:
        limit, ending = several.eliminated_limit, (_FLAT_LIMIT, _MOST_ITERATIONS_LIMIT)
        spans = [_search(limit, (rows, D), generator, ending) for _ in range(count)]
        small = _small_heads(min(spans, key=lambda G: limit(G)[0]), H)
        if several.eliminated(small)[0] < several.eliminated(best)[0] + _LOWER:
            best = small
    return SeveralTasksOptimum(
        best / several.input_variances,
        several.best_values(best),
        several.eliminated(best)[0],
    )


# Long because the starts and the minimisation share one function of the weights.
def _search(
    loss_and_gradient: Callable[[FloatArray], tuple[float, FloatArray]],
    shape: tuple[int, int],
    generator: np.random.Generator,
    ending: tuple[float, int],
) -> FloatArray:
    """The matrix of this shape with the least loss that one random start leads to.

    `ending` is the relative change of the loss at which it ends, and the most iterations.
    """
    from scipy.optimize import minimize

    def flattened(flat: FloatArray) -> tuple[float, FloatArray]:
        loss, gradient = loss_and_gradient(flat.reshape(shape))
        return loss, gradient.ravel()

    # e^{w·w} of a line search must stay a number.
    largest = math.sqrt(_LARGEST_EXPONENT / shape[1]) / 2
    size = shape[0] * shape[1]
    found = minimize(
        flattened,
        _START * generator.normal(size=size),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-largest, largest)] * size,
        options={"gtol": 0.0, "ftol": ending[0], "maxiter": ending[1]},
    )
    return np.asarray(found.x.reshape(shape))


def _small_heads(span: FloatArray, heads: int) -> FloatArray:
    """Weights (H, D) of size 3e-4 whose differences span the rows of `span` (H − 1 or fewer, D), and that add up to 0.

    W = ε S G with orthonormal rows of G, where the columns of S (H, H − 1) are orthonormal and add up to 0.
    """
    orthonormal, _ = np.linalg.qr(span.T)
    centring = np.eye(heads) - 1 / heads
    S = np.linalg.svd(centring)[0][:, : len(span)]
    return np.asarray(_SMALL * S @ orthonormal.T)


def head_loads(task: Task, omega: ArrayLike, mu: ArrayLike) -> FloatArray:
    """The share of each task that each head carries, (T, H): Σ_d Ω_td m_ht w_hd / Σ_d Ω_td.

    Rows add up to η_t, the mean of the map M_t over the task's own directions. A head with loads in several rows
    serves several tasks (superposition). Arguments and refusals are those of `several_tasks_loss`.

    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1] * 4, teachers=Gaussian.on_supports(4, [[0, 1], [2, 3]]), context_length=16)
    >>> head_loads(task, [[0.5, 0.5, 0, 0], [0.1, 0.1, 0.5, 0.5]], np.eye(2)).round(3)
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    several = _several(task, "head_loads(task, omega, mu)", omega)
    T, D = several.variances.shape
    w = finite_array(omega, "omega", "(H, D)", D=D) * several.input_variances
    m = finite_array(mu, "mu", "(H, T)", H=len(w), T=T)
    signals = several.variances @ w.T  # (T, H)
    total = np.sum(several.variances, axis=1, keepdims=True)
    return np.asarray(m.T * signals / total)


class _SeveralTasks(NamedTuple):
    """The numbers of T tasks: λ_d (D,), λ_dΩ_td (T, D), κ_t (T,) and losses of the zero predictor (T,)."""

    input_variances: FloatArray
    variances: FloatArray
    noise: FloatArray
    zero_losses: FloatArray

    def best_maps(self) -> FloatArray:
        """Ω/(Ω + κ), (T, D)."""
        return np.asarray(self.variances / (self.variances + self.noise[:, None]))

    def losses(self, w: FloatArray, m: FloatArray) -> FloatArray:
        """L̃_t (T,) at w (H, D) and m (H, T)."""
        M = m.T @ w  # (T, D)
        signal = np.sum(self.variances * (M**2 - 2 * M), axis=1)
        E = np.exp(w @ w.T)
        noise = self.noise * np.einsum("ht,hk,kt->t", m, E, m)
        return np.asarray(self.zero_losses + signal + noise)

    def best_values(self, w: FloatArray) -> FloatArray:
        """m (H, T) of least loss at w (H, D), the shortest where several have it."""
        E = np.exp(w @ w.T)
        m = np.empty((len(w), len(self.variances)))
        for t, (Ω, κ) in enumerate(zip(self.variances, self.noise, strict=True)):
            form = (w * Ω) @ w.T + κ * E
            m[:, t] = np.linalg.lstsq(form, w @ Ω, rcond=None)[0]
        return m

    def eliminated(self, w: FloatArray) -> tuple[float, FloatArray]:
        """The mean loss at the best values, and its gradient by w (H, D), in which they may be kept fixed."""
        m = self.best_values(w)
        M = m.T @ w
        by_M = 2 * self.variances * (M - 1)  # (T, D)
        E = np.exp(w @ w.T)
        pairs = np.einsum("t,ht,kt->hk", self.noise, m, m) * E
        gradient = m @ by_M + 2 * pairs @ w
        return float(np.mean(self.losses(w, m))), gradient / len(self.noise)

    def eliminated_limit(self, G: FloatArray) -> tuple[float, FloatArray]:
        """The mean loss of maps M_t in the span of the rows of G (R, D) at κ_t|M_t|² for κ_t m_tᵀEm_t, and gradient.

        It is the limit of small heads of zero sum.
        """
        losses, gradient = self.zero_losses.copy(), np.zeros_like(G)
        for t, (Ω, κ) in enumerate(zip(self.variances, self.noise, strict=True)):
            form = (G * (Ω + κ)) @ G.T
            c = np.linalg.lstsq(form, G @ Ω, rcond=None)[0]
            M = c @ G
            losses[t] -= float(Ω @ M)
            gradient += 2 * np.outer(c, (Ω + κ) * M - Ω)
        return float(np.mean(losses)), gradient / len(losses)


# Long because each number of the tasks is checked where it is read.
def _several(task: Task, call: str, model: Any = None) -> _SeveralTasks:
    """The numbers of the task; ValueError where its coordinates are not independent."""
    require_task_first(call, task, model)
    what = "the loss of softmax heads on several tasks"
    if task.inputs.name != "gaussian" or np.any(task.input_mean != 0):
        raise ValueError(f"{what} is known for Gaussian x of mean zero alone")
    Ω = np.einsum("tatb->tab", teacher_second_moments(task.teachers))
    if not is_diagonal(task.covariance) or not all(is_diagonal(of_t) for of_t in Ω):
        raise ValueError(
            f"{what} is known where coordinates of x, and of each teacher, are independent: Λ and E[w_t w_tᵀ] must be "
            "diagonal, as for Gaussian.on_supports"
        )
    if len(task.context_lengths) != 1:
        raise ValueError(
            f"{what} is known for one context length, not for {task.context_length!r}"
        )
    λ = np.diag(task.covariance)
    if np.any(λ == 0):
        raise ValueError(f"{what} needs every coordinate of x to vary")
    variances = np.einsum("taa->ta", Ω) * λ
    label_variances = np.sum(variances, axis=1)
    return _SeveralTasks(
        λ,
        variances,
        (label_variances + task.noise_variance) / task.context_lengths[0],
        label_variances + task.query_noise_variance,
    )


def _refuse_large_exponents(w: FloatArray) -> None:
    """ValueError where e^{w_h·w_h} is no number."""
    largest = float(np.max(np.sum(w**2, axis=1)))
    if largest > _LARGEST_EXPONENT:
        raise ValueError(
            f"omega gives e^(w·w) with w·w = {largest:.3g}, beyond the largest number: it may be at most 700"
        )


def _disjoint_loss(several: _SeveralTasks, factor: float) -> float:
    """L(0) − v/(1 + factor·κp/v); ValueError unless the tasks are disjoint and alike."""
    is_used = several.variances > 0  # (T, D)
    p = np.sum(is_used, axis=1)
    v = np.sum(several.variances, axis=1)
    values = several.variances[is_used]
    are_alike = np.ptp(p) == 0 and np.allclose(values, values[0], rtol=_SAME, atol=0)
    if np.any(np.sum(is_used, axis=0) > 1) or not are_alike:
        raise ValueError(
            "the closed form is known for disjoint supports of one size with one variance: "
            "least_several_tasks_loss searches for others"
        )
    shrinkage = 1 / (1 + factor * several.noise[0] * p[0] / v[0])
    return float(several.zero_losses[0] - v[0] * shrinkage)
