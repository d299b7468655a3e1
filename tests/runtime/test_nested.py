"""Nested states: what is packed comes back, of the same types and bits, and nothing else is packed."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import strategies as st

from attndyn.runtime.nested import copied, pack, unpack, with_classes_of


class Pair(NamedTuple):
    first: object
    second: object


class Other(NamedTuple):
    first: object
    third: object


class Foreign:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.floats(allow_nan=False).map(np.float64),
    st.lists(st.floats(allow_nan=False), max_size=3).map(np.array),
    st.just(np.array([[True], [False]])),
)
NESTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.builds(Pair, inner, inner),
    ),
)


def same(mine, theirs):
    assert type(mine) is type(theirs)
    if isinstance(mine, dict):
        assert list(mine) == list(theirs)
        mine, theirs = list(mine.values()), list(theirs.values())
    if isinstance(mine, list | tuple):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            same(one, other)
    elif isinstance(mine, np.ndarray | np.generic):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()
    else:
        assert mine == theirs


@forall(NESTS)
def test_what_is_packed_comes_back(nest):
    import json

    description, arrays = pack(nest, "state")
    there = unpack(json.loads(json.dumps(description)), arrays)
    same(with_classes_of(nest, there), nest)
    same(copied(nest), nest)


def test_arrays_are_copied_and_those_of_others_become_numpys():
    mine = np.ones(2)
    _, arrays = pack([mine, Foreign()], "state")
    mine[0] = 5
    assert arrays[0].tolist() == [1, 1]
    assert arrays[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "nest",
    [
        object(),
        {1: 2},
        [{1, 2}],
        np.array(["text"]),
        np.array([None]),
        np.random.default_rng(0),
        lambda step: step,
    ],
)
def test_what_is_no_nest_of_numbers_is_refused(nest):
    with pytest.raises(ValueError, match="the state of it must"):
        pack((1, nest), "the state of it")


def test_classes_are_known_by_name_and_fields():
    there = unpack(*pack({"a": [Pair(1, Other(2, 3))], "b": Pair(4, 5)}, "state"))
    assert not isinstance(there["b"], Pair)
    again = with_classes_of((Pair(0, 0),), there)
    assert isinstance(again["b"], Pair)
    assert isinstance(again["a"][0], Pair)
    assert not isinstance(again["a"][0].second, Other)  # the template has none
    assert again["a"][0].second._fields == ("first", "third")


def test_a_copy_shares_no_array():
    nest = {"a": (np.ones(2), [Pair(np.ones(1), None)])}
    copy = copied(nest)
    copy["a"][0][:] = 5
    copy["a"][1][0].first[:] = 5
    assert nest["a"][0].tolist() == [1, 1]
    assert nest["a"][1][0].first.tolist() == [1]
