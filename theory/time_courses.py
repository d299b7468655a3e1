"""Time courses: the predicted loss and coefficients of a run against flow time, of whatever model."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models.attention import Merged, Separate
from ..runtime.arrays import FloatArray
from ..runtime.checks import check_shape, finite_array
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNSTABLE_MODE = "unstable mode"
"""The source of a course from small merged weights."""

HEADS = "all heads"
"""The source of a course of separate weights under weight decay, or where no direction has a gain."""

MODES = "modes"
"""The source of a course of several outputs from amplitudes of their modes."""

LAYER = "whole layer"
"""The source of a course of several outputs from weights."""

WITHOUT_STEPS = (
    "a time course knows no learning rate, so no steps: "
    "draw the run with run.plot(x='flow_time'), or use overlay"
)
"""Why theory alone is not drawn against steps."""

_SERIES = ("flow_time", "loss", "amplitudes", "coefficients")

_EQUATIONS = {
    "closed form": r"L(t) = L(M^*) + \sum_d a_d \lambda_d (M_{dd}(t) - m_d)^2",
    "reduced ODE": r"\dot\kappa_r = v\, \kappa_r (b_r - a_r \lambda_r v \kappa_r^2)",
    UNSTABLE_MODE: r"\dot s = \langle G, U \rangle, \quad \dot U = s\, G",
    HEADS: r"\dot v = k^\top G q - \tfrac{wd}{2} v, \quad \dot k = v\, G q - \tfrac{wd}{2} k",
    "staircase": r"\dot v = k^\top G q, \quad \dot k = v\, G q, \quad \dot q = v\, G^\top k",
    MODES: r"\dot p = \ell\omega s^2 q - g\omega s^3 p q^2 - k(\omega s + \sigma^2) p\, T_q",
    LAYER: r"\dot p_{ij} = \langle G_{ij}, q \rangle, \quad \dot q = \textstyle\sum_{ij} p_{ij} G_{ij}",
}
"""What each source of a course solves."""


@dataclass(frozen=True, eq=False, repr=False)
class TimeCourse(Displayed):
    """Predicted loss and coefficients at given flow times.

    `flow_time` (T,) is 2·learning rate·steps. `loss` (T,), in units of y². `amplitudes` (T, ·): for separate heads
    v_d (from amplitudes, rank one) or κ_d of each direction, (T, D) by decreasing gain; for merged ones s and then
    u_d, (T, 1 + D). `coefficients` (T, D): e_dᵀ M e_d in the same order; where Λ and Ω do not commute the e_d are
    the eigenvectors of E x xᵀ, which is Λ for x of mean 0, by decreasing eigenvalue. Where Λ or Ω is singular only
    the directions that have a gain are given, or those on which x varies where Λ and Ω do not commute.

    With K > 1 `outputs` amplitudes are p and then q of the modes (T, 2D), or their entries (T, K² + D²) from weights;
    coefficients are p q of the modes (T, D), or p_ii q_dd (T, KD) where the outputs share no basis with the inputs.

    `source` says what the curve is: "closed form", "reduced ODE", "unstable mode" (exact as the initial weights
    shrink), "staircase" (the flow of all heads, to about 1e-5 in its exit times) or "all heads" (that flow
    integrated, under weight decay or without any gain); of several outputs "modes" or "whole layer". `loss` is that
    without the decay's |θ|². `settings` hold the "task", as far as a file can, the "model" and the "weight_decay", so
    that a run of other ones is told apart.
    """

    flow_time: FloatArray
    loss: FloatArray
    amplitudes: FloatArray
    coefficients: FloatArray
    source: str
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and the source."""
        arrays = {name: getattr(self, name).tolist() for name in _SERIES}
        return arrays | {"source": self.source}

    def save(self, path: AnyPath) -> Path:
        """Write the course to an npz file, atomically; `TimeCourse.load` reads it. OSError if it cannot be written."""
        arrays = {name: getattr(self, name) for name in _SERIES}
        texts: dict[str, Any] = {
            "source": np.array(self.source),
            "settings": np.array(json.dumps(self.settings)),
        }
        return write_atomically(path, lambda file: np.savez(file, **texts, **arrays))

    @classmethod
    def load(cls, path: AnyPath) -> "TimeCourse":
        """The course that `save` wrote; ValueError if the file is damaged or something else, OSError if it is missing.

        >>> import tempfile
        >>> from attndyn import Separate, Task
        >>> from attndyn.theory import time_course
        >>> course = time_course(Task([2, 1], context_length=9), Separate(2), [0.0, 1.0], start=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     TimeCourse.load(course.save(f"{folder}/course.npz")).source
        'closed form'
        """
        arrays = read_arrays(path)
        missing = [name for name in (*_SERIES, "source") if name not in arrays]
        if missing:
            raise ValueError(
                f"{as_path(path)} is no time course: {', '.join(missing)} missing"
            )
        count = len(arrays["flow_time"])
        series = {name: finite_array(arrays[name], name) for name in _SERIES}
        check_shape(series["flow_time"], "flow_time", "(T,)")
        check_shape(series["loss"], "loss", "(T,)", T=count)
        check_shape(series["amplitudes"], "amplitudes", "(T, K)", T=count)
        check_shape(series["coefficients"], "coefficients", "(T, D)", T=count)
        return cls(
            **series,
            source=str(arrays["source"]),
            settings=settings_of_file(path, arrays),
        )

    def summary(self) -> Summary:
        """What the curve is and where it goes, on one screen."""
        by_time = np.argsort(self.flow_time, kind="stable")
        first = self.loss[by_time[0]]
        last = self.loss[by_time[-1]]
        rows = {
            "flow time": array_summary(self.flow_time),
            "loss": f"{first:.6g} → {last:.6g}",
            "coefficients at the end": array_summary(self.coefficients[by_time[-1]]),
            "amplitudes": array_summary(self.amplitudes),
        }
        formulas = (
            {"equation": _EQUATIONS[self.source]} if self.source in _EQUATIONS else {}
        )
        return Summary(f"Time course ({self.source})", rows, formulas)

    def chart(self) -> LineChart:
        """The loss, dashed, against flow time."""
        line = Line(self.flow_time, self.loss, style="dashed")
        order = np.argsort(self.flow_time, kind="stable")
        return LineChart((line,), "flow time", "loss", change(self.loss[order]))

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        **style: Any,
    ) -> "Axes":
        """Draw the loss, dashed, against flow time on `ax` (new axes if None); returns the matplotlib axes.

        `label` (the source if left out) and `style` go to the line. ValueError for `x` other than "flow_time", and
        on axes that count steps.
        """
        return draw_prediction(
            ax,
            self.flow_time,
            self.loss,
            label=f"theory ({self.source})" if label is None else label,
            style=style,
            x=x,
            without=WITHOUT_STEPS,
        )


def stated_settings(
    task: Task, model: Merged | Separate, weight_decay: float
) -> dict[str, Any]:
    """The settings of a course: task, model and decay as plain numbers and names."""
    stated = {"model": type(model).__name__.lower(), **model.to_dict()}
    return {"task": stated_task(task), "model": stated, "weight_decay": weight_decay}
