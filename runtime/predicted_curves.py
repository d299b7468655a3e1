"""Predictions as arrays over flow time: results that are stored, read and drawn alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray
from .checks import check_shape, finite_array
from .display import Displayed, change
from .files import AnyPath, as_path, read_arrays, write_atomically
from .line_charts import Line, LineChart
from .time_axis import draw_prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_WITHOUT_STEPS = (
    "this {name} knows no learning rate, so no steps: "
    "draw the run with run.plot(x='flow_time'), or use overlay"
)
"""Why theory alone is not drawn against steps."""


class PredictedCurve(Displayed):
    """A result with a predicted `loss` (T,) at `flow_time` (T,), in the order asked for, and a `source`.

    A class of such results says what it is by the class variables here, and what its files hold beside the series by
    `_stored_settings` and `_read_settings`.
    """

    NAME: ClassVar[str]
    """What it is, for errors."""
    MEASURED: ClassVar[str] = "loss"
    """What `loss` is, on the axis of a chart."""
    SHAPES: ClassVar[Mapping[str, str]]
    """Its series by name, with their shapes: a letter stands for the same number in all of them."""
    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """Names of what every file holds beside the series."""

    def to_dict(self) -> dict[str, Any]:
        """The series as lists."""
        return {name: values.tolist() for name, values in self._series().items()}

    def save(self, path: AnyPath) -> Path:
        """Write it to an npz file, atomically; `load` of its class reads it. OSError if it cannot be written."""
        arrays: dict[str, Any] = self._stored_settings() | self._series()
        return write_atomically(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: AnyPath) -> Self:
        """What `save` wrote; ValueError if the file is damaged or something else, OSError if it is missing."""
        arrays = read_arrays(path)
        expected = (*cls.SHAPES, *cls.SETTINGS)
        missing = [name for name in expected if name not in arrays]
        if missing:
            raise ValueError(
                f"{as_path(path)} is no {cls.NAME}: {', '.join(missing)} missing"
            )
        return cls(**cls._read_series(arrays), **cls._read_settings(path, arrays))

    def chart(self) -> LineChart:
        """The loss, dashed, against flow time."""
        series = self._series()
        times, loss = series["flow_time"], series["loss"]
        order = np.argsort(times, kind="stable")
        line = Line(times, loss, style="dashed")
        said = change(loss[order], self.MEASURED)
        return LineChart((line,), "flow time", self.MEASURED, said)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        **style: Any,
    ) -> "Axes":
        """Draw the loss, dashed, against flow time on `ax` (new axes if None); returns the matplotlib axes.

        `label` (the source if left out) and `style` go to the line. ValueError for `x` other than "flow_time", and on
        axes that count steps.
        """
        series = self._series()
        return draw_prediction(
            ax,
            series["flow_time"],
            series["loss"],
            label=self._label if label is None else label,
            style=style,
            x=x,
            without=_WITHOUT_STEPS.format(name=self.NAME),
        )

    @property
    def _label(self) -> str:
        """What a legend calls it."""
        return f"theory ({getattr(self, 'source', self.NAME)})"

    def _series(self) -> dict[str, FloatArray]:
        """The series by name."""
        return {name: getattr(self, name) for name in self.SHAPES}

    def _stored_settings(self) -> dict[str, Any]:
        """The arrays named in SETTINGS, and others that files may lack."""
        return {}

    @classmethod
    def _read_settings(
        cls, path: AnyPath, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        """What the arrays of the file beside the series say, as arguments of the class; ValueError for others."""
        return {}

    @classmethod
    def _read_series(cls, arrays: Mapping[str, NDArray[Any]]) -> dict[str, FloatArray]:
        """The series of a file; ValueError unless they are finite and their shapes belong together."""
        series: dict[str, FloatArray] = {}
        sizes: dict[str, int] = {}
        for name, shape in cls.SHAPES.items():
            series[name] = finite_array(arrays[name], name)
            check_shape(series[name], name, shape, **sizes)
            axes = [axis.strip() for axis in shape.strip("()").split(",") if axis]
            sizes |= dict(zip(axes, series[name].shape, strict=True))
        if np.any(series["flow_time"] < 0):
            raise ValueError("flow_time must have no times below 0")
        return series
