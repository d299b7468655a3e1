"""Flows of softmax heads as results: arrays over flow time that are stored, read, drawn and summarised alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_shape, finite_array
from ...runtime.display import Displayed, array_summary, change
from ...runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ...runtime.line_charts import Line, LineChart
from ...runtime.time_axis import draw_prediction
from ..ode import flow_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SERIES = ("flow_time", "omega", "mu", "loss")
_WITHOUT_STEPS = (
    "a {name} knows no learning rate, so no steps: "
    "draw the run with run.plot(x='flow_time'), or use overlay"
)


@dataclass(frozen=True, eq=False, repr=False)
class HeadFlow(Displayed):
    """ω and μ (T, H, …) of softmax heads along a flow at `flow_time` (T,), in the order asked for, and `loss` (T,)."""

    flow_time: FloatArray
    omega: FloatArray
    mu: FloatArray
    loss: FloatArray

    NAME: ClassVar[str] = "flow of softmax heads"
    """What it is, for errors."""
    HEADS: ClassVar[str] = "(T, H)"
    """The shape of ω and μ."""
    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """Names of what a file holds beside the series."""

    @property
    def source(self) -> str:
        """What the curve is, for legends and overlays."""
        return self.NAME

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists."""
        return {name: getattr(self, name).tolist() for name in _SERIES}

    def save(self, path: AnyPath) -> Path:
        """Write the flow to an npz file, atomically; `load` of its class reads it. OSError if it cannot be written."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _SERIES}
        settings = self._stored_settings()
        return write_atomically(path, lambda file: np.savez(file, **arrays, **settings))

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """The flow that `save` wrote; ValueError if the file is damaged or something else, OSError if it is missing."""
        arrays = read_arrays(path)
        expected = (*_SERIES, *cls.SETTINGS)
        missing = [name for name in expected if name not in arrays]
        if missing:
            raise ValueError(
                f"{as_path(path)} is no {cls.NAME}: {', '.join(missing)} missing"
            )
        series = _checked_series(arrays, cls.HEADS)
        return cls(**series, **cls._read_settings(path, arrays))

    def _stored_settings(self) -> dict[str, Any]:
        """The arrays named in SETTINGS."""
        return {}

    @classmethod
    def _read_settings(
        cls, path: AnyPath, arrays: dict[str, NDArray[Any]]
    ) -> dict[str, Any]:
        """What the arrays of the file beside the series say, as arguments of the class; ValueError for others."""
        return {}

    def _rows(self) -> dict[str, str]:
        """Rows of a summary: the loss at the first and the last time, and the heads at the last."""
        by_time = np.argsort(self.flow_time, kind="stable")
        first, last = by_time[0], by_time[-1]
        return {
            "flow time": array_summary(self.flow_time),
            "loss": f"{self.loss[first]:.6g} → {self.loss[last]:.6g}",
            "ω at the end": array_summary(self.omega[last]),
            "μ at the end": array_summary(self.mu[last]),
        }

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

        `label` and `style` go to the line. ValueError for `x` other than "flow_time", and on axes that count steps.
        """
        return draw_prediction(
            ax,
            self.flow_time,
            self.loss,
            label=f"theory ({self.source})" if label is None else label,
            style=style,
            x=x,
            without=_WITHOUT_STEPS.format(name=self.NAME),
        )


def _checked_series(
    arrays: dict[str, NDArray[Any]], heads: str
) -> dict[str, FloatArray]:
    """The series of a file; ValueError unless they are finite and their shapes belong together."""
    series = {name: finite_array(arrays[name], name) for name in _SERIES}
    check_shape(series["flow_time"], "flow_time", "(T,)")
    T = len(series["flow_time"])
    if T == 0 or np.any(series["flow_time"] < 0):
        raise ValueError("flow_time must have times, and none below 0")
    check_shape(series["loss"], "loss", "(T,)", T=T)
    check_shape(series["omega"], "omega", heads, T=T)
    sizes = dict(zip(heads.strip("()").split(", "), series["omega"].shape, strict=True))
    check_shape(series["mu"], "mu", heads, **sizes)
    return series


def times_of_flow(values: ArrayLike) -> FloatArray:
    """Flow times (T,), in any order and with repetitions; ValueError for negative ones, nan, and none at all."""
    times = flow_times(values)
    if len(times) == 0:
        raise ValueError("flow_time must have at least one time")
    return times
