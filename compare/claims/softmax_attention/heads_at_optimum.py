"""How claims measure what heads can learn: the best values of given ω on the exact loss, and the best ω by its slope.

At given ω the loss is a quadratic form in μ, which two gradients by μ along each direction determine. At the best μ the
slope in ω is that of the loss alone. Nothing of the theory's own search for optima is used.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import exact_loss

NODES = 20
"""Nodes of the quadrature over the query: off by 1e-9 at most up to scores of standard deviation 1.2."""

FEW_NODES = 12
"""Enough for scores of standard deviation below 0.5: off by 1e-13."""


class BestHeads(NamedTuple):
    """The best μ (H,) at some ω, the loss there, and its slope by x as ω grows to xω, at x = 1."""

    mu: FloatArray
    loss: float
    slope: float


# Long because the parabola through gradients and the loss at its minimum share the basis.
def best_heads(
    task: Task,
    omega: ArrayLike,
    directions: ArrayLike,
    *,
    query_token: bool = False,
    nodes: int = NODES,
) -> BestHeads:
    """The best μ in the span of `directions` (K, H) at `omega` (H,).

    The gradients are asked for at values of about the size of the best ones, Σ|μω| = 1: there the quadrature has the
    digits that count, which it need not have at μ = 0.
    """
    ω = np.asarray(omega, dtype=float)
    unit = np.asarray(directions, dtype=float)
    overlaps = np.abs(unit) @ np.abs(ω)
    basis = unit / overlaps[:, None]  # (K, H)
    start = np.full(len(basis), 0.5)
    coordinates = np.concatenate([start[None], start + np.eye(len(basis))])  # (K+1, K)
    points = coordinates @ basis  # (K + 1, H)
    result = exact_loss(
        task,
        np.broadcast_to(ω, points.shape),
        points,
        query_token=query_token,
        nodes=nodes,
        gradient=True,
    )
    assert result.gradient is not None
    by_μ = result.gradient.mu @ basis.T  # (K + 1, K)
    products = (by_μ[1:] - by_μ[0]) / 2  # (K, K)
    step = np.linalg.solve(products, -by_μ[0] / 2)
    μ = (start + step) @ basis

    # The parabola loses digits on the way to its minimum: the loss there is asked for by itself.
    best = exact_loss(task, ω, μ, query_token=query_token, nodes=nodes, gradient=True)
    assert best.gradient is not None
    return BestHeads(μ, float(best), float(best.gradient.omega @ ω))


def best_scale(
    task: Task,
    direction: Sequence[float],
    bracket: tuple[float, float],
    *,
    query_token: bool = False,
    nodes: int = NODES,
    digits: float = 1e-8,
) -> tuple[float, BestHeads]:
    """The x within the bracket at which heads ω = x·direction are best, with μ in proportion to the direction.

    `digits` is the share of the bracket that x may be off by.
    """
    unit = np.asarray(direction, dtype=float)

    def heads(x: float) -> BestHeads:
        return best_heads(
            task, x * unit, unit[None], query_token=query_token, nodes=nodes
        )

    tolerance = digits * (bracket[1] - bracket[0])
    best = zero(lambda x: heads(x).slope, bracket, tolerance)
    return best, heads(best)


def zero(
    function: Callable[[float], float], bracket: tuple[float, float], tolerance: float
) -> float:
    """A zero of a function that changes its sign within the bracket."""
    from scipy.optimize import brentq

    return float(brentq(function, *bracket, xtol=tolerance))
