"""Theory is asked about a task first: another order is answered with the right call."""

import pytest

from attndyn import Separate, Task
from attndyn.theory import (
    feature_moments,
    fixed_point,
    fixed_points,
    population,
    staircase,
    time_course,
)
from attndyn.theory.symbolic import derive

TASK, MODEL = Task([2, 1], context_length=5), Separate(heads=2)

CALLS = {
    population: (),
    feature_moments: (),
    fixed_points: (),
    fixed_point: ((1,),),
    time_course: ([0, 1], 0.1),
    staircase: ({},),
    derive: (),
}


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_a_model_before_the_task_is_answered_with_the_call(function):
    call = rf"{function.__name__}\(task, model.*\): got Separate, then Task"
    with pytest.raises(TypeError, match=call):
        function(MODEL, TASK, *CALLS[function])


def test_two_tasks_and_a_table_for_a_task_are_no_question():
    with pytest.raises(TypeError, match="got Task, then Task"):
        population(TASK, TASK)
    with pytest.raises(TypeError, match="got dict, then Separate"):
        fixed_points({"eigenvalues": [1]}, MODEL)


def test_weights_before_the_flow_time_are_answered_with_the_call():
    start = {"value": [[0, 0, 0.1]] * 2}
    with pytest.raises(TypeError, match=r"weights last: got dict, then list"):
        time_course(TASK, MODEL, start, [0, 1])
