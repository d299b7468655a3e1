"""Models as the settings of a run state them, and what tells two models apart."""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from .built_in import MODELS, BuiltIn, model_from_dict
from .divisors import score_divisor

_OF_ALL_MODELS = ("outputs", "softmax", "divisor", "query_token")
_PLAIN = ("rank", "value_rank", *_OF_ALL_MODELS)
"""Settings that are compared as they are kept; ranks mean the same in models of one kind alone."""


class Difference(NamedTuple):
    """A setting of which two sides say different things."""

    name: str
    first: object
    second: object

    def in_words(self, first: str, second: str) -> str:
        """The two values, each after whose it is.

        >>> Difference("query_token", False, True).in_words("the model", "the run")
        'the model has query_token = False and the run query_token = True'
        """
        name = self.name
        return f"{first} has {name} = {self.first} and {second} {name} = {self.second}"


def stated_model(settings: Mapping[str, Any]) -> BuiltIn | None:
    """The built-in model that the settings of a run state; None where they state none.

    Runs of an `Experiment` state its settings, and runs of `train` and `flow` the call that makes it.

    >>> stated_model({"model": "Merged(heads=2, divisor='none')"})
    Merged(heads=2, divisor='none')
    >>> stated_model({"source": "external"}) is None
    True
    """
    stated = settings.get("model")
    if isinstance(stated, str):
        stated = _settings_of_call(stated)
    if not isinstance(stated, Mapping):
        return None
    try:
        return model_from_dict(stated)
    except (TypeError, ValueError):
        return None


def _settings_of_call(text: str) -> dict[str, Any] | None:
    """The settings of a built-in model from the call that makes it; None for any other text."""
    names = {model.__name__: name for name, model in MODELS.items()}
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return None
        fields = {
            str(keyword.arg): ast.literal_eval(keyword.value)
            for keyword in call.keywords
        }
    except (SyntaxError, ValueError):
        return None
    name = names.get(call.func.id)
    return None if name is None else {"model": name, **fields}


def model_differences(
    first: BuiltIn, second: BuiltIn, dimension: int
) -> tuple[Difference, ...]:
    """The settings in which two models differ for x of this dimension, score divisors in numbers.

    >>> one = MODELS["merged"](2, softmax=True, score_divisor="sqrt_key")
    >>> model_differences(one, MODELS["merged"](2, softmax=True, score_divisor=2), 3)
    ()
    >>> model_differences(one, MODELS["merged"](2, softmax=True), 3)
    (Difference(name='score_divisor', first=2.0, second=1.0),)
    """
    names = _PLAIN if type(first) is type(second) else _OF_ALL_MODELS
    pairs: dict[str, tuple[object, object]] = {
        "model": (type(first).__name__, type(second).__name__),
        "heads": (first.head_count, second.head_count),
        "score_divisor": (
            score_divisor(first, dimension),
            score_divisor(second, dimension),
        ),
    }
    for name in names:
        if hasattr(first, name):
            pairs[name] = (getattr(first, name), getattr(second, name))
    return tuple(
        Difference(name, *values)
        for name, values in pairs.items()
        if values[0] != values[1]
    )
