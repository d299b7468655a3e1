"""Test errors along gradient flow of the linear read-out as D → ∞, at all times at once.

Errors are quadratic in Γ, so that the rule of `contours` needs the errors of pairs of ridges, E_ij and V_ij below. For
the traces of R = (1/k) Σ wwᵀ, s and t = sM stand for what the paper writes with M, 1/M = ν + s: no digits are lost to
differences.
Source: the ridge errors of Lu et al. 2025 (arXiv 2405.11751); their pairs and the flow are derived here.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_choice, nonnegative_number
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.line_charts import Line, LineChart
from .contours import (
    FEWER,
    NODES,
    ComplexArray,
    Contour,
    Path,
    checked_nodes,
    roots_on,
)
from .parameters import broadcast, positive, positive_or_infinite, zero_or_more

_SMALLEST_TIME = 1e-100
"""Below it the ridges of the contour would overflow where they are squared; errors are those of θ = 0 to rounding."""

_LARGEST_TIME = 1e100
_POINTS_AT_ONCE = 2000
"""Points whose pairs of nodes are held in memory together: 2000·16·16 complex numbers are 8 MB an array."""

_ERRORS = {"new tasks": "icl", "training tasks": "idg"}

_SEARCHED = (1e-3, 1e12)
"""Times in units of one over the largest eigenvalue of G: before them nothing is learnt, after them all that is."""

_SEARCHED_POINTS = 76
"""Five a factor of ten: the error bends over a factor of e, as e^{−θG} does."""

_END = 1e60
"""Flow has converged at this θ unless τ = 1 to 30 digits: what fewer tasks make the largest eigenvalue hastens none."""

_LEAST_GAIN = 1e-9
"""In parts of the error or of E y²: a smaller gain is the error of the quadrature."""

_RESIDUAL = 1e-9
"""Newton's method ends at rounding, 1e-14 of ξ and s, or nowhere."""


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve(Displayed):
    """Test errors E(y − ŷ)² along gradient flow of the read-out, in the limit D → ∞, the query's noise included.

    `icl` is the error on new tasks, `idg` that on the training tasks with new contexts, `error` by how much they may
    be wrong through the number of nodes. All have the shape that `theta` and the parameters broadcast to.
    """

    theta: FloatArray
    icl: FloatArray
    idg: FloatArray
    error: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """The times and errors as plain numbers or lists."""
        names = ("theta", "icl", "idg", "error")
        return {name: np.asarray(getattr(self, name)).tolist() for name in names}

    def summary(self) -> Summary:
        """The errors on one screen."""
        rows = {
            "θ": array_summary(self.theta),
            "in context (new tasks)": array_summary(self.icl),
            "in distribution (training tasks)": array_summary(self.idg),
            "error of the quadrature": f"at most {np.max(self.error, initial=0.0):.1e}",
        }
        return Summary("Errors along gradient flow of the read-out as D → ∞", rows)

    def chart(self) -> LineChart | None:
        """Both errors against θ; None where they are no curves over it, (T,) each."""
        theta, icl, idg = (np.asarray(a) for a in (self.theta, self.icl, self.idg))
        if (
            not theta.ndim == icl.ndim == 1
            or theta.size < 2
            or theta.shape != icl.shape
        ):
            return None
        lines = (
            Line(theta, icl, "new tasks", "dashed"),
            Line(theta, idg, "training tasks", "dotted"),
        )
        return LineChart(lines, "θ", "error", f"least on new tasks {icl.min():.4g}")


def learning_curve(
    theta: ArrayLike,
    *,
    tau: ArrayLike,
    alpha: ArrayLike,
    kappa: ArrayLike,
    noise: ArrayLike,
    test_alpha: ArrayLike | None = None,
    nodes: int = NODES,
) -> LearningCurve:
    """Errors on new and on training tasks after gradient flow of the read-out for the time θ, from zero weights.

    θ = t/D³ for the package's flow time t of M, dM/dt = −½ ∂L/∂M. T steps of gradient descent of the paper's Γ at rate
    η, on the mean of squares without ½, are θ = 2ηT/D. τ = P/(D(D+1)), α = N/D, κ = k/D and the noise ρ are those of
    `errors`, whose ridgeless values are the limit θ → ∞; all arguments broadcast, and τ, α, κ may be inf. τ = 1 is no
    pole at finite times. `test_alpha` is N/D of the prompts with new tasks. `nodes` is an even number from 16: `.error`
    compares with 8 nodes less.
    ValueError unless θ ≥ 0 is finite, τ, α, κ > 0 and ρ ≥ 0.
    Source: derived here from the ridge errors of Lu et al. 2025 (arXiv 2405.11751).

    >>> curve = learning_curve([0.1, 1, 10, 100], tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    >>> curve.icl.round(6)
    array([0.917289, 0.770456, 0.990375, 1.91168 ])
    >>> curve.idg.round(6)
    array([0.660122, 0.264033, 0.316987, 0.614088])
    """
    checked_nodes(nodes)
    point = _checked_point(
        {
            "theta": zero_or_more(theta, "theta"),
            "tau": positive(tau, "tau"),
            "kappa": positive(kappa, "kappa"),
            "noise": zero_or_more(noise, "noise"),
            "alpha": positive(alpha, "alpha"),
            "test_alpha": positive(
                alpha if test_alpha is None else test_alpha, "test_alpha"
            ),
        }
    )
    flat = _Point(*(np.ravel(values) for values in point))
    icl, idg, error = np.empty((3, flat.θ.size))
    points = np.arange(flat.θ.size)
    for first in points[::_POINTS_AT_ONCE]:
        part = points[first:][:_POINTS_AT_ONCE]
        some = _Point(*(values[part] for values in flat))
        fine, coarse = _errors_after(some, nodes), _errors_after(some, nodes - FEWER)
        icl[part], idg[part] = fine
        error[part] = np.max(np.abs(fine - coarse), axis=0)
    shape = point.θ.shape
    return LearningCurve(
        np.array(point.θ),
        icl.reshape(shape)[()],
        idg.reshape(shape)[()],
        error.reshape(shape)[()],
    )


@dataclass(frozen=True, eq=False, repr=False)
class EarlyStopping(Displayed):
    """When the error on new or on training tasks is least along gradient flow, that error, and the one at the end.

    `theta` is inf, and `error` equals `end`, where the error falls to the end.
    """

    theta: float
    error: float
    end: float

    def to_dict(self) -> dict[str, float]:
        """The time and the two errors."""
        return {"theta": self.theta, "error": self.error, "end": self.end}

    def summary(self) -> Summary:
        """The time and the two errors on one screen."""
        rows = {
            "θ of the least error": f"{self.theta:.6g}",
            "least error": f"{self.error:.6g}",
            "error at the end": f"{self.end:.6g}",
        }
        return Summary("Early stopping of gradient flow as D → ∞", rows)


def early_stopping(
    *,
    tau: float,
    alpha: float,
    kappa: float,
    noise: float,
    test_alpha: float | None = None,
    on: str = "new tasks",
) -> EarlyStopping:
    """The time θ at which the error on "new tasks" or on "training tasks" is least, as D → ∞, and the error there.

    Parameters are numbers and are those of `learning_curve`. ValueError for what it refuses and for another `on`.
    Source: derived here.

    >>> stop = early_stopping(tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    >>> round(stop.theta, 2), round(stop.error, 4), round(stop.end, 4)
    (1.18, 0.7695, 2.454)
    """
    from scipy.optimize import minimize_scalar

    check_choice(on, "on", _ERRORS)
    tau, alpha, kappa = (
        positive_or_infinite(value, name)
        for value, name in ((tau, "tau"), (alpha, "alpha"), (kappa, "kappa"))
    )
    noise = nonnegative_number(noise, "noise")

    def error(log_theta: ArrayLike) -> FloatArray:
        curve = learning_curve(
            np.exp(log_theta),
            tau=tau,
            alpha=alpha,
            kappa=kappa,
            noise=noise,
            test_alpha=test_alpha,
        )
        return np.asarray(getattr(curve, _ERRORS[on]))

    # The largest eigenvalue of G, by the edges of the spectra of R and of the data.
    largest = ((1 + kappa**-0.5) ** 2 + (1 + noise) / alpha) * (1 + tau**-0.5) ** 2
    first, last = (math.log(time / largest) for time in _SEARCHED)
    grid = np.linspace(first, last, _SEARCHED_POINTS)
    errors = error(grid)
    # At τ = 1 the smallest eigenvalue of G is 0, and the error grows for ever.
    end = math.inf if tau == 1 else float(error(math.log(_END)))
    k = int(np.argmin(errors))
    if errors[k] >= end - _LEAST_GAIN * max(end, 1 + noise):
        return EarlyStopping(math.inf, end, end)
    neighbours = grid[max(k - 1, 0) : k + 2]
    found = minimize_scalar(
        error, bounds=(neighbours[0], neighbours[-1]), method="bounded"
    )
    return EarlyStopping(math.exp(found.x), float(found.fun), end)


# -- Parameters ---------------------------------------------------------------------------------------------------


class _Point(NamedTuple):
    """Checked parameters of one shape; x and x_test are (1 + ρ)/α, what a finite context adds to R."""

    θ: FloatArray
    one_over_τ: FloatArray
    one_over_κ: FloatArray
    ρ: FloatArray
    x: FloatArray
    x_test: FloatArray


def _checked_point(arguments: dict[str, FloatArray]) -> _Point:
    """The parameters as arrays of one shape; ValueError for those that do not broadcast or overflow."""
    θ, τ, κ, ρ, α, α_test = broadcast(arguments)
    if np.any(θ > _LARGEST_TIME):
        raise ValueError(
            f"theta must be at most {_LARGEST_TIME:g}: pass to errors() what has converged"
        )
    with np.errstate(over="ignore"):
        point = _Point(θ, 1 / τ, 1 / κ, ρ, (1 + ρ) / α, (1 + ρ) / α_test)
    if not all(np.all(np.isfinite(values)) for values in point):
        raise ValueError(
            "these parameters are too large or too small for doubles: pass ones nearer to 1"
        )
    return point


# -- Quadrature ---------------------------------------------------------------------------------------------------


def _errors_after(point: _Point, nodes: int) -> FloatArray:
    """e_ICL and e_IDG (2, points) at the times θ."""
    contour = Contour.with_nodes(nodes)
    # At θ = 0 nothing is learnt, which the smallest time shows to rounding.
    timed = point._replace(θ=np.maximum(point.θ, _SMALLEST_TIME))
    ridges = _effective_ridges(timed, contour)
    ω = contour.weights
    linear = np.stack([ridges.t @ ω, ridges.g @ ω])
    quadratic = np.zeros((2, point.θ.size))
    rows = _Ridges(*(values[..., :, None] for values in ridges))
    columns = _Ridges(*(values[..., None, :] for values in ridges))
    conjugates = _Ridges(*(np.conj(values) for values in columns))
    # Upper nodes with upper and with lower ones; the pairs of lower nodes are the conjugates of these.
    for others, weights in ((columns, ω), (conjugates, np.conj(ω))):
        for row, values in enumerate(_PairErrors.of(rows, others, point)):
            quadratic[row] += 2 * np.real(np.einsum("i,pij,j->p", ω, values, weights))
    return np.asarray(1 + point.ρ - 4 * np.real(linear) + quadratic)


class _Ridges(NamedTuple):
    """Traces over D at the effective ridges ξ_i (points, nodes) of the contour, with ν = x + ξ and M = 1/(ν + s)."""

    M: ComplexArray
    """tr (R + ν)⁻¹."""
    t: ComplexArray
    """tr R(R + ν)⁻¹ = sM = 1 − νM."""
    g: ComplexArray
    """tr R²(R + ν)⁻¹ = 1 − νt = t/κ + st."""
    s: ComplexArray


class _PairTraces(NamedTuple):
    """Traces over D of pairs of effective ridges (points, nodes, nodes), with P = R(R + ν)⁻¹."""

    S0: ComplexArray
    """tr (R + ν_i)⁻¹(R + ν_j)⁻¹."""
    S1: ComplexArray
    """tr R(R + ν_i)⁻¹(R + ν_j)⁻¹."""
    S2: ComplexArray
    """tr P_i P_j."""
    S3: ComplexArray
    """tr R P_i P_j."""

    @classmethod
    def of(cls, i: _Ridges, j: _Ridges, one_over_κ: FloatArray) -> "_PairTraces":
        """The traces as k, D → ∞; the same random R in both makes the denominator 1 − t_i t_j/κ."""
        correlated = 1 - i.t * j.t * one_over_κ
        S0 = i.M * j.M / correlated
        shrunk = (1 + (1 - i.t - j.t) * one_over_κ) / correlated
        # S3 = g_i − ν_j S2 with ν_j t_j = s_j (1 − t_j).
        S3 = i.g - i.t * j.s * (1 - j.t) * shrunk
        return cls(S0, i.s * j.s * S0, i.t * j.t * shrunk, S3)


class _PairErrors(NamedTuple):
    """What pairs of ridges (points, nodes, nodes) add to the errors, quadratic in Γ."""

    new_tasks: ComplexArray
    training_tasks: ComplexArray

    @classmethod
    def of(cls, i: _Ridges, j: _Ridges, point: _Point) -> "_PairErrors":
        """The pairs of the ridges `i` (points, nodes, 1) with the ridges `j` (points, 1, nodes).

        E is the covariance of the residuals of both on the training law, V what data noise makes of it on new tasks.
        """
        _, one_over_τ, one_over_κ, ρ, x, x_test = (
            values[:, None, None] for values in point
        )
        S0, S1, S2, S3 = _PairTraces.of(i, j, one_over_κ)
        without_noise = ρ + 1 - i.g - j.g + S3 + x * S2
        E = without_noise / (1 - (S2 + 2 * x * S1 + x**2 * S0) * one_over_τ)
        V = S1 + x * S0
        return cls(
            (1 + x_test) * (S2 + E * V * one_over_τ),
            E - (1 + ρ) + i.g + j.g,
        )


# -- Effective ridges ---------------------------------------------------------------------------------------------


def _effective_ridges(point: _Point, contour: Contour) -> _Ridges:
    """The traces at the nodes; ArithmeticError where a root is not found."""
    vertex = np.real(contour.ridges(0.0, point.θ))
    first = 1e3 * np.maximum(vertex, 1 + point.one_over_τ)
    # At a large ridge ξ = λ + 1/τ and s = 1.
    ξ = np.asarray(first + point.one_over_τ, dtype=np.complex128)
    path = Path(
        first,
        np.stack([ξ, np.ones_like(ξ)]),
        partial(_newton, point),
        partial(_is_root, point),
    )
    ξ, s = roots_on(contour, point.θ, path)
    M = 1 / (point.x[:, None] + ξ + s)
    t = s * M
    return _Ridges(M, t, t * point.one_over_κ[:, None] + s * t, s)


def _newton(point: _Point, λ: ComplexArray, root: ComplexArray) -> ComplexArray:
    """ξ and s (2, points) after four steps of Newton's method on the equations of `_residuals`."""
    a, b, x = point.one_over_τ, point.one_over_κ, point.x
    ξ, s = root
    for _ in range(4):
        A = x + ξ + s
        F, G = _residuals(point, λ, ξ, s)
        # Derivatives by ξ and s.
        F_ξ, F_s = 1 - s, (1 - s) - A - b
        G_ξ = 1 - a * (x + s) * (x + s) / A**2
        G_s = -a * ξ**2 / A**2
        determinant = F_ξ * G_s - F_s * G_ξ
        ξ, s = (
            ξ - (F * G_s - F_s * G) / determinant,
            s - (F_ξ * G - F * G_ξ) / determinant,
        )
    return np.stack([ξ, s])


def _residuals(
    point: _Point, λ: ComplexArray, ξ: ComplexArray, s: ComplexArray
) -> tuple[ComplexArray, ComplexArray]:
    """What vanishes at the effective ridge: (1 − s)(ν + s) − s/κ, and ξ − λ − (ξ/τ)(1 − ξM) with 1 − ξM = (x + s)M."""
    A = point.x + ξ + s
    return (
        (1 - s) * A - s * point.one_over_κ,
        ξ - λ - point.one_over_τ * ξ * (point.x + s) / A,
    )


def _is_root(point: _Point, λ: ComplexArray, root: ComplexArray) -> NDArray[np.bool_]:
    """Whether the equations hold, and ξ is that of a resolvent, which lies above the axis as λ does."""
    columns = _Point(*(values[:, None] for values in point))
    ξ, s = root
    F, G = _residuals(columns, λ, ξ, s)
    scale_F = np.abs(s) * columns.one_over_κ + np.abs(columns.x + ξ + s)
    holds = (np.abs(F) < _RESIDUAL * scale_F) & (np.abs(G) < _RESIDUAL * np.abs(ξ))
    return np.asarray(holds & (ξ.imag > -_RESIDUAL * np.abs(ξ)))
