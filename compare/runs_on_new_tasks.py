"""Runs whose loss is the exact test error on a law of tasks, instead of the loss that they were trained on."""

from typing import Any

from numpy.typing import ArrayLike

from ..models.built_in import BuiltIn
from ..models.protocol import Parametrization
from ..models.stated_models import model_differences, stated_model
from ..runtime.checks import finite_array, refuse_wrong_order
from ..simulate import Trajectory, evaluate, exact_risk
from ..task import Task, stated_task
from ..theory.ode import flow_times
from .exact_statistics import population_statistics

EXACT_TEST_ERROR = "exact test error"
"""What the setting "loss" says of these runs."""


def error_along_run(model: Parametrization, run: Trajectory, task: Task) -> Trajectory:
    """The run at its stored weights, with the exact error on a task in place of the loss that it was trained on.

    On the pool of the training tasks that is the in-distribution error, on the law of new tasks the in-context error.
    `model` is that of the run: linear attention, with all of its weights. The result is in flow time, and its settings
    hold the task that was trained on as "trained_on". ValueError for softmax, for a run without stored weights or
    without a flow time, for another model than a run states, for other weights than the model's, and for a task whose
    moments are not known.

    >>> from attndyn import Merged
    >>> from attndyn.simulate import initial_weights, sample, train
    >>> from attndyn.teachers import Sphere
    >>> inputs = {"eigenvalues": [1 / 4] * 4, "context_length": 16, "noise_variance": 0.1}
    >>> task, model = Task(teachers=Sphere(4).pool(2, seed=0), **inputs), Merged(heads=1)
    >>> start = initial_weights(model, task, scale=0.1)
    >>> run = train(model, sample(task, sequences=400), start, learning_rate=0.5, steps=100, record=50)
    >>> new = error_along_run(model, run, Task(teachers=Sphere(4), **inputs))
    >>> new.loss.shape, bool(new.loss[-1] > error_along_run(model, run, task).loss[-1])
    ((3,), True)
    """
    in_order = (
        isinstance(model, Parametrization)
        and isinstance(run, Trajectory)
        and isinstance(task, Task)
    )
    refuse_wrong_order("error_along_run(model, run, task)", in_order, model, run, task)
    _refuse_other_model(model, run, task.dimension)
    # All features: trained on finite data, weights leave the restricted block.
    statistics = population_statistics(task, model, block="full")
    times = run.weight_flow_time
    # In flow time there is no learning rate left.
    settings = {k: v for k, v in run.settings.items() if k != "learning_rate"}
    if "task" in settings:
        settings.setdefault("trained_on", settings["task"])
    return _tested(times, evaluate(model, statistics, run), run.weights, task, settings)


def _refuse_other_model(
    model: Parametrization, run: Trajectory, dimension: int
) -> None:
    """ValueError where the run states a model that reads the same weights in another way."""
    stated = stated_model(run.settings)
    if stated is None or not isinstance(model, BuiltIn):
        return
    differences = model_differences(model, stated, dimension)
    if differences:
        words = differences[0].in_words("the model", "the run")
        raise ValueError(f"{words}: pass the model that was trained")


def readout_run(flow_time: ArrayLike, M: ArrayLike, task: Task) -> Trajectory:
    """Maps M (T, D, D), or (T, D+1, D) with the label row, at flow times (T,) as a run whose loss is their error.

    The maps are those of `simulate.readout_flow`, or of a run of your own; the error is exact, on fresh prompts of
    `task`. ValueError for shapes that do not fit, for times that do not increase, and as `exact_risk`.

    >>> from attndyn.simulate import readout_flow, sample
    >>> task = Task([1 / 4] * 4, context_length=16, noise_variance=0.1)
    >>> times = [0, 10, 100]
    >>> readout_run(times, readout_flow(sample(task, sequences=400), times), task).loss.shape
    (3,)
    """
    refuse_wrong_order(
        "readout_run(flow_time, M, task)", isinstance(task, Task), flow_time, M, task
    )
    times = flow_times(flow_time)
    D = task.dimension
    maps = finite_array(M, "M", "(T, D, D)", "(T, E, D)", T=len(times), D=D, E=D + 1)
    return _tested(times, exact_risk(task, maps), {"readout": maps}, task, {})


def _tested(
    times: Any, loss: Any, weights: Any, task: Task, settings: dict[str, Any]
) -> Trajectory:
    """The run in flow time; it states the task that it is tested on."""
    return Trajectory(
        time=times,
        loss=loss,
        gradient_norm=None,
        weight_time=times,
        weights=weights,
        learning_rate=None,
        settings=settings | {"task": stated_task(task), "loss": EXACT_TEST_ERROR},
        unit="flow_time",
    )
