"""The largest step at which descent stays at a minimum of one layer on modes: 2 over the largest curvature there.

A minimum is a line p → cp, q → q/c, along which the curvature changes, so that descent above the edge of one point can
slide to a flatter one. Entries of p and q off the modes have curvatures of their own and couple to nothing. Derived
here.
"""

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import check_choice, finite_array
from ...task import Task
from .minima import minimum
from .mode_flows import LAWS, decoupled_rates
from .mode_losses import half_hessian_of_modes
from .mode_points import amplitudes_of
from .mode_tasks import ModeTask, mode_task
from .units_of_modes import refuse_extreme_units

# Of ten, of variances: curvatures have three powers of that of x.
_LARGEST_POWER = 60
# Beyond it and its inverse the squares of p or q leave the numbers of a double.
_SMALLEST_SCALE = 1e-50


def largest_step(
    task: Task,
    scale: ArrayLike | str = 1.0,
    model: Parametrization | None = None,
    *,
    law: str = "exact",
) -> FloatArray:
    """2/λ_max of the Hessian of ½L at the minimum, (…) of `scale` c (…): a bound of the flow time 2η of a step.

    `scale` multiplies p and divides q of the point where (ωs + σ²) p² = s² q²; "balanced" is that where |p| = |q|, at
    which the flow from small weights ends. `law` "decoupled" is of each mode alone, at that scale of its own minimum.
    The learning rate η may be half of it. ValueError where the outputs share no basis, for variances of x or y
    beyond 1e±60, and for a scale that is not positive, or beyond 1e±50.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1, 0.5, 0.25], teachers=Gaussian.shared_basis([1] * 4), context_length=20)
    >>> largest_step(task).round(6), largest_step(task, "balanced").round(6)
    (np.float64(0.248591), np.float64(0.199454))
    """
    modes = mode_task(task, model, "largest_step")
    refuse_extreme_units(modes, "largest_step", _LARGEST_POWER)
    check_choice(law, "law", LAWS)
    learned = (
        minimum(task, model).coefficients
        if law == "exact"
        else decoupled_rates(modes).coefficients
    )  # (D,)
    is_balanced = isinstance(scale, str)
    if is_balanced:
        check_choice(scale, "scale", ("balanced",))
    p, q = _amplitudes(modes, learned, law, balanced=is_balanced)
    c = np.ones(()) if is_balanced else finite_array(scale, "scale")
    if np.any(c <= 0):
        raise ValueError(f"scale must be positive, not {np.min(c):g}")
    curvature = _coupled_curvature if law == "exact" else _decoupled_curvature
    refuse_extreme_scale(c)
    largest = [curvature(modes, factor * p, q / factor) for factor in c.flat]
    with np.errstate(divide="ignore"):
        return np.asarray(2 / np.array(largest).reshape(c.shape))[()]


def refuse_extreme_scale(scale: FloatArray) -> None:
    """ValueError for scales (…) whose squares, times those of p and q, leave the numbers of a double."""
    if not np.all((scale >= _SMALLEST_SCALE) & (scale <= 1 / _SMALLEST_SCALE)):
        raise ValueError(
            f"scale must lie between {_SMALLEST_SCALE:g} and {1 / _SMALLEST_SCALE:g}, as curvatures hold its square"
        )


def _amplitudes(
    modes: ModeTask, learned: FloatArray, law: str, *, balanced: bool
) -> tuple[FloatArray, FloatArray]:
    """p and q (D,) of the minimum; under the decoupled law each mode is balanced alone."""
    if law == "decoupled" and balanced:
        return np.sqrt(learned), np.sqrt(learned)
    return amplitudes_of(modes, learned, balanced=balanced)


def _decoupled_curvature(modes: ModeTask, p: FloatArray, q: FloatArray) -> float:
    """The largest κ (p² + q²): the curvature of ½L across the line p q = α/κ of each mode."""
    rates = decoupled_rates(modes)
    return float(np.max(rates.curvature * (p**2 + q**2)))


def _coupled_curvature(modes: ModeTask, p: FloatArray, q: FloatArray) -> float:
    """The largest eigenvalue of the Hessian of ½L over all of p and q at diagonal ones (D,)."""
    on_modes = np.linalg.eigvalsh(half_hessian_of_modes(modes, p, q))[-1]
    s, ω, labels = modes.inputs, modes.teachers, modes.labels
    # An entry p_ij moves with the curvature of p_jj; an entry q_ij with s_j in place of one factor s_i of that of q_ii.
    of_q = modes.pairs * ω * s**2 * p**2 + modes.single * s * np.sum(labels * p**2)
    off_modes = np.max(s) * np.max(of_q)
    return float(max(on_modes, off_modes if len(s) > 1 else 0.0))
