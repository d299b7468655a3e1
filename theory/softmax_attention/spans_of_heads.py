"""The least exact loss of heads at any ω, also where some of them merge, from a table of the exact loss.

The prediction of head h is μ_h f(ω_h), with one function f of ω for all heads, and the least loss depends on the span
of f(ω_1) … f(ω_H) alone. Where heads merge the span has a limit, with derivatives of f in it: two heads at ±γ and
values ±η/(2γ) become η ∂f/∂ω. Newton's divided differences f[ω_1], f[ω_1, ω_2], … span the same and stay independent in
this limit, so that the least loss is a smooth function of ω, and a minimisation can end where heads merge.

In the coordinate z of an `ExactTable` f is a polynomial, Σ_i T_i(z) e_i with the coefficients e_i of the series. Its
divided differences are the first row of T_i(J), where J has z_1 … z_H on its diagonal and 1 above it (Opitz 1964), for
which the recurrence of the Chebyshev polynomials T_i holds. Derived here for softmax heads.
"""

import math
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from .exact_tables import ExactTable
from .losses_of_heads import MergedHeads


class BestSpan(NamedTuple):
    """The least loss of heads at some z (H,), its derivatives by z, and the prediction.

    `coefficients` (H,) are those of the divided differences f[z_1 … z_k].
    """

    loss: float
    by_z: FloatArray
    coefficients: FloatArray


# Long because loss and slope share the divided differences and the residual.
def best_span(table: ExactTable, z: FloatArray, smallest: float) -> BestSpan:
    """The least loss at z (H,) in the table's coordinate, −1 … 1.

    Directions whose square is below `smallest`, relative to the largest, are left out: rounding or the table's error
    make them.
    """
    terms, H = len(table.signal), len(z)
    differences = _first_rows(z, terms)  # (terms, H)
    products = differences.T @ table.products @ differences
    signal = differences.T @ table.signal

    coefficients = _least_squares(products, signal, smallest)
    prediction = differences @ coefficients
    residual = table.products @ prediction - table.signal
    loss = table.zero_loss - table.signal @ prediction + prediction @ residual
    # ∂f[z_1 … z_k]/∂z_j = f[z_j, z_1 … z_k] for j ≤ k.
    chains = np.concatenate([z[:, None], np.broadcast_to(z, (H, H))], axis=1)
    slopes = np.tensordot(residual, _first_rows(chains, terms), 1)[:, 1:]  # (j, k)
    by_z = 2 * np.triu(slopes) @ coefficients
    return BestSpan(float(loss), by_z, coefficients)


def _least_squares(
    products: FloatArray, signal: FloatArray, smallest: float
) -> FloatArray:
    """The least of yᵀ products y − 2 signalᵀy, without the directions of squares below `smallest`."""
    # In units in which the squares are 1, so that their sizes can be compared.
    unit = 1 / np.sqrt(np.maximum(np.diag(products), np.finfo(float).tiny))
    squares, directions = np.linalg.eigh(products * np.outer(unit, unit))
    is_known = squares > smallest * squares[-1]
    directions = unit[:, None] * directions[:, is_known]
    return np.asarray(directions @ (directions.T @ signal / squares[is_known]))


def _first_rows(z: FloatArray, terms: int) -> FloatArray:
    """The first rows (terms, …, H) of T_i(J) for z (…, H) on the diagonal of J and 1 above it."""
    rows = np.zeros((max(terms, 2), *z.shape))
    rows[0, ..., 0] = 1
    rows[1, ..., 0] = z[..., 0]
    rows[1, ..., 1:2] = 1
    for i in range(2, terms):
        rows[i] = 2 * z * rows[i - 1] - rows[i - 2]
        rows[i, ..., 1:] += 2 * rows[i - 1, ..., :-1]
    return rows[:terms]


def omega_of(table: ExactTable, z: FloatArray) -> FloatArray:
    """ω at the table's coordinate z."""
    a = math.asinh(table.bound / table.scale)
    return np.asarray(table.scale * np.sinh(a * z))


def z_of(table: ExactTable, ω: FloatArray) -> FloatArray:
    """The table's coordinate at ω."""
    a = math.asinh(table.bound / table.scale)
    return np.asarray(np.arcsinh(ω / table.scale) / a)


# Long because values follow from the prediction by one change of the basis.
def groups_at(
    table: ExactTable, ω: FloatArray, sizes: list[int], smallest: float
) -> list[MergedHeads]:
    """The best values of groups of heads at ω (groups,): each of `sizes` is one head, or several that merge there."""
    z = np.repeat(z_of(table, ω), sizes)
    coefficients = best_span(table, z, smallest).coefficients
    prediction = _first_rows(z, len(table.signal)) @ coefficients
    derivatives = [
        _derivatives(table, at, size) for at, size in zip(ω, sizes, strict=True)
    ]
    basis = np.concatenate(derivatives, axis=1)  # (terms, H)
    # Higher derivatives are larger by orders: in units of their own size the basis is well conditioned.
    unit = np.linalg.norm(basis, axis=0)
    values = np.linalg.lstsq(basis / unit, prediction, rcond=None)[0] / unit
    ends = np.cumsum(sizes)
    return [
        MergedHeads(size, float(at), values[end - size : end])
        for size, at, end in zip(sizes, ω, ends, strict=True)
    ]


# Long because the recurrence of the polynomials stands as in its formula.
def _derivatives(table: ExactTable, ω: float, count: int) -> FloatArray:
    """f and its derivatives by ω (terms, count) at one ω.

    T_i of the Taylor polynomial of z(ω + t), multiplied as matrices J of one ω are, in Toeplitz form.
    """
    powers = _taylor_of_z(table, ω, count)
    z = np.zeros((count, count))
    for k, power in enumerate(powers):
        z += power * np.eye(count, k=k)
    rows = np.zeros((max(len(table.signal), 2), count))
    rows[0, 0] = 1
    rows[1] = powers
    for i in range(2, len(rows)):
        rows[i] = 2 * rows[i - 1] @ z - rows[i - 2]
    factorials = np.array([math.factorial(k) for k in range(count)])
    return np.asarray(rows[: len(table.signal)] * factorials)


# Long because the recurrence of the series stands as in its formula.
def _taylor_of_z(table: ExactTable, ω: float, count: int) -> FloatArray:
    """The first coefficients (count,) of z(ω + t) = arsinh((ω + t)/δ)/a as a series in t.

    Its derivative q^{−1/2}/a, with q = (ω + t)² + δ², obeys q g′ + q′ g/2 = 0.
    """
    a = math.asinh(table.bound / table.scale)
    q = ω**2 + table.scale**2
    g = np.zeros(count)
    g[0] = 1 / (a * math.sqrt(q))
    for k in range(count - 1):
        before = g[k - 1] if k > 0 else 0.0
        g[k + 1] = -((2 * k + 1) * ω * g[k] + k * before) / ((k + 1) * q)
    powers = np.empty(count)
    powers[0] = math.asinh(ω / table.scale) / a
    powers[1:] = g[:-1] / np.arange(1, count)
    return powers
