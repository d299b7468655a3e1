"""The result of a simulation: losses at every step, weights at some, and what produced them."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..models.protocol import Weights
from ..runtime.arrays import FloatArray
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

_LINES = ("time", "loss", "gradient_norm", "weight_time")


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A run of gradient descent (`learning_rate` given) or of gradient flow (`learning_rate` None).

    `loss` and `gradient_norm` (T,) belong to `time` (T,); `weights` name → (K, …) belong to `weight_time` (K,).
    `time` counts steps in descent, each loss being the one *before* that step, and is flow time in a flow; use
    `steps` or `flow_time`, which say which they are. `settings` tells what produced the run. ValueError for times
    that are negative or do not increase, and for a step that is no whole number.
    """

    time: FloatArray
    loss: FloatArray
    gradient_norm: FloatArray
    weight_time: FloatArray
    weights: Weights
    learning_rate: float | None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("time", "weight_time"):
            _refuse_disorder(
                name,
                np.asarray(getattr(self, name)),
                in_steps=self.learning_rate is not None,
            )

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
    def final(self) -> Weights:
        """The last weights, in the model's shapes."""
        return {name: value[-1] for name, value in self.weights.items()}

    def with_settings(self, settings: dict[str, Any]) -> "Trajectory":
        """The same run with more said about where it comes from."""
        return replace(self, settings=self.settings | settings)

    def save(self, path: AnyPath) -> Path:
        """Write the run to an npz file, atomically; `load` reads it. OSError if it cannot be written."""
        head = {
            "format": FORMAT,
            "learning_rate": self.learning_rate,
            "settings": self.settings,
        }
        text = json.dumps(head, default=_plain)
        arrays: dict[str, Any] = {
            f"weights/{name}": value for name, value in self.weights.items()
        }
        arrays |= {name: getattr(self, name) for name in _LINES}
        return write_atomically(
            path, lambda file: np.savez(file, head=np.array(text), **arrays)
        )

    def plot(
        self, ax: "Axes | None" = None, *, x: str | None = None, **style: Any
    ) -> "Axes":
        """Draw the loss on `ax` (new axes if None) against `x`, "steps" or "flow_time"; returns the axes.

        Without `x`: the unit of the curves that are on the axes, else steps for descent, flow time for a flow.
        `style` goes to the line. ValueError for steps of a flow, and for another unit than the axes count.
        """
        times: dict[str, ArrayLike] = {"flow_time": self.flow_time}
        if self.learning_rate is not None:
            times = {"steps": self.steps, **times}
        losses: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
            "": (self.loss, line_style(style))
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
        return time if self.learning_rate is None else 2 * self.learning_rate * time


def load(path: AnyPath) -> Trajectory:
    """The trajectory that `save` wrote; ValueError if it is truncated or something else, OSError if absent."""
    try:
        known = [
            name
            for name in array_headers(path)
            if name in ("head", *_LINES) or name.startswith("weights/")
        ]
        arrays = read_arrays(path, known)
        head = json.loads(str(arrays["head"]))
        if head["format"] != FORMAT:
            raise KeyError(head["format"])
        weights = {
            name.removeprefix("weights/"): value
            for name, value in arrays.items()
            if "/" in name
        }
        lines = {name: arrays[name] for name in _LINES}
        run = Trajectory(
            **lines,
            weights=weights,
            learning_rate=head["learning_rate"],
            settings=head["settings"],
        )
        _refuse_parts_that_do_not_fit(run)
        return run
    except (KeyError, RecursionError, TypeError, ValueError):
        raise ValueError(
            f"{as_path(path)} is not a whole trajectory file: pass one that Trajectory.save wrote"
        ) from None


def _refuse_disorder(name: str, times: NDArray[Any], in_steps: bool) -> None:
    """ValueError for times of a run that are no numbers, are negative or do not increase; or for half a step."""
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} of a run must be numbers (T,), not {times.dtype} of shape {times.shape}"
        )
    if (
        not np.all(np.isfinite(times))
        or np.any(times < 0)
        or np.any(times[1:] <= times[:-1])
    ):
        raise ValueError(
            f"{name} of a run must be finite, begin at 0 or later, and increase"
        )
    if in_steps and np.any(times != np.floor(times)):
        raise ValueError(f"{name} of a descent must count whole steps")


def _refuse_parts_that_do_not_fit(run: Trajectory) -> None:
    """ValueError for lines that are no numbers or not of one length, and for a head of something else."""
    lines = [getattr(run, name) for name in _LINES]
    if any(array.dtype.kind not in "fiu" for array in (*lines, *run.weights.values())):
        raise ValueError("its arrays must hold real numbers")
    lengths = [line.shape for line in lines]
    if lengths != [(len(run.time),)] * 3 + [(len(run.weight_time),)]:
        raise ValueError(f"its lines must be of one length, not {lengths}")
    if any(value.shape[:1] != run.weight_time.shape for value in run.weights.values()):
        raise ValueError("its weights must be of as many times as weight_time")
    rate = run.learning_rate
    if rate is not None and not (_is_number(rate) and 0 < rate < np.inf):
        raise ValueError(f"its learning rate must be a positive number, not {rate!r}")
    if not isinstance(run.settings, dict):
        raise ValueError("its settings must be a JSON object")
    told = run.settings.get("learning_rate")
    if _is_number(told) and told != rate:
        raise ValueError(
            f"its learning rate must be that of its settings, {told}, not {rate}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(setting: object) -> Any:
    """A number or an array of NumPy as JSON has it; TypeError for anything else."""
    if isinstance(setting, (np.generic, np.ndarray)):
        return setting.tolist()
    raise TypeError(f"settings of a run must be what JSON has, not {setting!r}")
