"""Least exact losses of softmax heads: one head and two by their slopes, any number by a search.

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
from ...runtime.checks import finite_array, true_or_false, whole_number
from ...task import Task
from ..call_order import require_task_first
from .exact_losses import ValueAverages, exact_loss, value_averages
from .head_scalars import refuse_nearly_equal
from .losses_of_heads import HeadOptimum
from .many_heads import search_heads
from .optima import leading_orders
from .query_rules import QueryRule
from .softmax_moments import LARGEST_DEVIATION
from .softmax_tasks import softmax_task

# Nodes of searches, and of what is returned.
_SEARCH_NODES, _NODES = 17, 28
# Standard deviations of scores, at the mean of |x_q|², that are searched for one head.
_SINGLE_SCORES = np.geomspace(0.05, 4.0, 14)
# Of the largest scores that have an exact loss: a minimum is looked for at a share more of its ω.
_WITHIN = 0.99
# Those of a pair, in units of the leading order in 1/N.
_PAIR_FACTORS = np.geomspace(0.25, 16.0, 10)
# Their gain over γ → 0, relative to the label's variance, from which slopes give ω to 1e-3: measured, D = 1 … 20.
_LEAST_GAIN = 1e-12
_X_TOLERANCE = 1e-10
_GRID_ERROR = 1e-12


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
    """The `heads` of least exact loss; `matrix` is A of B_h = (ω_h A; 0), the identity if left out.

    One head: the better of `single_head_minima`. Two without the query's token: the best pair ±γ. Others are searched
    from many starts, without a proof that none is better: `.note` says how many agree. From three heads on the least
    loss is mostly an infimum, for which some heads merge: `.attained` is False, `.merged` says which, and
    `.heads_near(distance)` are heads close to it. Takes seconds for three heads and more.
    ValueError for inputs without an exact loss; ArithmeticError where no minimum is found, and where two heads gain too
    little beside rounding, as at D = 5, N = 20,000. Source: derived here.

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> optimum = exact_optimum(task, 2)
    >>> optimum.omega.round(3), round(optimum.loss, 8)
    (array([ 0.071, -0.071]), 0.2428241)
    """
    require_task_first("exact_optimum(task, heads)", task, heads)
    family = _Heads(task, true_or_false(query_token, "query_token"), matrix)
    whole_number(heads, "heads")
    _refuse_no_optimum(family)
    if heads == 2:
        refuse_gain_of_rounding(family.task, family.matrix, _LEAST_GAIN)
    try:
        if heads == 1:
            return single_head_minima(task, query_token=query_token, matrix=matrix)[0]
        if heads == 2 and not query_token:
            return _pair_optimum(family)
    except ArithmeticError:
        # Large scores may be best, which the search below goes to the edge of.
        pass
    found = search_heads(task, heads, query_token, matrix)
    if found.merged:
        return found
    # Heads that stay apart have a loss with all nodes.
    exact = _optimum(family, found.omega, family.form(found.omega, _NODES).best_μ())
    return dataclasses.replace(exact, at_edge=found.at_edge, note=found.note)


# Long because a search for each sign and the mirrored minimum belong to one list, which is sorted at its end.
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

    def within(self, grid: FloatArray) -> FloatArray:
        """The ω of a grid whose scores have a loss at all nodes."""
        task = softmax_task(self.task, self.matrix, self.query_token)
        largest_τ = float(np.max(task.queries.rule(_NODES).deviations))
        return np.asarray(grid[grid * largest_τ < _WITHIN * LARGEST_DEVIATION])

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
    for x in family.within(grid):
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


def _refuse_no_optimum(family: _Heads) -> None:
    """ValueError where every head predicts nothing: no context of two tokens, or labels of noise alone."""
    heads = softmax_task(family.task, family.matrix, family.query_token)
    if max((N for N, _ in heads.lengths), default=0) < 2 or heads.label_variance == 0:
        raise ValueError(
            "the best heads need contexts of at least 2 tokens and labels that they tell of: one token has all the "
            "weight whatever its score"
        )


def refuse_gain_of_rounding(task: Task, matrix: ArrayLike | None, least: float) -> None:
    """ArithmeticError where two heads gain less than this share of the label's variance over γ → 0.

    The gain is that of `leading_optimum`, for a task of any covariance and its shortest contexts.
    """
    lengths = [N for N in task.context_lengths if N > 1]
    if not lengths:
        return
    D, relative_noise = _effective_sizes(task, matrix)
    gain = leading_orders(D, min(lengths), relative_noise).gain
    if gain < least:
        raise ArithmeticError(
            f"two heads at a finite omega gain {gain:.1g} of the labels' variance over omega → 0 in contexts this "
            f"long, too little beside rounding, {least:.1g}, to find them by: best_debiased_step has their loss, and "
            "leading_optimum and leading_tail_end their omega and its tail, to an error that falls as 1/N"
        )


class _EffectiveSizes(NamedTuple):
    """The dimension of white x with the spread of Λ, and σ²/v."""

    dimension: float
    relative_noise: float


def _effective_sizes(task: Task, matrix: ArrayLike | None) -> _EffectiveSizes:
    heads = softmax_task(task, matrix, False)
    Λ = task.covariance
    D = float(np.trace(Λ) ** 2 / np.sum(Λ**2))
    return _EffectiveSizes(D, heads.noise_variance / heads.label_variance)


def _leading_γ(family: _Heads) -> float:
    """γ* of `leading_optimum` for a task of any covariance: D the effective dimension of x, γ in units of scores."""
    D, relative_noise = _effective_sizes(family.task, family.matrix)
    N = max(family.task.context_lengths)
    γ2 = leading_orders(D, N, relative_noise).gamma_squared
    return math.sqrt(D * γ2) / family.score_scale()
