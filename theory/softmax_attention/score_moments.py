"""Moments of softmax weights whose scores are multiples of one Gaussian, by deterministic quadrature.

Given the query, head h has the scores b_h u_n with independent u_n ~ N(0, 1), n = 1 … N, and the weights
s_hn = e^{b_h u_n}/Z_h. The loss needs

    g_h = E[Σ_n s_hn u_n]    C_hk = E[Σ_n s_hn s_kn]    S_hk = E[(Σ_n s_hn u_n)(Σ_n s_kn u_n)]

1/Z = ∫ e^{x} exp(−e^{x} Z) dx turns them into integrals over x of expectations over one u, since the tokens are
independent. With T = e^{x + b u}, G = e^{−T}, primes for head k at its own x', ⟨·⟩ = E over u and Φ = ⟨G G'⟩,

    g_h  = N ∫dx ⟨uTG⟩ ⟨G⟩^{N−1}
    C_hk = N ∫∫dx dx' ⟨TG T'G'⟩ Φ^{N−1}
    S_hk = N ∫∫ ⟨uTG uT'G'⟩ Φ^{N−1} + N(N−1) ∫∫ ⟨uTG G'⟩ ⟨G uT'G'⟩ Φ^{N−2}

The query's own token, of score q_h, adds e^{q_h} to Z_h: a factor exp(−e^{x + q_h}). Every ⟨F F'⟩ is a product of
matrices (x, u) with the weights of u between them, so that the cost does not depend on N.
"""

import math
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray

LARGEST_DEVIATION = 20.0
"""Standard deviations of scores up to which the grids are made: the cost grows as the cube of them."""

# What follows is for an error of e^{−28} = 7e-13; for larger errors steps grow, and ends shrink, in proportion to the
# logarithm of the error, since the trapezoidal rules converge exponentially here.
_LOGARITHM_OF_ERROR = 28.0
# Exponents of what the ends of the grids of x, and powers of ⟨G⟩, may leave out, beyond the error.
_BEYOND_ERROR, _SURVIVAL_BEYOND_ERROR = 2.0, 10.0
# Standard deviations of u, of density e^{−8.5²/2} = 2e-16, that count; e^{b u} shifts them by at most b for each head.
_U_RANGE = 8.5
_U_STEP, _U_STEP_TIMES_DEVIATION = 0.7, 0.36
_X_STEP = 0.35
_Y_STEP, _Y_STEP_TIMES_DEVIATION = 0.25, 0.3
# Scores of larger deviation spread the integrand over x so far that an even grid is the better one.
_EVEN_GRID_FROM = 3.0
# Where e^{x + b u} is cut off: G is zero there, and T² is still a number.
_LARGEST_EXPONENT = 300.0


class ScoreMoments(NamedTuple):
    """First moments g (H,), overlaps C (H, H) and second moments S (H, H) of softmax weights."""

    first: FloatArray
    overlap: FloatArray
    second: FloatArray


class ScoreDerivatives(NamedTuple):
    """Derivatives of g_h, C_hk and S_hk by the deviation b_h, and by the query's score q_h, of their first head.

    The derivative of C_hh by b_h is twice the diagonal entry, since both heads change.
    """

    by_deviation: ScoreMoments
    by_query_score: ScoreMoments

    def by_unit_of_ω(self, deviation: float, query_score: float) -> ScoreMoments:
        """Derivatives by an ω that both are multiples of: b = ω·deviation, q = ω·query_score."""
        pairs = zip(self.by_deviation, self.by_query_score, strict=True)
        return ScoreMoments(*(deviation * b + query_score * q for b, q in pairs))


class _Accuracy(NamedTuple):
    """The grids for an error of e^{−`exponent`}."""

    exponent: float

    @property
    def stretch(self) -> float:
        """The factor of the steps."""
        return _LOGARITHM_OF_ERROR / self.exponent

    @property
    def u_range(self) -> float:
        """The largest u that counts: the exponent of a normal density is u²/2."""
        return _U_RANGE / math.sqrt(self.stretch)

    @property
    def left_out(self) -> float:
        """The exponent of what the grids of x leave out to their left."""
        return self.exponent + _BEYOND_ERROR

    @property
    def survival_left_out(self) -> float:
        """The exponent of what they leave out to their right."""
        return self.exponent + _SURVIVAL_BEYOND_ERROR


class _UGrid(NamedTuple):
    """Points u (U,) and their probabilities (U,) under N(0, 1)."""

    u: FloatArray
    density: FloatArray


class _XGrid(NamedTuple):
    """Points x (X,) of one head and their weights dx (X,), with the factor of the query's own token in them."""

    x: FloatArray
    weights: FloatArray


class _Fields(NamedTuple):
    """What is averaged over u, (X, U) for the points x of all heads one after another.

    T = e^{x + b u}, G = e^{−T}: `survival_lost` is 1 − G, the others are TG and uTG.
    """

    survival_lost: FloatArray
    TG: FloatArray
    uTG: FloatArray
    T: FloatArray


def score_moments(
    deviations: FloatArray,
    length: int,
    query_scores: FloatArray | None = None,
    error: float = 1e-12,
) -> ScoreMoments:
    """g, C and S of heads with scores of these deviations b_h (H,), of either sign, over N = `length` tokens.

    With `query_scores` q_h (H,) the query's own token is among the keys; sums over tokens leave it out. `error` is
    what the grids may be off by.

    >>> moments = score_moments(np.array([0.0]), length=4)
    >>> moments.first.round(9), moments.overlap.round(9)
    (array([0.]), array([[0.25]]))
    """
    return _Integrals(deviations, length, query_scores, error).moments()


def score_moments_and_derivatives(
    deviations: FloatArray,
    length: int,
    query_scores: FloatArray | None = None,
    error: float = 1e-12,
) -> tuple[ScoreMoments, ScoreDerivatives]:
    """The same moments, and their derivatives, from the same integrals.

    >>> moments, derivatives = score_moments_and_derivatives(np.array([0.0]), length=4)
    >>> derivatives.by_deviation.first.round(9)
    array([0.75])
    """
    integrals = _Integrals(deviations, length, query_scores, error)
    return integrals.moments(), integrals.derivatives()


class _Integrals:
    """The grids of x and u for some heads, the averages over u on them, and the integrals over x.

    In the formulas an index x runs over the grid points of all heads, so that one product of matrices serves all
    pairs of heads.
    """

    def __init__(
        self,
        deviations: FloatArray,
        length: int,
        query_scores: FloatArray | None,
        error: float,
    ) -> None:
        self.length = length
        accuracy = _Accuracy(min(-math.log(error), _LOGARITHM_OF_ERROR))
        u_grid = _u_grid(float(np.max(np.abs(deviations))), accuracy)
        self.u, self.density = u_grid
        grids = [
            _x_grid((float(b), q), length, u_grid, accuracy)
            for b, q in zip(
                deviations, _or_none(query_scores, len(deviations)), strict=True
            )
        ]
        counts = [len(grid.x) for grid in grids]
        self.starts = np.cumsum([0, *counts[:-1]])
        self.weights = np.concatenate([grid.weights for grid in grids])  # (X,)
        x = np.concatenate([grid.x for grid in grids])
        self.query_terms = np.zeros_like(x)  # e^{x + q}
        if query_scores is not None:
            self.query_terms = np.exp(x + np.repeat(query_scores, counts))

        self.fields = _fields(x, np.repeat(deviations, counts), self.u)
        self.means = _Fields(*(field @ self.density for field in self.fields))
        # ⟨1 − G⟩ + ⟨1 − G'⟩ − ⟨(1 − G)(1 − G')⟩ = 1 − Φ, accurate where Φ is near 1, as it is for long contexts.
        lost = self.means.survival_lost
        both_lost = self._average(self.fields.survival_lost, self.fields.survival_lost)
        self.log_survival = np.log1p(-np.minimum(lost, _ALMOST_ONE))  # log ⟨G⟩, (X,)
        Φ_lost = lost[:, None] + lost - both_lost
        self.log_Φ = np.log1p(-np.minimum(Φ_lost, _ALMOST_ONE))
        # ⟨uTG G'⟩ and its transpose ⟨G uT'G'⟩.
        self.uTG_G = self.means.uTG[:, None] - self._average(
            self.fields.uTG, self.fields.survival_lost
        )
        self.TG_TG = self._average(self.fields.TG, self.fields.TG)
        self.uTG_uTG = self._average(self.fields.uTG, self.fields.uTG)

    def moments(self) -> ScoreMoments:
        """The integrals of the page's first lines."""
        N = self.length
        first = N * self.means.uTG * self._survival(N - 1)
        overlap = N * self.TG_TG * self._Φ(N - 1)
        second = N * self.uTG_uTG * self._Φ(N - 1) + N * (N - 1) * (
            self.uTG_G * self.uTG_G.T * self._Φ(N - 2)
        )
        return self._integrate(first, overlap, second)

    def derivatives(self) -> ScoreDerivatives:
        """The same integrals with ∂T/∂b = uT, so that ∂G = −uTG and ∂(TG) = u(TG − T²G)."""
        N = self.length
        by_TG = self.u * (self.fields.TG - self.fields.T * self.fields.TG)
        by_uTG = self.u * by_TG
        # ⟨∂(uTG) G'⟩
        by_uTG_G = (by_uTG @ self.density)[:, None] - self._average(
            by_uTG, self.fields.survival_lost
        )
        # Of ⟨G⟩ and of Φ.
        by_survival = -self.means.uTG
        by_Φ = -self.uTG_G

        first = N * (by_uTG @ self.density) * self._survival(N - 1) + N * (N - 1) * (
            self.means.uTG * by_survival * self._survival(N - 2)
        )
        overlap = N * self._average(by_TG, self.fields.TG) * self._Φ(N - 1) + N * (
            N - 1
        ) * (self.TG_TG * by_Φ * self._Φ(N - 2))
        same_token = N * self._average(by_uTG, self.fields.uTG) * self._Φ(N - 1) + N * (
            N - 1
        ) * (self.uTG_uTG * by_Φ * self._Φ(N - 2))
        two_tokens = (by_uTG_G * self.uTG_G.T - self.uTG_G * self.uTG_uTG) * self._Φ(
            N - 2
        ) + (N - 2) * self.uTG_G * self.uTG_G.T * by_Φ * self._Φ(N - 3)
        by_deviation = self._integrate(
            first, overlap, same_token + N * (N - 1) * two_tokens
        )
        return ScoreDerivatives(by_deviation, self._by_query_score())

    def _by_query_score(self) -> ScoreMoments:
        """The derivatives of the factor exp(−e^{x + q}): one more factor −e^{x + q}."""
        N = self.length
        factor = -self.query_terms
        first = factor * N * self.means.uTG * self._survival(N - 1)
        overlap = factor[:, None] * N * self.TG_TG * self._Φ(N - 1)
        second = factor[:, None] * (
            N * self.uTG_uTG * self._Φ(N - 1)
            + N * (N - 1) * self.uTG_G * self.uTG_G.T * self._Φ(N - 2)
        )
        return self._integrate(first, overlap, second)

    def _average(self, field: FloatArray, other: FloatArray) -> FloatArray:
        """⟨F F'⟩ (X, X) of two fields (X, U)."""
        return np.asarray((field * self.density) @ other.T)

    def _survival(self, power: int) -> FloatArray:
        """⟨G⟩^power (X,)."""
        return _power(self.log_survival, power)

    def _Φ(self, power: int) -> FloatArray:
        """Φ^power (X, X)."""
        return _power(self.log_Φ, power)

    def _integrate(
        self, first: FloatArray, overlap: FloatArray, second: FloatArray
    ) -> ScoreMoments:
        """The integrals over x, head by head."""
        return ScoreMoments(
            np.add.reduceat(self.weights * first, self.starts),
            self._integrate_pairs(overlap),
            self._integrate_pairs(second),
        )

    def _integrate_pairs(self, integrand: FloatArray) -> FloatArray:
        """∫∫ dx dx' of (X, X): (H, H)."""
        weighted = self.weights[:, None] * integrand * self.weights
        rows = np.add.reduceat(weighted, self.starts, axis=0)
        return np.asarray(np.add.reduceat(rows, self.starts, axis=1))


# Below 1 by more than rounding: where Φ is that small its powers are zero.
_ALMOST_ONE = 1 - 1e-15


def _power(logarithms: FloatArray, power: int) -> FloatArray:
    """e^{power·log}; 1 for negative powers, which stand beside a factor N − 1 or N − 2 that is zero."""
    if power <= 0:
        return np.ones_like(logarithms)
    return np.exp(power * logarithms)


def _or_none(values: FloatArray | None, count: int) -> list[float | None]:
    """The entries, or as many times None."""
    return [None] * count if values is None else [float(value) for value in values]


def _u_grid(largest: float, accuracy: _Accuracy) -> _UGrid:
    """Points u (U,) and their probabilities under N(0, 1), for scores of at most this deviation.

    Two heads weigh u by up to e^{2b u}; from b = range/2 on the factors G cut that off within the range.
    """
    end = accuracy.u_range + min(2 * largest, accuracy.u_range)
    step = _U_STEP
    if largest > 0:
        step = min(step, _U_STEP_TIMES_DEVIATION / largest)
    step *= accuracy.stretch
    half_count = math.ceil(end / step)
    u = np.asarray(step * np.arange(-half_count, half_count + 1), dtype=np.float64)
    density = np.exp(-(u**2) / 2)
    return _UGrid(u, np.asarray(density / np.sum(density)))


def _x_grid(
    head: tuple[float, float | None],
    length: int,
    u_grid: _UGrid,
    accuracy: _Accuracy,
) -> _XGrid:
    """The points at which 1/Z = ∫ e^x exp(−e^x Z) dx is summed for a head of deviation b and query's score q or None.

    N e^{b²/2} is the mean of Z: x starts around its inverse. To the left the integrand falls as e^x, which the
    substitution x = x₀ + y − e^{−y} makes double exponential.
    """
    b, query_score = head
    centre = -math.log(length) - b**2 / 2
    if query_score is not None:
        centre = min(centre, -query_score)
    end = _end_of_x(b, length, u_grid, accuracy)
    if query_score is not None:
        # exp(−e^{x + q}) ends the integrals there.
        end = min(end, math.log(accuracy.survival_left_out) - query_score)

    if abs(b) <= _EVEN_GRID_FROM:
        step = min(_Y_STEP, _Y_STEP_TIMES_DEVIATION / max(abs(b), 1.0))
        step *= accuracy.stretch
        y = _points(-math.log(accuracy.left_out), end - centre, step)
        x, dx = centre + y - np.exp(-y), step * (1 + np.exp(-y))
    else:
        step = _X_STEP * accuracy.stretch
        # Left of −b·range no u in the range makes e^{x + b u} as large as 1.
        start = max(centre, -abs(b) * accuracy.u_range) - accuracy.left_out
        x = _points(start, end, step)
        dx = np.full(len(x), step)
    if query_score is not None:
        dx = dx * np.exp(-np.exp(x + query_score))
    return _XGrid(x, dx)


def _points(start: float, end: float, step: float) -> FloatArray:
    """Evenly spaced points from `start` to `end` or just beyond."""
    count = math.ceil((end - start) / step) + 1
    return np.asarray(start + step * np.arange(count))


def _end_of_x(b: float, length: int, u_grid: _UGrid, accuracy: _Accuracy) -> float:
    """An x beyond which ⟨G⟩^N can be left out."""
    largest_sum = accuracy.survival_left_out
    # There e^{x + b u} is larger than that for all u that count, and at the start N e^x is 1.
    surely = math.log(largest_sum) + abs(b) * accuracy.u_range
    candidates = np.arange(-math.log(length) - b**2 / 2, surely + 1, 0.5)
    survival = np.exp(-_exponentials(candidates, b * u_grid.u)) @ u_grid.density
    is_over = survival < math.exp(-largest_sum / length)
    return float(candidates[np.argmax(is_over)]) if np.any(is_over) else surely


def _exponentials(x: FloatArray, scores: FloatArray) -> FloatArray:
    """e^{x + b u} (X, U), cut off where e^{−e^{x + b u}} is zero."""
    exponents = np.add.outer(x, scores) if scores.ndim == 1 else x[:, None] + scores
    return np.exp(np.minimum(exponents, _LARGEST_EXPONENT))


def _fields(x: FloatArray, b: FloatArray, u: FloatArray) -> _Fields:
    """The fields (X, U) at points x (X,) whose heads have the deviations b (X,)."""
    T = _exponentials(x, np.multiply.outer(b, u))
    TG = T * np.exp(-T)
    return _Fields(-np.expm1(-T), TG, u * TG, T)
