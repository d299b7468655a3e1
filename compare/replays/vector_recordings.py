"""Recordings of one merged head with several outputs: an array for every setting, the loss with ½, and weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...models.attention import Merged
from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.files import read_arrays
from ...simulate import RecordedPrompts
from .recording_arrays import (
    LARGEST_STEPS,
    Headers,
    prompts_of_queries,
    read_numbers,
    refuse_losses_of_zero,
    shape_of,
)
from .recording_fields import META, is_descriptive, readable, tells_of_training

TOLERANCE = 1e-10
"""Largest deviation of a run in double precision: 1,200 steps that round differently make 4e-15."""

LOSS_DIVISOR = 2
"""The loss of such a file is ½ E|y − ŷ|²."""

WEIGHTS = ("value", "key_query")
"""The lower rows [p1 p2] of the value matrix, and the left columns [q1; q2] of the key-query matrix."""

NUMBERS = ("learning_rate", "context_length")
FLAGS = ("online", "null_blocks_frozen")
ARRAYS = ("tokens", "targets", "loss", "steps", *WEIGHTS)
"""The keys of a file, all of them required; what else there is describes the data."""

_MARKS = {"targets", *FLAGS}


class RecordedWeights(NamedTuple):
    """Weights by name, (T, …) in the model's shapes, before the named steps (T,)."""

    steps: tuple[int, ...]
    values: Mapping[str, FloatArray]


class VectorRun(NamedTuple):
    """What a file tells of its run; `frozen` masks the entries that stay 0, and `batch` is None for full batches."""

    name: str
    model: Merged
    data: RecordedPrompts
    targets: FloatArray
    loss: FloatArray
    learning_rate: float
    weights: RecordedWeights
    frozen: dict[str, BoolArray]
    batch: int | None
    not_used: tuple[str, ...]


class _Sizes(NamedTuple):
    """D, K, N, the prompts of a step, the steps, and how many weights are stored."""

    dimension: int
    outputs: int
    context_length: int
    sequences: int
    steps: int
    stored: int


def is_vector_recording(headers: Headers) -> bool:
    """Whether a file has these keys, and no `meta`.

    >>> is_vector_recording({})
    False
    """
    return "meta" not in headers and bool(_MARKS & set(headers))


def vector_run(path: str, headers: Headers) -> VectorRun:
    """The run of a file of these headers; KeyError for a key that is missing, ValueError for what does not fit."""
    for name in (*ARRAYS, *NUMBERS, *FLAGS):
        headers[name]  # a KeyError names the one that is missing
    not_used = _unused(headers)
    is_online, is_frozen = (_flag(path, headers, name) for name in FLAGS)
    sizes = _sizes(headers, is_online)
    settings = _settings(path, headers, sizes)

    arrays = read_numbers(path, headers, ARRAYS)
    refuse_losses_of_zero("loss", arrays["loss"])
    model = Merged(heads=1, outputs=sizes.outputs)
    tokens = arrays["tokens"].reshape(-1, *arrays["tokens"].shape[-2:])  # (P, N+1, D+K)
    targets = arrays["targets"].reshape(-1, sizes.outputs)  # (P, K)
    if is_frozen:
        _refuse_null_blocks(arrays, sizes.dimension)
    return VectorRun(
        name=Path(path).stem,
        model=model,
        data=prompts_of_queries(tokens, targets),
        targets=targets,
        loss=arrays["loss"],
        learning_rate=settings["learning_rate"],
        weights=_recorded_weights(arrays, model, sizes),
        frozen=_null_blocks(model, sizes.dimension) if is_frozen else {},
        batch=sizes.sequences if is_online else None,
        not_used=not_used,
    )


def _unused(headers: Headers) -> tuple[str, ...]:
    """Names of the other arrays; ValueError for one that may, by its name, change the training."""
    unused = []
    for name in headers:
        if name in (*ARRAYS, *NUMBERS, *FLAGS):
            continue
        is_setting = name in META and not is_descriptive(name)
        if is_setting or tells_of_training(name):
            raise ValueError(
                f"its array {readable(name)} tells of a training that a replay does not know how to follow"
            )
        unused.append(readable(name))
    return tuple(unused)


def _flag(path: str, headers: Headers, name: str) -> bool:
    """A key that is true or false; ValueError for anything else."""
    shape, dtype = headers[name]
    if shape != () or dtype.kind != "b":
        raise ValueError(
            f"its {name} must be one boolean, not {dtype} of shape {shape}"
        )
    return bool(read_arrays(path, [name])[name])


def _settings(path: str, headers: Headers, sizes: _Sizes) -> dict[str, float]:
    """The learning rate; ValueError unless it is positive and the context length is that of the tokens."""
    for name in NUMBERS:
        if headers[name].shape != ():
            raise ValueError(
                f"its {name} must be one number, not an array of shape {headers[name].shape}"
            )
    numbers = read_numbers(path, headers, NUMBERS)
    settings = {name: float(array) for name, array in numbers.items()}
    if not settings["learning_rate"] > 0:
        raise ValueError(
            f"its learning_rate must be above 0, not {settings['learning_rate']:g}"
        )
    if settings["context_length"] != sizes.context_length:
        raise ValueError(
            f"its context_length is {settings['context_length']:g}, but its tokens have {sizes.context_length} "
            "before the query"
        )
    return settings


def _sizes(headers: Headers, is_online: bool) -> _Sizes:
    """The sizes of the arrays; ValueError for arrays that do not fit each other, or `online`."""
    (steps,) = shape_of(headers, "loss", "steps")
    if steps > LARGEST_STEPS:
        raise ValueError(
            f"its loss has {steps} steps, and a replay takes at most {LARGEST_STEPS}: cut the file"
        )
    lead = ("steps", "B") if is_online else ("P",)
    _refuse_other_axes(headers, lead, is_online)
    *prompts, rows, size = shape_of(headers, "tokens", *lead, "N+1", "D+K")
    *_, outputs = shape_of(headers, "targets", *lead, "K")
    if rows < 2 or size <= outputs:
        raise ValueError(
            f"its tokens must be rows (x, y) of D + K numbers with N and D ≥ 1, not of shape {headers['tokens'].shape} "
            f"beside targets of {outputs} outputs"
        )
    if is_online and prompts[0] != steps:
        raise ValueError(
            f"its tokens must hold a batch for each of its {steps} losses, not {prompts[0]}"
        )
    (stored,) = shape_of(headers, "steps", "T")
    shapes = {
        "targets": (*prompts, outputs),
        "value": (stored, outputs, size),
        "key_query": (stored, size, size - outputs),
    }
    for name, shape in shapes.items():
        if headers[name].shape != shape:
            raise ValueError(
                f"its array {name} must have shape {shape}, not {headers[name].shape}"
            )
    return _Sizes(size - outputs, outputs, rows - 1, prompts[-1], steps, stored)


def _refuse_other_axes(
    headers: Headers, lead: tuple[str, ...], is_online: bool
) -> None:
    """ValueError if the tokens have an axis of steps in front, and `online` is false, or the other way round."""
    found = len(headers["tokens"].shape)
    other = 3 if is_online else 4
    if found == other:
        kinds = "(P, N+1, D+K)" if other == 3 else "(steps, B, N+1, D+K)"
        raise ValueError(
            f"its online is {is_online}, but its tokens have the axes {kinds}, as where it is {not is_online}"
        )


def _recorded_weights(
    arrays: Mapping[str, FloatArray], model: Merged, sizes: _Sizes
) -> RecordedWeights:
    """The stored weights in the model's shapes; ValueError unless their steps increase from 0.

    Columns of the key-query matrix that meet the query's y = 0 are no part of a file, and are 0.
    """
    steps = arrays["steps"]
    is_whole = np.all(steps == np.round(steps))
    increases = np.all(np.diff(steps) > 0)
    if not is_whole or not increases or steps[0] != 0 or steps[-1] > sizes.steps:
        raise ValueError(
            f"its steps must be whole numbers that increase from 0, the start, to at most {sizes.steps}, the number of "
            "losses"
        )
    shapes = model.shapes(sizes.dimension)
    key_query = np.zeros((sizes.stored, *shapes["key_query"]))
    key_query[:, 0, :, : sizes.dimension] = arrays["key_query"]
    value = arrays["value"].reshape(sizes.stored, *shapes["value"])
    return RecordedWeights(
        tuple(int(step) for step in steps), {"value": value, "key_query": key_query}
    )


def _null_blocks(model: Merged, dimension: int) -> dict[str, BoolArray]:
    """Masks of p1, which reads x, and q2, which reads y."""
    shapes = model.shapes(dimension)
    value = np.zeros(shapes["value"], dtype=bool)
    value[..., :dimension] = True
    key_query = np.zeros(shapes["key_query"], dtype=bool)
    key_query[:, dimension:] = True
    return {"value": value, "key_query": key_query}


def _refuse_null_blocks(arrays: Mapping[str, Any], dimension: int) -> None:
    """ValueError for null blocks that are not 0, where the file says that they are frozen there."""
    blocks = {
        "value[:, :, :D]": arrays["value"][:, :, :dimension],
        "key_query[:, D:]": arrays["key_query"][:, dimension:],
    }
    for name, block in blocks.items():
        if np.any(block):
            raise ValueError(
                f"its null_blocks_frozen is True, but {name} has numbers up to {np.max(np.abs(block)):.2g} instead "
                "of 0"
            )
