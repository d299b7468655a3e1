"""Full-batch gradient descent on anything that gives a loss and a gradient."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..model import Parametrization, Weights
from .initial import checked_start, model_name
from .log import Descent, Log
from .objective import Objective, objective
from .progress import tracked
from .prompts import Data
from .statistics import Statistics
from .trajectory import Trajectory


class Diverged(ArithmeticError):
    """A run whose loss is no longer finite; `trajectory` is what it has up to there."""

    def __init__(self, trajectory: Trajectory, step: int) -> None:
        self.trajectory, self.step = trajectory, step
        rate = trajectory.learning_rate
        super().__init__(
            f"the run diverged: the loss is not finite at step {step}; choose a learning rate smaller than {rate:g}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Diverged, (self.trajectory, self.step)  # so that a worker process can raise it


def train(
    model: Parametrization,
    source: Data | Statistics,
    start: Mapping[str, ArrayLike],
    *,
    learning_rate: float,
    steps: int,
    record: int | Sequence[int] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trajectory:
    """Gradient descent of a model on data (token by token) or on statistics of it, from the weights `start`.

    `steps` losses are recorded, each before its step; the last weights come after the last step. `record` limits
    the stored weights: every so many steps, or at the named ones (first and last always); about 500 if left out.
    With `checkpoint` the run writes that file now and then and when it is interrupted, and goes on from it if it is
    there. Raises Diverged, holding the run so far, when the loss is no longer finite; ValueError on bad input.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> data = sample(task, sequences=50)
    >>> start = initial_weights(model, task, scale=0.1)
    >>> run = train(model, statistics(data, model), start, learning_rate=0.01, steps=20)
    >>> run.loss.shape, run.flow_time[-1]
    ((20,), np.float64(0.38))
    """
    begin = checked_start(model, source, start)
    settings = {"model": model_name(model), "source": source.digest}
    rule = Descent(learning_rate, steps, record, checkpoint)
    return descend(objective(model, source), begin, rule, settings)


def descend(evaluate: Objective, start: Weights, rule: Descent, settings: dict[str, Any]) -> Trajectory:
    """Gradient descent θ ← θ − η ∂L/∂θ on any objective; `train` says what the arguments mean."""
    log = Log(start, rule, settings)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            for step in tracked(range(log.done, rule.steps), rule.steps - log.done, "gradient descent"):
                weights = log.weights
                log.keep(step, weights)
                loss, gradients = evaluate(weights)
                if not np.isfinite(loss):
                    raise Diverged(log.trajectory(), step)
                log.loss[step], log.norm[step] = loss, _norm(gradients)
                log.advance({name: value - rule.learning_rate * gradients[name] for name, value in weights.items()})
    except KeyboardInterrupt:
        log.checkpoint()
        raise
    log.keep(rule.steps, log.weights)
    return log.trajectory()


def _norm(gradients: Weights) -> float:
    square = 0.0
    for gradient in gradients.values():
        flat = gradient.ravel()
        square += float(flat @ flat)
    return float(np.sqrt(square))
