"""One axis, one unit: curves of theory and simulation share a time axis only in the same unit."""

import copy
import pickle
from itertools import permutations

import matplotlib as mpl
import numpy as np
import pytest

from attndyn import Separate, Task
from attndyn.compare import overlay
from attndyn.compare.exact_statistics import population_statistics
from attndyn.runtime.time_axis import UNITS, draw_losses, unit_of
from attndyn.simulate import flow, initial_weights, train
from attndyn.theory import TimeCourse, time_course

mpl.use("Agg", force=True)

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

TASK, MODEL, RATE = Task([2, 1], trace=1.0, context_length=9), Separate(heads=2), 0.1
START = initial_weights(MODEL, TASK, 0.3, scheme="aligned")
STATS = population_statistics(TASK, MODEL)
DESCENT = train(MODEL, STATS, START, learning_rate=RATE, steps=200)
FLOW = flow(MODEL, STATS, START, np.linspace(0, 40, 101))
CURVE = time_course(TASK, MODEL, np.linspace(0, 40, 81), 0.3)
OVER = overlay(CURVE, DESCENT)
OVER_FLOW = overlay(CURVE, FLOW)
CURVES = {
    "descent": DESCENT,
    "flow": FLOW,
    "time course": CURVE,
    "overlay": OVER,
    "overlay of a flow": OVER_FLOW,
}
KNOWS_STEPS = {"descent", "overlay"}
OWN = {name: "steps" if name == "descent" else "flow_time" for name in CURVES}


@pytest.fixture
def ax():
    return Figure().add_subplot()


def times(curve, unit):
    """The times of what a curve draws, in a unit."""
    factor = 1 / (2 * RATE) if unit == "steps" else 1.0
    return np.asarray(curve.flow_time) * factor


@pytest.mark.parametrize("name", CURVES)
def test_every_curve_has_a_unit_of_its_own(ax, name):
    assert CURVES[name].plot(ax) is ax
    assert (ax.get_xlabel(), ax.get_ylabel(), unit_of(ax)) == (
        UNITS[OWN[name]],
        "loss",
        OWN[name],
    )
    for line in ax.lines:
        np.testing.assert_allclose(
            line.get_xdata(), times(CURVES[name], OWN[name]), rtol=1e-12
        )


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("unit", UNITS)
def test_every_curve_is_drawn_in_the_unit_that_is_asked_for_or_refused(ax, name, unit):
    if unit == "steps" and name not in KNOWS_STEPS:
        with pytest.raises(ValueError, match=r"no steps: draw .*x='flow_time'"):
            CURVES[name].plot(ax, x=unit)
        assert len(ax.lines) == 0
        return
    CURVES[name].plot(ax, x=unit)
    assert ax.get_xlabel() == UNITS[unit]
    np.testing.assert_allclose(
        ax.lines[0].get_xdata(), times(CURVES[name], unit), rtol=1e-12
    )


@pytest.mark.parametrize(("first", "second"), list(permutations(CURVES, 2)))
def test_no_two_curves_mix_units(ax, first, second):
    """The second takes the unit of the first, or is refused with the way out, which works."""
    CURVES[first].plot(ax)
    before = len(ax.lines)
    if OWN[first] == "steps" and second not in KNOWS_STEPS:
        with pytest.raises(
            ValueError, match=r"^these axes count steps: .*x='flow_time'"
        ):
            CURVES[second].plot(ax)
        assert (len(ax.lines), ax.get_xlabel()) == (before, "steps")
        ax.clear()
        CURVES[first].plot(ax, x="flow_time")
    CURVES[second].plot(ax)
    unit = unit_of(ax)
    spans = [line.get_xdata()[-1] for line in ax.lines]
    expected = [times(CURVES[name], unit)[-1] for name in (first, second)]
    assert set(np.round(spans, 9)) == set(np.round(expected, 9))


def test_another_unit_than_that_of_the_axes_is_refused(ax):
    DESCENT.plot(ax)
    with pytest.raises(
        ValueError,
        match="these axes count steps: draw with x='steps', or on other axes",
    ):
        DESCENT.plot(ax, x="flow_time")
    DESCENT.plot(ax, x="steps")
    assert len(ax.lines) == 2


@pytest.mark.parametrize("x", ["time", "", "flow time", 1, ["steps"]])
def test_an_unknown_unit_is_refused(ax, x):
    for curve in CURVES.values():
        with pytest.raises(
            ValueError, match="x must be one of 'steps', 'flow_time', not"
        ):
            curve.plot(ax, x=x)


def test_removed_curves_leave_no_unit(ax):
    DESCENT.plot(ax)
    ax.lines[0].remove()
    CURVE.plot(ax)
    assert ax.get_xlabel() == "flow time"
    ax.clear()
    assert DESCENT.plot(ax).get_xlabel() == "steps"


def test_lines_of_ones_own_have_no_unit(ax):
    ax.plot([0, 1], [0, 1])
    assert CURVE.plot(ax).get_xlabel() == "flow time"


def test_axes_that_share_their_time_share_its_unit():
    upper, lower = Figure().subplots(2, sharex=True)
    DESCENT.plot(upper)
    with pytest.raises(ValueError, match="these axes count steps"):
        CURVE.plot(lower)
    left, right = Figure().subplots(1, 2, sharey=True)
    DESCENT.plot(left)
    assert CURVE.plot(right).get_xlabel() == "flow time"
    other_values, other_times = left.twinx(), left.twiny()
    with pytest.raises(ValueError, match="these axes count steps"):
        FLOW.plot(other_values)
    assert FLOW.plot(other_times).get_xlabel() == "flow time"


def test_a_figure_that_is_pickled_keeps_its_unit(ax):
    DESCENT.plot(ax)
    again = pickle.loads(pickle.dumps(ax.figure))
    with pytest.raises(ValueError, match="these axes count steps"):
        CURVE.plot(again.axes[0])


@pytest.mark.parametrize("name", CURVES)
def test_style_goes_to_the_lines(ax, name):
    CURVES[name].plot(ax, lw=3, color="C3", label="mine")
    for line in ax.lines:
        assert (line.get_linewidth(), line.get_color()) == (3, "C3")
    # An overlay has a label for its theory already: the one that is given is the run's.
    labels = [line.get_label() for line in ax.lines]
    assert labels in (["mine"], ["theory", "mine"], ["mine", "theory"])


def test_a_dash_of_ones_own_takes_the_place_of_ours(ax):
    CURVE.plot(ax, ls=":")
    assert ax.lines[0].get_linestyle() == ":"
    assert CURVE.plot(ax).lines[1].get_linestyle() == "--"


def test_new_axes_are_made_if_none_are_given():
    for curve in CURVES.values():
        assert curve.plot().lines
    plt.close("all")


# Overlays: by what the two are


def test_either_order_gives_the_same_overlay():
    for run in (DESCENT, FLOW):
        one, two = overlay(CURVE, run), overlay(run, CURVE)
        assert (two.curve, two.run) == (CURVE, run)
        assert np.array_equal(one.predicted, two.predicted)
        assert np.array_equal(one.observed, two.observed)
        labels = [
            [line.get_label() for line in each.plot(Figure().add_subplot()).lines]
            for each in (one, two)
        ]
        assert (
            labels[0]
            == labels[1]
            == ["gradient descent" if run is DESCENT else "gradient flow", "theory"]
        )
    named = overlay(curve=DESCENT, run=CURVE)
    assert named.run is DESCENT
    assert np.array_equal(named.observed, DESCENT.loss)


def test_the_dashed_line_is_the_theory(ax):
    shifted = TimeCourse(
        CURVE.flow_time,
        CURVE.loss + 1,
        CURVE.amplitudes,
        CURVE.coefficients,
        CURVE.source,
    )
    overlay(DESCENT, shifted).plot(ax)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["theory"].get_linestyle() == "--"
    assert lines["theory"].get_ydata().min() > 1
    assert lines["gradient descent"].get_ydata().max() < 1.1


@pytest.mark.parametrize(
    ("pair", "names"),
    [
        ((DESCENT, FLOW), "Trajectory and Trajectory"),
        ((CURVE, CURVE), "TimeCourse and TimeCourse"),
        ((CURVE, OVER), "TimeCourse and Overlay"),
        ((None, DESCENT), "NoneType and Trajectory"),
        ((CURVE, CURVE.loss), "TimeCourse and ndarray"),
    ],
)
def test_two_of_a_kind_are_refused(pair, names):
    with pytest.raises(
        TypeError,
        match=rf"overlay takes one predicted curve .* and one Trajectory .*, not {names}$",
    ):
        overlay(*pair)


def test_the_times_of_a_curve_may_come_in_any_order():
    order = np.random.default_rng(0).permutation(len(CURVE.flow_time))
    order = np.concatenate([order, order[:5]])  # and more than once
    shuffled = copy.copy(CURVE)
    shuffled = TimeCourse(
        CURVE.flow_time[order],
        CURVE.loss[order],
        CURVE.amplitudes[order],
        CURVE.coefficients[order],
        CURVE.source,
    )
    assert np.array_equal(overlay(shuffled, DESCENT).predicted, OVER.predicted)


def test_a_legend_may_be_left_out(ax):
    assert OVER.plot(ax, legend=False).get_legend() is None
    assert OVER.plot(ax).get_legend() is not None


def test_a_curve_without_points_is_drawn_as_nothing(ax):
    draw_losses(ax, {"steps": np.zeros(0)}, {"": (np.zeros(0), {})}, None, "")
    assert unit_of(ax) == "steps"
