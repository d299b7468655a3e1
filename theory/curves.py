"""Composite curves of separate heads: drops that are solved one by one, joined by plateaus."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .idle import SeparateHeads
from .population import Population
from .separate import amplitude_from_onset

FloatArray = NDArray[np.float64]


class Curve(Protocol):
    """The effective map as a function of flow time, until `end`, after which nothing moves."""

    @property
    def end(self) -> float:
        """Flow time after the last drop."""

    def loss(self, times: FloatArray) -> FloatArray:
        """L (T,), in units of y²."""

    def amplitudes(self, times: FloatArray) -> FloatArray:
        """Amplitude of each direction, (T, D)."""

    def coefficients(self, times: FloatArray) -> FloatArray:
        """e_dᵀ M e_d of each direction, (T, D)."""


@dataclass(frozen=True, eq=False)
class OnsetCurve:
    """Each direction follows the exact rank-one drop with its own onset; `onsets` (n,) by decreasing gain."""

    moments: Population
    onsets: FloatArray

    @property
    def end(self) -> float:
        """Flow time by which the last drop is over to rounding."""
        rates = self.moments.b * np.cbrt(self.moments.coefficients)
        return float(np.max(self.onsets + 20 / rates[: len(self.onsets)], initial=0.0))

    def loss(self, times: FloatArray) -> FloatArray:
        """L (T,), in units of y²."""
        return self.moments.aligned_loss(self.coefficients(times))

    def amplitudes(self, times: FloatArray) -> FloatArray:
        """v_d (T, D), 0 for directions that no head learns."""
        learned = len(self.onsets)
        v = np.zeros((len(times), self.moments.dimension))
        rates, saturation = self.moments.b[:learned], 1 / self.moments.coefficients[:learned]
        v[:, :learned] = amplitude_from_onset(times[:, None], self.onsets, rates, saturation)
        return v

    def coefficients(self, times: FloatArray) -> FloatArray:
        """e_dᵀ M e_d = v_d³ (T, D)."""
        return np.asarray(self.amplitudes(times) ** 3)


class Leg(NamedTuple):
    """A stretch of flow time from `nodes[0]`, and the heads (v, k, q with a leading axis T) during it.

    Between two of the `nodes` next to each other little happens.
    """

    nodes: FloatArray
    heads: Callable[[FloatArray], SeparateHeads]


@dataclass(frozen=True, eq=False)
class FlowCurve:
    """Legs in order: the heads rest on a plateau, or follow the flow of all of them through drops.

    Amplitudes are κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2}, over heads and their pairs, on the columns e_d of `basis`.
    """

    moments: Population
    legs: Sequence[Leg]
    end: float
    basis: FloatArray

    @property
    def nodes(self) -> FloatArray:
        """Flow times, in order, between which little happens."""
        return np.concatenate([leg.nodes for leg in self.legs])

    def heads(self, times: FloatArray) -> SeparateHeads:
        """v (T, H), k and q (T, H, R, D)."""
        shown = np.minimum(times, self.end)
        place = np.searchsorted([leg.nodes[0] for leg in self.legs], shown, side="right") - 1
        parts = [self.legs[i].heads(shown[place == i]) for i in np.unique(place)]
        order = np.argsort(np.argsort(place, kind="stable"), kind="stable")
        v, k, q = (np.concatenate(arrays)[order] for arrays in zip(*parts, strict=True))
        return SeparateHeads(v, k, q)

    def maps(self, times: FloatArray) -> FloatArray:
        """M (T, D, D)."""
        v, k, q = self.heads(times)
        return np.asarray(np.einsum("th,thri,thrj->tij", v, k, q, optimize=True))

    def loss(self, times: FloatArray) -> FloatArray:
        """L (T,), in units of y²."""
        return self.moments.loss(self.maps(times))

    def coefficients(self, times: FloatArray) -> FloatArray:
        """e_dᵀ M e_d (T, D)."""
        return np.asarray(np.einsum("id,tij,jd->td", self.basis, self.maps(times), self.basis, optimize=True))

    def amplitudes(self, times: FloatArray) -> FloatArray:
        """κ_d (T, D)."""
        _, k, q = self.heads(times)
        return np.asarray(np.sqrt(np.sum(np.abs((k @ self.basis) * (q @ self.basis)), axis=(1, 2))))
