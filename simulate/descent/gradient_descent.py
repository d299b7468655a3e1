"""Training on anything that gives a loss and a gradient: full batches, minibatches or fresh prompts."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number, refuse_wrong_order, whole_number
from ...runtime.files import AnyPath
from ...runtime.machine import one_thread, refuse_too_large
from ...runtime.progress import with_progress
from ...runtime.signals import ended_by_sigterm
from ...task import Task
from ..attention.initialisation import checked_start, model_name, own_heads
from ..attention.model_check import refuse_unfit_on_the_way
from ..attention.objectives import (
    Objective,
    StepObjective,
    batch_objective,
    objective,
)
from ..data.batches import Batches, BatchesInOrder, FreshPrompts, Minibatches
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory
from . import steppers
from .earlier_parts import ANEW, Choices, refuse_foreign
from .frozen import Frozen, frozen_masks, frozen_settings
from .optimizers import OWN, norm_of
from .options import DescentOptions
from .recorder import RunRecorder, described, described_source
from .schedules import Rate
from .steppers import OptimizerSteps

SAME = 1e-7
"""Part of its largest value that a loss or a gradient may be off if another machine or engine evaluates it."""


class Diverged(ArithmeticError):
    """A run whose loss is no longer finite; `trajectory` is what it has up to there."""

    def __init__(self, trajectory: Trajectory, step: int) -> None:
        self.trajectory = trajectory
        self.step = step
        what, way_out = "loss is", _smaller_steps(trajectory)
        # The first update of an optimizer may be infinite where the loss is not.
        if trajectory.state is not None:
            what = "loss or the update is"
        if not step:
            smaller = "smaller weights, or data of smaller numbers"
            way_out = smaller if what == "loss is" else f"{smaller}, or {way_out}"
        super().__init__(
            f"the run diverged: the {what} not finite at step {step}; choose {way_out}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # So that a worker process can raise it.
        return Diverged, (self.trajectory, self.step)


def _smaller_steps(run: Trajectory) -> str:
    """What to choose instead, so that a run does not diverge after its first step."""
    optimizer = run.optimizer or {"name": "gradient_descent"}
    if optimizer["name"] == OWN:
        return "an optimizer of smaller updates"
    if run.learning_rate is not None:
        way_out = f"a learning rate smaller than {run.learning_rate:g}"
    else:
        # Clipping is undone: it is the schedule that must change.
        way_out = "smaller learning rates"
        if run.learning_rates is not None and len(run.learning_rates):
            last = len(run.learning_rates) - 1
            way_out += f" (that of step {last} was {run.learning_rates[last]:.3g})"
    if optimizer.get("momentum"):
        way_out += f", or a momentum below {optimizer['momentum']:g}"
    if optimizer["name"] == "adam" and optimizer.get("weight_decay"):
        way_out += f", or a weight decay below {optimizer['weight_decay']:g}"
    return way_out


# Long because it is the list of what a run is made of, each checked before the next is asked for.
def train(
    model: Parametrization,
    source: Data | Statistics | Task | BatchesInOrder,
    start: Mapping[str, ArrayLike] | Trajectory,
    *,
    steps: int,
    learning_rate: Rate | None = None,
    optimizer: object = None,
    batch: int | None = None,
    seed: int | None = None,
    frozen: Frozen = (),
    record: int | Sequence[int] | None = None,
    checkpoint: AnyPath | None = None,
    compiled: bool = True,
) -> Trajectory:
    """Train a model from the weights `start`, or go on with a run, until `steps` steps are taken in all.

    `source`: statistics or data (token by token) for full batches; data with `batch` for so many prompts a step,
    reshuffled every epoch; a task with `batch` for fresh prompts in every step; `BatchesInOrder` for those of a
    recorded run. `seed` (0 if left out) draws the batches, each from the seed and its step.

    Exactly one of `learning_rate` (a number, or a function of the step such as `Schedule`; gradient descent) and
    `optimizer`: `GradientDescent`, `Adam`, an object with init and update as optax has them, or a function
    (gradients, weights, step) → updates, which are added. `frozen` are names of weights that stay as they are, or
    {name: boolean mask}.

    `steps` losses are recorded, each before its step; the last weights come after the last step. `record` limits
    the stored weights: every so many steps, or at the named ones (first and last always); about 500 if left out.
    With `checkpoint` the run writes that file now and then, at its end, and when Ctrl-C or SIGTERM ends it, and goes
    on from it if it is there, also to more steps than before. With a run as `start` what is left out is as in that
    run; what is given must agree with it, and an optimizer of your own must be given.

    Constant-rate descent of the built-in models on statistics runs in machine code, which takes time to load;
    `compiled=False` is the plain path, which gives the same to rounding.
    Raises Diverged, holding the run so far, when the loss is no longer finite; ValueError on bad input.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import Adam, sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> data = sample(task, sequences=50)
    >>> start = initial_weights(model, task, scale=0.1)
    >>> run = train(model, statistics(data, model), start, learning_rate=0.01, steps=20)
    >>> run.loss.shape, run.flow_time[-1]
    ((20,), np.float64(0.38))
    >>> run = train(model, data, start, optimizer=Adam(0.01), batch=10, steps=20)
    >>> more = train(model, data, run, steps=40)
    >>> more.optimizer, len(more.loss)
    ({'name': 'adam', 'learning_rate': 0.01}, 40)
    """
    _refuse_swapped(model, source)
    choices = Choices(learning_rate, optimizer, batch, seed, frozen)
    earlier = None
    if isinstance(start, Trajectory):
        refuse_foreign(start)
        choices = choices.completed_by(start)
        earlier, start = start, start.initial
    options = DescentOptions(
        choices.learning_rate, steps, record, checkpoint, choices.optimizer
    )
    batches = _batches(source, choices.batch, choices.seed)
    if isinstance(source, BatchesInOrder) and source.steps < options.steps:
        raise ValueError(
            f"there are batches for {source.steps} steps, and none for more: steps must be at most that, "
            f"not {options.steps}"
        )
    begin = checked_start(model, source, start)
    masks = frozen_masks(choices.frozen, begin)
    settings = {
        "model": model_name(model),
        **described_source(source),
        **own_heads(model, begin),
        **_settings_of_batches(choices),
    }
    if masks:
        settings["frozen"] = frozen_settings(masks)

    plain_rate = None if masks or batches is not None else options.plain_rate
    stepper = None
    if compiled and plain_rate is not None:
        stepper = steppers.compiled_stepper(model, source, plain_rate)
    recorder = RunRecorder(
        begin, options, settings, keeps_state=plain_rate is None, earlier=earlier
    )
    if stepper is None and plain_rate is not None:
        stepper = steppers.plain_stepper(_full_batch(model, source), plain_rate)
    if stepper is None:
        evaluate = _step_objective(model, source, batches)
        stepper = OptimizerSteps(evaluate, options.rule_of_steps, masks).stepper()
    run = _follow(stepper, recorder)
    refuse_unfit_on_the_way(model, run.weights, source.dimension)
    return run


def _refuse_swapped(
    model: object, source: object, call: str = "train(model, source, start)"
) -> None:
    """TypeError, with the right call, for a model and a source in the other's place."""
    in_order = isinstance(model, Parametrization) and hasattr(source, "dimension")
    refuse_wrong_order(call, in_order, model, source)


def _batches(
    source: Data | Statistics | Task | BatchesInOrder,
    batch: int | None,
    seed: int | None,
) -> Batches | None:
    """The batches of a run, None for full ones; ValueError where the source has none of these."""
    if isinstance(source, BatchesInOrder):
        if batch is not None or seed is not None:
            raise ValueError(
                "batches in order have a size and no seed: leave batch and seed out"
            )
        return source
    if batch is None:
        if isinstance(source, Task):
            raise ValueError(
                "a task has no end of prompts: say batch=, or sample(task, P)"
            )
        if seed is not None:
            raise ValueError(
                "seed draws the batches of a run, and there are none: say batch=, or leave seed out"
            )
        return None
    size = whole_number(batch, "batch")
    seed = whole_number(0 if seed is None else seed, "seed", least=0)
    if isinstance(source, Statistics):
        raise ValueError(
            "statistics hold all prompts at once: pass the data for minibatches"
        )
    _refuse_large_batch(source, size)
    if isinstance(source, Task):
        return FreshPrompts(source, size, seed)
    return Minibatches(source, size, seed)


def _refuse_large_batch(source: Data | Task, batch: int) -> None:
    """MemoryError if the tokens of a batch, with the random numbers that they are made of, do not fit."""
    columns = source.dimension + source.outputs
    # Beyond the largest double a number of prompts is as much too large.
    tokens = min(batch, 1e30) * (max(source.context_lengths) + 1) * columns
    copies = 3  # random numbers, x, and tokens
    what = f"a batch of {batch} prompts"
    refuse_too_large(what, 8 * copies * tokens, "choose a smaller one")


def _settings_of_batches(choices: Choices) -> dict[str, int]:
    """What a run says of its batches."""
    if choices.batch is None:
        return {}
    return {"batch": int(choices.batch), "seed": int(choices.seed or 0)}


def _full_batch(
    model: Parametrization, source: Data | Statistics | Task | BatchesInOrder
) -> Objective:
    """The objective on all prompts of a source."""
    assert not isinstance(source, Task | BatchesInOrder), "they come with batches"
    return objective(model, source)


def _step_objective(
    model: Parametrization,
    source: Data | Statistics | Task | BatchesInOrder,
    batches: Batches | None,
) -> StepObjective:
    """The objective of each step: on its batch, or on all prompts."""
    if batches is not None:
        return batch_objective(model, batches)
    evaluate = _full_batch(model, source)
    return lambda weights, step: evaluate(weights)


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
    _refuse_swapped(model, source, "train_many(model, source, starts)")
    if not starts:
        raise ValueError("starts must hold the weights of at least one start, not none")
    begins = [checked_start(model, source, start) for start in starts]
    rate = positive_number(learning_rate, "learning_rate")
    options = DescentOptions(rate, steps, record)
    stepper = steppers.compiled_batch_stepper(model, source, rate, len(begins))
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

    settings = {"model": model_name(model), **described_source(source)}
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
    """Training on any objective, θ ← θ − η ∂L/∂θ unless the options say otherwise; `train` explains the arguments."""
    if options.plain_rate is not None:
        stepper = steppers.plain_stepper(evaluate, options.plain_rate)
        return _follow(stepper, RunRecorder(start, options, settings))
    steps = OptimizerSteps(
        lambda weights, _: evaluate(weights), options.rule_of_steps, {}
    )
    return _follow(
        steps.stepper(), RunRecorder(start, options, settings, keeps_state=True)
    )


def _follow(stepper: steppers.Stepper, recorder: RunRecorder) -> Trajectory:
    """Take all steps, or those that are left after a checkpoint; Diverged if a loss is not finite."""
    _refuse_other_run(stepper, recorder)
    firsts = range(recorder.done, recorder.options.steps, stepper.step_count)
    # Small products are faster on one thread than on threads that wait for each other.
    threads = one_thread() if stepper.small else nullcontext()
    file = recorder.checkpoint_file
    # Without a file nothing would be kept, and SIGTERM does what it always does.
    line = f"the run was terminated: what it has is in {file}, from which it goes on"
    terminable = nullcontext() if file is None else ended_by_sigterm(lambda: line)
    with terminable:
        try:
            with threads, np.errstate(over="ignore", invalid="ignore"):
                for _ in with_progress(firsts, len(firsts), "gradient descent"):
                    buffer = recorder.buffer(stepper.step_count)
                    position = stepper.advance(recorder.position, buffer)
                    taken = position.step - recorder.done
                    recorder.advance(position)
                    if taken < len(buffer.loss):
                        raise Diverged(recorder.trajectory(), recorder.done)
            recorder.last_checkpoint()
        except KeyboardInterrupt:
            recorder.checkpoint()
            raise
    return recorder.trajectory()


def _refuse_other_run(stepper: steppers.Stepper, recorder: RunRecorder) -> None:
    """ValueError if the run goes on from a part whose losses, gradients or last step are not those of this stepper.

    Neither its name nor its heads tell what a model of the user's own divides by: losses at the stored weights do.
    """
    path = recorder.checkpoint_file
    label = "the run cannot go on here"
    if path is not None:
        label = f"{path} is a checkpoint of another run"
    for position in recorder.witnesses():
        step = position.step
        loss, norm = _losses_at(stepper, recorder, position)
        for recorded, now in ((recorder.loss, loss), (recorder.norm, norm)):
            tolerance = SAME * np.max(np.abs(recorded[: recorder.done]))
            if np.any(np.abs(recorded[step] - now) > tolerance):
                raise ValueError(
                    f"{label}: its loss or gradient at step {step} is {recorded[step]:.6g}, here it is {now:.6g}; "
                    f"{_instead(path)}"
                )
    _refuse_other_step(stepper, recorder)


def _refuse_other_step(stepper: steppers.Stepper, recorder: RunRecorder) -> None:
    """ValueError if an optimizer of the user's own does not repeat the last step of the part that a run goes on from.

    Nothing but that tells it from another one, and shows what it keeps besides its state.
    """
    before = recorder.before_last
    if before is None or stepper.repeat is None:
        return
    refusal = ValueError(
        f"the optimizer does not repeat step {before.step} of the run that it would go on with: it is another one, or "
        f"keeps something besides its state; {_instead(recorder.checkpoint_file)}"
    )
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            again = stepper.repeat(before)
    # A state of another optimizer may make it raise anything.
    except Exception as error:
        raise refusal from error
    if again is None:
        raise refusal
    for name, value in recorder.position.weights.items():
        tolerance = SAME * np.max(np.abs(value - before.weights[name]))
        if np.any(np.abs(again.weights[name] - value) > tolerance):
            raise refusal


def _instead(path: Path | None) -> str:
    """What to do with a part that is of another run."""
    return ANEW if path is None else "choose another file or delete it"


def _losses_at(
    stepper: steppers.Stepper, recorder: RunRecorder, position: steppers.Position
) -> tuple[FloatArray, FloatArray]:
    """Loss and gradient norm at a position, as the stepper evaluates them before a step."""
    with np.errstate(over="ignore", invalid="ignore"):
        if stepper.look is not None:
            loss_there, gradients = stepper.look(position.weights, position.step)
            return np.float64(loss_there), np.float64(norm_of(gradients))  # type: ignore[return-value]
        # Infinite where the step is not finished, because its loss is not finite.
        loss = np.full_like(recorder.loss[:1], np.inf)
        norm = np.full_like(recorder.norm[:1], np.inf)
        no_steps = np.array([], np.intp)
        no_weights = {name: value[:0] for name, value in recorder.stored.items()}
        buffer = steppers.StepBuffer(loss, norm, no_steps, no_weights)
        stepper.advance(position, buffer)
    return loss[0], norm[0]
