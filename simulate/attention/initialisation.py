"""Initial weights: random schemes, aligned ones, and the check of weights that a user brings."""

import hashlib
import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.decimals import refuse_mask
from ...runtime.machine import refuse_too_large
from ...task import Task
from ..data.prompts import Data, real_array, stream
from ..sufficient_statistics.quadratic_loss import Statistics
from ..sufficient_statistics.restricted_block import refuse_outside
from .heads import heads_of
from .model_check import checked_shapes, refuse_unfit_at

SCHEMES = ("gaussian", "restricted", "published", "aligned")


def initial_weights(
    model: Parametrization,
    task: Task,
    scale: ArrayLike,
    seed: int = 0,
    scheme: str = "gaussian",
) -> Weights:
    """Weights to start from, name → array in the model's shapes.

    Schemes: "gaussian", every entry N(0, scale²); "restricted", the same with the value rows onto x and the
    key-query entries that join y to x_q set to zero; "published", as "restricted" but for `Separate` the standard
    deviation is scale/√(entries of the whole stacked matrix): H·R·(D+1) for key and query, H·(D+1)² for value;
    "aligned", heads exactly on eigenvectors of Λ and balanced, no randomness: `scale` is a number or (D,), one
    amplitude a direction by decreasing λ (`Separate`: |k| = |q|, R directions a head in turn, v = √Σ|k|²;
    `Merged`: u_d of one head, v = √Σu_d²). Schemes beyond "gaussian" are for the built-in models.
    ValueError for an unknown scheme, a scale that is not positive (an aligned amplitude may be 0), or more
    directions than heads × rank.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[2, 1], context_length=5)
    >>> initial_weights(Separate(heads=2), task, scale=[0.5, 0.1], scheme="aligned")["value"]
    array([[0. , 0. , 0.5],
           [0. , 0. , 0.1]])
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, not {scheme!r}")
    if scheme != "gaussian" and not isinstance(model, (Merged, Separate)):
        raise ValueError(
            f'scheme {scheme!r} is for Merged and Separate: use "gaussian" or your own arrays'
        )
    refuse_large_weights(model, task.dimension)
    if scheme == "aligned":
        return _aligned(model, task, _amplitudes(scale, task.dimension))
    weights = _gaussian(model, task.dimension, positive("scale", scale), seed)
    if scheme == "gaussian":
        return weights
    if scheme == "published" and isinstance(model, Separate):
        weights = {
            name: value / np.sqrt(_entries(name, value))
            for name, value in weights.items()
        }
    return restricted(weights)


def restricted(weights: Weights) -> Weights:
    """The weights of a built-in model with those entries zero that leave the restricted block.

    >>> restricted({"value": np.ones((1, 3)), "key_query": np.ones((1, 3, 3))})["key_query"][0, 2]
    array([0., 0., 1.])
    """
    inside = {name: value.copy() for name, value in weights.items()}
    inside["value"][..., :-1] = 0.0
    if "key" in inside:
        inside["key"][..., -1] = 0.0
    else:
        inside["key_query"][..., -1, :-1] = 0.0
    return inside


def positive(name: str, value: object) -> float:
    """The value as a plain number; ValueError if it is not positive and finite.

    >>> positive("scale", 0.5)
    0.5
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or not 0 < float(value) < np.inf
    ):
        raise ValueError(f"{name} must be positive and finite, not {value!r}")
    return float(value)


def refuse_large_weights(model: Parametrization, dimension: int) -> None:
    """MemoryError if the weights of a model, with random numbers of their size, do not fit in memory."""
    entries = sum(
        math.prod(shape) for shape in checked_shapes(model, dimension).values()
    )
    what = f"drawing the {entries} weights of a model"
    refuse_too_large(what, 16.0 * entries, "choose fewer heads or a smaller dimension")


def model_name(model: Parametrization) -> str:
    """A name that is the same in every process, also for a class of the user's own without a repr.

    >>> model_name(Merged(heads=2))
    "Merged(heads=2, divisor='context')"
    """
    if type(model).__repr__ is not object.__repr__:
        return repr(model)
    settings = ", ".join(
        f"{name}={value!r}" for name, value in sorted(vars(model).items())
    )
    return f"{type(model).__qualname__}({settings})"


def own_heads(model: Parametrization, start: Weights) -> dict[str, str]:
    """What tells two models of the user's own apart that have one name: a digest of their heads.

    Without it a checkpoint would go on with another formula, as after an edit of `heads`.

    >>> own_heads(Merged(heads=2), {})
    {}
    """
    if isinstance(model, (Merged, Separate)):
        return {}
    digest = hashlib.sha256()
    for factor in (1.0, 1.5):
        heads = heads_of(model, {name: factor * value for name, value in start.items()})
        for part in heads:
            digest.update(f"{part.shape} ".encode())
            digest.update(" ".join(f"{number:.6e}" for number in part.ravel()).encode())
    return {"heads": digest.hexdigest()}


def checked_start(
    model: Parametrization, source: Data | Statistics, start: Mapping[str, ArrayLike]
) -> Weights:
    """A copy of `start` as float64, held to the model's shapes and, for restricted statistics, to their block."""
    shapes = checked_shapes(model, source.dimension)
    if not isinstance(start, Mapping) or set(start) != set(shapes):
        raise ValueError(
            f"start must hold the weights {', '.join(shapes)}, not {_named(start)}"
        )
    weights = {name: real_array(f"start[{name!r}]", start[name]) for name in shapes}
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(
                f"start[{name!r}] must have shape {shape}, not {weights[name].shape}"
            )
        if not np.all(np.isfinite(weights[name])):
            raise ValueError(f"start[{name!r}] must be finite: it holds nan or inf")
    refuse_unfit_at(model, weights, source.dimension)
    if isinstance(source, Statistics) and source.block == "restricted":
        refuse_outside(model, weights)
    return weights


def _named(start: object) -> str:
    """What was given in place of weights by name."""
    if isinstance(start, Mapping):
        return ", ".join(map(str, start)) or "none"
    return f"a {type(start).__name__}: pass a dictionary name → array"


def _gaussian(
    model: Parametrization, dimension: int, scale: float, seed: int
) -> Weights:
    draws = stream(seed, "weights")
    return {
        name: scale * draws.standard_normal(shape)
        for name, shape in checked_shapes(model, dimension).items()
    }


def _entries(name: str, value: FloatArray) -> int:
    """Entries of the whole matrix; of the value matrices only the last rows are weights here."""
    return value.size * value.shape[-1] if name == "value" else value.size


def _amplitudes(scale: ArrayLike, dimension: int) -> FloatArray:
    wanted = f"scale must be a positive number, or {dimension} numbers of zero or more, for scheme 'aligned'"
    try:
        refuse_mask("scale", scale)
        if np.asarray(scale).dtype.kind in "bSU":
            raise TypeError
        amplitudes = np.asarray(scale, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{wanted}, not {scale!r}") from None
    usable = (
        np.all(np.isfinite(amplitudes))
        and np.all(amplitudes >= 0)
        and np.any(amplitudes > 0)
    )
    if amplitudes.shape not in ((), (dimension,)) or not usable:
        raise ValueError(f"{wanted}, not {scale!r}")
    return amplitudes


def _aligned(model: Parametrization, task: Task, scale: FloatArray) -> Weights:
    weights = {
        name: np.zeros(shape) for name, shape in model.shapes(task.dimension).items()
    }
    if isinstance(model, Merged):
        u = np.broadcast_to(scale, (task.dimension,))
        weights["key_query"][0, :-1, :-1] = (
            task.eigenvectors * u
        ) @ task.eigenvectors.T
        weights["value"][0, -1] = _lengths(u[None])[0]
        return weights
    heads, rank = weights["key"].shape[:2]
    room = heads * rank
    κ = (
        np.broadcast_to(scale, (min(room, task.dimension),))
        if scale.ndim == 0
        else scale
    )
    if np.any(κ[room:]):
        raise ValueError(
            f"{heads} heads of rank {rank} hold {room} directions: set the other amplitudes to zero"
        )
    for d, amplitude in enumerate(κ[:room]):
        for name in ("key", "query"):
            weights[name][d // rank, d % rank, :-1] = (
                amplitude * task.eigenvectors[:, d]
            )
    weights["value"][:, -1] = _lengths(weights["key"].reshape(heads, -1))
    return weights


def _lengths(rows: FloatArray) -> FloatArray:
    """Euclidean length of each row, in units of a power of two, so that no square leaves the range of numbers."""
    largest = float(np.max(np.abs(rows)))
    unit = float(np.exp2(np.floor(np.log2(largest))))
    return np.asarray(unit * np.sqrt(np.sum((rows / unit) ** 2, axis=1)))
