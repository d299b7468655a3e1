"""Least exact losses of softmax heads: one head, two, and two pairs.

At given ω the exact loss is a quadratic form in μ, whose minimum L*(ω) has the derivatives of the loss at the best μ.
Their zeros are found, rather than the minimum of the loss: it is flat, by 1e-9 at D = 80, and derivatives keep their
digits. Source: derived here for the symmetric family of He et al. 2025 (arXiv 2503.12734).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, true_or_false
from ...task import Task
from ..call_order import require_task_first
from ..predictors.step_losses import best_debiased_step, debiased_step_loss
from .exact_losses import ValueAverages, exact_loss, value_averages
from .head_scalars import refuse_nearly_equal
from .losses_of_heads import HeadOptimum
from .query_rules import QueryRule
from .softmax_moments import LARGEST_DEVIATION
from .softmax_tasks import softmax_task

# Nodes of searches, and of what is returned.
_SEARCH_NODES, _NODES = 17, 28
# Standard deviations of scores, at the mean of |x_q|², that are searched for one head and for a second pair.
_SINGLE_SCORES = np.geomspace(0.05, 4.0, 14)
_SECOND_PAIR_SCORES, _SECOND_PAIR_POINTS = (1.0, 5.5), 7
# Of the largest scores that have an exact loss.
_WITHIN = 0.95
# Those of a pair, in units of the leading order in 1/N.
_PAIR_FACTORS = np.geomspace(0.25, 16.0, 10)
# Mean and half the difference of two ω that the query's token moves, in units of those without it.
_UNEQUAL_BOUNDS = ((-1.0, 0.05), (1.0, 3.0))
_SMALL_SLOPE = 1e-6
_X_TOLERANCE = 1e-10
_GRID_ERROR = 1e-12
# A second pair has large scores, for which the quadrature takes seconds: its search is a coarse one, off by 1e-7.
_COARSE_NODES, _COARSE_ERROR, _FINE_ERROR = 11, 1e-7, 1e-10
# The loss is flat there: a γ that is off by this share changes it by less than 1e-8.
_SECOND_PAIR_TOLERANCE = 1e-2
# γ of a first pair beside it, in units of the leading order: below, its derivative is lost in rounding.
_FIRST_PAIR_FACTORS = (0.25, 8.0)


def best_exact_values(
    task: Task,
    omega: ArrayLike,
    *,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
) -> HeadOptimum:
    """The heads of least exact loss at these `omega` (H,): the μ that solve the quadratic form.

    Where heads of equal ω make it singular, the shortest μ. Arguments and refusals are those of `exact_loss`; ω that
    are neither equal nor apart are refused, too.

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> optimum = best_exact_values(task, [0.13, -0.13])
    >>> optimum.mu.round(3), round(optimum.loss, 7)
    (array([ 3.391, -3.391]), 0.2429878)
    """
    require_task_first("best_exact_values(task, omega)", task, omega)
    ω = finite_array(omega, "omega", "(H,)")
    heads = _Heads(task, true_or_false(query_token, "query_token"), matrix)
    refuse_nearly_equal(ω, 1 / heads.score_scale())
    return _optimum(heads, ω, heads.form(ω, _NODES).best_μ())


def exact_optimum(
    task: Task,
    heads: int,
    *,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
) -> HeadOptimum:
    """The 1, 2 or 4 heads of least exact loss; `matrix` is A of B_h = (ω_h A; 0), the identity if left out.

    One head: the better of `single_head_minima`. Two: ±γ without the query's token, any two ω near such a pair with
    it. Four, without the query's token: two pairs ±γ. The least loss of those is a limit where one γ → 0: `step` is
    the debiased step that this pair takes, and `omega`, `mu` are the other pair.
    ValueError for other numbers of heads, and inputs without an exact loss; ArithmeticError where no minimum is found.
    Source: derived here.

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> optimum = exact_optimum(task, 2)
    >>> optimum.omega.round(3), round(optimum.loss, 8)
    (array([ 0.071, -0.071]), 0.2428241)
    """
    require_task_first("exact_optimum(task, heads)", task, heads)
    family = _Heads(task, true_or_false(query_token, "query_token"), matrix)
    if isinstance(heads, bool) or heads not in (1, 2, 4):
        raise ValueError(
            f"exact optima are searched for 1, 2 and 4 heads, not for {heads!r}: follow reduced_flow for others"
        )
    if heads == 1:
        return single_head_minima(task, query_token=query_token, matrix=matrix)[0]
    if heads == 2:
        pair = _pair_optimum(family._replace(query_token=False))
        return _unequal_pair(family, pair) if query_token else pair
    if query_token:
        raise ValueError(
            "the optimum of 4 heads is searched without the query's token: leave query_token out"
        )
    return _two_pairs(family)


def single_head_minima(
    task: Task,
    *,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
) -> tuple[HeadOptimum, ...]:
    """The local minima of the exact loss of one head, one for each sign of ω that has one, the lower loss first.

    Without the query's token they mirror each other, and ω > 0 comes first; with it ω < 0 has the lower loss.
    ValueError for inputs without an exact loss; ArithmeticError where no minimum is found.

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> [round(optimum.loss, 6) for optimum in single_head_minima(task, query_token=True)]
    [0.40383, 0.478842]
    """
    require_task_first("single_head_minima(task)", task, None)
    family = _Heads(task, true_or_false(query_token, "query_token"), matrix)
    if max(task.context_lengths) < 2:
        raise ValueError(
            "scores of a head need contexts of at least 2 tokens: one token has all the weight whatever its score"
        )
    signs = (1.0, -1.0) if query_token else (1.0,)
    minima = []
    for sign in signs:
        ω = _first_minimum(
            family, np.array([[sign]]), _SINGLE_SCORES / family.score_scale()
        )
        if ω is not None:
            minima.append(_refined(family, ω))
    if not minima:
        raise ArithmeticError(
            "the exact loss of one head has no minimum up to scores of standard deviation "
            f"{_SINGLE_SCORES[-1]:g}: its μ is 0, or its scores grow without end"
        )
    if not query_token:
        mirrored = minima[0]
        minima.append(
            HeadOptimum(
                -mirrored.omega, -mirrored.mu, mirrored.loss, error=mirrored.error
            )
        )
    return tuple(sorted(minima, key=float))


class _Heads(NamedTuple):
    """The task, the convention of the query's token, and the matrix A of the heads."""

    task: Task
    query_token: bool
    matrix: ArrayLike | None

    def rule(self) -> QueryRule:
        """The quadrature over the query of a search."""
        task = softmax_task(self.task, self.matrix, self.query_token)
        return task.queries.rule(_SEARCH_NODES)

    def score_scale(self) -> float:
        """The root mean square of τ: ω in its units are standard deviations of scores."""
        rule = self.rule()
        return math.sqrt(float(rule.probabilities @ rule.deviations**2))

    def largest_score(self) -> float:
        """The largest τ of the quadrature."""
        return float(np.max(self.rule().deviations))

    def form(self, ω: FloatArray, nodes: int, gradient: bool = False) -> ValueAverages:
        """The quadratic form in μ at ω (H,)."""
        return value_averages(
            self.task,
            ω,
            query_token=self.query_token,
            matrix=self.matrix,
            nodes=nodes,
            error=self._grid_error(ω),
            gradient=gradient,
        )

    def _grid_error(self, ω: FloatArray) -> float:
        """What grids may be off by: errors count (Σ|μ|)² times, and best values are about as large as 1/ω."""
        smallest_score = float(np.min(np.abs(ω))) * self.score_scale()
        return _GRID_ERROR * min(1.0, smallest_score**2) / self.task.dimension

    def slope(self, ω: FloatArray, nodes: int) -> FloatArray:
        """∂L*/∂ω (H,) of the loss at the best μ."""
        form = self.form(ω, nodes, gradient=True)
        return form.by_ω(form.best_μ())


def _optimum(family: _Heads, ω: FloatArray, μ: FloatArray) -> HeadOptimum:
    """The heads with their loss and its error."""
    loss = exact_loss(
        family.task,
        ω,
        μ,
        query_token=family.query_token,
        matrix=family.matrix,
        nodes=_NODES,
    )
    return HeadOptimum(ω, μ, float(loss), error=float(loss.error))


def _first_minimum(
    family: _Heads, directions: FloatArray, grid: FloatArray
) -> FloatArray | None:
    """ω (H,) at the first zero from below of dL*/dx, where ω = x·directions (1, H); None if there is none on the grid.

    The derivative at the best μ is that of the loss by ω alone.
    """
    direction = directions[0]

    def slope(x: float, nodes: int) -> float:
        return float(direction @ family.slope(x * direction, nodes))

    previous = None
    for x in grid:
        is_falling = slope(x, _SEARCH_NODES) < 0
        if previous is not None and previous[1] and not is_falling:
            root = _zero(lambda y: slope(y, _SEARCH_NODES), previous[0], x)
            return np.asarray(root * direction)
        previous = (x, is_falling)
    return None


def _zero(function: Callable[[float], float], low: float, high: float) -> float:
    """A zero between two points of different signs."""
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=_X_TOLERANCE * high, rtol=1e-12))


def _refined(family: _Heads, ω: FloatArray) -> HeadOptimum:
    """The minimum near ω (H,) of the search, with all nodes: one step of Newton's method along ω."""
    direction = ω / np.linalg.norm(ω)
    x = float(np.linalg.norm(ω))
    step = 1e-3 * x
    slopes = [
        float(direction @ family.slope(y * direction, _NODES))
        for y in (x - step, x, x + step)
    ]
    curvature = (slopes[2] - slopes[0]) / (2 * step)
    if curvature > 0:
        x -= float(np.clip(slopes[1] / curvature, -step, step))
    best = x * direction
    return _optimum(family, best, family.form(best, _NODES).best_μ())


def _pair_optimum(family: _Heads) -> HeadOptimum:
    """The best heads ±(γ, m) without the query's token, for which μ = ±m is best by symmetry."""
    γ = _leading_γ(family)
    pair = np.array([[1.0, -1.0]])
    ω = _first_minimum(family, pair, _PAIR_FACTORS * γ)
    if ω is None:
        raise ArithmeticError(
            f"the exact loss of two heads has no minimum at ±γ for γ from {_PAIR_FACTORS[0] * γ:.3g} to "
            f"{_PAIR_FACTORS[-1] * γ:.3g}: a context this short has none, or its gain is below rounding"
        )
    return _refined(family, ω)


def _leading_γ(family: _Heads) -> float:
    """γ* of `leading_optimum` for a task of any covariance: D the effective dimension of x, γ in units of scores."""
    heads = softmax_task(family.task, family.matrix, False)
    N = max(N for N, _ in heads.lengths) if heads.lengths else 0
    if N < 2 or heads.label_variance == 0:
        raise ValueError(
            "two heads of opposite signs need contexts of at least 2 tokens and labels that they tell of"
        )
    Λ = family.task.covariance
    D = float(np.trace(Λ) ** 2 / np.sum(Λ**2))
    relative_noise = heads.noise_variance / heads.label_variance
    γ2 = 12 / (N * (D + 4) * (D * (1 + relative_noise) + 3))
    return math.sqrt(D * γ2) / family.score_scale()


def _unequal_pair(family: _Heads, pair: HeadOptimum) -> HeadOptimum:
    """The best two heads near a pair of opposite ones, which the query's token moves."""
    from scipy.optimize import least_squares

    γ = float(pair.omega[0])
    # Mean and half the difference of the two ω, in units of γ.
    to_ω = γ * np.array([[1.0, 1.0], [1.0, -1.0]])

    def slopes(point: FloatArray) -> FloatArray:
        return np.asarray(to_ω.T @ family.slope(to_ω @ point, _NODES))

    scale = float(np.max(np.abs(slopes(np.array([0.0, 1.5])))))
    found = least_squares(
        lambda point: slopes(point) / scale,
        np.array([0.0, 0.5]),
        bounds=_UNEQUAL_BOUNDS,
        xtol=1e-10,
        ftol=1e-14,
        gtol=1e-14,
    )
    residual = float(np.max(np.abs(found.fun)))
    if residual > _SMALL_SLOPE:
        raise ArithmeticError(
            f"no minimum of two heads was found near ω = ±{γ:.3g}: the least slope is {residual:.1g} of that at 1.5 γ"
        )
    ω = to_ω @ found.x
    return _optimum(family, ω, family.form(ω, _NODES).best_μ())


def _two_pairs(family: _Heads) -> HeadOptimum:
    """The best two pairs ±γ: the second from the limit γ₁ → 0 of the first, then γ₁ where a finite one is better."""
    from scipy.optimize import minimize_scalar

    if family.matrix is not None:
        raise ValueError(
            "the optimum of 4 heads is searched for A = 1: leave matrix out"
        )
    limit = _LimitOfTwoPairs.of(family)
    lowest, highest = _SECOND_PAIR_SCORES
    scale = family.score_scale()
    # Nodes reach beyond the mean of |x_q|², and none may have scores for which there is no exact loss.
    highest = min(highest, _WITHIN * LARGEST_DEVIATION / family.largest_score() * scale)
    scores = np.geomspace(lowest, highest, _SECOND_PAIR_POINTS) / scale
    losses = [limit.loss(γ) for γ in scores]
    best = int(np.argmin(losses))
    if best in (0, len(scores) - 1):
        raise ArithmeticError(
            "the second of two pairs has no minimum between standard deviations of its scores of "
            f"{lowest:g} and {highest:.3g}"
        )
    found = minimize_scalar(
        limit.loss,
        bounds=(scores[best - 1], scores[best + 1]),
        method="bounded",
        options={"xatol": _SECOND_PAIR_TOLERANCE * scores[best]},
    )
    γ = float(found.x)
    finite = _finite_first_pair(family, γ)
    return limit.optimum(γ) if finite is None else finite


class _LimitOfTwoPairs(NamedTuple):
    """Two pairs in the limit γ₁ → 0: a debiased step of size η, and a pair ±(γ, m).

    η multiplies the derivative by ω of a head at ω = 0, which is that step. `signal` and `square` are those of its
    loss L(0) − 2η signal + η² square.
    """

    family: _Heads
    zero_loss: float
    signal: float
    square: float

    @classmethod
    def of(cls, family: _Heads) -> "_LimitOfTwoPairs":
        """The limit for the task of these heads."""
        zero_loss, at_one = debiased_step_loss(family.task, [0.0, 1.0])
        step, lowest = best_debiased_step(family.task)
        signal = float(zero_loss - lowest) / step
        return cls(
            family, float(zero_loss), signal, float(at_one - zero_loss) + 2 * signal
        )

    def loss(self, γ: float) -> float:
        """The least loss at this γ, to the accuracy of the search."""
        return self._best(γ, _COARSE_NODES, _COARSE_ERROR).loss

    def optimum(self, γ: float) -> HeadOptimum:
        """The best heads at this γ."""
        coarse = self.loss(γ)
        fine = self._best(γ, _SEARCH_NODES, _FINE_ERROR)
        return dataclasses.replace(fine, error=abs(fine.loss - coarse))

    def _best(self, γ: float, nodes: int, error: float) -> HeadOptimum:
        """The best η and m at this γ."""
        form = value_averages(
            self.family.task,
            [0.0, γ, -γ],
            nodes=nodes,
            error=error,
            gradient=True,
        )
        # The derivative of a head and ±m on the pair: signals (2,) and products (2, 2).
        cross = 2 * float(form.products_by_ω[0, 1])
        pair = 2 * float(form.products[1, 1] - form.products[1, 2])
        signals = np.array([self.signal, 2 * form.signal[1]])
        products = np.array([[self.square, cross], [cross, pair]])
        η, m = np.linalg.solve(products, signals)
        loss = self.zero_loss - float(signals @ [η, m])
        return HeadOptimum(np.array([γ, -γ]), np.array([m, -m]), loss, step=float(η))


def _finite_first_pair(family: _Heads, second: float) -> HeadOptimum | None:
    """The best two pairs with this γ of the second, or None where the loss only falls as γ of the first falls to 0."""
    pairs = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])

    def slope(first: float) -> float:
        ω = np.array([first, second]) @ pairs
        return float(pairs[0] @ family.slope(ω, _COARSE_NODES))

    scale = _leading_γ(family)
    low, high = _FIRST_PAIR_FACTORS[0] * scale, _FIRST_PAIR_FACTORS[1] * scale
    if slope(low) >= 0:
        return None
    first = _zero(slope, low, high)
    ω = np.array([first, second]) @ pairs
    return _optimum(family, ω, family.form(ω, _SEARCH_NODES).best_μ())
