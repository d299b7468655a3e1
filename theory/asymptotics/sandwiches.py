"""The excess loss of least squares on many sequences of fixed size: the sandwich tr(S⁻¹ E r² F Fᵀ)/P.

F = β x_qᵀ are the D² features, S = A ⊗ Λ their second moments and r = y_q − βᵀ M* x_q the residual of the best map.
Were r independent of F, the excess would be D² L*/P. It is larger, since F is a product of normal vectors, and since r
is large where F is. For x ~ N(0, Λ), given w and β, with δ = w − Mᵀβ,

    E_q[r² x_qᵀ Q x_q] = tr(QΛ)(δᵀΛδ + σ²) + 2 δᵀΛQΛδ,

and the remaining means over β are those of its cumulants of order up to 4: β is a mean of N independent y x, of which
the cumulants given w are, with m = Λw, v = wᵀΛw + σ² and sums over distinct pairings of the indices,

    m,   vΛ + m m,   2 v Σ₃ m Λ + 2 m m m,   2 v² Σ₃ Λ Λ + 6 v Σ₆ m m Λ + 6 m m m m.

What is left is a polynomial of degree 4 in w (derived here).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.covariances import eigenvalue_rounding
from ...runtime.display import Displayed, Summary
from ...task import Task
from ..call_order import require_task_first
from .laws_as_points import points_of_law
from .losses_of_readouts import (
    ReadoutMoments,
    inverse_length_mean,
    readout_moments,
    refuse_other_inputs,
)

_NO_LOSS = 1e-12
"""Share of E y² below which a loss is what rounding leaves."""


@dataclass(frozen=True, eq=False, repr=False)
class Sandwich(Displayed):
    """What least squares on P sequences loses to the best map: P · (L − L*) → `excess` as P → ∞, in units of y².

    `homoscedastic` is D² L*, what it would be if residuals were independent of the features, and `ratio` ρ_s that of
    the two.
    """

    excess: float
    homoscedastic: float

    @property
    def ratio(self) -> float:
        """ρ_s, by which the variance of the fit is larger than for residuals independent of the features."""
        return self.excess / self.homoscedastic

    def to_dict(self) -> dict[str, Any]:
        """The numbers."""
        return {
            "excess": self.excess,
            "homoscedastic": self.homoscedastic,
            "ratio": self.ratio,
        }

    def summary(self) -> Summary:
        """The numbers on one screen."""
        rows = {
            "P times the excess loss": f"{self.excess:.8g}",
            "with independent residuals": f"{self.homoscedastic:.8g}",
            "ratio": f"{self.ratio:.6g}",
        }
        formulas = {"excess": r"\operatorname{tr}(S^{-1} E\, r^2 F F^\top)"}
        return Summary("Excess loss of least squares on many sequences", rows, formulas)


def sandwich(task: Task) -> Sandwich:
    """P · (L − L*) as P → ∞ at fixed D of the least-squares map M (D, D) of P sequences of a task.

    Exact for Gaussian inputs of mean zero and any law of one label of this package. ValueError for other inputs, for
    several outputs, for a law of your own, and for Λ or E[β βᵀ] that is singular or leaves no loss, which have no such
    excess.
    Source: derived here.

    >>> published = Task([4, 3, 2, 1], trace=1, context_length=31)
    >>> round(sandwich(published).excess, 3), round(sandwich(published).homoscedastic, 3)
    (5.016, 2.176)
    """
    require_task_first("sandwich(task)", task, None)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        best = best_map(readout_moments(task))
        excess = weighted_residual(task, best.M, best.inverse_A, best.inverse_Λ)
    if not np.isfinite(excess):
        raise ValueError(
            "the moments of this task are too large or too small for doubles: rescale Λ, for instance by trace=1, or "
            "the teachers"
        )
    return Sandwich(excess, task.dimension**2 * best.loss)


class BestMap(NamedTuple):
    """The map of least loss M* = A⁻¹BΛ⁻¹, its loss L*, and the inverses, (D, D) each."""

    M: FloatArray
    loss: float
    inverse_A: FloatArray
    inverse_Λ: FloatArray


def best_map(moments: ReadoutMoments) -> BestMap:
    """The best map of a task; ValueError where A or Λ is singular, and where no loss is left."""
    inverse_A = _inverse("E[β βᵀ]", moments.A)
    inverse_Λ = _inverse("Λ", moments.Lambda)
    M = inverse_A @ moments.B @ inverse_Λ
    loss = float(moments.loss(M))
    if loss <= _NO_LOSS * moments.c:
        raise ValueError(
            "the best map of this task leaves no loss, so that no residual is left for the sandwich: pass noise"
        )
    return BestMap(M, loss, inverse_A, inverse_Λ)


def _inverse(name: str, matrix: FloatArray) -> FloatArray:
    """The inverse of a positive definite matrix; ValueError, with its name, for a singular one."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= eigenvalue_rounding(values):
        raise ValueError(
            f"{name} is singular, and its inverse is needed: leave out the directions on which x does not vary, and "
            "pass noise, more tasks or a shorter context"
        )
    return np.asarray(vectors / values @ vectors.T)


class _Forms(NamedTuple):
    """The four quadratic forms of w that occur, each at every task (k,), and traces."""

    m_P_m: FloatArray
    w_R_w: FloatArray
    w_RMt_m: FloatArray
    m_K_m: FloatArray
    w_RMtΛP_m: FloatArray
    m_PΛK_m: FloatArray
    PΛ: float
    KΛ: float
    PΛKΛ: float


def weighted_residual(task: Task, M: FloatArray, P: FloatArray, Q: FloatArray) -> float:
    """E[r² (βᵀ P β)(x_qᵀ Q x_q)] with r = y_q − βᵀ M x_q, for symmetric P and Q (D, D).

    ValueError for inputs that are not Gaussian of mean zero, several outputs, and a law of your own.

    >>> task = Task([1], context_length=5, noise_variance=0.5)
    >>> round(weighted_residual(task, np.zeros((1, 1)), np.ones((1, 1)), np.ones((1, 1))), 6)
    13.65
    """
    refuse_other_inputs(task, "the sandwich")
    Λ = task.covariance
    w, weights = points_of_law(task.teachers)
    v = np.einsum("ka,ab,kb->k", w, Λ, w, optimize=True) + task.noise_variance
    by_Λ = _mean_of_products(task, _forms(w, Λ, M, P, Λ), v)
    by_ΛQΛ = _mean_of_products(task, _forms(w, Λ, M, P, Λ @ Q @ Λ), v)
    trace = float(np.sum(Q * Λ))
    A = readout_moments(task).A
    noise = trace * task.query_noise_variance * float(np.sum(P * A))
    return float(weights @ (trace * by_Λ + 2 * by_ΛQΛ)) + noise


def _forms(
    w: FloatArray, Λ: FloatArray, M: FloatArray, P: FloatArray, R: FloatArray
) -> _Forms:
    """The forms of tasks w (k, D) with m = Λw and K = M R Mᵀ."""
    m = w @ Λ
    K = M @ R @ M.T
    RMt = R @ M.T
    PΛ, KΛ = P @ Λ, K @ Λ
    return _Forms(
        m_P_m=_form(m, P, m),
        w_R_w=_form(w, R, w),
        w_RMt_m=_form(w, RMt, m),
        m_K_m=_form(m, K, m),
        w_RMtΛP_m=_form(w, RMt @ PΛ.T, m),
        m_PΛK_m=_form(m, PΛ @ K, m),
        PΛ=float(np.trace(PΛ)),
        KΛ=float(np.trace(KΛ)),
        PΛKΛ=float(np.sum(PΛ * KΛ.T)),
    )


def _form(left: FloatArray, matrix: FloatArray, right: FloatArray) -> FloatArray:
    """leftᵀ · matrix · right at every task, (k,)."""
    return np.asarray(np.sum(left @ matrix * right, axis=1))


def _mean_of_products(task: Task, forms: _Forms, v: FloatArray) -> FloatArray:
    """E[(βᵀ P β)(δᵀ R δ) | w] (k,), δ = w − Mᵀβ: the terms without β in δ, with one, and with two."""
    n0, n1, n2, n3 = (inverse_length_mean(task, power) for power in range(4))
    squares = (n0 + n1) * forms.m_P_m + n1 * v * forms.PΛ
    none = forms.w_R_w * squares

    thirds = forms.w_RMt_m * forms.PΛ + 2 * forms.w_RMtΛP_m
    one = (n0 + 3 * n1 + 2 * n2) * forms.m_P_m * forms.w_RMt_m
    one = one + (n1 + 2 * n2) * v * thirds

    pairs = forms.m_P_m * forms.KΛ + forms.m_K_m * forms.PΛ + 4 * forms.m_PΛK_m
    two = (n0 + 6 * n1 + 11 * n2 + 6 * n3) * forms.m_P_m * forms.m_K_m
    two = two + (n1 + 5 * n2 + 6 * n3) * v * pairs
    two = two + (n2 + 2 * n3) * v**2 * (forms.PΛ * forms.KΛ + 2 * forms.PΛKΛ)
    return np.asarray(none - 2 * one + two)
