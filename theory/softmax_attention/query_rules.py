"""Quadrature over the query: what the loss of softmax heads needs to know of x_q.

Scores are ω_h x_nᵀ A x_q for one matrix A. Given x_q, x_nᵀ A x_q = τ u_n with u_n ~ N(0, 1) and τ² = x_qᵀAᵀΛA x_q,
and of x_n only its part along u_n matters, x_n = (ΛA x_q/τ) u_n + the rest. So the loss depends on x_q through

    τ,    α = x_qᵀΩΛA x_q / τ,    ρ = x_qᵀAᵀΛΩΛA x_q / τ²,    and the query's own score x_qᵀA x_q
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray

ComplexArray = NDArray[np.complex128]

# Of the density of |x_q|², which the largest node need not reach beyond.
_LEFT_OUT = 1e-10
# Laguerre series of e^{(1−s)x} converge for s > 1/2.
_SMALLEST_SCALE = 0.55
# Probabilities below which a node is left out.
_NO_PROBABILITY = 1e-14
# Degrees of freedom up to which the rule in √χ² is the better one: measured, D = 1 … 8.
_FEW_FREEDOMS = 2
# The even grid of log τ: the trapezoidal rule is off by e^{−π²/(2h)} where the integrand turns at |Im log τ| = π/4, as
# the density for one direction does; many directions have a narrower one, and a rule with many nodes needs more points.
_GRID_STEP, _LEAST_GRID_POINTS = 0.05, 600
# Frequencies of a characteristic function up to which it is summed, and the exponent at which it has vanished.
_MOST_FREQUENCIES = 2000
_VANISHED = 39.0
# Numbers for which the contour of all grid points is held in memory at once.
_CONTOUR_NUMBERS = 10**6
# The exponent of the density up to which the grid reaches.
_TAIL = 36.0
# Points of the contour of an inverse Laplace transform.
_CONTOUR_POINTS = 32


class QueryRule(NamedTuple):
    """Nodes of a quadrature over x_q, and what is averaged there, each (Q,).

    `deviations` are τ and `query_scores` x_qᵀA x_q, both in units of ω. `probabilities` add up to 1; `signals` hold
    E[α | τ] and `along` E[ρ | τ], times the probability.
    """

    deviations: FloatArray
    query_scores: FloatArray
    probabilities: FloatArray
    signals: FloatArray
    along: FloatArray


class WhiteQueries(NamedTuple):
    """Queries for which τ² = p χ², with `rank` degrees of freedom, and x_qᵀA x_q = k χ².

    That is so where Λ^½AᵀΛAΛ^½ is p times a projector and Λ^½AΛ^½ is k times it: for A = 1 where Λ is a multiple of
    the identity, and for A = Λ⁻¹ always. `signal` is E[ατ]/E[χ²] and `along` E[ρτ²]/E[χ²].
    """

    rank: int
    variance: float
    query_score: float
    signal: float
    along: float

    def rule(self, nodes: int) -> QueryRule:
        """The quadrature with so many nodes of χ², by the generalised Laguerre rule."""
        χ2, probabilities = chi_square_rule(self.rank, nodes)
        τ = np.sqrt(self.variance * χ2)
        return QueryRule(
            τ,
            self.query_score * χ2,
            probabilities,
            probabilities * self.signal * χ2 / τ,
            probabilities * self.along / self.variance * np.ones_like(χ2),
        )


class GeneralQueries(NamedTuple):
    """Queries for which τ² = Σ_i p_i z_i² has unequal positive terms p (R,), with z ~ N(0, 1).

    `signal` and `along` (R,) are the diagonals, in the eigenbasis of τ², of the forms ατ = zᵀMz and ρτ² = zᵀMz: other
    entries average to zero given τ, since every z_i may change its sign.
    """

    variances: FloatArray
    signal: FloatArray
    along: FloatArray

    def rule(self, nodes: int) -> QueryRule:
        """The Gauss quadrature for the law of τ with so many nodes.

        E[z_i² f(τ)] is the mean of f for a τ whose direction i has two more degrees of freedom: those laws get
        weights on the same nodes.
        """
        τ_grid, probabilities = _known_densities(tuple(self.variances.tolist()))
        τ, weights = gauss_rule(τ_grid, probabilities, nodes)
        return QueryRule(
            τ,
            np.zeros_like(τ),
            weights[0],
            self.signal @ weights[1:] / τ,
            self.along @ weights[1:] / τ**2,
        )


@lru_cache(maxsize=16)
def _known_densities(variances: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
    """`deviation_densities`, computed once for the rules of a task: they cost more than a loss."""
    return deviation_densities(np.array(variances))


def deviation_densities(variances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """An even grid of log τ, as τ (G,), and probabilities (R + 1, G) on it for τ² = Σ_i p_i χ²_i.

    In the first law every χ²_i has one degree of freedom, in the one of row 1 + i that of direction i has three.

    >>> τ, probabilities = deviation_densities(np.array([1.0, 4.0]))
    >>> (probabilities @ τ**2).round(6)
    array([ 5.,  7., 13.])
    """
    R = len(variances)
    largest = float(np.max(variances))
    geometric_mean = float(np.exp(np.mean(np.log(variances))))
    # Below, the density of log τ falls as τ^R; above, that of τ as e^{−τ²/(2 max p)}, from the mean Σp on.
    start = math.log(geometric_mean) / 2 - _TAIL / R
    end = math.log(np.sum(variances) + 2 * _TAIL * largest) / 2 + 0.5
    points = max(_LEAST_GRID_POINTS, math.ceil((end - start) / _GRID_STEP))
    log_τ = np.linspace(start, end, points)
    τ2 = np.exp(2 * log_τ)

    step = log_τ[1] - log_τ[0]
    # Where many directions have a part, Laplace transforms are large beside the contour: rounding would spoil it.
    frequencies = _frequencies(variances, τ2[-1])
    if frequencies is not None:
        densities = _densities_by_frequencies(variances, τ2, frequencies)
    else:
        densities = _densities_by_contour(variances, τ2)
    # Rounding makes negative ones of those that vanish.
    return np.exp(log_τ), np.maximum(densities, 0) * 2 * τ2 * step


def _frequencies(variances: FloatArray, period: float) -> FloatArray | None:
    """Multiples (F,) of 2π/period at which E e^{iωτ²} has not vanished; None where those are too many."""
    ω = np.asarray(2 * np.pi / period * np.arange(_MOST_FREQUENCIES), dtype=np.float64)
    # |E e^{iωτ²}| = Π_i (1 + 4 p_i² ω²)^{−1/4} falls with ω.
    exponents = np.sum(np.log1p((2 * np.outer(ω, variances)) ** 2), axis=1) / 4
    has_vanished = exponents > _VANISHED
    return ω[~has_vanished] if has_vanished[-1] else None


def _densities_by_frequencies(
    variances: FloatArray, τ2: FloatArray, frequencies: FloatArray
) -> FloatArray:
    """Densities (R + 1, G) of the laws of `deviation_densities` at τ² (G,), as Fourier series.

    The period is the largest τ², beyond which the densities vanish: the series is then exact.
    """
    factors = 1 - 2j * np.multiply.outer(variances, frequencies)  # (R, F)
    first_law = np.exp(-np.sum(np.log(factors), axis=0) / 2)
    laws = np.concatenate([first_law[None], first_law / factors])
    laws[:, 0] /= 2
    waves = np.exp(-1j * np.multiply.outer(frequencies, τ2))
    return np.asarray(2 / τ2[-1] * (laws @ waves).real)


def _densities_by_contour(variances: FloatArray, τ2: FloatArray) -> FloatArray:
    """The same densities for few directions, for which the series is long, by inverse Laplace transforms."""
    part = max(1, _CONTOUR_NUMBERS // (len(variances) * _CONTOUR_POINTS))
    return np.concatenate(
        [
            _inverse_transforms(variances, τ2[first : first + part])
            for first in range(0, len(τ2), part)
        ],
        axis=1,
    )


def _inverse_transforms(variances: FloatArray, τ2: FloatArray) -> FloatArray:
    """The densities (R + 1, G) at some τ² (G,)."""
    # Laplace transforms E e^{−s τ²} = Π_i (1 + 2 p_i s)^{−1/2} at s (G, points of the contour).
    s, contour_weights = inversion_contour(τ2)
    factors = 1 + 2 * variances * s[..., None]
    transform = 1 / np.prod(np.sqrt(factors), axis=-1)
    directions = range(len(variances))
    laws = [transform, *(transform / factors[..., i] for i in directions)]
    return np.array([np.einsum("gp,gp->g", contour_weights, law).real for law in laws])


def inversion_contour(
    time: FloatArray,
) -> tuple[ComplexArray, ComplexArray]:
    """Points s and weights (T, points) with f(t) = Re Σ weight·F(s) for a Laplace transform F of singularities s ≤ 0.

    The midpoint rule on the parabola of Weideman & Trefethen 2007 (Math. Comp. 76, 1341): 32 points reach 1e-14.
    """
    n = _CONTOUR_POINTS
    θ: FloatArray = (2 * np.arange(n) + 1) * np.pi / n - np.pi
    unit = n * (0.1309 - 0.1194 * θ**2 + 0.25j * θ)
    slope = n * (-0.2388 * θ + 0.25j)
    s = np.asarray(unit / time[:, None], dtype=np.complex128)
    # (1/2πi) ∫ e^{st} F ds with ds = slope/t dθ and steps 2π/n.
    weights: ComplexArray = np.exp(unit) * slope / (1j * n) / time[:, None]
    return s, weights


def gauss_rule(
    points: FloatArray, laws: FloatArray, nodes: int
) -> tuple[FloatArray, FloatArray]:
    """Nodes (Q,) and weights (laws, Q): the Gauss rule of the first law (laws, G) on points (G,).

    The other laws get the weights that integrate the same polynomials. By the Lanczos recurrence, orthogonalised in
    full.

    >>> nodes, weights = gauss_rule(np.arange(5.0), np.full((1, 5), 0.2), 3)
    >>> (weights @ nodes**4).round(6)
    array([70.8])
    """
    # SciPy is loaded late: whoever imports the package may want something else of it.
    from scipy.linalg import eigh_tridiagonal

    is_counted = laws[0] > _NO_PROBABILITY * np.max(laws[0])
    points, laws = points[is_counted], laws[:, is_counted]
    root = np.sqrt(laws[0])
    basis = np.zeros((nodes + 1, len(points)))
    diagonal, off_diagonal = np.zeros(nodes), np.zeros(nodes)
    basis[0] = root / np.linalg.norm(root)
    for k in range(nodes):
        vector = points * basis[k]
        diagonal[k] = vector @ basis[k]
        for _ in range(2):
            vector -= basis[: k + 1].T @ (basis[: k + 1] @ vector)
        off_diagonal[k] = np.linalg.norm(vector)
        basis[k + 1] = vector / off_diagonal[k]

    at, vectors = eigh_tridiagonal(diagonal, off_diagonal[:-1])
    # Means of the orthonormal polynomials p_k(τ) = basis[k]/root under each law, (laws, nodes).
    means = (laws / root) @ basis[:nodes].T
    # p_k at node j is vectors[k, j]/vectors[0, j], and the weight of the first law is vectors[0, j]².
    return at, means @ vectors * vectors[0]


@lru_cache(maxsize=128)
def chi_square_rule(freedom: int, nodes: int) -> tuple[FloatArray, FloatArray]:
    """Nodes and probabilities of a quadrature over χ² with `freedom` degrees of freedom.

    >>> r, probabilities = chi_square_rule(5, 12)
    >>> round(float(probabilities @ r), 6)
    5.0
    """
    if freedom <= _FEW_FREEDOMS:
        return _root_rule(freedom, nodes)
    return _scaled_laguerre_rule(freedom, nodes)


def _root_rule(freedom: int, nodes: int) -> tuple[FloatArray, FloatArray]:
    """The Gauss rule for polynomials of √χ².

    With few degrees of freedom much of χ² lies where softmax saturates, and moments are flatter in the root there.
    """
    root, probabilities = deviation_densities(np.ones(freedom))
    at, weights = gauss_rule(root, probabilities[:1], nodes)
    return at**2, weights[0]


def _scaled_laguerre_rule(freedom: int, nodes: int) -> tuple[FloatArray, FloatArray]:
    """The generalised Laguerre rule for χ² = 2s·node.

    s < 1 draws its nodes, of which the largest carry no weight, into the range of χ². Moments of softmax weights
    saturate with χ² and are no polynomials, so this converges faster.
    """
    from scipy.linalg import eigh_tridiagonal
    from scipy.special import chdtri

    shape = freedom / 2
    k = np.arange(nodes)
    diagonal = np.asarray(2 * k + shape, dtype=np.float64)
    off_diagonal = np.asarray(np.sqrt(k[1:] * (k[1:] + shape - 1)), dtype=np.float64)
    at = eigh_tridiagonal(diagonal, off_diagonal, eigvals_only=True)
    range_of_χ2 = float(chdtri(freedom, _LEFT_OUT))
    s = min(1.0, max(_SMALLEST_SCALE, range_of_χ2 / (2 * at[-1])))
    # The density x^{shape−1} e^{−x} at s x, in units of the one of the rule.
    logarithms = _log_gauss_weights(at, diagonal, off_diagonal)
    probabilities = np.exp(logarithms + (1 - s) * at + shape * math.log(s))
    is_counted = probabilities > _NO_PROBABILITY
    return 2 * s * at[is_counted], probabilities[is_counted]


def _log_gauss_weights(
    nodes: FloatArray, diagonal: FloatArray, off_diagonal: FloatArray
) -> FloatArray:
    """log of 1/Σ_k p_k² at the nodes of a Gauss rule, from the recurrence of its orthonormal polynomials p_k.

    Eigenvectors of the recurrence hold the weights, too, but small ones to no digit: the scaled rule multiplies those
    by large factors.
    """
    previous, current = np.zeros_like(nodes), np.ones_like(nodes)
    sum_of_squares = np.ones_like(nodes)
    logarithm = np.zeros_like(nodes)  # of a common factor of all three
    for k, b in enumerate(off_diagonal):
        following = (nodes - diagonal[k]) * current
        if k > 0:
            following -= off_diagonal[k - 1] * previous
        previous, current = current, following / b
        sum_of_squares += current**2
        size = np.sqrt(sum_of_squares)
        previous, current = previous / size, current / size
        sum_of_squares = np.ones_like(nodes)
        logarithm += np.log(size)
    return -2 * logarithm
