"""Fixed points of whatever model: the wing that knows it is asked."""

from collections.abc import Iterable

from ..models.protocol import Parametrization, outputs_of
from ..task import Task
from .call_order import require_task_first
from .linear_attention import enumeration
from .linear_attention.enumeration import FixedPoint, FixedPoints
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
from .linear_transformer.mode_tasks import refuse_decay
from .moments.population_loss import subset_numbers

AnyFixedPoint = FixedPoint | ModeFixedPoint | KroneckerFixedPoint
AnyFixedPoints = FixedPoints | ModeFixedPoints | KroneckerFixedPoints


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
        return _points_of_outputs(task, model, weight_decay).of(*subset_numbers(subset))
    return enumeration.fixed_point(
        task, model, subset, assignment, weight_decay=weight_decay
    )


def _points_of_outputs(
    task: Task, model: Parametrization, weight_decay: float
) -> ModeFixedPoints | KroneckerFixedPoints:
    """The fixed points of one layer with several outputs."""
    refuse_decay(weight_decay)
    if is_kronecker(task):
        return kronecker_fixed_points(task, model)
    return mode_fixed_points(task, model)


def _has_several_outputs(task: Task, model: Parametrization) -> bool:
    return task.outputs > 1 or outputs_of(model) > 1
