"""Optimizers: how gradients become updates, which are added to the weights.

An optimizer has the interface of optax: `init(weights)` returns the state before the first step, and
`update(gradients, state, weights)` returns the updates and the next state. The state contains everything that the
optimizer remembers, so that a run can be stopped and continued exactly.
"""

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    nonnegative_number,
    positive_number,
    takes_arguments,
    true_or_false,
)
from ...runtime.serialisation import refuse_unknown
from .schedules import Rate, Schedule, checked_rate, rate_at

CLIP_MARGIN = 1e-6
"""What PyTorch adds to the norm that it divides by in clipping."""

OWN = "own"
"""The name of all optimizers that are not of this package, in the settings of a run."""

State = dict[str, Any]


@runtime_checkable
class Optimizer(Protocol):
    """What an optimizer must offer; the optimizers of optax do."""

    def init(self, weights: Weights) -> Any:
        """The state before the first step: any nesting of dict, tuple, list, numbers and arrays."""

    def update(self, gradients: Weights, state: Any, weights: Weights) -> Any:
        """The updates, name → array, which are added to the weights, and the next state."""


@dataclass(frozen=True)
class GradientDescent:
    """θ ← θ − η v, where v ← momentum·v + g and g = ∂L/∂θ + weight_decay·θ, as in `torch.optim.SGD`.

    The learning rate η is a number or a function of the step, such as `Schedule`. With `nesterov`, g + momentum·v takes
    the place of v in the step. `clip_norm` is the largest norm of ∂L/∂θ over all weights together: a longer gradient
    is rescaled to it. ValueError for numbers out of range.

    >>> optimizer = GradientDescent(0.1, momentum=0.9)
    >>> weights = {"θ": np.array([1.0])}
    >>> updates, state = optimizer.update({"θ": np.array([2.0])}, optimizer.init(weights), weights)
    >>> updates["θ"]
    array([-0.2])
    """

    learning_rate: Rate
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _keep(self, "learning_rate", checked_rate(self.learning_rate))
        _keep(self, "momentum", _below_one(self.momentum, "momentum"))
        _keep(self, "nesterov", true_or_false(self.nesterov, "nesterov"))
        decay = nonnegative_number(self.weight_decay, "weight_decay")
        _keep(self, "weight_decay", decay)
        _keep(self, "clip_norm", _checked_clip_norm(self.clip_norm))
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    @property
    def is_plain(self) -> bool:
        """Whether a step is θ ← θ − η ∂L/∂θ with a constant η."""
        extended = self.momentum or self.weight_decay or self.clip_norm is not None
        return not callable(self.learning_rate) and not extended

    def init(self, weights: Weights) -> State:
        """The state before the first step: velocities are zero."""
        if not self.momentum:
            return {"step": 0}
        return {"step": 0, "velocity": _zeros(weights)}

    def update(
        self, gradients: Weights, state: State, weights: Weights
    ) -> tuple[Weights, State]:
        """The updates and the next state."""
        step = state["step"]
        rate = rate_at(self.learning_rate, step)
        following: State = {"step": step + 1}
        slopes = clipped(gradients, self.clip_norm)
        if self.weight_decay:
            slopes = _sum_of(slopes, self.weight_decay, weights)
        if self.momentum:
            velocity = _sum_of(slopes, self.momentum, state["velocity"])
            following["velocity"] = velocity
            slopes = (
                _sum_of(slopes, self.momentum, velocity) if self.nesterov else velocity
            )
        return {name: -rate * slope for name, slope in slopes.items()}, following


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015), and AdamW (Loshchilov and Hutter 2019) with a weight decay, as in `torch.optim`.

    The learning rate η is a number or a function of the step, such as `Schedule`. The weight decay is decoupled: each
    step also subtracts η·weight_decay·θ from the weights θ. `clip_norm` is that of `GradientDescent`. ValueError for
    numbers out of range.

    >>> optimizer = Adam(0.1)
    >>> weights = {"θ": np.array([1.0])}
    >>> updates, state = optimizer.update({"θ": np.array([2.0])}, optimizer.init(weights), weights)
    >>> updates["θ"].round(6)
    array([-0.1])
    """

    learning_rate: Rate = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _keep(self, "learning_rate", checked_rate(self.learning_rate))
        _keep(self, "b1", _below_one(self.b1, "b1"))
        _keep(self, "b2", _below_one(self.b2, "b2"))
        _keep(self, "eps", positive_number(self.eps, "eps"))
        decay = nonnegative_number(self.weight_decay, "weight_decay")
        _keep(self, "weight_decay", decay)
        _keep(self, "clip_norm", _checked_clip_norm(self.clip_norm))

    def init(self, weights: Weights) -> State:
        """The state before the first step: both means are zero."""
        return {"step": 0, "mean": _zeros(weights), "square": _zeros(weights)}

    def update(
        self, gradients: Weights, state: State, weights: Weights
    ) -> tuple[Weights, State]:
        """The updates and the next state."""
        step = state["step"] + 1
        rate = rate_at(self.learning_rate, state["step"])
        # Algorithm 1 of the paper: means that began at zero are divided by their weights' sum.
        size = rate / (1 - self.b1**step)
        root = math.sqrt(1 - self.b2**step)
        slopes = clipped(gradients, self.clip_norm)
        means, squares = self._moving_means(slopes, state)
        updates = {}
        for name, mean in means.items():
            spread = np.sqrt(squares[name]) / root
            change = -size * mean / (spread + self.eps)
            if self.weight_decay:
                change -= rate * self.weight_decay * weights[name]
            updates[name] = change
        return updates, {"step": step, "mean": means, "square": squares}

    def _moving_means(self, slopes: Weights, state: State) -> tuple[Weights, Weights]:
        """The exponential moving means of the gradient and of its square."""
        means, squares = {}, {}
        for name, slope in slopes.items():
            means[name] = self.b1 * state["mean"][name] + (1 - self.b1) * slope
            square = self.b2 * state["square"][name] + (1 - self.b2) * slope**2
            squares[name] = square
        return means, squares


NAMES: dict[str, type[GradientDescent] | type[Adam]] = {
    "gradient_descent": GradientDescent,
    "adam": Adam,
}
"""The optimizers of this package by the names that files and commands have for them."""


def is_built_in(optimizer: object) -> bool:
    """Whether an optimizer is one of this package; a class derived from them may do anything.

    >>> is_built_in(Adam()), is_built_in(lambda gradients, weights, step: gradients)
    (True, False)
    """
    return type(optimizer) in NAMES.values()


def is_state_after(
    optimizer: Optimizer, state: Any, weights: Weights, steps: int
) -> bool:
    """Whether this may be the state of an optimizer after so many steps of these weights.

    Of an optimizer of the user's own nothing is known, and any state may be.

    >>> weights = {"θ": np.array([1.0])}
    >>> state = GradientDescent(0.1, momentum=0.9).init(weights)
    >>> is_state_after(GradientDescent(0.1, momentum=0.9), state, weights, 0), is_state_after(Adam(), state, weights, 0)
    (True, False)
    """
    if not is_built_in(optimizer):
        return True
    form = optimizer.init(weights)
    if not isinstance(state, dict) or state.keys() != form.keys():
        return False
    if state["step"] != steps:
        return False
    return all(
        _have_same_shapes(state[name], zeros)
        for name, zeros in form.items()
        if name != "step"
    )


def _have_same_shapes(given: Any, arrays: Weights) -> bool:
    """Whether these are finite numbers under the names and in the shapes of arrays."""
    if not isinstance(given, dict) or given.keys() != arrays.keys():
        return False
    return all(
        np.shape(given[name]) == array.shape and np.all(np.isfinite(given[name]))
        for name, array in arrays.items()
    )


def settings_of(optimizer: object) -> dict[str, Any]:
    """What is stored of an optimizer: its name and the options that are not the defaults.

    A function as learning rate stands as None, and of an optimizer of the user's own there is only what it is called.

    >>> settings_of(GradientDescent(0.1, momentum=0.9))
    {'name': 'gradient_descent', 'learning_rate': 0.1, 'momentum': 0.9}
    """
    for name, cls in NAMES.items():
        if type(optimizer) is cls:
            return {"name": name, **_options(optimizer)}
    called = getattr(optimizer, "__qualname__", type(optimizer).__qualname__)
    return {"name": OWN, "called": called}


def _options(optimizer: Any) -> dict[str, Any]:
    """The options of an optimizer of this package that are not the defaults, and its learning rate."""
    options = {}
    for each in fields(optimizer):
        value = getattr(optimizer, each.name)
        if each.name == "learning_rate":
            if isinstance(value, Schedule):
                value = value.to_dict()
            elif callable(value):
                value = None
        elif value == each.default:
            continue
        options[each.name] = value
    return options


def without_rate(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that tell two optimizers apart, besides their learning rates; those of the user's own are all alike.

    >>> without_rate({"name": "adam", "learning_rate": 0.1, "b1": 0.8})
    {'name': 'adam', 'b1': 0.8}
    """
    left_out = ("learning_rate", "called")
    return {name: value for name, value in settings.items() if name not in left_out}


def _sum_of(slopes: Weights, factor: float, values: Weights) -> Weights:
    """slope + factor · value, name by name."""
    return {name: slope + factor * values[name] for name, slope in slopes.items()}


def optimizer_from_settings(settings: object) -> GradientDescent | Adam:
    """The optimizer that settings name, as a file has them; ValueError names what is wrong with them.

    >>> optimizer_from_settings({"name": "adam", "learning_rate": 0.01})
    Adam(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08, weight_decay=0.0, clip_norm=None)
    """
    if not isinstance(settings, dict) or settings.get("name") not in tuple(NAMES):
        raise ValueError(
            f'an optimizer in a file must be a table {{name = "adam", …}} with one of the names {", ".join(NAMES)}, '
            f"not {settings!r}"
        )
    options = dict(settings)
    name = options.pop("name")
    cls = NAMES[name]
    _refuse_other_options(options, cls, owner=f"the optimizer {name}")
    rate = options.get("learning_rate")
    if isinstance(rate, dict):
        options["learning_rate"] = _schedule_from_settings(rate)
    return cls(**options)


def _refuse_other_options(
    options: dict[str, Any], cls: type[GradientDescent] | type[Adam], owner: str
) -> None:
    """ValueError for an option that the class does not have, or for one that it needs and that is missing."""
    refuse_unknown(
        options, allowed=tuple(each.name for each in fields(cls)), owner=owner
    )
    needed = [each.name for each in fields(cls) if each.default is MISSING]
    missing = [name for name in needed if name not in options]
    if missing:
        raise ValueError(f"{owner} needs {', '.join(missing)}")


def _schedule_from_settings(settings: dict[str, Any]) -> Schedule:
    """The schedule that a file has in place of a learning rate."""
    refuse_unknown(settings, allowed=("points", "kind"), owner="a schedule")
    if "points" not in settings:
        raise ValueError("a schedule needs points, {step: rate}")
    return Schedule(**settings)


class Stateless:
    """A function (gradients, weights, step) → updates as an optimizer, whose state is the step."""

    def __init__(self, function: Callable[[Weights, Weights, int], Any]) -> None:
        self.function = function
        self.__qualname__ = getattr(function, "__qualname__", type(function).__name__)

    def init(self, weights: Weights) -> int:
        """No step taken."""
        return 0

    def update(self, gradients: Weights, state: int, weights: Weights) -> Any:
        """The updates and the next step."""
        return self.function(gradients, weights, state), state + 1


def as_optimizer(given: object) -> Optimizer:
    """An optimizer as steps are taken with it: the given one, or one made of a function.

    ValueError for anything that is neither.

    >>> as_optimizer("adam")
    Traceback (most recent call last):
    ValueError: optimizer must be GradientDescent(…), Adam(…), an object with init and update as optax has them, or a \
function (gradients, weights, step) → updates, not 'adam'
    """
    wanted = (
        "optimizer must be GradientDescent(…), Adam(…), an object with init and update as optax has them, or a "
        "function (gradients, weights, step) → updates"
    )
    if isinstance(given, type):
        raise ValueError(f"{wanted}, not the class {given.__name__}: make one of it")
    if isinstance(given, Schedule):
        raise ValueError(
            f"{wanted}; a Schedule is a learning rate: GradientDescent(schedule)"
        )
    has_init = callable(getattr(given, "init", None))
    if has_init and callable(getattr(given, "update", None)):
        return given  # type: ignore[return-value]
    if not callable(given):
        raise ValueError(f"{wanted}, not {given!r}")
    if not takes_arguments(given, 3):
        raise ValueError(f"{wanted}: {given!r} does not take three arguments")
    return Stateless(given)


def clip_factor(norm: float, clip_norm: float | None) -> float:
    """What a gradient of this norm is multiplied by, at most 1, so that it is no longer than `clip_norm`.

    >>> clip_factor(0.5, 1.0), round(clip_factor(10.0, 1.0), 6)
    (1.0, 0.1)
    """
    if clip_norm is None:
        return 1.0
    return min(1.0, clip_norm / (norm + CLIP_MARGIN))


def rates_taken(optimizer: object, rates: FloatArray, norms: FloatArray) -> FloatArray:
    """The learning rates (T,) that an optimizer takes of the scheduled ones, with gradients of these norms (T,).

    Clipping shortens a step of gradient descent; the step of Adam does not grow with the gradient.

    >>> rates_taken(GradientDescent(0.1, clip_norm=1.0), np.full(2, 0.1), np.array([0.5, 10.0])).round(6)
    array([0.1 , 0.01])
    """
    if not isinstance(optimizer, GradientDescent) or optimizer.clip_norm is None:
        return rates
    factors = [clip_factor(norm, optimizer.clip_norm) for norm in norms.tolist()]
    return np.multiply(rates, factors)


def clipped(gradients: Weights, clip_norm: float | None) -> Weights:
    """Gradients that are, over all weights together, no longer than `clip_norm`."""
    if clip_norm is None:
        return gradients
    factor = clip_factor(norm_of(gradients), clip_norm)
    if factor == 1.0:
        return gradients
    return {name: factor * gradient for name, gradient in gradients.items()}


def norm_of(gradients: Weights) -> float:
    """Euclidean norm over all weights.

    >>> norm_of({"a": np.array([3.0]), "b": np.array([[4.0]])})
    5.0
    """
    square = 0.0
    for gradient in gradients.values():
        flat = gradient.ravel()
        square += float(flat @ flat)
    return float(np.sqrt(square))


def _zeros(weights: Weights) -> Weights:
    return {name: np.zeros(value.shape) for name, value in weights.items()}


def _keep(settings: object, name: str, value: object) -> None:
    """Sets a field of a frozen class, which only its checks may do."""
    object.__setattr__(settings, name, value)


def _below_one(value: object, name: str) -> float:
    """A number from 0 to below 1; ValueError for anything else."""
    number = nonnegative_number(value, name)
    if number >= 1:
        raise ValueError(f"{name} must be from 0 to below 1, not {value!r}")
    return number


def _checked_clip_norm(clip_norm: object) -> float | None:
    return None if clip_norm is None else positive_number(clip_norm, "clip_norm")
