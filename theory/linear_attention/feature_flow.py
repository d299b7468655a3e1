"""Gradient flow of every weight on the exact loss of a task, mixtures with a fixed teacher among them."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ..moments.features import FeatureMoments


def maps_along_flow(
    model: Parametrization,
    moments: FeatureMoments,
    start: Mapping[str, NDArray[Any]],
    flow_time: ArrayLike,
    rtol: float = 1e-6,
) -> FloatArray:
    """Effective maps M (T, K) on all features along θ̇ = −½ ∂L/∂θ from `start`, at increasing flow times (T,) from 0.

    The flow is that of the heads a (H, D+1) and B (H, D+1, D) themselves, as in merged attention, where they are the
    weights. ArithmeticError if the integration fails. Source: Zhang et al. 2025, in-context and in-weight learning.

    >>> from attndyn import Merged, Task
    >>> from attndyn.theory import feature_moments
    >>> model = Merged(heads=1)
    >>> moments = feature_moments(Task([1.0], context_length=4), model)
    >>> start = {"value": np.array([[0.0, 0.1]]), "key_query": np.array([[[0.1, 0.0], [0.0, 0.0]]])}
    >>> maps = maps_along_flow(model, moments, start, [0.0, 50.0])
    >>> bool(abs(moments.loss(maps)[-1] - moments.minimum_loss) < 1e-6)
    True
    """
    from scipy.integrate import solve_ivp

    times = np.asarray(flow_time, dtype=np.float64)
    a, B = model.heads(start)
    heads = _FlatHeads(moments, a.shape, B.shape)
    path = solve_ivp(
        heads.velocity,
        (0.0, float(times[-1])),
        np.concatenate([a.ravel(), B.ravel()]),
        method="RK45",
        t_eval=times,
        rtol=rtol,
        atol=1e-3 * rtol,
    )
    if not path.success:
        raise ArithmeticError(f"the flow of all weights failed: {path.message}")
    return np.array([moments.effective_map(*heads.unpacked(x)) for x in path.y.T])


class _FlatHeads(NamedTuple):
    """All heads a (H, D+1) and B (H, D+1, D), of these shapes, as one state x (n,)."""

    moments: FeatureMoments
    a_shape: tuple[int, ...]
    B_shape: tuple[int, ...]

    def unpacked(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """a and B of the state."""
        size = math.prod(self.a_shape)
        return x[:size].reshape(self.a_shape), x[size:].reshape(self.B_shape)

    def velocity(self, _: float, x: FloatArray) -> FloatArray:
        """dx/dt = −½ ∂L/∂x (n,)."""
        gradient_a, gradient_B = self.moments.head_gradients(*self.unpacked(x))
        return -0.5 * np.concatenate([gradient_a.ravel(), gradient_B.ravel()])
