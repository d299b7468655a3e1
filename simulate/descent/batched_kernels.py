"""The kernels for n starts on one data set, whose axis comes last: NumPy multiplies S̃ by all of them.

Heads are a (H, V, n), B (H, J·D, n), key (H, R, J, n) and query (H, R, D, n); features are m and y (features, n),
and `first_features` (V, J) names the first of the D features to which a row of M adds. Otherwise all is as for one
start.
"""

from typing import NamedTuple

import numpy as np

from ...runtime.aligned_memory import cache_lines
from ...runtime.arrays import FloatArray, IndexArray
from .kernels import jit
from .packed_heads import Heads

Arrays = tuple[FloatArray, ...]
"""Arrays in a plain tuple: numba looks up the type of a named one in Python, which a call for each step would feel."""


class Slopes(NamedTuple):
    """Room for the slopes of one head: of its a (V, n), B (J·D, n), a key (J, n) and a query (D, n)."""

    a: FloatArray
    B: FloatArray
    key: FloatArray
    query: FloatArray


def slopes(heads: Heads) -> Slopes:
    """Room for the slopes of one of these heads.

    >>> shapes = (2, 3, 4), (2, 6, 4), (2, 0, 3, 4), (2, 0, 2, 4)
    >>> [slope.shape for slope in slopes(Heads(*(np.zeros(shape) for shape in shapes)))]
    [(3, 4), (6, 4), (3, 4), (2, 4)]
    """
    return Slopes(
        a=cache_lines(*heads.a.shape[1:]),
        B=cache_lines(*heads.B.shape[1:]),
        key=cache_lines(*heads.key.shape[2:]),
        query=cache_lines(*heads.query.shape[2:]),
    )


@jit
def update(w: FloatArray, slope: FloatArray, rate: float, square: FloatArray) -> None:
    """A step of weights w (k, n) along their slope, whose squared norm is added to `square` (n,)."""
    for k in range(len(w)):
        for n in range(len(square)):
            square[n] += slope[k, n] ** 2
            w[k, n] -= rate * slope[k, n]


@jit
def write_slopes(
    a: FloatArray,
    B: FloatArray,
    first: IndexArray,
    y: FloatArray,
    slope_a: FloatArray,
    slope_B: FloatArray,
) -> None:
    """Writes ∂L/∂a and ∂L/∂B of one head, a (V, n) and B (J·D, n), from y = ∂L/∂m."""
    D = len(B) // first.shape[1]
    slope_a[:] = 0.0
    slope_B[:] = 0.0
    for i in range(first.shape[0]):
        for j in range(first.shape[1]):
            for d in range(D):
                f = j * D + d
                feature = first[i, j] + d
                for n in range(a.shape[1]):
                    slope_a[i, n] += y[feature, n] * B[f, n]
                    slope_B[f, n] += y[feature, n] * a[i, n]


@jit
def write_pair_slopes(
    key: FloatArray,
    query: FloatArray,
    slope_B: FloatArray,
    slope_key: FloatArray,
    slope_query: FloatArray,
) -> None:
    """Writes ∂L/∂k (J, n) and ∂L/∂q (D, n) of one pair, from ∂L/∂B."""
    D = len(slope_query)
    slope_key[:] = 0.0
    slope_query[:] = 0.0
    for j in range(len(key)):
        for d in range(D):
            f = j * D + d
            for n in range(key.shape[1]):
                slope_key[j, n] += slope_B[f, n] * query[d, n]
                slope_query[d, n] += slope_B[f, n] * key[j, n]


@jit
def update_pairs(
    key: FloatArray,
    query: FloatArray,
    B: FloatArray,
    rate: float,
    slopes: Arrays,
    square: FloatArray,
) -> None:
    """A step of one head's key (R, J, n) and query (R, D, n) along ∂L/∂B, and its new B."""
    _, slope_B, slope_key, slope_query = slopes
    D = query.shape[1]
    B[:] = 0.0
    for r in range(len(key)):
        k, q = key[r], query[r]
        write_pair_slopes(k, q, slope_B, slope_key, slope_query)
        update(k, slope_key, rate, square)
        update(q, slope_query, rate, square)
        for j in range(len(k)):
            for d in range(D):
                for n in range(len(square)):
                    B[j * D + d, n] += k[j, n] * q[d, n]


@jit
def add_features(
    a: FloatArray, B: FloatArray, first: IndexArray, D: int, m: FloatArray
) -> None:
    """Adds the features of a ⊗ B, a (V, n) and B (J·D, n), to m."""
    for i in range(first.shape[0]):
        for j in range(first.shape[1]):
            for d in range(D):
                f = j * D + d
                feature = first[i, j] + d
                for n in range(a.shape[1]):
                    m[feature, n] += a[i, n] * B[f, n]


@jit
def write_losses(m: FloatArray, y: FloatArray, loss: FloatArray) -> None:
    """Writes the losses mᵀ y (n,) of all starts, and turns y = S̃ m into ∂L/∂m = 2 S̃ m."""
    loss[:] = 0.0
    for f in range(len(m)):
        for n in range(len(loss)):
            loss[n] += m[f, n] * y[f, n]
            y[f, n] *= 2.0


# Long because it is one step of all starts, which runs compiled and whose order of calls is the step.
@jit
def take_steps(
    heads: Arrays,
    first: IndexArray,
    features: int,
    rate: float,
    vectors: Arrays,
    traces: Arrays,
    slopes: Arrays,
) -> None:
    """A step of every start, from its features m and y = S̃ m, after which m holds the new ones.

    `features`: how many there are. `heads` are the arrays of `Heads`, `vectors` m and y, `slopes` those of `Slopes`,
    and `traces` the losses and gradient norms (n,) before the step, which are written.
    """
    a, B, key, query = heads
    slope_a, slope_B, _, _ = slopes
    m, y = vectors
    loss, norm = traces
    D = query.shape[2]
    write_losses(m, y, loss)
    m[:features] = 0.0
    norm[:] = 0.0
    for h in range(len(a)):
        a_h, B_h = a[h], B[h]
        write_slopes(a_h, B_h, first, y, slope_a, slope_B)
        update(a_h, slope_a, rate, norm)
        if key.shape[1]:
            update_pairs(key[h], query[h], B_h, rate, slopes, norm)
        else:  # B itself is the weight
            update(B_h, slope_B, rate, norm)
        add_features(a_h, B_h, first, D, m)
    for n in range(len(norm)):
        norm[n] = np.sqrt(norm[n])
