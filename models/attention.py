"""The built-in models: attention with merged or separate key and query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.checks import true_or_false, whole_number
from ..runtime.decimals import number
from ..runtime.serialisation import Settings
from .protocol import Heads
from .score_divisor import checked

DIVISORS = ("context", "tokens", "none")
"""What the output may be divided by besides a number: N, the number of tokens, or 1."""


class Attention(Settings):
    """Settings that the built-in models share. `head_count` is H: `heads` is the method of the protocol."""

    head_count: int
    outputs: int
    softmax: bool
    divisor: float | str | None
    query_token: bool
    score_divisor: float | str

    def __init_subclass__(cls) -> None:
        """TypeError for a class of a built-in model with heads of its own: their formulas are known."""
        own = {"heads", "shapes"} & set(vars(cls))
        if own and cls.__mro__[1] is not Attention:
            raise TypeError(
                f"{cls.__name__} changes {' and '.join(sorted(own))} of {cls.__mro__[1].__name__}, whose formula "
                "the theory and the gradients go by: write a class with shapes and heads that inherits from nothing"
            )

    def _set_conventions(
        self,
        heads: int,
        *,
        outputs: int,
        softmax: bool,
        divisor: Any,
        query_token: bool,
        score_divisor: Any,
    ) -> None:
        """Check and keep what every built-in model is given."""
        self._set(
            head_count=whole_number(heads, "heads"),
            outputs=whole_number(outputs, "outputs"),
            softmax=true_or_false(softmax, "softmax"),
            divisor=_divisor(softmax, divisor),
            query_token=true_or_false(query_token, "query_token"),
            score_divisor=checked(score_divisor),
        )

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The settings under the names that the constructor takes, without the defaults of later versions."""
        settings: dict[str, Any] = {}
        for name in self.fields():
            value = getattr(self, "head_count" if name == "heads" else name)
            # What was added to the models later is left out, so that the names of stored runs stay.
            is_default = name in _DEFAULTS and value == _DEFAULTS[name]
            if not is_default:
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


CONVENTIONS = ("outputs", "softmax", "divisor", "query_token", "score_divisor")

_DEFAULTS: dict[str, Any] = {
    "outputs": 1,
    "softmax": False,
    "divisor": None,
    "query_token": True,
    "score_divisor": 1.0,
}
"""Settings that are left out of a dictionary where they have these values."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Merged(Attention):
    """Attention with one key-query matrix per head: weights value (H, D+1), key_query (H, D+1, D+1).

    `outputs` is K, the number of labels: with K > 1, value has the shape (H, K, D+K) and key_query (H, D+K, D+K). The
    output is divided by the `divisor`: "context" stands for N, or 1 where N = 0 (the default of linear attention);
    "tokens" for the number of tokens that attention reads; "none" for 1 (the default of softmax attention); a
    positive number for itself. `query_token` says whether attention reads the query's own token (x_q, 0). The scores
    are divided by the `score_divisor`: a number, a fraction or root as text ("sqrt(3)"), or "sqrt_key" for √(D+K).
    Source: Zhang et al. 2025 (arXiv 2501.16265), Section 2.2. ValueError for any other value of one of these.

    >>> Merged(heads=8).shapes(4)
    {'value': (8, 5), 'key_query': (8, 5, 5)}
    """

    head_count: int
    outputs: int
    softmax: bool
    divisor: float | str | None
    query_token: bool
    score_divisor: float | str

    def __init__(
        self,
        heads: int,
        *,
        outputs: int = 1,
        softmax: bool = False,
        divisor: float | str | None = None,
        query_token: bool = True,
        score_divisor: Any = 1.0,
    ) -> None:
        self._set_conventions(
            heads,
            outputs=outputs,
            softmax=softmax,
            divisor=divisor,
            query_token=query_token,
            score_divisor=score_divisor,
        )

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a model file may hold."""
        return ("heads", *CONVENTIONS)

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights for x of this dimension."""
        size = dimension + self.outputs
        return {
            "value": _value_shape(self.head_count, self.outputs, size),
            "key_query": (self.head_count, size, size),
        }

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1), and B (H, D+1, D): the columns of the key-query matrix that meet x_q."""
        columns = np.asarray(weights["key_query"])[..., : -self.outputs]
        return np.asarray(weights["value"]), columns


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Separate(Attention):
    """Attention with key and query of rank R: weights value (H, D+1), key and query (H, R, D+1).

    `outputs` is K, the number of labels: with K > 1, value has the shape (H, K, D+K), and key and query (H, R, D+K).
    `divisor`, `query_token` and `score_divisor` are those of `Merged`, but "sqrt_key" stands for √R.
    Source: Zhang et al. 2025 (arXiv 2501.16265), Section 2.2. ValueError if heads or rank < 1, and as for `Merged`.

    >>> Separate(heads=5, rank=1, divisor="none").shapes(4)
    {'value': (5, 5), 'key': (5, 1, 5), 'query': (5, 1, 5)}
    """

    head_count: int
    rank: int
    outputs: int
    softmax: bool
    divisor: float | str | None
    query_token: bool
    score_divisor: float | str

    def __init__(
        self,
        heads: int,
        rank: int = 1,
        *,
        outputs: int = 1,
        softmax: bool = False,
        divisor: float | str | None = None,
        query_token: bool = True,
        score_divisor: Any = 1.0,
    ) -> None:
        self._set(rank=whole_number(rank, "rank"))
        self._set_conventions(
            heads,
            outputs=outputs,
            softmax=softmax,
            divisor=divisor,
            query_token=query_token,
            score_divisor=score_divisor,
        )

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a model file may hold."""
        return ("heads", "rank", *CONVENTIONS)

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights for x of this dimension."""
        size = dimension + self.outputs
        pair = (self.head_count, self.rank, size)
        value = _value_shape(self.head_count, self.outputs, size)
        return {"value": value, "key": pair, "query": pair}

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1), and B (H, D+1, D): Σ_r k_r q_rᵀ without the query's entries that meet y = 0."""
        value = np.asarray(weights["value"])  # (…, H, D+1)
        key = np.asarray(weights["key"])  # (…, H, R, D+1)
        query = np.asarray(weights["query"])[..., : -self.outputs]  # (…, H, R, D)
        return value, key.swapaxes(-1, -2) @ query


def _value_shape(heads: int, outputs: int, size: int) -> tuple[int, ...]:
    """Shape of the rows of the value matrices that reach the output: one for each of K > 1 outputs."""
    return (heads, size) if outputs == 1 else (heads, outputs, size)


def _divisor(softmax: bool, divisor: object) -> float | str | None:
    """The divisor that a model keeps: a name, a number, text for a fraction, or None for softmax without one."""
    if divisor is None:
        return None if softmax else "context"
    if isinstance(divisor, str) and divisor in DIVISORS:
        return None if softmax and divisor == "none" else divisor
    value = number(divisor)
    if value is None or not value > 0:
        raise ValueError(
            f"divisor must be one of {', '.join(DIVISORS)}, or a positive number, not {divisor!r}"
        )
    return value if isinstance(value, float) else str(value)
