"""Gradient flow of softmax heads on the symmetric family: 2H equations for ω and μ.

dθ/dt = −½ ∂L/∂θ on the weights B_h = (ω_h 1; 0), a_h = (0, μ_h) is, since |B_h|² = D ω_h²,

    dω_h/dt = −(ρ/2) ∂L/∂ω_h,    dμ_h/dt = −½ ∂L/∂μ_h,    ρ = 1/D

Flow time is 2η a step, as everywhere. He et al. 2025 (arXiv 2503.12734) follow the same flow with ρ = 1, on half of the
approximate loss: their time is this flow time. The family is invariant, so on the exact loss nothing is neglected.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_choice,
    check_shape,
    finite_array,
    true_or_false,
)
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.files import (
    AnyPath,
    as_path,
    read_arrays,
    settings_of_file,
    write_atomically,
)
from ...runtime.time_axis import draw_prediction
from ...task import Task, stated_task
from ..call_order import require_task_first
from ..ode import flow_times
from .approximate_losses import refuse_large_exponents, white_task
from .head_paths import approximate_path, exact_path, path_times
from .head_scalars import checked_head_scalars
from .metrics import LOSSES, checked_metric
from .phases import HeadPhases, linear_rates, measured_phases, phases_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WITHOUT_STEPS = (
    "a reduced flow knows no learning rate, so no steps: "
    "draw the run with run.plot(x='flow_time'), or use overlay"
)
_EQUATIONS = (
    r"\dot\omega_h = -\tfrac{\rho}{2} \partial L/\partial\omega_h, \quad "
    r"\dot\mu_h = -\tfrac12 \partial L/\partial\mu_h"
)
_SERIES = ("flow_time", "omega", "mu", "loss")


@dataclass(frozen=True, eq=False, repr=False)
class ReducedFlow(Displayed):
    """ω, μ and loss of softmax heads along gradient flow.

    `flow_time` (T,) is 2·learning rate·steps; `omega`, `mu` (T, H); `loss` (T,) in units of y². `kind` is the loss
    whose flow it is, "exact" or "approximate", and `loss` is that one; `metric` is ρ of dω/dt = −(ρ/2) ∂L/∂ω.
    `phases` are measured up to the last time, at many more times than those asked for. `settings` hold the "task", as
    far as a file can, and "query_token", so that a run of other ones is told apart.
    """

    flow_time: FloatArray
    omega: FloatArray
    mu: FloatArray
    loss: FloatArray
    kind: str
    metric: float
    phases: HeadPhases
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """What the curve is, for legends and overlays."""
        return f"reduced flow, {self.kind} loss"

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, the kind of loss, the metric and the phases."""
        arrays = {name: getattr(self, name).tolist() for name in _SERIES}
        settings = {"kind": self.kind, "metric": self.metric}
        return arrays | settings | {"phases": self.phases.to_dict()}

    def save(self, path: AnyPath) -> Path:
        """Write the flow to an npz file, atomically; `ReducedFlow.load` reads it. OSError if it cannot be written."""
        arrays = {name: getattr(self, name) for name in _SERIES}
        settings: dict[str, Any] = {
            "kind": np.array(self.kind),
            "metric": np.array(self.metric),
            "phases": np.array(json.dumps(self.phases.to_dict())),
            "settings": np.array(json.dumps(self.settings)),
        }
        return write_atomically(path, lambda file: np.savez(file, **arrays, **settings))

    @classmethod
    def load(cls, path: AnyPath) -> "ReducedFlow":
        """The flow that `save` wrote; ValueError if the file is damaged or something else, OSError if it is missing.

        >>> import tempfile
        >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, context_length=40)
        >>> flow = reduced_flow(task, [0.1], [0.1], [0.0, 1.0], loss="approximate")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ReducedFlow.load(flow.save(f"{folder}/flow.npz")).kind
        'approximate'
        """
        arrays = read_arrays(path)
        missing = [
            name
            for name in (*_SERIES, "kind", "metric", "phases")
            if name not in arrays
        ]
        if missing:
            raise ValueError(
                f"{as_path(path)} is no reduced flow: {', '.join(missing)} missing"
            )
        series = {name: finite_array(arrays[name], name) for name in _SERIES}
        check_shape(series["flow_time"], "flow_time", "(T,)")
        count = len(series["flow_time"])
        check_shape(series["omega"], "omega", "(T, H)", T=count)
        check_shape(series["mu"], "mu", "(T, H)", T=count, H=series["omega"].shape[1])
        check_shape(series["loss"], "loss", "(T,)", T=count)
        kind = str(arrays["kind"])
        check_choice(kind, "kind", LOSSES)
        return cls(
            **series,
            kind=kind,
            metric=float(arrays["metric"]),
            phases=phases_of(json.loads(str(arrays["phases"]))),
            settings=settings_of_file(path, arrays),
        )

    def summary(self) -> Summary:
        """The loss and the heads at the first and the last time, on one screen."""
        by_time = np.argsort(self.flow_time, kind="stable")
        first, last = by_time[0], by_time[-1]
        rows = {
            "flow time": array_summary(self.flow_time),
            "loss": f"{self.loss[first]:.6g} → {self.loss[last]:.6g}",
            "ω at the end": array_summary(self.omega[last]),
            "μ at the end": array_summary(self.mu[last]),
            "metric ρ": f"{self.metric:.6g}",
            "phases": self.phases.in_words(),
        }
        return Summary(
            f"Reduced flow of softmax heads ({self.kind} loss)",
            rows,
            {"equations": _EQUATIONS},
        )

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
            without=_WITHOUT_STEPS,
        )


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

    `loss`: "exact" or "approximate" (without the query's token, both for white inputs). `metric`: ρ of
    dω/dt = −(ρ/2) ∂L/∂ω, "matrix" for 1/D, the flow of the weights B themselves, "euclidean" for 1, or a number:
    1/(D s²) where scores are divided by s.
    ValueError for other inputs and options, and where one loss has no number; ArithmeticError if the equations cannot
    be integrated. Source: the reduced flow of He et al. 2025 (arXiv 2503.12734); its exact form is derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> flow = reduced_flow(task, [0.01, -0.02], [0.01, -0.01], [0, 50, 1e6], loss="approximate")
    >>> flow.loss.round(4)
    array([1.0994, 0.2281, 0.2209])
    """
    require_task_first("reduced_flow(task, omega, mu, flow_time)", task, omega)
    ω, μ = checked_head_scalars(omega, mu)
    check_shape(ω, "omega", "(H,)")
    times = flow_times(flow_time)
    check_choice(loss, "loss", LOSSES)
    white = white_task(task, f"the reduced flow on the {loss} loss")
    ρ = checked_metric(metric, task.dimension)
    reads_query = true_or_false(query_token, "query_token")
    if reads_query and loss == "approximate":
        raise ValueError(
            "the approximate loss holds without the query's token: leave query_token out, or use loss='exact'"
        )
    refuse_large_exponents(white, ω)
    start = np.concatenate([ω, μ])
    all_times = path_times(times, white.label_variance * np.sqrt(ρ))
    if loss == "approximate":
        path = approximate_path(white, start, all_times, ρ)
    else:
        path = exact_path(task, start, all_times, ρ, reads_query)
    query = None if loss == "approximate" else reads_query
    rates = linear_rates(task, len(ω), ρ, query_token=query)
    phases = measured_phases(white, path, ρ, rates)
    return ReducedFlow(
        *path.at(times),
        kind=loss,
        metric=ρ,
        phases=phases,
        settings={"task": stated_task(task), "query_token": reads_query},
    )
