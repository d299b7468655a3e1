"""A search for the least exact loss of any number of softmax heads, also where it is a limit in which heads merge.

The loss at the best values is tabulated, and minimised over ω from many starts on a coarse table: the best heads of one
number fewer with one more head anywhere, and random ones. The best end is polished on a fine table that reaches as far
as its ω do. That no start ends lower is no proof: the result says how many starts agree. Derived here.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...task import Task
from .exact_tables import ExactTable, table_within
from .losses_of_heads import HeadOptimum
from .softmax_moments import LARGEST_DEVIATION
from .softmax_tasks import softmax_task
from .spans_of_heads import best_span, groups_at, omega_of, z_of

# Standard deviations of scores that are searched, at the root mean square of τ: the best heads of D = 1 … 20 and
# N = 4 … 160 have 4 at most. Two heads at most have smaller ones.
_LARGEST_SCORES, _LARGEST_SCORES_OF_TWO = 5.5, 4.0
# Of the largest scores that have an exact loss, with so many nodes over the query.
_WITHIN, _MOST_NODES = 0.95, 28


class _Accuracy(NamedTuple):
    """Nodes over the query and error of a table, and the relative size of squares that are more than its error."""

    nodes: int
    error: float
    smallest_square: float


_COARSE, _FINE = _Accuracy(11, 1e-8, 1e-8), _Accuracy(16, 1e-9, 1e-9)
# Starts for one more head: places, in the table's coordinate, beside each of the best ends so far, and random ones.
_PLACES, _KEPT, _RANDOM = np.linspace(-0.9, 0.9, 7), 2, 4
# Ends of a search: losses of which one counts as another's, relative to the label's variance, and distances in z.
_SAME_LOSS, _SAME_ENDS = 1e-7, 1e-3
# Where ω comes this close to the end of the search, a lower loss may lie beyond.
_AT_THE_EDGE = 0.995
# A fine table reaches a little beyond the ω that were found, and no less far than these scores.
_BEYOND, _LEAST_SCORES = 1.15, 0.5
# Distances of scores at which heads are tried together, and the change of the loss that does not tell them apart.
_CLOSE_SCORES, _SAME_FINE_LOSS = 0.1, 1e-10
# Displacements in z at which a minimum is tried, in random directions.
_TRIED_STEPS, _TRIED_DIRECTIONS = (1e-3, 1e-2), 12
_TRIED_ROUNDING = 1e-9
# What the slope may be at an end, relative to the label's variance: it is a loss by z, and ends are flat.
_SMALL_SLOPE = 1e-5


def search_heads(
    task: Task, heads: int, query_token: bool, matrix: ArrayLike | None
) -> HeadOptimum:
    """The best so many heads that the search finds, at least 1.

    ArithmeticError where the best end of the search is no minimum of the fine table.
    """
    search = _Search.of(task, heads, query_token, matrix)
    ends = search.ends(heads)
    found = ends[0]
    fine = search.fine_table(found.z)
    ω, sizes = _merged(fine, _polished(fine, found.z, search), search)
    loss = best_span(fine, np.repeat(z_of(fine, ω), sizes), _FINE.smallest_square).loss
    groups = groups_at(fine, ω, sizes, _FINE.smallest_square)
    # Positive ω first.
    apart = [group for group in reversed(groups) if group.heads == 1]
    return HeadOptimum(
        np.array([group.omega for group in apart]),
        np.array([group.values[0] for group in apart]),
        loss,
        # Of two tables, and of two searches for the minimum.
        error=abs(loss - found.loss),
        merged=tuple(group for group in groups if group.heads > 1),
        at_edge=_is_at_edge(found.z),
        note=search.note(ends),
    )


def _polished(fine: ExactTable, coarse_z: FloatArray, search: "_Search") -> FloatArray:
    """z of the fine table for heads at these z of the coarse one; ArithmeticError where they are no minimum."""
    start = z_of(fine, omega_of(search.table, coarse_z))
    z = _minimised(fine, start, _FINE).z
    if not search.query_token:
        z = _mirrored(fine, z)
    _refuse_no_minimum(fine, z, search.label_variance)
    return z


def _is_at_edge(z: FloatArray) -> bool:
    """Whether a lower loss may lie beyond the scores that are searched."""
    return bool(np.max(np.abs(z)) > _AT_THE_EDGE)


class _End(NamedTuple):
    """Where a minimisation ended."""

    loss: float
    z: FloatArray


class _Search(NamedTuple):
    """What is searched: the task, its coarse table, and the scale of its scores."""

    task: Task
    query_token: bool
    matrix: ArrayLike | None
    table: ExactTable
    score_scale: float
    label_variance: float

    @classmethod
    def of(
        cls, task: Task, heads: int, query_token: bool, matrix: ArrayLike | None
    ) -> "_Search":
        """The search for so many heads on the task."""
        softmax = softmax_task(task, matrix, query_token)
        rule = softmax.queries.rule(_COARSE.nodes)
        scale = float(np.sqrt(rule.probabilities @ rule.deviations**2))
        # Heads that are found must have a loss with more nodes, too.
        largest_τ = float(np.max(softmax.queries.rule(_MOST_NODES).deviations))
        scores = _LARGEST_SCORES_OF_TWO if heads <= 2 else _LARGEST_SCORES
        bound = min(scores / scale, _WITHIN * LARGEST_DEVIATION / largest_τ)
        if matrix is None:
            table = _known_table(task, bound, query_token)
        else:
            table = _table(task, bound, _COARSE, query_token, matrix)
        return cls(task, query_token, matrix, table, scale, softmax.label_variance)

    def ends(self, heads: int) -> list[_End]:
        """Where minimisations for so many heads end, the lowest first: for each number of heads from those before."""
        generator = np.random.default_rng(0)
        kept = [np.zeros(0)]
        for count in range(1, heads + 1):
            starts = [np.append(z, place) for z in kept for place in _PLACES]
            starts += list(generator.uniform(-1, 1, (_RANDOM, count)))
            ends = [_minimised(self.table, start, _COARSE) for start in starts]
            ends.sort(key=lambda end: end.loss)
            kept = _different(ends)
        return ends

    def fine_table(self, z: FloatArray) -> ExactTable:
        """The fine table for heads at these z of the coarse one."""
        reach = _BEYOND * float(np.max(np.abs(omega_of(self.table, z))))
        bound = min(max(reach, _LEAST_SCORES / self.score_scale), self.table.bound)
        return _table(self.task, bound, _FINE, self.query_token, self.matrix)

    def note(self, ends: list[_End]) -> str:
        """How far the result is assured."""
        scores = self.table.bound * self.score_scale
        highest = ends[0].loss + _SAME_LOSS * self.label_variance
        agreeing = sum(end.loss < highest for end in ends)
        words = (
            f"the best of {len(ends)} starts, of which {agreeing} agree, with scores of standard deviations up to "
            f"{scores:.2g}; no proof that none is better"
        )
        if _is_at_edge(ends[0].z):
            words += ": some heads are at this edge, and larger scores may be better"
        return words


def _table(
    task: Task,
    bound: float,
    accuracy: _Accuracy,
    query_token: bool,
    matrix: ArrayLike | None,
) -> ExactTable:
    """The table for |ω| ≤ bound."""
    return table_within(
        task,
        bound,
        accuracy.error,
        nodes=accuracy.nodes,
        query_token=query_token,
        matrix=matrix,
    )


@lru_cache(maxsize=2)
def _known_table(task: Task, bound: float, query_token: bool) -> ExactTable:
    """A coarse table, kept for searches with other numbers of heads: it costs more than a search."""
    return _table(task, bound, _COARSE, query_token, None)


def _minimised(table: ExactTable, start: FloatArray, accuracy: _Accuracy) -> _End:
    """The end of a minimisation over z within the table."""
    from scipy.optimize import minimize

    def loss(z: FloatArray) -> tuple[float, FloatArray]:
        best = best_span(table, z, accuracy.smallest_square)
        return best.loss, best.by_z

    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(-1, 1)] * len(start),
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 200},
    )
    return _End(float(found.fun), np.sort(found.x))


def _different(ends: list[_End]) -> list[FloatArray]:
    """z of the lowest ends that are not the same as one before, mirrored ends apart."""
    kept: list[FloatArray] = []
    for end in ends:
        if all(np.max(np.abs(end.z - z)) > _SAME_ENDS for z in kept):
            kept.append(end.z)
        if len(kept) == _KEPT:
            break
    return kept


def _mirrored(table: ExactTable, z: FloatArray) -> FloatArray:
    """The z, made symmetric where that is no worse: without the query's token ω and −ω have the same loss."""
    symmetric = (z - z[::-1]) / 2
    losses = [best_span(table, x, _FINE.smallest_square).loss for x in (z, symmetric)]
    return symmetric if losses[1] <= losses[0] + _SAME_FINE_LOSS else z


# Long because the slope and the displacements are two halves of one condition.
def _refuse_no_minimum(table: ExactTable, z: FloatArray, label_variance: float) -> None:
    """ArithmeticError where the slope is not small or a displacement of the heads has a lower loss."""
    best = best_span(table, z, _FINE.smallest_square)
    # At the edge of the table the loss may fall outwards.
    outwards = (np.abs(z) > _AT_THE_EDGE) & (best.by_z * z < 0)
    slope = float(np.max(np.abs(np.where(outwards, 0.0, best.by_z))))
    generator = np.random.default_rng(1)
    directions = generator.normal(size=(_TRIED_DIRECTIONS, len(z)))
    tried = [z + step * d for step in _TRIED_STEPS for d in (*directions, *-directions)]
    losses = [
        best_span(table, np.clip(x, -1, 1), _FINE.smallest_square).loss for x in tried
    ]
    lower = best.loss - min(losses)
    if (
        slope > _SMALL_SLOPE * label_variance
        or lower > _TRIED_ROUNDING * label_variance
    ):
        raise ArithmeticError(
            f"the search for {len(z)} heads ended where the loss still has the slope {slope:.1g}, and is lower by "
            f"{max(lower, 0.0):.1g} nearby: no minimum was found"
        )


# Long because groups are tried together one after another, each beside those already joined.
def _merged(
    table: ExactTable, z: FloatArray, search: _Search
) -> tuple[FloatArray, list[int]]:
    """ω of groups of heads, and how many each has: heads are together where their distance does not lower the loss."""
    ω = omega_of(table, z)
    is_far = np.diff(ω) * search.score_scale > _CLOSE_SCORES
    groups = np.split(ω, np.flatnonzero(is_far) + 1)
    loss = best_span(table, z, _FINE.smallest_square).loss
    for place, group in enumerate(groups):
        together = list(groups)
        together[place] = np.full_like(group, np.mean(group))
        joined = z_of(table, np.concatenate(together))
        joined_loss = best_span(table, joined, _FINE.smallest_square).loss
        if joined_loss <= loss + _SAME_FINE_LOSS * search.label_variance:
            groups = together
    flat = np.concatenate(groups)
    positions, sizes = np.unique(flat, return_counts=True)
    return positions, sizes.tolist()
