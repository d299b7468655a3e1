"""Theory over simulation: what the two share, how far apart they are, and that a wrong curve shows."""

import json
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare import Overlay, overlay
from attndyn.compare.claims.linear_attention.common.controls import (
    TRACE_DROPPED,
    wrong_moments,
)
from attndyn.compare.evidence.claim import UNMODIFIED
from attndyn.compare.exact_statistics import population_statistics
from attndyn.compare.metrics.curves import exit_times
from attndyn.simulate import (
    external_run,
    flow,
    initial_weights,
    sample,
    statistics,
    train,
)
from attndyn.simulate.attention.initialisation import restricted
from attndyn.teachers import Pool
from attndyn.theory import TimeCourse, population, staircase, time_course

TASK = Task([4, 3, 2, 1], trace=1.0, context_length=31)
SEPARATE = Separate(heads=4)
MERGED = Merged(heads=3)
AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
TIMES = np.linspace(0, 1500, 601)


@pytest.fixture(scope="module")
def run():
    """Gradient flow on exact statistics from four aligned heads."""
    start = initial_weights(SEPARATE, TASK, AMPLITUDES, scheme="aligned")
    return flow(SEPARATE, population_statistics(TASK, SEPARATE), start, TIMES)


@pytest.fixture(scope="module")
def both(run):
    return overlay(time_course(TASK, SEPARATE, TIMES, AMPLITUDES), run)


def staircase_losses():
    """Losses after the smallest direction, which starts largest, and so on: the order in which these heads grow."""
    moments = population(TASK, SEPARATE)
    order = np.argsort(1 / (moments.b * AMPLITUDES))
    return np.array([moments.c, *(moments.c - np.cumsum(moments.gains[order]))])


def test_the_closed_form_lies_on_the_flow(both, run):
    assert isinstance(both, Overlay)
    assert np.array_equal(both.flow_time, TIMES)
    assert np.array_equal(both.observed, run.loss)
    assert both.sup_gap < 1e-10
    assert both.l2_gap <= both.sup_gap
    assert run.loss[0] - run.loss[-1] > 0.8  # there was something to follow


WRONG = {
    "another context length": (
        Task([4, 3, 2, 1], trace=1.0, context_length=32),
        AMPLITUDES,
        1.0,
    ),
    "another spectrum": (
        Task([4, 3, 2, 1.1], trace=1.0, context_length=31),
        AMPLITUDES,
        1.0,
    ),
    "other amplitudes": (TASK, AMPLITUDES * 1.01, 1.0),
    "t = η·step": (TASK, AMPLITUDES, 0.5),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_curve_does_not(run, name):
    task, amplitudes, factor = WRONG[name]
    curve = time_course(task, SEPARATE, factor * TIMES, amplitudes)
    wrong = overlay(
        TimeCourse(
            TIMES, curve.loss, curve.amplitudes, curve.coefficients, curve.source
        ),
        run,
    )
    assert wrong.sup_gap > 1e-3
    assert 1e-4 < wrong.l2_gap < wrong.sup_gap


def test_a_merged_curve_lies_on_a_merged_flow():
    times = np.linspace(0, 60, 200)
    start = initial_weights(MERGED, TASK, 1e-4, seed=1, scheme="restricted")
    run = flow(MERGED, population_statistics(TASK, MERGED), start, times)
    assert overlay(time_course(TASK, MERGED, times, start), run).sup_gap < 1e-4
    wrong = {name: 1.1 * value for name, value in start.items()}
    assert overlay(time_course(TASK, MERGED, times, wrong), run).sup_gap > 1e-2


def test_descent_is_held_at_twice_rate_times_step():
    """The gap to the flow falls with the learning rate at first order; at t = η·step it does not fall at all."""
    start = initial_weights(SEPARATE, TASK, AMPLITUDES, scheme="aligned")
    gaps, wrong = [], []
    for rate in (0.2, 0.1, 0.05):
        steps = round(300 / (2 * rate))
        run = train(
            SEPARATE,
            population_statistics(TASK, SEPARATE),
            start,
            learning_rate=rate,
            steps=steps,
            record=steps,
        )
        gaps.append(
            overlay(time_course(TASK, SEPARATE, run.flow_time, AMPLITUDES), run).sup_gap
        )
        curve = time_course(TASK, SEPARATE, run.flow_time / 2, AMPLITUDES)
        shifted = TimeCourse(
            run.flow_time,
            curve.loss,
            curve.amplitudes,
            curve.coefficients,
            curve.source,
        )
        wrong.append(overlay(shifted, run).sup_gap)
    orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
    np.testing.assert_allclose(orders, 1.0, atol=0.1)
    assert min(wrong) > 0.1


# Times that the two do not share


def test_only_shared_times_count(run):
    curve = time_course(TASK, SEPARATE, TIMES[100:300], AMPLITUDES)
    partial = overlay(curve, run)
    assert np.array_equal(partial.flow_time, TIMES[100:300])
    assert np.array_equal(partial.observed, run.loss[100:300])
    assert partial.sup_gap < 1e-10


def test_between_its_times_the_curve_is_a_straight_line(run):
    curve = time_course(TASK, SEPARATE, TIMES[::2], AMPLITUDES)
    coarse = overlay(curve, run)
    middle = (curve.loss[:-1] + curve.loss[1:]) / 2
    np.testing.assert_allclose(coarse.predicted[1::2], middle, rtol=1e-12)
    assert np.array_equal(coarse.predicted[::2], curve.loss)
    assert coarse.sup_gap > 1e-5  # the price, which falls as the square of the spacing


@pytest.mark.parametrize("times", [[1600.0, 1700.0], [0.3, 0.4], [1500.0, 1600.0]])
def test_no_shared_times_are_an_error(run, times):
    with pytest.raises(
        ValueError,
        match=r"must cover two flow times of the run.* they span \[.*\] and \[0, 1500\]",
    ):
        overlay(time_course(TASK, SEPARATE, times, AMPLITUDES), run)


def test_one_shared_time_is_too_few_and_is_not_called_none(run):
    with pytest.raises(ValueError, match="must cover two flow times"):
        overlay(time_course(TASK, SEPARATE, [TIMES[3]], AMPLITUDES), run)


def test_a_run_whose_times_are_in_disorder_is_refused(run):
    lines = {
        "time": run.time[::-1],
        "loss": run.loss[::-1],
        "gradient_norm": run.gradient_norm[::-1],
    }
    with pytest.raises(
        ValueError,
        match="time of a run must be finite, begin at 0 or later, and increase",
    ):
        replace(run, **lines)


# What is read off


def test_exit_times_of_both_curves(both):
    predicted, observed = both.exit_times(staircase_losses())
    assert predicted.shape == (4,)
    assert np.all(np.diff(predicted) > 0)
    np.testing.assert_allclose(observed, predicted, rtol=1e-8)
    assert np.array_equal(
        predicted, exit_times(TIMES, both.predicted, staircase_losses())
    )
    cut = overlay(
        time_course(TASK, SEPARATE, TIMES[predicted[2] > TIMES], AMPLITUDES), both.run
    )
    assert np.isnan(cut.exit_times(staircase_losses())[1]).tolist() == [
        False,
        False,
        True,
        True,
    ]


def test_plateau_heights_are_those_of_the_run():
    """From small amplitudes, far enough apart in time, the run rests at the losses of the fixed points."""
    moments, wrong = (
        wrong_moments(TASK, SEPARATE, name) for name in (UNMODIFIED, TRACE_DROPPED)
    )
    amplitudes = np.array([0.05, 0.02, 0.012, 0.01])
    times = np.linspace(0, 30_000, 3001)
    start = initial_weights(SEPARATE, TASK, amplitudes, scheme="aligned")
    run = flow(
        SEPARATE, population_statistics(TASK, SEPARATE), start, times, rtol=1e-10
    )
    laid = overlay(time_course(TASK, SEPARATE, times, amplitudes), run)
    losses, others = (
        [each.c, *(each.c - np.cumsum(each.gains))] for each in (moments, wrong)
    )
    heights = laid.plateau_heights(np.array(losses))
    np.testing.assert_allclose(heights, losses, atol=2e-4)
    assert np.all(np.abs(heights - others)[1:] > 5e-3)
    assert np.isnan(
        laid.plateau_heights(np.array([1.0, 0.5, 0.4999, 0.4998, 0.1]))[2]
    )  # the run jumps over this one


def test_the_plot_says_what_is_what(both):
    mpl.use("Agg", force=True)
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert both.plot(ax) is ax
    simulated, theory = ax.lines
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("flow time", "loss")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "gradient flow",
        "theory",
    ]
    assert (simulated.get_linestyle(), theory.get_linestyle()) == ("-", "--")
    assert np.array_equal(simulated.get_ydata(), both.observed)
    assert np.array_equal(theory.get_ydata(), both.predicted)
    assert np.array_equal(theory.get_xdata(), both.flow_time)


def test_the_plot_makes_axes_if_none_are_given(both):
    mpl.use("Agg", force=True)
    import matplotlib.pyplot as plt

    ax = both.plot()
    assert len(ax.lines) == 2
    plt.close(ax.figure)


def test_an_overlay_shows_itself_on_one_screen(both):
    text = repr(both)
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 100
    assert "gradient flow" in text
    assert f"{both.sup_gap:.2e}" in text
    assert f"{both.sup_gap:.2e}" in both._repr_html_()


def test_an_overlay_travels_as_plain_numbers(both):
    values = json.loads(json.dumps(both.to_dict()))
    assert values["observed"] == both.observed.tolist()
    assert values["l2_gap"] == both.l2_gap


def test_the_label_of_a_plot_names_the_run(both):
    from matplotlib.figure import Figure

    ax = both.plot(Figure().add_subplot(), label="first seed", color="red")
    assert [line.get_label() for line in ax.lines] == ["first seed", "theory"]
    assert [line.get_color() for line in ax.lines] == ["red", "red"]


def test_the_gap_is_drawn_in_the_unit_of_the_axes():
    import matplotlib.pyplot as plt

    task, model = Task([1, 1], trace=1, context_length=31), Merged(heads=2)
    steps = np.arange(0, 500, 50)
    curve = time_course(task, model, 0.1 * steps, 0.05)
    outside = external_run(curve.loss + 0.01, step=steps, learning_rate=0.05)
    over = overlay(curve, outside)
    figure, (left, right) = plt.subplots(1, 2)
    try:
        over.plot(left, x="steps", lw=1, legend=False)
        assert over.plot_gap(right, x="steps", color="C3") is right
        assert left.get_legend() is None
        assert [line.get_linewidth() for line in left.get_lines()] == [1, 1]
        (line,) = right.get_lines()
        np.testing.assert_array_equal(line.get_xdata(), steps)
        np.testing.assert_allclose(line.get_ydata(), 0.01, atol=1e-12)
        assert line.get_color() == "C3"
        assert (right.get_xlabel(), right.get_ylabel()) == (
            "steps",
            "observed − predicted loss",
        )
        with pytest.raises(ValueError, match="these axes count steps"):
            over.plot_gap(right, x="flow_time")
    finally:
        plt.close(figure)
    assert over.to_dict()["run"] == "run from outside"


def test_a_run_without_a_rate_has_no_overlay():
    task, model = Task([1, 1], trace=1, context_length=31), Merged(heads=2)
    curve = time_course(task, model, [0.0, 1.0, 2.0], 0.05)
    with pytest.raises(ValueError, match="learning rate of this run is not known"):
        overlay(curve, external_run([1.0, 0.9, 0.8]))


def test_a_saved_overlay_is_read_whole_or_refused(both, tmp_path):
    path = both.save(tmp_path / "overlay.npz")
    again = Overlay.load(path)
    assert again.to_dict() == both.to_dict()
    assert again.run.to_dict() == both.run.to_dict()
    np.savez(tmp_path / "other.npz", curve=np.zeros(3, np.uint8), x=[1.0])
    contents = path.read_bytes()
    (tmp_path / "half.npz").write_bytes(contents[: len(contents) // 2])
    for name in ("other.npz", "half.npz"):
        with pytest.raises(ValueError, match=name):
            Overlay.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Overlay.load(tmp_path / "absent.npz")


def test_weights_off_the_block_are_named_and_trained_on_every_feature():
    task, model = Task([0.65, 0.35], context_length=10), Separate(heads=3)
    start = initial_weights(model, task, 0.1, seed=4, scheme="gaussian")
    inside = restricted(start)
    every = population_statistics(task, model, block="full")
    plateaus = staircase(task, model, start).plateaus

    def laid(weights, source):
        run = train(model, source, weights, learning_rate=0.02, steps=9_000)
        return overlay(time_course(task, model, run.flow_time, weights), run)

    # On the block the statistics of every feature train as those of the block do.
    on_block = laid(inside, every)
    same = train(
        model,
        population_statistics(task, model),
        inside,
        learning_rate=0.02,
        steps=9_000,
    )
    np.testing.assert_allclose(on_block.run.loss, same.loss, rtol=1e-9)
    predicted, observed = on_block.exit_times(plateaus)
    np.testing.assert_allclose(observed, predicted, rtol=0.01)
    assert on_block.off_block == 0
    assert "off the block" not in repr(on_block)

    # Off it the run leaves its plateaus at other times than the curve, which reads the block alone.
    off_block = laid(start, every)
    np.testing.assert_array_equal(off_block.predicted, on_block.predicted)
    deviation = off_block.exit_times(plateaus)[1] / predicted - 1
    assert np.max(np.abs(deviation)) > 0.05
    on_share = _squares(inside) / _squares(start)
    assert off_block.off_block == pytest.approx(1 - on_share)
    assert "of the squares of the first weights: not in the theory" in repr(off_block)
    assert off_block.to_dict()["off_block"] == off_block.off_block
    # Unlimited prompts agree with many: the statistics are those of the same loss.
    many = laid(start, statistics(sample(task, 100_000), model))
    np.testing.assert_allclose(many.observed[:300], off_block.observed[:300], rtol=0.05)


def _squares(weights):
    return sum(np.sum(value**2) for value in weights.values())


def test_every_feature_or_the_block_may_be_asked_for():
    model, plain = Merged(1), Task([1.0], context_length=5)
    mixed = Task([1.0], context_length=5, teachers=Pool([[1.0]]))
    assert population_statistics(plain, model).block == "restricted"
    assert population_statistics(plain, model, block="full").block == "full"
    assert population_statistics(mixed, model).block == "full"
    with pytest.raises(ValueError, match="moves weights off the restricted block"):
        population_statistics(mixed, model, block="restricted")
    with pytest.raises(ValueError, match="block must be"):
        population_statistics(plain, model, block="whole")


def test_a_run_without_weights_has_none_off_the_block():
    run = external_run([2.9, 2.5, 2.0], learning_rate=0.1)
    curve = time_course(Task([2, 1], context_length=9), Merged(2), run.flow_time, 0.1)
    assert overlay(curve, run).off_block == 0
