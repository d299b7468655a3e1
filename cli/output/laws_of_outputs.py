"""What the teachers of several outputs have in common with the inputs, by which a task is written in symbols."""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...task import Task
from ...theory.moments.laws import teacher_second_moments
from ...theory.moments.population_loss import common_eigenvectors

ROUNDING = 1e-10
"""Relative size below which two numbers are equal: products and eigenvalues are exact to some 1e-15."""

# By which a generic symmetric matrix is made: its projections on the modes differ.
_GENERIC = 0.7548776662466927


class SharedVariances(NamedTuple):
    """s and ω (D,): of x and of the teachers along the eigenvectors that W and Λ share."""

    inputs: FloatArray
    teachers: FloatArray


class KroneckerFactors(NamedTuple):
    """Γ (K, K) of trace K and Ω (D, D) with E W_ia W_jb = Γ_ij Ω_ab."""

    outputs: FloatArray
    inputs: FloatArray


# Long because each step may find that there is no such basis.
def shared_variances(task: Task) -> SharedVariances | None:
    """s and ω of W = U diag(l) Uᵀ with independent l on eigenvectors U of Λ; None for other teachers.

    >>> from attndyn.teachers import Gaussian
    >>> shared_variances(Task([2, 1], teachers=Gaussian.shared_basis([1, 3]), context_length=4)).inputs.tolist()
    [1.0, 2.0]
    """
    K, D = task.outputs, task.dimension
    if K != D:
        return None
    T = teacher_second_moments(task.teachers)  # (D, D, D, D)
    entries = np.arange(D)
    generic = np.cos(_GENERIC * np.add.outer(entries * D, entries))
    # T maps a matrix X to Σ_d ω_d (u_dᵀ X u_d) u_d u_dᵀ, whose eigenvalues differ for a generic X.
    image = np.einsum("iajb,jb->ia", T, generic)
    contracted = np.einsum("iaib->ab", T)
    if not np.allclose(image, image.T, rtol=0, atol=ROUNDING * np.max(np.abs(T))):
        return None
    U = common_eigenvectors(task.covariance, contracted, image)
    if U is None:
        return None
    on_modes = np.einsum("iajb,ic,ad,je,bf->cdef", T, U, U, U, U, optimize=True)
    teachers = np.einsum("dddd->d", on_modes).copy()
    np.einsum("dddd->d", on_modes)[:] = 0.0
    if np.max(np.abs(on_modes)) > ROUNDING * np.max(np.abs(T)):
        return None
    inputs = np.einsum("id,ij,jd->d", U, task.covariance, U)
    return SharedVariances(inputs, teachers)


def kronecker_factors(task: Task) -> KroneckerFactors | None:
    """Γ and Ω of the teachers, None where their second moments are no such product.

    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.kronecker([[3, 0], [0, 1]], [[1]])
    >>> kronecker_factors(Task([2], teachers=teachers, context_length=4)).outputs.diagonal().tolist()
    [1.5, 0.5]
    """
    T = teacher_second_moments(task.teachers)  # (K, D, K, D)
    Ω = np.einsum("iaib->ab", T) / task.outputs
    Γ = np.einsum("iajb,ab->ij", T, Ω) / np.sum(Ω**2)
    rest = T - np.einsum("ij,ab->iajb", Γ, Ω)
    if np.max(np.abs(rest)) > ROUNDING * np.max(np.abs(T)):
        return None
    return KroneckerFactors(Γ, Ω)
