"""The maps of fixed points and of stored weights, in coordinates in which both are short.

Of one output they are M (D, D). On the modes of several outputs M_S has the entries p_i q_α alone, so that (D, D)
numbers stand for (K, K, D, D); on Kronecker teachers it is the product of p (K, K) and q (D, D).
"""

from typing import NamedTuple

import numpy as np

from ...models.effective_map import effective_map
from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...theory import (
    AnyFixedPoint,
    FixedPoint,
    KroneckerFixedPoint,
    ModeFixedPoint,
    ModeFixedPoints,
)


class Sizes(NamedTuple):
    """|M*|, the loss c of the zero predictor and c − L(M*), what can be learned."""

    map: float
    zero_loss: float
    learnable: float


class StoredMap(NamedTuple):
    """A map of stored weights as those of fixed points, and the squares, added, of its entries that are 0 in these."""

    M: FloatArray
    elsewhere: float


def dimension_of(point: AnyFixedPoint) -> int:
    """D, the dimension of x."""
    if isinstance(point, FixedPoint):
        return len(point.M)
    if isinstance(point, KroneckerFixedPoint):
        return len(point.q)
    return point.modes.dimension


def map_of(point: AnyFixedPoint) -> FloatArray:
    """M_S (D, D), or its entries p_i q_α (D, D) on the modes, or p_ij q_ab (K², D²) on Kronecker teachers."""
    if isinstance(point, FixedPoint):
        return point.M
    if isinstance(point, KroneckerFixedPoint):
        return np.outer(point.p, point.q)
    p, q = point.amplitudes()
    return np.outer(p, q)


def sizes_of(point: AnyFixedPoint) -> Sizes:
    """Those of the task and the model that a fixed point belongs to."""
    if isinstance(point, FixedPoint):
        population = point.population
        size = float(np.linalg.norm(population.minimum))
        return _sizes(size, population.c, population.minimum_loss)
    if isinstance(point, KroneckerFixedPoint):
        size = float(np.linalg.norm(point.least.p) * np.linalg.norm(point.least.q))
        return _sizes(size, point.zero_loss, point.least.loss)
    least = ModeFixedPoints(point.modes, point.model)[0]
    size = float(np.linalg.norm(map_of(least)))
    return _sizes(size, point.modes.zero_loss, least.loss)


def _sizes(size: float, zero_loss: float, least_loss: float) -> Sizes:
    return Sizes(size, float(zero_loss), float(zero_loss - least_loss))


def stored_map(point: AnyFixedPoint, weights: Weights) -> StoredMap:
    """The map of stored weights, beside those of fixed points of the same kind as this one."""
    if isinstance(point, ModeFixedPoint):
        return _map_of_modes(weights, point.modes.basis)
    M = np.asarray(effective_map(point.model, weights), dtype=np.float64)
    if isinstance(point, FixedPoint):
        return StoredMap(M, 0.0)
    return StoredMap(M.reshape(point.p.size, point.q.size), 0.0)


def _map_of_modes(weights: Weights, U: FloatArray) -> StoredMap:
    """p_i q_α on the modes, each held by its larger pair of blocks, with a positive p.

    A mode is as well held by p1 and q2 as by p2 and q1, and by −p and −q as by p and q: the loss is the same.
    """
    D = len(U)
    value = np.asarray(weights["value"][0], dtype=np.float64)  # [p1 p2], (D, 2D)
    key_query = np.asarray(weights["key_query"][0, :, :D], dtype=np.float64)  # [q1; q2]
    p1, p2 = (_diagonal_on(block, U) for block in (value[:, :D], value[:, D:]))
    q1, q2 = (_diagonal_on(block, U) for block in (key_query[:D], key_query[D:]))
    by_p1 = np.abs(p1 * q2) > np.abs(p2 * q1)
    p, q = np.where(by_p1, p1, p2), np.where(by_p1, q2, q1)
    on_modes = np.outer(np.abs(p), np.where(p < 0, -q, q))
    elsewhere = float(np.sum(value**2) * np.sum(key_query**2) - np.sum(on_modes**2))
    return StoredMap(on_modes, max(elsewhere, 0.0))


def _diagonal_on(block: FloatArray, U: FloatArray) -> FloatArray:
    """u_αᵀ B u_α (D,) of a block (D, D) on the columns of U."""
    return np.asarray(np.einsum("ia,ij,ja->a", U, block, U))
