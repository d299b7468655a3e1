"""Gradient flow of one layer on modes: 2D equations for diagonal p and q, exact or with the modes decoupled.

    exact:      ṗ = ℓωs²q − gωs³pq² − k(ωs+σ²) p T_q        q̇ = ℓωs²p − gωs³p²q − k s² q T_p
    decoupled:  ṗ = ωs² q (ℓ − p q s∞)                      q̇ = ωs² p (ℓ − p q s∞)      s∞ = g s + k Σ(ωs+σ²)/ω

The decoupled form is exact where all modes are alike, and an approximation of first order in 1/N elsewhere. Its modes
are two-layer scalars with a closed form. Sources: Mainali and Teixeira 2025 (arXiv 2504.12916) for the decoupled form
with ω = 1, σ = 0; the exact one is derived here.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import check_choice, finite_array
from ...runtime.display import Displayed, Summary, array_summary, change
from ...runtime.line_charts import Line, LineChart
from ...task import Task
from ..ode import flow_times
from ..two_layer import two_layer_amplitudes
from .many_starts import solve_starts
from .mode_losses import half_hessian_of_modes, loss_of_modes, velocity_of_modes
from .mode_tasks import ModeTask, mode_task

LAWS = ("exact", "decoupled")
"""The equations of motion."""


@dataclass(frozen=True, eq=False, repr=False)
class ModeFlow(Displayed):
    """p, q and the loss along gradient flow, from one start or many.

    `flow_time` (T,) is 2·learning rate·steps; `p`, `q` (T, …, D) in the order of `modes`, by decreasing κ; `loss`
    (T, …), the exact one in units of y² for either `law`.
    """

    flow_time: FloatArray
    p: FloatArray
    q: FloatArray
    loss: FloatArray
    law: str
    modes: ModeTask

    @property
    def coefficients(self) -> FloatArray:
        """a = p q (T, …, D)."""
        return self.p * self.q

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and the law."""
        names = ("flow_time", "p", "q", "coefficients", "loss")
        return {name: getattr(self, name).tolist() for name in names} | {
            "law": self.law
        }

    def summary(self) -> Summary:
        """The loss at the first and the last time, on one screen."""
        rows = {
            "flow time": array_summary(self.flow_time),
            "starts": int(np.prod(self.loss.shape[1:])),
            "loss": array_summary(self.loss),
            "coefficients": array_summary(self.coefficients),
        }
        formulas = {
            "exact": r"\dot p = \ell \omega s^2 q - g \omega s^3 p q^2 - k (\omega s + \sigma^2) p T_q",
            "decoupled": r"\dot p = \omega s^2 q (\ell - p q s_\infty)",
        }
        return Summary(
            f"Flow of modes ({self.law})", rows, {"equation": formulas[self.law]}
        )

    def chart(self) -> LineChart:
        """The loss from each start, dashed, against flow time."""
        starts = int(np.prod(self.loss.shape[1:]))
        losses = self.loss.reshape(len(self.flow_time), starts).T
        lines = [Line(self.flow_time, loss, style="dashed") for loss in losses]
        caption = change(losses[0]) if len(losses) == 1 else f"{len(losses)} starts"
        return LineChart(lines, "flow time", "loss", caption)


def mode_flow(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    flow_time: ArrayLike,
    model: Parametrization | None = None,
    *,
    law: str = "exact",
) -> ModeFlow:
    """Gradient flow of diagonal p and q (…, D), in the order of the modes, at flow times (T,): many starts in one call.

    `law`: "exact", integrated to 1e-10 or better, or "decoupled", the closed form of each mode alone. Where p = −q,
    what grows comes from rounding, and fewer digits of it are right.
    ValueError where the outputs share no basis with the inputs, for p and q of other shapes, a negative time, or a mode
    without teacher under the decoupled law; ArithmeticError where the equations cannot be integrated.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1, 0.5, 0.25], teachers=Gaussian.shared_basis([1] * 4), context_length=20)
    >>> mode_flow(task, [1e-3] * 4, [1e-3] * 4, [0, 4, 180]).coefficients.round(4)
    array([[0.    , 0.    , 0.    , 0.    ],
           [0.4545, 0.0022, 0.    , 0.    ],
           [0.4282, 0.8167, 1.5252, 2.1279]])
    """
    modes = mode_task(task, model, "mode_flow")
    D = modes.dimension
    p0 = finite_array(p, "p", "(..., D)", D=D)
    q0 = finite_array(q, "q", "(..., D)", D=D)
    if p0.shape != q0.shape:
        raise ValueError(f"p and q must have one shape, not {p0.shape} and {q0.shape}")
    times = flow_times(flow_time)
    check_choice(law, "law", LAWS)
    start = np.stack([p0.reshape(-1, D), q0.reshape(-1, D)], axis=1)  # (S, 2, D)
    if law == "decoupled":
        values = decoupled_flow(modes, start, times)  # (T, S, 2, D)
    else:
        # With the coupling of all modes.
        values = solve_starts(ExactModes(modes), start, times)
    p_t = values[:, :, 0].reshape(len(times), *p0.shape)
    q_t = values[:, :, 1].reshape(len(times), *p0.shape)
    return ModeFlow(times, p_t, q_t, loss_of_modes(modes, p_t, q_t), law, modes)


class ExactModes(NamedTuple):
    """The exact flow of p and q."""

    modes: ModeTask

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (S, 2, D) at x (S, 2, D)."""
        return np.stack(velocity_of_modes(self.modes, x[:, 0], x[:, 1]), axis=1)

    def jacobian(self, x: FloatArray) -> FloatArray:
        """Derivatives (2D, 2D) of the velocity of one start at x (2, D)."""
        return -half_hessian_of_modes(self.modes, x[0], x[1])

    def fastest_rate(self, x: FloatArray) -> float:
        """The largest growth rate at the origin, or curvature at x (S, 2, D)."""
        s, ω = self.modes.inputs, self.modes.teachers
        p, q = x[:, 0], x[:, 1]
        T_p = np.sum(self.modes.labels * p**2, axis=-1, keepdims=True)
        T_q = np.sum(s**2 * q**2, axis=-1, keepdims=True)
        pair = self.modes.pairs * ω * s**3
        by_p = pair * q**2 + self.modes.single * self.modes.labels * T_q
        by_q = pair * p**2 + self.modes.single * s**2 * T_p
        rates = [np.max(self.modes.rates), np.max(by_p), np.max(by_q)]
        return float(max(rates))


class DecoupledRates(NamedTuple):
    """Of ṗ = q (α − κ p q), q̇ = p (α − κ p q) for each mode: `growth` α = ℓωs² and `curvature` κ = ωs²s∞, (D,)."""

    growth: FloatArray
    curvature: FloatArray

    @property
    def coefficients(self) -> FloatArray:
        """α/κ = ℓ/s∞ (D,), what each mode learns; 0 where nothing varies."""
        return np.divide(
            self.growth,
            self.curvature,
            out=np.zeros_like(self.growth),
            where=self.curvature > 0,
        )


def decoupled_rates(modes: ModeTask) -> DecoupledRates:
    """Growth and curvature of each mode alone; ValueError where an input varies and its teacher does not."""
    s, ω = modes.inputs, modes.teachers
    if np.any((s > 0) & (ω == 0)):
        raise ValueError(
            "the decoupled law is for modes whose teachers vary, and mode "
            f"{int(np.argmax((s > 0) & (ω == 0))) + 1} has the variance 0: use law='exact'"
        )
    # ω s² s∞ = g ω s³ + k s² Σ (ωs + σ²), which needs no division by ω.
    coupling = modes.single * s**2 * np.sum(modes.labels)
    return DecoupledRates(modes.rates, modes.pairs * ω * s**3 + coupling)


def decoupled_flow(modes: ModeTask, start: FloatArray, times: FloatArray) -> FloatArray:
    """The closed form (T, S, 2, D) of the decoupled law from `start` (S, 2, D), of either sign and any size."""
    rates = decoupled_rates(modes)
    values = np.empty((len(times), *start.shape))
    for number, mode in np.ndindex(len(start), modes.dimension):
        p0, q0 = start[number, :, mode]
        if rates.growth[mode] == 0:
            # An input that does not vary moves nothing.
            values[:, number, :, mode] = p0, q0
            continue
        α, κ = float(rates.growth[mode]), float(rates.curvature[mode])
        p, q = two_layer_amplitudes(times, float(p0), float(q0), α, κ)
        values[:, number, 0, mode] = p
        values[:, number, 1, mode] = q
    return values
