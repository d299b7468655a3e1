"""What heads must be: one layer of attention, a (H, D+1) and B (H, D+1, D) of real or complex numbers.

With K > 1 outputs they are a (H, K, D+K) and B (H, D+K, D).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.protocol import Heads, Parametrization
from ...runtime.arrays import numbers_as_doubles
from .weight_shapes import layers_of_heads

ONE_LAYER = (
    "heads must return the pair (a, B) of one attention layer: several layers, MLPs and residual paths do not "
    "have this form; train them elsewhere and bring the run (external_run)"
)


def heads_of(model: Parametrization, weights: Mapping[str, NDArray[Any]]) -> Heads:
    """The heads of a model as arrays.

    >>> from attndyn import Merged
    >>> a, B = heads_of(Merged(heads=1), {"value": np.ones((1, 2)), "key_query": np.ones((1, 2, 2))})
    >>> a.shape, B.shape
    ((1, 2), (1, 2, 1))
    """
    a, B = model.heads(weights)
    return (
        numbers_as_doubles(np.asarray(a)),
        numbers_as_doubles(np.asarray(B)),
    )


def checked_heads(heads: Any, dimension: int, outputs: int = 1) -> Heads:
    """The pair as arrays; ValueError unless they are a (H, D+1) and B (H, D+1, D) of numbers, with H ≥ 1.

    With K > 1 `outputs` they must be a (H, K, D+K) and B (H, D+K, D).

    >>> checked_heads((np.ones(2), np.ones((1, 2, 1))), 1)
    Traceback (most recent call last):
    ValueError: heads must have shapes (H, 2) and (H, 2, 1), not (2,) and (1, 2, 1): one row a head
    """
    if isinstance(heads, Mapping):
        raise ValueError(
            "heads are the pair (a, B), not weights by name: pass model.heads(weights)"
        )
    if not isinstance(heads, tuple | list) or len(heads) != 2:
        raise ValueError(f"{ONE_LAYER}, and {type(heads).__name__} was returned")
    a = _numbers(heads[0], "a")
    B = _numbers(heads[1], "B")
    size = dimension + outputs
    rows = (size,) if outputs == 1 else (outputs, size)
    fits_a = a.ndim == len(rows) + 1 and a.shape[1:] == rows and len(a) >= 1
    if not fits_a or B.shape != (len(a), size, dimension):
        shapes = f"(H, {', '.join(map(str, rows))}) and (H, {size}, {dimension})"
        raise ValueError(
            f"heads must have shapes {shapes}, not {a.shape} and {B.shape}"
            f"{layers_of_heads(a.shape, B.shape, len(rows) + 1) or ': one row a head'}"
        )
    return a, B


def _numbers(values: Any, name: str) -> NDArray[Any]:
    """One of the pair as an array of numbers; ValueError names it otherwise."""
    try:
        array = numbers_as_doubles(np.asarray(values))
    except ValueError:
        raise ValueError(
            f"{name} of the heads must be an array, and its rows have different lengths"
        ) from None
    if array.dtype.kind not in "iufc":
        raise ValueError(f"{name} of the heads must hold numbers, not {array.dtype}")
    return array
