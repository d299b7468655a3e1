"""What the fields of a recording mean for a replay: which are honoured, which only describe, which are refused."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...runtime.files import Header, read_arrays
from ...runtime.serialisation import RepeatedFieldError, fields_once

HONOURED, DESCRIPTIVE, REFUSED = "honoured", "descriptive", "refused"
"""Uses of a field: it decides the training; it tells about the run; it may only say what a replay does anyway."""

NETWORK = "cubic_mlp"
"""The model that is no attention: the two-layer linear network on cubic features."""

FACTORISED = "factorised"
"""The model of attention with query, key, value and output matrices, and with any number of labels."""

REDUCED_FLOW = "reduced flow of the approximate loss"
"""What a recording without prompts calls its model: two numbers for each head of softmax attention."""

DIVISORS = {
    "none": "none",
    "N": "context",
    "tokens in the prompt, query included": "tokens",
}
"""What a recording may say of its attention's divisor besides a number, and what a model calls it."""

_RANGE = re.compile(r"([0-9]{1,6})\.\.(N|[0-9]{1,6}) averaged")
"""What a recording may say of a range of context lengths, such as "1..N averaged"."""

MEAN_OVER_OUTPUTS = "mean squared error over sequences and outputs, no factor 1/2"
SUM_OVER_OUTPUTS = (
    "squared error summed over outputs, mean over sequences, no factor 1/2"
)
LOSSES = (
    "mean squared error",
    "mean squared error, recorded before each step",
    "mean squared error, no factor 1/2",
    MEAN_OVER_OUTPUTS,
    SUM_OVER_OUTPUTS,
)
"""What a recording may say of its loss: all of these mean the same for one output."""

VALUE = "output @ value"
"""What a recording may say of the value rows of its heads: the product of both matrices is trained."""

OPTIMISERS = (
    "gradient descent",
    "plain gradient descent",
    "full-batch gradient descent",
    "SGD",
    "sgd",
    "full-batch SGD",
)
"""What a recording may say of its optimiser: all of these are the same on the whole data."""

SIZES = (
    "dimension",
    "context_length",
    "heads",
    "rank",
    "value_rank",
    "sequences",
    "batch_size",
    "steps",
    "outputs",
)
"""Sizes: they must be those of the arrays; a batch is all of the sequences."""

NOTHING: tuple[Any, ...] = (None, False, 0, "", "none", [], {})
"""Values that say that something was not used."""

LARGEST_NUMBER = 1e300
"""Bound on the positive numbers of `meta`."""

LONGEST_META = 2**22
"""Most bytes of `meta`: published ones have some hundred."""


@dataclass(frozen=True)
class Field:
    """The use of a field, and the values that it may take; any if there are none."""

    use: str
    values: tuple[Any, ...] = ()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _fields(names: str, use: str, *values: Any) -> dict[str, Field]:
    return dict.fromkeys(_names(names), Field(use, values))


META: dict[str, Field] = {
    "model": Field(HONOURED, ("merged", "separate", FACTORISED, NETWORK)),
    "softmax": Field(HONOURED, (False, True)),
    "learning_rate": Field(HONOURED),
    "attention_divisor": Field(HONOURED),
    "context_lengths": Field(HONOURED),
    "test_context_lengths": Field(HONOURED),
    "query_token": Field(HONOURED, (True, False, None)),
    "fresh_batches": Field(HONOURED, (True, False, None)),
    "score_divisor": Field(HONOURED),
    **dict.fromkeys(SIZES, Field(HONOURED)),
    "loss": Field(HONOURED, LOSSES),
    "value": Field(REFUSED, (VALUE, None)),
    **_fields("optimiser optimizer", REFUSED, *OPTIMISERS),
    **_fields("schedule learning_rate_schedule", REFUSED, "constant", *NOTHING),
    **_fields("online minibatches", REFUSED, False, None),
    **_fields("full_batch", REFUSED, True, None),
    **_fields("score_scale temperature layers loss_scale", REFUSED, 1, None),
    **_fields(
        "null_blocks_frozen frozen momentum nesterov dampening weight_decay ridge",
        REFUSED,
        *NOTHING,
    ),
    **_fields(
        "source settings seed seeds supports initialisation initialization init dtype device",
        DESCRIPTIVE,
    ),
    **_fields(
        "white_covariance fraction_in_context noise_variance noise_std label_of_query tasks",
        DESCRIPTIVE,
    ),
    **_fields(
        "eigenvalues eigenvectors trace name title description comment note notes author date",
        DESCRIPTIVE,
    ),
    **_fields(
        "paper url license licence version versions python torch seconds", DESCRIPTIVE
    ),
}
"""The fields of `meta`. What only describes the data or the initial weights cannot matter: the file holds these."""

NEEDED = {
    "merged": ("softmax", "learning_rate", "attention_divisor", "context_lengths"),
    "separate": ("softmax", "learning_rate", "attention_divisor", "context_lengths"),
    FACTORISED: ("softmax", "learning_rate", "query_token", "score_divisor"),
    NETWORK: ("learning_rate",),
}
"""The fields that a recording of each model must have, besides `model`."""

OF_FEATURES: dict[str, Any] = {
    "softmax": False,
    "attention_divisor": "none",
    "score_divisor": 1,
    "context_lengths": "N",
    "query_token": True,
    "fresh_batches": False,
}
"""What the network's recording may say of attention: its features have the divisors and the length in them."""

TRAINING_WORDS = _names(
    "optimiser optimizer adam adamw sgd momentum nesterov decay regularisation regularization regulariser "
    "regularizer ridge penalty dropout batch batches minibatch minibatches batchsize schedule schedules scheduler "
    "warmup annealing clip clipped clipping temperature mask masks masked masking causal bias biases activation "
    "nonlinearity layer layers layernorm residual positional frozen freeze tied smoothing augmentation curriculum "
    "preconditioner gradient targets"
)
"""Words in the name of a field that tell of the training: an unknown field with one of them is refused."""

RESULT_WORDS = _names("norm norms final")
"""Words with which such a name is that of a result after all, as `gradient_norm`."""


def refuse_unfit_fields(meta: Mapping[str, Any]) -> None:
    """KeyError for a field of a recorded training that is missing, ValueError for what a replay cannot follow."""
    refuse_what_cannot_be_followed(meta)
    refuse_contradictions(meta)
    for name in ("context_lengths", "test_context_lengths"):
        stated_lengths(meta, name)
    for name in NEEDED[meta["model"]]:
        meta[name]  # a KeyError names the one that is missing
    if meta["model"] == FACTORISED:
        _refuse_unsaid_conventions(meta)


def _refuse_unsaid_conventions(meta: Mapping[str, Any]) -> None:
    """KeyError for what published codes of factorised attention do differently, so that it has no default."""
    for name in ("query_token", "score_divisor"):
        if meta[name] is None:
            raise KeyError(name)
    # A softmax normalises its scores, and only a linear head has to say what it is divided by.
    if not meta["softmax"]:
        meta["attention_divisor"]


def stated_fields(path: str, headers: Mapping[str, Header]) -> dict[str, Any]:
    """The fields of `meta`, one string of JSON, whatever they say; ValueError if it is something else."""
    # Before it is read: a header costs nothing.
    shape, dtype = headers["meta"]
    if shape != () or dtype.kind not in "US" or dtype.itemsize > LONGEST_META:
        raise ValueError(
            f"its meta must be one string of JSON, not {dtype} of shape {shape}"
        )
    text = read_arrays(path, ["meta"])["meta"].item()
    try:
        meta = json.loads(text, object_pairs_hook=fields_once)
    except RepeatedFieldError as error:
        raise ValueError(
            f"its meta states {shortened(error.name)} twice: keep one of them"
        ) from None
    except RecursionError:
        raise ValueError("its meta is no JSON: it is nested too deep") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"its meta is no JSON: {error}") from None
    if not isinstance(meta, dict):
        raise ValueError('its meta must be a JSON object, such as {"model": "merged"}')
    return meta


def refuse_what_cannot_be_followed(meta: Mapping[str, Any]) -> None:
    """ValueError for the first field that says of the training what a replay does not do.

    >>> refuse_what_cannot_be_followed({"source": "a thesis", "momentum": 0.0})
    >>> refuse_what_cannot_be_followed({"minibatches": True})
    Traceback (most recent call last):
    ValueError: its meta has minibatches = True, and a replay knows only False, None
    """
    is_network = meta.get("model") == NETWORK
    for name, value in meta.items():
        statement = f"its meta has {readable(name)} = {shortened(value)}"
        if is_network and name in OF_FEATURES:
            only_value = OF_FEATURES[name]
            left_out = name in ("query_token", "fresh_batches") and value is None
            if not left_out and not _is_among(value, (only_value,)):
                raise ValueError(
                    f"{statement}: cubic features know only {only_value!r}"
                )

        values = _field(name).values
        if not values or _is_among(value, values):
            continue
        if values == NOTHING:
            raise ValueError(f"{statement}, which a replay does not know how to follow")
        raise ValueError(
            f"{statement}, and a replay knows only {', '.join(map(repr, values))}"
        )


def refuse_contradictions(meta: Mapping[str, Any]) -> None:
    """ValueError for fields of which each could be followed alone.

    >>> refuse_contradictions({"model": "separate", "outputs": 3})
    Traceback (most recent call last):
    ValueError: its meta has outputs = 3, and a separate model of a recording has one: "factorised" has several
    >>> refuse_contradictions({"fresh_batches": True, "full_batch": True})
    Traceback (most recent call last):
    ValueError: its meta has fresh_batches = True beside full_batch = True, and one of them is wrong
    """
    kind, outputs = meta.get("model"), meta.get("outputs")
    if kind != FACTORISED and isinstance(outputs, int) and outputs > 1:
        raise ValueError(
            f"its meta has outputs = {shortened(outputs)}, and a {kind} model of a recording has one: "
            f'"{FACTORISED}" has several'
        )
    if meta.get("fresh_batches"):
        for name in ("full_batch", "optimiser", "optimizer"):
            value = meta.get(name)
            if value is True or str(value).startswith("full-batch"):
                raise ValueError(
                    f"its meta has fresh_batches = True beside {name} = {shortened(value)}, and one of them is wrong"
                )
    if kind == FACTORISED and meta.get("context_lengths", "N") != "N":
        raise ValueError(
            f"its meta has context_lengths = {shortened(meta['context_lengths'])}, and a factorised model of a "
            "recording knows only 'N': it has the labels of the longest prompts alone"
        )


def loss_divisor(meta: Mapping[str, Any], outputs: int) -> int:
    """What the squared error summed over outputs is divided by: their number, or 1 where the loss is the sum.

    ValueError where several outputs have a loss that does not say which.

    >>> loss_divisor({"loss": MEAN_OVER_OUTPUTS}, 3), loss_divisor({"loss": SUM_OVER_OUTPUTS}, 3)
    (3, 1)
    """
    stated = meta.get("loss")
    if outputs > 1 and stated not in (MEAN_OVER_OUTPUTS, SUM_OVER_OUTPUTS):
        raise ValueError(
            f"its meta has loss = {stated!r}, and of {outputs} outputs a replay knows only "
            f"{MEAN_OVER_OUTPUTS!r} and {SUM_OVER_OUTPUTS!r}"
        )
    return 1 if stated == SUM_OVER_OUTPUTS else outputs


def tells_of_training(name: str) -> bool:
    """Whether an unknown field may, by its name, change the training.

    >>> [tells_of_training(name) for name in ("gradient_clipping", "batchSize", "colour", "gradient_norm")]
    [True, True, False, False]
    """
    # The words of snake_case and CamelCase, and the whole name without what separates them: batchSize, batch_size.
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    joined = "".join(re.findall(r"[a-z]", name.lower()))
    names_training = bool((words | {joined}) & TRAINING_WORDS)
    names_result = bool(words & RESULT_WORDS)
    return names_training and not names_result


def is_descriptive(name: str) -> bool:
    """Whether a field only tells about the run; an unknown one does unless its name tells of training.

    >>> [is_descriptive(name) for name in ("source", "colour", "softmax", "dropout")]
    [True, True, False, False]
    """
    return _field(name).use == DESCRIPTIVE


def _field(name: str) -> Field:
    unknown = Field(REFUSED, NOTHING) if tells_of_training(name) else Field(DESCRIPTIVE)
    return META.get(name, unknown)


def positive_number(meta: Mapping[str, Any], name: str) -> float:
    """The value of a field as a float; ValueError unless it is a finite number above 0.

    >>> positive_number({"learning_rate": "0.1"}, "learning_rate")
    Traceback (most recent call last):
    ValueError: its meta has learning_rate = '0.1', which must be a positive number
    """
    value = meta[name]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A bound well inside the range of doubles: JSON may hold an integer of any length.
    if not is_number or not 0 < value < LARGEST_NUMBER:
        raise ValueError(
            f"its meta has {name} = {shortened(value)}, which must be a positive number"
        )
    return float(value)


def attention_divisor(meta: Mapping[str, Any]) -> float | str:
    """What the output of attention is divided by, as a model has it; ValueError for anything else.

    >>> attention_divisor({"attention_divisor": "N"}), attention_divisor({"attention_divisor": 8})
    ('context', 8.0)
    """
    value = meta.get("attention_divisor", "none")
    if isinstance(value, str) and value in DIVISORS:
        divisor = DIVISORS[value]
        if divisor == "tokens" and meta.get("query_token") is False:
            raise ValueError(
                f"its meta has attention_divisor = {value!r} beside query_token = False: without the query among "
                'the tokens a replay knows "N", "none" or a number'
            )
        return divisor
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return positive_number(meta, "attention_divisor")
    known = ", ".join(map(repr, DIVISORS))
    raise ValueError(
        f"its meta has attention_divisor = {shortened(value)}, and a replay knows only {known} or a positive number"
    )


_LAST = -1


class StatedLengths(NamedTuple):
    """Context lengths as a field states them: `values`, with their weights if it has them, or all from one to N."""

    values: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    all_from: int | None = None
    """The first of all lengths up to N, counted from the end if it is negative."""

    def up_to(self, longest: int) -> tuple[int, ...] | dict[int, float]:
        """Those of prompts with so many tokens; ValueError unless they are from 0 to N, and one of them above 0.

        >>> StatedLengths(all_from=3).up_to(5), StatedLengths((2, 5), (0.5, 1.0)).up_to(5)
        ((3, 4, 5), {2: 0.5, 5: 1.0})
        """
        values = self.values
        if self.all_from is not None:
            values = tuple(range(longest + 1)[self.all_from :])
        if not any(values) or max(values) > longest:
            raise ValueError(
                f"its context lengths must be from 0 to N = {longest}, one of them above 0"
            )
        if self.weights:
            return dict(zip(values, self.weights, strict=True))
        return tuple(sorted(values))


def _listed_lengths(value: object) -> StatedLengths:
    """The lengths of a list, or of an object of lengths and their weights; none of anything else."""
    if isinstance(value, list) and all(type(length) is int for length in value):
        return StatedLengths(tuple(value))
    if isinstance(value, dict) and _are_weighted(value):
        lengths = tuple(map(int, value))
        return StatedLengths(lengths, tuple(map(float, value.values())))
    return StatedLengths()


def stated_lengths(meta: Mapping[str, Any], name: str) -> StatedLengths:
    """The context lengths that a field states, N alone without the field; ValueError for what is none.

    >>> stated_lengths({"context_lengths": "1..N averaged"}, "context_lengths")
    StatedLengths(values=(), weights=(), all_from=1)
    """
    value = meta.get(name, "N")
    if value == "N":
        return StatedLengths(all_from=_LAST)
    span = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if span and span[2] == "N":
        return StatedLengths(all_from=int(span[1]))
    stated = _listed_lengths(value)
    if span:
        stated = StatedLengths(tuple(range(int(span[1]), int(span[2]) + 1)))
    values = stated.values
    if not values or min(values) < 0 or len(set(values)) < len(values):
        raise ValueError(
            f'its meta has {name} = {shortened(value)}, and a replay knows only "N", a range such as "1..N averaged", '
            "a list of different lengths, or an object of lengths and their weights"
        )
    return stated


def _are_weighted(value: dict[str, Any]) -> bool:
    """Whether an object holds positive numbers under whole ones."""
    for length, weight in value.items():
        is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not _is_count(length) or not is_number or not 0 < weight < LARGEST_NUMBER:
            return False
    return True


def _is_count(key: str) -> bool:
    """Whether a key of an object is a whole number, as JSON writes it."""
    return key.isascii() and key.isdigit() and len(key) < 10 and str(int(key)) == key


def refuse_other_sizes(
    meta: Mapping[str, Any], sizes: Mapping[str, int], *, steps: int = 1
) -> None:
    """ValueError for a size that is not that of the arrays; the losses may be the first ones of a longer run.

    The sequences may be those of one batch or of as many as there are `steps`, with batches of their own.

    >>> refuse_other_sizes({"heads": 3}, {"heads": 4})
    Traceback (most recent call last):
    ValueError: its meta has heads = 3, but its arrays have 4
    """
    for name, size in sizes.items():
        stated = meta.get(name)
        known = (size, steps * size) if name == "sequences" else (size,)
        if stated is None or _is_among(stated, known):
            continue
        # The file may hold the first losses of a longer run.
        of_a_longer_run = name == "steps" and isinstance(stated, int) and stated > size
        if not of_a_longer_run:
            raise ValueError(
                f"its meta has {name} = {shortened(stated)}, but its arrays have {size}"
            )


def unused_fields(meta: Mapping[str, Any], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the fields that a replay makes no use of: descriptive ones, and sizes that its model does not have.

    >>> unused_fields({"model": "merged", "rank": 1, "source": "a thesis"}, {"heads": 2})
    ('rank', 'source')
    """
    unused = []
    for name in meta:
        is_other_size = name in SIZES and name not in sizes
        if is_descriptive(name) or is_other_size:
            unused.append(readable(name))
    return tuple(unused)


def readable(name: str) -> str:
    """A name as it is, or what fits a line of one that is long or does not print.

    >>> readable("settings"), readable("two\\nlines")
    ('settings', "'two\\\\nlines'")
    """
    return name if name.isprintable() and 0 < len(name) <= 60 else shortened(name)


def shortened(value: Any) -> str:
    """What a message shows of a value of any length.

    >>> shortened("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"
    """
    if isinstance(value, int) and abs(value) > 10**40:
        return "a number of many digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _is_among(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether the value is one of these; 0 is not False here, nor 1 True."""
    return any(
        value == candidate and isinstance(value, bool) == isinstance(candidate, bool)
        for candidate in values
    )
