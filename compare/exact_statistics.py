"""Statistics of infinitely many sequences: the exact moments of the theory as a source for simulations.

This is the one place where the theory's moments reach a simulation. A claim that trains on them assumes the claims
that verify those moments.
"""

from ..models.protocol import Parametrization
from ..runtime.checks import check_choice
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
    task: Task,
    model: Parametrization,
    *,
    block: str | None = None,
    random_labels: bool = False,
) -> Statistics:
    """Statistics of infinitely many sequences, so that a check has no sampling error.

    They are those of the restricted block, A ⊗ Λ with A (KD, KD) for K outputs, or of every feature where the law of
    teachers is not symmetric, as with a fixed teacher, which moves all weights. `block="full"` gives every feature for
    any law: weights that start off the restricted block need them. `random_labels` are those of `sample`. ValueError
    where theory has no moments, for another block, and for a restricted block that does not suffice.

    >>> from attndyn import Merged, Task
    >>> mixture = Task([1.0], context_length=10, fixed_teacher=[1.0], in_context_fraction=0.5)
    >>> population_statistics(mixture, Merged(heads=1)).block
    'full'
    >>> population_statistics(Task([1.0], context_length=10), Merged(heads=1), block="full").block
    'full'
    """
    require_task_first("population_statistics(task, model)", task, model)
    if block is not None:
        check_choice(block, "block", ("full", "restricted"))
    # A fixed teacher, and random labels, move weights off the restricted block: every feature counts.
    leaves_block = random_labels or not task.teachers.symmetric
    if leaves_block and block == "restricted":
        raise ValueError(
            "this task moves weights off the restricted block: leave block out, or pass block='full'"
        )
    if leaves_block or block == "full":
        moments = feature_moments(task, model, random_labels=random_labels)
        return from_feature_moments(
            moments.c,
            moments.b,
            moments.S,
            model,
            task.context_lengths,
            context_weights=task.context_weights,
        )
    # With teachers of both signs weights on the restricted block stay there.
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
