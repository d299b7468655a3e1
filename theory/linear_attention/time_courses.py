"""What a run should look like: loss and coefficients against flow time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.time_axis import draw_losses, line_style
from ...task import Task
from ..moments.population_loss import Population, population
from ..ode import flow_times
from ..two_layer import two_layer_amplitudes
from .low_rank import low_rank_amplitudes
from .merged import (
    aligned_amplitudes,
    length,
    matrix_amplitudes,
    unstable_mode_amplitude,
)
from .rank_one import rank_one_amplitude
from .saddle_to_saddle.staircases import staircase, warn_if_sensitive

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LARGEST = 1e45
"""Amplitudes whose sixth powers, which the loss holds, are numbers."""

WITHOUT_STEPS = (
    "a time course knows no learning rate, so no steps: "
    "draw the run with run.plot(x='flow_time'), or use overlay"
)
"""Why theory alone is not drawn against steps."""


@dataclass(frozen=True, eq=False)
class TimeCourse:
    """Predicted loss and coefficients at given flow times.

    `flow_time` (T,) is 2·learning rate·steps. `loss` (T,), in units of y². `amplitudes` (T, ·): for separate heads
    v_d (from amplitudes, rank one) or κ_d of each direction, (T, D) by decreasing gain; for merged ones s and then
    u_d, (T, 1 + D). `coefficients` (T, D): e_dᵀ M e_d in the same order; where Λ and Ω do not commute the e_d are
    the eigenvectors of Λ by decreasing λ. `source` says what the curve is: "closed form", "reduced ODE", "growing
    mode" (exact as the initial weights shrink) or "staircase" (the flow of all heads, to about 1e-5 in its exit
    times).
    """

    flow_time: FloatArray
    loss: FloatArray
    amplitudes: FloatArray
    coefficients: FloatArray
    source: str

    def plot(
        self, ax: "Axes | None" = None, *, x: str | None = None, **style: Any
    ) -> "Axes":
        """Draw the loss, dashed, against flow time on `ax` (new axes if None); returns the matplotlib axes.

        `style` goes to the line. ValueError for `x` other than "flow_time", and on axes that count steps.
        """
        order = np.argsort(self.flow_time, kind="stable")
        line = line_style(style, linestyle="--")
        losses = {f"theory ({self.source})": (self.loss[order], line)}
        return draw_losses(
            ax, {"flow_time": self.flow_time[order]}, losses, x, WITHOUT_STEPS
        )


def time_course(
    task: Task, model: Parametrization, flow_time: ArrayLike, initial: Any
) -> TimeCourse:
    """The predicted `TimeCourse` of gradient flow on unlimited data at `flow_time` (T,), which need not be sorted.

    `initial` is one of
    - Separate: balanced amplitudes (D,) by decreasing gain, or one number for the first H·R directions. Each head
      holds R nonzero ones, in that order. Exact at any size, in closed form for rank one.
    - Merged: w₀, which starts the growing mode s = w₀, u = w₀ b/‖b‖, or a pair (s, u) with u (D,) or one number
      along the growing mode. Exact; in closed form where all directions are equal.
    - weights, full size, by name. Merged follows the growing mode, the limit of small weights; separate follows the
      flow of all heads from any weights, as `staircase` does. Only the blocks that move on unlimited data are read.

    ValueError for softmax or another model, amplitudes where Λ and Ω do not commute, more amplitudes than H·R, or a
    negative time, ArithmeticError where `staircase` raises it. `SensitiveStaircaseWarning` where the times hold for
    exactly these weights only: they rest on equal heads, on a ridge, or on exact zeros. Source: Zhang et al. 2025
    (arXiv 2501.16265), on both parametrizations.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> curve = time_course(task, Separate(heads=4), [0, 100, 1000], initial=0.1)
    >>> curve.loss.round(4), curve.source
    (array([0.9994, 0.5335, 0.1366]), 'closed form')
    """
    if not isinstance(model, (Merged, Separate)):
        raise ValueError(
            f"time_course predicts Merged and Separate, not {type(model).__name__}: simulate it instead"
        )
    times, moments = flow_times(flow_time), population(task, model)
    if isinstance(initial, Mapping):
        if isinstance(model, Separate):
            return _staircase_course(task, model, times, initial)
        return _growing_course(
            task, moments, times, unstable_mode_amplitude(moments, initial)
        )
    if not moments.is_aligned:
        raise ValueError(
            "Λ and Ω do not commute, so amplitudes per direction do not close: pass initial weights instead"
        )
    if isinstance(model, Separate):
        return _separate_course(model, moments, times, initial)
    return _merged_course(moments, times, initial)


def _separate_course(
    model: Separate, moments: Population, times: FloatArray, initial: Any
) -> TimeCourse:
    start = _separate_start(model, moments.dimension, initial)
    if model.rank == 1:
        v = rank_one_amplitude(
            times[:, None], start, moments.b, 1 / moments.coefficients
        )
        return _aligned_course(moments, times, v, v**3, "closed form")
    κ, coefficients = np.zeros((2, len(times), moments.dimension))
    saturation, held = moments.a * moments.lam, np.flatnonzero(start)
    for first in range(0, len(held), model.rank):
        d = held[first : first + model.rank]
        v, κ[:, d] = low_rank_amplitudes(
            times,
            float(np.linalg.norm(start[d])),
            start[d],
            moments.b[d],
            saturation[d],
        )
        coefficients[:, d] = v[:, None] * κ[:, d] ** 2
    return _aligned_course(moments, times, κ, coefficients, "reduced ODE")


def _separate_start(model: Separate, dimension: int, initial: Any) -> FloatArray:
    start, places = _finite("initial", initial), model.head_count * model.rank
    if start.ndim == 0:
        start = np.where(np.arange(dimension) < places, start, 0.0)
    if start.shape != (dimension,):
        raise ValueError(
            f"initial must be a number or have shape ({dimension},), not {start.shape}"
        )
    if np.count_nonzero(start) > places:
        raise ValueError(
            f"{model.head_count} heads of rank {model.rank} hold {places} directions, "
            f"but initial has {np.count_nonzero(start)} nonzero amplitudes: set the others to 0"
        )
    if model.rank > 1 and np.any(start < 0):
        raise ValueError(
            "amplitudes of heads of rank above 1 must be zero or more: their sign has no meaning"
        )
    return start


def _merged_course(moments: Population, times: FloatArray, initial: Any) -> TimeCourse:
    mode = moments.b / length(moments.b)
    if isinstance(initial, (tuple, list)) and len(initial) == 2:
        s0, given = (_finite("initial", part) for part in initial)
    else:
        s0 = given = _finite("initial", initial)
    if s0.ndim or given.shape not in ((), mode.shape):
        raise ValueError(
            f"initial of a merged model must be a number or a pair (s, u) with u a number or of shape {mode.shape}"
        )
    u0 = given if given.ndim else given * mode
    limit = moments.a * moments.lam
    if given.ndim == 0 and np.allclose(
        [moments.b, limit], [moments.b[:1], limit[:1]], rtol=1e-13, atol=0
    ):
        s, u = two_layer_amplitudes(
            times, float(s0), float(given), length(moments.b), float(limit[0])
        )
        shared, source = np.outer(u, mode), "closed form"
    else:
        s, shared = aligned_amplitudes(moments, times, float(s0), u0)
        source = "reduced ODE"
    return _aligned_course(
        moments, times, np.column_stack((s, shared)), s[:, None] * shared, source
    )


def _growing_course(
    task: Task, moments: Population, times: FloatArray, w0: float
) -> TimeCourse:
    if moments.is_aligned:
        exact = _merged_course(moments, times, w0)
        return TimeCourse(
            times, exact.loss, exact.amplitudes, exact.coefficients, "growing mode"
        )
    s, shared = matrix_amplitudes(
        moments, times, w0, w0 * moments.B / length(moments.B)
    )
    M = s[:, None, None] * shared
    diagonals = [_diagonal(task.eigenvectors, matrix) for matrix in (shared, M)]
    return TimeCourse(
        times,
        moments.loss(M),
        np.column_stack((s, diagonals[0])),
        diagonals[1],
        "growing mode",
    )


def _staircase_course(
    task: Task, model: Separate, times: FloatArray, weights: Mapping[str, NDArray[Any]]
) -> TimeCourse:
    steps = staircase(task, model, weights)
    warn_if_sensitive(steps, stacklevel=3)
    return TimeCourse(
        times,
        steps.loss(times),
        steps.amplitudes(times),
        steps.coefficients(times),
        "staircase",
    )


def _aligned_course(
    moments: Population,
    times: FloatArray,
    amplitudes: FloatArray,
    coefficients: FloatArray,
    source: str,
) -> TimeCourse:
    return TimeCourse(
        times, moments.aligned_loss(coefficients), amplitudes, coefficients, source
    )


def _diagonal(basis: FloatArray, matrices: FloatArray) -> FloatArray:
    return cast(
        FloatArray, np.einsum("id,tij,jd->td", basis, matrices, basis, optimize=True)
    )


def _finite(name: str, value: Any) -> FloatArray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be numbers, or weights by name, not {value!r}"
        ) from None
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite: it holds nan or inf")
    if np.any(np.abs(array) > _LARGEST):
        raise ValueError(
            f"{name} must be at most {_LARGEST:g}: beyond, the loss is no number"
        )
    return array
