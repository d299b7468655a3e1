"""The Hessian of the loss at a fixed point of rank-one heads, and its index.

Half the loss is ½ c − tr(BᵀM) + ½ tr(Λ Mᵀ A M) with M = Σ_h v_h k_h q_hᵀ. At balanced weights |v_h| = |k_h| = |q_h|.
"""

from collections.abc import Sequence
from typing import NamedTuple

from .balls import Ball, BallMatrix, NoCertificate, as_balls, flint, total
from .inertias import Inertia, certified_inertia
from .rational_moments import RationalMoments


class BalancedHead(NamedTuple):
    """v, k (D,) and q (D,) with v = |k| = |q|."""

    v: Ball
    k: list[Ball]
    q: list[Ball]


def inertia_of_heads(moments: RationalMoments, maps: Sequence[BallMatrix]) -> Inertia:
    """The inertia of ½ ∂²L at the heads of these rank-one maps, of which each head makes one.

    The r(1 + 2D) directions include r + r² that leave M as it is: the r heads may be rescaled, and their keys and
    queries mixed by GL(r). That is where the known part of the null space comes from.
    """
    r = len(maps)
    if r == 0:
        # Without an active head the loss has no second-order term in the weights.
        return Inertia(0, 0, 0)
    heads = [balanced_head(learned) for learned in maps]
    return certified_inertia(half_hessian(moments, heads), r + r * r)


def balanced_head(learned: BallMatrix) -> BalancedHead:
    """The head v k qᵀ of a map of rank one, m x yᵀ with unit x and y: v = |k| = |q| = m^{1/3}."""
    D = int(learned.nrows())
    columns = [[learned[i, j] for i in range(D)] for j in range(D)]
    largest = max(columns, key=lambda column: float(_dot(column, column).mid()))
    length = _length(largest)
    x = [entry / length for entry in largest]  # (D,)
    along = [_dot(x, column) for column in columns]  # m y, (D,)
    m = _length(along)
    v = m.root(3)
    return BalancedHead(
        v, k=[v * entry for entry in x], q=[v * entry / m for entry in along]
    )


def half_hessian(moments: RationalMoments, heads: list[BalancedHead]) -> BallMatrix:
    """½ ∂²L in the order v, k, q of each head: Jᵀ(A ⊗ Λ)J − ⟨G, ∂²M⟩, with J = ∂M and G = B − A M Λ."""
    A, B, Lambda = as_balls(moments.A), as_balls(moments.B), as_balls(moments.Lambda)
    # The map of the heads themselves, not the one that they were made of: another one would leave a gradient.
    M = total([_outer(head.k, head.q) * head.v for head in heads])
    G = B - A * M * Lambda
    tangents = [tangent for head in heads for tangent in _tangents(head)]
    pulled = [A * tangent * Lambda for tangent in tangents]

    n = len(tangents)
    first_order = _rows(tangents) * _rows(pulled).transpose()  # (n, n)
    entries = [[first_order[i, j] for j in range(n)] for i in range(n)]
    for number, head in enumerate(heads):
        _subtract_second_order(entries, G, head, number * (1 + 2 * len(head.k)))
    return flint().arb_mat(n, n, [entry for row in entries for entry in row])


def _tangents(head: BalancedHead) -> list[BallMatrix]:
    """∂M/∂v, ∂M/∂k_i and ∂M/∂q_j, each (D, D)."""
    D = len(head.k)
    units = [[flint().arb(int(i == j)) for j in range(D)] for i in range(D)]
    tangents = [_outer(head.k, head.q)]
    tangents += [_outer(unit, head.q) * head.v for unit in units]
    tangents += [_outer(head.k, unit) * head.v for unit in units]
    return tangents


def _subtract_second_order(
    entries: list[list[Ball]], G: BallMatrix, head: BalancedHead, first: int
) -> None:
    """Subtract ⟨G, ∂²M⟩ of one head, whose v stands at `first`: v G between its key and its query.

    Between v and key or query stand G q and Gᵀk, which vanish at a fixed point.
    """
    D = len(head.k)
    for i in range(D):
        for j in range(D):
            key = first + 1 + i
            query = first + 1 + D + j
            _subtract(entries, key, query, head.v * G[i, j])


def _subtract(entries: list[list[Ball]], i: int, j: int, value: Ball) -> None:
    """Subtract a value from an entry and from its mirror image."""
    entries[i][j] = entries[i][j] - value
    entries[j][i] = entries[j][i] - value


def _rows(matrices: list[BallMatrix]) -> BallMatrix:
    """Each matrix as one row."""
    entries = [entry for matrix in matrices for entry in matrix.entries()]
    return flint().arb_mat(len(matrices), len(entries) // len(matrices), entries)


def _outer(column: list[Ball], row: list[Ball]) -> BallMatrix:
    entries = [x * y for x in column for y in row]
    return flint().arb_mat(len(column), len(row), entries)


def _dot(first: list[Ball], second: list[Ball]) -> Ball:
    return total([x * y for x, y in zip(first, second, strict=True)])


def _length(vector: list[Ball]) -> Ball:
    """|x|; NoCertificate where it cannot be told from zero, and nothing can be divided by it."""
    length = _dot(vector, vector).sqrt()
    if not length > 0:
        raise NoCertificate(
            "a head cannot be told from zero at this precision: more bits are needed"
        )
    return length
