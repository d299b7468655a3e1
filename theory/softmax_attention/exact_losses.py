"""The exact population loss of softmax heads B_h = (ω_h A; 0), a_h = (0, μ_h), by quadrature.

ŷ = Σ_h μ_h Σ_n s_hn y_n with the weights s_hn = softmax_n(ω_h x_nᵀ A x_q). Source: derived here; the family is that
of He et al. 2025 (arXiv 2503.12734). With g, C, S of `softmax_moments` at the deviations ω_h τ, and α, ρ of
`query_rules`,

    L = E[x_qᵀΩx_q] + σ_q² − 2 Σ_h μ_h E[α g_h] + Σ_hk μ_h μ_k E[ρ S_hk + (tr ΩΛ − ρ + σ²) C_hk]

where Ω = E[w wᵀ] is all that the law of the teachers has a part in. Derivatives are analytic.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    finite_array,
    positive_number,
    true_or_false,
    whole_number,
)
from ...runtime.machine import keep_freed_memory
from ...task import Task
from ..call_order import require_task_first
from .head_scalars import checked_head_scalars
from .losses_of_heads import ExactLoss, HeadGradient
from .query_rules import QueryRule
from .softmax_moments import (
    LARGEST_DEVIATION,
    score_moments,
    score_moments_and_derivatives,
)
from .softmax_tasks import SoftmaxTask, softmax_task

# Numbers of nodes that are tried until the relative error is small enough.
_NODES = (5, 7, 10, 13, 17, 22, 28, 36, 46, 60)
_ENOUGH = 1e-9
# With the query's token rules converge more slowly: its weight turns from 0 to 1 over a part of the range of x_q.
_ENOUGH_WITH_QUERY = 1e-8
# The one before the first of them that can be expected to be enough, by the largest standard deviation of scores and by
# the largest score of the query's own token, where it is among the keys: measured, D = 3 … 80, N = 5 … 1000.
_FIRST_BY_DEVIATION = ((1.5, 7), (2.6, 10), (5.0, 13), (math.inf, 17))
_FIRST_BY_QUERY_SCORE = ((3.0, 7), (9.0, 10), (14.0, 13), (20.0, 17), (math.inf, 22))
# So many nodes reach as far as x_q does.
_NODES_FOR_THE_RANGE = 17
# The weights of few tokens saturate at smaller scores: measured, N = 5.
_FEW_TOKENS, _FEW_TOKENS_FACTOR = 10, 1.3
# With more, a rule has nodes beyond the range of x_q.
_MOST_NODES = 200
# Nodes by which the rules that measure the error of a given number are smaller.
_FEWER_NODES = 4
# Errors of rules change sign and size as nodes pass where weights turn, so that two rules in a row can be off by the
# same: then their difference is too small, and this share of the one before it was enough.
_SHARE_OF_EARLIER = 1 / 10
# What the grids of x and u are made for at each node, relative to the label's variance, and what a loss is off by for
# them, relative to the root of the number of nodes, whose errors differ in sign: 4.3e-12 was the most on 394 tasks, at
# contexts of one token, and 1e-13 the median.
GRID_ERROR = 1e-12
_REPORTED_GRID_ERROR = 6e-12
# With a coarser grid the substitutions are not worth their name.
_LARGEST_NODE_ERROR = 1e-4
# Singular values of the products below this one, relative to the largest, are what the quadrature makes of 0.
_SMALLEST_SINGULAR = 1e-12
# Roundings that add up in a product.
_ROUNDINGS = 8
_ROUNDING = 1e-15


# Long because its arguments are checked one by one before the points are computed.
def exact_loss(
    task: Task,
    omega: ArrayLike,
    mu: ArrayLike,
    *,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
    nodes: int | None = None,
    gradient: bool = False,
) -> ExactLoss:
    """The population loss of softmax heads B_h = (ω_h A; 0), a_h = (0, μ_h), without sampling.

    `omega`, `mu` are (H,) or (points, H), ω in units of the score: divide by `score_divisor` first. With
    `query_token` the query's own token (x_q, 0) is among the keys. `matrix` is A (D, D), the identity if left out.
    `nodes` of the quadrature over the query; left out, it grows until the relative error is 1e-9, 1e-8 with the
    query's token, or what the grids over tokens allow, but not beyond 60. `.error` is an estimate
    from above of what was reached: on 660 tasks with D = 1 … 40, N = 1 … 10,000 and either convention of the query's
    token, losses were off by 0.6 of it at most and by 0.005 of it in the median. It stays as wide because two rules in
    a row can be off by the same, and the grids at one task by 40 times what they are off by at another. Any context
    lengths, noise of labels, covariance Λ and law of teachers; x must be Gaussian with mean zero.
    ValueError for other x, several outputs, ω and μ of different shapes, scores of a standard deviation above 20, and
    where A, Λ and `query_token` have no common quadrature.
    Source: derived here for the symmetric family of He et al. 2025 (arXiv 2503.12734).

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> loss = exact_loss(task, [0.3, -0.2], [1.2, -1.5], gradient=True)
    >>> round(float(loss), 9), loss.gradient.omega.round(6)
    (0.306263736, array([-0.516126,  0.75424 ]))
    """
    require_task_first("exact_loss(task, omega, mu)", task, omega)
    ω, μ = checked_head_scalars(omega, mu)
    heads = softmax_task(task, matrix, true_or_false(query_token, "query_token"))
    wants_gradient = true_or_false(gradient, "gradient")
    if nodes is not None:
        _check_nodes(nodes)
    shape = ω.shape[:-1]
    points = [
        _loss_at_point(heads, one_ω, one_μ, nodes, wants_gradient)
        for one_ω, one_μ in zip(np.atleast_2d(ω), np.atleast_2d(μ), strict=True)
    ]
    loss = np.reshape([point.loss for point in points], shape)
    error = np.reshape([point.error for point in points], shape)
    if not wants_gradient:
        return ExactLoss(loss, error=error)
    by_ω = np.reshape([point.by_ω for point in points], ω.shape)
    by_μ = np.reshape([point.by_μ for point in points], ω.shape)
    return ExactLoss(loss, HeadGradient(by_ω, by_μ), error=error)


def _check_nodes(nodes: int) -> None:
    """ValueError unless this is a number of nodes that a rule may have, and the one it is compared with."""
    whole_number(nodes, "nodes", least=_FEWER_NODES + 1)
    if nodes > _MOST_NODES:
        raise ValueError(
            f"nodes may be at most {_MOST_NODES}, not {nodes}: the error is that of the grids over tokens long before"
        )


def value_averages(
    task: Task,
    omega: ArrayLike,
    *,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
    nodes: int = 28,
    error: float = GRID_ERROR,
    gradient: bool = False,
) -> "ValueAverages":
    """The exact loss as a function of μ at the `omega` (H,): a quadratic form, of which best μ and losses follow.

    Arguments and refusals are those of `exact_loss`; `nodes` stay as they are given, so that the form changes smoothly
    with ω. `error` is what the grids over tokens may be off by: larger ones are faster. With `gradient` the
    derivatives by ω are there, too.

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> form = value_averages(task, [0.13, -0.13])
    >>> round(form.loss(1.1, form.best_μ()), 7)
    0.2429878
    """
    require_task_first("value_averages(task, omega)", task, omega)
    ω = finite_array(omega, "omega", "(H,)")
    heads = softmax_task(task, matrix, true_or_false(query_token, "query_token"))
    wants_gradient = true_or_false(gradient, "gradient")
    _check_nodes(nodes)
    positive_number(error, "error")
    return _averages(heads, ω, nodes, error, wants_gradient)


class _Point(NamedTuple):
    """Loss and gradient at one ω and μ (H,); the gradient is empty where it was not asked for."""

    loss: float
    error: float
    by_ω: FloatArray
    by_μ: FloatArray


# Long because one loop over rules with more and more nodes, whose error the next lines weigh against two bounds.
def _loss_at_point(
    heads: SoftmaxTask,
    ω: FloatArray,
    μ: FloatArray,
    nodes: int | None,
    wants_gradient: bool,
) -> _Point:
    """The loss at ω, μ (H,), by the rule with so many nodes or by the first that is fine enough."""
    counts = _tried_nodes(heads, ω) if nodes is None else _nodes_up_to(nodes)
    # Errors of the averages count (Σ|μ|)² times.
    size_of_μ = max(1.0, float(np.sum(np.abs(μ))) ** 2)
    tolerance = GRID_ERROR / size_of_μ
    enough = _ENOUGH_WITH_QUERY if heads.query_token else _ENOUGH
    losses = [
        _averages(heads, ω, count, tolerance).loss(heads.zero_loss, μ)
        for count in counts[:2]
    ]
    for count in counts[2:]:
        averages = _averages(heads, ω, count, tolerance, wants_gradient)
        losses.append(averages.loss(heads.zero_loss, μ))
        rule_error = _rule_error(losses)
        grid_error = _REPORTED_GRID_ERROR * math.sqrt(count)
        grid_error *= heads.context_label_variance
        grid_error += averages.rounding(μ) + _ROUNDING * heads.zero_loss
        # More nodes do not make the grids of a node finer.
        if rule_error <= max(enough * losses[-1] - grid_error, grid_error):
            break
    error = rule_error + grid_error
    if not wants_gradient:
        return _Point(losses[-1], error, np.empty(0), np.empty(0))
    return _Point(losses[-1], error, averages.by_ω(μ), averages.by_μ(μ))


def _rule_error(losses: list[float]) -> float:
    """What the last of these losses, by rules with more and more nodes, is off by for its rule."""
    difference = abs(losses[-1] - losses[-2])
    earlier_difference = abs(losses[-2] - losses[-3])
    return difference + _SHARE_OF_EARLIER * earlier_difference


def _nodes_up_to(nodes: int) -> tuple[int, int, int]:
    """The numbers of nodes of two rules that measure the error of the rule with so many, and of that one."""
    return max(1, nodes - 2 * _FEWER_NODES), nodes - _FEWER_NODES, nodes


def _tried_nodes(heads: SoftmaxTask, ω: FloatArray) -> tuple[int, ...]:
    """The numbers of nodes to try, from two before the first that can be expected to be enough."""
    rule = heads.queries.rule(_NODES_FOR_THE_RANGE)
    deviation = float(np.max(np.abs(ω)) * np.max(rule.deviations))
    if any(length <= _FEW_TOKENS for length, _ in heads.lengths):
        deviation *= _FEW_TOKENS_FACTOR
    coarser = _first_above(deviation, _FIRST_BY_DEVIATION)
    if heads.query_token:
        # Scores far below those of the other tokens do not change the loss.
        own_score = float(np.max(np.outer(ω, rule.query_scores)))
        coarser = max(coarser, _first_above(own_score, _FIRST_BY_QUERY_SCORE))
    return _NODES[_NODES.index(coarser) - 1 :]


def _first_above(value: float, table: tuple[tuple[float, int], ...]) -> int:
    """The entry of the first limit that is not below the value."""
    return next(entry for limit, entry in table if value <= limit)


class ValueAverages(NamedTuple):
    """The loss as a function of μ: L(0) − 2 μᵀ signal + μᵀ products μ.

    `signal` E[α g] (H,) and `products` E[ρ S + (tr ΩΛ − ρ + σ²) C] (H, H), over queries and context lengths; their
    derivatives by the ω of the first head are zero where they were not asked for.
    """

    signal: FloatArray
    products: FloatArray
    signal_by_ω: FloatArray
    products_by_ω: FloatArray

    def loss(self, zero_loss: float, μ: FloatArray) -> float:
        """L(μ)."""
        return float(zero_loss - 2 * μ @ self.signal + μ @ self.products @ μ)

    def by_μ(self, μ: FloatArray) -> FloatArray:
        """∂L/∂μ (H,)."""
        return np.asarray(2 * (self.products @ μ - self.signal))

    def by_ω(self, μ: FloatArray) -> FloatArray:
        """∂L/∂ω (H,)."""
        return np.asarray(2 * μ * (self.products_by_ω @ μ - self.signal_by_ω))

    def best_μ(self) -> FloatArray:
        """The μ (H,) of least loss, the shortest one where several have it, as at equal or vanishing ω."""
        return np.asarray(
            np.linalg.lstsq(self.products, self.signal, rcond=_SMALLEST_SINGULAR)[0]
        )

    def rounding(self, μ: FloatArray) -> float:
        """What rounding of the products makes of the loss."""
        size = np.abs(μ) @ np.abs(self.products) @ np.abs(μ)
        return float(_ROUNDINGS * np.finfo(float).eps * size)


# Long because one pass over lengths and nodes adds up four sums, which share the moments of a node.
def _averages(
    heads: SoftmaxTask,
    ω: FloatArray,
    nodes: int,
    tolerance: float,
    wants_gradient: bool = False,
) -> ValueAverages:
    """The averages by the rule with so many nodes, whose moments are off by less than the tolerance on average."""
    rule = heads.queries.rule(nodes)
    refuse_large_scores(rule, ω)
    keep_freed_memory()  # of the arrays of each node, for those of the next one
    H = len(ω)
    sums = ValueAverages(np.zeros(H), np.zeros((H, H)), np.zeros(H), np.zeros((H, H)))
    for length, weight in heads.lengths:
        for node, τ in enumerate(rule.deviations):
            α = weight * rule.signals[node]
            query_scores = heads.query_scores(rule, node, ω)
            # A node of small probability needs fewer digits.
            error = tolerance / float(rule.probabilities[node])
            scores = (ω * τ, length, query_scores, min(error, _LARGEST_NODE_ERROR))
            if not wants_gradient:
                moments = score_moments(*scores)
            else:
                moments, derivatives = score_moments_and_derivatives(*scores)
                by_score = derivatives.by_unit_of_ω(τ, rule.query_scores[node])
                sums.signal_by_ω[:] += α * by_score.first
                sums.products_by_ω[:] += weight * heads.product(rule, node, by_score)
            sums.signal[:] += α * moments.first
            sums.products[:] += weight * heads.product(rule, node, moments)
    return sums


def refuse_large_scores(rule: QueryRule, ω: FloatArray) -> None:
    """ValueError where scores spread so far that the quadrature over them would take minutes."""
    largest = float(np.max(np.abs(ω)) * np.max(rule.deviations))
    if largest > LARGEST_DEVIATION:
        raise ValueError(
            f"omega = {np.max(np.abs(ω)):.3g} gives scores with a standard deviation of up to {largest:.3g}, and exact "
            f"losses are computed up to {LARGEST_DEVIATION:g}: softmax picks single tokens there, so sample the task"
        )
