"""Which other convention a recording was made with, where a replay of its first steps tells."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

from ...models.built_in import BuiltIn
from ...models.stated_models import model_differences
from .recordings import Recording

LEAST_STEPS = 3
"""Losses that are compared at least: the first is that of the start, and the others tell the learning rate."""

MOST_REPLAYS = 4
"""How many times the steps of the recording all tries together may take."""

_ATTENTION_DIVISORS = {
    "none": "none",
    "context": "N",
    "tokens": "tokens in the prompt, query included",
}
"""Divisors of linear attention, and what a recording calls them."""


class _Choice(NamedTuple):
    """A setting of another value: what the file would say, and the changes of the recording."""

    words: str = ""
    model: tuple[tuple[str, object], ...] = ()
    loss: float = 1
    rate: float = 1.0
    unfrozen: bool = False


_OTHER_LOSSES = (
    _Choice(
        "a loss with a factor 1/2 (double the losses, halve learning_rate)", loss=2
    ),
    # Descent on the whole loss, of which the half was written down.
    _Choice("losses that are halves (double them)", loss=2, rate=2.0),
    _Choice("half of the learning_rate", rate=0.5),
    _Choice("twice the learning_rate", rate=2.0),
)

_OTHER_HALF_LOSSES = (
    _Choice(
        "a loss without the factor 1/2 (halve the losses, double learning_rate)",
        loss=0.5,
    ),
    # Descent on the half of the loss, of which the whole was written down.
    _Choice("losses that are no halves (halve them)", loss=0.5, rate=0.5),
    *_OTHER_LOSSES[2:],
)
"""The same for a recording whose loss has the factor 1/2."""

_NOT_FROZEN = _Choice("null_blocks_frozen = False", unfrozen=True)


def fitting_conventions(
    recording: Recording, steps: int, fits: Callable[[Recording], bool]
) -> str:
    """The conventions that a recording fits where it does not fit its own, in a clause; "" for a network on features.

    `steps` is how many losses show the deviation, and `fits` replays a recording and says whether it deviates. Tried
    are the query's own token, the divisors in use, a loss with a half and another learning rate, and all their
    combinations; of those that fit the ones of fewest changes are named.
    """
    if not isinstance(recording.model, BuiltIn):
        return ""
    count = min(max(steps, LEAST_STEPS), len(recording.loss))
    short = replace(recording, loss=recording.loss[:count], tests=(), weights=None)
    left = MOST_REPLAYS * len(recording.loss) + 100  # enough for all tries of few steps
    fitting: list[list[_Choice]] = []
    for changes in _combinations(recording.model, recording):
        left -= count
        if left < 0 or (fitting and len(changes) > len(fitting[0])):
            break
        if fits(_changed(short, changes)):
            fitting.append(changes)
    if not fitting:
        return (
            f"its first {count} losses fit no other query_token, divisor, factor of the loss or learning rate that was "
            "tried"
        )
    words = [" and ".join(choice.words for choice in changes) for changes in fitting]
    return f"its first {count} losses fit with {', or with '.join(words)}"


def _combinations(model: BuiltIn, recording: Recording) -> list[list[_Choice]]:
    """All combinations of changes, one or more, those of fewer changes first."""
    token = not model.query_token
    words = f"query_token = {str(token).lower()}"
    has_half = recording.weights is not None
    parts: list[Sequence[_Choice]] = [
        [_Choice(words, (("query_token", token),))],
        list(_other_divisors(model, recording)),
        _OTHER_HALF_LOSSES if has_half else _OTHER_LOSSES,
    ]
    if recording.frozen:
        parts.append([_NOT_FROZEN])
    combinations = [
        [choice for choice in choices if choice is not None]
        for choices in product(*([None, *part] for part in parts))
    ]
    return sorted(filter(None, combinations), key=len)


def _other_divisors(model: BuiltIn, recording: Recording) -> Iterator[_Choice]:
    """The divisors in use that are not that of the model: of the scores, or of the output of linear attention."""
    assert recording.data is not None
    D, outputs = recording.data.dimension, recording.data.outputs
    choices = []
    if model.softmax:
        # The sizes of a key without labels, with one and with all of them; some codes divide by none.
        roots = (f"sqrt({D})", f"sqrt({D + 1})", f"sqrt({D + outputs})")
        for divisor in dict.fromkeys(("1", *roots)):
            words = f"score_divisor = {divisor}"
            choices.append(_Choice(words, (("score_divisor", divisor),)))
    else:
        for divisor, name in _ATTENTION_DIVISORS.items():
            words = f"attention_divisor = {name!r}"
            choices.append(_Choice(words, (("divisor", divisor),)))
    for choice in choices:
        other = type(model).from_dict(model.to_dict() | dict(choice.model))
        if model_differences(model, other, D):
            yield choice


def _changed(recording: Recording, changes: list[_Choice]) -> Recording:
    """The recording as if it had been made with these settings."""
    for change in changes:
        model = recording.model
        assert isinstance(model, BuiltIn)
        recording = replace(
            recording,
            model=type(model).from_dict(model.to_dict() | dict(change.model)),
            loss_divisor=recording.loss_divisor * change.loss,
            learning_rate=recording.learning_rate * change.rate,
            frozen={} if change.unfrozen else recording.frozen,
        )
    return recording
