"""Patterns of names of tensors."""

import re

import pytest

from attndyn.compare.checkpoints.name_patterns import fields_of, tensors_named

NAMES = [
    f"h.{layer}.{part}.{head}"
    for layer in (0, 10, 2)
    for part in "qk"
    for head in (1, 0)
]


def test_numbers_are_found_in_order():
    found = tensors_named("h.{layer}.q.{head}", NAMES)
    assert list(found) == [(l, h) for l in (0, 2, 10) for h in (0, 1)]
    assert found[10, 1] == "h.10.q.1"
    # The layer stands before the head whatever the name.
    assert list(tensors_named("{head}.{layer}", ["1.7"])) == [(7, 1)]
    assert tensors_named("h.2.q.{head}", NAMES)[1,] == "h.2.q.1"


def test_a_name_is_fitted_as_a_whole_and_as_it_is_written():
    assert tensors_named("a.b", ["a.b", "axb", "a.bc"]) == {(): "a.b"}
    with pytest.raises(ValueError, match=re.escape("no tensor is called 'a.{layer}'")):
        tensors_named("a.{layer}", ["a.b", "xa.1", "a.1.bias"])


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("h.{block}.q", "may have {layer} and {head} in braces, not {block}"),
        ("h.{}.q", "in braces, not {}"),
        ("{layer}.{layer}", "has {layer} twice"),
    ],
)
def test_other_fields_are_refused(pattern, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        fields_of(pattern)


def test_what_is_missing_names_what_there_is():
    with pytest.raises(ValueError, match=r"'W_Q': there is W_K$"):
        tensors_named("W_Q", ["W_K"])
    many = [f"layer.{k}.weight" for k in range(40)] + ["attention.W_Q"]
    with pytest.raises(ValueError, match=r"there are attention.W_Q, .* and 29 more$"):
        tensors_named("attention.W_q", many)
    with pytest.raises(ValueError, match="rename one of them"):
        tensors_named("q{layer}", ["q1", "q01"])
