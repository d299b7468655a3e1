"""The least loss of one layer on a task of modes: a soft threshold decides which modes are learned.

At given a = p q the coupling T_p T_q is least for (ωs + σ²) p² ∝ s² q², by the inequality of Cauchy and Schwarz:

    L(a) = c − 2ℓ Σ ω s² a + g Σ ω s³ a² + k (Σ s r |a|)²,    r = √(ωs + σ²)

This is strictly convex, so it has one minimum: a = [ℓ − k r Z/(ωs)]₊/(g s), where Z = Σ s r a. Derived here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...models.protocol import Parametrization
from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.display import Displayed, Summary, array_summary
from ...task import Task
from .mode_tasks import ModeTask, mode_task

TIE = 1e-12
"""A bracket below this share of its terms is zero, and the mode off. Sums of D terms round to much less."""


@dataclass(frozen=True, eq=False, repr=False)
class Minimum(Displayed):
    """The global minimum of the loss over p and q, which is reached on a line of scales p → cp, q → q/c.

    `coefficients` a = p q (D,) in the order of the modes; `active` (D,) the modes that are learned, the first ones;
    `loss` in units of y²; `coupling` Z = Σ s √(ωs + σ²) a. `modes` is the task in their coordinates: s, ω, basis.
    """

    coefficients: FloatArray
    active: BoolArray
    loss: float
    coupling: float
    modes: ModeTask

    def to_dict(self) -> dict[str, Any]:
        """The coefficients, the modes that are learned and the loss as plain numbers and lists."""
        return {
            "coefficients": self.coefficients.tolist(),
            "active": self.active.tolist(),
            "loss": self.loss,
            "inputs": self.modes.inputs.tolist(),
            "teachers": self.modes.teachers.tolist(),
            "basis": self.modes.basis.tolist(),
        }

    def summary(self) -> Summary:
        """The coefficients and the loss on one screen."""
        count = int(np.sum(self.active))
        rows = {
            "modes learned": f"{count} of {len(self.active)}",
            "variances of x": array_summary(self.modes.inputs),
            "coefficients": array_summary(self.coefficients),
            "loss": f"{self.loss:.8g}",
        }
        formulas = {"coefficients": r"a = [\ell - k r Z/(\omega s)]_+ / (g s)"}
        return Summary("Least loss of one layer on modes", rows, formulas)


def minimum(task: Task, model: Parametrization | None = None) -> Minimum:
    """The least loss of one merged head with K = D outputs on a shared basis, and what it learns of each mode.

    ValueError where the outputs share no basis with the inputs. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1, 0.5, 0.2, 0.05], teachers=Gaussian.shared_basis([1] * 4), context_length=5)
    >>> least = minimum(task)
    >>> least.coefficients.round(5), round(least.loss, 10)
    (array([0.63386, 1.10247, 1.93648, 0.     ]), 0.7630644709)
    """
    modes = mode_task(task, model, "minimum")
    active = active_modes(modes)
    Z = coupling(modes, active)
    a = coefficients_of(modes, active, Z)
    return Minimum(a, active, loss_of_subset(modes, active, Z), Z, modes)


def coupling(modes: ModeTask, learned: BoolArray) -> float:
    """Z = ℓ Σ r/(g + k Σ r²/(ωs)) over the modes that are learned (D,)."""
    if not np.any(learned):
        return 0.0
    ωs = (modes.teachers * modes.inputs)[learned]
    r = np.sqrt(modes.labels[learned])
    return float(
        modes.linear * np.sum(r) / (modes.pairs + modes.single * np.sum(r**2 / ωs))
    )


def active_modes(modes: ModeTask) -> BoolArray:
    """The modes that the minimum learns (D,): ever more of them, by decreasing κ, while κ > k Z/ℓ."""
    active = np.zeros(modes.dimension, dtype=bool)
    for mode, κ in enumerate(modes.thresholds):
        Z = coupling(modes, active)
        if not modes.linear * κ * (1 - TIE) > modes.single * Z:
            break
        # Nothing can be learned of a mode whose input or teacher does not vary.
        active[mode] = True
    return active


def brackets(modes: ModeTask, learned: BoolArray, Z: float) -> FloatArray:
    """ℓ − k r Z/(ωs) (n,) of the modes that are learned (D,), of coupling Z: a fixed point where all are positive.

    With κ = ωs/r it is (Z/Σr) [g + k Σ_β r_β (1/κ_β − 1/κ_α)], which loses no digits where noise is strong and κ small.
    """
    if not np.any(learned):
        return np.zeros(0)
    r = np.sqrt(modes.labels[learned])
    inverse = 1 / modes.thresholds[learned]
    gaps = inverse[None, :] - inverse[:, None]
    return np.asarray(Z / np.sum(r) * (modes.pairs + modes.single * gaps @ r))


def coefficients_of(modes: ModeTask, learned: BoolArray, Z: float) -> FloatArray:
    """a = (ℓ − k r Z/(ωs))/(g s) on the modes that are learned, 0 elsewhere, (D,)."""
    a = np.zeros(modes.dimension)
    a[learned] = brackets(modes, learned, Z) / (modes.pairs * modes.inputs[learned])
    return a


def loss_of_subset(modes: ModeTask, learned: BoolArray, Z: float) -> float:
    """L = c − ℓ Σ ω s² a at the fixed point: half of the linear term is left, as of any quadratic at its minimum."""
    a = coefficients_of(modes, learned, Z)
    return float(
        modes.zero_loss - modes.linear * np.sum(modes.teachers * modes.inputs**2 * a)
    )
