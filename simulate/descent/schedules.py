"""Learning rates that change from step to step."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_choice,
    is_whole_number,
    nonnegative_number,
    positive_number,
    takes_arguments,
)

KINDS = ("linear", "cosine", "constant")

Rate = float | Callable[[int], float]
"""A learning rate: one number, or a function of the step."""


@dataclass(frozen=True)
class Schedule:
    """Learning rates that are given at some steps and interpolated at the others.

    `points` is {step: rate}, in any order, or a list of pairs. Between two points the rate is interpolated linearly
    ("linear") or by half a cosine ("cosine"), or it is that of the earlier point ("constant"). Before the first point
    and after the last one, the rate is that of the point. ValueError for steps that are not whole numbers of zero or
    more or are stated twice, and for rates below zero.

    >>> warm_up = Schedule({0: 0.0, 500: 0.02, 20_000: 0.0}, "cosine")
    >>> warm_up(0), warm_up(500), warm_up(30_000)
    (0.0, 0.02, 0.0)
    """

    points: Any
    kind: str = "linear"
    _steps: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _rates: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", KINDS)
        points = _checked_points(self.points)
        # One form of equal schedules: pairs by increasing step.
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "_steps", tuple(step for step, _ in points))
        object.__setattr__(self, "_rates", tuple(rate for _, rate in points))

    def __call__(self, step: int) -> float:
        """The learning rate of a step; ValueError for several steps at once, and for nan."""
        if np.ndim(step) or step != step:
            raise ValueError(
                f"a schedule gives the learning rate of one step, not of {step!r}"
            )
        after = bisect_right(self._steps, step)
        if after == 0:
            return self._rates[0]
        before = after - 1
        if after == len(self._steps) or self.kind == "constant":
            return self._rates[before]
        first, last = self._rates[before], self._rates[after]
        length = self._steps[after] - self._steps[before]
        part = (step - self._steps[before]) / length
        if self.kind == "cosine":
            part = (1 - math.cos(math.pi * part)) / 2
        return first + part * (last - first)

    def to_dict(self) -> dict[str, Any]:
        """The points, as pairs, and the kind: `Schedule(**schedule.to_dict())` is the schedule."""
        return {"points": [list(point) for point in self.points], "kind": self.kind}


def _checked_points(points: object) -> tuple[tuple[int, float], ...]:
    """(step, rate) by increasing step; ValueError as `Schedule`."""
    wanted = (
        f"points of a schedule must be {{step: rate}}, at least one, not {points!r}"
    )
    try:
        pairs = points.items() if isinstance(points, Mapping) else points
        checked = [(step, rate) for step, rate in pairs]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ValueError(wanted) from None
    if not checked:
        raise ValueError(wanted)
    rates: dict[int, float] = {}
    for given, rate in checked:
        step = _whole_step(given)
        if step in rates:
            raise ValueError(f"a schedule names step {step} twice: keep one of them")
        rates[step] = nonnegative_number(rate, f"the rate of step {step}")
    return tuple(sorted(rates.items()))


def _whole_step(given: object) -> int:
    """The step; a file can only hold it as text."""
    step = given
    if isinstance(given, str) and given.isascii() and given.isdigit():
        step = int(given)
    if not is_whole_number(step, 0):
        raise ValueError(
            f"steps of a schedule must be whole numbers of at least 0, not {given!r}"
        )
    return int(step)


def checked_rate(rate: object) -> Rate:
    """A learning rate as it is kept: a positive number, or a function of the step; ValueError for anything else.

    >>> checked_rate("0.1")
    Traceback (most recent call last):
    ValueError: learning_rate must be positive and finite, not '0.1'
    """
    if isinstance(rate, type):
        raise ValueError(
            f"learning_rate must be a number or a function of the step, not the class {rate.__name__}"
        )
    if callable(rate):
        if not takes_arguments(rate, 1):
            raise ValueError(
                f"learning_rate must be a number or a function of the step: {rate!r} does not take one argument"
            )
        return rate
    return positive_number(rate, "learning_rate")


def rate_at(rate: Rate, step: int) -> float:
    """The learning rate of one step; ValueError unless it is a finite number of zero or more.

    >>> rate_at(lambda step: float("nan"), 3)
    Traceback (most recent call last):
    ValueError: the learning rate of step 3 must be zero or more and finite, not nan
    """
    if not callable(rate):
        return rate
    value: Any = rate(step)
    # Numbers of other libraries, such as JAX, are arrays without axes.
    if np.ndim(value) == 0 and hasattr(value, "item"):
        value = value.item()
    return nonnegative_number(value, f"the learning rate of step {step}")


def scheduled_rates(rate: Rate, steps: int) -> FloatArray:
    """The learning rates of the first steps (steps,).

    >>> scheduled_rates(Schedule({0: 0.0, 2: 0.2}), 4)
    array([0. , 0.1, 0.2, 0.2])
    """
    if not callable(rate):
        return np.full(steps, rate)
    return np.array([rate_at(rate, step) for step in range(steps)])
