"""Mean and covariance of online SGD step by step, closed at second order.

With the mean m, the covariance Σ, the Hessian H of ½L and C = E g gᵀ of one prompt at m, a step of flow time h is

    m ← m − h [∇½L + ½ ∇³½L : Σ]        Σ ← (1 − hH) Σ (1 − hH) + (h²/B) (C − ∇½L ∇½Lᵀ)

The first is exact for a Gaussian law, as ½L is of degree 4; the second is linear in Σ. For large h/B the weights have
heavier tails than a Gaussian. Derived here.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, positive_number
from ...runtime.display import Displayed, Summary, array_summary, change
from ...runtime.line_charts import Line, LineChart
from ...task import Task
from .gradient_noise import NoiseMoments, moments_of_modes, noise_at, noise_moments
from .layer_losses import (
    LayerMoments,
    gradient_of_layer,
    half_hessian_of_layer,
    loss_of_layer,
)
from .step_counts import prompts_of_a_step, whole_steps

MOST_STEPS = 100_000
"""Of `sgd_means`: they take a minute for two modes."""


@dataclass(frozen=True, eq=False, repr=False)
class SgdMoments(Displayed):
    """Means over runs of online SGD after `steps` (T,): of a = p q and of p and q (T, D) on the modes, and of L (T,).

    `covariance` (T, 2D², 2D²) is of all entries, by the rows of p and then of q. Along the scale of p and q it is not
    predicted: single weights diffuse there.
    """

    steps: FloatArray
    p: FloatArray
    q: FloatArray
    coefficients: FloatArray
    loss: FloatArray
    covariance: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """The means as plain numbers and lists."""
        return {
            "steps": self.steps.tolist(),
            "coefficients": self.coefficients.tolist(),
            "loss": self.loss.tolist(),
        }

    def summary(self) -> Summary:
        """The means at the end on one screen."""
        rows = {
            "steps": f"{self.steps[-1]:g}",
            "mean coefficients": array_summary(self.coefficients[-1]),
            "mean loss": f"{self.loss[-1]:.8g}",
        }
        return Summary("Moments of online SGD on modes", rows)

    def chart(self) -> LineChart:
        """The mean loss, dashed, against steps."""
        line = Line(self.steps, self.loss, style="dashed")
        return LineChart((line,), "steps", "mean loss", change(self.loss, "mean loss"))


def sgd_means(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    steps: ArrayLike,
    model: Parametrization | None = None,
    *,
    learning_rate: float,
    batch: int,
) -> SgdMoments:
    """Means and covariance of SGD with this rate on L and `batch` fresh prompts a step, from diagonal p and q (D,).

    p and q are in the coordinates of the modes, `steps` (T,) whole numbers that increase, up to 100,000. ValueError as
    `sgd_noise`; ArithmeticError where the moments diverge. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
    >>> means = sgd_means(task, [0.4, 0.4], [0.4, 0.4], [300], learning_rate=0.01, batch=64)
    >>> means.coefficients[0, 0].round(5), (means.loss / 2).round(5)
    (np.float64(0.36897), array([0.50702]))
    """
    noise = noise_moments(task, model, "sgd_means")
    D = noise.modes.dimension
    h = 2 * positive_number(learning_rate, "learning_rate")
    law = _Law(noise, moments_of_modes(noise.modes), h, prompts_of_a_step(batch))
    start = [
        finite_array(value, name, "(D,)", D=D) for name, value in (("p", p), ("q", q))
    ]
    m = np.array([np.diag(value) for value in start])
    at = whole_steps(
        steps, MOST_STEPS, "sgd_floor and sgd_balance know what they tend to"
    )
    if np.any(np.diff(at) <= 0):
        raise ValueError(f"steps must increase, and these do not: {at.tolist()}")

    recorded = {int(step) for step in at}
    Σ = np.zeros((2 * D**2, 2 * D**2))
    means = []
    covariances = []
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(int(at[-1]) + 1):
            if step > 0:
                m, Σ = law.after_step(m, Σ)
                law.refuse_divergence(m, Σ)
            if step in recorded:
                means.append(m)
                covariances.append(Σ)
    return _course(law, at, np.array(means), np.array(covariances))


class _Law(NamedTuple):
    """The loss and the noise of steps of flow time h with B prompts each."""

    noise: NoiseMoments
    loss: LayerMoments
    h: float
    batch: int

    def after_step(self, m: FloatArray, Σ: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The mean (2, D, D) of p and q and the covariance (n, n) one step later."""
        p, q = m
        drift = self._half_gradient(m)
        keeps = np.eye(len(Σ)) - self.h * half_hessian_of_layer(self.loss, p, q)
        added = noise_at(self.noise, p, q) - np.outer(drift, drift)
        spread = self._half_gradient_of_spread(m, Σ)
        later = m - self.h * (drift + spread).reshape(m.shape)
        return later, keeps @ Σ @ keeps + self.h / self.batch * self.h * added

    def refuse_divergence(self, m: FloatArray, Σ: FloatArray) -> None:
        """ArithmeticError unless all moments are finite."""
        if not (np.all(np.isfinite(m)) and np.all(np.isfinite(Σ))):
            raise ArithmeticError(
                f"the moments diverge at the learning rate {self.h / 2:g} with {self.batch} prompts a step: "
                "take a smaller rate or a larger batch"
            )

    def _half_gradient(self, m: FloatArray) -> FloatArray:
        """∇½L (…, n) at means (…, 2, D, D)."""
        slopes = gradient_of_layer(self.loss, m[..., 0, :, :], m[..., 1, :, :])
        halves = np.stack([slopes.by_p, slopes.by_q], axis=-3) / 2
        return np.asarray(halves.reshape(*m.shape[:-3], -1))

    def _half_gradient_of_spread(self, m: FloatArray, Σ: FloatArray) -> FloatArray:
        """½ ∇³½L : Σ (n,), by second differences, which are exact for a gradient of degree 3."""
        variances, directions = np.linalg.eigh(Σ)
        # Rounding may leave a variance just below zero.
        roots = (directions * np.sqrt(np.maximum(variances, 0))).T  # a root a row
        shifts = roots.reshape(len(Σ), *m.shape)
        around = self._half_gradient(m + shifts) + self._half_gradient(m - shifts)
        return np.asarray(np.sum(around / 2 - self._half_gradient(m), axis=0))


def _course(
    law: _Law, steps: FloatArray, means: FloatArray, covariances: FloatArray
) -> SgdMoments:
    """The record of means (T, 2, D, D) and covariances (T, n, n)."""
    p, q = means[:, 0], means[:, 1]
    D = p.shape[-1]
    places = np.arange(D) * (D + 1)  # of the diagonal of p among all entries
    covariance_pq = covariances[:, places, D**2 + places]  # (T, D)
    p_modes = np.einsum("tdd->td", p)
    q_modes = np.einsum("tdd->td", q)
    curvature = [
        np.sum(half_hessian_of_layer(law.loss, *mean) * Σ)
        for mean, Σ in zip(means, covariances, strict=True)
    ]
    # tr(HΣ) is the excess of L, twice ½ tr(HΣ) of ½L.
    return SgdMoments(
        steps=steps,
        p=p_modes,
        q=q_modes,
        coefficients=p_modes * q_modes + covariance_pq,
        loss=loss_of_layer(law.loss, p, q) + np.array(curvature),
        covariance=covariances,
    )
