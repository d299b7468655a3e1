"""Predicted errors on new or on training tasks against flow time, as an overlay takes them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.checks import check_choice, check_shape, finite_array, whole_number
from ..runtime.display import Displayed, Summary, array_summary, change
from ..runtime.files import (
    AnyPath,
    as_path,
    read_arrays,
    settings_of_file,
    write_atomically,
)
from ..runtime.line_charts import Line, LineChart
from ..runtime.time_axis import draw_prediction
from ..task import Task, stated_task
from ..theory.asymptotics import LearningCurve, TaskLearningCurve
from .training_errors import TrainingErrors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TASKS = ("new tasks", "training tasks")
_SERIES = ("flow_time", "loss")
_WITHOUT_STEPS = "an error curve knows no learning rate, so no steps: draw the run with run.plot(x='flow_time')"


@dataclass(frozen=True, eq=False, repr=False)
class ErrorCurve(Displayed):
    """A predicted error `loss` (T,) against `flow_time` (T,), in units of y²; `tasks` says which tasks it is tested on.

    `source` says what predicts it. `settings` hold the "task" that it is tested on, as far as a file can, or in the
    limit D → ∞ the "dimension" of the run.
    """

    flow_time: FloatArray
    loss: FloatArray
    tasks: str
    source: str
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and what they are."""
        arrays = {name: getattr(self, name).tolist() for name in _SERIES}
        return arrays | {"tasks": self.tasks, "source": self.source}

    def save(self, path: AnyPath) -> Path:
        """Write the curve to an npz file, atomically; `ErrorCurve.load` reads it. OSError if it cannot be written."""
        arrays = {name: getattr(self, name) for name in _SERIES}
        texts: dict[str, Any] = {
            "tested_on": np.array(self.tasks),
            "source": np.array(self.source),
            "settings": np.array(json.dumps(self.settings)),
        }
        return write_atomically(path, lambda file: np.savez(file, **texts, **arrays))

    @classmethod
    def load(cls, path: AnyPath) -> "ErrorCurve":
        """The curve that `save` wrote; ValueError if the file is damaged or another one, OSError if it is missing."""
        arrays = read_arrays(path)
        missing = [
            name for name in (*_SERIES, "tested_on", "source") if name not in arrays
        ]
        if missing:
            raise ValueError(
                f"{as_path(path)} is no error curve: {', '.join(missing)} missing"
            )
        series = {name: finite_array(arrays[name], name) for name in _SERIES}
        check_shape(series["flow_time"], "flow_time", "(T,)")
        check_shape(series["loss"], "loss", "(T,)", T=len(series["flow_time"]))
        if np.any(series["flow_time"] < 0):
            raise ValueError("flow_time must have no times below 0")
        tasks = str(arrays["tested_on"])
        check_choice(tasks, "tested_on", TASKS)
        return cls(
            **series,
            tasks=tasks,
            source=str(arrays["source"]),
            settings=settings_of_file(path, arrays),
        )

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

    def chart(self) -> LineChart:
        """The error, dashed, against flow time."""
        line = Line(self.flow_time, self.loss, style="dashed")
        return LineChart((line,), "flow time", "error", change(self.loss, "error"))

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        **style: Any,
    ) -> "Axes":
        """Draw the error, dashed, against flow time on `ax` (new axes if None); returns the matplotlib axes.

        `label` and `style` go to the line. ValueError for `x` other than "flow_time", and on axes that count steps.
        """
        return draw_prediction(
            ax,
            self.flow_time,
            self.loss,
            label=f"{self.tasks} ({self.source})" if label is None else label,
            style=style,
            x=x,
            without=_WITHOUT_STEPS,
        )


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
