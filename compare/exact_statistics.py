"""Statistics of infinitely many sequences: the exact moments of the theory as a source for simulations.

This is the one place where the theory's moments reach a simulation. A claim that trains on them assumes the claims
that verify those moments.
"""

from ..models.protocol import Parametrization
from ..simulate import Statistics, from_moments
from ..simulate.sufficient_statistics.quadratic_loss import from_feature_moments
from ..task import Task
from ..theory import feature_moments, population
from ..theory.call_order import require_task_first

POPULATION_MOMENTS = ("setting.moments", "formulas.moments")
"""The claims that check c, A and B of the restricted block: what trains on them assumes these."""

FEATURE_MOMENTS = ("formulas.features", "in_weight.moments")
"""The claims that check the moments of every feature of a mixture: what trains on them assumes these."""


def population_statistics(
    task: Task, model: Parametrization, *, random_labels: bool = False
) -> Statistics:
    """Statistics of infinitely many sequences, so that a check has no sampling error.

    They are those of the restricted block, A ⊗ Λ with A (KD, KD) for K outputs, or of every feature where the law of
    teachers is not symmetric, as with a fixed teacher, which moves all weights. `random_labels` are those of
    `sample`. ValueError where theory has no moments.

    >>> from attndyn import Merged, Task
    >>> mixture = Task([1.0], context_length=10, fixed_teacher=[1.0], in_context_fraction=0.5)
    >>> population_statistics(mixture, Merged(heads=1)).block
    'full'
    """
    require_task_first("population_statistics(task, model)", task, model)
    # A fixed teacher, and random labels, move weights off the restricted block: every feature counts.
    if random_labels or not task.teachers.symmetric:
        moments = feature_moments(task, model, random_labels=random_labels)
        return from_feature_moments(
            moments.c,
            moments.b,
            moments.S,
            model,
            task.context_lengths,
            context_weights=task.context_weights,
        )
    # With teachers of both signs alone the gradient off the restricted block is zero.
    loss = population(task, model)
    return from_moments(
        loss.c,
        loss.A,
        loss.B,
        loss.Lambda,
        model,
        task.context_lengths,
        context_weights=task.context_weights,
    )
