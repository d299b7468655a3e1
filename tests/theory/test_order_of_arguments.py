"""Theory is asked about a task first: another order is answered with the right call."""

from inspect import signature

import pytest

from attndyn import Separate, Task
from attndyn.theory import (
    feature_moments,
    fixed_point,
    fixed_points,
    learned_prediction,
    pool_posterior,
    population,
    staircase,
    time_course,
)
from attndyn.theory.linear_attention import conserved_quantities
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


def test_a_prediction_takes_the_prompts_first():
    x, y, query = [[[1.0, 0.0]]], [[1.0]], [[1.0, 0.0]]
    call = r"call learned_prediction\(x, y, query, task, model, subset\): got "
    with pytest.raises(TypeError, match=call + "Task, then Separate, then tuple"):
        learned_prediction(TASK, MODEL, (1,), x, y, query)
    with pytest.raises(TypeError, match=call + "list, .* then Separate, then Task"):
        learned_prediction(x, y, query, MODEL, TASK, (1,))


def test_a_task_before_the_prompts_and_weights_before_their_model():
    call = r"pool_posterior\(x, y, query, task\): got Task, then list"
    with pytest.raises(TypeError, match=call):
        pool_posterior(TASK, [[[1.0, 0.0]]], [[1.0]], [[1.0, 0.0]])
    call = r"conserved_quantities\(model, weights\): got dict, then Separate"
    with pytest.raises(TypeError, match=call):
        conserved_quantities({}, MODEL)


@pytest.mark.parametrize("function", [time_course, staircase])
def test_what_theory_starts_from_is_called_start(function):
    arguments = dict.fromkeys(("task", "model", "flow_time"))
    known = signature(function).parameters
    given = {name: value for name, value in arguments.items() if name in known}
    assert "start" in known
    with pytest.raises(TypeError, match="'initial'"):
        function(**given, initial=0.1)
