"""Population moments: as a source for simulations, and in the wrong variants that a check must reject."""

from dataclasses import replace

import numpy as np

from ..model import Merged, Separate, divisor_name
from ..simulate import Statistics, from_moments
from ..task import Task
from ..theory import Population, feature_moments, population
from .claim import THEORY

TRACE_DROPPED = "trace term dropped"
LONGER_CONTEXT = "N + 1 for N"
NO_FOURTH_MOMENT = "1 + 1/N → 1"

MOMENTS = (TRACE_DROPPED, LONGER_CONTEXT, NO_FOURTH_MOMENT)


def variant(task: Task, model: Merged | Separate, name: str) -> Population:
    """The population moments of one context length N, or a wrong variant of them; ValueError names the variants.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=[1.0], context_length=10)
    >>> variant(task, Merged(heads=1), TRACE_DROPPED).A
    array([[1.1]])
    """
    true = population(task, model)
    if name == THEORY:
        return true
    if name == LONGER_CONTEXT:
        return population(with_context(task, max(task.context_lengths) + 1), model)
    # One unit of label noise adds (s²/N) Λ to A, s = N/divisor: the factor of both terms that can be forgotten.
    noisier = Task(
        covariance=task.covariance,
        teacher_covariance=task.teacher_covariance,
        noise_variance=task.noise_variance + 1,
        context_length=task.context_length,
    )
    unit = population(noisier, model).A - true.A
    if name == TRACE_DROPPED:
        return _with_A(true, true.A - true.c * unit)
    if name == NO_FOURTH_MOMENT:
        return _with_A(true, true.A - unit @ task.teacher_covariance @ task.covariance)
    raise ValueError(f"no variant of the moments is called {name!r}: there are {', '.join(MOMENTS)}")


def with_context(task: Task, context_length: int) -> Task:
    """The same task with another context length."""
    return Task.from_dict(task.to_dict() | {"context_length": context_length})


def _with_A(true: Population, A: np.ndarray) -> Population:
    if true.spectrum is None:
        return replace(true, A=A)
    e = true.directions
    a = np.einsum("id,ij,jd->d", e, A, e)
    return replace(true, A=A, spectrum=true.spectrum._replace(a=a, gains=true.b**2 / (a * true.lam)))


def unlimited(task: Task, model: Merged | Separate, *, random_labels: bool = False) -> Statistics:
    """Statistics of infinitely many sequences, so that a check has no sampling error.

    They are those of the restricted block, or of every feature for a mixture, which moves all weights.
    `random_labels` are those of `sample`. ValueError where theory has no moments.

    >>> from attndyn import Merged, Task
    >>> mixture = Task([1.0], context_length=10, fixed_teacher=[1.0], in_context_fraction=0.5)
    >>> unlimited(mixture, Merged(heads=1)).block
    'full'
    """
    if task.in_context_fraction < 1 or random_labels:
        full = feature_moments(task, model, random_labels=random_labels)
        kind = (task.dimension, task.context_lengths, divisor_name(model, task.dimension), "full")
        return Statistics(full.c, full.b, full.S, np.inf, *kind)
    moments = population(task, model)
    return from_moments(moments.c, moments.A, moments.B, moments.Lambda, model, task.context_lengths)
