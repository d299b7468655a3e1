"""Intervals that the numerical theory states, around its numbers, and what is wrong in the tenth digit."""

from collections.abc import Mapping
from fractions import Fraction

from .....task import Task
from .....theory.certified import Enclosure

TENTH_DIGIT = "wrong in the tenth digit"
"""The control that says what an enclosure is for: no error budget of a simulation would see it."""

_TENTH_DIGIT = Fraction(1, 10**9)
"""Half a unit of the tenth digit of numbers that begin with 5, and more of others."""


def stated(
    numbers: Mapping[str, object], tolerance: object, control: str = ""
) -> dict[str, Enclosure]:
    """Each number ± a share `tolerance` of it; under the control TENTH_DIGIT around another number.

    >>> print(stated({"time": 2.5}, "1e-10")["time"])
    2.50000000000 ± 2.5e-10
    """
    intervals = {}
    for name, number in numbers.items():
        exact = Enclosure.around(number).midpoint
        if control == TENTH_DIGIT:
            exact += exact * _TENTH_DIGIT
        share = Enclosure.around(tolerance).midpoint
        intervals[name] = Enclosure.around(exact, abs(exact) * share)
    return intervals


def with_longer_context(task: Task) -> Task:
    """The task with contexts that are longer by one."""
    weights = task.context_length
    if not isinstance(weights, dict):
        weights = dict(
            zip(task.context_lengths, task.context_weights.tolist(), strict=True)
        )
    return Task(
        covariance=task.exact_covariance.tolist(),
        teacher_covariance=task.exact_teacher_covariance.tolist(),
        noise_variance=task.exact_noise_variance,
        context_length={length + 1: weight for length, weight in weights.items()},
    )
