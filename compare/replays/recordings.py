"""Recorded runs of other code: data, initial weights, settings and losses in one npz file each."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...models.attention import Merged, Separate
from ...models.factorised import Factorised
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import check_choice
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.files import AnyPath, NotWhole, array_headers
from ...simulate import RecordedPrompts
from .recording_arrays import (
    DATA,
    TEST_ARRAY,
    Headers,
    attention_sizes,
    network_sizes,
    prompts_of_queries,
    read_numbers,
    recorded_prompts,
    refuse_losses_of_zero,
    refuse_skipped_steps,
    shape_of,
    unused_arrays,
    weight_names,
)
from .recording_fields import (
    FACTORISED,
    NETWORK,
    REDUCED_FLOW,
    attention_divisor,
    loss_divisor,
    positive_number,
    refuse_other_sizes,
    refuse_unfit_fields,
    stated_fields,
    stated_lengths,
    unused_fields,
)
from .reduced_flow_recordings import ReducedFlowRecording, reduced_flow_recording
from .vector_recordings import (
    LOSS_DIVISOR,
    RecordedWeights,
    is_vector_recording,
    vector_run,
)
from .vector_recordings import TOLERANCE as DOUBLE_PRECISION

SINGLE_PRECISION = 2e-6
"""Largest relative deviation from a float32 recording under the right conventions (2e-7 to 6e-7 are usual)."""


@dataclass(frozen=True, eq=False, repr=False)
class TestSet(Displayed):
    """Prompts that were not trained on, and their recorded losses (steps,)."""

    name: str
    data: RecordedPrompts
    loss: FloatArray

    def summary(self) -> Summary:
        """The shape of the tokens, and the range of the losses."""
        rows = {
            "tokens": array_summary(self.data.tokens),
            "loss": array_summary(self.loss),
        }
        return Summary(f"Test set {self.name}", rows)


@dataclass(frozen=True, eq=False, repr=False)
class Recording(Displayed):
    """A recorded file: `model` trained on `data` from `start`, or on cubic `features` if `model` is None.

    `batch` is the number of prompts of each step, which stand in `data` one step after another, None where every step
    has all of them. The recorded `loss` is the squared error summed over outputs, over `loss_divisor`, and its
    `learning_rate` is on that loss. `weights` are those that a run must have on its way, `frozen` masks the entries
    that stay as they are, and `tolerance` is the deviation that the recording's precision makes at most. `not_used`
    names what else the file holds, with the reason where there is one to give.
    """

    name: str
    model: Parametrization | None
    data: RecordedPrompts | None
    features: FloatArray | None
    labels: FloatArray
    start: Weights
    learning_rate: float
    loss: FloatArray
    tests: tuple[TestSet, ...]
    not_used: tuple[str, ...] = ()
    batch: int | None = None
    loss_divisor: float = 1
    weights: RecordedWeights | None = None
    frozen: Mapping[str, BoolArray] = field(default_factory=dict)
    tolerance: float = SINGLE_PRECISION

    def summary(self) -> Summary:
        """The model, the data and the losses."""
        rows: dict[str, object] = {
            "model": self.model or "linear network on cubic features",
            "labels": array_summary(self.labels),
            "learning rate": f"{self.learning_rate:g}",
            "loss": array_summary(self.loss),
            "test sets": ", ".join(test.name for test in self.tests) or "–",
            "not used": ", ".join(self.not_used) or "–",
        }
        return Summary(f"Recording {self.name}", rows)


REFERENCES = {
    "linear_attention": "attndyn.compare.replays.reference.linear_attention",
    "linear_transformer": "attndyn.compare.replays.reference.linear_transformer",
    "softmax_attention": "attndyn.compare.replays.reference.softmax_attention",
}
"""Packages of the recorded trajectories of each wing, in full: their files then belong to the code that reads them."""


def reference_files(wing: str | None = None) -> list[Path]:
    """Paths of the recorded trajectories that come with the package, by wing and name; of one `wing` if it is given.

    >>> len(reference_files()), [path.stem for path in reference_files("softmax_attention")]
    (15, ['chen_decomposable', 'he_reduced_flow', 'he_two_heads', 'he_two_tasks'])
    """
    if wing is not None:
        check_choice(wing, "wing", REFERENCES)
    wings = REFERENCES if wing is None else (wing,)
    return [
        path
        for name in wings
        for path in sorted(Path(str(files(REFERENCES[name]))).glob("*.npz"))
    ]


def read_recording(path: AnyPath) -> Recording:
    """The recording in a file, of which only the arrays that a replay needs are read.

    ValueError, with the reason, if the file is truncated or something else, contradicts itself, or tells of a
    training that a replay cannot follow; OSError if it is absent or no regular file.

    >>> read_recording(reference_files()[0]).model
    Merged(heads=8, divisor='none')
    """
    recording = read_any_recording(path)
    if isinstance(recording, ReducedFlowRecording):
        raise ValueError(
            f"{os.fsdecode(path)} is a recording of a reduced flow, which has no prompts: use replay(path)"
        )
    return recording


def read_any_recording(path: AnyPath) -> Recording | ReducedFlowRecording:
    """The recording in a file, of a training or of a reduced flow; ValueError and OSError as `read_recording`."""
    # Text, for the messages and for the name of the recording.
    path = os.fsdecode(path)
    with _refusals_of(path):
        headers = array_headers(path)
        _refuse_files_of_this_package(headers)
        if is_vector_recording(headers):
            return _vector_recording(path, headers)
        meta = stated_fields(path, headers)
        if meta.get("model") == REDUCED_FLOW:
            return reduced_flow_recording(path, headers, meta)
        refuse_unfit_fields(meta)
        return _recording(path, headers, meta)


@contextmanager
def _refusals_of(path: str) -> Iterator[None]:
    """ValueError in one sentence that names the file, for what it lacks or says."""
    try:
        yield
    except NotWhole as error:
        # The reason stands after the part of the message that names the file.
        reason = str(error).partition("is not a whole npz file")[2]
        raise ValueError(
            f"{path} is no recording: it is truncated or something else than a whole npz file{reason}"
        ) from None
    except KeyError as error:
        raise ValueError(
            f"{path} is no recording: it lacks {error}; docs/recordings.md lists the keys"
        ) from None
    except ValueError as error:
        raise ValueError(
            f"{path} is no recording that can be replayed: {error}"
        ) from None


def _refuse_files_of_this_package(headers: Headers) -> None:
    """ValueError that says what a file is if it is one of those that this package writes itself."""
    if {"head", "time", "loss", "weight_time"} <= set(headers):
        raise ValueError(
            "it is a trajectory, as `attndyn simulate` and Trajectory.save write it, without the data that it was "
            "trained on; read it with attndyn.simulate.load"
        )
    is_form = "S" in headers or "A" in headers
    if {"head", "b"} <= set(headers) and is_form:
        raise ValueError(
            "it holds statistics that the runs of a sweep share, without losses"
        )


def _recording(path: str, headers: Headers, meta: dict[str, Any]) -> Recording:
    """The recording of a file with these headers and fields; KeyError or ValueError if it cannot be replayed."""
    kind = str(meta["model"])
    is_fresh = meta.get("fresh_batches") is True
    sizes = _array_sizes(kind, headers, is_fresh)
    model = _model(meta, sizes)
    refuse_other_sizes(meta, sizes, steps=sizes["steps"] if is_fresh else 1)

    # Names and shapes are checked before any array is read.
    weights = weight_names(model, headers, sizes)
    used = [*DATA[kind], "loss", *weights]
    arrays = _training_arrays(path, headers, used, sizes["steps"])

    tests, unused_tests = _test_sets(path, headers, meta, sizes)
    unused = unused_fields(meta, sizes) + unused_arrays(headers, used) + unused_tests
    return Recording(
        name=Path(path).stem,
        model=model,
        data=_training_prompts(meta, arrays),
        features=arrays.get("features"),
        labels=arrays["labels"],
        start=_initial_weights(arrays, weights),
        learning_rate=positive_number(meta, "learning_rate"),
        loss=arrays["loss"],
        tests=tests,
        not_used=unused,
        batch=sizes["sequences"] if is_fresh else None,
        loss_divisor=loss_divisor(meta, sizes["outputs"]),
    )


def _vector_recording(path: str, headers: Headers) -> Recording:
    """The recording of one merged head with several outputs; KeyError or ValueError if it cannot be replayed."""
    run = vector_run(path, headers)
    start = {name: values[0] for name, values in run.weights.values.items()}
    return Recording(
        name=run.name,
        model=run.model,
        data=run.data,
        features=None,
        labels=run.targets,
        start=start,
        learning_rate=run.learning_rate,
        loss=run.loss,
        tests=(),
        not_used=run.not_used,
        batch=run.batch,
        loss_divisor=LOSS_DIVISOR,
        weights=run.weights,
        frozen=run.frozen,
        tolerance=DOUBLE_PRECISION,
    )


def _training_arrays(
    path: str, headers: Headers, names: list[str], count: int
) -> dict[str, FloatArray]:
    """The arrays of the training by name; ValueError unless the loss is positive, and known before every step."""
    arrays = read_numbers(path, headers, names)
    refuse_losses_of_zero("loss", arrays["loss"])
    if "steps" in headers:
        steps = read_numbers(path, headers, ["steps"])["steps"]
        refuse_skipped_steps(steps, count)
    return arrays


def _array_sizes(kind: str, headers: Headers, fresh: bool) -> dict[str, int]:
    """The sizes of a network or of a model of attention by name, from the shapes of its arrays."""
    if kind == NETWORK:
        return network_sizes(headers)
    return attention_sizes(kind, headers, fresh=fresh)


def _initial_weights(
    arrays: Mapping[str, FloatArray], names: list[str]
) -> dict[str, FloatArray]:
    """The weights before the first step, whose arrays are called `initial_…` in the file."""
    return {name.removeprefix("initial_"): arrays[name] for name in names}


def _training_prompts(
    meta: dict[str, Any], arrays: Mapping[str, FloatArray]
) -> RecordedPrompts | None:
    """The prompts of the training, from its tokens and labels; None for a network, which reads features.

    Those of fresh batches stand one step after another.
    """
    if meta["model"] == NETWORK:
        return None
    tokens, labels = arrays["tokens"], arrays["labels"]
    tokens = tokens.reshape(-1, *tokens.shape[-2:])  # (P, N+1, D+T)
    labels = labels.reshape(-1, labels.shape[-1])
    return _prompts(meta, tokens, labels, "context_lengths")


def _prompts(
    meta: dict[str, Any], tokens: FloatArray, labels: FloatArray, lengths: str
) -> RecordedPrompts:
    """Prompts of tokens and of labels as this model has them, over the lengths that a field states."""
    if meta["model"] == FACTORISED:
        return prompts_of_queries(tokens, labels)
    return recorded_prompts(tokens, labels, stated_lengths(meta, lengths))


def _model(meta: dict[str, Any], sizes: dict[str, int]) -> Parametrization | None:
    """The model of attention that the fields and the sizes describe; None for a network."""
    if meta["model"] == NETWORK:
        return None

    options: dict[str, Any] = {
        "softmax": meta["softmax"],
        "divisor": attention_divisor(meta),
        "query_token": meta.get("query_token") is not False,
    }
    if meta.get("score_divisor") is not None:
        options["score_divisor"] = meta["score_divisor"]
    if meta["model"] == "merged":
        return Merged(sizes["heads"], **options)
    if meta["model"] == "separate":
        return Separate(sizes["heads"], sizes["rank"], **options)
    ranks = sizes["rank"], sizes["value_rank"]
    return Factorised(sizes["heads"], *ranks, outputs=sizes["outputs"], **options)


def _test_sets(
    path: str, headers: Headers, meta: dict[str, Any], sizes: dict[str, int]
) -> tuple[tuple[TestSet, ...], tuple[str, ...]]:
    """The test sets that can be evaluated, and the others by name with the reason: they never stop a replay."""
    # Each test set has up to three arrays: its name appears as often.
    matches = [TEST_ARRAY.fullmatch(name) for name in headers]
    names = dict.fromkeys(match[1] for match in matches if match)
    tests = []
    unused = []
    for name in names:
        try:
            tests.append(_test_set(path, headers, name, meta=meta, sizes=sizes))
        # A truncated file is no recording at all: the caller says so.
        except NotWhole:
            raise
        except KeyError as error:
            unused.append(f"{name} (it lacks {error})")
        except ValueError as error:
            unused.append(f"{name} ({error})")
    return tuple(tests), tuple(unused)


def _test_set(
    path: str,
    headers: Headers,
    name: str,
    *,
    meta: dict[str, Any],
    sizes: dict[str, int],
) -> TestSet:
    """One test set; KeyError or ValueError if it cannot be evaluated with the weights of this run."""
    if meta["model"] == NETWORK:
        raise ValueError("a network on cubic features is not tested on tokens")
    tokens_name, labels_name, loss_name = names = [
        f"{name}_{array}" for array in ("tokens", "labels", "loss")
    ]
    _refuse_test_shapes(headers, names, meta, sizes)
    arrays = read_numbers(path, headers, names)
    refuse_losses_of_zero(loss_name, arrays[loss_name])
    # The published code tests at full length, whatever it trains on.
    data = _prompts(
        meta, arrays[tokens_name], arrays[labels_name], "test_context_lengths"
    )
    return TestSet(name, data, arrays[loss_name])


def _refuse_test_shapes(
    headers: Headers, names: list[str], meta: dict[str, Any], sizes: dict[str, int]
) -> None:
    """ValueError unless tokens, labels and losses of a test set fit each other and the run."""
    tokens_name, labels_name, loss_name = names
    outputs = sizes["outputs"]
    wanted = sizes["dimension"] + outputs
    letter = "T" if meta["model"] == FACTORISED else "1"
    sequences, tokens, size = shape_of(headers, tokens_name, "P", "N+1", f"D+{letter}")
    if tokens < 2 or size != wanted:
        raise ValueError(
            f"its tokens must have shape (P, N+1, {wanted}), not {headers[tokens_name].shape}"
        )
    labels = (sequences, outputs if meta["model"] == FACTORISED else tokens)
    if headers[labels_name].shape != labels:
        raise ValueError(
            f"its labels must have shape {labels}, not {headers[labels_name].shape}"
        )
    (losses,) = shape_of(headers, loss_name, "steps")
    if losses != sizes["steps"]:
        raise ValueError(f"it has {losses} losses for {sizes['steps']} steps")
