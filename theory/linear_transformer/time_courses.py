"""Time courses of one layer with several outputs, from amplitudes of its modes or from weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import real_array
from ...task import Task
from ..ode import flow_times
from ..time_courses import LAYER, MODES, TimeCourse, stated_settings
from .kronecker_tasks import factors_of_teachers
from .laws_of_teachers import is_kronecker
from .layer_flows import layer_flow
from .mode_flows import mode_flow
from .mode_tasks import mode_task, one_layer, refuse_decay

_WHAT = "time_course"


def course_of_outputs(
    task: Task,
    model: Parametrization,
    flow_time: ArrayLike,
    start: Any,
    *,
    weight_decay: float = 0.0,
) -> TimeCourse:
    """The `TimeCourse` of one merged head with K > 1 outputs; `theory.time_course` says what `start` may be.

    ValueError for another model, amplitudes where the outputs share no basis with the inputs, or a decay.
    """
    layer = one_layer(task, model, _WHAT)
    refuse_decay(weight_decay)
    times = flow_times(flow_time)
    if isinstance(start, Mapping):
        return _from_weights(task, layer, times, start)
    if is_kronecker(task):
        return _of_kronecker(task, layer, times, start)
    p0, q0 = _amplitudes(start, task.dimension)
    flow = mode_flow(task, p0, q0, times, layer)
    return TimeCourse(
        flow_time=times,
        loss=flow.loss,
        amplitudes=np.concatenate([flow.p, flow.q], axis=1),
        coefficients=flow.coefficients,
        source=MODES,
        settings=stated_settings(task, layer, 0.0),
    )


def _amplitudes(start: Any, dimension: int) -> tuple[FloatArray, FloatArray]:
    """p and q (D,) of one number for all, or of a pair of numbers or vectors; ValueError for another start."""
    is_sequence = isinstance(start, (tuple, list, np.ndarray)) and not (
        isinstance(start, np.ndarray) and start.ndim == 0
    )
    if is_sequence and len(start) == 2:
        both = list(start)
    elif not is_sequence:
        both = [start, start]
    else:
        raise ValueError(
            "start of several outputs is one number, a pair (p, q), or weights by name"
        )
    first, second = (
        real_array(value, f"start, its {name},", "()", "(D,)", D=dimension)
        for value, name in zip(both, ("p", "q"), strict=True)
    )
    return np.broadcast_to(first, dimension), np.broadcast_to(second, dimension)


def _of_kronecker(
    task: Task, model: Merged, times: FloatArray, start: Any
) -> TimeCourse:
    """The course of the unstable mode p = w₀ Γ/|Γ|, q = w₀ ΛΩΛ/|ΛΩΛ| on teachers of Γ ⊗ Ω."""
    if np.ndim(start) > 0:
        raise ValueError(
            "start of Kronecker teachers is one number w₀, along the unstable mode, or weights by name"
        )
    w0 = float(real_array(start, "start"))
    Γ, Ω = factors_of_teachers(task, _WHAT)
    growth = task.covariance @ Ω @ task.covariance
    p0 = w0 * Γ / np.linalg.norm(Γ)
    q0 = w0 * growth / np.linalg.norm(growth)
    return _of_layer(task, model, times, p0, q0)


def _from_weights(
    task: Task, model: Merged, times: FloatArray, start: Mapping[str, Any]
) -> TimeCourse:
    """The course of whole p and q; coefficients are those on the modes, or else on the coordinates of x."""
    p0, q0 = layer_blocks(task, model, start)
    return _of_layer(task, model, times, p0, q0)


def _of_layer(
    task: Task, model: Merged, times: FloatArray, p0: FloatArray, q0: FloatArray
) -> TimeCourse:
    """The course of whole p and q."""
    flow = layer_flow(task, p0, q0, times, model)
    T = len(times)
    return TimeCourse(
        flow_time=times,
        loss=flow.loss,
        amplitudes=np.concatenate(
            [flow.p.reshape(T, -1), flow.q.reshape(T, -1)], axis=1
        ),
        coefficients=_coefficients(task, model, flow.p, flow.q),
        source=LAYER,
        settings=stated_settings(task, model, 0.0),
    )


def layer_blocks(
    task: Task, model: Parametrization, weights: Mapping[str, Any]
) -> tuple[FloatArray, FloatArray]:
    """p (K, K) and q (D, D) of the weights of one merged head; ValueError for other names and shapes."""
    K, D = task.outputs, task.dimension
    shapes = model.shapes(D)
    if set(weights) != set(shapes):
        raise ValueError(
            f"{model} has weights {sorted(shapes)}, and start {sorted(weights)}"
        )
    value, key_query = (
        real_array(weights[name], f"start[{name!r}]") for name in ("value", "key_query")
    )
    for name, array in (("value", value), ("key_query", key_query)):
        if array.shape != shapes[name]:
            raise ValueError(
                f"start[{name!r}] must have shape {shapes[name]}, not {array.shape}"
            )
    return value[0, -K:, -K:], key_query[0, :D, :D]


def _coefficients(
    task: Task, model: Parametrization, p: FloatArray, q: FloatArray
) -> FloatArray:
    """u_αᵀ p u_α · u_αᵀ q u_α (T, D) on the modes; without modes p_ii q_dd (T, KD), one output after the other."""
    try:
        U = mode_task(task, model, _WHAT).basis
    except ValueError:
        p_diagonal = np.einsum("tii->ti", p)
        q_diagonal = np.einsum("tdd->td", q)
        products = p_diagonal[:, :, None] * q_diagonal[:, None, :]
        return np.asarray(products.reshape(len(p), -1))
    p_modes = np.einsum("ia,tij,ja->ta", U, p, U)
    q_modes = np.einsum("ia,tij,ja->ta", U, q, U)
    return np.asarray(p_modes * q_modes)
