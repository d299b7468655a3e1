"""Population moments in the wrong variants that a check must reject."""

from dataclasses import replace

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....task import Task
from .....theory import Population, population
from ....evidence.claim import UNMODIFIED

TRACE_DROPPED = "trace term dropped"
LONGER_CONTEXT = "N + 1 for N"
NO_FOURTH_MOMENT = "1 + 1/N → 1"

MOMENTS = (TRACE_DROPPED, LONGER_CONTEXT, NO_FOURTH_MOMENT)


def wrong_moments(task: Task, model: Merged | Separate, name: str) -> Population:
    """The population moments of one context length N, or a wrong variant of them; ValueError names the variants.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=[1.0], context_length=10)
    >>> wrong_moments(task, Merged(heads=1), TRACE_DROPPED).A
    array([[1.1]])
    """
    true = population(task, model)
    if name == UNMODIFIED:
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
    raise ValueError(
        f"no variant of the moments is called {name!r}: there are {', '.join(MOMENTS)}"
    )


def changed_moments(task: Task, model: Merged | Separate, control: str) -> Population:
    """The wrong moments if the control is one of `MOMENTS`, else the true ones: the control changes something else.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=[1.0], context_length=10)
    >>> changed_moments(task, Merged(heads=1), "twice the rate").A
    array([[1.2]])
    """
    return wrong_moments(task, model, control if control in MOMENTS else UNMODIFIED)


def with_context(task: Task, context_length: int) -> Task:
    """The same task with another context length."""
    return Task.from_dict(task.to_dict() | {"context_length": context_length})


def _with_A(true: Population, A: FloatArray) -> Population:
    """The population with another A: where Λ and Ω commute, also with the diagonal and the gains that A makes."""
    if true.spectrum is None:
        return replace(true, A=A)
    e = true.directions  # (D, D), columns e_d
    a = np.einsum("id,ij,jd->d", e, A, e)
    gains = true.b**2 / (a * true.lam)
    return replace(true, A=A, spectrum=true.spectrum._replace(a=a, gains=gains))
