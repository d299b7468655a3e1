"""The kernels for n starts on one data set, whose axis comes last: NumPy multiplies S̃ by all of them.

Heads are a (H, V, n), B (H, J·D, n), key (H, R, J, n) and query (H, R, D, n); features are m and y (features, n),
and `table` (V, J) names the first of the D features to which a row of M adds. Otherwise all is as for one start.
"""

import numpy as np

from ...runtime.aligned_memory import cache_lines
from ...runtime.arrays import FloatArray, IndexArray
from .kernels import Heads, compiled

Slopes = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def slopes(heads: Heads) -> Slopes:
    """Room for the slopes of one head: of its a (V, n), B (J·D, n), a key (J, n) and a query (D, n).

    >>> shapes = (2, 3, 4), (2, 6, 4), (2, 0, 3, 4), (2, 0, 2, 4)
    >>> a, B, key, query = (np.zeros(shape) for shape in shapes)
    >>> [slope.shape for slope in slopes((a, B, key, query))]
    [(3, 4), (6, 4), (3, 4), (2, 4)]
    """
    a, B, key, query = heads
    shapes = a.shape[1:], B.shape[1:], key.shape[2:], query.shape[2:]
    slope_a, slope_B, slope_key, slope_query = (cache_lines(*shape) for shape in shapes)
    return slope_a, slope_B, slope_key, slope_query


@compiled
def update(w: FloatArray, slope: FloatArray, rate: float, square: FloatArray) -> None:
    """A step of weights w (k, n) along their slope, whose squared norm is added to `square` (n,)."""
    for k in range(len(w)):
        for n in range(len(square)):
            square[n] += slope[k, n] ** 2
            w[k, n] -= rate * slope[k, n]


@compiled
def slope_of_head(
    a: FloatArray, B: FloatArray, table: IndexArray, y: FloatArray, room: Slopes
) -> None:
    """∂L/∂a and ∂L/∂B of one head, a (V, n) and B (J·D, n), from y = ∂L/∂m."""
    slope_a, slope_B, D = room[0], room[1], len(room[3])
    slope_a[:] = 0.0
    slope_B[:] = 0.0
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            for d in range(D):
                f, g = j * D + d, table[i, j] + d
                for n in range(a.shape[1]):
                    slope_a[i, n] += y[g, n] * B[f, n]
                    slope_B[f, n] += y[g, n] * a[i, n]


@compiled
def move_pairs(
    key: FloatArray,
    query: FloatArray,
    B: FloatArray,
    rate: float,
    room: Slopes,
    square: FloatArray,
) -> None:
    """A step of one head's key (R, J, n) and query (R, D, n) along ∂L/∂B, and its new B."""
    _, slope_B, slope_key, slope_query = room
    D = len(slope_query)
    B[:] = 0.0
    for r in range(len(key)):
        slope_key[:] = 0.0
        slope_query[:] = 0.0
        for j in range(key.shape[1]):
            for d in range(D):
                f = j * D + d
                for n in range(len(square)):
                    slope_key[j, n] += slope_B[f, n] * query[r, d, n]
                    slope_query[d, n] += slope_B[f, n] * key[r, j, n]
        update(key[r], slope_key, rate, square)
        update(query[r], slope_query, rate, square)
        for j in range(key.shape[1]):
            for d in range(D):
                for n in range(len(square)):
                    B[j * D + d, n] += key[r, j, n] * query[r, d, n]


@compiled
def turn_many(
    heads: Heads,
    table: IndexArray,
    features: int,
    rate: float,
    vectors: tuple[FloatArray, FloatArray],
    lines: tuple[FloatArray, FloatArray],
    room: Slopes,
) -> None:
    """Losses and gradient norms (n,) from m and y = S̃ m, a step of every start, and its new features in m."""
    (a, B, key, query), (m, y), (loss, norm) = heads, vectors, lines
    D = len(room[3])
    loss[:] = 0.0
    norm[:] = 0.0
    for f in range(len(m)):
        for n in range(len(loss)):
            loss[n] += m[f, n] * y[f, n]
            y[f, n] *= 2.0
    m[:features] = 0.0
    for h in range(len(a)):
        slope_of_head(a[h], B[h], table, y, room)
        update(a[h], room[0], rate, norm)
        if key.shape[1]:
            move_pairs(key[h], query[h], B[h], rate, room, norm)
        else:
            update(B[h], room[1], rate, norm)
        for i in range(table.shape[0]):
            for j in range(table.shape[1]):
                for d in range(D):
                    f, g = j * D + d, table[i, j] + d
                    for n in range(len(loss)):
                        m[g, n] += a[h, i, n] * B[h, f, n]
    for n in range(len(norm)):
        norm[n] = np.sqrt(norm[n])
