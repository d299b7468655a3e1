"""Attention with all of its matrices: query, key, value and output, as networks have them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.checks import whole_number
from .attention import CONVENTIONS, Attention
from .protocol import Heads


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Factorised(Attention):
    """Attention with four matrices a head: output (H, K, E), value (H, E, D+K), key and query (H, R, D+K).

    A head has the value rows a_h = output_h value_h and the key-query matrix B_h = key_hᵀ query_h. `rank` is R and
    `value_rank` is E; both are the size D + K of a token by default. The other arguments are those of `Merged`, and the
    score divisor "sqrt_key" stands for √R. ValueError for a number of heads or a rank below 1, and as for `Merged`.
    Source: Chen et al. 2024 (arXiv 2402.19442), He et al. 2025 (arXiv 2503.12734).

    >>> Factorised(heads=2, rank=3).shapes(4)
    {'output': (2, 1, 5), 'value': (2, 5, 5), 'key': (2, 3, 5), 'query': (2, 3, 5)}
    """

    head_count: int
    rank: int | None
    value_rank: int | None
    outputs: int
    softmax: bool
    divisor: float | str | None
    query_token: bool
    score_divisor: float | str

    def __init__(
        self,
        heads: int,
        rank: int | None = None,
        value_rank: int | None = None,
        *,
        outputs: int = 1,
        softmax: bool = False,
        divisor: float | str | None = None,
        query_token: bool = True,
        score_divisor: Any = 1.0,
    ) -> None:
        self._set(
            rank=None if rank is None else whole_number(rank, "rank"),
            value_rank=(
                None if value_rank is None else whole_number(value_rank, "value_rank")
            ),
        )
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
        return ("heads", "rank", "value_rank", *CONVENTIONS)

    def to_dict(self) -> dict[str, Any]:
        """The settings under the names that the constructor takes, without ranks that were left out."""
        settings = super().to_dict()
        return {name: value for name, value in settings.items() if value is not None}

    def key_size(self, dimension: int) -> int:
        """R for x of this dimension."""
        return dimension + self.outputs if self.rank is None else self.rank

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights for x of this dimension."""
        size = dimension + self.outputs
        E = size if self.value_rank is None else self.value_rank
        pair = (self.head_count, self.key_size(dimension), size)
        return {
            "output": (self.head_count, self.outputs, E),
            "value": (self.head_count, E, size),
            "key": pair,
            "query": pair,
        }

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1), or (H, K, D+K) of K > 1 outputs, and B (H, D+K, D)."""
        output = np.asarray(weights["output"])  # (…, H, K, E)
        value = np.asarray(weights["value"])  # (…, H, E, D+K)
        key = np.asarray(weights["key"])  # (…, H, R, D+K)
        query = np.asarray(weights["query"])[..., : -self.outputs]  # (…, H, R, D)
        a = output @ value  # (…, H, K, D+K)
        if self.outputs == 1:
            a = a[..., 0, :]
        return a, key.swapaxes(-1, -2) @ query
