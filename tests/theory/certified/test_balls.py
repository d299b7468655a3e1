"""The library behind the enclosures: lazy, named where it is missing, and put back as it was."""

import sys

import pytest

from attndyn import Separate, Task
from attndyn.theory.certified import fixed_points


def test_without_the_library_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ValueError, match=r"pip install 'attndyn\[certified\]'"):
        fixed_points(Task(eigenvalues=[2, 1], context_length=5), Separate(heads=2))
