"""Statistics of infinitely many sequences: the exact moments of the theory as a source for simulations.

This is the one place where the theory's moments reach a simulation. A claim that trains on them rests on the claims
that hold those moments.
"""

import numpy as np

from ..models.attention import Merged, Separate
from ..models.divisors import divisor_name
from ..simulate import Statistics, from_moments
from ..task import Task
from ..theory import feature_moments, population


def population_statistics(
    task: Task, model: Merged | Separate, *, random_labels: bool = False
) -> Statistics:
    """Statistics of infinitely many sequences, so that a check has no sampling error.

    They are those of the restricted block, or of every feature for a mixture, which moves all weights.
    `random_labels` are those of `sample`. ValueError where theory has no moments.

    >>> from attndyn import Merged, Task
    >>> mixture = Task([1.0], context_length=10, fixed_teacher=[1.0], in_context_fraction=0.5)
    >>> population_statistics(mixture, Merged(heads=1)).block
    'full'
    """
    if task.in_context_fraction < 1 or random_labels:
        full = feature_moments(task, model, random_labels=random_labels)
        kind = (
            task.dimension,
            task.context_lengths,
            divisor_name(model, task.dimension),
            "full",
        )
        return Statistics(full.c, full.b, full.S, np.inf, *kind)
    moments = population(task, model)
    return from_moments(
        moments.c, moments.A, moments.B, moments.Lambda, model, task.context_lengths
    )
