"""Time courses of one output: the predicted loss and coefficients of a run against flow time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_finite,
    check_shape,
    refuse_wrong_order,
)
from ...task import Task
from ..call_order import require_task_first
from ..moments.population_loss import (
    Population,
    population_of_heads,
    require_gain,
)
from ..ode import flow_times
from ..time_courses import HEADS, UNSTABLE_MODE, TimeCourse, stated_settings
from ..two_layer import two_layer_amplitudes
from .decayed_flow import decayed_heads
from .low_rank import low_rank_amplitudes
from .merged import (
    aligned_amplitudes,
    length,
    matrix_amplitudes,
    unstable_mode_amplitude,
)
from .rank_one import rank_one_amplitude
from .saddle_to_saddle.escapes import SeparateHeads, separate_block
from .saddle_to_saddle.singular_directions import moving_directions
from .saddle_to_saddle.staircases import staircase, warn_if_sensitive
from .weight_decay import checked_decay, refuse_several_outputs

_LARGEST = 1e45
"""Amplitudes whose sixth powers, which the loss holds, are numbers."""


def time_course(
    task: Task,
    model: Parametrization,
    flow_time: ArrayLike,
    start: Any,
    *,
    weight_decay: float = 0.0,
) -> TimeCourse:
    """`theory.time_course` of one output, which says what `start` may be: of Merged and Separate.

    ValueError and ArithmeticError where that says so, and ValueError for any other model.

    >>> from attndyn import Separate, Task
    >>> time_course(Task([2, 1], context_length=9), Separate(2), [0, 100], start=0.1).source
    'closed form'
    """
    call = "time_course(task, model, flow_time, start)"
    require_task_first(call, task, model)
    refuse_wrong_order(
        f"{call}, the weights last",
        not isinstance(flow_time, Mapping),
        flow_time,
        start,
    )
    if not isinstance(model, (Merged, Separate)):
        raise ValueError(
            f"time_course predicts Merged and Separate, not {type(model).__name__}: simulate it instead"
        )
    times = flow_times(flow_time)
    decay = checked_decay(weight_decay)
    course = _course(task, model, times, start, decay)
    return replace(course, settings=stated_settings(task, model, decay))


def _course(
    task: Task,
    model: Merged | Separate,
    times: FloatArray,
    start: Any,
    decay: float,
) -> TimeCourse:
    """The course at these times, by what the model and the start allow; ValueError as `time_course`."""
    loss = population_of_heads(task, model)
    if decay > 0:
        refuse_several_outputs(model)
    if isinstance(start, Mapping) and isinstance(model, Separate):
        if decay > 0 or loss.direction_count == 0:
            heads = separate_block(start, model, task.dimension)
            return _of_all_heads(task, loss, times, heads, decay)
        return _from_separate_weights(task, model, times, start)
    require_gain(loss)
    if isinstance(start, Mapping):
        w0 = unstable_mode_amplitude(loss, start)
        return _from_unstable_mode(task, loss, times, w0, decay)
    if not loss.is_aligned:
        raise ValueError(
            "Λ and Ω do not commute, so amplitudes per direction do not close: start from weights instead"
        )
    if isinstance(model, Separate):
        return _from_separate_amplitudes(model, loss, times, start, decay)
    return _from_merged_amplitudes(loss, times, start, decay)


def _from_separate_amplitudes(
    model: Separate, loss: Population, times: FloatArray, start: Any, decay: float
) -> TimeCourse:
    """Heads on their own directions: in closed form for rank one without decay, else 1 + R equations a head."""
    v0 = _separate_start(model, loss.direction_count, start)  # (D,)
    if model.rank > 1:
        return _of_low_rank_heads(model.rank, loss, times, v0, decay)
    if decay > 0:
        v = _decayed_amplitudes(loss, times, v0, decay)
        return _aligned_course(loss, times, v, v**3, "reduced ODE")
    v = rank_one_amplitude(times[:, None], v0, loss.b, 1 / loss.coefficients)
    return _aligned_course(loss, times, v, v**3, "closed form")


def _decayed_amplitudes(
    loss: Population, times: FloatArray, start: FloatArray, decay: float
) -> FloatArray:
    """v (T, D) of dv/dt = b v² − aλ v⁵ − (wd/2) v on each direction, from `start` (D,) of either sign."""
    amplitudes = np.zeros((len(times), loss.direction_count))
    curvature = loss.a * loss.lam
    for d in np.flatnonzero(start):
        # A balanced head of one pair: |v| = κ.
        v, _ = low_rank_amplitudes(
            times,
            start[d],
            [abs(start[d])],
            loss.b[d],
            curvature[d],
            weight_decay=decay,
        )
        amplitudes[:, d] = v
    return amplitudes


def _of_low_rank_heads(
    rank: int, loss: Population, times: FloatArray, start: FloatArray, decay: float
) -> TimeCourse:
    """Heads that take R started directions each, in order of gain, from balanced amplitudes `start` (D,)."""
    κ = np.zeros((len(times), loss.direction_count))
    coefficients = np.zeros((len(times), loss.direction_count))
    curvature = loss.a * loss.lam
    started = np.flatnonzero(start)
    for first in range(0, len(started), rank):
        d = started[first : first + rank]  # the directions of one head
        v0 = float(np.linalg.norm(start[d]))  # balanced
        v, κ[:, d] = low_rank_amplitudes(
            times, v0, start[d], loss.b[d], curvature[d], weight_decay=decay
        )
        coefficients[:, d] = v[:, None] * κ[:, d] ** 2
    return _aligned_course(loss, times, κ, coefficients, "reduced ODE")


def _separate_start(model: Separate, dimension: int, start: Any) -> FloatArray:
    """The amplitude of each direction (D,), from one number for the first H·R or from all; ValueError as stated."""
    capacity = model.head_count * model.rank
    amplitudes = _amplitudes(start)
    check_shape(amplitudes, "start", "()", "(D,)", D=dimension)
    if amplitudes.ndim == 0:
        amplitudes = np.where(np.arange(dimension) < capacity, amplitudes, 0.0)
    if np.count_nonzero(amplitudes) > capacity:
        raise ValueError(
            f"{model.head_count} heads of rank {model.rank} hold {capacity} directions, "
            f"but start has {np.count_nonzero(amplitudes)} nonzero amplitudes: set the others to 0"
        )
    if model.rank > 1 and np.any(amplitudes < 0):
        raise ValueError(
            "amplitudes of heads of rank above 1 must be zero or more: their sign has no meaning"
        )
    return amplitudes


def _from_merged_amplitudes(
    loss: Population, times: FloatArray, start: Any, decay: float
) -> TimeCourse:
    """One shared U on an aligned task: in closed form along the unstable mode of equal directions without decay."""
    mode = loss.b / length(loss.b)  # (D,)
    s0, size = _merged_start(start, mode.shape)
    curvature = loss.a * loss.lam
    is_white = _are_equal(loss.b) and _are_equal(curvature)
    if size.ndim == 0 and is_white and decay == 0:
        # α = ‖b‖ and κ = aλ of the amplitude along the mode.
        s, along_mode = two_layer_amplitudes(
            times, s0, float(size), length(loss.b), float(curvature[0])
        )
        u = np.outer(along_mode, mode)
        source = "closed form"
    else:
        u0 = size if size.ndim else size * mode
        s, u = aligned_amplitudes(loss, times, s0, u0, weight_decay=decay)
        source = "reduced ODE"
    amplitudes = np.column_stack((s, u))
    return _aligned_course(loss, times, amplitudes, s[:, None] * u, source)


def _merged_start(start: Any, shape: tuple[int, ...]) -> tuple[float, FloatArray]:
    """s₀, and u₀ (D,) or one number along the unstable mode; one number alone is both."""
    if isinstance(start, (tuple, list)) and len(start) == 2:
        s0 = _amplitudes(start[0])
        u0 = _amplitudes(start[1])
    else:
        s0 = u0 = _amplitudes(start)
    if s0.ndim or u0.shape not in ((), shape):
        raise ValueError(
            f"start of a merged model must be a number or a pair (s, u) with u a number or of shape {shape}"
        )
    return float(s0), u0


def _are_equal(values: FloatArray) -> bool:
    """Whether all values are the first one, up to the rounding of an eigensolver."""
    return bool(np.allclose(values, values[:1], rtol=1e-13, atol=0))


def _from_unstable_mode(
    task: Task, loss: Population, times: FloatArray, w0: float, decay: float
) -> TimeCourse:
    """From s = w₀, U = w₀ B/‖B‖, on any task."""
    if loss.is_aligned:
        exact = _from_merged_amplitudes(loss, times, w0, decay)
        return replace(exact, source=UNSTABLE_MODE)
    U0 = w0 * loss.B / length(loss.B)
    s, U = matrix_amplitudes(loss, times, w0, U0, weight_decay=decay)
    M = s[:, None, None] * U  # (T, D, D)
    basis = _basis(task, loss)
    amplitudes = np.column_stack((s, _diagonals(basis, U)))
    coefficients = _diagonals(basis, M)
    return TimeCourse(times, loss.loss(M), amplitudes, coefficients, UNSTABLE_MODE)


def _from_separate_weights(
    task: Task, model: Separate, times: FloatArray, weights: Mapping[str, NDArray[Any]]
) -> TimeCourse:
    steps = staircase(task, model, weights)
    warn_if_sensitive(steps, stacklevel=5)
    return TimeCourse(
        times,
        steps.loss(times),
        steps.amplitudes(times),
        steps.coefficients(times),
        "staircase",
    )


def _of_all_heads(
    task: Task,
    loss: Population,
    times: FloatArray,
    start: SeparateHeads,
    decay: float,
) -> TimeCourse:
    """All heads from any weights, under a weight decay or where no direction has a gain."""
    heads = decayed_heads(loss, times, start, decay)
    basis = _basis(task, loss)
    M = heads.maps  # (T, D, D)
    amplitudes = heads.amplitudes(basis)
    return TimeCourse(times, loss.loss(M), amplitudes, _diagonals(basis, M), HEADS)


def _aligned_course(
    loss: Population,
    times: FloatArray,
    amplitudes: FloatArray,
    coefficients: FloatArray,
    source: str,
) -> TimeCourse:
    losses = loss.aligned_loss(coefficients)
    return TimeCourse(times, losses, amplitudes, coefficients, source)


def _basis(task: Task, loss: Population) -> FloatArray:
    """The directions (D, r) that have a gain, or (D, D') on which x varies where Λ and Ω do not commute."""
    return loss.directions if loss.is_aligned else moving_directions(task, loss).basis


def _diagonals(basis: FloatArray, matrices: FloatArray) -> FloatArray:
    """e_dᵀ M e_d (T, D) of matrices (T, D, D) for the columns e_d of the basis."""
    diagonals = np.einsum("id,tij,jd->td", basis, matrices, basis, optimize=True)
    return np.asarray(diagonals)


def _amplitudes(value: Any) -> FloatArray:
    """Numbers as an array of doubles; ValueError unless they are finite and their loss is a number."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"start must be numbers, or weights by name, not {value!r}"
        ) from None
    check_finite(array, "start")
    if np.any(np.abs(array) > _LARGEST):
        raise ValueError(
            f"start must be at most {_LARGEST:g}: beyond, the loss is no number"
        )
    return array
