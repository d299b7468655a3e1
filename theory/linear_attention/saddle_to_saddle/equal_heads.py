"""Heads that are equal up to signs: they move alike for ever, so that one of them stands for all."""

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from .escapes import SeparateHeads


def distinct_heads(
    heads: SeparateHeads,
) -> tuple[SeparateHeads, NDArray[np.intp], FloatArray]:
    """One of each set of equal heads, the index of the first of the set (H',), and how many there are (H',).

    (v, q) → (−v, −q) and (k_r, q_r) → (−k_r, −q_r) leave a head's map and its flow alone: signs and order of what
    is returned do not depend on those that are given. Only exact arithmetic would keep equal heads together.

    >>> keys = np.array([[[1.0]], [[1.0]], [[2.0]]])
    >>> heads = SeparateHeads(np.array([3.0, -3.0, 3.0]), keys, np.array([[[1.0]], [[-1.0]], [[1.0]]]))
    >>> distinct_heads(heads)[1:]
    (array([2, 0]), array([1., 2.]))
    """
    signed = [_by_one_rule(*heads.chosen(h)) for h in range(len(heads.v))]
    numbers = [
        tuple(np.concatenate([part.ravel() for part in head]).tolist())
        for head in signed
    ]
    places: dict[tuple[float, ...], list[int]] = {}
    for h, head in enumerate(numbers):
        places.setdefault(head, []).append(h)
    found = sorted(places, reverse=True)
    first = [places[head][0] for head in found]
    copies = [len(places[head]) for head in found]
    parts = (np.stack([signed[h][part] for h in first]) for part in range(3))
    return (
        SeparateHeads(*parts),
        np.array(first, dtype=np.intp),
        np.array(copies, dtype=np.float64),
    )


def _by_one_rule(v: FloatArray, k: FloatArray, q: FloatArray) -> SeparateHeads:
    """One head with signs such that v and the first nonzero number of each key are positive.

    Where v is zero the first nonzero number of the queries is positive in its place, and where a key is zero, that
    of its query. No zero is negative.
    """
    key_signs = _first_signs(k)
    signed = q * key_signs[:, None]
    without_key = np.all(k == 0, axis=1)
    sign = (
        np.sign(v) if v != 0 else _first_signs(signed[~without_key].reshape(1, -1))[0]
    )
    query = np.where(without_key[:, None], q * _first_signs(q)[:, None], sign * signed)
    return SeparateHeads(np.abs(v), k * key_signs[:, None] + 0.0, query + 0.0)


def _first_signs(rows: FloatArray) -> FloatArray:
    """Sign of the first nonzero number of each row (R, D), 1 where there is none."""
    if rows.shape[1] == 0:
        return np.ones(len(rows))
    signs = np.sign(rows)
    found = np.take_along_axis(signs, np.argmax(signs != 0, axis=1)[:, None], axis=1)[
        :, 0
    ]
    return np.where(found == 0, 1.0, found)
