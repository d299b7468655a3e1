"""Gradient flow of least squares as an inverse Laplace transform of ridge solutions, on a parabola of ridges.

The flow of Γ from 0 is Γ(t) = (1 − e^{−tG}) G⁻¹ b, and the ridge solution is Γ_λ = (G + λ)⁻¹ b. As a function of the
ridge, Γ_λ/λ is the Laplace transform of Γ(t):

    Γ(t) = ∫ dλ/(2πi) (e^{λt}/λ) Γ_λ = Σ_i ω_i Γ_{λ_i}

on any contour around the poles λ ≤ 0. On a parabola that opens to the left the trapezoidal rule with n nodes errs by
2.85⁻ⁿ at every t (Weideman and Trefethen 2007, Mathematics of Computation 76), since the contour shrinks with 1/t.
Source: derived here.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import whole_number

ComplexArray = NDArray[np.complex128]

NODES = 32
"""At 32 nodes the rule's error, 2.85⁻³², is below the rounding of its terms, which are as large as e^{.13·32}."""

FEWER = 8
"""The error is measured against a rule with so many nodes less: theirs is 2.85⁸ = 4,000 times as large."""

_LEAST_NODES, _MOST_NODES = 16, 128
"""At 128 nodes the terms, as large as e^{.13·128}, already leave 8 digits: more nodes only lose more."""

_PATH_STEPS = (8, 64, 512)
"""Steps from one node to the next on which the root of a ridge is followed, until it satisfies its equations."""


class Contour(NamedTuple):
    """The n/2 nodes of the upper half of the parabola and their weights ω; the others are the conjugates of these."""

    nodes: int
    angles: FloatArray
    weights: ComplexArray

    @classmethod
    def with_nodes(cls, nodes: int) -> "Contour":
        """The rule with n nodes."""
        odd = 2 * np.arange(nodes // 2) + 1
        angles = np.asarray(odd * (np.pi / nodes), dtype=np.float64)
        z = _parabola(angles, nodes)
        slope = nodes * (0.25j - 2 * 0.1194 * angles)
        # The trapezoidal rule has the step 2π/n, and the integral is divided by 2πi.
        return cls(nodes, angles, np.exp(z) / z * slope / (1j * nodes))

    def ridges(self, angle: float, times: FloatArray) -> ComplexArray:
        """λ (points,) at an angle; at 0 it is real and positive."""
        return np.asarray(_parabola(angle, self.nodes) / times)


def _parabola(angle: Any, nodes: int) -> ComplexArray:
    """λt on the parabola that converges fastest with n nodes (Weideman and Trefethen 2007)."""
    φ = np.asarray(angle)
    return np.asarray(nodes * (0.1309 - 0.1194 * φ**2 + 0.25j * φ))


def checked_nodes(nodes: int) -> int:
    """The number of nodes; ValueError unless it is even and from 16 to 128."""
    whole_number(nodes, "nodes", least=_LEAST_NODES)
    if nodes % 2:
        raise ValueError(f"nodes must be an even number, not {nodes}")
    if nodes > _MOST_NODES:
        raise ValueError(
            f"nodes must be at most {_MOST_NODES}, not {nodes}: rounding grows with each node"
        )
    return nodes


class Path(NamedTuple):
    """Equations whose root is followed over ridges λ (points,): by `improve` from one λ to the next.

    `start` is the root, several rows of (points,), at the large real ridges `first`; `is_root` says of ridges (points,
    nodes) and roots (rows, points, nodes) which are right.
    """

    first: FloatArray
    start: ComplexArray
    improve: Callable[[ComplexArray, ComplexArray], ComplexArray]
    is_root: Callable[[ComplexArray, ComplexArray], NDArray[np.bool_]]


def roots_on(contour: Contour, times: FloatArray, path: Path) -> ComplexArray:
    """The roots (rows, points, nodes) at the nodes, each followed from a large real ridge on, where it is the only one.

    ArithmeticError where no path, however finely divided, ends on a root.
    """
    for steps in _PATH_STEPS:
        with np.errstate(all="ignore"):
            λ, roots = _followed(contour, times, path, steps)
            found = path.is_root(λ, roots)
        if np.all(found):
            return roots
    raise ArithmeticError(
        "the effective ridges of these parameters were not found: pass ones nearer to 1"
    )


def _followed(
    contour: Contour, times: FloatArray, path: Path, steps: int
) -> tuple[ComplexArray, ComplexArray]:
    """λ (points, nodes) and roots (rows, points, nodes), along the real axis and then along the contour."""
    root = path.start
    vertex = np.real(contour.ridges(0.0, times))
    # Three steps a factor of e, downwards.
    descent = math.ceil(3 * np.max(np.log(path.first / vertex))) + 1
    for share in np.linspace(0, 1, descent):
        λ = np.asarray(path.first * (vertex / path.first) ** share + 0j)
        root = path.improve(λ, root)
    ridges, roots = [], []
    for before, angle in zip([0.0, *contour.angles[:-1]], contour.angles, strict=True):
        for φ in np.linspace(before, angle, steps + 1)[1:]:
            λ = contour.ridges(float(φ), times)
            root = path.improve(λ, root)
        ridges.append(λ)
        roots.append(root)
    return np.stack(ridges, axis=-1), np.stack(roots, axis=-1)
