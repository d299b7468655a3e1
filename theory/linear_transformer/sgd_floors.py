"""What online SGD leaves of the loss at the minimum: its stationary covariance on the curved directions.

A step is θ ← θ − h g with the mean g over B fresh prompts of the gradient of ½|y − ŷ|², and flow time h = 2η. With C =
E g gᵀ of one prompt, H the Hessian of ½L and ΔH one prompt's deviation from it,

    Σ = (1 − hH) Σ (1 − hH) + (h²/B) (C + E[ΔH Σ ΔH])

The excess of L is tr(HΣ), twice that of ½L: (h/2B) tr C to leading order, (h/B) Σ C_ii/(2 − h h_i) without the term of
ΔH. Along the scale p → cp, q → q/c there is neither noise nor curvature. Derived here.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number
from ...runtime.display import Displayed, Summary
from ...task import Task
from .edge_of_stability import refuse_extreme_scale
from .gradient_noise import (
    NoiseMoments,
    hessian_moments,
    moments_of_modes,
    noise_at,
)
from .layer_losses import half_hessian_of_layer
from .noisy_minima import NoisyMinimum, noisy_minimum
from .step_counts import prompts_of_a_step

_FLAT = 1e-9
"""Share of the largest curvature below which a direction counts as flat: rounding is 1e-15 of it."""


@dataclass(frozen=True, eq=False, repr=False)
class SgdFloor(Displayed):
    """The mean excess of L (not of ½L) above its minimum that online SGD keeps, in units of y².

    `excess` has all terms of the stationary covariance, `additive` leaves out the Hessian's noise, and `leading` is
    (h/2B) tr C. `scale` c multiplies p and divides q where (ωs + σ²) p² = s² q², `stable_scale` is c*;
    `noise` C and `covariance` Σ (2D², 2D²) by the rows of p, then of q; `curvatures` of ½L (2D²,), 0 along the scale.
    """

    excess: float
    additive: float
    leading: float
    scale: float
    stable_scale: float
    noise: FloatArray
    covariance: FloatArray
    curvatures: FloatArray
    p: FloatArray
    q: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """The three floors and the scale as plain numbers."""
        names = ("excess", "additive", "leading", "scale", "stable_scale")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> Summary:
        """The floors on one screen."""
        rows = {
            "excess of L": f"{self.excess:.6g}",
            "without the noise of the Hessian": f"{self.additive:.6g}",
            "leading order": f"{self.leading:.6g}",
            "scale": f"{self.scale:.6g} (stable: {self.stable_scale:.6g})",
        }
        formulas = {"leading order": r"\frac{h}{2B} \operatorname{tr} C"}
        return Summary("Floor of online SGD on modes", rows, formulas)


def sgd_floor(
    task: Task,
    learning_rate: float,
    batch: int,
    model: Parametrization | None = None,
    *,
    scale: float | None = None,
) -> SgdFloor:
    """The stationary excess of L of SGD with this rate on L and `batch` fresh prompts a step, at c* or another scale.

    It is linear in the covariance: h/B must be small, as the tails are heavy and single chains can diverge. ValueError
    for h = 2·rate of 2/λ_max or more, where the moments of second order grow, and as `sgd_noise`.
    Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
    >>> floor = sgd_floor(task, learning_rate=0.01, batch=32)
    >>> round(floor.stable_scale, 6), round(floor.leading, 5), round(floor.excess, 5)
    (0.927291, 0.01151, 0.01292)
    """
    h = 2 * positive_number(learning_rate, "learning_rate")
    B = prompts_of_a_step(batch)
    noisy = noisy_minimum(task, model, "sgd_floor")
    c = noisy.stable_scale if scale is None else positive_number(scale, "scale")
    line = point_of_line(noisy, c)
    _refuse_flat(line.curvatures)
    refuse_without_floor(line, h, B)
    noise = line.directions.T @ line.noise @ line.directions
    additive = float(h / B * np.sum(np.diag(noise) / (2 - h * line.curvatures)))
    Σ = _stationary_covariance(line, noise, h, B)
    return SgdFloor(
        excess=float(line.curvatures @ np.diag(Σ)),
        additive=additive,
        leading=float(h / (2 * B) * np.trace(line.noise)),
        scale=c,
        stable_scale=noisy.stable_scale,
        noise=line.noise,
        covariance=line.directions @ Σ @ line.directions.T,
        curvatures=np.sort(np.append(line.curvatures, 0.0)),
        p=np.diag(line.p),
        q=np.diag(line.q),
    )


class PointOfLine(NamedTuple):
    """p and q (D, D) of a minimum at one scale, with `noise` E g gᵀ (2D², 2D²) and one prompt's Hessians there.

    `curvatures` (n,) are eigenvalues of the Hessian of ½L across the line, increasing, with `directions` (2D², n).
    """

    moments: NoiseMoments
    p: FloatArray
    q: FloatArray
    noise: FloatArray
    curvatures: FloatArray
    directions: FloatArray

    def curved(self) -> "PointOfLine":
        """The same without directions that have next to no curvature."""
        kept = self.curvatures > _FLAT * self.curvatures[-1]
        return self._replace(
            curvatures=self.curvatures[kept], directions=self.directions[:, kept]
        )

    def rates(self, h: float, batch: int) -> FloatArray:
        """The matrix G (n², n²) by which a step takes Σ across the line to Σ − h GΣ + h² C/B."""
        n = len(self.curvatures)
        H, one = np.diag(self.curvatures), np.eye(n)
        fourth = hessian_moments(self.moments, self.p, self.q)
        fourth = _on_directions(fourth, self.directions)
        # Maps of Σ_jl to (i, m) are matrices by (i, m) and (j, l), and G is symmetric.
        of_hessian = fourth.transpose(0, 3, 1, 2).reshape(n**2, n**2) - np.kron(H, H)
        decay = np.kron(H, one) + np.kron(one, H) - h * np.kron(H, H)
        return np.asarray(decay - h / batch * of_hessian)


def point_of_line(noisy: NoisyMinimum, scale: float) -> PointOfLine:
    """The minimum at p → cp, q → q/c; ValueError for a scale whose square leaves the numbers of a double."""
    refuse_extreme_scale(np.asarray(scale))
    p, q = scale * noisy.p, noisy.q / scale
    H = half_hessian_of_layer(moments_of_modes(noisy.moments.modes), p, q)
    along = np.concatenate([p.ravel(), -q.ravel()])
    # The first column of a complete QR decomposition is along the line, the others across it.
    across = np.linalg.qr(along[:, None], mode="complete").Q[:, 1:]
    curvatures, vectors = np.linalg.eigh(across.T @ H @ across)
    noise = noise_at(noisy.moments, p, q)
    return PointOfLine(
        noisy.moments, p, q, noise, curvatures, np.asarray(across @ vectors)
    )


def _refuse_flat(curvatures: FloatArray) -> None:
    """ValueError for a direction across the line that has next to no curvature."""
    if curvatures[0] <= _FLAT * curvatures[-1]:
        raise ValueError(
            "the loss is flat at its minimum along a direction other than the scale, or more than 10⁹ times as steep "
            "along another, so that SGD diffuses there: leave out modes that hardly vary or are at the threshold of "
            "being learned, and take a scale near the stable one"
        )


def refuse_without_floor(line: PointOfLine, h: float, batch: int) -> None:
    """ValueError for steps of flow time h of 2/λ_max or more, and where the second moments of SGD grow."""
    largest = float(line.curvatures[-1])
    if h >= 2 / largest:
        raise ValueError(
            f"SGD has no floor at the learning rate {h / 2:g}: h = 2·learning rate must be below 2/λ_max = "
            f"{2 / largest:.6g}"
        )
    slowest = float(np.linalg.eigvalsh(line.rates(h, batch))[0])
    if slowest <= 0:
        raise ValueError(
            f"SGD has no floor at the learning rate {h / 2:g} with {batch} prompts a step: the noise of the Hessian "
            f"multiplies second moments by {1 - h * slowest:.4g} in a step, so that a larger batch or a smaller rate "
            "is needed"
        )


def _on_directions(fourth: FloatArray, directions: FloatArray) -> FloatArray:
    """E H ⊗ H (n, n, n, n) on directions (n, m), (m, m, m, m)."""
    return np.asarray(
        np.einsum("mnop,mi,nj,ok,pl->ijkl", fourth, *[directions] * 4, optimize=True)
    )


def _stationary_covariance(
    line: PointOfLine, noise: FloatArray, h: float, batch: int
) -> FloatArray:
    """Σ (n, n) on the directions of a point, for the noise C (n, n) on them."""
    Σ = np.linalg.solve(line.rates(h, batch), (h / batch * noise).ravel())
    return np.asarray(Σ.reshape(noise.shape))
