"""Answers as JSON may hold them: arrays as lists of seven digits, and null for what is no number."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..runtime.arrays import FloatArray

Answer = dict[str, Any]
"""What a part of a tab computes, by name: numbers, strings, lists, arrays, and dictionaries of these."""

DIGITS = 7
"""Significant digits of a number: curves are drawn to a thousandth, and tests compare to a millionth."""


def plain(value: Any) -> Any:
    """The value without arrays: lists of numbers of seven digits, None for infinities and nan.

    >>> import numpy as np
    >>> plain({"loss": np.array([1 / 3, np.inf]), "steps": 5})
    {'loss': [0.3333333, None], 'steps': 5}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(element) for name, element in value.items()}
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def encoded(answer: Any) -> bytes:
    """An answer that is plain as JSON in UTF-8, without spaces."""
    text = json.dumps(
        answer, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return text.encode()


def _plain_array(array: FloatArray) -> Any:
    """The numbers of an array of any shape as nested lists."""
    if array.dtype.kind != "f":
        return array.tolist()
    rounded = _rounded(array)
    if np.all(np.isfinite(rounded)):
        return rounded.tolist()
    return _without_infinities(rounded.tolist())


def _rounded(array: FloatArray) -> FloatArray:
    """The numbers to seven significant digits; what is too small to be scaled becomes 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.floor(np.log10(np.abs(array)))
        decimals = np.clip(DIGITS - 1 - exponent, -300, 300)
        scale = 10.0 ** np.abs(decimals)
        is_fraction = decimals > 0
        scaled = np.where(is_fraction, array * scale, array / scale)
        whole = np.round(scaled)
        rounded = np.where(is_fraction, whole / scale, whole * scale)
    return np.asarray(np.where(np.isfinite(array) & (array != 0), rounded, array))


def _without_infinities(value: Any) -> Any:
    """Nested lists with None for infinities and nan."""
    if isinstance(value, list):
        return [_without_infinities(element) for element in value]
    return value if math.isfinite(value) else None
