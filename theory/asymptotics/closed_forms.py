"""Errors of the ridge read-out of linear attention as D → ∞ with τ = P/D², α = N/D and κ = k/D fixed.

R = (1/k) Σ w wᵀ is the covariance of the k training tasks, x = (1 + ρ)/α what a finite context adds to it, and ξ the
ridge that finite data make of λ. With ν = x + ξ the paper's M(ν) = (1/D) tr E (R + ν)⁻¹ is 1/(ν + s), where s solves

    κ (1 − s)(ν + s) = s

and the other traces are rational in s, ν and M. Written so, every term below is positive: no digits are lost to
differences, however long the context, however small the noise (derived here; equal to the paper's formulas).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.display import Displayed, Summary, array_summary
from .parameters import broadcast, positive, zero_or_more

_SMALLEST_X = 1e-100
"""What stands for x = 0, an infinite context: errors differ by O(√x), which no double shows."""

_LONGER = 1e-4
"""By which x is made smaller to see what vanishes with it: √x by a factor of 100, and x² is a number still."""

_RELATIVE_STEP = 1e-14
"""Newton steps of log ξ below this are rounding."""

_MOST_STEPS = 200
"""Halving the logarithm of the largest bracket of doubles to rounding takes 60 steps."""


@dataclass(frozen=True, eq=False, repr=False)
class Errors(Displayed):
    """Test errors E(y − ŷ)² of the ridge read-out in the limit D → ∞, the noise of the query included.

    `icl` is the error on new tasks, `idg` that on the training tasks with new contexts, `gap` = icl − idg without the
    cancellation of that difference, `xi` the effective ridge ξ. All have the shape that the parameters broadcast to.
    """

    icl: FloatArray
    idg: FloatArray
    gap: FloatArray
    xi: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """The errors as plain numbers or lists."""
        names = ("icl", "idg", "gap", "xi")
        return {name: np.asarray(getattr(self, name)).tolist() for name in names}

    def summary(self) -> Summary:
        """The errors on one screen."""
        rows = {
            "in context (new tasks)": array_summary(self.icl),
            "in distribution (training tasks)": array_summary(self.idg),
            "gap": array_summary(self.gap),
            "effective ridge": array_summary(self.xi),
        }
        formulas = {"gap": r"e_{ICL} - e_{IDG}"}
        return Summary("Errors of the ridge read-out as D → ∞", rows, formulas)


def errors(
    *,
    tau: ArrayLike,
    alpha: ArrayLike,
    kappa: ArrayLike,
    noise: ArrayLike,
    ridge: ArrayLike = 0.0,
    test_alpha: ArrayLike | None = None,
) -> Errors:
    """Errors on new and on training tasks for τ = P/(D(D+1)), α = N/D, κ = k/D, the noise ρ and the ridge λ.

    Labels have variance 1 + ρ. `ridge` is the paper's λ, of the penalty (P λ/D) |Γ|² beside the sum of squares: see
    `readout`. `test_alpha` is N/D of the prompts with new tasks, α by default; `idg` stays at α. Arguments broadcast;
    τ, α and κ may be inf. τ = 1 is a pole without ridge. ValueError unless τ, α, κ > 0 and ρ, λ ≥ 0, at the pole, and
    for an infinite context where the error grows without bound with its length.
    Source: Lu et al. 2025 (arXiv 2405.11751); the gap without cancellation is derived here.

    >>> result = errors(tau=2, alpha=2, kappa=0.5, noise=0.1)
    >>> round(result.icl, 8), round(result.idg, 8)
    (np.float64(1.33845129), np.float64(0.58628046))
    >>> round(errors(tau=np.inf, alpha=1e4, kappa=2, noise=0.01).gap, 14)
    np.float64(6.112367e-08)
    """
    point = _checked_point(
        {
            "tau": tau,
            "alpha": alpha,
            "kappa": kappa,
            "noise": noise,
            "ridge": ridge,
            "test_alpha": alpha if test_alpha is None else test_alpha,
        }
    )
    values = _finite_values(point)
    is_infinite = point.x <= _SMALLEST_X
    if np.any(is_infinite):
        values = _without_vanishing(values, point, is_infinite)
    return Errors(*(value[()] for value in values))


class _Values(NamedTuple):
    """The results of `errors` as arrays."""

    icl: FloatArray
    idg: FloatArray
    gap: FloatArray
    ξ: FloatArray


def _finite_values(point: "_Point") -> _Values:
    """The errors; ValueError where they overflow."""
    with np.errstate(all="ignore"):  # what overflows is refused
        ξ = _effective_ridge(point)
        traces = _traces(point, ξ)
        idg, denominator = _training_error(point, ξ, traces)
        icl = _new_task_error(point, traces, idg)
        gap = _gap(point, traces, idg)
    values = _Values(icl, idg, gap, ξ)
    if not all(np.all(np.isfinite(value)) for value in (*values, denominator)):
        raise ValueError(
            "these parameters are too large or too small for doubles: pass ones nearer to 1"
        )
    return values


def _without_vanishing(
    values: _Values, point: "_Point", is_infinite: BoolArray
) -> _Values:
    """The values of an infinite context, where 0 stands for what goes to 0 with x."""
    longer = _finite_values(point._replace(x=point.x * _LONGER))
    # What stays at a smaller x is there at x = 0.
    vanishes = (
        is_infinite & (other < value / 2)
        for other, value in zip(longer, values, strict=True)
    )
    return _Values(
        *(
            np.where(gone, 0.0, value)
            for gone, value in zip(vanishes, values, strict=True)
        )
    )


def bayes_error(*, alpha: ArrayLike, noise: ArrayLike) -> FloatArray:
    """The least error that any predictor reaches on new tasks as D → ∞ at α = N/D: ρ + z M(z), z = ρ/α, κ → α.

    It is the error of ridge regression in the context with the task's own noise ρ. Arguments broadcast; α may be inf.
    ValueError unless α > 0 and ρ ≥ 0.
    Source: derived here, from the resolvent of Lu et al. 2025 (arXiv 2405.11751) with κ replaced by α.

    >>> round(bayes_error(alpha=2, noise=0.1), 6)
    np.float64(0.184429)
    """
    arguments = {
        "alpha": positive(alpha, "alpha"),
        "noise": zero_or_more(noise, "noise"),
    }
    α, ρ = broadcast(arguments)
    with np.errstate(all="ignore"):  # what overflows is refused below
        least = np.asarray(ρ + _degrees_left(ρ / α, α))
    if not np.all(np.isfinite(least)):
        raise ValueError(
            "these parameters are too large or too small for doubles: pass ones nearer to 1"
        )
    return least[()]


# -- Parameters ---------------------------------------------------------------------------------------------------


class _Point(NamedTuple):
    """Checked parameters of one shape; x and x_test are (1 + ρ)/α."""

    τ: FloatArray
    κ: FloatArray
    ρ: FloatArray
    λ: FloatArray
    x: FloatArray
    x_test: FloatArray
    x_step: FloatArray
    """x_test − x, without cancellation."""


def _checked_point(given: dict[str, ArrayLike]) -> _Point:
    """The arguments of `errors` as arrays of one shape; ValueError for those that it refuses."""
    arguments = {}
    for name, value in given.items():
        accept = zero_or_more if name in ("noise", "ridge") else positive
        arguments[name] = accept(value, name)
    τ, α, κ, ρ, λ, test_α = broadcast(arguments)
    if np.any((τ == 1) & (λ == 0)):
        raise ValueError(
            "the errors have a pole at tau = 1 without ridge, where there are as many sequences as features: pass a "
            "ridge above 0, or another tau"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        x = (1 + ρ) / α
        x_test = (1 + ρ) / test_α
        both_finite = np.isfinite(α) & np.isfinite(test_α)
        step = np.where(both_finite, x * ((α - test_α) / test_α), x_test - x)
    is_unbounded = (x < _SMALLEST_X) & (κ <= np.minimum(1, τ)) & np.isfinite(τ)
    if np.any(is_unbounded & (λ == 0) & (ρ > 0)):
        raise ValueError(
            "with noise and without ridge the error on new tasks grows without bound as alpha → ∞ where kappa ≤ 1 and "
            "kappa ≤ tau < ∞: pass a finite alpha, or a ridge above 0"
        )
    return _Point(τ, κ, ρ, λ, np.maximum(x, _SMALLEST_X), x_test, step)


# -- Traces -------------------------------------------------------------------------------------------------------


class _Traces(NamedTuple):
    """Traces over D of R and (R + ν)⁻¹, from which all errors follow."""

    M: FloatArray
    """M(ν) = tr (R + ν)⁻¹."""
    s: FloatArray
    s_left: FloatArray
    """1 − s."""
    t: FloatArray
    """T1 = tr R (R + ν)⁻¹."""
    u: FloatArray
    """ν M = 1 − T1."""
    xM: FloatArray
    ξM: FloatArray
    D: FloatArray
    """1 − T1²/κ = u + t s, by which −M′ = M²/D."""

    @property
    def T2(self) -> FloatArray:
        """tr R² (R + ν)⁻² = 1 − 2νM − ν²M′."""
        return self.t * (self.t * self.s + self.u * self.s_left) / self.D

    @property
    def V_over_M(self) -> FloatArray:
        """V/M, for V = tr (R + x)(R + ν)⁻² = M + ξM′."""
        return (self.t * self.s + self.xM) / self.D


def _traces(point: _Point, ξ: FloatArray) -> _Traces:
    ν = point.x + ξ
    s = _shrinkage(ν, point.κ)
    M = 1 / (ν + s)
    t = s * M
    u = ν * M
    return _Traces(M, s, t / point.κ, t, u, point.x * M, ξ * M, u + t * s)


def _shrinkage(ν: FloatArray, κ: FloatArray) -> FloatArray:
    """s in (0, 1) with κ (1 − s)(ν + s) = s, for ν > 0: the root of s² − b s − ν, b = 1 − 1/κ − ν."""
    b = _one_less_inverse(κ) - ν
    root = np.hypot(b, 2 * np.sqrt(ν))
    # The sum of two numbers of one sign in both cases.
    return np.asarray(np.where(b > 0, (b + root) / 2, ν / ((root - b) / 2)))


def _degrees_left(ν: FloatArray, κ: FloatArray) -> FloatArray:
    """u = νM(ν), for ν ≥ 0: the root of u²/κ + c u − ν, c = ν + 1 − 1/κ."""
    c = ν + _one_less_inverse(κ)
    root = np.hypot(c, 2 * np.sqrt(ν) / np.sqrt(κ))
    with np.errstate(all="ignore"):  # of the case that is not taken
        return np.asarray(np.where(c > 0, ν / ((c + root) / 2), κ * (root - c) / 2))


def _one_less_inverse(κ: FloatArray) -> FloatArray:
    """1 − 1/κ with all digits, also next to κ = 1."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(κ), 1.0, (κ - 1) / κ)


# -- The effective ridge ------------------------------------------------------------------------------------------


def _effective_ridge(point: _Point) -> FloatArray:
    """The largest root ξ of ξ = λ + (ξ/τ)(1 − ξM(x + ξ))."""
    τ = point.τ
    # Without ridge: 0 for τ > 1, and (1 − τ)/(τ M_{κ/τ}(x)) below.
    shrinkage = _shrinkage(point.x, point.κ / τ)
    ridgeless = np.where(τ < 1, (1 - τ) / τ * (point.x + shrinkage), 0.0)
    # With infinitely many sequences the ridge is as it was given.
    ξ = np.where(np.isinf(τ), point.λ, ridgeless)
    needs_search = (point.λ > 0) & np.isfinite(τ)
    if not np.any(needs_search):
        return np.asarray(ξ)
    chosen = _Point(*[values[needs_search] for values in point])
    ξ[needs_search] = positive_root(chosen, ridgeless[needs_search])
    return np.asarray(ξ)


def positive_root(point: _Point, ridgeless: FloatArray) -> FloatArray:
    """ξ (n,) for λ > 0 by Newton's method in log ξ within a bracket, which falls back on its geometric mean."""
    λ, τ = point.λ, point.τ
    # (1/d) tr B(B + ξ)⁻¹ is between 0 and (1 + x)/ξ, so that ξ is between these.
    low, high = λ, λ + (1 + point.x) / τ
    above_threshold = λ / np.maximum(1 - 1 / τ, np.sqrt(λ / (λ + 1 + point.x)))
    ξ = np.clip(np.where(τ < 1, ridgeless + λ, above_threshold), low, high)
    for _ in range(_MOST_STEPS):
        value, slope = _fixed_point_gap(point, ξ)
        low = np.where(value < 0, ξ, low)
        high = np.where(value > 0, ξ, high)
        newton = ξ * np.exp(np.clip(-value / slope, -700, 700))
        is_inside = (newton >= low) & (newton <= high)
        new = np.where(is_inside, newton, np.sqrt(low) * np.sqrt(high))
        step = np.abs(new / ξ - 1)
        ξ = new
        if not np.any(step > _RELATIVE_STEP):
            break
    return np.asarray(ξ)


def _fixed_point_gap(point: _Point, ξ: FloatArray) -> tuple[FloatArray, FloatArray]:
    """1 − (1 − ξM)/τ − λ/ξ, which increases with ξ and vanishes at the root, and its slope in log ξ."""
    traces = _traces(point, ξ)
    pull = point.λ / ξ
    slope = traces.ξM * traces.V_over_M / point.τ + pull
    return _remaining_degrees(point, traces) - pull, slope


def _remaining_degrees(point: _Point, traces: _Traces) -> FloatArray:
    """1 − (1 − ξM)/τ as the one of three equal sums whose terms are smallest, so that rounding is.

    1 − ξM = T1 + xM is next to 1 where τ = 1 is a threshold, and T1 = κ (1 − s) next to κ where τ = κ is one.
    """
    τ, κ = point.τ, point.κ
    by_features = [τ - 1, traces.ξM]
    by_degrees = [τ, -traces.t, -traces.xM]
    by_tasks = [τ - κ, κ * traces.s, -traces.xM]
    remaining = np.zeros_like(τ)
    smallest = np.full_like(τ, np.inf)
    for terms in (by_features, by_degrees, by_tasks):
        size = sum(np.abs(term) for term in terms)
        is_smaller = size < smallest
        remaining = np.where(is_smaller, sum(terms), remaining)
        smallest = np.where(is_smaller, size, smallest)
    return remaining / τ


# -- Errors -------------------------------------------------------------------------------------------------------


def _training_error(
    point: _Point, ξ: FloatArray, traces: _Traces
) -> tuple[FloatArray, FloatArray]:
    """e_IDG = [ρ + ν − ν²M − ξT2]/(1 − γ), and 1 − γ."""
    # T1 − T2 = ν tr R(R + ν)⁻², so that the bracket is ρ + x T1 + ξ (T1 − T2).
    overlap = traces.u * traces.ξM * traces.s**2 / traces.D
    bracket = point.ρ + point.x * traces.t + overlap
    # The fixed-point equation makes 1 − γ the sum λ/ξ + ξV/τ.
    has_ridge = ξ > 0
    pull = np.divide(point.λ, ξ, out=np.zeros_like(ξ), where=has_ridge)
    with_ridge = pull + traces.ξM * traces.V_over_M / point.τ
    above_threshold = _one_less_inverse(point.τ)
    denominator = np.where(has_ridge, with_ridge, above_threshold)
    return bracket / denominator, denominator


def _new_task_error(point: _Point, traces: _Traces, idg: FloatArray) -> FloatArray:
    """e_ICL = 1 + ρ − 2T1 + (1 + x_test)(T2 + e_IDG V/τ)."""
    # 1 − 2T1 + T2 = ν² tr (R + ν)⁻².
    bias = traces.u**2 / traces.D
    variance = idg * (traces.M / point.τ) * traces.V_over_M
    return point.ρ + bias + point.x_test * traces.T2 + (1 + point.x_test) * variance


def _gap(point: _Point, traces: _Traces, idg: FloatArray) -> FloatArray:
    """e_ICL − e_IDG, of which 1 − s = T1/κ is a factor where both have the same context length (derived here).

    (1 − s)/D {u² (1 + s) + (e_IDG/τ) M (T1 s + xM − s ξM)} + (x_test − x)(T2 + e_IDG V/τ).
    """
    weight = idg * (traces.M / point.τ)
    sampled = traces.t * traces.s + traces.xM - traces.s * traces.ξM
    bracket = traces.u**2 * (1 + traces.s) + weight * sampled
    same_length = traces.s_left / traces.D * bracket
    return same_length + point.x_step * (traces.T2 + weight * traces.V_over_M)
