"""The models: which weights exist and how they make attention heads.

The query's output of a head needs two things only: a_h (D+1,), the last row of the value matrix, and B_h (D+1, D),
the columns of the merged key-query matrix that meet x_q. With tokens X (D+1, N+1) the output is

    linear    ŷ = Σ_h a_hᵀ X Xᵀ B_h x_q / (score divisor · divisor)
    softmax   ŷ = Σ_h a_hᵀ X softmax(Xᵀ B_h x_q / score divisor) / divisor
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..runtime.serialisation import Settings
from .score_divisor import SQRT_KEY, checked, exact_square, in_numbers, resolved

Weights = dict[str, NDArray[Any]]
Heads = tuple[NDArray[Any], NDArray[Any]]

DIVISORS = ("context", "tokens", "none")


@runtime_checkable
class Parametrization(Protocol):
    """What a model must offer; a user's own class needs no base class.

    `shapes(D)` gives each weight's name and shape; `heads(weights)` gives a (H, D+1) and B (H, D+1, D), written
    with operations that work on NumPy arrays of numbers and of SymPy expressions. Optional attributes: `softmax`
    (False if absent), `divisor` ("context" if absent, "none" with softmax, whose output is then divided), and
    `score_divisor` (1 if absent, as in `Merged`): a root in `heads` would be a float, which no proof can use.

    >>> class Tied:  # key = query, one head
    ...     def shapes(self, dimension):
    ...         return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}
    ...     def heads(self, weights):
    ...         key = weights["key"]
    ...         return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]
    >>> isinstance(Tied(), Parametrization)
    True
    """

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Name → shape of every weight for x of this dimension."""

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1) and B (H, D+1, D) of every head."""


class _Attention(Settings):
    """Settings that the built-in models share. `head_count` is H: `heads` is the method of the protocol."""

    def __init_subclass__(cls) -> None:
        """TypeError for a class of `Merged` or `Separate` with heads of its own: their formulas are known."""
        own = {"heads", "shapes"} & set(vars(cls))
        if own and cls.__mro__[1] is not _Attention:
            raise TypeError(
                f"{cls.__name__} changes {' and '.join(sorted(own))} of {cls.__mro__[1].__name__}, whose formula "
                "the theory and the gradients go by: write a class with shapes and heads that inherits from nothing"
            )

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The settings under the names that the constructor takes."""
        shown = {
            name: getattr(self, "head_count" if name == "heads" else name)
            for name in self.fields()
        }
        if shown["score_divisor"] == 1.0:
            del shown["score_divisor"]
        return {
            name: value for name, value in shown.items() if value not in (None, False)
        }


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Merged(_Attention):
    """Attention with one key-query matrix per head: weights value (H, D+1), key_query (H, D+1, D+1).

    `divisor`: "context" divides by N (the default), "tokens" by N + 1, "none" by nothing; `softmax` takes none.
    `score_divisor` divides the scores: a number, a fraction or root as text ("sqrt(3)"), or "sqrt_key", √(D+1).
    Source: Zhang et al. 2025, Section 2.2. ValueError if heads < 1, or softmax comes with a divisor.

    >>> Merged(heads=8).shapes(4)
    {'value': (8, 5), 'key_query': (8, 5, 5)}
    """

    head_count: int
    softmax: bool
    divisor: str | None
    score_divisor: float | str

    def __init__(
        self,
        heads: int,
        *,
        softmax: bool = False,
        divisor: str | None = None,
        score_divisor: Any = 1.0,
    ) -> None:
        self._set(
            head_count=_count("heads", heads),
            softmax=_flag(softmax),
            divisor=_divisor(softmax, divisor),
        )
        self._set(score_divisor=checked(score_divisor))

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a model file may hold."""
        return ("heads", "softmax", "divisor", "score_divisor")

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights for x of this dimension."""
        size = dimension + 1
        return {
            "value": (self.head_count, size),
            "key_query": (self.head_count, size, size),
        }

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1), and B (H, D+1, D): the columns of the key-query matrix that meet x_q."""
        return np.asarray(weights["value"]), np.asarray(weights["key_query"])[..., :-1]


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Separate(_Attention):
    """Attention with key and query of rank R: weights value (H, D+1), key and query (H, R, D+1).

    `divisor`: "context" divides by N (the default), "tokens" by N + 1, "none" by nothing; `softmax` takes none.
    `score_divisor` divides the scores: a number, a fraction or root as text ("sqrt(3)"), or "sqrt_key", √R.
    Source: Zhang et al. 2025, Section 2.2. ValueError if heads or rank < 1, or softmax comes with a divisor.

    >>> Separate(heads=5, rank=1, divisor="none").shapes(4)
    {'value': (5, 5), 'key': (5, 1, 5), 'query': (5, 1, 5)}
    """

    head_count: int
    rank: int
    softmax: bool
    divisor: str | None
    score_divisor: float | str

    def __init__(
        self,
        heads: int,
        rank: int = 1,
        *,
        softmax: bool = False,
        divisor: str | None = None,
        score_divisor: Any = 1.0,
    ) -> None:
        self._set(head_count=_count("heads", heads), rank=_count("rank", rank))
        self._set(softmax=_flag(softmax), divisor=_divisor(softmax, divisor))
        self._set(score_divisor=checked(score_divisor))

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a model file may hold."""
        return ("heads", "rank", "softmax", "divisor", "score_divisor")

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights for x of this dimension."""
        pair = (self.head_count, self.rank, dimension + 1)
        return {"value": (self.head_count, dimension + 1), "key": pair, "query": pair}

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1), and B (H, D+1, D): Σ_r k_r q_rᵀ without the query's last entry, which meets y = 0."""
        key, query = np.asarray(weights["key"]), np.asarray(weights["query"])
        return np.asarray(weights["value"]), key.swapaxes(-1, -2) @ query[..., :-1]


MODELS: dict[str, type[Merged] | type[Separate]] = {
    "merged": Merged,
    "separate": Separate,
}


def model_from_dict(settings: Mapping[str, Any]) -> Merged | Separate:
    """The built-in model named by `settings["model"]`, "merged" or "separate", with the other fields.

    >>> model_from_dict({"model": "merged", "heads": 2})
    Merged(heads=2, divisor='context')
    """
    rest = dict(settings)
    name = rest.pop("model", None)
    if not isinstance(name, str) or name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, not {name!r}")
    return MODELS[name].from_dict(rest)


def is_softmax(model: object) -> bool:
    """Whether the scores of this model go through a softmax."""
    return _flag(getattr(model, "softmax", False))


def attention_divisor(
    model: object, context_length: int, dimension: int | None = None
) -> float:
    """What XXᵀ B x_q is divided by in linear attention: `output_divisor` times `score_divisor`.

    The dimension D is needed for the score divisor "sqrt_key" only. ValueError for softmax.

    >>> attention_divisor(Merged(heads=2, divisor="tokens"), 31)
    32.0
    >>> attention_divisor(Merged(heads=2, score_divisor="sqrt_key"), 31, dimension=3)
    62.0
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no divisor: it normalises its scores itself"
        )
    return output_divisor(model, context_length) * score_divisor(model, dimension)


def score_divisor(model: object, dimension: int | None = None) -> float:
    """What the scores of a model are divided by, 1 unless it says otherwise, as a double.

    >>> score_divisor(Merged(heads=2, score_divisor="sqrt_key"), dimension=3)
    2.0
    """
    divisor = checked_score_divisor(model)
    return in_numbers(
        divisor, _key_size(model, dimension) if divisor == SQRT_KEY else 1
    )


def score_divisor_square(model: object, dimension: int) -> Fraction:
    """The square of a model's score divisor, exactly; ValueError for a double that is no short decimal.

    >>> score_divisor_square(Separate(heads=2, rank=3, score_divisor="sqrt_key"), dimension=5)
    Fraction(3, 1)
    """
    return exact_square(checked_score_divisor(model), _key_size(model, dimension))


def checked_score_divisor(model: object) -> float | str:
    """A model's score divisor in the form that the built-in models keep; ValueError where it has none."""
    value = getattr(model, "score_divisor", None)
    return 1.0 if value is None else checked(value)


def divisor_name(model: object, dimension: int) -> str:
    """The name of everything that a linear model's XXᵀ is divided by, by which statistics are told apart.

    >>> divisor_name(Merged(heads=2), 4), divisor_name(Merged(heads=2, score_divisor="sqrt_key"), 4)
    ('context', 'context, scores by sqrt(5)')
    """
    name = str(getattr(model, "divisor", "context"))
    divisor = resolved(checked_score_divisor(model), _key_size(model, dimension))
    return name if divisor == 1.0 else f"{name}, scores by {divisor}"


def _key_size(model: object, dimension: int | None) -> int:
    """R of separate attention, D + 1 of any other model."""
    if isinstance(model, Separate):
        return model.rank
    if dimension is None:
        raise ValueError(
            'the score divisor "sqrt_key" depends on the dimension: pass it'
        )
    return dimension + 1


def output_divisor(model: object, context_length: int) -> float:
    """What a head's output is divided by: `attention_divisor`, or for softmax 1 unless the model names a divisor.

    ValueError for another divisor than "context" (N), "tokens" (N + 1) and "none" (1).

    >>> output_divisor(Merged(heads=2, softmax=True), 31), output_divisor(Merged(heads=2), 31)
    (1.0, 31.0)
    """
    name = getattr(model, "divisor", None)
    if name is None:
        name = "none" if is_softmax(model) else "context"
    return {
        "context": float(context_length),
        "tokens": context_length + 1.0,
        "none": 1.0,
    }[_divisor(False, name)]


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)


def _flag(value: object) -> bool:
    if not isinstance(value, (bool, np.bool)):
        raise ValueError(f"softmax must be True or False, not {value!r}")
    return bool(value)


def _divisor(softmax: bool, name: str | None) -> Any:
    if softmax:
        if name is not None:
            raise ValueError(
                f"softmax attention takes no divisor, but {name!r} was given: leave divisor out"
            )
        return None
    name = "context" if name is None else name
    if name not in DIVISORS:
        raise ValueError(f"divisor must be one of {', '.join(DIVISORS)}, not {name!r}")
    return name
