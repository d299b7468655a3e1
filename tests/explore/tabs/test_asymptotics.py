"""The tab of asymptotics: its numbers are those of the package."""

import numpy as np
import pytest

from attndyn.explore.tabs.asymptotics import TAB
from attndyn.explore.tabs.asymptotics.settings_of_readouts import Ratios, Sizes, axis_of
from attndyn.theory.asymptotics import errors


def test_the_numbers_at_the_sliders_are_those_of_the_script():
    given = {"kappa": 2.0, "ridge": 0.03, "tau": 2.0, "dimension": 6}
    names: dict = {}
    exec(TAB.in_python(TAB.settings(given)), names)
    answer = {}
    for part in ("limit", "flow"):
        answer |= TAB.respond(given, part)
    assert answer["here"]["icl"] == pytest.approx(float(names["limit"].icl), 1e-6)
    assert answer["here"]["idg"] == pytest.approx(float(names["limit"].idg), 1e-6)
    assert answer["icl_at_best_ridge"] == pytest.approx(
        float(np.min(names["over_ridges"].icl)), 1e-6
    )
    assert answer["stop"]["theta"] == pytest.approx(names["stop"].theta, 1e-6)


def test_the_default_is_the_example_of_the_page_on_asymptotics():
    answer = TAB.respond({}, "limit") | TAB.respond({}, "flow")
    assert answer["here"]["icl"] == pytest.approx(2.454, abs=5e-4)
    assert answer["stop"]["error"] == pytest.approx(0.770, abs=5e-4)
    assert answer["stop"]["theta"] == pytest.approx(1.2, abs=0.05)
    assert answer["stop"]["end"] == pytest.approx(answer["here"]["icl"], 1e-6)


@pytest.mark.parametrize("over", ["tau", "kappa", "alpha"])
def test_the_curve_passes_through_the_value_at_the_sliders(over):
    given = {"over": over, "ridge": 0.1, "tau": 4.0, "kappa": 2.0}
    answer = TAB.respond(given, "limit", moving=True)
    here = TAB.settings(given)[over]
    for name in ("icl", "idg"):
        drawn = np.interp(here, answer["x"], answer[name])
        assert drawn == pytest.approx(answer["here"][name], rel=2e-3)
    assert np.all(np.array(answer["icl_best"]) <= answer["icl"])
    assert np.all(np.array(answer["bayes"]) < answer["icl_best"])


def test_bayes_error_is_that_of_the_page():
    answer = TAB.respond({"alpha": 2.0, "noise": 0.1}, "limit")
    assert answer["bayes"][0] == pytest.approx(0.184, abs=5e-4)


def test_fits_to_data_are_near_the_equivalent_and_the_limit():
    given = {"dimension": 6, "ridge": 0.1, "kappa": 2.0}
    finite = TAB.respond(given, "finite")
    for x, fit in zip(finite["fit_x"], finite["fits"], strict=True):
        predicted = np.interp(x, finite["equivalent_x"], finite["equivalent_icl"])
        assert abs(fit["icl"] - predicted) < 5 * fit["icl_error"] + 0.06 * predicted
    assert finite["sizes"] == {
        "dimension": 6,
        "context": 24,
        "tasks": 12,
        "sequences": 45,
    }
    limit = TAB.respond(given, "limit")
    at = np.interp(finite["equivalent_x"], limit["x"], limit["icl"])
    assert np.allclose(finite["equivalent_icl"], at, rtol=0.2)
    assert len(finite["fits"]) >= 6


def test_no_point_of_an_axis_is_the_pole():
    assert 1.0 not in axis_of("tau")
    # So that the axis itself is never refused.
    errors(tau=axis_of("tau"), alpha=1, kappa=1, noise=0)


def test_the_pole_is_named_at_the_sliders_and_the_curve_stays():
    answer = TAB.respond({"tau": 1.0}, "limit")
    assert "pole at tau = 1" in answer["here"]["refused"]
    assert np.all(np.isfinite(answer["icl"]))


def test_integers_at_a_finite_size_have_enough_prompts():
    few = Sizes.of(Ratios(tau=0.1, alpha=4, kappa=8, noise=0.1, ridge=0), 6)
    assert (few.tasks, few.sequences, few.has_errors(0.0)) == (48, 4, False)
    pole = Sizes.of(Ratios(tau=1, alpha=4, kappa=1, noise=0.1, ridge=0), 6)
    assert (pole.has_errors(0.0), pole.has_errors(0.1)) == (False, True)


def test_a_fresh_task_in_each_prompt_has_one_error():
    answer = TAB.respond({"kappa": "inf"}, "limit")
    assert answer["here"]["gap"] == pytest.approx(0, abs=1e-9)
    assert "D, N, k, P = 6, 24, None, 45" in TAB.in_python(
        TAB.settings({"kappa": "inf", "dimension": 6})
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"noise": -1}, "noise ρ must be a number from 0.0 to 1.0, not -1"),
        ({"kappa": 100}, "tasks κ must be a number from 0.125 to 16.0, or inf"),
        ({"depth": 1}, "there is no setting 'depth'"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_a_sentence(given, says):
    with pytest.raises(ValueError, match=says):
        TAB.respond(given, "limit")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tau": 1.0}, "the errors have a pole"),
        ({"tau": 0.2, "kappa": 16.0, "dimension": 6}, "fewer prompts than tasks"),
    ],
)
def test_the_script_of_settings_without_errors_runs_and_says_so(given, says):
    script = TAB.in_python(TAB.settings(given))
    assert says in script
    # The search for the best time takes a third of a second, and is the same anywhere.
    lines = [line for line in script.split("\n") if "stop = " not in line]
    exec("\n".join(line for line in lines if "stop.theta" not in line), {})
