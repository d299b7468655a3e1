"""Initial weights: random schemes, aligned ones, and the check of weights that a user brings."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged, Separate
from ...models.factorised import Factorised
from ...models.protocol import (
    Parametrization,
    Weights,
    outputs_of,
    refuse_other_outputs,
)
from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_finite,
    positive_number,
    real_array,
    refuse_wrong_order,
)
from ...runtime.decimals import refuse_mask
from ...runtime.machine import refuse_too_large
from ...task import Task
from ..data.batches import BatchesInOrder
from ..data.prompts import Data, stream
from ..sufficient_statistics.quadratic_loss import Statistics
from ..sufficient_statistics.restricted_block import refuse_outside
from .heads import heads_of
from .model_check import checked_shapes, refuse_unfit_at
from .weight_shapes import way_out

SCHEMES = ("gaussian", "restricted", "zhang2025", "aligned")

PUBLISHED_SCHEME = "zhang2025"
"""The default for the built-in models: how Zhang et al. 2025 draw the weights of their runs."""

FORMER_SCHEMES = {"published": "zhang2025"}
"""Schemes by the names that they had, which a refusal translates."""


def initial_weights(
    model: Parametrization,
    task: Task | Data | Statistics,
    scale: ArrayLike,
    seed: int = 0,
    scheme: str | None = None,
) -> Weights:
    """Weights to start from, name → array in the model's shapes.

    Schemes: "zhang2025" (if left out for `Merged` and `Separate`), as "restricted" but for `Separate` the standard
    deviation is scale/√(entries of the whole stacked matrix), H·R·(D+K) for key and query, H·(D+K)² for value;
    "gaussian" (if left out for other models), every entry N(0, scale²); "restricted", the same with the value rows
    onto x and the key-query entries that join y to x_q set to zero; "aligned", for one output, heads exactly on
    eigenvectors of Λ and balanced, no randomness: `scale` is a number or (D,), one amplitude a direction by
    decreasing λ (`Separate`: |k| = |q|, R directions a head in turn, v = √Σ|k|²; `Merged`: u_d of one head,
    v = √Σu_d²). For `Factorised` there are "gaussian" and "restricted", for models of your own "gaussian".
    For prompts or statistics in place of the task every scheme but "aligned" gives the same weights: they have D and K.
    ValueError for another scheme, "aligned" without a task, a scale that is not positive (an aligned amplitude may be
    0), more directions than heads × rank, or a task of other outputs than the model's.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[2, 1], context_length=5)
    >>> initial_weights(Separate(heads=2), task, scale=[0.5, 0.1], scheme="aligned")["value"]
    array([[0. , 0. , 0.5],
           [0. , 0. , 0.1]])
    """
    in_order = isinstance(model, Parametrization) and hasattr(task, "dimension")
    refuse_wrong_order("initial_weights(model, task, scale)", in_order, model, task)
    scheme = _checked_scheme(scheme, model)
    refuse_other_outputs(task.outputs, model)
    refuse_large_weights(model, task.dimension)
    if scheme == "aligned":
        if not isinstance(task, Task):
            raise ValueError(
                'scheme "aligned" needs the eigenvectors of Λ: pass the task, not '
                f"{type(task).__name__}"
            )
        amplitudes = _checked_amplitudes(scale, task.dimension)
        if isinstance(model, Merged):
            return _aligned_merged(model, task, amplitudes)
        return _aligned_separate(model, task, amplitudes)

    deviation = positive_number(scale, "scale")
    weights = _gaussian(model, task.dimension, deviation, seed)
    if scheme == "gaussian":
        return weights
    if scheme == "zhang2025" and isinstance(model, Separate):
        for name in weights:
            weights[name] = weights[name] / np.sqrt(_stacked_size(name, weights[name]))
    return restricted(weights, outputs_of(model))


def _checked_scheme(scheme: str | None, model: Parametrization) -> str:
    """The scheme, or the model's default if None; ValueError where it is unknown or not for this model."""
    of_zhang = isinstance(model, (Merged, Separate))
    if scheme is None:
        scheme = PUBLISHED_SCHEME if of_zhang else "gaussian"
    refuse_unknown_scheme(scheme)
    is_restricted = scheme == "restricted" and isinstance(model, Factorised)
    if scheme != "gaussian" and not of_zhang and not is_restricted:
        raise ValueError(
            f'scheme {scheme!r} is for Merged and Separate: use "gaussian" or your own arrays'
        )
    if scheme == "aligned" and outputs_of(model) > 1:
        raise ValueError(
            'scheme "aligned" is for one output: use "restricted" or your own arrays'
        )
    return scheme


def refuse_unknown_scheme(scheme: object) -> None:
    """ValueError for the name of a scheme that does not exist, or exists under another name.

    >>> refuse_unknown_scheme("published")
    Traceback (most recent call last):
    ValueError: the scheme 'published' is called 'zhang2025': pass scheme='zhang2025'
    """
    if scheme in SCHEMES:
        return
    name = FORMER_SCHEMES.get(str(scheme))
    if name is not None:
        raise ValueError(
            f"the scheme {scheme!r} is called {name!r}: pass scheme={name!r}"
        )
    raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, not {scheme!r}")


def restricted(weights: Weights, outputs: int = 1) -> Weights:
    """The weights of a built-in model with those entries zero that leave the restricted block.

    The last `outputs` entries of a token are labels: value rows read them alone, and keys do not.

    >>> restricted({"value": np.ones((1, 3)), "key_query": np.ones((1, 3, 3))})["key_query"][0, 2]
    array([0., 0., 1.])
    """
    inside = {name: value.copy() for name, value in weights.items()}
    inside["value"][..., :-outputs] = 0.0
    if "key" in inside:
        inside["key"][..., -outputs:] = 0.0
    else:
        inside["key_query"][..., -outputs:, :-outputs] = 0.0
    return inside


def refuse_large_weights(model: Parametrization, dimension: int) -> None:
    """MemoryError if the weights of a model, with random numbers of their size, do not fit in memory."""
    shapes = checked_shapes(model, dimension).values()
    entries = sum(math.prod(shape) for shape in shapes)
    what = f"drawing the {entries} weights of a model"
    # Eight bytes a weight, and as much for the random numbers that it is made of.
    refuse_too_large(what, 16.0 * entries, "choose fewer heads or a smaller dimension")


def model_name(model: Parametrization) -> str:
    """A name that is the same in every process, also for a class of the user's own without a repr.

    >>> model_name(Merged(heads=2))
    "Merged(heads=2, divisor='context')"
    """
    if type(model).__repr__ is not object.__repr__:
        return repr(model)
    # The repr of an object tells its address, which is another one in every process.
    settings = [f"{name}={value!r}" for name, value in sorted(vars(model).items())]
    arguments = ", ".join(settings)
    return f"{type(model).__qualname__}({arguments})"


def own_heads(model: Parametrization, start: Weights) -> dict[str, str]:
    """What tells two models of the user's own apart that have one name: a digest of their heads.

    Without it a checkpoint would go on with another formula, as after an edit of `heads`.

    >>> own_heads(Merged(heads=2), {})
    {}
    """
    if isinstance(model, (Merged, Separate, Factorised)):
        return {}
    digest = hashlib.sha256()
    # At two sizes, since formulas that agree at one may differ in their powers.
    for factor in (1.0, 1.5):
        scaled = {name: factor * value for name, value in start.items()}
        for array in heads_of(model, scaled):
            # Six digits: another machine rounds the last ones differently.
            numbers = [f"{number:.6e}" for number in array.ravel()]
            digest.update(f"{array.shape} {' '.join(numbers)}".encode())
    return {"heads": digest.hexdigest()}


def checked_start(
    model: Parametrization,
    source: Data | Statistics | Task | BatchesInOrder,
    start: Mapping[str, ArrayLike],
) -> Weights:
    """A copy of `start` as float64, in the model's shapes and, for restricted statistics, inside their block."""
    shapes = checked_shapes(model, source.dimension)
    if not isinstance(start, Mapping) or set(start) != set(shapes):
        raise ValueError(
            f"start must hold the weights {', '.join(shapes)}, not {_what_it_holds(start)}"
        )
    weights = {}
    for name in shapes:
        weights[name] = real_array(start[name], f"start[{name!r}]")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(
                f"start[{name!r}] must have shape {shape}, not {weights[name].shape}"
                f"{way_out(model, name, weights[name].shape, shape)}"
            )
        check_finite(weights[name], f"start[{name!r}]")
    refuse_unfit_at(model, weights, source.dimension)
    if isinstance(source, Statistics) and source.block == "restricted":
        refuse_outside(model, weights, source.dimension)
    return weights


def _what_it_holds(start: object) -> str:
    """What was given in place of weights by name."""
    if isinstance(start, Mapping):
        return ", ".join(map(str, start)) or "none"
    return f"a {type(start).__name__}: pass a dictionary name → array"


def _gaussian(
    model: Parametrization, dimension: int, scale: float, seed: int
) -> Weights:
    """Every entry of every weight from N(0, scale²)."""
    # One stream for all weights, in the order of the model's shapes.
    draws = stream(seed, "weights")
    return {
        name: scale * draws.standard_normal(shape)
        for name, shape in checked_shapes(model, dimension).items()
    }


def _stacked_size(name: str, value: FloatArray) -> int:
    """Entries of the whole stacked matrix (H, D+K, D+K); of the value matrices only the last rows are weights here."""
    if name == "value":
        heads, size = value.shape[0], value.shape[-1]
        return int(heads * size * size)
    return int(value.size)


def _checked_amplitudes(scale: ArrayLike, dimension: int) -> FloatArray:
    """The amplitudes of aligned heads, () or (D,); ValueError for anything else, and if all are zero."""
    wanted = f"scale must be a positive number, or {dimension} numbers of zero or more, for scheme 'aligned'"
    try:
        refuse_mask("scale", scale)
        # NumPy would take text and truth values for numbers.
        if np.asarray(scale).dtype.kind in "bSU":
            raise TypeError
        amplitudes = np.asarray(scale, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{wanted}, not {scale!r}") from None
    positive = np.all(np.isfinite(amplitudes)) and np.all(amplitudes >= 0)
    if amplitudes.shape not in ((), (dimension,)) or not positive:
        raise ValueError(f"{wanted}, not {scale!r}")
    if not np.any(amplitudes > 0):
        raise ValueError(f"{wanted}, not {scale!r}")
    return amplitudes


def _aligned_merged(model: Merged, task: Task, amplitudes: FloatArray) -> Weights:
    """One head with U = Σ_d u_d e_d e_dᵀ and v = √Σ u_d²; the others are zero."""
    weights = _zeros(model, task)
    u = np.broadcast_to(amplitudes, (task.dimension,))
    e = task.eigenvectors
    U = (e * u) @ e.T
    weights["key_query"][0, :-1, :-1] = U
    # Balanced: v² = |U|², which the flow conserves.
    v = _lengths(u[None])
    weights["value"][0, -1] = v[0]
    return weights


def _aligned_separate(
    model: Parametrization, task: Task, amplitudes: FloatArray
) -> Weights:
    """Direction d in pair d mod R of head ⌊d/R⌋ with k = q = κ_d e_d, and v = √Σ κ_d² over a head."""
    weights = _zeros(model, task)
    heads, rank = weights["key"].shape[:2]
    pairs = heads * rank
    κ = _direction_amplitudes(amplitudes, min(pairs, task.dimension))
    _refuse_too_many_directions(κ, heads, rank)
    for direction, amplitude in enumerate(κ[:pairs]):
        head, pair = divmod(direction, rank)
        on_direction = amplitude * task.eigenvectors[:, direction]
        weights["key"][head, pair, :-1] = on_direction
        weights["query"][head, pair, :-1] = on_direction
    # Balanced: v² = Σ_r |k_r|², which the flow conserves.
    weights["value"][:, -1] = _lengths(weights["key"].reshape(heads, -1))
    return weights


def _direction_amplitudes(amplitudes: FloatArray, count: int) -> FloatArray:
    """κ of each direction (D,) as given, or a single number for the first `count` directions."""
    if amplitudes.ndim == 0:
        return np.full(count, amplitudes)
    return amplitudes


def _refuse_too_many_directions(κ: FloatArray, heads: int, rank: int) -> None:
    """ValueError where a direction beyond the pairs of all heads has an amplitude κ_d (D,) that is not zero."""
    pairs = heads * rank
    if np.any(κ[pairs:]):
        raise ValueError(
            f"{heads} heads of rank {rank} hold {pairs} directions: set the other amplitudes to zero"
        )


def _zeros(model: Parametrization, task: Task) -> Weights:
    weights = {}
    for name, shape in model.shapes(task.dimension).items():
        weights[name] = np.zeros(shape)
    return weights


def _lengths(rows: FloatArray) -> FloatArray:
    """Euclidean length of each row, in units of a power of two, so that no square leaves the range of numbers."""
    largest = float(np.max(np.abs(rows)))
    exponent = np.floor(np.log2(largest))
    unit = float(np.exp2(exponent))  # a power of two, so that division is exact
    squares = np.sum((rows / unit) ** 2, axis=1)
    lengths: FloatArray = unit * np.sqrt(squares)
    return lengths
