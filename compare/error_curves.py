"""Predicted errors on new or on training tasks against flow time, as an overlay takes them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import FloatArray
from ..runtime.checks import check_choice, check_shape, whole_number
from ..runtime.display import Summary, array_summary
from ..runtime.files import AnyPath, settings_of_file
from ..runtime.predicted_curves import PredictedCurve
from ..task import Task, stated_task
from ..theory.asymptotics import LearningCurve, TaskLearningCurve
from .training_errors import TrainingErrors

TASKS = ("new tasks", "training tasks")


@dataclass(frozen=True, eq=False, repr=False)
class ErrorCurve(PredictedCurve):
    """A predicted error `loss` (T,) against `flow_time` (T,), in units of y²; `tasks` says which tasks it is tested on.

    `source` says what predicts it. `settings` hold the "task" that it is tested on, as far as a file can, or in the
    limit D → ∞ the "dimension" of the run.
    """

    flow_time: FloatArray
    loss: FloatArray
    tasks: str
    source: str
    settings: dict[str, Any] = field(default_factory=dict)

    NAME: ClassVar[str] = "error curve"
    MEASURED: ClassVar[str] = "error"
    SHAPES: ClassVar[Mapping[str, str]] = {"flow_time": "(T,)", "loss": "(T,)"}
    SETTINGS: ClassVar[tuple[str, ...]] = ("tested_on", "source")

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and what they are."""
        return super().to_dict() | {"tasks": self.tasks, "source": self.source}

    @property
    def _label(self) -> str:
        return f"{self.tasks} ({self.source})"

    def _stored_settings(self) -> dict[str, Any]:
        texts = {"tested_on": self.tasks, "source": self.source}
        texts["settings"] = json.dumps(self.settings)
        return {name: np.array(text) for name, text in texts.items()}

    @classmethod
    def _read_settings(
        cls, path: AnyPath, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        tasks, source = (str(arrays[name]) for name in cls.SETTINGS)
        check_choice(tasks, "tested_on", TASKS)
        settings = settings_of_file(path, arrays)
        return {"tasks": tasks, "source": source, "settings": settings}

    def summary(self) -> Summary:
        """The first, the least and the last error on one screen."""
        by_time = np.argsort(self.flow_time, kind="stable")
        first, last = self.loss[by_time[0]], self.loss[by_time[-1]]
        rows = {
            "flow time": array_summary(self.flow_time),
            "tested on": self.tasks,
            "error": f"{first:.6g} → {last:.6g}, least {self.loss.min():.6g}",
        }
        return Summary(f"Predicted error: {self.source}", rows)


def error_curve(
    prediction: LearningCurve | TaskLearningCurve | TrainingErrors,
    tasks: str = "new tasks",
    *,
    dimension: int | None = None,
) -> ErrorCurve:
    """The predicted error on "new tasks" or on "training tasks" against flow time, for `overlay`.

    `prediction` is a `learning_curve`, which needs the `dimension` D of the run, since θ = t/D³; a
    `learning_curve_of_tasks`, whose test law is taken for the new tasks; or what `errors_along_training` returns.
    TypeError for anything else; ValueError for other tasks, for a learning curve whose times are no list (T,), or
    without a dimension, and for a dimension beside another prediction, which has one.

    >>> from attndyn.theory.asymptotics import learning_curve
    >>> curve = learning_curve([0, 1, 10], tau=2, alpha=2, kappa=0.5, noise=0.1)
    >>> error_curve(curve, dimension=10).flow_time
    array([    0.,  1000., 10000.])
    """
    check_choice(tasks, "tasks", TASKS)
    is_new = tasks == TASKS[0]
    if isinstance(prediction, LearningCurve):
        D = _dimension_of_limit(dimension)
        check_shape(
            np.asarray(prediction.icl), "the errors of the learning curve", "(T,)"
        )
        errors = prediction.icl if is_new else prediction.idg
        times = np.asarray(prediction.theta * float(D) ** 3)
        return ErrorCurve(times, errors, tasks, "limit D → ∞", {"dimension": D})
    if dimension is not None:
        raise ValueError(
            "dimension belongs to a learning curve of the limit D → ∞: leave it out, this prediction has its own"
        )
    if isinstance(prediction, TaskLearningCurve):
        loss = prediction.test_loss if is_new else prediction.train_loss
        tested = prediction.test_task if is_new else prediction.train_task
        source = "equivalent of these tasks"
        return ErrorCurve(prediction.flow_time, loss, tasks, source, _settings(tested))
    if isinstance(prediction, TrainingErrors):
        loss = prediction.icl if is_new else prediction.idg
        tested = prediction.new_tasks if is_new else prediction.task
        settings = _settings(tested)
        return ErrorCurve(prediction.flow_time, loss, tasks, "growing mode", settings)
    raise TypeError(
        "error_curve takes what learning_curve, learning_curve_of_tasks or errors_along_training returns, "
        f"not {type(prediction).__name__}"
    )


def _settings(task: Task | None) -> dict[str, Any]:
    """The task that a curve is tested on; nothing for several pools, and for a law that no file can hold."""
    stated = None if task is None else stated_task(task)
    return {} if stated is None else {"task": stated}


def _dimension_of_limit(dimension: int | None) -> int:
    """D; ValueError if it was left out."""
    if dimension is None:
        raise ValueError(
            "a learning curve of the limit D → ∞ has the time θ = t/D³: pass the dimension of the run"
        )
    return whole_number(dimension, "dimension")
