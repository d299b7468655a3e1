"""Gradient flow of softmax heads on the symmetric family: 2H equations for ω and μ.

dθ/dt = −½ ∂L/∂θ on the weights B_h = (ω_h 1; 0), a_h = (0, μ_h) is, since |B_h|² = D ω_h²,

    dω_h/dt = −(ρ/2) ∂L/∂ω_h,    dμ_h/dt = −½ ∂L/∂μ_h,    ρ = 1/D

Flow time is 2η a step, as everywhere. He et al. 2025 (arXiv 2503.12734) follow the same flow with ρ = 1, on half of the
approximate loss: their time is this flow time. The family is invariant, so on the exact loss nothing is neglected.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_choice, check_shape, positive_number, true_or_false
from ...runtime.display import Summary
from ...runtime.files import AnyPath, settings_of_file
from ...task import Task, stated_task
from ..call_order import require_task_first
from .approximate_losses import WhiteTask, refuse_large_exponents, white_task
from .head_flows import HeadFlow, times_of_flow
from .head_paths import HeadPath, approximate_path, exact_path, fastest_rate, path_times
from .head_phases import HeadPhases, measured_phases, phases_of
from .head_scalars import checked_head_scalars
from .metrics import LOSSES, checked_metric
from .phases import linear_rates
from .tails import tail_noise

_EQUATIONS = (
    r"\dot\omega_h = -\tfrac{\rho}{2} \partial L/\partial\omega_h, \quad "
    r"\dot\mu_h = -\tfrac12 \partial L/\partial\mu_h"
)


@dataclass(frozen=True, eq=False, repr=False)
class ReducedFlow(HeadFlow):
    """ω, μ and loss of softmax heads along gradient flow.

    `flow_time` (T,) is 2·learning rate·steps; `omega`, `mu` (T, H); `loss` (T,) in units of y². `kind` is the loss
    whose flow it is, "exact" or "approximate", and `loss` is that one; `metric` is ρ of dω/dt = −(ρ/2) ∂L/∂ω.
    `phases` are measured up to the last time, at many more times than those asked for. `settings` hold the "task", as
    far as a file can, and "query_token", so that a run of other ones is told apart.

    >>> import tempfile
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, context_length=40)
    >>> flow = reduced_flow(task, [0.1], [0.1], [0.0, 1.0], loss="approximate")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ReducedFlow.load(flow.save(f"{folder}/flow.npz")).kind
    'approximate'
    """

    kind: str
    metric: float
    phases: HeadPhases
    settings: dict[str, Any] = field(default_factory=dict)

    NAME: ClassVar[str] = "reduced flow"
    SETTINGS: ClassVar[tuple[str, ...]] = ("kind", "metric", "phases")

    @property
    def source(self) -> str:
        """What the curve is, for legends and overlays."""
        return f"reduced flow, {self.kind} loss"

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, the kind of loss, the metric and the phases."""
        settings = {"kind": self.kind, "metric": self.metric}
        return super().to_dict() | settings | {"phases": self.phases.to_dict()}

    def _stored_settings(self) -> dict[str, Any]:
        phases = json.dumps(self.phases.to_dict())
        stored = {
            "kind": self.kind,
            "metric": self.metric,
            "phases": phases,
            "settings": json.dumps(self.settings),
        }
        return {name: np.array(value) for name, value in stored.items()}

    @classmethod
    def _read_settings(
        cls, path: AnyPath, arrays: Mapping[str, NDArray[Any]]
    ) -> dict[str, Any]:
        kind, metric, phases = (arrays[name] for name in cls.SETTINGS)
        check_choice(str(kind), "kind", LOSSES)
        check_shape(metric, "metric", "()")
        return {
            "kind": str(kind),
            "metric": positive_number(metric.item(), "metric"),
            "phases": phases_of(str(phases)),
            "settings": settings_of_file(path, arrays),
        }

    def summary(self) -> Summary:
        """The loss and the heads at the first and the last time, and the phases, on one screen."""
        metric = {"metric ρ": f"{self.metric:.6g}"}
        rows = self._rows() | metric | self.phases.rows()
        return Summary(
            f"Reduced flow of softmax heads ({self.kind} loss)",
            rows,
            {"equations": _EQUATIONS},
        )


# Long because it checks every argument, and hands each to the part that it is for.
def reduced_flow(
    task: Task,
    omega: ArrayLike,
    mu: ArrayLike,
    flow_time: ArrayLike,
    *,
    loss: str = "exact",
    metric: str | float = "matrix",
    query_token: bool = False,
) -> ReducedFlow:
    """Gradient flow of heads (ω_h 1; 0), (0, μ_h) from `omega`, `mu` (H,), at flow times (T,), to any length of time.

    Flow times are zero or more, in any order; what is returned has their order, and phases are measured to the last.
    Heads that start alike remain so, on a flow of which that may be unstable.
    `loss`: "exact" or "approximate" (without the query's token, both for white inputs). `metric`: ρ of
    dω/dt = −(ρ/2) ∂L/∂ω, "matrix" for 1/D, the flow of the weights B themselves, "euclidean" for 1, or a number:
    1/(D s²) where scores are divided by s.
    ValueError for other inputs and options, for starts that are not 0 and below 1e-290, and where one loss has no
    number; ArithmeticError if the equations cannot be integrated.
    Source: the reduced flow of He et al. 2025 (arXiv 2503.12734); its exact form is derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> flow = reduced_flow(task, [0.01, -0.02], [0.01, -0.01], [0, 50, 1e6], loss="approximate")
    >>> flow.loss.round(4)
    array([1.0994, 0.2281, 0.2209])
    """
    require_task_first("reduced_flow(task, omega, mu, flow_time)", task, omega)
    ω, μ = checked_head_scalars(omega, mu)
    check_shape(ω, "omega", "(H,)")
    _refuse_tiny_starts(ω, μ)
    times = times_of_flow(flow_time)
    check_choice(loss, "loss", LOSSES)
    white = white_task(task, f"the reduced flow on the {loss} loss")
    ρ = checked_metric(metric, task.dimension)
    query = _reads_query(loss, query_token)
    refuse_large_exponents(white, ω)
    path = _path(task, white, np.concatenate([ω, μ]), times, (ρ, query))
    rates = linear_rates(task, len(ω), ρ, query_token=query)
    noise = tail_noise(task, white, loss)
    phases = measured_phases(white, path, ρ, rates, noise)
    there = path.at(times)
    return ReducedFlow(
        times,
        there.omega,
        there.mu,
        there.loss,
        kind=loss,
        metric=ρ,
        phases=phases,
        settings={"task": stated_task(task), "query_token": bool(query)},
    )


# Its share that the integrator may be off by, 1e-10, is still a number with all digits.
_SMALLEST_START = 1e-290


def _refuse_tiny_starts(ω: FloatArray, μ: FloatArray) -> None:
    """ValueError for numbers that are not 0, but so small that what they grow by has no digits."""
    sizes = np.abs(np.concatenate([ω, μ]))
    smallest = float(np.min(sizes[sizes > 0], initial=1.0))
    if smallest < _SMALLEST_START:
        raise ValueError(
            f"omega and mu hold a number of size {smallest:.3g}: they may be 0, or of size {_SMALLEST_START:g} or more"
        )


def _reads_query(loss: str, query_token: bool) -> bool | None:
    """Whether the query's token is among the keys; None for the approximate loss, which holds without it alone."""
    reads_query = true_or_false(query_token, "query_token")
    if loss == "exact":
        return reads_query
    if reads_query:
        raise ValueError(
            "the approximate loss holds without the query's token: leave query_token out, or use loss='exact'"
        )
    return None


def _path(
    task: Task,
    white: WhiteTask,
    start: FloatArray,
    times: FloatArray,
    settings: tuple[float, bool | None],
) -> HeadPath:
    """The path from `start` (2H,) at these flow times and between them, for ρ and the loss of `_reads_query`."""
    ρ, query = settings
    all_times = path_times(times, fastest_rate(white, start, ρ))
    if query is None:
        return approximate_path(white, start, all_times, ρ)
    return exact_path(task, start, all_times, ρ, query)
