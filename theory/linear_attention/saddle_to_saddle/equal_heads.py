"""Heads that are equal up to signs: they move alike for ever, so that one of them stands for all."""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray, IndexArray
from .escapes import SeparateHeads


class DistinctHeads(NamedTuple):
    """One of each set of equal heads, the index `first` of the first of the set, and how many there are, (H',) each."""

    heads: SeparateHeads
    first: IndexArray
    copies: FloatArray


def distinct_heads(heads: SeparateHeads) -> DistinctHeads:
    """One of each set of equal heads, with signs by one rule.

    (v, q) → (−v, −q) and (k_r, q_r) → (−k_r, −q_r) leave a head's map and its flow alone: signs and order of what
    is returned do not depend on those that are given. Only exact arithmetic would keep equal heads together.

    >>> keys = np.array([[[1.0]], [[1.0]], [[2.0]]])
    >>> heads = SeparateHeads(np.array([3.0, -3.0, 3.0]), keys, np.array([[[1.0]], [[-1.0]], [[1.0]]]))
    >>> distinct_heads(heads)[1:]
    (array([2, 0]), array([1., 2.]))
    """
    signed = [_with_signs_by_rule(*heads.chosen(h)) for h in range(len(heads.v))]
    indices = _equal_heads(signed)
    first = [members[0] for members in indices]
    copies = [len(members) for members in indices]
    blocks = zip(*(signed[h] for h in first), strict=True)
    return DistinctHeads(
        SeparateHeads(*(np.stack(block) for block in blocks)),
        np.array(first, dtype=np.intp),
        np.array(copies, dtype=np.float64),
    )


def _equal_heads(heads: list[SeparateHeads]) -> list[list[int]]:
    """Indices of the heads that have the same numbers, in the decreasing order of these."""
    equal: dict[tuple[float, ...], list[int]] = {}
    for h, head in enumerate(heads):
        numbers = np.concatenate([block.ravel() for block in head])
        equal.setdefault(tuple(numbers.tolist()), []).append(h)
    return [equal[numbers] for numbers in sorted(equal, reverse=True)]


def _with_signs_by_rule(v: FloatArray, k: FloatArray, q: FloatArray) -> SeparateHeads:
    """One head with signs such that v and the first nonzero number of each key are positive.

    Where v is zero the first nonzero number of the queries is positive in its place, and where a key is zero, that
    of its query. No zero is negative.
    """
    key_signs = _first_signs(k)[:, None]  # (R, 1)
    signed = q * key_signs
    without_key = np.all(k == 0, axis=1)
    query_signs = _first_signs(signed[~without_key].reshape(1, -1))
    sign = np.sign(v) if v != 0 else query_signs[0]
    own_signs = _first_signs(q)[:, None]
    query = np.where(without_key[:, None], q * own_signs, sign * signed)
    return SeparateHeads(np.abs(v), k * key_signs + 0.0, query + 0.0)


def _first_signs(rows: FloatArray) -> FloatArray:
    """Sign of the first nonzero number of each row (R, D), 1 where there is none."""
    if rows.shape[1] == 0:
        return np.ones(len(rows))
    signs = np.sign(rows)
    first = np.argmax(signs != 0, axis=1)
    first_signs = signs[np.arange(len(rows)), first]
    return np.where(first_signs == 0, 1.0, first_signs)
