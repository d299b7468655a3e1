"""Full-batch gradient descent on anything that gives a loss and a gradient."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization, Weights
from ...runtime.files import AnyPath
from ...runtime.machine import one_thread
from ...runtime.progress import tracked
from ..attention.initialisation import checked_start, model_name, own_heads
from ..attention.model_check import refuse_unfit_on_the_way
from ..attention.objectives import Objective, objective
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory
from . import steppers as walks
from .recorder import DescentOptions, RunRecorder, described


class Diverged(ArithmeticError):
    """A run whose loss is no longer finite; `trajectory` is what it has up to there."""

    def __init__(self, trajectory: Trajectory, step: int) -> None:
        self.trajectory, self.step = trajectory, step
        rate = trajectory.learning_rate
        way_out = (
            f"a learning rate smaller than {rate:g}"
            if step
            else "smaller weights, or data of smaller numbers"
        )
        super().__init__(
            f"the run diverged: the loss is not finite at step {step}; choose {way_out}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Diverged, (
            self.trajectory,
            self.step,
        )  # so that a worker process can raise it


def train(
    model: Parametrization,
    source: Data | Statistics,
    start: Mapping[str, ArrayLike],
    *,
    learning_rate: float,
    steps: int,
    record: int | Sequence[int] | None = None,
    checkpoint: AnyPath | None = None,
    compiled: bool = True,
) -> Trajectory:
    """Gradient descent of a model on data (token by token) or on statistics of it, from the weights `start`.

    `steps` losses are recorded, each before its step; the last weights come after the last step. `record` limits
    the stored weights: every so many steps, or at the named ones (first and last always); about 500 if left out.
    With `checkpoint` the run writes that file now and then and when it is interrupted, and goes on from it if it is
    there. On statistics the built-in models run in machine code, which takes time to load; `compiled=False` is the
    plain path, which gives the same to rounding.
    Raises Diverged, holding the run so far, when the loss is no longer finite; ValueError on bad input.

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
    settings = {
        "model": model_name(model),
        "source": source.digest,
        **own_heads(model, begin),
    }
    rule = DescentOptions(learning_rate, steps, record, checkpoint)
    walk = (
        walks.compiled_stepper(model, source, rule.learning_rate) if compiled else None
    )
    log = RunRecorder(begin, rule, settings)
    run = _follow(
        walk or walks.plain(objective(model, source), rule.learning_rate), log
    )
    refuse_unfit_on_the_way(model, run.weights, source.dimension)
    return run


def train_many(
    model: Parametrization,
    source: Data | Statistics,
    starts: Sequence[Mapping[str, ArrayLike]],
    *,
    learning_rate: float,
    steps: int,
    record: int | Sequence[int] | None = None,
) -> list[Trajectory]:
    """What `train` gives from each of `starts`, to rounding; on statistics, all of them take their steps together.

    Raises what `train` raises, Diverged for the first start that does, once all have taken their steps; ValueError
    if there is no start.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> starts = [initial_weights(model, task, scale=0.1, seed=seed) for seed in range(3)]
    >>> stats = statistics(sample(task, sequences=50), model)
    >>> [len(run.loss) for run in train_many(model, stats, starts, learning_rate=0.01, steps=20)]
    [20, 20, 20]
    """
    if not starts:
        raise ValueError("starts must hold the weights of at least one start, not none")
    begins = [checked_start(model, source, start) for start in starts]
    rule = DescentOptions(learning_rate, steps, record)
    walk = walks.compiled_many(model, source, rule.learning_rate, len(begins))
    if walk is None:
        rules: dict[str, Any] = {
            "learning_rate": learning_rate,
            "steps": steps,
            "record": record,
        }
        return [train(model, source, begin, **rules) for begin in begins]
    settings = {"model": model_name(model), "source": source.digest}
    stacked = {name: np.stack([begin[name] for begin in begins]) for name in begins[0]}
    together = _follow(walk, RunRecorder(stacked, rule, settings, (len(begins),)))
    return [
        _alone(together, index, described(begin, rule, settings))
        for index, begin in enumerate(begins)
    ]


def _alone(together: Trajectory, index: int, settings: dict[str, Any]) -> Trajectory:
    """The run of one start among many; Diverged if its loss did not stay finite."""
    loss, norm = (
        np.ascontiguousarray(line[:, index])
        for line in (together.loss, together.gradient_norm)
    )
    weights = {
        name: np.ascontiguousarray(value[:, index])
        for name, value in together.weights.items()
    }
    lost = np.flatnonzero(~np.isfinite(loss))
    if not len(lost):
        return replace(
            together, loss=loss, gradient_norm=norm, weights=weights, settings=settings
        )
    step, kept = (
        int(lost[0]),
        int(np.searchsorted(together.weight_time, lost[0], side="right")),
    )
    lines = (
        together.time[:step],
        loss[:step],
        norm[:step],
        together.weight_time[:kept],
    )
    weights = {name: value[:kept] for name, value in weights.items()}
    raise Diverged(Trajectory(*lines, weights, together.learning_rate, settings), step)


def descend(
    evaluate: Objective, start: Weights, rule: DescentOptions, settings: dict[str, Any]
) -> Trajectory:
    """Gradient descent θ ← θ − η ∂L/∂θ on any objective; `train` says what the arguments mean."""
    return _follow(
        walks.plain(evaluate, rule.learning_rate), RunRecorder(start, rule, settings)
    )


SAME = 1e-7
"""Part of its largest value that a loss or a gradient may be off if another machine or engine evaluates it."""


def _refuse_other_run(walk: walks.Stepper, log: RunRecorder) -> None:
    """ValueError if the run goes on from a checkpoint whose losses or gradients are not those of this walk.

    Neither its name nor its heads tell what a model of the user's own divides by: losses at the stored weights do.
    """
    for step, weights in log.witnesses():
        loss, norm = (np.full_like(line[:1], np.inf) for line in (log.loss, log.norm))
        not_kept = {name: value[:0] for name, value in log.kept.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            walk.advance(
                weights, walks.StepBuffer(loss, norm, np.array([], np.intp), not_kept)
            )
        for line, again in ((log.loss, loss), (log.norm, norm)):
            if np.any(
                np.abs(line[step] - again[0]) > SAME * np.max(np.abs(line[: log.done]))
            ):
                raise ValueError(
                    f"{log.checkpoint_file} is a checkpoint of another run: its loss or gradient at step {step} is "
                    f"{line[step]:.6g}, here it is {again[0]:.6g}; choose another file or delete it"
                )


def _follow(walk: walks.Stepper, log: RunRecorder) -> Trajectory:
    _refuse_other_run(walk, log)
    firsts = range(log.done, log.rule.steps, walk.stretch)
    try:
        with (
            one_thread() if walk.small else nullcontext(),
            np.errstate(over="ignore", invalid="ignore"),
        ):
            for _ in tracked(firsts, len(firsts), "gradient descent"):
                stretch = log.stretch(walk.stretch)
                weights, taken = walk.advance(log.weights, stretch)
                log.advance(weights, taken)
                if taken < len(stretch.loss):
                    raise Diverged(log.trajectory(), log.done)
    except KeyboardInterrupt:
        log.checkpoint()
        raise
    return log.trajectory()
