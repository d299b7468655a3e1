"""The flow of softmax heads on a table of the exact loss that is as accurate as a picture needs.

`theory.softmax_attention.reduced_flow` gives losses to 1e-8, in a second or more. A table of fewer terms gives them to
three digits while a slider moves, and to six at rest, from the same quadrature; tables are kept, as starts share them.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import HeadPhases
from ....theory.softmax_attention.approximate_losses import white_task
from ....theory.softmax_attention.exact_tables import ExactTable, table_within
from ....theory.softmax_attention.head_paths import (
    ApproximateLoss,
    HeadPath,
    fastest_rate,
    head_path,
    path_times,
)
from ....theory.softmax_attention.head_phases import measured_phases
from ....theory.softmax_attention.phases import linear_rates
from ....theory.softmax_attention.tails import tail_noise
from .settings_of_heads import Heads


class Accuracy(NamedTuple):
    """Of a table relative to the variance of labels, with so many nodes over the query, and of a step of the flow."""

    table: float
    nodes: int
    step: float


MOVING, AT_REST = Accuracy(1e-4, 7, 1e-4), Accuracy(1e-5, 10, 1e-5)
"""Losses to 1e-3 and to 1e-4, of which curves show nothing: a few hundredths of a second a table."""

FULL = Accuracy(1e-8, 17, 1e-8)
"""Losses to 1e-6, in a quarter of the time of `reduced_flow`."""

_ROOM, _MORE_ROOM, _TABLES = 1.5, 1.4, 4
"""The largest |ω| of a table in units of the best head's on the approximate loss; what a flow beyond it adds, and how
often: the best scores at 10 tokens are larger by a factor of two."""

_ROOM_OF_START = 1.02
"""Heads that start with large scores lose them."""


class QuickFlow(NamedTuple):
    """The flow of heads on a table of the exact loss, and the table."""

    path: HeadPath
    table: ExactTable


def quick_flow(heads: Heads, times: FloatArray, accuracy: Accuracy) -> QuickFlow:
    """The flow of the heads at times (T,) that increase from 0.

    ArithmeticError where it leaves the scores that a table can hold.
    """
    of_start = _ROOM_OF_START * float(np.max(np.abs(heads.omega)))
    bound = max(_ROOM / math.sqrt(heads.task.dimension), of_start)
    for _ in range(_TABLES):
        table = _table(heads.task, bound, accuracy)
        path = head_path(
            table, heads.state, times, heads.metric, tolerance=accuracy.step
        )
        if np.max(np.abs(path.omega)) <= bound:
            return QuickFlow(path, table)
        bound *= _MORE_ROOM
    raise ArithmeticError(
        f"the scores of these heads grow beyond omega = {bound:.3g}, where the exact loss has no table: take a longer "
        "context, or a smaller start"
    )


class FullFlow(NamedTuple):
    """The flow at the times of the heads to six digits, and its phases, which need many more times."""

    path: HeadPath
    phases: HeadPhases


def full_flow(heads: Heads) -> FullFlow:
    """The flow on the exact loss with its phases, as `reduced_flow` gives them."""
    white = white_task(heads.task, "the reduced flow on the exact loss")
    ρ = heads.metric
    times = path_times(heads.times, fastest_rate(white, heads.state, ρ))
    path = quick_flow(heads, times, FULL).path
    rates = linear_rates(heads.task, len(heads.omega), ρ, query_token=False)
    noise = tail_noise(heads.task, white, "exact")
    phases = measured_phases(white, path, ρ, rates, noise)
    return FullFlow(path.at(heads.times), phases)


def approximate_flow(heads: Heads) -> HeadPath:
    """The flow on the papers' approximate loss, to four digits."""
    loss = ApproximateLoss(white_task(heads.task, "the approximate loss"))
    return head_path(
        loss, heads.state, heads.times, heads.metric, tolerance=AT_REST.step
    )


@lru_cache(maxsize=64)
def _table(task: Task, bound: float, accuracy: Accuracy) -> ExactTable:
    """The table for |ω| up to a bound, made once for each task."""
    return table_within(task, bound, accuracy.table, nodes=accuracy.nodes)
