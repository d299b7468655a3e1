"""The tab of linear attention: its numbers are those of the package, and a rate that is too large is named."""

import math
from functools import cache

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare import overlay, population_statistics
from attndyn.explore.tabs.linear_attention import CONTROLS, TAB
from attndyn.explore.tabs.linear_attention.problems import MOST_PAIRS
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import fixed_points, population, time_course

# A relative 5e-7 is the rounding of an answer.
TO_ROUNDING = 1e-6

SETTINGS = {
    "separate": {"sequences": 2000},
    "merged": {"model": "merged", "sequences": math.inf},
    "rank two": {"rank": 2, "scale": 0.2, "sequences": math.inf},
    "unsorted, with noise": {
        "eigenvalues": [1, 4, 2],
        "noise": 0.2,
        "scale": 0.2,
        "sequences": 2000,
    },
    "merged, unsorted, with noise": {
        "model": "merged",
        "eigenvalues": [1, 4, 2],
        "noise": 0.2,
        "sequences": 2000,
    },
}


@cache
def answer(name):
    return TAB.respond(SETTINGS[name])


def problem(name):
    """Task, model, start and statistics of the settings, as a user would make them."""
    settings = TAB.settings(SETTINGS[name])
    task = Task(
        settings["eigenvalues"],
        trace=1.0,
        context_length=settings["context"],
        noise_variance=settings["noise"],
    )
    model = Separate(heads=settings["heads"], rank=settings["rank"])
    if settings["model"] == "merged":
        model = Merged(heads=settings["heads"])
    start = initial_weights(model, task, scale=settings["scale"], seed=settings["seed"])
    if settings["sequences"] == math.inf:
        data = population_statistics(task, model)
    else:
        data = statistics(sample(task, settings["sequences"], seed=0), model)
    return task, model, start, data, settings["rate"]


def largest_difference(first, second):
    return float(np.max(np.abs(np.asarray(first) - second)))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_theory_is_that_of_time_course(name):
    task, model, start, _, _ = problem(name)
    drawn = answer(name)
    times = np.array(drawn["flow_time"])
    course = time_course(task, model, times, start)
    scale = np.max(np.abs(course.coefficients))
    assert largest_difference(drawn["predicted_loss"], course.loss) < TO_ROUNDING
    coefficients = np.array(drawn["predicted_coefficients"]).T
    assert largest_difference(coefficients, course.coefficients) < TO_ROUNDING * scale


@pytest.mark.parametrize("name", SETTINGS)
def test_the_run_is_that_of_train(name):
    task, model, start, data, rate = problem(name)
    drawn = answer(name)
    run = train(model, data, start, learning_rate=rate, steps=drawn["steps"])
    loss = np.interp(drawn["flow_time"], run.flow_time, run.loss)
    assert largest_difference(drawn["loss"], loss) < TO_ROUNDING
    course = time_course(task, model, run.flow_time, start)
    gap = overlay(course, run).l2_gap
    assert drawn["gap"] == pytest.approx(gap, rel=0.02)


@pytest.mark.parametrize("name", SETTINGS)
def test_maps_and_coefficients_belong_to_the_losses(name):
    task, model, *_ = problem(name)
    loss = population(task, model)
    drawn = answer(name)
    spacing = drawn["map_spacing"]
    predicted = np.array(drawn["predicted_maps"])
    expected = np.array(drawn["predicted_loss"])[::spacing]
    # Maps have the digits that colours show.
    assert largest_difference(loss.loss(predicted), expected) < 1e-3
    directions = loss.directions
    own = np.einsum("id,tij,jd->dt", directions, np.array(drawn["maps"]), directions)
    coefficients = np.array(drawn["coefficients"])[:, ::spacing]
    assert largest_difference(own, coefficients) < 1e-2
    assert (
        largest_difference(loss.loss(np.array(drawn["minimum"])), loss.minimum_loss)
        < 1e-3
    )


def test_plateaus_and_other_fixed_points_are_all_of_them():
    task, model, *_ = problem("unsorted, with noise")
    drawn = answer("unsorted, with noise")
    shown = [plateau["loss"] for plateau in drawn["plateaus"]] + drawn["others"]
    losses = [point.loss for point in fixed_points(task, model)]
    assert np.allclose(sorted(shown), losses, rtol=TO_ROUNDING)
    assert drawn["plateaus"][0]["subset"] == []
    times = [plateau["theory"] for plateau in drawn["plateaus"]]
    assert times[-1] is None
    assert times[:-1] == sorted(times[:-1])
    for plateau in drawn["plateaus"][:-1]:
        assert plateau["run"] == pytest.approx(plateau["theory"], rel=0.2)


@pytest.mark.parametrize("name", ["separate", "merged"])
def test_the_same_in_python_runs_and_gives_the_same(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(TAB.in_python(TAB.settings(SETTINGS[name])), names)
    drawn = answer(name)
    run, curve = names["run"], names["curve"]
    assert len(run.loss) == drawn["steps"]
    times = np.array(drawn["flow_time"])
    loss = np.interp(times, run.flow_time, run.loss)
    assert largest_difference(drawn["loss"], loss) < TO_ROUNDING
    predicted = np.interp(times, curve.flow_time, curve.loss)
    assert largest_difference(drawn["predicted_loss"], predicted) < TO_ROUNDING
    assert (tmp_path / "overlay.png").stat().st_size > 1000


@pytest.mark.parametrize("rate", [5.0, 20.0])
def test_an_unstable_run_is_named_and_a_rate_that_is_stable(rate):
    settings = {"rate": rate, "sequences": 2000}
    drawn = TAB.respond(settings)
    assert not drawn["is_stable"]
    assert drawn["gap"] is None
    assert all(plateau["run"] is None for plateau in drawn["plateaus"])
    calm = TAB.respond(settings | {"rate": drawn["stable_rate"]})
    assert calm["is_stable"]
    assert drawn["flow_time"][-1] == pytest.approx(calm["flow_time"][-1], rel=1e-3)
    assert f"learning_rate={drawn['stable_rate']} is stable" in TAB.in_python(
        TAB.settings(settings)
    )


def test_a_moving_slider_has_fewer_prompts_unless_more_are_drawn():
    settings = {"context": 7, "sequences": 5000}
    assert TAB.respond(settings, "run", moving=True)["sequences"] == 2000
    assert TAB.respond(settings, "run")["sequences"] == 5000
    moved = settings | {"seed": 7}
    assert TAB.respond(moved, "run", moving=True)["sequences"] == 5000


def test_a_moving_slider_has_nearly_the_same_theory():
    settings = SETTINGS["merged"]
    coarse = TAB.respond(settings, "theory", moving=True)
    fine = TAB.respond(settings, "theory")
    difference = largest_difference(coarse["predicted_loss"], fine["predicted_loss"])
    assert difference < 1e-3


def test_too_many_pairs_are_refused():
    most = MOST_PAIRS // 200 // 1000 * 1000
    with pytest.raises(ValueError, match=f"choose at most {most:,}, or ∞"):
        TAB.respond({"context": 200, "sequences": 100_000}, "run")


@pytest.mark.parametrize(
    "settings",
    [
        {"eigenvalues": [10], "heads": 1},
        {"eigenvalues": [2, 2, 2], "sequences": math.inf},
        {"heads": 1, "context": 1, "noise": 2.0, "sequences": 500},
        {"scale": 1.0, "rate": 0.005, "sequences": math.inf},
        {"model": "merged", "heads": 1, "scale": 1.0},
        {"model": "merged", "scale": 0.0005, "rate": 100.0},
    ],
)
def test_corners_have_an_answer(settings):
    drawn = TAB.respond(settings)
    shown = [value for value in drawn["loss"] if value is not None]
    assert shown
    assert len(drawn["predicted_loss"]) == len(drawn["flow_time"])
    assert np.all(np.diff(drawn["flow_time"]) > 0)


def test_every_end_of_a_slider_is_allowed():
    for control in CONTROLS:
        if hasattr(control, "symbol"):
            assert control.checked(control.values[: control.most])
        elif hasattr(control, "values"):
            for value in (control.values[0], control.values[-1], control.default):
                assert control.checked(value) == value


def test_every_stored_setting_is_allowed():
    for grid in TAB.stored:
        for name, values in grid.items():
            for value in values:
                assert TAB.settings({name: value})[name] == value


def test_eigenvalues_of_many_digits_stand_in_the_script():
    settings = TAB.settings({"eigenvalues": [1.23456789, 3]})
    assert "Task([1.23456789, 3], " in TAB.in_python(settings)
