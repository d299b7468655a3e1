"""The tab of softmax heads: its numbers are those of the package, whatever the accuracy they are drawn with."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.explore.tabs.softmax_attention import TAB
from attndyn.theory.softmax_attention import exact_loss

SETTINGS = {"until": 100.0, "batch": 10}
DEAR = ("reduced_flow(", "exact_optimum(", "flow.", "best.", "overlay(")
"""What a script has in lines that take seconds: the browser's tests run them."""


@pytest.fixture(scope="module")
def answer():
    """The parts at rest but the best heads."""
    found = {}
    for part in ("plane", "run", "flow"):
        found |= TAB.respond(SETTINGS, part)
    return found


def test_the_run_is_that_of_the_script(answer):
    script = TAB.in_python(TAB.settings(SETTINGS))
    lines = [line for line in script.split("\n") if not any(d in line for d in DEAR)]
    names = {}
    exec("\n".join(lines), names)
    assert np.allclose(answer["loss_of_prompts"], names["run"].loss, rtol=1e-6)
    assert np.allclose(answer["flow_time"], names["times"], rtol=1e-6)
    assert not answer["diverged"]


@pytest.mark.parametrize(("moving", "off"), [(True, 3e-3), (False, 3e-4)])
def test_quick_flows_are_accurate_enough_to_be_drawn(answer, moving, off):
    quick = TAB.respond(SETTINGS, "plane", moving)
    assert np.max(np.abs(np.subtract(quick["loss"], answer["exact_loss"]))) < off


def test_the_flow_has_the_recorded_losses_of_reduced_flow(answer):
    # reduced_flow at D = 5, N = 40, σ² = 0.1 from ω = (1, −0.8)·0.01/√5, μ = (1, −0.8)·0.01.
    recorded = {0.9857119: 1.099662687, 10.14495: 0.604043607, 100.0: 0.249793772}
    for time, loss in recorded.items():
        place = answer["flow_time"].index(time)
        assert answer["exact_loss"][place] == pytest.approx(loss, abs=2e-6)


def test_the_plane_is_the_exact_loss_of_a_pair():
    plane = TAB.respond({}, "plane")["plane"]
    task = Task(
        [1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40
    )
    assert plane["pair"]
    for column, mu in ((50, 1.3), (72, 0.7)):
        omega = plane["omega"][column]
        drawn = plane["zero_loss"] - 2 * plane["signal"][column] * mu
        drawn += plane["square"][column] * mu**2
        exact = float(exact_loss(task, [omega, -omega], [mu, -mu]))
        assert drawn == pytest.approx(exact, abs=1e-4)
        # One head alone would be another number.
        assert abs(drawn - float(exact_loss(task, [omega], [mu]))) > 0.01


def test_contours_have_their_loss(answer):
    plane = answer["plane"]
    for contour in plane["contours"]:
        for line in contour["lines"]:
            omega, mu = np.transpose(line)
            signal = np.interp(omega, plane["omega"], plane["signal"])
            square = np.interp(omega, plane["omega"], plane["square"])
            loss = plane["zero_loss"] - 2 * signal * mu + square * mu**2
            assert np.allclose(loss, contour["loss"], atol=0.02)


def test_the_best_heads_are_those_of_the_page_on_softmax_heads():
    answer = TAB.respond({}, "limits")
    assert answer["two_heads"]["loss"] == pytest.approx(0.242824, abs=1e-6)
    assert answer["two_heads"]["omega"][0] == pytest.approx(0.0712, abs=1e-4)
    assert answer["one_head"]["loss"] == pytest.approx(0.403963, abs=1e-6)
    assert answer["plain_step"] == pytest.approx(0.239785, abs=1e-6)
    assert answer["bayes"] == pytest.approx(0.1144, abs=1e-4)


def test_heads_of_one_sign_are_trapped_at_the_loss_of_one_head():
    trapped = TAB.respond({"start": "one", "until": 1e3}, "flow")
    assert trapped["phases"]["trapped"]
    assert trapped["exact_loss"][-1] == pytest.approx(0.403963, abs=1e-5)
    plane = TAB.respond({"start": "one", "until": 1e3}, "plane", moving=True)["plane"]
    assert not plane["pair"]


def test_a_run_at_too_large_a_rate_is_named_so():
    assert TAB.respond({"rate": 5.0, "batch": 10}, "run")["diverged"]


def test_a_run_goes_to_twice_the_predicted_drop(answer):
    assert answer["weight_time"][-1] > 1.9 * answer["predicted_drop"]


def test_heads_at_metric_1_are_those_of_scores_over_root_d():
    settings = TAB.settings(SETTINGS | {"metric": "euclidean"})
    names = {}
    begin = TAB.in_python(settings).split("model = ")
    exec("from attndyn import Merged\nD = 5\nmodel = " + begin[1].split("\n")[0], names)
    assert names["model"].score_divisor == pytest.approx(5**-0.5)
    quick = TAB.respond(settings, "plane", moving=True)
    slow = TAB.respond(SETTINGS, "plane", moving=True)
    assert quick["predicted_drop"] == pytest.approx(slow["predicted_drop"] / 5**0.5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"context": 10}, "context N must be a whole number from 20 to 320, not 10"),
        ({"heads": 5}, "heads H must be a whole number from 1 to 4, not 5"),
        ({"start": "no"}, "both or one or random"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_a_sentence(given, says):
    with pytest.raises(ValueError, match=says):
        TAB.respond(given, "plane")
