"""The result of a simulation: losses at every step, weights at some, and what produced them."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models.effective_map import effective_map
from ..models.protocol import Parametrization, Weights
from ..runtime.arrays import FloatArray
from ..runtime.display import Displayed, Summary, array_summary
from ..runtime.files import (
    AnyPath,
    array_headers,
    as_path,
    read_arrays,
    write_atomically,
)
from ..runtime.time_axis import draw_losses, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IntArray = NDArray[np.int64]

FORMAT = "attndyn trajectory 1"

_SERIES = ("time", "loss", "gradient_norm", "weight_time")

_SHOWN_SETTINGS = ("model", "engine", "sequences", "scale", "scheme", "seed", "method")
"""Settings that a summary has room for, where a run has them."""


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Displayed):
    """A run of gradient descent (`learning_rate` given) or of gradient flow (`learning_rate` None).

    `loss` and `gradient_norm` (T,) belong to `time` (T,); `weights` name → (K, …) belong to `weight_time` (K,).
    `time` counts steps in descent, each loss being the one *before* that step, and is flow time in a flow; use
    `steps` or `flow_time`, which say which they are. `settings` tells what produced the run. ValueError for times
    that are negative or do not increase, and for a step that is no whole number.

    >>> times, weights = np.arange(3.0), {"value": np.array([[1.0], [0.5]])}
    >>> run = Trajectory(times, 1 / (1 + times), times, np.array([0.0, 3.0]), weights, learning_rate=0.1)
    >>> run.initial, run.weights_at(3), run.flow_time
    ({'value': array([1.])}, {'value': array([0.5])}, array([0. , 0.2, 0.4]))
    """

    time: FloatArray
    loss: FloatArray
    gradient_norm: FloatArray
    weight_time: FloatArray
    weights: Weights
    learning_rate: float | None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        in_steps = self.learning_rate is not None
        for name in ("time", "weight_time"):
            _refuse_disorder(name, np.asarray(getattr(self, name)), in_steps)

    @property
    def steps(self) -> IntArray:
        """Step of each loss (T,); ValueError for a gradient flow."""
        return self._as_steps(self.time)

    @property
    def weight_steps(self) -> IntArray:
        """Step before which each of the stored weights stood (K,); ValueError for a gradient flow."""
        return self._as_steps(self.weight_time)

    @property
    def flow_time(self) -> FloatArray:
        """Flow time of each loss (T,): 2η·step in descent."""
        return self._as_flow_time(self.time)

    @property
    def weight_flow_time(self) -> FloatArray:
        """Flow time of each of the stored weights (K,): 2η·step in descent."""
        return self._as_flow_time(self.weight_time)

    @property
    def initial(self) -> Weights:
        """The first stored weights, in the model's shapes."""
        return self.stored_weights(0)

    @property
    def final(self) -> Weights:
        """The last stored weights, in the model's shapes."""
        return self.stored_weights(-1)

    def stored_weights(self, index: int) -> Weights:
        """The weights stored at `weight_time[index]`, in the model's shapes."""
        weights = {}
        for name, value in self.weights.items():
            weights[name] = value[index]
        return weights

    def weights_at(self, time: float) -> Weights:
        """The weights stored at this step of a descent, or at this flow time of a flow.

        ValueError, naming the nearest, if none are stored there.
        """
        # Times are compared as they were stored: a run knows them exactly.
        nearest = int(np.argmin(np.abs(self.weight_time - time)))
        if self.weight_time[nearest] != time:
            unit = "flow time" if self.learning_rate is None else "step"
            raise ValueError(
                f"no weights are stored at {unit} {time}: the nearest are at {self.weight_time[nearest]:g}"
            )
        return self.stored_weights(nearest)

    def effective_map(self, model: Parametrization) -> NDArray[Any]:
        """M (K, D, D) of all stored weights, which joins β to x_q on the restricted block of this model.

        >>> from attndyn import Merged
        >>> weights = {"value": np.array([[[0, 2.0]]]), "key_query": np.array([[[[3.0, 0], [0, 0]]]])}
        >>> times = np.zeros(1)
        >>> Trajectory(times, times, times, times, weights, None).effective_map(Merged(1))
        array([[[6.]]])
        """
        return effective_map(model, self.weights)

    def with_settings(self, settings: dict[str, Any]) -> "Trajectory":
        """The same run with more said about where it comes from."""
        return replace(self, settings=self.settings | settings)

    def summary(self) -> Summary:
        """What the run is of, how long it is and what became of its loss."""
        rows: dict[str, object] = {
            name: self.settings[name]
            for name in _SHOWN_SETTINGS
            if self.settings.get(name) is not None
        }
        if self.learning_rate is not None:
            rows["learning rate"] = self.learning_rate
            rows["steps"] = f"{len(self.time):,}"
        if len(self.time):
            rows["flow time"] = _change(self.flow_time, "5g", " … ")
            rows["loss"] = _change(self.loss, "6g")
            rows["gradient norm"] = _change(self.gradient_norm, "3g")
        rows["weights"] = ", ".join(
            f"{name} {value.shape[1:]}" for name, value in self.weights.items()
        )
        rows["stored at"] = array_summary(self.weight_time)
        title = "Gradient flow" if self.learning_rate is None else "Gradient descent"
        return Summary(title, rows)

    def to_dict(self) -> dict[str, Any]:
        """The settings, losses and weights as plain numbers and lists."""
        series = {name: getattr(self, name).tolist() for name in _SERIES}
        return {
            "learning_rate": self.learning_rate,
            "settings": self.settings,
            **series,
            "weights": {name: value.tolist() for name, value in self.weights.items()},
        }

    def save(self, path: AnyPath) -> Path:
        """Write the run to an npz file, atomically; `load` reads it. OSError if it cannot be written."""
        head = {
            "format": FORMAT,
            "learning_rate": self.learning_rate,
            "settings": self.settings,
        }
        text = json.dumps(head, default=_as_json)
        arrays: dict[str, Any] = {
            f"weights/{name}": value for name, value in self.weights.items()
        }
        for name in _SERIES:
            arrays[name] = getattr(self, name)
        return write_atomically(
            path, lambda file: np.savez(file, head=np.array(text), **arrays)
        )

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str | None = None,
        label: str | None = None,
        **style: Any,
    ) -> "Axes":
        """Draw the loss on `ax` (new axes if None) against `x`, "steps" or "flow_time"; returns the axes.

        Without `x`: the unit of the curves that are on the axes, else steps for descent, flow time for a flow.
        `label` and `style` go to the line. ValueError for steps of a flow, and for another unit than the axes count.
        """
        times: dict[str, ArrayLike] = {"flow_time": self.flow_time}
        if self.learning_rate is not None:
            times = {"steps": self.steps, **times}
        losses: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
            label or "": (self.loss, line_style(style))
        }
        without = (
            "a gradient flow has no steps: draw what is on its axes with x='flow_time'"
        )
        return draw_losses(ax, times, losses, x, without)

    def _as_steps(self, time: FloatArray) -> IntArray:
        if self.learning_rate is None:
            raise ValueError("a gradient flow has no steps: use flow_time")
        return np.asarray(time, dtype=np.int64)

    def _as_flow_time(self, time: FloatArray) -> FloatArray:
        if self.learning_rate is None:
            return time
        # dθ/dt = −½ ∂L/∂θ: a step of descent advances flow time by twice the rate.
        return 2 * self.learning_rate * time


def load(path: AnyPath) -> Trajectory:
    """The trajectory that `save` wrote; ValueError if it is truncated or something else, OSError if absent."""
    try:
        # Other arrays of the file, as of a later version, are not read.
        names = [
            name
            for name in array_headers(path)
            if name in ("head", *_SERIES) or name.startswith("weights/")
        ]
        arrays = read_arrays(path, names)
        head = json.loads(str(arrays["head"]))
        if head["format"] != FORMAT:
            raise KeyError(head["format"])
        weights = {
            name.removeprefix("weights/"): value
            for name, value in arrays.items()
            if "/" in name
        }
        run = Trajectory(
            **{name: arrays[name] for name in _SERIES},
            weights=weights,
            learning_rate=head["learning_rate"],
            settings=head["settings"],
        )
        _refuse_misfit_arrays(run)
        _refuse_misfit_head(run)
        return run
    except (KeyError, RecursionError, TypeError, ValueError):
        raise ValueError(
            f"{as_path(path)} is not a whole trajectory file: pass one that Trajectory.save wrote"
        ) from None


def _change(values: FloatArray, precision: str, between: str = " → ") -> str:
    """The first and the last of some values."""
    first = f"{values[0]:.{precision}}"
    last = f"{values[-1]:.{precision}}"
    return f"{first}{between}{last}"


def _refuse_disorder(name: str, times: NDArray[Any], in_steps: bool) -> None:
    """ValueError for times of a run that are no numbers, are negative or do not increase; or for half a step."""
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} of a run must be numbers (T,), not {times.dtype} of shape {times.shape}"
        )
    finite = np.all(np.isfinite(times))
    if not finite or np.any(times < 0) or np.any(times[1:] <= times[:-1]):
        raise ValueError(
            f"{name} of a run must be finite, begin at 0 or later, and increase"
        )
    if in_steps and np.any(times != np.floor(times)):
        raise ValueError(f"{name} of a descent must count whole steps")


def _refuse_misfit_arrays(run: Trajectory) -> None:
    """ValueError for series that are no numbers or not of one length, and for weights at other times."""
    series = {name: getattr(run, name) for name in _SERIES}
    for array in (*series.values(), *run.weights.values()):
        if array.dtype.kind not in "fiu":
            raise ValueError("its arrays must hold real numbers")

    # T losses and gradient norms; K weights.
    for name in ("time", "loss", "gradient_norm"):
        if series[name].shape != (len(run.time),):
            raise ValueError(f"its {name} must have shape ({len(run.time)},)")
    for value in run.weights.values():
        if value.shape[:1] != run.weight_time.shape:
            raise ValueError("its weights must be of as many times as weight_time")


def _refuse_misfit_head(run: Trajectory) -> None:
    """ValueError for a learning rate that is none, and for settings that contradict it."""
    rate = run.learning_rate
    if rate is not None and not (_is_number(rate) and 0 < rate < np.inf):
        raise ValueError(f"its learning rate must be a positive number, not {rate!r}")
    if not isinstance(run.settings, dict):
        raise ValueError("its settings must be a JSON object")
    stated_rate = run.settings.get("learning_rate")
    if _is_number(stated_rate) and stated_rate != rate:
        raise ValueError(
            f"its learning rate must be that of its settings, {stated_rate}, not {rate}"
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool):  # a number to Python, and none to us
        return False
    return isinstance(value, (int, float))


def _as_json(setting: object) -> Any:
    """A number or an array of NumPy as JSON has it; TypeError for anything else."""
    if isinstance(setting, (np.generic, np.ndarray)):
        return setting.tolist()
    raise TypeError(f"settings of a run must be what JSON has, not {setting!r}")
