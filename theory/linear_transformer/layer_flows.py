"""Gradient flow of one layer with full p (K, K) and q (D, D), for any law that keeps the other blocks zero.

dp/dt = −½∂L/∂p and dq/dt = −½∂L/∂q on the exact loss. |p|² − |q|² is conserved. On a shared basis the entries off the
modes only shrink; a finite list of teachers keeps diagonal p and q diagonal, but entries off it grow from small ones.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...runtime.display import Displayed, Summary, array_summary, change
from ...runtime.line_charts import Line, LineChart
from ...task import Task
from ..ode import flow_times, in_units, integrate
from .layer_losses import (
    LayerMoments,
    gradient_of_layer,
    half_hessian_of_layer,
    layer_moments,
    loss_of_layer,
)


@dataclass(frozen=True, eq=False, repr=False)
class LayerFlow(Displayed):
    """p, q and the loss along gradient flow: `flow_time` (T,) is 2·learning rate·steps, `loss` (T,) in units of y².

    `p` (T, K, K) and `q` (T, D, D) are in the coordinates of the task.
    """

    flow_time: FloatArray
    p: FloatArray
    q: FloatArray
    loss: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists."""
        names = ("flow_time", "p", "q", "loss")
        return {name: getattr(self, name).tolist() for name in names}

    def summary(self) -> Summary:
        """The loss at the first and the last time, on one screen."""
        rows = {
            "flow time": array_summary(self.flow_time),
            "loss": array_summary(self.loss),
            "outputs": self.p.shape[-1],
            "dimension": self.q.shape[-1],
        }
        formulas = {"equation": r"\dot\theta = -\tfrac12 \partial L/\partial\theta"}
        return Summary("Flow of one layer", rows, formulas)

    def chart(self) -> LineChart:
        """The loss, dashed, against flow time."""
        line = Line(self.flow_time, self.loss, style="dashed")
        return LineChart((line,), "flow time", "loss", change(self.loss))


def layer_flow(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    flow_time: ArrayLike,
    model: Parametrization | None = None,
) -> LayerFlow:
    """Gradient flow of p (K, K) and q (D, D) on the exact loss at flow times (T,), to about 1e-11.

    ValueError for another model, inputs whose fourth moments are unknown, teachers that move the blocks that are zero
    here, and p or q of another shape; ArithmeticError where the equations cannot be integrated.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1], teachers=Gaussian.kronecker([[1, 0], [0, 1]], [[1, 0], [0, 1]]), context_length=20)
    >>> flow = layer_flow(task, 1e-3 * np.eye(2), 1e-3 * np.eye(2), [0, 100])
    >>> flow.loss.round(4), flow.p[1].round(4)
    (array([6.    , 0.7778]), array([[0.8172, 0.    ],
           [0.    , 0.8172]]))
    """
    moments = layer_moments(task, model, "layer_flow")
    if not task.teachers.symmetric:
        raise ValueError(
            "layer_flow is known for teachers where −W has the law of W, which keep the other blocks zero: "
            "Pool(…, signs=True) has the same second moments"
        )
    K, D = moments.outputs, moments.dimension
    outputs = finite_array(p, "p", "(K, K)", K=K)
    inputs = finite_array(q, "q", "(D, D)", D=D)
    times = flow_times(flow_time)
    start = np.concatenate([outputs.ravel(), inputs.ravel()])
    flat = _FlatLayer(moments, _fastest_rate(moments, outputs, inputs))
    values = integrate(flat.velocity, start, in_units(times, flat.rate), flat.jacobian)
    p_t, q_t = flat.blocks(values)
    return LayerFlow(times, p_t, q_t, loss_of_layer(moments, p_t, q_t))


class _FlatLayer(NamedTuple):
    """The flow of p and q as one state x (K² + D²,), in units of its fastest rate."""

    moments: LayerMoments
    rate: float

    def blocks(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """p (…, K, K) and q (…, D, D) of states (…, K² + D²)."""
        K, D = self.moments.outputs, self.moments.dimension
        p = x[..., : K * K].reshape(*x.shape[:-1], K, K)
        return p, x[..., K * K :].reshape(*x.shape[:-1], D, D)

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (n,)."""
        gradient = gradient_of_layer(self.moments, *self.blocks(x))
        by_x = np.concatenate([gradient.by_p.ravel(), gradient.by_q.ravel()])
        return np.asarray(-0.5 / self.rate * by_x)

    def jacobian(self, x: FloatArray) -> FloatArray:
        """The derivatives (n, n) of the velocity."""
        return -half_hessian_of_layer(self.moments, *self.blocks(x)) / self.rate


def _fastest_rate(moments: LayerMoments, p: FloatArray, q: FloatArray) -> float:
    """The fastest rate of growth from zero, or the largest curvature at the start."""
    K, D = moments.outputs, moments.dimension
    growth = np.linalg.norm(moments.B.reshape(K * K, D * D), 2)
    curvature = np.linalg.norm(half_hessian_of_layer(moments, p, q), 2)
    return float(max(growth, curvature)) or 1.0
