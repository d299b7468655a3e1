"""The tab of modes: its numbers are those of the package."""

import numpy as np
import pytest

from attndyn.explore.tabs.linear_transformer import TAB
from attndyn.explore.tabs.linear_transformer.parts import half_learned

FEW = {"sequences": 500}
SGD = {"training": "sgd", "inputs": [2.0, 1.0], "batch": 4, "context": 5}


def names_of(given):
    """The names that the script in Python leaves."""
    names = {}
    exec(TAB.in_python(TAB.settings(given)), names)
    return names


def test_a_run_and_its_theory_are_those_of_the_script():
    answer, names = TAB.respond(FEW), names_of(FEW)
    run, curve = names["run"], names["curve"]
    times = np.array(answer["run_time"])
    assert np.allclose(
        np.interp(times, run.flow_time, run.loss), answer["run_loss"], rtol=1e-6
    )
    # Between times of the run, a quarter of those of the curve, a straight line stands for it.
    at = np.array(answer["theory_time"]) < curve.flow_time[-1]
    expected = np.interp(answer["theory_time"], curve.flow_time, curve.loss)
    assert np.allclose(np.array(answer["theory_loss"])[at], expected[at], atol=5e-3)
    assert answer["theory_loss"][-1] == pytest.approx(curve.loss[-1], abs=1e-5)
    assert answer["steps"] == len(run.loss)


def test_infinitely_many_sequences_are_the_moments_of_the_theory():
    given = {"sequences": "inf", "rate": 0.002}
    answer = TAB.respond(given)
    assert np.allclose(answer["run_half"], answer["theory_half"], rtol=1e-2)
    assert answer["run_loss"][-1] == pytest.approx(answer["theory_loss"][-1], 1e-3)
    assert "population_statistics(task, model)" in TAB.in_python(TAB.settings(given))


def test_sgd_is_that_of_the_script():
    answer, names = TAB.respond(SGD), names_of(SGD)
    assert np.allclose(answer["run_loss"], names["loss"], rtol=1e-6)
    assert answer["theory_loss"][-1] == pytest.approx(names["flow"].loss[-1], 1e-6)
    assert 0 < answer["leading"] < answer["excess"]


def test_the_minimum_is_that_of_the_page_on_modes():
    answer = TAB.respond({}, "run", moving=True)
    assert answer["minimum"] == pytest.approx(0.553, abs=1e-3)
    assert np.round(answer["half_times"]["mean"], 1).tolist() == [1.3, 5.5, 23.1]
    losses = [point["loss"] for point in answer["points"]]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(answer["minimum"])
    assert len(losses) == 8


def test_the_soft_threshold_passes_through_what_the_minimum_learns():
    given = {"inputs": [1.0, 0.5, 0.2, 0.1], "context": 5, "noise": 0.1}
    answer = TAB.respond(given, "run", moving=True)
    curve = answer["threshold"]
    shares = np.interp(answer["variances"], curve["variance"], curve["share"])
    learned = np.array(answer["variances"]) * answer["coefficients"]
    assert np.allclose(shares, learned, atol=3e-3)
    assert answer["learned"] != [True] * 4


@pytest.mark.parametrize("given", [{"rate": 0.5}, SGD | {"rate": 0.2, "batch": 1}])
def test_a_run_that_diverges_is_named_so_and_drawn_up_to_there(given):
    answer = TAB.respond(given, "run")
    assert answer["diverged"]
    assert np.all(np.isfinite(answer["run_loss"]))
    assert max(answer["run_loss"]) <= 10 * answer["run_loss"][0]


def test_sgd_without_a_floor_says_why():
    answer = TAB.respond(SGD | {"rate": 0.1, "batch": 1}, "floor")
    assert "no floor" in answer["no_floor"]
    assert TAB.respond({}, "floor") == {}


def test_half_times_are_crossings_of_half_of_what_is_learned():
    a = np.array([[0.0, 0.0], [0.2, 0.1], [1.0, 0.1]])
    times = np.array([0.0, 1.0, 2.0])
    found = half_learned(times, a, np.array([1.2, 1.0]))
    assert found[0] == pytest.approx(1.5)
    assert np.isnan(found[1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inputs": []}, "must be a list of 1 to 6 numbers, not of 0"),
        ({"inputs": [9.0]}, "from 0.1 to 3.0, not 9.0"),
        ({"scale": 0}, "initial scale must be a number from 0.001 to 0.2, not 0"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_a_sentence(given, says):
    with pytest.raises(ValueError, match=says):
        TAB.respond(given, "run")


@pytest.mark.parametrize("training", ["full", "sgd"])
def test_a_single_mode_is_a_layer_of_one_output(training):
    given = {"training": training, "inputs": [2.0], "sequences": "inf"}
    answer, names = TAB.respond(given), names_of(given)
    assert answer["theory_loss"][-1] == pytest.approx(names["flow"].loss[-1], abs=1e-5)
    last = names["run"].loss[-1] if training == "full" else names["loss"][-1]
    assert answer["run_loss"][-1] == pytest.approx(last, rel=1e-6)
    assert answer["theory_half"][0] == pytest.approx(answer["run_half"][0], rel=0.3)


def test_sgd_on_long_contexts_ends_while_one_can_wait():
    given = {"training": "sgd", "inputs": [1.0] * 6, "context": 1000, "batch": 128}
    answer = TAB.respond(given, "run", moving=True)
    # 128 prompts of 1000 pairs in six dimensions are 768,000 numbers a step.
    assert answer["steps"] == 2e7 // 768_000
    assert answer["is_short"]
    assert "np.linspace(0, 260, 301)" in TAB.in_python(TAB.settings(given))
