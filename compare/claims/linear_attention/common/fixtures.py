"""Tasks, starting weights and readings of weights that claims of several modules share."""

import numpy as np

from .....models.attention import Merged, Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import Trajectory
from .....task import Task

DIAGONAL = Task(eigenvalues=[3, 2, 1], trace=2.0, noise_variance=0.1, context_length=7)
"""Three distinct gains along the axes, with label noise."""

NON_COMMUTING = Task(
    covariance=[[1.0, 0.4], [0.4, 0.7]],
    teacher_covariance=[[0.6, -0.3], [-0.3, 1.2]],
    context_length=6,
)
"""Λ and Ω that share no eigenvector."""

STEEP_TEACHERS = Task(
    [1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=20
)
"""B is largest along the first axis and the gain along the second: growth and gain order them differently."""


def merged_head(s: float, U: FloatArray) -> Weights:
    """Weights of one merged head with value s and key-query block U (D, D); all other entries are zero.

    >>> merged_head(2.0, np.array([[3.0]]))["value"]
    array([[0., 2.]])
    """
    shapes = Merged(heads=1).shapes(len(U))
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights["value"][0, -1] = s
    weights["key_query"][0, :-1, :-1] = U
    return weights


def separate_head(v: float, pairs: FloatArray) -> Weights:
    """Weights of one head with value v, whose R keys and R queries are both the rows of `pairs` (R, D).

    >>> separate_head(2.0, np.array([[3.0]]))["query"]
    array([[[3., 0.]]])
    """
    rank, dimension = pairs.shape
    shapes = Separate(1, rank).shapes(dimension)
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights["value"][0, -1] = v
    weights["key"][0, :, :-1] = pairs
    weights["query"][0, :, :-1] = pairs
    return weights


def every_entry(weights: Weights) -> Weights:
    """Ones in the shape of the weights: the mask under which every entry may move."""
    return {name: np.ones_like(entries) for name, entries in weights.items()}


def head_maps(run: Trajectory) -> FloatArray:
    """v_h Σ_r k_hr q_hrᵀ (T, H, D, D) of each head along a run of separate attention."""
    value = run.weights["value"][..., -1]  # (T, H)
    key = run.weights["key"][..., :-1]  # (T, H, R, D)
    query = run.weights["query"][..., :-1]  # (T, H, R, D)
    maps: FloatArray = np.einsum("th,thri,thrj->thij", value, key, query)
    return maps


def eigenvectors(task: Task) -> FloatArray:
    """Eigenvectors of Λ by decreasing eigenvalue, the columns of (D, D)."""
    _, ascending = np.linalg.eigh(task.covariance)
    vectors: FloatArray = ascending[:, ::-1]
    return vectors


def diagonals(maps: FloatArray, basis: FloatArray) -> FloatArray:
    """Entries e_dᵀ M e_d (T, D) of maps (T, D, D) along the columns e_d of a basis (D, D)."""
    entries: FloatArray = np.einsum("id,tij,jd->td", basis, maps, basis)
    return entries
