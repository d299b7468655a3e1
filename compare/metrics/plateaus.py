"""Where a run lands: the weights at its plateaus against the fixed points of the theory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...simulate import Trajectory
from ...simulate.attention.heads import heads_of
from ...simulate.attention.initialisation import positive
from ...simulate.attention.objectives import Objective
from ...theory import FixedPoint
from .curves import plateau_heights


@dataclass(frozen=True, eq=False)
class PlateauMatch:
    """One plateau of a run and the fixed point that it is held against; made by `match_plateaus`.

    `loss` is the plateau's height, `time` its place in the unit of the run, `weights` the stored ones nearest to
    it, `map_gap` the distance |M − M_S| relative to |M*|, `gradient_norm` the smallest on the plateau.
    """

    point: FixedPoint
    loss: float
    time: float
    weights: Weights
    map_gap: float
    gradient_norm: float


def match_plateaus(
    run: Trajectory, model: Parametrization, points: Sequence[FixedPoint], size: float
) -> tuple[PlateauMatch, ...]:
    """The plateaus of a run that belong to these fixed points, by decreasing loss; skipped ones are left out.

    `size` is |M*|, the scale of the maps. A plateau is where the gradient is smallest between two mid-levels.
    ValueError unless the size is positive.
    """
    size = positive("size", size)
    heights, indices = plateau_heights(
        run.loss, run.gradient_norm, [point.loss for point in points]
    )
    return tuple(
        _landing(run, model, point, int(index), size)
        for point, height, index in zip(points, heights, indices, strict=True)
        if np.isfinite(height)
    )


def _landing(
    run: Trajectory, model: Parametrization, point: FixedPoint, index: int, size: float
) -> PlateauMatch:
    nearest = int(np.argmin(np.abs(run.weight_time - run.time[index])))
    weights = {name: value[nearest] for name, value in run.weights.items()}
    gap = float(np.linalg.norm(effective_map(model, weights) - point.M)) / size
    return PlateauMatch(
        point,
        float(run.loss[index]),
        float(run.time[index]),
        weights,
        gap,
        float(run.gradient_norm[index]),
    )


def effective_map(model: Parametrization, weights: Weights) -> FloatArray:
    """M (D, D) of ŷ = βᵀ M x_q: the part of the effective map that meets β, from weights in the model's shapes.

    >>> from attndyn import Merged
    >>> effective_map(Merged(heads=1), {"value": np.array([[0, 2.0]]), "key_query": np.array([[[3.0, 0], [0, 0]]])})
    array([[6.]])
    """
    a, B = heads_of(model, weights)
    return np.asarray(
        np.einsum("h,hjd->jd", a[:, -1], B[:, :-1])
        + np.einsum("hj,hd->jd", a[:, :-1], B[:, -1])
    )


def hessian(
    evaluate: Objective, weights: Weights, free: Weights, step: float = 1e-5
) -> FloatArray:
    """Hessian (n, n) of a loss in the n entries whose `free` is not zero, by central differences of its gradient.

    `step` is that of an entry of at most 1, and in parts of the entry where that is larger. ValueError unless it is
    positive, and if the Hessian is not finite.

    >>> hessian(lambda w: (float(w["x"] @ w["x"]), {"x": 2 * w["x"]}), {"x": np.zeros(3)}, {"x": np.eye(3)[0]})
    array([[2.]])
    """
    rows, step = [], positive("step", step)
    for name, value in weights.items():
        for index in np.argwhere(free[name]):
            change, width = (
                np.zeros(value.shape),
                step * max(1.0, abs(float(value[tuple(index)]))),
            )
            change[tuple(index)] = width
            up, down = (
                evaluate(weights | {name: value + sign * change})[1] for sign in (1, -1)
            )
            rows.append(
                np.concatenate(
                    [(up[key] - down[key])[free[key] != 0] for key in weights]
                )
                / (2 * width)
            )
    matrix = np.array(rows).reshape(len(rows), len(rows))  # also where nothing is free
    if not np.all(np.isfinite(matrix)):
        raise ValueError(
            "the Hessian holds nan or inf: the gradient is no finite number near these weights"
        )
    return np.asarray((matrix + matrix.T) / 2)


def hessian_index(
    evaluate: Objective, weights: Weights, free: Weights, floor: float = 1e-6
) -> int:
    """Number of eigenvalues of the Hessian in the free entries below −`floor`, in the unit of the Hessian.

    Weights of a run are never quite at rest: a floor above what idle heads of that size cause tells a way out from
    their slow growth. ValueError unless the floor is zero or more.

    >>> hessian_index(lambda w: (0.0, {"x": np.array([2.0, -2.0]) * w["x"]}), {"x": np.zeros(2)}, {"x": np.ones(2)})
    1
    """
    if not floor >= 0:
        raise ValueError(f"floor must be zero or more, not {floor!r}")
    return int(np.sum(np.linalg.eigvalsh(hessian(evaluate, weights, free)) < -floor))
