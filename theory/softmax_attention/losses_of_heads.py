"""Losses of softmax heads as results: one number or one for each point, with their gradients."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary, array_summary


class HeadGradient(NamedTuple):
    """Derivatives of the loss by ω (…, H) and by μ (…, H)."""

    omega: FloatArray
    mu: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class HeadLoss(Displayed):
    """A loss of softmax heads as a function of their ω and μ, in units of y².

    `loss` () or (points,); `gradient` by ω and μ, each (H,) or (points, H), or None where it was not asked for.
    `float(…)` and `np.asarray(…)` read the loss.
    """

    loss: FloatArray
    gradient: HeadGradient | None = None

    def __float__(self) -> float:
        if np.ndim(self.loss) > 0:
            raise TypeError(
                f"these are the losses of {len(self.loss)} points, not one number: read .loss or np.asarray(…)"
            )
        return float(self.loss)

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> FloatArray:
        return np.array(self.loss, dtype=dtype, copy=copy)

    def to_dict(self) -> dict[str, Any]:
        """Loss and gradient as numbers and lists; the gradient is None where it was not asked for."""
        gradient = self.gradient
        if gradient is None:
            return {"loss": self.loss.tolist(), "gradient": None}
        by_head = {"omega": gradient.omega.tolist(), "mu": gradient.mu.tolist()}
        return {"loss": self.loss.tolist(), "gradient": by_head}

    def summary(self) -> Summary:
        """The loss, and its gradient if there is one."""
        rows = {"loss": array_summary(self.loss)}
        if self.gradient is not None:
            rows["∂L/∂ω"] = array_summary(self.gradient.omega)
            rows["∂L/∂μ"] = array_summary(self.gradient.mu)
        return Summary(self._title(), rows)

    def _title(self) -> str:
        return "Approximate loss of softmax heads"


@dataclass(frozen=True, eq=False, repr=False)
class ExactLoss(HeadLoss):
    """The population loss of softmax heads, by quadrature.

    `error`, of the shape of the loss, is the difference to a quadrature with fewer nodes, and what the grids over
    tokens may be off by: an estimate from above.
    """

    error: FloatArray = None  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """Loss, gradient and error as numbers and lists."""
        return super().to_dict() | {"error": self.error.tolist()}

    def summary(self) -> Summary:
        """The loss, its gradient if there is one, and its error."""
        summary = super().summary()
        rows = dict(summary.rows) | {"error": array_summary(self.error)}
        return Summary(summary.title, rows)

    def _title(self) -> str:
        return "Exact loss of softmax heads"


@dataclass(frozen=True, eq=False, repr=False)
class HeadOptimum(Displayed):
    """The best softmax heads of some kind: their `omega` and `mu` (H,), their `loss` and its `error`.

    `step` is 0 unless the least loss is a limit: heads ±γ with γ → 0 and μ → ∞ then take this debiased gradient step
    beside the heads that stay finite. `float(…)` reads the loss.
    """

    omega: FloatArray
    mu: FloatArray
    loss: float
    error: float = 0.0
    step: float = 0.0

    def __float__(self) -> float:
        return self.loss

    def to_dict(self) -> dict[str, Any]:
        """The heads as lists, and the numbers."""
        heads = {"omega": self.omega.tolist(), "mu": self.mu.tolist()}
        return heads | {"loss": self.loss, "error": self.error, "step": self.step}

    def summary(self) -> Summary:
        """The heads, and their loss."""
        rows = {"ω": array_summary(self.omega), "μ": array_summary(self.mu)}
        if self.step != 0:
            rows["debiased step"] = f"{self.step:.6g}"
        rows["loss"] = f"{self.loss:.9g}"
        return Summary("Optimum of softmax heads", rows)
