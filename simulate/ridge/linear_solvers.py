"""Symmetric equations: factors that say whether they are safely regular, conjugate gradients, and refinement."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...runtime.arrays import FloatArray
from .readouts import RealArray

EPSILON = float(np.finfo(np.float64).eps)

Solve = Callable[[FloatArray], FloatArray]
"""Right-hand side → solution, which may be an approximate one."""

_SAFE = 2.0
"""An eigenvalue is safely above rounding if it is so many times eps · size: a matrix whose entries err by eps errs by
less than eps · size, as does its factor. A tenth of it was measured, and of the largest singular value a hundredth."""

_MOST_REFINEMENTS = 50

_CONVERGED = 4 * EPSILON
"""Relative change of a refinement at which only rounding is left; changes shrink by one factor, so that two tell."""

_ACCURATE = 1e-11
"""Relative change at which a refinement may stall: that of rounding in residuals at a condition of 1e4."""

_REDUCTION = 2e-6
"""What conjugate gradients in single precision reduce a residual to: rounding stops them a little below."""

_MOST_STEPS = 60
"""Steps of conjugate gradients: enough for `_REDUCTION` at a condition of 100."""


def factored(matrix: RealArray) -> Solve | None:
    """What solves with a symmetric matrix (n, n) of entries about 1 or less, or None if it is not safely regular.

    The matrix is overwritten.

    >>> solve = factored(np.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> solve(np.array([2.0, 3.0]))
    array([1., 3.])
    >>> factored(np.ones((2, 2))) is None
    True
    """
    from scipy.linalg import get_lapack_funcs

    if not len(matrix):
        return lambda right: right
    potrf, pocon, potrs = get_lapack_funcs(("potrf", "pocon", "potrs"), (matrix,))
    norm = np.max(np.sum(np.abs(matrix), axis=0))
    # Symmetric: its rows are the columns that LAPACK expects, so that nothing is copied.
    factor, failed = potrf(matrix.T, lower=False, overwrite_a=True, clean=False)
    if failed:
        return None
    inverse_condition, _ = pocon(factor, norm, uplo="U")
    # 1 / ‖S⁻¹‖₁ ≤ the smallest eigenvalue.
    smallest = inverse_condition * norm
    rounding = float(np.finfo(matrix.dtype).eps) * len(matrix)
    if not smallest > _SAFE * rounding:
        return None

    def solve_in_precision(right: RealArray) -> RealArray:
        solution, _ = potrs(factor, right.ravel(), lower=False)
        return np.asarray(solution.reshape(right.shape))

    return in_precision(solve_in_precision, matrix.dtype)


def in_precision(
    solve: Callable[[RealArray], RealArray], dtype: np.dtype[Any]
) -> Solve:
    """The solution of a linear equation in another precision, of right-hand sides of any size."""

    def solve_in_doubles(right: FloatArray) -> FloatArray:
        # In units of its own: single precision has no numbers below 1e-45.
        unit = float(np.max(np.abs(right), initial=0.0)) or 1.0
        solution = solve((right / unit).astype(dtype))
        return np.asarray(unit * solution.astype(np.float64))

    return solve_in_doubles


def conjugate_gradients(
    product: Callable[[RealArray], RealArray], right: RealArray
) -> RealArray:
    """The solution of S m = right, to single precision, for a well-conditioned S that is known by its products.

    >>> conjugate_gradients(lambda m: m * np.array([1.0, 2.0]), np.array([3.0, 4.0])).round(6)
    array([3., 2.])
    """
    solution = np.zeros_like(right)
    residual = right
    direction = right
    square = float(np.vdot(residual, residual))
    goal = _REDUCTION**2 * square
    for _ in range(_MOST_STEPS):
        if square <= goal:
            break
        along = product(direction)
        step = square / float(np.vdot(direction, along))
        solution = solution + step * direction
        residual = residual - step * along
        former_square = square
        square = float(np.vdot(residual, residual))
        direction = residual + square / former_square * direction
    return solution


def refined(slope: Solve, solve: Solve, shape: tuple[int, ...]) -> FloatArray | None:
    """Where a slope vanishes that is linear, by steps solve(slope), or None if they do not converge.

    >>> refined(lambda m: 3.0 - 2.0 * m, lambda right: 0.49 * right, (1,))
    array([1.5])
    """
    solution = solve(slope(np.zeros(shape)))
    former_change = 1.0
    for _ in range(_MOST_REFINEMENTS):
        step = solve(slope(solution))
        solution = solution + step
        size = float(np.linalg.norm(solution))
        change = float(np.linalg.norm(step)) / size if size else 0.0
        next_change = change * min(change / former_change, 1.0)
        if next_change <= _CONVERGED:
            return solution
        if not change <= former_change / 2:
            # Steps shrink no more: rounding of the slope decides them.
            return solution if change <= _ACCURATE else None
        former_change = change
    return None
