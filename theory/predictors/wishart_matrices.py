"""The mean resolvent of a Wishart matrix, exactly at every size, by integration over its eigenvalues.

W = ZᵀZ with Z (N, D) of entries N(0, 1). With n = min(N, D) and α = |N − D| its positive eigenvalues have the density
|Π_{i<j} (x_i − x_j)| Π_i x_i^{(α−1)/2} e^{−x_i/2}. By de Bruijn's integration formula (1955) E Π_i f(x_i) is the ratio
Pf A[f] / Pf A[1] of Pfaffians of

    A_ij[f] = ∫∫ sgn(y − x) φ_i(x) φ_j(y) f(x) f(y) dx dy,    φ_i = p_i(x) x^{(α−1)/2} e^{−x/2}

with polynomials p_i of degree i < n; an odd n adds a row ∫ φ_j f. The derivative at ε = 0 for f = 1 + ε/(x + s) is the
mean of Σ_i 1/(x_i + s), and that of log Pf A is ½ tr(A⁻¹ ∂A). With Laguerre polynomials and x = t² all integrands are
smooth.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number, whole_number

# Gauss-Legendre points in a panel.
_PANEL_POINTS = 16
# Panels for each oscillation of φ_{n−1}: of the rule, and of the coarser one that measures its error.
_FINE, _COARSE = 0.5, 0.35
_FEWEST_PANELS = 12
# e^{−9²/2}, which is left out beyond the turning points of φ_{n−1}, is 3e-18.
_TAIL = 9.0
# Width of the panels at 0, in widths √s of the peak of 1/(t² + s).
_PANELS_AT_PEAK = 0.5
# Below, the peak is a step of 1/s at t = 0 whose width no integrand resolves.
_NARROWEST_PANEL = 1e-8
_LARGEST_SIZE = 2000
# Beyond this size numbers of the recurrence are rescaled.
_LARGE = 1e100
_ROUNDING = 1e-13


class ResolventTrace(NamedTuple):
    """E tr (W + s)^{-1}, and an estimate of its error from a coarser rule."""

    value: float
    error: float


def mean_resolvent_trace(dimension: int, length: int, shift: float) -> ResolventTrace:
    """E tr (ZᵀZ + s)^{-1} for Z (N, D) with entries N(0, 1) and s = `shift` > 0.

    ValueError unless N, D ≥ 1, min(N, D) ≤ 2000 and s > 0.
    Source: derived here from de Bruijn 1955 (J. Indian Math. Soc. 19, 133).

    >>> round(mean_resolvent_trace(5, 40, 0.5).value, 6)
    0.144549
    """
    D, N = whole_number(dimension, "dimension"), whole_number(length, "length")
    s = positive_number(shift, "shift")
    n, α = min(N, D), abs(N - D)
    if n > _LARGEST_SIZE:
        raise ValueError(
            f"resolvents are integrated for up to {_LARGEST_SIZE} positive eigenvalues, and here are {n}: "
            "proportional_ridge_loss is accurate to O(1/D) there"
        )
    fine = _mean_over_positive_eigenvalues(n, α, s, _FINE)
    coarse = _mean_over_positive_eigenvalues(n, α, s, _COARSE)
    # D − n eigenvalues are zero.
    value = fine + (D - n) / s
    return ResolventTrace(value, abs(fine - coarse) + _ROUNDING * value)


def _mean_over_positive_eigenvalues(n: int, α: int, s: float, density: float) -> float:
    """E Σ_i 1/(x_i + s) over the n positive eigenvalues: ½ tr(A⁻¹ ∂A)."""
    panels = _Panels.between(_ends(n, α, s, density))
    t = panels.points
    φ = _laguerre_functions(n, α, t**2)  # (n, points), with φ_i dx = 2 φ dt
    ones = panels.integrals(φ)
    to_the_left = panels.integrals_up_to(φ)
    sign_integrals = ones[:, None] - 2 * to_the_left  # ∫ sgn(t' − t) φ_j(t') dt'
    resolvent = 1 / (t**2 + s)

    products = (φ * panels.weights) @ sign_integrals.T
    A = (products - products.T) / 2
    with_resolvent = (φ * panels.weights * resolvent) @ sign_integrals.T
    A_by_ε = with_resolvent - with_resolvent.T
    if n % 2:
        A = _bordered(A, ones)
        A_by_ε = _bordered(A_by_ε, panels.integrals(φ * resolvent))
    return float(np.trace(np.linalg.solve(A, A_by_ε)) / 2)


def _bordered(A: FloatArray, column: FloatArray) -> FloatArray:
    """The antisymmetric matrix (n+1, n+1) of an antisymmetric A (n, n) and one more column."""
    n = len(A)
    bordered = np.zeros((n + 1, n + 1))
    bordered[:n, :n] = A
    bordered[:n, n] = column
    bordered[n, :n] = -column
    return bordered


def _ends(n: int, α: int, s: float, density: float) -> FloatArray:
    """Ends of panels in t, (panels + 1,), from the first to the last turning point of φ_{n−1} and a bit beyond.

    φ oscillates in t with at most 2√n radians per unit, over a width of at most 2√n + 2·tail.
    """
    start = max(0.0, math.sqrt(n + α) - math.sqrt(n) - _TAIL)
    end = math.sqrt(n + α) + math.sqrt(n) + _TAIL
    oscillations = n + _TAIL * math.sqrt(n)
    count = max(_FEWEST_PANELS, math.ceil(density * oscillations))
    ends = np.linspace(start, end, count + 1)
    if start > 0:
        return ends
    # Halves of the first panel, down to the width of the peak.
    width, narrower = ends[1], []
    while width > max(_PANELS_AT_PEAK * math.sqrt(s), _NARROWEST_PANEL):
        width /= 2
        narrower.append(width)
    return np.sort(np.concatenate([ends, narrower]))


class _Panels(NamedTuple):
    """A composite Gauss-Legendre rule: `points` and `weights` (panels · 16,), and half widths (panels,)."""

    points: FloatArray
    weights: FloatArray
    half_widths: FloatArray

    @classmethod
    def between(cls, ends: FloatArray) -> "_Panels":
        """The panels between these ends, which increase."""
        nodes, weights = legendre.leggauss(_PANEL_POINTS)
        half = np.diff(ends) / 2
        middle = (ends[1:] + ends[:-1]) / 2
        points = middle[:, None] + half[:, None] * nodes
        return cls(points.ravel(), np.outer(half, weights).ravel(), half)

    def integrals(self, values: FloatArray) -> FloatArray:
        """∫ over all panels of values (n, points), (n,)."""
        return np.asarray(values @ self.weights)

    def integrals_up_to(self, values: FloatArray) -> FloatArray:
        """∫ up to each point of values (n, points), (n, points)."""
        n = len(values)
        by_panel = values.reshape(n, len(self.half_widths), _PANEL_POINTS)
        weights = self.weights.reshape(len(self.half_widths), _PANEL_POINTS)
        whole = np.einsum("npq,pq->np", by_panel, weights)
        before = np.cumsum(whole, axis=1) - whole  # (n, panels)
        inside = np.einsum("npq,rq->npr", by_panel, _integration_matrix())
        inside *= self.half_widths[:, None]
        return np.asarray((before[..., None] + inside).reshape(n, -1))


def _integration_matrix() -> FloatArray:
    """∫ from −1 to the node r of the polynomial that is 1 at node q and 0 at the others, (r, q)."""
    nodes, _ = legendre.leggauss(_PANEL_POINTS)
    coefficients = np.linalg.inv(legendre.legvander(nodes, _PANEL_POINTS - 1))
    integrals = legendre.legint(coefficients, lbnd=-1, axis=0)
    return np.asarray(legendre.legval(nodes, integrals).T)


def _laguerre_functions(n: int, α: int, x: FloatArray) -> FloatArray:
    """p_i(x) x^{α/2} e^{−x/2} of the orthonormal Laguerre polynomials, (n, points), for x > 0.

    By the recurrence of three terms, with the logarithm of a common factor aside: the first ones are below the
    smallest number where the last ones are not.
    """
    logarithm = (α * np.log(x) - x - math.lgamma(α + 1)) / 2
    previous, current = np.zeros_like(x), np.ones_like(x)
    functions = np.empty((n, len(x)))
    for i in range(n):
        functions[i] = current * np.exp(logarithm)
        following = (2 * i + 1 + α - x) * current - math.sqrt(i * (i + α)) * previous
        previous, current = current, following / math.sqrt((i + 1) * (i + 1 + α))
        size = np.maximum(np.abs(current), np.abs(previous))
        factor = np.where(size > _LARGE, size, 1.0)
        previous, current = previous / factor, current / factor
        logarithm = logarithm + np.log(factor)
    return functions
