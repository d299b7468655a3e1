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
# logarithm of the error or to its root, since the trapezoidal rules converge exponentially here.
_LOGARITHM_OF_ERROR = 28.0
# Exponents of what the ends of the grids of x, and powers of ⟨G⟩, may leave out, beyond the error.
_BEYOND_ERROR, _SURVIVAL_BEYOND_ERROR = 2.0, 10.0
# Standard deviations of u, of density e^{−8.5²/2} = 2e-16, that count; e^{b u} shifts them by at most b for each head.
_U_RANGE = 8.5
_U_STEP, _U_STEP_TIMES_DEVIATION = 0.7, 0.36
# The integrands are analytic for |Im x| < π/2, so that a step h costs e^{−π²/h}, here e^{−33}.
_X_STEP = 0.3
# Two heads draw u to 2b, where T is 1 at x = −2b². Smaller shifts need smaller steps, larger ones more points:
# measured, b = 0.05 … 15 and N = 1 … 10,000.
_X_SHIFT = 1.5
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

    T = e^{x + b u}, G = e^{−T}: `survival_lost` is 1 − G, the others are TG and uTG. All but T are times the square
    root of the probabilities of u, so that F F'ᵀ is the average ⟨F F'⟩.
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
    >>> abs(moments.first).round(9), moments.overlap.round(9)
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
        from scipy.linalg import block_diag

        self.length = length
        accuracy = _Accuracy(min(-math.log(error), _LOGARITHM_OF_ERROR))
        u_grid = _u_grid(deviations, accuracy)
        grids = [
            _x_grid((float(b), q), length, u_grid, accuracy)
            for b, q in zip(
                deviations, _or_none(query_scores, len(deviations)), strict=True
            )
        ]
        counts = [len(grid.x) for grid in grids]
        x = np.concatenate([grid.x for grid in grids])
        # The weights dx of each head (H, X), zero at the points of the others.
        self.weights = block_diag(*(grid.weights for grid in grids))
        self.query_terms = np.zeros_like(x)  # e^{x + q}
        if query_scores is not None:
            self.query_terms = np.exp(x + np.repeat(query_scores, counts))

        self.u, self.root_density = u_grid.u, np.sqrt(u_grid.density)
        self.fields = _fields(x, np.repeat(deviations, counts), u_grid)
        self.uTG = self._mean(self.fields.uTG)  # ⟨uTG⟩
        # ⟨1 − G⟩ + ⟨1 − G'⟩ − ⟨(1 − G)(1 − G')⟩ = 1 − Φ, accurate where Φ is near 1, as it is for long contexts.
        lost = self._mean(self.fields.survival_lost)
        both_lost = self.fields.survival_lost @ self.fields.survival_lost.T
        self.survival = _Powers(lost, length)  # of ⟨G⟩, (X,)
        self.Φ = _Powers(lost[:, None] + lost - both_lost, length)  # (X, X)
        self.TG_TG = self.fields.TG @ self.fields.TG.T
        self.uTG_uTG = self.fields.uTG @ self.fields.uTG.T
        # ⟨uTG G'⟩ and its transpose ⟨G uT'G'⟩.
        self.uTG_G = self._average_with_G(self.fields.uTG)

        self.integrands = self._integrands()

    def moments(self) -> ScoreMoments:
        """The integrals of the page's first lines."""
        return self._integrate(self.integrands, self.weights)

    def _integrands(self) -> ScoreMoments:
        """What is integrated over x, and over x and x'."""
        N = self.length
        first = N * self.uTG * self.survival.power(N - 1)
        overlap = N * self.TG_TG * self.Φ.power(N - 1)
        same_token = N * self.uTG_uTG * self.Φ.power(N - 1)
        two_tokens = N * (N - 1) * self.uTG_G * self.uTG_G.T * self.Φ.power(N - 2)
        return ScoreMoments(first, overlap, same_token + two_tokens)

    def derivatives(self) -> ScoreDerivatives:
        """The same integrals with ∂T/∂b = uT, so that ∂G = −uTG and ∂(TG) = u(TG − T²G)."""
        N = self.length
        by_TG = self.fields.uTG * (1 - self.fields.T)
        by_uTG = self.u * by_TG
        # Of ⟨G⟩, of Φ and of ⟨uTG G'⟩; that of ⟨G uT'G'⟩ is −⟨uTG uT'G'⟩.
        by_survival = -self.uTG
        by_Φ = -self.uTG_G
        by_uTG_G = self._average_with_G(by_uTG)

        first = N * self._mean(by_uTG) * self.survival.power(N - 1)
        first += N * (N - 1) * self.uTG * by_survival * self.survival.power(N - 2)
        overlap = N * (by_TG @ self.fields.TG.T) * self.Φ.power(N - 1)
        overlap += N * (N - 1) * self.TG_TG * by_Φ * self.Φ.power(N - 2)
        same_token = N * (by_uTG @ self.fields.uTG.T) * self.Φ.power(N - 1)
        same_token += N * (N - 1) * self.uTG_uTG * by_Φ * self.Φ.power(N - 2)
        two_tokens = by_uTG_G * self.uTG_G.T - self.uTG_G * self.uTG_uTG
        two_tokens *= N * (N - 1) * self.Φ.power(N - 2)
        of_Φ = self.uTG_G * self.uTG_G.T * by_Φ * self.Φ.power(N - 3)
        two_tokens += N * (N - 1) * (N - 2) * of_Φ
        by_deviation = ScoreMoments(first, overlap, same_token + two_tokens)
        # The factor exp(−e^{x + q}) of the query's own token gets one more factor −e^{x + q}.
        by_query_score = -self.query_terms * self.weights
        return ScoreDerivatives(
            self._integrate(by_deviation, self.weights),
            self._integrate(self.integrands, by_query_score),
        )

    def _mean(self, field: FloatArray) -> FloatArray:
        """⟨F⟩ (X,) of a field (X, U)."""
        return np.asarray(field @ self.root_density)

    def _average_with_G(self, field: FloatArray) -> FloatArray:
        """⟨F G'⟩ (X, X) of a field (X, U), with G' = 1 − (1 − G')."""
        lost = field @ self.fields.survival_lost.T
        return np.asarray(self._mean(field)[:, None] - lost)

    def _integrate(
        self, integrands: ScoreMoments, first_weights: FloatArray
    ) -> ScoreMoments:
        """The integrals (H,) and (H, H) of integrands (X,) and (X, X), by weights (H, X) for the first head's x."""
        return ScoreMoments(
            first_weights @ integrands.first,
            first_weights @ integrands.overlap @ self.weights.T,
            first_weights @ integrands.second @ self.weights.T,
        )


# Below 1 by more than rounding: where Φ is that small its powers are zero.
_ALMOST_ONE = 1 - 1e-15


class _Powers:
    """Powers N − 1, N − 2 and N − 3 of averages that are given by what they lack to 1."""

    def __init__(self, lost: FloatArray, length: int) -> None:
        lost = np.minimum(lost, _ALMOST_ONE)
        self.logarithm = np.log1p(-lost)
        # Two of the powers differ by one factor, which is cheaper than an exponential.
        self.second_largest = self._exponential(length - 2)
        self.largest = self.second_largest
        if length > 1:
            self.largest = self.second_largest * (1 - lost)
        self.length = length

    def power(self, power: int) -> FloatArray:
        """The averages to this power; 1 for negative ones, which stand beside a factor N − 1 or N − 2 that is zero."""
        if power == self.length - 1:
            return self.largest
        if power == self.length - 2:
            return self.second_largest
        return self._exponential(power)

    def _exponential(self, power: int) -> FloatArray:
        if power <= 0:
            return np.ones_like(self.logarithm)
        return np.asarray(np.exp(power * self.logarithm))


def _or_none(values: FloatArray | None, count: int) -> list[float | None]:
    """The entries, or as many times None."""
    return [None] * count if values is None else [float(value) for value in values]


def _u_grid(deviations: FloatArray, accuracy: _Accuracy) -> _UGrid:
    """Points u (U,) and their probabilities under N(0, 1), for heads with scores of these deviations (H,).

    Two heads weigh u by up to e^{2b u}, so that points beyond the range count on the side of b; from b = range/2 on
    the factors G cut that off within the range.
    """
    shift_down = min(2 * max(0.0, -float(np.min(deviations))), accuracy.u_range)
    shift_up = min(2 * max(0.0, float(np.max(deviations))), accuracy.u_range)
    largest = float(np.max(np.abs(deviations)))
    # The trapezoidal rule is off by e^{−2π²/h²} for a normal density, by e^{−π²/(h b)} where G turns, |Im bu| = π/2.
    step = _U_STEP * math.sqrt(accuracy.stretch)
    if largest > 0:
        step = min(step, _U_STEP_TIMES_DEVIATION * accuracy.stretch / largest)
    first = -math.ceil((accuracy.u_range + shift_down) / step)
    last = math.ceil((accuracy.u_range + shift_up) / step)
    u = np.asarray(step * np.arange(first, last + 1), dtype=np.float64)
    density = np.exp(-(u**2) / 2)
    return _UGrid(u, np.asarray(density / np.sum(density)))


def _x_grid(
    head: tuple[float, float | None],
    length: int,
    u_grid: _UGrid,
    accuracy: _Accuracy,
) -> _XGrid:
    """The points at which 1/Z = ∫ e^x exp(−e^x Z) dx is summed for a head of deviation b and query's score q or None.

    Left of x₀ all T are small and the integrand falls as e^x, which the substitution x = x₀ + y − e^{−y} makes double
    exponential. It turns directions in the complex plane, so that x₀ must not lie where T is of the order of 1.
    """
    b, query_score = head
    # No u that counts makes T as large as 1 left of −b·range.
    shift = min(_X_SHIFT * b**2, abs(b) * accuracy.u_range)
    centre = -math.log(length) - shift
    end = _end_of_x(b, length, u_grid, accuracy)
    if query_score is not None:
        centre = min(centre, -query_score)
        # exp(−e^{x + q}) ends the integrals there.
        end = min(end, math.log(accuracy.survival_left_out) - query_score)
    step = _X_STEP * accuracy.stretch
    y = _points(-math.log(accuracy.left_out), end - centre, step)
    x, dx = centre + y - np.exp(-y), step * (1 + np.exp(-y))
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


def _fields(x: FloatArray, b: FloatArray, u_grid: _UGrid) -> _Fields:
    """The fields (X, U) at points x (X,) whose heads have the deviations b (X,)."""
    T = _exponentials(x, np.multiply.outer(b, u_grid.u))
    root = np.sqrt(u_grid.density)
    TG = root * T * np.exp(-T)
    return _Fields(-root * np.expm1(-T), TG, u_grid.u * TG, T)
