"""The Hessian of a loss in some of its weights, by differences of its gradient."""

import numpy as np

from ...models.protocol import Weights
from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number
from ...simulate.attention.objectives import Objective


def hessian(
    evaluate: Objective, weights: Weights, free: Weights, step: float = 1e-5
) -> FloatArray:
    """Hessian (n, n) of a loss in the n entries whose `free` is not zero, by central differences of its gradient.

    `step` is that of an entry of at most 1, and in parts of the entry where that is larger. ValueError unless it is
    positive, and if the Hessian is not finite.

    >>> hessian(lambda w: (float(w["x"] @ w["x"]), {"x": 2 * w["x"]}), {"x": np.zeros(3)}, {"x": np.eye(3)[0]})
    array([[2.]])
    """
    step = positive_number(step, "step")
    rows = []
    for name, value in weights.items():
        for index in map(tuple, np.argwhere(free[name])):
            shift = np.zeros(value.shape)
            shift[index] = step * max(1.0, abs(float(value[index])))
            _, above = evaluate(weights | {name: value + shift})
            _, below = evaluate(weights | {name: value - shift})
            difference = _free_entries(above, free) - _free_entries(below, free)
            rows.append(difference / (2 * shift[index]))

    return _symmetric_hessian(rows)


def _symmetric_hessian(rows: list[FloatArray]) -> FloatArray:
    """The Hessian (n, n) from its rows (n,), each a difference in one direction; ValueError if it is not finite."""
    # The reshape gives (0, 0) where no entry is free.
    size = len(rows)
    matrix = np.array(rows).reshape(size, size)
    if not np.all(np.isfinite(matrix)):
        raise ValueError(
            "the Hessian holds nan or inf: the gradient is no finite number near these weights"
        )
    # Differences in two directions agree up to rounding; the mean of both is symmetric.
    return np.asarray((matrix + matrix.T) / 2)


def _free_entries(gradient: Weights, free: Weights) -> FloatArray:
    """The entries (n,) of a gradient whose `free` is not zero, in the order of the names of `free`."""
    return np.concatenate([gradient[name][free[name] != 0] for name in free])


def hessian_index(
    evaluate: Objective, weights: Weights, free: Weights, floor: float = 1e-6
) -> int:
    """Number of eigenvalues of the Hessian in the free entries below −`floor`, in the unit of the Hessian.

    The weights of a run are never quite stationary: a floor above the curvature that heads of that size cause
    tells an unstable direction from their slow growth. ValueError unless the floor is zero or more.

    >>> hessian_index(lambda w: (0.0, {"x": np.array([2.0, -2.0]) * w["x"]}), {"x": np.zeros(2)}, {"x": np.ones(2)})
    1
    """
    if not floor >= 0:
        raise ValueError(f"floor must be zero or more, not {floor!r}")
    eigenvalues = np.linalg.eigvalsh(hessian(evaluate, weights, free))
    return int(np.sum(eigenvalues < -floor))
