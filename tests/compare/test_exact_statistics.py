"""Statistics of infinitely many sequences: the block that they take, and how they are asked for."""

import pytest

from attndyn import Merged, Task
from attndyn.compare import population_statistics
from attndyn.teachers import Pool


def test_laws_with_odd_moments_take_every_feature():
    pool = Pool([[1, 1], [1, -1]])
    signed = Pool([[1, 1], [1, -1]], signs=True)
    for law, block in ((pool, "full"), (signed, "restricted")):
        task = Task([2, 1], teachers=law, context_length=5)
        assert population_statistics(task, Merged(heads=1)).block == block


def test_a_model_before_the_task_is_answered_with_the_call():
    call = r"call population_statistics\(task, model\): got Merged, then Task"
    with pytest.raises(TypeError, match=call):
        population_statistics(Merged(heads=1), Task([1], context_length=5))
