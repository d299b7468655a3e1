"""The loss of one layer ŷ = p β q x_q with diagonal p and q in the coordinates of the modes, and its gradient."""

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...task import Task
from .mode_tasks import ModeTask, mode_task


def mode_loss(
    task: Task, p: ArrayLike, q: ArrayLike, model: Parametrization | None = None
) -> FloatArray:
    """L (…) of diagonal p and q, (…, D) each in the order of the modes, in units of y².

    ValueError where the task has no shared basis, or p or q another shape. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1, 0.5, 0.25], teachers=Gaussian.shared_basis([1] * 4), context_length=20)
    >>> mode_loss(task, [0.0] * 4, [0.0] * 4)
    array(3.75)
    """
    modes = mode_task(task, model, "mode_loss")
    D = modes.dimension
    p_modes = finite_array(p, "p", "(..., D)", D=D)
    q_modes = finite_array(q, "q", "(..., D)", D=D)
    return loss_of_modes(modes, p_modes, q_modes)


def loss_of_modes(modes: ModeTask, p: FloatArray, q: FloatArray) -> FloatArray:
    """L (…) of p and q (…, D)."""
    s, ω = modes.inputs, modes.teachers
    a = p * q
    T_p = np.sum(modes.labels * p**2, axis=-1)
    T_q = np.sum(s**2 * q**2, axis=-1)
    signal = -2 * modes.linear * ω * s**2 * a + modes.pairs * ω * s**3 * a**2
    return np.asarray(
        modes.zero_loss + np.sum(signal, axis=-1) + modes.single * T_p * T_q
    )


def velocity_of_modes(
    modes: ModeTask, p: FloatArray, q: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """−½ ∂L/∂p and −½ ∂L/∂q, (…, D) each: the flow of the weights."""
    s, ω = modes.inputs, modes.teachers
    T_p = np.sum(modes.labels * p**2, axis=-1, keepdims=True)
    T_q = np.sum(s**2 * q**2, axis=-1, keepdims=True)
    residual = modes.linear * ω * s**2 - modes.pairs * ω * s**3 * p * q
    p_dot = residual * q - modes.single * T_q * modes.labels * p
    q_dot = residual * p - modes.single * T_p * s**2 * q
    return p_dot, q_dot


def half_hessian_of_modes(modes: ModeTask, p: FloatArray, q: FloatArray) -> FloatArray:
    """The Hessian of ½L (2D, 2D) by the diagonal p and then q, at p and q (D,)."""
    s, ω, labels = modes.inputs, modes.teachers, modes.labels
    T_p = np.sum(labels * p**2)
    T_q = np.sum(s**2 * q**2)
    pair = modes.pairs * ω * s**3
    by_p = np.diag(pair * q**2 + modes.single * labels * T_q)
    by_q = np.diag(pair * p**2 + modes.single * s**2 * T_p)
    mixed = np.diag(2 * pair * p * q - modes.rates)
    mixed = mixed + 2 * modes.single * np.outer(labels * p, s**2 * q)
    return np.block([[by_p, mixed], [mixed.T, by_q]])
