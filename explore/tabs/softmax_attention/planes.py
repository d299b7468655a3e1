"""The exact loss of softmax heads over the (ω, μ) plane, and where the heads go on it.

Two groups of heads ±(ω, μ), or one head (ω, μ), have the loss L(0) − 2 a(ω) μ + b(ω) μ²: two functions of ω give the
whole plane.
"""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray
from ....theory.softmax_attention.exact_tables import ExactTable
from ....theory.softmax_attention.head_paths import HeadPath
from ...answers import Answer
from .quick_flows import QuickFlow

_COLUMNS, _ROWS = 81, 61
"""Points of the plane: contours are smooth at this number."""

_LEVELS = (
    *(0.003, 0.01, 0.03, 0.08, 0.18, 0.32, 0.5, 0.7, 0.88),
    *(1, 1.2, 1.6, 2.4, 4, 8),
)
"""Contours, as shares of what the best heads of the plane gain over no prediction, which has 1."""

_EDGE = 1.2
"""The plane reaches so far beyond the heads."""

_NO_VALUE = 1e-12
"""Below this b the values μ have no part in the loss, as at ω = 0."""


class LossForm(NamedTuple):
    """a and b (C,) of the loss L(0) − 2aμ + bμ² at ω (C,)."""

    omega: FloatArray
    signal: FloatArray
    square: FloatArray
    zero_loss: float

    @classmethod
    def of(cls, table: ExactTable, ω: FloatArray, pair: bool) -> "LossForm":
        """Those of two groups of heads ±(ω, μ), or of one head, from its losses at μ = ±1."""
        ones = np.ones_like(ω)
        heads, values = ω[:, None], ones[:, None]
        if pair:
            heads = np.stack([ω, -ω], axis=1)
            values = np.stack([ones, -ones], axis=1)
        above, below = table.loss(heads, values), table.loss(heads, -values)
        square = (above + below) / 2 - table.zero_loss
        return cls(ω, (below - above) / 4, square, table.zero_loss)

    def losses(self, μ: FloatArray) -> FloatArray:
        """The loss (R, C) at μ (R,)."""
        linear = np.outer(μ, self.signal)
        return self.zero_loss - 2 * linear + np.outer(μ**2, self.square)

    def least(self) -> float:
        """The least loss over μ and these ω."""
        a, b = self.signal, self.square
        gain = np.divide(a**2, b, out=np.zeros_like(a), where=b > _NO_VALUE)
        return self.zero_loss - float(np.max(gain))

    def valley(self) -> FloatArray:
        """The μ (C,) at which ω is at rest, ∂L/∂ω = 0: μ = 2a′/b′, nan where b′ is 0."""
        a_slope = np.gradient(self.signal, self.omega)
        b_slope = np.gradient(self.square, self.omega)
        nowhere = np.full_like(a_slope, np.nan)
        has_slope = np.abs(b_slope) > _NO_VALUE
        return np.divide(2 * a_slope, b_slope, out=nowhere, where=has_slope)


def plane(flow: QuickFlow) -> Answer:
    """The loss over the plane as contours, the valley in which ω is at rest, and the heads by the sign they end with.

    "signal" a and "square" b (C,) at "omega" (C,) are the loss L(0) − 2aμ + bμ² for |μ| up to "mu_bound"; "groups" are
    the heads of each sign of ω as one; "pair" says whether there are both, so that the plane is that of two heads.
    """
    path, table = flow
    is_positive = path.omega[-1] >= 0  # (H,)
    pair = bool(np.any(is_positive) and not np.all(is_positive))
    members = [is_positive, ~is_positive]
    groups = [_group(path, belongs) for belongs in members if np.any(belongs)]
    largest_ω = max(float(np.max(np.abs(group["omega"]))) for group in groups)
    largest_μ = max(float(np.max(np.abs(group["mu"]))) for group in groups)
    ω = np.linspace(-1, 1, _COLUMNS) * min(_EDGE * largest_ω, table.bound)
    μ = np.linspace(-1, 1, _ROWS) * _EDGE * largest_μ
    form = LossForm.of(table, ω, pair)
    valley = form.valley()
    is_inside = (np.abs(valley) <= μ[-1]) & (valley * ω > 0)
    return {
        "pair": pair,
        "omega": ω,
        "mu_bound": μ[-1],
        "signal": form.signal,
        "square": form.square,
        "zero_loss": form.zero_loss,
        "least": form.least(),
        "contours": _contours(form, μ),
        "valley": np.where(is_inside, valley, np.nan),
        "groups": groups,
    }


def _group(path: HeadPath, belongs: BoolArray) -> Answer:
    """Some heads as one: Σμ (T,), and the mean ω (T,) by load |μω|."""
    ω, μ = path.omega[:, belongs], path.mu[:, belongs]  # (T, n)
    load = np.abs(μ * ω)
    total = np.sum(load, axis=1)
    mean = np.divide(
        np.sum(load * ω, axis=1), total, out=np.mean(ω, axis=1), where=total > 0
    )
    return {"omega": mean, "mu": np.sum(μ, axis=1)}


def _contours(form: LossForm, μ: FloatArray) -> list[Answer]:
    """Lines of equal loss at μ (R,): for each level its share of the gain, its loss, and its lines (n, 2)."""
    import contourpy

    generator = contourpy.contour_generator(form.omega, μ, form.losses(μ))
    least = form.least()
    contours = []
    for share in _LEVELS:
        level = least + share * (form.zero_loss - least)
        lines = [np.asarray(line) for line in generator.lines(level)]
        contours.append({"share": share, "loss": level, "lines": lines})
    return contours
