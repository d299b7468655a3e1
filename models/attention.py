"""The built-in models: attention with merged or separate key and query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.checks import check_choice, true_or_false, whole_number
from ..runtime.serialisation import Settings
from .protocol import Heads
from .score_divisor import checked

DIVISORS = ("context", "tokens", "none")
"""What the output of linear attention may be divided by: N, N + 1 or nothing."""


class _Attention(Settings):
    """Settings that the built-in models share. `head_count` is H: `heads` is the method of the protocol."""

    softmax: bool

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
        settings: dict[str, Any] = {}
        for name in self.fields():
            value = getattr(self, "head_count" if name == "heads" else name)
            is_default = name == "score_divisor" and value == 1.0
            if not is_default and value not in (None, False):
                settings[name] = value
        return settings

    def formulas(self) -> dict[str, str]:
        """The output of the model on a prompt with tokens X and query x_q."""
        scores = r"X^\top B_h x_q"
        if self.softmax:
            return {
                "output": rf"\hat y = \sum_h a_h^\top X \, \mathrm{{softmax}}({scores})"
            }
        return {"output": rf"\hat y \propto \sum_h a_h^\top X {scores}"}


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
            head_count=whole_number(heads, "heads"),
            softmax=true_or_false(softmax, "softmax"),
            divisor=_divisor(softmax, divisor),
            score_divisor=checked(score_divisor),
        )

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
        self._set(
            head_count=whole_number(heads, "heads"),
            rank=whole_number(rank, "rank"),
            softmax=true_or_false(softmax, "softmax"),
            divisor=_divisor(softmax, divisor),
            score_divisor=checked(score_divisor),
        )

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
        value = np.asarray(weights["value"])  # (…, H, D+1)
        key = np.asarray(weights["key"])  # (…, H, R, D+1)
        query = np.asarray(weights["query"])[..., :-1]  # (…, H, R, D)
        return value, key.swapaxes(-1, -2) @ query


MODELS: dict[str, type[Merged] | type[Separate]] = {
    "merged": Merged,
    "separate": Separate,
}


def model_from_dict(settings: Mapping[str, Any]) -> Merged | Separate:
    """The built-in model named by `settings["model"]`, "merged" or "separate", with the other fields.

    >>> model_from_dict({"model": "merged", "heads": 2})
    Merged(heads=2, divisor='context')
    """
    name = settings.get("model")
    check_choice(name, "model", MODELS)
    fields = {field: value for field, value in settings.items() if field != "model"}
    return MODELS[str(name)].from_dict(fields)


def _divisor(softmax: bool, name: str | None) -> str | None:
    """The divisor that a model keeps; ValueError where softmax comes with one, or for no such name."""
    if not softmax:
        name = "context" if name is None else name
        check_choice(name, "divisor", DIVISORS)
        return name
    if name is not None:
        raise ValueError(
            f"softmax attention takes no divisor, but {name!r} was given: leave divisor out"
        )
    return None
