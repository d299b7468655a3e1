"""Full-batch gradient descent on anything that gives a loss and a gradient."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.files import AnyPath
from ...runtime.machine import one_thread
from ...runtime.progress import with_progress
from ..attention.initialisation import checked_start, model_name, own_heads
from ..attention.model_check import refuse_unfit_on_the_way
from ..attention.objectives import Objective, objective
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory
from . import steppers
from .recorder import DescentOptions, RunRecorder, described

SAME = 1e-7
"""Part of its largest value that a loss or a gradient may be off if another machine or engine evaluates it."""


class Diverged(ArithmeticError):
    """A run whose loss is no longer finite; `trajectory` is what it has up to there."""

    def __init__(self, trajectory: Trajectory, step: int) -> None:
        self.trajectory = trajectory
        self.step = step
        way_out = "smaller weights, or data of smaller numbers"
        if step:
            way_out = f"a learning rate smaller than {trajectory.learning_rate:g}"
        super().__init__(
            f"the run diverged: the loss is not finite at step {step}; choose {way_out}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # So that a worker process can raise it.
        return Diverged, (self.trajectory, self.step)


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
    options = DescentOptions(learning_rate, steps, record, checkpoint)
    stepper = None
    if compiled:
        stepper = steppers.compiled_stepper(model, source, options.learning_rate)
    recorder = RunRecorder(begin, options, settings)
    if stepper is None:
        stepper = steppers.plain_stepper(
            objective(model, source), options.learning_rate
        )
    run = _follow(stepper, recorder)
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
    options = DescentOptions(learning_rate, steps, record)
    stepper = steppers.compiled_batch_stepper(
        model, source, options.learning_rate, len(begins)
    )
    if stepper is None:
        return [
            train(
                model,
                source,
                begin,
                learning_rate=learning_rate,
                steps=steps,
                record=record,
            )
            for begin in begins
        ]

    settings = {"model": model_name(model), "source": source.digest}
    stacked = {name: np.stack([begin[name] for begin in begins]) for name in begins[0]}
    together = _follow(stepper, RunRecorder(stacked, options, settings, (len(begins),)))
    return [
        _run_of_start(together, index, described(begin, options, settings))
        for index, begin in enumerate(begins)
    ]


def _run_of_start(
    together: Trajectory, index: int, settings: dict[str, Any]
) -> Trajectory:
    """The run of one start among many; Diverged if its loss did not stay finite."""
    run = replace(
        together,
        loss=np.ascontiguousarray(together.loss[:, index]),
        gradient_norm=np.ascontiguousarray(together.gradient_norm[:, index]),
        weights={
            name: np.ascontiguousarray(value[:, index])
            for name, value in together.weights.items()
        },
        settings=settings,
    )
    undefined = np.flatnonzero(~np.isfinite(run.loss))
    if len(undefined):
        step = int(undefined[0])
        raise Diverged(_up_to(run, step), step)
    return run


def _up_to(run: Trajectory, step: int) -> Trajectory:
    """The first steps of a run, with the weights that are stored up to there."""
    stored = int(np.searchsorted(run.weight_time, step, side="right"))
    return replace(
        run,
        time=run.time[:step],
        loss=run.loss[:step],
        gradient_norm=run.gradient_norm[:step],
        weight_time=run.weight_time[:stored],
        weights={name: value[:stored] for name, value in run.weights.items()},
    )


def descend(
    evaluate: Objective,
    start: Weights,
    options: DescentOptions,
    settings: dict[str, Any],
) -> Trajectory:
    """Gradient descent θ ← θ − η ∂L/∂θ on any objective; `train` says what the arguments mean."""
    stepper = steppers.plain_stepper(evaluate, options.learning_rate)
    return _follow(stepper, RunRecorder(start, options, settings))


def _follow(stepper: steppers.Stepper, recorder: RunRecorder) -> Trajectory:
    """Take all steps, or those that are left after a checkpoint; Diverged if a loss is not finite."""
    _refuse_other_run(stepper, recorder)
    firsts = range(recorder.done, recorder.options.steps, stepper.step_count)
    # Small products are faster on one thread than on threads that wait for each other.
    threads = one_thread() if stepper.small else nullcontext()
    try:
        with threads, np.errstate(over="ignore", invalid="ignore"):
            for _ in with_progress(firsts, len(firsts), "gradient descent"):
                buffer = recorder.buffer(stepper.step_count)
                weights, taken = stepper.advance(recorder.weights, buffer)
                recorder.advance(weights, taken)
                if taken < len(buffer.loss):
                    raise Diverged(recorder.trajectory(), recorder.done)
    except KeyboardInterrupt:
        recorder.checkpoint()
        raise
    return recorder.trajectory()


def _refuse_other_run(stepper: steppers.Stepper, recorder: RunRecorder) -> None:
    """ValueError if the run goes on from a checkpoint whose losses or gradients are not those of this stepper.

    Neither its name nor its heads tell what a model of the user's own divides by: losses at the stored weights do.
    """
    for step, weights in recorder.witnesses():
        loss, norm = _one_step(stepper, recorder, weights)
        for recorded, now in ((recorder.loss, loss), (recorder.norm, norm)):
            tolerance = SAME * np.max(np.abs(recorded[: recorder.done]))
            if np.any(np.abs(recorded[step] - now) > tolerance):
                raise ValueError(
                    f"{recorder.checkpoint_file} is a checkpoint of another run: its loss or gradient at step {step} "
                    f"is {recorded[step]:.6g}, here it is {now:.6g}; choose another file or delete it"
                )


def _one_step(
    stepper: steppers.Stepper, recorder: RunRecorder, weights: Weights
) -> tuple[FloatArray, FloatArray]:
    """Loss and gradient norm at these weights, as the stepper evaluates them before a step."""
    # Infinite where the step is not finished, because its loss is not finite.
    loss = np.full_like(recorder.loss[:1], np.inf)
    norm = np.full_like(recorder.norm[:1], np.inf)
    no_steps = np.array([], np.intp)
    no_weights = {name: value[:0] for name, value in recorder.stored.items()}
    buffer = steppers.StepBuffer(loss, norm, no_steps, no_weights)
    with np.errstate(over="ignore", invalid="ignore"):
        stepper.advance(weights, buffer)
    return loss[0], norm[0]
