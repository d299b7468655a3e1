"""Time courses of whatever model: the wing that knows it is asked."""

from typing import Any

from numpy.typing import ArrayLike

from ..models.protocol import Parametrization, outputs_of
from ..task import Task
from .call_order import require_task_first
from .linear_attention import time_courses as courses_of_one_output
from .linear_transformer import time_courses as courses_of_outputs
from .time_courses import TimeCourse


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
    if task.outputs > 1 or outputs_of(model) > 1:
        return courses_of_outputs.course_of_outputs(
            task, model, flow_time, start, weight_decay=weight_decay
        )
    return courses_of_one_output.time_course(
        task, model, flow_time, start, weight_decay=weight_decay
    )
