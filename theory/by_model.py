"""Time courses and fixed points of whatever model: the wing that knows it is asked."""

from collections.abc import Iterable
from typing import Any

from numpy.typing import ArrayLike

from ..models.protocol import Parametrization, outputs_of
from ..task import Task
from .call_order import require_task_first
from .linear_attention import enumeration
from .linear_attention import time_courses as courses_of_one_output
from .linear_attention.enumeration import FixedPoint, FixedPoints
from .linear_transformer import time_courses as courses_of_outputs
from .linear_transformer.kronecker_points import (
    KroneckerFixedPoint,
    KroneckerFixedPoints,
    kronecker_fixed_points,
)
from .linear_transformer.laws_of_teachers import is_kronecker
from .linear_transformer.mode_points import (
    ModeFixedPoint,
    ModeFixedPoints,
    mode_fixed_points,
)
from .time_courses import TimeCourse

AnyFixedPoint = FixedPoint | ModeFixedPoint | KroneckerFixedPoint
AnyFixedPoints = FixedPoints | ModeFixedPoints | KroneckerFixedPoints


def time_course(
    task: Task,
    model: Parametrization,
    flow_time: ArrayLike,
    start: Any,
    *,
    weight_decay: float = 0.0,
) -> TimeCourse:
    """The predicted `TimeCourse` of gradient flow on unlimited data at `flow_time` (T,), which need not be sorted.

    `start` is one of
    - Separate: balanced amplitudes (D,) by decreasing gain, or one number for the first H·R directions. Each head
      has R nonzero ones, in that order. Exact at any size, in closed form for rank one.
    - Merged: w₀, which starts the unstable mode s = w₀, u = w₀ b/‖b‖, or a pair (s, u) with u (D,) or one number
      along the unstable mode. Exact; in closed form where all directions are equal.
    - Merged(1, outputs=K) on a shared basis: p = q = w₀ on every mode, or a pair (p, q) of numbers or (D,), in the
      order of `linear_transformer.mode_flow`; on Kronecker teachers w₀, which starts the unstable mode p = w₀ Γ/|Γ|,
      q = w₀ ΛΩΛ/|ΛΩΛ|. Exact.
    - weights, full size, by name. Merged of one output follows the unstable mode, the limit of small weights; separate
      follows the flow of all heads from any weights, as `staircase` does, and several outputs that of the whole p and
      q, for any law of teachers. Only the restricted block is read, out of which nothing moves on unlimited data: the
      curve is not that of weights which start off it (`Overlay.off_block` is their share).

    Where Λ or Ω is singular, amplitudes are those of the directions that have a gain. Weights may have parts on the
    others: those on which x does not vary never move, and those on which the teacher does not vary decay in every head
    that has grown, but stay in the conserved v² − Σ|k|², as `staircase` says.

    `weight_decay` wd is that of descent on the gradient plus wd·θ: it takes (wd/2) θ off every equation, all of which
    are then integrated. A separate head dies, instead of escaping late, if its amplitude is below about wd/(2 b_d).

    ValueError for softmax or another model, a decay that is no number of zero or more or belongs to Adam, amplitudes
    where Λ and Ω do not commute, more amplitudes than H·R, several outputs under decay or of several heads, or a
    negative time, ArithmeticError where `staircase` raises it. `SensitiveStaircaseWarning` where the times hold for
    exactly these weights only: they rest on equal heads, on a ridge, or on exact zeros. Sources: Zhang et al. 2025
    (arXiv 2501.16265), on both parametrizations; Mainali and Teixeira 2025 (arXiv 2504.12916) on several outputs.

    >>> from attndyn import Merged, Separate, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> curve = time_course(task, Separate(heads=4), [0, 100, 1000], start=0.1)
    >>> curve.loss.round(4), curve.source
    (array([0.9994, 0.5335, 0.1366]), 'closed form')
    >>> from attndyn.teachers import Gaussian
    >>> modes = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=20)
    >>> time_course(modes, Merged(heads=1, outputs=2), [0, 2, 50], start=0.1).coefficients.round(3)
    array([[0.01 , 0.01 ],
           [0.45 , 0.294],
           [0.441, 0.852]])
    """
    require_task_first("time_course(task, model, flow_time, start)", task, model)
    if _has_several_outputs(task, model):
        return courses_of_outputs.course_of_outputs(
            task, model, flow_time, start, weight_decay=weight_decay
        )
    return courses_of_one_output.time_course(
        task, model, flow_time, start, weight_decay=weight_decay
    )


def fixed_points(
    task: Task, model: Parametrization, *, weight_decay: float = 0.0
) -> AnyFixedPoints:
    """The fixed points of gradient flow on the restricted weights by increasing loss, as a lazy sequence.

    Separate: M_S for every subset S of at most H·R directions. Merged: M* and M = 0. Merged(1, outputs=K) on a shared
    basis: one for each subset of modes that leaves none of its own off, as `linear_transformer.mode_fixed_points`
    says; on Kronecker teachers the minimum and M = 0. Of points that differ only by which of several equal gains they
    learn, one stands for all. ValueError for softmax, for a mixture with a fixed teacher, for a model that is none of
    these, and for outputs of another law.

    With a `weight_decay` wd (descent on the gradient plus wd·θ) they are those of L + (wd/2)|θ|². Merged: M* moves, and
    from wd = 2|B| on M = 0 is the only one. Separate, rank one, Λ and Ω that commute: M_S for the directions that can
    be learned below their bound wd = (3/2) b (b/(4aλ))^{1/3}, each by one head of b v − aλ v⁴ = wd/2 with the larger
    root v; M = 0 is stable. Not listed are those with the smaller root, with several heads on one direction (both of
    them saddles), or with heads between directions. ValueError for higher ranks, several outputs, Λ and Ω
    that do not commute (merged: where one is singular, too), a decay that is negative or no number, and an optimiser
    such as Adam, whose decay is another.

    Source: Zhang et al. 2025 (arXiv 2501.16265), for Ω = 1, no noise; the stability, the decay and those of several
    outputs are derived here.

    >>> from attndyn import Merged, Separate, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> points = fixed_points(task, Separate(heads=4))
    >>> [(point.subset, point.hessian_index, point.kind) for point in points[:3]]
    [((1, 2, 3, 4), 0, 'minimum'), ((1, 2, 3), 0, 'degenerate saddle'), ((1, 2, 4), 1, 'strict saddle')]
    >>> len(points), (1, 3) in points
    (16, True)
    >>> decayed = fixed_points(task, Separate(heads=4), weight_decay=0.03)
    >>> [(point.subset, point.hessian_index, point.kind) for point in decayed[:2]]
    [((1, 2, 3), 0, 'local minimum'), ((1, 2), 0, 'local minimum')]
    """
    require_task_first("fixed_points(task, model)", task, model)
    if _has_several_outputs(task, model):
        return _points_of_outputs(task, model, weight_decay)
    return enumeration.fixed_points(task, model, weight_decay=weight_decay)


def fixed_point(
    task: Task,
    model: Parametrization,
    subset: Iterable[int],
    assignment: Iterable[Iterable[int]] | None = None,
    *,
    weight_decay: float = 0.0,
) -> AnyFixedPoint:
    """The fixed point at which the directions of `subset` are learned, numbered from 1 by decreasing gain.

    `assignment` lists the directions of each active head (separate models only); without it the fewest heads take
    them in order of gain. Of several outputs they are modes, numbered by decreasing ω s/√(ωs + σ²). `weight_decay` as
    in `fixed_points`. ValueError for a subset or assignment that does not fit the model, or that the decay leaves no
    fixed point of.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> fixed_point(task, Separate(heads=2, rank=2), (1, 2), assignment=[(1,), (2,)]).hessian_index
    4
    """
    require_task_first("fixed_point(task, model, subset)", task, model)
    if _has_several_outputs(task, model):
        if assignment is not None:
            raise ValueError(
                "merged heads take no assignment: one head holds all modes"
            )
        return _points_of_outputs(task, model, weight_decay).of(*subset)
    return enumeration.fixed_point(
        task, model, subset, assignment, weight_decay=weight_decay
    )


def _points_of_outputs(
    task: Task, model: Parametrization, weight_decay: float
) -> ModeFixedPoints | KroneckerFixedPoints:
    """The fixed points of one layer with several outputs."""
    courses_of_outputs.refuse_decay(weight_decay)
    if is_kronecker(task):
        return kronecker_fixed_points(task, model)
    return mode_fixed_points(task, model)


def _has_several_outputs(task: Task, model: Parametrization) -> bool:
    return task.outputs > 1 or outputs_of(model) > 1
