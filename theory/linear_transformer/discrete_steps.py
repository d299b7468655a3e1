"""Gradient descent on the loss of modes, step by step, and the flow that follows it to one order more.

With h the flow time of a step, descent is θ ← θ − h ½∇L. Of the decoupled pair, with f = h(α − κ p q),

    p² − q² → (p² − q²)(1 − f²)        p q → p q (1 + f²) + f (p² + q²)

exactly. The modified flow dθ/dt = −½∇L − (h/2) H ½∇L, H the Hessian of ½L, differs from descent by O(h²). Derived here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import check_choice, finite_array, positive_number
from ...task import Task
from ..ode import flow_times
from .many_starts import solve_starts
from .mode_flows import LAWS, DecoupledRates, ExactModes, ModeFlow, decoupled_rates
from .mode_losses import loss_of_modes
from .mode_tasks import ModeTask, mode_task
from .step_counts import whole_steps

MOST_STEPS = 1_000_000
"""Of `mode_descent`: they take half a minute."""


def mode_descent(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    steps: ArrayLike,
    *,
    learning_rate: float,
    model: Parametrization | None = None,
    law: str = "exact",
) -> ModeFlow:
    """p, q and the loss of gradient descent with this rate on L, after `steps` (T,) of them, from p and q (…, D).

    The result counts flow time, 2·learning rate·steps. `law` as in `mode_flow`. ValueError for steps that are no whole
    numbers of zero or more, or above a million, and as `mode_flow`; ArithmeticError where descent diverges.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=20)
    >>> mode_descent(task, [0.1, 0.1], [0.1, 0.1], [0, 10, 400], learning_rate=0.02).coefficients.round(4)
    array([[0.01  , 0.01  ],
           [0.1455, 0.0215],
           [0.4408, 0.8524]])
    """
    modes = mode_task(task, model, "mode_descent")
    field = _field(modes, law)
    counts = whole_steps(
        steps, MOST_STEPS, "modified_flow has the weights at any flow time"
    )
    h = 2 * positive_number(learning_rate, "learning_rate")
    x = _starts(modes, p, q)
    values = np.empty((len(counts), *x.shape))
    with np.errstate(over="ignore", invalid="ignore"):
        last = int(np.max(counts))
        for step in range(last + 1):
            values[counts == step] = x
            x = x + h * field.velocity(x)
    if not np.all(np.isfinite(values)):
        raise ArithmeticError(
            f"descent diverges at the learning rate {learning_rate:g}: largest_step bounds twice the rate"
        )
    return _course(modes, values, h * counts, np.shape(p), law)


def modified_flow(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    flow_time: ArrayLike,
    *,
    learning_rate: float,
    model: Parametrization | None = None,
    law: str = "exact",
) -> ModeFlow:
    """The flow dθ/dt = −½∇L − (h/2) H ½∇L, h = 2·learning rate, that descent follows up to O(h²), at times (T,).

    Arguments and errors as `mode_flow` and `mode_descent`; ValueError for steps of more than the time in which the
    fastest direction grows by e, or shrinks at the start: descent does not follow a flow then.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=20)
    >>> modified_flow(task, [0.1, 0.1], [0.1, 0.1], [0.4], learning_rate=0.02).coefficients.round(4)
    array([[0.1446, 0.0215]])
    """
    modes = mode_task(task, model, "modified_flow")
    h = 2 * positive_number(learning_rate, "learning_rate")
    times = flow_times(flow_time)
    field, start = _field(modes, law), _starts(modes, p, q)
    _refuse_large_steps(h, field, start)
    values = solve_starts(_Modified(field, h), start, times)
    return _course(modes, values, times, np.shape(p), law)


def _refuse_large_steps(
    h: float, field: "ExactModes | _DecoupledModes", start: FloatArray
) -> None:
    """ValueError for steps of flow time h that a flow does not tell of."""
    with np.errstate(over="ignore"):
        rate = field.fastest_rate(start)
    if h * rate > 1:
        raise ValueError(
            f"descent at the learning rate {h / 2:g} does not follow a flow from this start, whose fastest rate is "
            f"{rate:.4g}: take a rate of {0.5 / rate:.4g} or less, or follow the steps by mode_descent"
        )


class _DecoupledModes(NamedTuple):
    """The flow of each pair p, q alone."""

    rates: DecoupledRates

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (S, 2, D) at x (S, 2, D)."""
        residual = self.rates.growth - self.rates.curvature * x[:, 0] * x[:, 1]
        return np.asarray(residual[:, None] * x[:, ::-1])

    def fastest_rate(self, x: FloatArray) -> float:
        """The largest growth rate, or curvature at x (S, 2, D)."""
        curvature = np.max(self.rates.curvature * np.max(x**2, axis=(0, 1)))
        return float(max(np.max(self.rates.growth), curvature))


class _Modified(NamedTuple):
    """The flow v − (h/2) (Dv) v of a field v = −½∇L, whose derivatives Dv are −H."""

    field: ExactModes | _DecoupledModes
    h: float

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (S, 2, D) at x (S, 2, D)."""
        v = self.field.velocity(x)
        # v turns by (Dv) v as it goes, and a step does not.
        return np.asarray(v - self.h / 2 * self._turned(x, v))

    def _turned(self, x: FloatArray, v: FloatArray) -> FloatArray:
        """(Dv) v (S, 2, D), by differences that are exact for a field of degree 4 or less: this one has degree 3."""
        fastest = np.max(np.abs(v), axis=(1, 2), keepdims=True)
        size = np.max(np.abs(x), axis=(1, 2), keepdims=True)
        # Moves as large as x itself, so that rounding does not count.
        unit = np.divide(size, fastest, out=np.zeros_like(size), where=fastest > 0)
        once, twice = (
            self.field.velocity(x + k * unit * v)
            - self.field.velocity(x - k * unit * v)
            for k in (1, 2)
        )
        change = (8 * once - twice) / 12
        turned = np.divide(change, unit, out=np.zeros_like(change), where=unit > 0)
        return np.asarray(turned)

    def jacobian(self, x: FloatArray) -> FloatArray:
        """Derivatives (2D, 2D) at x (2, D), by differences: the implicit solver needs them roughly."""
        size = float(np.max(np.abs(x))) or 1.0
        steps = 1e-5 * size * np.eye(x.size).reshape(-1, *x.shape)
        slopes = self.velocity(x + steps) - self.velocity(x - steps)
        slopes = slopes.reshape(x.size, x.size) / (2e-5 * size)
        return np.asarray((slopes + slopes.T) / 2)

    def fastest_rate(self, x: FloatArray) -> float:
        """That of the field itself."""
        return self.field.fastest_rate(x)


def _field(modes: ModeTask, law: str) -> ExactModes | _DecoupledModes:
    """The equations of motion of a law."""
    check_choice(law, "law", LAWS)
    if law == "exact":
        return ExactModes(modes)
    return _DecoupledModes(decoupled_rates(modes))


def _starts(modes: ModeTask, p: ArrayLike, q: ArrayLike) -> FloatArray:
    """p and q (…, D) as starts (S, 2, D)."""
    D = modes.dimension
    p0 = finite_array(p, "p", "(..., D)", D=D)
    q0 = finite_array(q, "q", "(..., D)", D=D)
    if p0.shape != q0.shape:
        raise ValueError(f"p and q must have one shape, not {p0.shape} and {q0.shape}")
    return np.stack([p0.reshape(-1, D), q0.reshape(-1, D)], axis=1)


def _course(
    modes: ModeTask,
    values: FloatArray,
    times: FloatArray,
    shape: tuple[int, ...],
    law: str,
) -> ModeFlow:
    """States (T, S, 2, D) as a course of p and q of this shape (…, D)."""
    p = values[:, :, 0].reshape(len(times), *shape)
    q = values[:, :, 1].reshape(len(times), *shape)
    return ModeFlow(times, p, q, loss_of_modes(modes, p, q), law, modes)
