"""Directions on which separate heads move: also those of no gain, where Λ or Ω is singular.

With G = B − A M Λ (Λ stands for E x xᵀ) every head of the restricted block obeys

    dv/dt = Σ_r k_rᵀ G q_r        dk_r/dt = v G q_r        dq_r/dt = v Gᵀ k_r

and v² − Σ_r |k_r|² is conserved, with all parts of the keys. Parts on directions of no gain are of two kinds.

- **x does not vary** (w in the kernel of Λ, u in that of A, which holds it): G w = 0 and Gᵀu = 0. The parts wᵀq_r and
  uᵀk_r never move, change neither v nor any other part, and add to M what the loss does not see. They cancel from
  v² = v(0)² + Σ_r (|k_r|² − |k_r(0)|²): the flow of the other parts is that of a task without these directions.
- **x varies and the teacher does not** (λ_d > 0 and b_d = 0): G_dj = −a_d λ_j M_dj. While a head is small its parts
  on d are constant. Once it has grown they decay, dk_d/dt = −v a_d Σ_j M_dj λ_j q_j, and so they take part in the
  flow; since v² − Σ_r |k_r|² keeps k_d(0)², the keys of that head end larger than v on what it learned.

So heads are followed on all directions on which x varies. Source: Zhang et al. 2025 (arXiv 2501.16265) for the flow
where all directions have a gain; that of the others is derived here.
"""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....runtime.covariances import is_diagonal
from ....task import Task
from ...moments.population_loss import Population, common_eigenvectors
from .escapes import SeparateHeads

# Of a sum of D products, for each of them.
_ROUNDING = 1e-15


class MovingDirections(NamedTuple):
    """Directions on which x varies, as columns of `basis` (D, D'), with `A` (D', D') and `lam` (D',) on them.

    Where Λ and Ω commute: those that have a gain by decreasing gain, then the others, and A is diagonal. Else the
    eigenvectors of E x xᵀ by decreasing eigenvalue. `image`: orthonormal columns (D', r) that span what A does not
    map to 0, None where that is everything.
    """

    basis: FloatArray
    A: FloatArray
    lam: FloatArray
    image: FloatArray | None = None

    def heads_on(self, heads: SeparateHeads) -> SeparateHeads:
        """What moves of `heads` (H, R, D), with keys and queries on the directions, (H, R, D').

        Without what rounding leaves of zeros. Row by row in one and the same order of sums, so that equal heads stay
        equal.
        """
        key = np.einsum("hrd,de->hre", heads.k, self.basis)
        query = np.einsum("hrd,de->hre", heads.q, self.basis)
        are_coordinates = np.count_nonzero(self.basis) == self.basis.shape[1]
        if not are_coordinates:
            key = _without_rounding(key, heads.k)
            query = _without_rounding(query, heads.q)
        return SeparateHeads(heads.v, self._moving_keys(key), query)

    def _moving_keys(self, key: FloatArray) -> FloatArray:
        """Keys (H, R, D') without their parts in the kernel of A."""
        if self.image is None:
            return key
        return np.asarray(np.einsum("hrd,de->hre", key, self.image @ self.image.T))


def moving_directions(task: Task, moments: Population) -> MovingDirections:
    """The directions of a task on which heads move, for the moments of its loss."""
    if moments.is_aligned:
        return _aligned_directions(moments)
    basis = task.eigenvectors
    if np.any(task.input_mean):
        # E x xᵀ has other eigenvectors than Λ.
        basis = np.linalg.eigh(moments.Lambda).eigenvectors[:, ::-1]
    lam = np.diag(basis.T @ moments.Lambda @ basis)
    if moments.direction_count == moments.dimension:
        return MovingDirections(basis, basis.T @ moments.A @ basis, lam)

    varies = lam > _least(lam)
    basis, lam = basis[:, varies], lam[varies]
    A = basis.T @ moments.A @ basis
    values, vectors = np.linalg.eigh(A)
    moves = values > _least(values)
    image = None if np.all(moves) else vectors[:, moves]
    return MovingDirections(basis, A, lam, image)


def _aligned_directions(moments: Population) -> MovingDirections:
    """Common eigenvectors of Λ, A and B: those with a gain, then the others on which x varies."""
    others = _others(moments)  # (D, D − r)
    λ = _diagonal_on(others, moments.Lambda)
    varies = λ > _least(np.append(moments.lam, λ))
    others, λ = others[:, varies], λ[varies]

    a = _diagonal_on(others, moments.A)
    is_moved = a > _least(np.append(moments.a, a))
    all_a = np.append(moments.a, np.where(is_moved, a, 0.0))
    image = None if np.all(is_moved) else np.eye(len(all_a))[:, all_a > 0]
    return MovingDirections(
        basis=np.column_stack((moments.directions, others)),
        A=np.diag(all_a),
        lam=np.append(moments.lam, λ),
        image=image,
    )


def _others(moments: Population) -> FloatArray:
    """Common eigenvectors (D, D − r) of Λ and A that have no gain."""
    directions = moments.directions  # (D, r)
    count = moments.direction_count
    if np.count_nonzero(directions) == count:
        is_other = ~np.any(directions, axis=1)
        others = np.eye(moments.dimension)[:, is_other]
    else:
        others = np.linalg.svd(directions)[0][:, count:]
    Λ = others.T @ moments.Lambda @ others
    A = others.T @ moments.A @ others
    if is_diagonal(Λ) and is_diagonal(A):
        return others
    vectors = common_eigenvectors(Λ, A)
    if vectors is None:
        # Λ or A is next to nothing here, so that rounding decides on its eigenvectors.
        vectors = np.linalg.eigh(Λ).eigenvectors
    return np.asarray(others @ vectors)


def _least(values: FloatArray) -> float:
    """The value up to which one of these eigenvalues is rounding."""
    return _ROUNDING * len(values) * float(np.max(values, initial=0.0))


def _diagonal_on(basis: FloatArray, matrix: FloatArray) -> FloatArray:
    """e_dᵀ C e_d for the columns e_d of the basis."""
    return np.asarray(np.sum(basis * (matrix @ basis), axis=0))


def _without_rounding(rotated: FloatArray, rows: FloatArray) -> FloatArray:
    """`rotated` (H, R, D') of `rows` (H, R, D) with zeros in place of what is rounding of their largest entry."""
    largest = np.max(np.abs(rotated), axis=-1, keepdims=True)
    if rotated.shape[-1] < rows.shape[-1]:
        # The largest part may be one that does not move.
        of_rows = np.max(np.abs(rows), axis=-1, keepdims=True)
        largest = np.maximum(largest, of_rows)
    rounding = _ROUNDING * rows.shape[-1] * largest
    return np.where(np.abs(rotated) > rounding, rotated, 0.0)
