"""A law of tasks as finitely many weighted ones, on which polynomials of degree 4 have the same means.

Errors of a read-out are such polynomials of w. The points are a cubature of degree 5 on the sphere: ± e_i and
(± e_i ± e_j)/√2, i < j. A normal law adds two radii, 0 and √(D + 2), as E|z|² = D and E|z|⁴ = D (D + 2).
"""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.covariances import symmetric_root
from ...runtime.machine import refuse_too_large
from ...teachers import Gaussian, Mixture, Pool, Sphere, TeacherLaw

# Arrays of the size of the points that are needed at once.
_COPIES = 4


class LawAsPoints(NamedTuple):
    """Tasks w (n, D) and their weights (n,), which sum to 1 and may be negative."""

    tasks: FloatArray
    weights: FloatArray


def points_of_law(law: TeacherLaw) -> LawAsPoints:
    """Tasks with weights that have the means of all polynomials of degree 4 or less of a law of one output.

    ValueError for a law of your own: a Pool of its draws is known; MemoryError where 2D² points do not fit.
    Source: derived here.

    >>> points = points_of_law(Sphere(2, radius=1))
    >>> len(points.tasks), round(float(points.weights @ points.tasks[:, 0] ** 4), 6)
    (8, 0.375)
    """
    if isinstance(law, Pool):
        return LawAsPoints(law.members[:, 0], law.member_weights)
    if isinstance(law, Sphere):
        directions = _sphere_points(law.dimension)
        return LawAsPoints(law.radius * directions.tasks, directions.weights)
    if isinstance(law, Gaussian):
        return _gaussian_points(law)
    if isinstance(law, Mixture):
        parts = [points_of_law(part) for part in law.laws]
        shares = [
            share * part.weights for share, part in zip(law.shares, parts, strict=True)
        ]
        tasks = np.concatenate([part.tasks for part in parts])
        return LawAsPoints(tasks, np.concatenate(shares))
    raise ValueError(
        f"fourth moments of {type(law).__name__}, a law of teachers of your own, are not known here: use a Pool of its "
        "draws"
    )


def _gaussian_points(law: Gaussian) -> LawAsPoints:
    """The points of mean + root · z, z ~ N(0, I)."""
    D = law.dimension
    sphere = _sphere_points(D)
    root = symmetric_root(law.covariance.reshape(D, D))
    tasks = law.mean + np.sqrt(D + 2) * sphere.tasks @ root
    # The mean itself stands for the radius 0.
    return LawAsPoints(
        np.concatenate([law.mean, tasks]),
        np.append(2 / (D + 2), D / (D + 2) * sphere.weights),
    )


def _sphere_points(D: int) -> LawAsPoints:
    """2D² points on the unit sphere of dimension D."""
    size = _COPIES * 8.0 * 2 * D**3
    refuse_too_large(f"a law of tasks of dimension {D}", size, "use a Pool of draws")
    one = np.eye(D)
    first, second = np.triu_indices(D, 1)
    half = np.sqrt(0.5)
    diagonals = [half * (one[first] + one[second]), half * (one[first] - one[second])]
    tasks = np.concatenate([one, -one, *diagonals, *(-half for half in diagonals)])
    on_axes = np.full(2 * D, (4 - D) / (2 * D * (D + 2)))
    between_axes = np.full(4 * len(first), 1 / (D * (D + 2)))
    return LawAsPoints(tasks, np.concatenate([on_axes, between_axes]))
