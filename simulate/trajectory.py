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
from ..runtime.checks import check_choice, refuse_wrong_order
from ..runtime.display import Displayed, Summary, array_summary, change
from ..runtime.files import (
    AnyPath,
    array_headers,
    as_path,
    read_arrays,
    write_atomically,
)
from ..runtime.line_charts import Line, LineChart
from ..runtime.nested import pack, unpack
from ..runtime.time_axis import UNITS, draw_losses, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IntArray = NDArray[np.int64]

FORMAT = "attndyn trajectory 2"

FORMER_FORMAT = "attndyn trajectory 1"
"""Files of runs of one learning rate, or of a flow: without optimizer, state and units."""

EXTERNAL = "external"
"""`settings["source"]` of a run that was made outside this package."""

_SERIES = ("time", "loss", "gradient_norm", "weight_time")

_GRADIENT_DESCENT = "gradient_descent"
"""The name of the one optimizer that follows the gradient flow, as its settings say it."""

_SHOWN_SETTINGS = (
    *("model", "engine", "sequences", "scale", "scheme", "seed", "method"),
    *("loss_scale", "rows_without_loss"),
)
"""Settings that a summary has room for, where a run has them."""


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Displayed):
    """A run in steps, as of gradient descent, or in flow time, as of a gradient flow.

    `loss` (T,) and `gradient_norm` (T,), None where it is not known, belong to `time` (T,); `weights` name → (K, …)
    belong to `weight_time` (K,), and there may be none. `unit` is what both times count, "steps" or "flow_time"; left
    out, steps if a learning rate is given. In steps each loss is the one *before* that step; use `steps` or
    `flow_time`, which say which they are. `settings` tells what produced the run.

    `learning_rate` is the rate where it is known and constant, else None; `learning_rates` (T,) are the rates that were
    taken, clipping included, of the steps in `time` (each holds up to the next of them), or None where they are not
    known. `optimizer` holds the settings of the optimizer, with its name (None: gradient descent, if a rate is known),
    `state` the optimizer's state after the last step, and `before_last` the weights and the state before that step,
    where they are kept.

    A run that was made outside has settings["source"] == "external", and `unit="steps"`. If its loss was f times the
    mean square, then with the loss divided by f, gradient norms too, and `learning_rate` f times the outside one it is
    a run on the mean square itself, with the right flow time 2·f·η·step.

    ValueError for times that are negative or do not increase, for a step that is no whole number, and for rates that
    are not (T,), or negative.

    >>> times, weights = np.arange(3.0), {"value": np.array([[1.0], [0.5]])}
    >>> run = Trajectory(times, 1 / (1 + times), times, np.array([0.0, 3.0]), weights, learning_rate=0.1)
    >>> run.initial, run.weights_at(3), run.flow_time
    ({'value': array([1.])}, {'value': array([0.5])}, array([0. , 0.2, 0.4]))
    """

    time: FloatArray
    loss: FloatArray
    # Any in place of None: all runs that were made here have it, and only one from outside may lack it.
    gradient_norm: FloatArray | Any
    weight_time: FloatArray
    weights: Weights
    learning_rate: float | None
    settings: dict[str, Any] = field(default_factory=dict)
    learning_rates: FloatArray | None = None
    optimizer: dict[str, Any] | None = None
    state: Any = None
    before_last: Any = None
    unit: str | None = None

    def __post_init__(self) -> None:
        if self.unit is None:
            has_rate = self.learning_rate is not None or self.learning_rates is not None
            object.__setattr__(self, "unit", "steps" if has_rate else "flow_time")
        check_choice(self.unit, "unit", UNITS)
        for name in ("time", "weight_time"):
            times = np.asarray(getattr(self, name))
            _refuse_disorder(name, times, not self.is_flow)
        # Of one rate they follow, also where the run is cut or continued by `replace`.
        if self.learning_rate is not None:
            rate = np.float64(self.learning_rate)
            constant = np.broadcast_to(rate, (len(self.time),))  # without memory
            object.__setattr__(self, "learning_rates", constant)
        elif self.learning_rates is not None:
            _refuse_wrong_rates(self.learning_rates, len(self.time))

    @property
    def is_flow(self) -> bool:
        """Whether time is flow time, as of a gradient flow, rather than steps."""
        return self.unit == "flow_time"

    @property
    def is_external(self) -> bool:
        """Whether the run was made outside this package."""
        return self.settings.get("source") == EXTERNAL

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
        """Flow time of each loss (T,): in descent 2 Σ η over the steps before it, with momentum 2 Σ η/(1 − momentum).

        ValueError, which says what to compare instead, for an optimizer that does not follow the gradient flow, and
        where the learning rate is not known.
        """
        return self._as_flow_time(self.time)

    @property
    def weight_flow_time(self) -> FloatArray:
        """Flow time of each of the stored weights (K,), as `flow_time`."""
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
        """The weights stored at `weight_time[index]`, in the model's shapes; ValueError if the run has none."""
        self._refuse_no_weights()
        weights = {}
        for name, value in self.weights.items():
            weights[name] = value[index]
        return weights

    def weights_at(self, time: float) -> Weights:
        """The weights stored at this step of a descent, or at this flow time of a flow.

        ValueError, naming the nearest, if none are stored there.
        """
        self._refuse_no_weights()
        # Times are compared as they were stored: a run knows them exactly.
        nearest = int(np.argmin(np.abs(self.weight_time - time)))
        if self.weight_time[nearest] != time:
            unit = "flow time" if self.is_flow else "step"
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
        is_model = isinstance(model, Parametrization)
        refuse_wrong_order("run.effective_map(model)", is_model, model)
        self._refuse_no_weights()
        self._refuse_other_weights(model)
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
        if self.optimizer is not None:
            rows["optimizer"] = self.optimizer.get("name")
        if self.learning_rate is not None:
            rows["learning rate"] = self.learning_rate
        elif self.learning_rates is not None and len(self.time):
            rows["learning rate"] = array_summary(self.learning_rates)
        if not self.is_flow:
            rows["steps"] = f"{len(self.time):,}"
        if len(self.time):
            if self._no_flow_time() is None:
                rows["flow time"] = _change(self.flow_time, "5g", " … ")
            rows["loss"] = _change(self.loss, "6g")
            if self.gradient_norm is not None:
                rows["gradient norm"] = _change(self.gradient_norm, "3g")
        if self.weights:
            rows["weights"] = ", ".join(
                f"{name} {value.shape[1:]}" for name, value in self.weights.items()
            )
            rows["stored at"] = array_summary(self.weight_time)
        return Summary(self._kind, rows)

    def chart(self) -> LineChart:
        """The loss against what the run counts, steps or flow time."""
        length = "" if self.is_flow else f"{len(self.time):,} steps, "
        caption = f"{length}{change(self.loss)}"
        line = Line(self.time, self.loss)
        return LineChart((line,), UNITS[str(self.unit)], "loss", caption)

    @property
    def _kind(self) -> str:
        """What the run is of, as a title."""
        if self.is_flow:
            return "Gradient flow"
        if self.is_external:
            return "Run from outside"
        return "Gradient descent" if self._is_descent() else "Training run"

    def _is_descent(self) -> bool:
        return self.optimizer is None or self.optimizer["name"] == _GRADIENT_DESCENT

    def to_dict(self) -> dict[str, Any]:
        """The settings, losses and weights as plain numbers and lists."""
        series = {
            name: None if array is None else array.tolist()
            for name, array in self._series().items()
        }
        return {
            "unit": self.unit,
            "learning_rate": self.learning_rate,
            "optimizer": self.optimizer,
            "settings": self.settings,
            **series,
            "weights": {name: value.tolist() for name, value in self.weights.items()},
        }

    def _series(self) -> dict[str, FloatArray | None]:
        """The arrays that go with the times, by name; None for one that is not known."""
        series = {name: getattr(self, name) for name in _SERIES}
        return {**series, "learning_rates": self.learning_rates}

    def save(self, path: AnyPath) -> Path:
        """Write the run to an npz file, atomically; `load` reads it.

        OSError if it cannot be written; ValueError for a state that is not made of numbers and arrays.
        """
        description, states = pack((self.state, self.before_last), "state")
        head = {
            "format": FORMAT,
            "unit": self.unit,
            "learning_rate": self.learning_rate,
            "optimizer": self.optimizer,
            "state": description,
            "settings": self.settings,
            "weights": list(self.weights),
        }
        text = json.dumps(head, default=_as_json)
        arrays: dict[str, Any] = {
            f"weights/{name}": value for name, value in self.weights.items()
        }
        for index, value in enumerate(states):
            arrays[f"state/{index}"] = value
        for name, series in self._series().items():
            # One rate stands in the head.
            follows = name == "learning_rates" and self.learning_rate is not None
            if series is not None and not follows:
                arrays[name] = series
        return write_atomically(
            path, lambda file: np.savez(file, head=np.array(text), **arrays)
        )

    @classmethod
    def load(cls, path: AnyPath) -> "Trajectory":
        """The run that `save` wrote, as `simulate.load`; ValueError if it is damaged or something else."""
        return load(path)

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
        `label` and `style` go to the line. ValueError for steps of a flow, for the flow time of a run that has none,
        and for another unit than the axes count.
        """
        times: dict[str, ArrayLike] = {} if self.is_flow else {"steps": self.steps}
        no_flow_time = self._no_flow_time()
        if no_flow_time is None:
            times["flow_time"] = self.flow_time
        losses: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
            label or "": (self.loss, line_style(style))
        }
        without = (
            no_flow_time
            or "a gradient flow has no steps: draw what is on its axes with x='flow_time'"
        )
        return draw_losses(ax, times, losses, x, without)

    def _as_steps(self, time: FloatArray) -> IntArray:
        if self.is_flow:
            raise ValueError("a gradient flow has no steps: use flow_time")
        return np.asarray(time, dtype=np.int64)

    def _as_flow_time(self, time: FloatArray) -> FloatArray:
        if self.is_flow:
            return time
        reason = self._no_flow_time()
        if reason is not None:
            raise ValueError(reason)
        # dθ/dt = −½ ∂L/∂θ: a step of descent advances flow time by twice the rate. With momentum a gradient acts on
        # all later steps, which adds up to 1/(1 − momentum) of it.
        momentum = float((self.optimizer or {}).get("momentum", 0.0))
        factor = 2 / (1 - momentum)
        if self.learning_rate is not None:
            return factor * self.learning_rate * time
        assert self.learning_rates is not None
        return factor * _sum_before(np.asarray(time), self.time, self.learning_rates)

    def _no_flow_time(self) -> str | None:
        """Why the run has no flow time, and what to do; None if it has one."""
        if self.is_flow:
            return None
        if not self._is_descent():
            optimizer = self.optimizer or {}
            own = f"an optimizer of your own ({optimizer.get('called', 'unnamed')})"
            name = "Adam" if optimizer["name"] == "adam" else own
            return f"{name} does not follow the gradient flow: plot x='steps', compare plateaus with match_plateaus"
        if self.learning_rates is None:
            return (
                "the learning rate of this run is not known, and flow time needs it: give it, or use steps and "
                "match_plateaus, as for a run of Adam, which has no flow time"
            )
        if self._is_clipped_decay():
            return (
                "clipping has shortened the gradient of this run and not its weight decay, so that it follows no "
                "gradient flow: plot x='steps', compare plateaus with match_plateaus"
            )
        return None

    def _is_clipped_decay(self) -> bool:
        """Whether weight decay was beside gradients that were clipped."""
        optimizer = self.optimizer or {}
        if not optimizer.get("weight_decay") or optimizer.get("clip_norm") is None:
            return False
        # A known norm shows where it was clipped.
        norm = self.gradient_norm
        return norm is None or bool(np.any(norm > optimizer["clip_norm"]))

    def _refuse_other_weights(self, model: Parametrization) -> None:
        """ValueError unless the weights have the model's names, and as many axes."""
        # Their number does not depend on D.
        shapes = model.shapes(1)
        if set(shapes) != set(self.weights):
            raise ValueError(
                f"the model has weights {sorted(shapes)}, and the run {sorted(self.weights)}"
            )
        for name, shape in shapes.items():
            stored = self.weights[name].shape[1:]
            if len(stored) != len(shape):
                raise ValueError(
                    f"weights {name!r} of the model have {len(shape)} axes, and those of the run shape {stored}: "
                    "only the last row of a value matrix reaches the output, so pass W_V[:, -1]"
                )

    def _refuse_no_weights(self) -> None:
        if not self.weights or not len(self.weight_time):
            raise ValueError(
                "this run holds no weights: store some with it, for instance external_run(…, weights=)"
            )


def _sum_before(at: FloatArray, steps: FloatArray, rates: FloatArray) -> FloatArray:
    """Σ of the rates over all steps before the given ones; each rate holds from its step up to the next."""
    if not len(steps):
        return np.zeros(len(at))
    # The first rate holds before its step too.
    first = rates[0] * steps[0]
    lengths = np.diff(steps)
    until = first + np.concatenate([[0.0], np.cumsum(rates[:-1] * lengths)])
    last = np.maximum(np.searchsorted(steps, at, side="right") - 1, 0)
    return np.asarray(until[last] + rates[last] * (at - steps[last]))


def load(path: AnyPath) -> Trajectory:
    """The trajectory that `save` wrote; ValueError if it is truncated or something else, OSError if absent."""
    try:
        # Other arrays of the file, as of a later version, are not read.
        names = [
            name
            for name in array_headers(path)
            if name in ("head", "learning_rates", *_SERIES)
            or name.startswith(("weights/", "state/"))
        ]
        arrays = read_arrays(path, names)
        head = json.loads(str(arrays["head"]))
        if head["format"] == FORMER_FORMAT:
            head = _current_head(head)
        if head["format"] != FORMAT:
            raise KeyError(head["format"])
        run = _read(head, arrays)
        _refuse_misfit_arrays(run)
        _refuse_misfit_head(run)
        # Files of before this was written lack the names.
        if list(run.weights) != head.get("weights", list(run.weights)):
            raise KeyError("weights")
        return run
    except (IndexError, KeyError, RecursionError, TypeError, ValueError):
        raise ValueError(
            f"{as_path(path)} is not a whole trajectory file: pass one that Trajectory.save wrote"
        ) from None


def _current_head(former: dict[str, Any]) -> dict[str, Any]:
    """The head of a file of the former format in the words of today."""
    unit = "flow_time" if former["learning_rate"] is None else "steps"
    nothing = {"optimizer": None, "state": pack((None, None), "state").description}
    return {**former, "format": FORMAT, "unit": unit, **nothing}


def _read(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Trajectory:
    """The run of a file; KeyError, TypeError, IndexError or ValueError if parts of it are missing or do not fit."""
    weights = {
        name.removeprefix("weights/"): value
        for name, value in arrays.items()
        if name.startswith("weights/")
    }
    states = [
        arrays[f"state/{index}"]
        for index in range(sum(name.startswith("state/") for name in arrays))
    ]
    state, before_last = unpack(head["state"], states)
    if head["learning_rate"] is not None and not _is_number(head["learning_rate"]):
        raise ValueError("its learning rate must be a number")
    return Trajectory(
        time=arrays["time"],
        loss=arrays["loss"],
        gradient_norm=arrays.get("gradient_norm"),
        weight_time=arrays["weight_time"],
        weights=weights,
        learning_rate=head["learning_rate"],
        settings=head["settings"],
        learning_rates=arrays.get("learning_rates"),
        optimizer=head["optimizer"],
        state=state,
        before_last=before_last,
        unit=head["unit"],
    )


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


def _refuse_wrong_rates(rates: FloatArray, count: int) -> None:
    """ValueError unless these are rates of so many steps: numbers of zero or more."""
    rates = np.asarray(rates)
    if rates.shape != (count,) or rates.dtype.kind not in "fiu":
        raise ValueError(
            f"learning_rates of a run must be numbers ({count},), one a time, not {rates.dtype} of shape {rates.shape}"
        )
    if not np.all(np.isfinite(rates)) or np.any(rates < 0):
        raise ValueError("learning_rates of a run must be zero or more and finite")


def _refuse_misfit_arrays(run: Trajectory) -> None:
    """ValueError for series that are no numbers or not of one length, and for weights at other times."""
    series = {name: getattr(run, name) for name in _SERIES}
    if run.gradient_norm is None:
        del series["gradient_norm"]
    for array in (*series.values(), *run.weights.values()):
        if array.dtype.kind not in "fiu":
            raise ValueError("its arrays must hold real numbers")

    # T losses and gradient norms; K weights.
    for name in series.keys() - {"weight_time"}:
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
    optimizer = run.optimizer
    named = isinstance(optimizer, dict) and isinstance(optimizer.get("name"), str)
    if optimizer is not None and not named:
        raise ValueError("its optimizer must be an object with a name")
    momentum = (optimizer or {}).get("momentum", 0)
    if not _is_number(momentum) or not 0 <= momentum < 1:
        raise ValueError("its momentum must be a number from 0 to below 1")
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
