"""The minimum of one layer on modes with the noise of one prompt's gradient there, along the line of its scales."""

from typing import NamedTuple

import numpy as np

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...task import Task
from .gradient_noise import NoiseMoments, noise_at, noise_moments
from .minima import minimum
from .mode_points import amplitudes_of


class NoisyMinimum(NamedTuple):
    """The canonical p and q (D, D) of the minimum, and C_p = E|g_p|² and C_q = E|g_q|² there."""

    moments: NoiseMoments
    p: FloatArray
    q: FloatArray
    noise_p: float
    noise_q: float

    @property
    def stable_scale(self) -> float:
        """c* = (C_p/C_q)^{1/4}."""
        return float((self.noise_p / self.noise_q) ** 0.25)

    def differences(self, scale: FloatArray) -> FloatArray:
        """|p|² − |q|² at p → cp and q → q/c."""
        return np.asarray(np.sum(self.p**2) * scale**2 - np.sum(self.q**2) / scale**2)


def noisy_minimum(task: Task, model: Parametrization | None, what: str) -> NoisyMinimum:
    """The minimum with the noise of its gradient; ValueError where nothing is learned, or without noise."""
    moments = noise_moments(task, model, what)
    p, q = amplitudes_of(moments.modes, minimum(task, model).coefficients)
    noise = np.diag(noise_at(moments, np.diag(p), np.diag(q)))
    noise_p, noise_q = noise.reshape(2, -1).sum(axis=1)
    if not (noise_p > 0 and noise_q > 0):
        raise ValueError(
            f"{what} needs a mode whose input and teacher vary: nothing is learned here"
        )
    return NoisyMinimum(moments, np.diag(p), np.diag(q), float(noise_p), float(noise_q))
