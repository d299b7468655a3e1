"""Gradient descent on statistics in machine code, where the calls of NumPy would outweigh the arithmetic.

The heads of one start are (a, B, key, query): trained value entries a (H, V), trained rows B (H, J·D), and key
(H, R, J) and query (H, R, D), with R = 0 where B itself is the weight. They make M = Σ_h a_h ⊗ B_h, V·J·D numbers.
Features m are sums of two rows of M, named by `places` (2, F), and a last one that is always 1, so that the loss
is m̃ᵀ S̃ m̃ with S̃ = [[S, −b], [−bᵀ, c]]. Zeros fill S̃ up to a multiple of ROWS.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from ...runtime.arrays import FloatArray, IndexArray

Heads = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
Room = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]
Function = TypeVar("Function", bound=Callable[..., object])

ROWS = 4
"""Rows of S̃ that are worked on together."""


def compiled(function: Function) -> Function:
    """The function in machine code, kept beside the source or in the user's cache if either can be written.

    >>> compiled(lambda x: x + 1)(1)
    2
    """
    return _kept(function, {"reassoc", "contract", "nsz"})


def compiled_in_order(function: Function) -> Function:
    """As `compiled`, with every floating-point operation where it is written: what is symmetric stays so exactly.

    >>> compiled_in_order(lambda x: (x + 1e16) - 1e16)(1.0)
    0.0
    """
    return _kept(function, set())


def _kept(function: Function, liberties: set[str]) -> Function:
    try:
        return _machine_code(function, liberties, cache=True)
    except RuntimeError:  # numba found no folder to write to
        return _machine_code(function, liberties, cache=False)


def _machine_code(function: Function, liberties: set[str], cache: bool) -> Function:
    faster: Any = njit(cache=cache, nogil=True, fastmath=liberties)(function)
    return cast(Function, faster)


def room(heads: Heads) -> Room:
    """What a step writes down on its way: M, ∂L/∂M, and the slopes of one head's a, B and query; zeros at first.

    >>> [len(array) for array in room((np.ones((2, 3)), np.ones((2, 6)), np.ones((2, 0, 3)), np.ones((2, 0, 2))))]
    [18, 18, 3, 6, 2]
    """
    V, width, D = heads[0].shape[1], heads[1].shape[1], heads[3].shape[2]
    return (
        np.zeros(V * width),
        np.zeros(V * width),
        np.zeros(V),
        np.zeros(width),
        np.zeros(D),
    )


@compiled
def product(half: FloatArray, m: FloatArray, y: FloatArray) -> None:
    """y = S̃ m, reading the numbers below and in the blocks of ROWS on the diagonal, where half of them stands."""
    y[:] = 0.0
    for i in range(0, len(m), ROWS):
        row0, row1, row2, row3 = half[i], half[i + 1], half[i + 2], half[i + 3]
        m0, m1, m2, m3 = m[i], m[i + 1], m[i + 2], m[i + 3]
        y0 = y1 = y2 = y3 = 0.0
        for j in range(i + ROWS):
            y0 += row0[j] * m[j]
            y1 += row1[j] * m[j]
            y2 += row2[j] * m[j]
            y3 += row3[j] * m[j]
            y[j] += row0[j] * m0 + row1[j] * m1 + row2[j] * m2 + row3[j] * m3
        y[i] += y0
        y[i + 1] += y1
        y[i + 2] += y2
        y[i + 3] += y3


@compiled
def move_pair(
    h: int, heads: Heads, rate: float, slope: FloatArray, slope_query: FloatArray
) -> float:
    """A step of head h's key and query along `slope` = ∂L/∂B_h, and its new B_h; squared norm of the gradient."""
    _, B, key, query = heads
    D, square = query.shape[2], 0.0
    B[h] = 0.0
    for r in range(key.shape[1]):
        slope_query[:] = 0.0
        for j in range(key.shape[2]):
            total = 0.0
            for d in range(D):
                total += slope[j * D + d] * query[h, r, d]
                slope_query[d] += slope[j * D + d] * key[h, r, j]
            square += total**2
            key[h, r, j] -= rate * total
        for d in range(D):
            square += slope_query[d] ** 2
            query[h, r, d] -= rate * slope_query[d]
        for j in range(key.shape[2]):
            for d in range(D):
                B[h, j * D + d] += key[h, r, j] * query[h, r, d]
    return square


@compiled
def move(heads: Heads, rate: float, space: Room) -> float:
    """A step of all heads along the slope ∂L/∂M, and their new M; the squared norm of the gradient."""
    (a, B, key, _), (M, G, slope_a, slope_B, slope_query) = heads, space
    square, V, width = 0.0, len(slope_a), len(slope_B)
    M[:] = 0.0
    for h in range(len(a)):
        slope_B[:] = 0.0
        for i in range(V):
            total = 0.0
            for f in range(width):
                total += G[i * width + f] * B[h, f]
                slope_B[f] += a[h, i] * G[i * width + f]
            slope_a[i] = total
        for i in range(V):
            square += slope_a[i] ** 2
            a[h, i] -= rate * slope_a[i]
        if key.shape[1]:
            square += move_pair(h, heads, rate, slope_B, slope_query)
        else:
            for f in range(width):
                square += slope_B[f] ** 2
                B[h, f] -= rate * slope_B[f]
        for i in range(V):
            for f in range(width):
                M[i * width + f] += a[h, i] * B[h, f]
    return square


@compiled
def move_inside(
    v: FloatArray, U: FloatArray, rate: float, G: FloatArray, M: FloatArray
) -> float:
    """As `move` for M = Σ_h v_h U_h, v (H,) and U (H, D²) with D large: memory is read and written once."""
    square, size = 0.0, 0.0
    for f in range(len(G)):
        size += G[f] ** 2
        M[f] = 0.0
    for h in range(len(v)):
        total = 0.0
        for f in range(len(G)):
            total += G[f] * U[h, f]
        square += total**2 + v[h] ** 2 * size
        pull = rate * v[h]
        v[h] -= rate * total
        value = v[h]
        for f in range(len(G)):
            U[h, f] -= pull * G[f]
            M[f] += value * U[h, f]
    return square


@compiled
def turn(
    heads: Heads,
    places: IndexArray,
    rate: float,
    m: FloatArray,
    y: FloatArray,
    space: Room,
) -> float:
    """A step along y = S̃ m̃, which overwrites m with the features of the new heads; the norm of the gradient."""
    M, G, D = space[0], space[1], len(space[4])
    for p in range(places.shape[1]):
        upper, lower = places[0, p] * D, places[1, p] * D
        for d in range(D):
            G[upper + d] = 2.0 * y[p * D + d]
            G[lower + d] = 2.0 * y[p * D + d]
    square = move(heads, rate, space)
    for p in range(places.shape[1]):
        upper, lower = places[0, p] * D, places[1, p] * D
        once = 0.5 if upper == lower else 1.0
        for d in range(D):
            m[p * D + d] = once * (M[upper + d] + M[lower + d])
    return float(np.sqrt(square))


@compiled
def descend(
    form: tuple[FloatArray, FloatArray, FloatArray],
    heads: Heads,
    places: IndexArray,
    rate: float,
    lines: tuple[FloatArray, FloatArray],
    records: tuple[FloatArray, IndexArray, FloatArray],
    space: Room,
) -> int:
    """As many steps as `lines`, loss and norm (T,), hold; the number that was taken while the loss was finite.

    `form` is S̃ as `product` wants it and two vectors of zeros of its size. `records` are all numbers of the heads
    in a row, the steps before which they are kept, counted from the first one here, and a row for each of these.
    """
    (half, m, y), (loss, norm), (row, recorded, kept), count = form, lines, records, 0
    turn(heads, places, 0.0, m, y, space)  # no step: the features of the start
    m[places.shape[1] * len(space[4])] = 1.0
    for step in range(len(loss)):
        if count < len(recorded) and recorded[count] == step:
            for f in range(len(row)):
                kept[count, f] = row[f]
            count += 1
        product(half, m, y)
        loss[step] = 0.0
        for f in range(len(m)):
            loss[step] += m[f] * y[f]
        if not np.isfinite(loss[step]):
            return step
        norm[step] = turn(heads, places, rate, m, y, space)
    return len(loss)
