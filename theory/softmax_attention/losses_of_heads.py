"""Losses of softmax heads as results: one number or one for each point, with their gradients."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

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
        return "Loss of softmax heads"


@dataclass(frozen=True, eq=False, repr=False)
class ApproximateLoss(HeadLoss):
    """The approximate loss of softmax heads, and how far it can be relied on.

    `reliable`, of the shape of the loss, is False where scores spread beyond the limit in which it approximates the
    exact loss. Where it is True, `relative_error` is what the loss was seen to be off by at most, with μ near its best
    values. `note` says so in words where some points are not reliable.
    """

    reliable: NDArray[np.bool_] = None  # type: ignore[assignment]
    relative_error: float = 0.0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Loss and gradient, and how far the loss can be relied on, as numbers and lists."""
        return super().to_dict() | {
            "reliable": self.reliable.tolist(),
            "relative_error": self.relative_error,
            "note": self.note,
        }

    def summary(self) -> Summary:
        """The loss, its gradient if there is one, and how far it can be relied on."""
        summary = super().summary()
        error = f"up to about {self.relative_error:.2g}, relative"
        if not np.any(self.reliable):
            error = "not known"
        notes = (self.note,) if self.note else ()
        return Summary(
            summary.title, dict(summary.rows) | {"error": error}, notes=notes
        )

    def _title(self) -> str:
        return "Approximate loss of softmax heads"


@dataclass(frozen=True, eq=False, repr=False)
class ExactLoss(HeadLoss):
    """The population loss of softmax heads, by quadrature.

    `error`, of the shape of the loss, is what differences between quadratures with fewer and more nodes tell, and what
    the grids over tokens may be off by: an estimate from above, often by two orders of magnitude.
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


class MergedHeads(NamedTuple):
    """Heads that merge in the limit of the least loss: their ω become one, and their μ grow without end.

    `heads` of them predict Σ_j values[j] ∂ʲf/∂ωʲ at `omega`, where f(ω) is the softmax average of the labels. At ω = 0
    the first derivative is the debiased gradient step.
    """

    heads: int
    omega: float
    values: FloatArray

    def split(self, distance: float) -> "SeparateHeads":
        """As many heads, `distance` apart, whose prediction is this one up to O(distance²)."""
        from scipy.special import factorial

        k = np.arange(self.heads)
        shifts = np.asarray(distance * (k - (self.heads - 1) / 2), dtype=np.float64)
        # Σ_i μ_i x_i^j = j! values[j]
        powers = shifts ** k[:, None]
        values = np.asarray(factorial(k) * self.values, dtype=np.float64)
        μ = np.asarray(np.linalg.solve(powers, values), dtype=np.float64)
        return SeparateHeads(self.omega + shifts, μ)


class SeparateHeads(NamedTuple):
    """ω and μ (H,) of heads that can be set up in a model."""

    omega: FloatArray
    mu: FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class HeadOptimum(Displayed):
    """The best softmax heads of some kind: their `omega` and `mu` (H,), their `loss` and its `error`.

    Where the least loss is a limit, `omega` and `mu` hold the heads that stay apart, and `merged` those that merge:
    `loss` is then an infimum, and `heads_near` gives heads close to it. `at_edge` is True where a search ended at the
    largest scores that it tries, beyond which the loss may be lower. `note` says how far the result is assured,
    where that is not plain. `float(…)` reads the loss.
    """

    omega: FloatArray
    mu: FloatArray
    loss: float
    error: float = 0.0
    merged: tuple[MergedHeads, ...] = ()
    at_edge: bool = False
    note: str = ""

    def __float__(self) -> float:
        return self.loss

    @property
    def attained(self) -> bool:
        """Whether the loss is a minimum: no infimum for which heads merge, nor one at the edge of the search."""
        return not self.merged and not self.at_edge

    @property
    def step(self) -> float:
        """The debiased gradient step that merged heads take beside the others: 0 where none merge."""
        return float(sum(group.values[1] for group in self.merged))

    def heads_near(self, distance: float) -> SeparateHeads:
        """All heads, with those that merge `distance` apart; the loss tends to `loss` as it falls to 0.

        >>> merged = MergedHeads(2, 0.0, np.array([0.0, 0.8]))
        >>> HeadOptimum(np.array([1.0]), np.array([0.1]), 0.3, merged=(merged,)).heads_near(0.1).mu
        array([ 0.1, -8. ,  8. ])
        """
        if not distance > 0:
            raise ValueError(f"distance must be positive, not {distance!r}")
        groups = [group.split(distance) for group in self.merged]
        return SeparateHeads(
            np.concatenate([self.omega, *(group.omega for group in groups)]),
            np.concatenate([self.mu, *(group.mu for group in groups)]),
        )

    def to_dict(self) -> dict[str, Any]:
        """The heads as lists, and the numbers."""
        merged = [
            {"heads": k, "omega": ω, "values": values.tolist()}
            for k, ω, values in self.merged
        ]
        return {
            "omega": self.omega.tolist(),
            "mu": self.mu.tolist(),
            "loss": self.loss,
            "error": self.error,
            "attained": self.attained,
            "step": self.step,
            "merged": merged,
            "at_edge": self.at_edge,
            "note": self.note,
        }

    def summary(self) -> Summary:
        """The heads, and their loss."""
        rows = {"ω": array_summary(self.omega), "μ": array_summary(self.mu)}
        rows |= self.merged_rows()
        rows["infimum" if self.merged else "loss"] = f"{self.loss:.9g}"
        notes = (self.note,) if self.note else ()
        return Summary("Optimum of softmax heads", rows, notes=notes)

    def merged_rows(self) -> dict[str, str]:
        """Rows of a summary for the heads that merge."""
        if not self.merged:
            return {}
        groups = (f"{k} heads at ω = {ω:.4g}" for k, ω, _ in self.merged)
        return {"merged": ", ".join(groups), "debiased step": f"{self.step:.6g}"}
