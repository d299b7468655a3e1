"""Curves and runs that were made with other conventions, and those that do not say with which."""

import re
from dataclasses import replace

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare import overlay
from attndyn.compare.conventions import stated_task_of, task_differences
from attndyn.simulate import (
    GradientDescent,
    external_run,
    initial_weights,
    sample,
    symmetric_weights,
    train,
)
from attndyn.teachers import Sphere
from attndyn.theory import time_course
from attndyn.theory.softmax_attention import ReducedFlow, reduced_flow

SETTINGS = {
    "eigenvalues": [1, 1, 1],
    "teacher_covariance": [1 / 3] * 3,
    "noise_variance": 0.1,
    "context_length": 12,
}
HEADS = ([0.1, -0.12], [0.1, -0.08])


def task_of(**changes):
    settings = SETTINGS | changes
    return Task(
        **settings | {"teacher_covariance": np.diag(settings["teacher_covariance"])}
    )


TASK = task_of()
MODEL = Merged(2, softmax=True, query_token=False)


def run_of(model=MODEL, task=TASK, **options):
    """Two steps of descent from the symmetric family."""
    start = symmetric_weights(model, task, *HEADS)
    options = options or {"learning_rate": 0.1}
    return train(model, sample(task, 20), start, steps=2, **options)


@pytest.fixture(scope="module")
def run():
    return run_of()


def flow_of(run, task=TASK, **options):
    """The flow on the cheap approximate loss, at the times of a run."""
    heads = HEADS if "heads" not in options else options.pop("heads")
    return reduced_flow(task, *heads, run.flow_time, loss="approximate", **options)


def test_a_curve_with_the_run_s_own_conventions_is_taken(run):
    both = overlay(flow_of(run), run)
    assert both.notes == ()
    assert "note" not in repr(both)
    assert both.to_dict()["notes"] == []


OTHER_TASKS = {
    "context_length = 13 and the run context_length = 12": {"context_length": 13},
    "noise_variance = 0.2 and the run noise_variance = 0.1": {"noise_variance": 0.2},
    "query_noise_variance = 0.0 and the run query_noise_variance = 0.1": {
        "query_noise_variance": 0
    },
    "dimension = 4 and the run dimension = 3": {
        "eigenvalues": [1] * 4,
        "teacher_covariance": [1 / 4] * 4,
    },
    "covariance = [2., 2., 2.] and the run covariance = [1., 1., 1.]": {
        "eigenvalues": [2, 2, 2]
    },
    "teacher_covariance = [1., 1., 1.] and": {"teacher_covariance": [1, 1, 1]},
}


@pytest.mark.parametrize("message", OTHER_TASKS)
def test_a_curve_of_another_task_is_refused(message, run):
    other = flow_of(run, task_of(**OTHER_TASKS[message]))
    with pytest.raises(ValueError, match=re.escape(f"the curve has {message}")):
        overlay(other, run)


def test_a_curve_of_other_heads_is_refused(run):
    one_head = flow_of(run, heads=([0.1], [0.1]))
    with pytest.raises(ValueError, match="has heads = 1 and the run heads = 2"):
        overlay(one_head, run)
    for metric in ("euclidean", 0.2):
        with pytest.raises(
            ValueError, match=r"metric = .* and the run metric = 0\.333"
        ):
            overlay(flow_of(run, metric=metric), run)
    own = reduced_flow(TASK, *HEADS, run.flow_time, query_token=True)
    with pytest.raises(
        ValueError, match="has query_token = True and the run query_token = False"
    ):
        overlay(own, run)


def test_the_divisor_of_scores_sets_the_metric():
    """ρ = 1/(D s²): a curve for s = 1 has another clock than a run with s = √(D+1)."""
    divided = run_of(Merged(2, softmax=True, query_token=False, score_divisor=2))
    with pytest.raises(ValueError, match=r"and the run metric = 0\.0833333"):
        overlay(flow_of(divided), divided)
    assert overlay(flow_of(divided, metric=1 / 12), divided).notes == ()


def test_weight_decay_is_compared():
    decayed = run_of(optimizer=GradientDescent(0.1, weight_decay=0.1))
    with pytest.raises(
        ValueError, match=r"weight_decay = 0\.0 and the run weight_decay"
    ):
        overlay(flow_of(decayed), decayed)


def test_a_time_course_is_of_one_model():
    task, model = Task([2, 1], context_length=9), Separate(2)
    start = initial_weights(model, task, 0.1)
    run = train(model, sample(task, 20), start, learning_rate=0.1, steps=3)
    own = time_course(task, model, run.flow_time, 0.1)
    assert overlay(own, run).notes == ()
    tokens = time_course(task, Separate(2, divisor="tokens"), run.flow_time, 0.1)
    with pytest.raises(ValueError, match="divisor = tokens and the run divisor = cont"):
        overlay(tokens, run)
    with pytest.raises(ValueError, match="has model = Merged and the run model = Sep"):
        overlay(time_course(task, Merged(2), run.flow_time, 0.1), run)
    softmax = flow_of(run, Task([2, 2], context_length=9))
    with pytest.raises(ValueError, match="covariance"):
        overlay(softmax, run)


def test_a_reduced_flow_over_linear_attention_is_refused():
    model = Merged(2)
    start = initial_weights(model, TASK, 0.1)
    linear = train(model, sample(TASK, 20), start, learning_rate=0.1, steps=2)
    with pytest.raises(ValueError, match="softmax = True and the run softmax = False"):
        overlay(flow_of(linear), linear)


def test_what_is_not_known_is_said_once(run, tmp_path):
    outside = external_run(run.loss, learning_rate=0.1)
    (note,) = overlay(flow_of(run), outside).notes
    assert note == (
        "the run does not state its task and model, which were not compared"
    )
    silent = replace(flow_of(run), settings={})
    (note,) = overlay(silent, run).notes
    assert "the curve does not state its task" in note
    # The settings are in its file.
    read = ReducedFlow.load(flow_of(run).save(tmp_path / "flow.npz"))
    assert overlay(read, run).notes == ()
    # A user may say what a run of other code was trained on.
    stated = outside.with_settings({"task": TASK.to_dict(), "model": repr(MODEL)})
    assert overlay(flow_of(run), stated).notes == ()


def test_another_start_and_other_keys_are_said(run):
    elsewhere = flow_of(run, heads=([0.1, -0.13], [0.1, -0.08]))
    (note,) = overlay(elsewhere, run).notes
    assert note == (
        "the curve starts at ω = [ 0.1 , -0.13] and the run at ω = [ 0.1 , -0.12]"
    )
    separate = run_of(Separate(2, rank=3, softmax=True, query_token=False))
    (note,) = overlay(flow_of(separate), separate).notes
    assert "of merged key and query" in note


def test_tasks_are_compared_as_numbers():
    spelled = Task(["2/5", "1/5"], context_length=9, noise_variance="1/10")
    numbers = Task([4, 2], trace=0.6, context_length=9, noise_variance=0.1)
    assert task_differences(spelled, numbers) == ()
    lengths = Task([2, 1], context_length="5..9"), Task([2, 1], context_length=9)
    assert [each.name for each in task_differences(*lengths)] == ["context_length"]
    sphere = Task([2, 1], context_length=9, teachers=Sphere(2))
    assert task_differences(sphere, sphere) == ()
    names = [
        each.name for each in task_differences(sphere, Task([2, 1], context_length=9))
    ]
    assert names[0] == "teachers"
    uniform = Task([2, 1], context_length=9, inputs="uniform")
    (difference,) = task_differences(uniform, Task([2, 1], context_length=9))
    assert difference.name == "inputs"


@pytest.mark.parametrize(
    "settings", [{}, {"task": 3}, {"task": {"size": 2}}, {"task": {"eigenvalues": 0}}]
)
def test_settings_without_a_task_state_none(settings):
    assert stated_task_of(settings) is None
