"""Gradient descent on statistics in machine code, where the calls of NumPy would outweigh the arithmetic.

The trained numbers of one start are its `Heads`, which make M = Σ_h a_h ⊗ B_h, V·J·D numbers. Features m are sums of
two rows of M, named by `feature_rows` (2, F), and a last one that is always 1, so that the loss is m̃ᵀ S̃ m̃ with
S̃ = [[S, −b], [−bᵀ, c]]. Zeros fill S̃ up to a multiple of ROWS.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from ...runtime.arrays import FloatArray, IndexArray
from .packed_heads import Heads

Function = TypeVar("Function", bound=Callable[..., object])

ROWS = 4
"""Rows of S̃ that are worked on together: so many sums stay in registers."""


def jit(function: Function) -> Function:
    """The function in machine code, kept beside the source or in the user's cache if either can be written.

    >>> jit(lambda x: x + 1)(1)
    2
    """
    return _compiled(function, {"reassoc", "contract", "nsz"})


def jit_in_order(function: Function) -> Function:
    """As `jit`, with every floating-point operation where it is written: what is symmetric stays so exactly.

    >>> jit_in_order(lambda x: (x + 1e16) - 1e16)(1.0)
    0.0
    """
    return _compiled(function, set())


def _compiled(function: Function, fastmath: set[str]) -> Function:
    try:
        return _machine_code(function, fastmath, cache=True)
    except RuntimeError:  # numba found no folder to write to
        return _machine_code(function, fastmath, cache=False)


def _machine_code(function: Function, fastmath: set[str], cache: bool) -> Function:
    compiler: Any = njit(cache=cache, nogil=True, fastmath=fastmath)
    return cast(Function, compiler(function))


class Form(NamedTuple):
    """The loss as a quadratic form m̃ᵀ S̃ m̃: `half` of S̃, as `product` reads it, the features m̃ and `y` = S̃ m̃."""

    half: FloatArray
    m: FloatArray
    y: FloatArray


class Traces(NamedTuple):
    """Loss and gradient norm before each step, (T,)."""

    loss: FloatArray
    norm: FloatArray


class Records(NamedTuple):
    """All numbers of the heads in a `row` (n,), the `steps` (k,) before which they are stored, and where, (k, n)."""

    row: FloatArray
    steps: IndexArray
    rows: FloatArray


class Workspace(NamedTuple):
    """What a step writes down on its way: M and G = ∂L/∂M (V·J·D,), and the slopes of one head's a, B and query."""

    M: FloatArray
    G: FloatArray
    slope_a: FloatArray
    slope_B: FloatArray
    slope_query: FloatArray


def workspace(heads: Heads) -> Workspace:
    """A workspace for these heads, of zeros.

    >>> heads = Heads(np.ones((2, 3)), np.ones((2, 6)), np.ones((2, 0, 3)), np.ones((2, 0, 2)))
    >>> [len(array) for array in workspace(heads)]
    [18, 18, 3, 6, 2]
    """
    V = heads.a.shape[1]
    width = heads.B.shape[1]
    D = heads.query.shape[2]
    return Workspace(
        M=np.zeros(V * width),
        G=np.zeros(V * width),
        slope_a=np.zeros(V),
        slope_B=np.zeros(width),
        slope_query=np.zeros(D),
    )


# Long because the four rows are written out: each number of S̃ is then read from memory once
# and used twice, with four sums in registers, which no loop over them would be compiled to.
@jit
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
            # S̃ is symmetric: the same numbers in the columns to the right of the diagonal.
            y[j] += row0[j] * m0 + row1[j] * m1 + row2[j] * m2 + row3[j] * m3
        y[i] += y0
        y[i + 1] += y1
        y[i + 2] += y2
        y[i + 3] += y3


# -- Updates of the heads -----------------------------------------------------------------------------------------

# For so few numbers a call costs as much as the arithmetic, and so does each array that is taken out of a tuple, or row
# of an array, as it is counted as a reference. So there are two calls for each head, with whole arrays and its index.


@jit
def update_values(
    h: int,
    a: FloatArray,
    B: FloatArray,
    G: FloatArray,
    slope_a: FloatArray,
    slope_B: FloatArray,
    rate: float,
) -> float:
    """Writes ∂L/∂B_h, and a step of a_h along ∂L/∂a_h, whose squared norm is returned; G = ∂L/∂M."""
    width = len(slope_B)
    square = 0.0
    slope_B[:] = 0.0
    for i in range(len(slope_a)):
        total = 0.0
        for f in range(width):
            total += G[i * width + f] * B[h, f]
            slope_B[f] += a[h, i] * G[i * width + f]
        slope_a[i] = total
    for i in range(len(slope_a)):
        square += slope_a[i] ** 2
        a[h, i] -= rate * slope_a[i]
    return square


# Long because key and query are updated together: the slope of each needs the other as it was before the step.
@jit
def update_pairs(
    h: int,
    B: FloatArray,
    key: FloatArray,
    query: FloatArray,
    slope: FloatArray,
    slope_query: FloatArray,
    rate: float,
) -> float:
    """A step of head h's keys and queries along `slope` = ∂L/∂B_h, and its new B_h; squared norm of their gradient."""
    D = len(slope_query)
    square = 0.0
    B[h] = 0.0
    for r in range(key.shape[1]):
        slope_query[:] = 0.0
        for j in range(key.shape[2]):
            slope_key = 0.0
            for d in range(D):
                slope_key += slope[j * D + d] * query[h, r, d]
                slope_query[d] += slope[j * D + d] * key[h, r, j]
            square += slope_key**2
            key[h, r, j] -= rate * slope_key
        for d in range(D):
            square += slope_query[d] ** 2
            query[h, r, d] -= rate * slope_query[d]
        for j in range(key.shape[2]):
            for d in range(D):
                B[h, j * D + d] += key[h, r, j] * query[h, r, d]
    return square


# Long because it runs at every step: a call for each head's weight or product would cost as much as its arithmetic.
@jit
def update_heads(heads: Heads, rate: float, space: Workspace) -> float:
    """A step of all heads along G = ∂L/∂M, and their new M; the squared norm of the gradient."""
    a, B, key, query = heads
    M, G, slope_a, slope_B, slope_query = space
    width = len(slope_B)
    square = 0.0
    M[:] = 0.0
    for h in range(len(a)):
        square += update_values(h, a, B, G, slope_a, slope_B, rate)
        if key.shape[1]:
            square += update_pairs(h, B, key, query, slope_B, slope_query, rate)
        else:  # B itself is the weight
            for f in range(width):
                square += slope_B[f] ** 2
                B[h, f] -= rate * slope_B[f]
        for i in range(len(slope_a)):
            for f in range(width):
                M[i * width + f] += a[h, i] * B[h, f]
    return square


# Long because U is read and written in one pass, which is what makes the step fast.
@jit
def update_merged_heads(
    v: FloatArray, U: FloatArray, rate: float, G: FloatArray, M: FloatArray
) -> float:
    """As `update_heads` for M = Σ_h v_h U_h, v (H,) and U (H, D²) with D large: memory is read and written once."""
    square = 0.0
    G_squared = 0.0
    for f in range(len(G)):
        G_squared += G[f] ** 2
        M[f] = 0.0
    for h in range(len(v)):
        slope_v = 0.0
        for f in range(len(G)):
            slope_v += G[f] * U[h, f]
        square += slope_v**2 + v[h] ** 2 * G_squared
        old_rate = rate * v[h]
        v[h] -= rate * slope_v
        new_v = v[h]
        for f in range(len(G)):
            U[h, f] -= old_rate * G[f]
            M[f] += new_v * U[h, f]
    return square


# -- Steps --------------------------------------------------------------------------------------------------------


@jit
def write_map_gradient(
    y: FloatArray, feature_rows: IndexArray, G: FloatArray, D: int
) -> None:
    """Writes G = ∂L/∂M from y = S̃ m̃, half of ∂L/∂m."""
    for p in range(feature_rows.shape[1]):
        upper = feature_rows[0, p] * D
        lower = feature_rows[1, p] * D
        for d in range(D):
            G[upper + d] = 2.0 * y[p * D + d]
            G[lower + d] = 2.0 * y[p * D + d]


@jit
def write_features(
    M: FloatArray, feature_rows: IndexArray, m: FloatArray, D: int
) -> None:
    """Writes the features of M into m, but for the last one."""
    for p in range(feature_rows.shape[1]):
        upper = feature_rows[0, p] * D
        lower = feature_rows[1, p] * D
        weight = 0.5 if upper == lower else 1.0  # on the diagonal the row is its own
        for d in range(D):
            m[p * D + d] = weight * (M[upper + d] + M[lower + d])


@jit
def take_step(
    heads: Heads,
    feature_rows: IndexArray,
    rate: float,
    m: FloatArray,
    y: FloatArray,
    space: Workspace,
) -> float:
    """A step along y = S̃ m̃, after which m holds the features of the new heads; the norm of the gradient."""
    D = len(space.slope_query)
    write_map_gradient(y, feature_rows, space.G, D)
    square = update_heads(heads, rate, space)
    write_features(space.M, feature_rows, m, D)
    return float(np.sqrt(square))


# Long because it is the loop of all steps, which runs compiled from the first step to the last.
@jit
def take_steps(
    form: Form,
    heads: Heads,
    feature_rows: IndexArray,
    rate: float,
    traces: Traces,
    records: Records,
    space: Workspace,
) -> int:
    """As many steps as `traces` hold; the number that was taken while the loss was finite.

    The steps of `records` are counted from the first one here; its row must hold the heads.
    """
    half, m, y = form
    take_step(heads, feature_rows, 0.0, m, y, space)  # of size 0: features of the start
    m[feature_rows.shape[1] * len(space.slope_query)] = 1.0
    stored = 0
    for step in range(len(traces.loss)):
        if stored < len(records.steps) and records.steps[stored] == step:
            records.rows[stored] = records.row
            stored += 1
        product(half, m, y)
        loss = 0.0
        for f in range(len(m)):
            loss += m[f] * y[f]
        traces.loss[step] = loss
        if not np.isfinite(loss):
            return step
        traces.norm[step] = take_step(heads, feature_rows, rate, m, y, space)
    return len(traces.loss)
