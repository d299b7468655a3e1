"""What the teachers of several outputs have in common with the inputs: a basis, or a product of two covariances."""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...task import Task
from .laws import teacher_second_moments
from .population_loss import common_eigenvectors

ROUNDING = 1e-10
"""Relative size below which two second moments are equal: rounding of their products is some 1e-15."""

# What the solver of eigenvectors makes of a variance that is 0, in units of the largest and for each mode.
_ROUNDING_OF_EIGENVALUES = 4 * float(np.finfo(float).eps)
# By which a generic symmetric matrix is made: its projections on the modes differ.
_GENERIC = 0.7548776662466927


class SharedModes(NamedTuple):
    """s and ω (D,), of x and of the teachers along the eigenvectors that W and Λ share, which are columns of U."""

    inputs: FloatArray
    teachers: FloatArray
    basis: FloatArray


class KroneckerFactors(NamedTuple):
    """Γ (K, K) of trace K and Ω (D, D) with E W_ia W_jb = Γ_ij Ω_ab."""

    outputs: FloatArray
    inputs: FloatArray


def shared_modes(task: Task) -> SharedModes | None:
    """s, ω and U of teachers W = U diag(l) Uᵀ with independent l on eigenvectors U of Λ; None for other teachers.

    >>> from attndyn.teachers import Gaussian
    >>> shared_modes(Task([2, 1], teachers=Gaussian.shared_basis([1, 3]), context_length=4)).teachers.tolist()
    [1.0, 3.0]
    """
    T = teacher_second_moments(task.teachers)  # (K, D, K, D)
    if task.outputs != task.dimension:
        return None
    basis = _common_basis(task.covariance, T)
    if basis is None:
        return None
    on_modes = np.einsum("iajb,ic,ad,je,bf->cdef", T, *[basis] * 4, optimize=True)
    # E l_α² stands at ia = jb = αα, and nothing elsewhere.
    teachers = np.einsum("dddd->d", on_modes).copy()
    np.einsum("dddd->d", on_modes)[:] = 0.0
    if np.max(np.abs(on_modes)) > ROUNDING * np.max(np.abs(T)):
        return None
    inputs = np.einsum("id,ij,jd->d", basis, task.covariance, basis)
    if not np.array_equal(basis, np.eye(task.dimension)):
        inputs, teachers = _without_rounding(inputs), _without_rounding(teachers)
    return SharedModes(inputs, teachers, basis)


def kronecker_factors(task: Task) -> KroneckerFactors | None:
    """Γ and Ω of the teachers; None where their second moments are no such product.

    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.kronecker([[3, 0], [0, 1]], [[1]])
    >>> kronecker_factors(Task([2], teachers=teachers, context_length=4)).outputs.diagonal().tolist()
    [1.5, 0.5]
    """
    T = teacher_second_moments(task.teachers)  # (K, D, K, D)
    Ω = np.einsum("iaib->ab", T) / task.outputs
    # Γ is T contracted with Ω, in units in which it has trace K.
    Γ = np.einsum("iajb,ab->ij", T, Ω) / np.sum(Ω**2)
    gap = np.max(np.abs(T - np.einsum("ij,ab->iajb", Γ, Ω)))
    if gap > ROUNDING * np.max(np.abs(T)):
        return None
    return KroneckerFactors(Γ, Ω)


def _without_rounding(variances: FloatArray) -> FloatArray:
    """Variances (D,) on eigenvectors from a solver, with 0 for what is rounding of the largest or below zero."""
    rounding = _ROUNDING_OF_EIGENVALUES * len(variances) * np.max(np.abs(variances))
    return np.where(variances > rounding, variances, 0.0)


def _common_basis(Λ: FloatArray, T: FloatArray) -> FloatArray | None:
    """The columns u_α on which Λ is diagonal and T = Σ_α ω_α (u_α u_αᵀ) ⊗ (u_α u_αᵀ), if there are any."""
    D = len(Λ)
    entries = np.arange(D * D, dtype=float).reshape(D, D)
    generic = np.cos(_GENERIC * (entries + entries.T))
    # T maps a matrix X to Σ_α ω_α (u_αᵀ X u_α) u_α u_αᵀ, whose eigenvalues differ for a generic X.
    image = np.einsum("iajb,jb->ia", T, generic, optimize=True)
    contracted = np.einsum("iaib->ab", T)
    if not np.allclose(image, image.T, atol=ROUNDING * np.max(np.abs(T))):
        return None
    matrices = (Λ, contracted, image)
    if all(np.count_nonzero(each - np.diag(np.diag(each))) == 0 for each in matrices):
        return np.eye(D)
    return common_eigenvectors(*matrices)
