"""The arrays of a recording, compared with its settings: shapes, types, and numbers that must agree."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.files import Header, read_arrays
from ...simulate import RecordedPrompts, prompts_from_tokens
from .recording_fields import (
    FACTORISED,
    META,
    StatedLengths,
    is_descriptive,
    readable,
    tells_of_training,
)

Headers = Mapping[str, Header]

LARGEST_STEPS = 1_000_000
"""Most losses of a recording: a hundred times those of the published runs; more is a mistake in the file."""

GIB = 2**30
DOUBLE = 8  # bytes of a number in double precision

LARGEST_BYTES = 4 * GIB
"""Most memory that arrays which are used together may take in double precision: published data take 0.1 GiB."""

ROUNDING = 1e-6
"""Relative difference that a label and the same number among the tokens may have: float32 keeps 6e-8."""

DATA = {
    "merged": ("tokens", "labels"),
    "separate": ("tokens", "labels"),
    "factorised": ("tokens", "labels"),
    "cubic_mlp": ("features", "labels"),
}
"""The arrays of data that a recording of each model has."""

TEST_ARRAY = re.compile(r"(test(?:_\w+)?)_(tokens|labels|loss)")
"""The name of an array of a test set: the set, and which of its three parts."""


def shape_of(headers: Headers, name: str, *axes: str) -> tuple[int, ...]:
    """The shape of an array; KeyError without the array, ValueError if it has not these axes, or an empty one.

    >>> shape_of({"loss": Header((), np.dtype(float))}, "loss", "steps")
    Traceback (most recent call last):
    ValueError: its array loss must have shape (steps,), not ()
    """
    shape = headers[name].shape
    if len(shape) != len(axes) or 0 in shape:
        letters = f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"
        raise ValueError(f"its array {name} must have shape {letters}, not {shape}")
    return shape


def attention_sizes(
    kind: str, headers: Headers, *, fresh: bool = False
) -> dict[str, int]:
    """Sizes of a run of attention, under their names in `meta`; ValueError for arrays that do not fit.

    With `fresh` batches tokens and labels have an axis of steps in front.
    """
    steps = _step_count(headers)
    sizes = _prompt_sizes(kind, headers, steps if fresh else None)
    if kind == FACTORISED:
        heads, _, value_rank = shape_of(headers, "initial_output", "H", "T", "E")
        sizes["value_rank"] = value_rank
    else:
        heads, _ = shape_of(headers, "initial_value", "H", "D+1")
    sizes["heads"] = heads
    if kind != "merged":
        size = "D+T" if kind == FACTORISED else "D+1"
        _, rank, _ = shape_of(headers, "initial_key", "H", "R", size)
        sizes["rank"] = rank
    # A batch is all of the sequences of a step.
    return sizes | {"batch_size": sizes["sequences"], "steps": steps}


def _prompt_sizes(kind: str, headers: Headers, steps: int | None) -> dict[str, int]:
    """D, N, P and the number of labels; ValueError unless tokens and labels fit each other, for so many steps."""
    letter = "T" if kind == FACTORISED else "1"
    sequences, tokens, size = _shape_of_step(
        headers, "tokens", steps, "P", "N+1", f"D+{letter}"
    )
    outputs, labels_of_sequence = 1, "N+1"
    if kind == FACTORISED:
        _, outputs = _shape_of_step(headers, "labels", steps, "P", "T")
        labels_of_sequence = "T"
    if tokens < 2 or size <= outputs:
        shape = headers["tokens"].shape
        axes = ", ".join(["P", "N+1", f"D+{letter}"])
        raise ValueError(
            f"its array tokens must have shape ({axes}) with N and D ≥ 1, not {shape}"
        )
    found = _shape_of_step(headers, "labels", steps, "P", labels_of_sequence)
    expected = (sequences, outputs if kind == FACTORISED else tokens)
    if found != expected:
        whole = expected if steps is None else (steps, *expected)
        raise ValueError(
            f"its array labels must have shape {whole}, not {headers['labels'].shape}"
        )
    return {
        "dimension": size - outputs,
        "context_length": tokens - 1,
        "sequences": sequences,
        "outputs": outputs,
    }


def _shape_of_step(
    headers: Headers, name: str, steps: int | None, *axes: str
) -> tuple[int, ...]:
    """The shape of an array of prompts, or of what it holds for each of so many steps; ValueError for other axes."""
    if steps is None:
        return shape_of(headers, name, *axes)
    found, *shape = shape_of(headers, name, "steps", *axes)
    if found != steps:
        raise ValueError(
            f"its array {name} must hold a batch for each of its {steps} losses, not {found}"
        )
    return tuple(shape)


def network_sizes(headers: Headers) -> dict[str, int]:
    """Sizes of a run of the network on cubic features; ValueError for arrays that do not fit."""
    sequences, columns = shape_of(headers, "features", "P", "D²")
    dimension = math.isqrt(columns)
    if dimension**2 != columns:
        raise ValueError(f"its array features must have D² columns, not {columns}")
    labels = shape_of(headers, "labels", "P", "N+1")
    if labels[0] != sequences:
        raise ValueError(
            f"its array labels must have shape ({sequences}, N+1), not {labels}"
        )
    sizes = {
        "dimension": dimension,
        "context_length": labels[1] - 1,
        "sequences": sequences,
        "outputs": 1,
    }
    (heads,) = shape_of(headers, "initial_output", "H")
    sizes["heads"] = heads
    return sizes | {"batch_size": sequences, "steps": _step_count(headers)}


def _step_count(headers: Headers) -> int:
    (steps,) = shape_of(headers, "loss", "steps")
    if steps > LARGEST_STEPS:
        raise ValueError(
            f"its loss has {steps} steps, and a replay takes at most {LARGEST_STEPS}: cut the file"
        )
    return steps


def weight_names(
    model: Parametrization | None, headers: Headers, sizes: dict[str, int]
) -> list[str]:
    """Names of the arrays of initial weights, of the network if `model` is None.

    KeyError for one that is missing, ValueError for one of another shape or that the model does not have.
    """
    heads, dimension = sizes["heads"], sizes["dimension"]
    shapes = {"hidden": (heads, dimension**2), "output": (heads,)}
    if model is not None:
        shapes = model.shapes(dimension)

    for name, shape in shapes.items():
        recorded = headers[f"initial_{name}"].shape
        if recorded != shape:
            raise ValueError(
                f"its array initial_{name} must have shape {shape}, not {recorded}"
            )
    for name in headers:
        if name.startswith("initial_") and name.removeprefix("initial_") not in shapes:
            raise ValueError(
                f"its array {readable(name)} is no weight of this model, which has {', '.join(shapes)}"
            )
    return [f"initial_{name}" for name in shapes]


def read_numbers(
    path: str, headers: Headers, names: Sequence[str]
) -> dict[str, FloatArray]:
    """Arrays by name in double precision; KeyError without one, ValueError unless they hold real finite numbers."""
    for name in names:
        if headers[name].dtype.kind not in "fiu":  # floats, integers, unsigned integers
            raise ValueError(
                f"its array {name} must hold real numbers, not {headers[name].dtype}"
            )
    # Before anything is read: a compressed file may be small and its arrays enormous.
    needed = sum(DOUBLE * math.prod(headers[name].shape) for name in names)
    if needed > LARGEST_BYTES:
        sizes = f"{needed / GIB:.1f} GiB of memory, and a replay takes at most {LARGEST_BYTES / GIB:g}"
        raise ValueError(f"its arrays need {sizes}: cut the file")

    recorded = read_arrays(path, names)
    arrays = {name: array.astype(np.float64) for name, array in recorded.items()}
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise ValueError(f"its array {name} must be finite: it holds nan or inf")
    return arrays


def refuse_losses_of_zero(name: str, loss: FloatArray) -> None:
    """ValueError for losses that no deviation can be relative to."""
    if np.min(loss) <= 0:
        raise ValueError(
            f"its array {name} must be above 0, as deviations are relative, not {np.min(loss):g}"
        )


def refuse_skipped_steps(steps: FloatArray, count: int) -> None:
    """ValueError unless the losses are those before every one of `count` steps."""
    is_count = steps.shape == () and steps == count
    if not is_count and not np.array_equal(steps, np.arange(count)):
        raise ValueError(
            f"its array steps must be 0 … {count - 1}: a replay needs the loss before every step"
        )


def recorded_prompts(
    tokens: FloatArray, labels: FloatArray, lengths: StatedLengths
) -> RecordedPrompts:
    """The sequences with the query's true y, averaged over context lengths.

    ValueError if tokens and labels contradict each other, or for lengths that they do not have.
    """
    if np.any(tokens[:, -1, -1]):
        raise ValueError(
            "its tokens must have y = 0 in the last row, the query's, which a run may not see"
        )
    context = labels[:, :-1]  # (P, N), y of every token but the query
    difference = np.abs(tokens[:, :-1, -1] - context)
    if np.any(difference > ROUNDING * np.abs(context)):
        raise ValueError(
            "its labels contradict its tokens: labels[p, n] must be tokens[p, n, -1]"
        )
    # The query's y is masked in the tokens of a recording, and here it is the target.
    labelled = tokens.copy()
    labelled[:, -1, -1] = labels[:, -1]
    longest = labelled.shape[1] - 1
    return prompts_from_tokens(labelled, context_lengths=lengths.up_to(longest))


def prompts_of_queries(tokens: FloatArray, labels: FloatArray) -> RecordedPrompts:
    """The sequences (P, N+1, D+T) with the labels (P, T) of their queries.

    ValueError if the tokens show the query's labels.
    """
    outputs = labels.shape[1]
    if np.any(tokens[:, -1, -outputs:]):
        raise ValueError(
            "its tokens must have y = 0 in the last row, the query's, which a run may not see"
        )
    true = labels[:, 0] if outputs == 1 else labels
    return prompts_from_tokens(tokens, true, outputs=outputs)


def unused_arrays(headers: Headers, used: Iterable[str]) -> tuple[str, ...]:
    """Names of the other arrays, test sets aside; ValueError for one that may, by its name, change the training."""
    read = {*used, "meta", "steps"}
    unused = [
        name for name in headers if name not in read and not TEST_ARRAY.fullmatch(name)
    ]
    for name in unused:
        if name in META and not is_descriptive(name):
            raise ValueError(
                f"its array {name} must be a field of meta, not an array of its own"
            )
        if tells_of_training(name):
            raise ValueError(
                f"its array {readable(name)} tells of a training that a replay does not know how to follow"
            )
    return tuple(map(readable, unused))
