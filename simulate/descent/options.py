"""How to descend: the arguments of `train` that do not depend on the model, and the steps whose weights are stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number, whole_number
from ...runtime.files import AnyPath
from ..trajectory import IntArray
from .optimizers import (
    Adam,
    GradientDescent,
    Optimizer,
    as_optimizer,
    is_built_in,
)
from .schedules import Rate, scheduled_rates

MOST_STEPS = 2**53
"""Up to here every whole number is a double."""

RECORDS = 500
"""About how many weights a run stores if `record` does not say."""


@dataclass(frozen=True)
class DescentOptions:
    """How to descend: the arguments of `train` that do not depend on the model; ValueError if out of range.

    Exactly one of `learning_rate` and `optimizer` is given; `rule` is the optimizer, whichever it was.
    """

    learning_rate: Rate | None
    steps: int
    record: int | Sequence[int] | None = None
    checkpoint: AnyPath | None = None
    optimizer: object = None

    def __post_init__(self) -> None:
        # Refused here, rather than when they are first used.
        _ = self.rule
        # Plain numbers, as JSON wants them.
        if self.learning_rate is not None and not callable(self.learning_rate):
            rate = positive_number(self.learning_rate, "learning_rate")
            object.__setattr__(self, "learning_rate", rate)
        steps = whole_number(self.steps, "steps")
        if steps > MOST_STEPS:
            raise ValueError(f"steps must be at most 2^53, not {steps}")
        object.__setattr__(self, "steps", steps)
        recorded_steps(self.steps, self.record)

    @cached_property
    def rule(self) -> Optimizer:
        """The optimizer: `GradientDescent` if a learning rate is given."""
        if self.optimizer is None:
            if self.learning_rate is None:
                raise ValueError(
                    "say how to descend: learning_rate=, or optimizer=, for instance Adam(1e-3)"
                )
            return GradientDescent(self.learning_rate)
        if self.learning_rate is not None:
            raise ValueError(
                "learning_rate and optimizer are both given: say the learning rate in the optimizer"
            )
        return as_optimizer(self.optimizer)

    @cached_property
    def rule_of_steps(self) -> Optimizer:
        """The optimizer as it takes the steps: with the rates that were asked for once, and that the run keeps.

        A function that answers otherwise when it is asked again would make `learning_rates` wrong.
        """
        rule, rates = self.rule, self.rates
        if rates is None or not callable(rule.learning_rate):  # type: ignore[attr-defined]
            return rule
        return replace(rule, learning_rate=rates.item)  # type: ignore[type-var]

    @property
    def plain_rate(self) -> float | None:
        """The learning rate where it is one number and there is nothing besides; else None."""
        rule = self.rule
        plain = type(rule) is GradientDescent and rule.is_plain
        return float(rule.learning_rate) if plain else None  # type: ignore[attr-defined]

    @cached_property
    def rates(self) -> FloatArray | None:
        """The learning rates that are scheduled for the steps (steps,); None where the optimizer is the user's own."""
        rule = self.rule
        if isinstance(rule, GradientDescent | Adam) and is_built_in(rule):
            return scheduled_rates(rule.learning_rate, self.steps)
        return None

    @property
    def recorded(self) -> IntArray:
        """The steps before which weights are stored, in order; the last is `steps`, after the last step."""
        return recorded_steps(self.steps, self.record)


def recorded_steps(steps: int, record: ArrayLike | None) -> IntArray:
    """The steps before which a run of so many steps stores its weights, the first and last always.

    `record`: every so many steps, or the steps themselves; about 500 of them if None. ValueError if it is neither.

    >>> recorded_steps(10, 4), recorded_steps(10, [3])
    (array([ 0,  4,  8, 10]), array([ 0,  3, 10]))
    """
    chosen = np.asarray(max(1, steps // RECORDS) if record is None else record)
    whole = chosen.dtype.kind in "iu" or chosen.size == 0
    if chosen.ndim > 1 or not whole or (chosen.ndim == 0 and chosen < 1):
        raise ValueError(
            f"record must be a number of steps of at least 1, or a list of steps, not {record!r}"
        )
    if chosen.ndim == 0:
        chosen = np.arange(0, steps, int(chosen))
    recorded = np.unique([0, *chosen.tolist(), steps]).astype(np.int64)
    if recorded[0] < 0 or recorded[-1] > steps:
        raise ValueError(
            f"record must name steps from 0 to {steps}, not {recorded[0]} … {recorded[-1]}"
        )
    return recorded
