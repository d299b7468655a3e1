"""What a predicted curve was computed with, beside what a run was trained with: both must mean the same loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..models.attention import Merged
from ..models.built_in import BuiltIn
from ..models.divisors import score_divisor
from ..models.stated_models import Difference, model_differences, stated_model
from ..runtime.arrays import FloatArray
from ..simulate import Trajectory
from ..task import Task
from ..teachers import law_identity
from ..theory import TimeCourse
from ..theory.softmax_attention import ReducedFlow
from .error_curves import ErrorCurve
from .loss_curves import LossCurve
from .runs_on_new_tasks import EXACT_TEST_ERROR

# Numbers of a task are written once in doubles and once as fractions: they agree to rounding.
_ROUNDING = 1e-9
# A curve from the run's own first weights has their ω to rounding, also of float32.
_SAME_START = 1e-4


def notes_on_conventions(curve: LossCurve, run: Trajectory) -> tuple[str, ...]:
    """What cannot be compared, in a sentence or none; ValueError where curve and run were made with other conventions.

    Compared are the task (D, N, noise and all else), and of the model its kind, softmax, the number of heads, whether
    the query's own token is among the keys, and the divisors; of a reduced flow the metric, which the model decides;
    and weight decay. Of an `ErrorCurve` the task is that which it is tested on, as of a run by `error_along_run`.

    >>> from attndyn import Merged
    >>> from attndyn.simulate import initial_weights, sample, train
    >>> from attndyn.theory import time_course
    >>> task, model = Task([2, 1], context_length=9), Merged(2)
    >>> run = train(model, sample(task, 20), initial_weights(model, task, 0.1), learning_rate=0.1, steps=3)
    >>> other = time_course(Task([2, 1], context_length=10), model, run.flow_time, 0.1)
    >>> notes_on_conventions(other, run)
    Traceback (most recent call last):
    ValueError: the curve has context_length = 10 and the run context_length = 9: compute the curve with what the run \
was trained with
    """
    stated: Mapping[str, Any] = getattr(curve, "settings", None) or {}
    curve_task, run_task = stated_task_of(stated), stated_task_of(run.settings)
    run_model = stated_model(run.settings)
    differences: list[Difference] = []
    if curve_task is not None and run_task is not None:
        differences += task_differences(curve_task, run_task)
    if run_task is not None:
        differences += _dimension_differences(stated, run_task)
    if curve_task is not None and run_model is not None and not differences:
        differences += _model_differences(curve, stated, run_model, curve_task)
    differences += _decay_differences(stated, run)
    if differences:
        words = differences[0].in_words("the curve", "the run")
        raise ValueError(f"{words}: {_way_out(curve)}")
    if isinstance(curve, ErrorCurve):
        return _notes_on_errors(curve_task, run_task, run)
    notes = _not_compared(curve_task, run_task, run_model)
    if isinstance(curve, ReducedFlow) and isinstance(run_model, BuiltIn):
        notes += _notes_on_reduced_flow(curve, run, run_model)
    return notes


def _way_out(curve: LossCurve) -> str:
    """What to do where curve and run differ."""
    if isinstance(curve, ErrorCurve):
        return "test both on the same tasks, the run by error_along_run or readout_run"
    return "compute the curve with what the run was trained with"


def stated_task_of(settings: Mapping[str, Any]) -> Task | None:
    """The task that the settings of a run or of a curve state; None where they state none.

    >>> stated_task_of({"task": {"eigenvalues": [2, 1], "context_length": 9}})
    Task(eigenvalues=[2.0, 1.0], context_length=9)
    """
    stated = settings.get("task")
    if not isinstance(stated, dict):
        return None
    try:
        return Task.from_dict(stated)
    except (TypeError, ValueError):
        return None


def task_differences(first: Task, second: Task) -> tuple[Difference, ...]:
    """The settings in which two tasks differ, as numbers: however they were written.

    >>> task_differences(Task([0.4], context_length=9), Task(["2/5"], context_length=9))
    ()
    >>> task_differences(Task([2], context_length=9), Task([2], context_length=9, noise_variance=0.1))[0].name
    'noise_variance'
    """
    if first.dimension != second.dimension:
        return (Difference("dimension", first.dimension, second.dimension),)
    differences = []
    for name in _settings_of_tasks(first):
        values = [_settings_of_tasks(task)[name] for task in (first, second)]
        if not _is_same(*values):
            differences.append(Difference(name, *map(_in_short, values)))
    return tuple(differences)


def _settings_of_tasks(task: Task) -> dict[str, Any]:
    """What a task is, by name."""
    is_normal = task.has_normal_teachers
    one_length = len(task.context_lengths) == 1
    return {
        "context_length": task.context_lengths[0]
        if one_length
        else task.context_length,
        "noise_variance": task.noise_variance,
        "query_noise_variance": task.query_noise_variance,
        "covariance": task.covariance,
        "teachers": "normal" if is_normal else law_identity(task.teachers),
        "teacher_covariance": task.teacher_covariance if is_normal else None,
        "fixed_teacher": task.fixed_teacher if is_normal else None,
        "in_context_fraction": task.in_context_fraction if is_normal else None,
        "inputs": task.inputs.identity(task.dimension),
        "input_mean": task.input_mean,
    }


def _is_same(first: Any, second: Any) -> bool:
    """Whether two settings are equal, numbers up to rounding."""
    if first is None or second is None:
        return first is second
    if not isinstance(first, float | np.ndarray):
        return bool(first == second)
    if np.shape(first) != np.shape(second):
        return False
    size = max(float(np.max(np.abs(each), initial=0.0)) for each in (first, second))
    return bool(np.all(np.abs(np.asarray(first) - second) <= _ROUNDING * size))


def _in_short(value: Any) -> Any:
    """A setting in a message: a matrix by its diagonal where it is diagonal."""
    if not isinstance(value, np.ndarray):
        return value
    is_diagonal = value.ndim == 2 and not np.any(value - np.diag(np.diag(value)))
    numbers = np.diag(value) if is_diagonal else value
    return np.array2string(numbers, precision=4, separator=", ", threshold=20)


def _model_differences(
    curve: LossCurve, stated: Mapping[str, Any], model: BuiltIn, task: Task
) -> tuple[Difference, ...]:
    """The settings in which a curve of one of the wings differs from the model of a run."""
    if isinstance(curve, ReducedFlow):
        return _differences_of_reduced_flow(curve, stated, model, task)
    if not isinstance(curve, TimeCourse):
        return ()
    own = stated_model(stated)
    return () if own is None else model_differences(own, model, task.dimension)


# Long because it pairs every setting that both sides have.
def _differences_of_reduced_flow(
    curve: ReducedFlow, stated: Mapping[str, Any], model: BuiltIn, task: Task
) -> tuple[Difference, ...]:
    """The settings in which a reduced flow differs from the model of a run."""
    pairs: dict[str, tuple[object, object]] = {
        "softmax": (True, model.softmax),
        "heads": (curve.omega.shape[1], model.head_count),
    }
    if "query_token" in stated:
        pairs["query_token"] = (stated["query_token"], model.query_token)
    if isinstance(model, Merged):
        # ρ of gradient flow of the weights B: other models have none that is constant.
        s = score_divisor(model, task.dimension)
        ρ = 1 / (task.dimension * s**2)
        if abs(curve.metric - ρ) > _ROUNDING * ρ:
            pairs["metric"] = (f"{curve.metric:.6g}", f"{ρ:.6g}")
    return tuple(
        Difference(name, *values)
        for name, values in pairs.items()
        if values[0] != values[1]
    )


def _dimension_differences(
    stated: Mapping[str, Any], task: Task
) -> tuple[Difference, ...]:
    """The dimension of a curve of the limit D → ∞, whose times it decides, where it is not that of the run's task."""
    own = stated.get("dimension", task.dimension)
    if own == task.dimension:
        return ()
    return (Difference("dimension", own, task.dimension),)


def _notes_on_errors(
    curve_task: Task | None, run_task: Task | None, run: Trajectory
) -> tuple[str, ...]:
    """What is not known to be the same error: the tasks that it is on, and whether the run's loss is one at all."""
    notes = []
    if curve_task is None:
        notes.append("the curve does not state its task, which was not compared")
    elif run_task is None:
        notes.append("the run does not state its task, which was not compared")
    if run.settings.get("loss") != EXACT_TEST_ERROR:
        notes.append(
            "the loss of the run is that on what it was trained on, which on drawn data is no error on new prompts: "
            "error_along_run has that"
        )
    return tuple(notes)


def _decay_differences(
    stated: Mapping[str, Any], run: Trajectory
) -> tuple[Difference, ...]:
    """The weight decay of curve and run where both are known and differ."""
    if run.optimizer is None or "task" not in stated:
        return ()
    ours = float(stated.get("weight_decay", 0.0))
    theirs = float(run.optimizer.get("weight_decay") or 0.0)
    return () if ours == theirs else (Difference("weight_decay", ours, theirs),)


def _not_compared(
    curve_task: Task | None, run_task: Task | None, run_model: BuiltIn | None
) -> tuple[str, ...]:
    """One sentence on what one of the two does not state; nothing where it is all known."""
    if curve_task is None:
        return ("the curve does not state its task and model, which were not compared",)
    unknown = [
        name
        for name, known in (("task", run_task), ("model", run_model))
        if known is None
    ]
    if not unknown:
        return ()
    were = "was" if len(unknown) == 1 else "were"
    what = " and ".join(unknown)
    return (f"the run does not state its {what}, which {were} not compared",)


def _notes_on_reduced_flow(
    curve: ReducedFlow, run: Trajectory, model: BuiltIn
) -> tuple[str, ...]:
    """What a reduced flow leaves out of a run of softmax heads, where it is of other heads than that run."""
    if not isinstance(model, Merged):
        return (
            "a reduced flow is of merged key and query: of separate ones the speed of ω changes with their size",
        )
    first = int(np.argmin(curve.flow_time))
    if not run.weights or curve.flow_time[first] != run.weight_flow_time[0]:
        return ()
    ω = _first_omega(run, model)
    size = float(np.max(np.abs(ω)))
    if np.max(np.abs(ω - curve.omega[first])) <= _SAME_START * size:
        return ()
    starts = [
        np.array2string(each, precision=4, separator=", ")
        for each in (curve.omega[first], ω)
    ]
    return (f"the curve starts at ω = {starts[0]} and the run at ω = {starts[1]}",)


def _first_omega(run: Trajectory, model: Merged) -> FloatArray:
    """ω (H,) of the first stored weights, without a check that these are in the symmetric family."""
    _, B = model.heads(run.initial)
    D = B.shape[-1]
    return np.asarray(np.einsum("hdd->h", B[:, :D]) / (D * score_divisor(model, D)))
