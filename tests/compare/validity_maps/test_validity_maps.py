"""Maps of where the theory holds: right numbers at right labels, and figures that show them."""

from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import numpy as np
import pytest

from attndyn import Task
from attndyn.compare import validity, validity_curves, validity_map
from attndyn.simulate import Sweep, load_sweep, run_sweep
from attndyn.theory import population, staircase
from attndyn.theory.linear_attention import drop_time, unstable_mode_amplitude

plt.switch_backend("Agg")

SEPARATE = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0},
    {"model": "separate", "heads": 3},
    {
        "sequences": 64_000,
        "learning_rate": 0.05,
        "steps": 16_000,
        "scheme": "restricted",
        "whiten": True,
        "record": 16_000,
    },
    {"scale": [0.3, 0.1, 0.03], "context_length": [7, 31], "seed": [0, 1]},
)
MERGED = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 15},
    {"model": "merged", "heads": 2},
    {
        "sequences": 100_000,
        "learning_rate": 0.01,
        "steps": 1_500,
        "scheme": "restricted",
        "whiten": True,
    },
    {"scale": [1e-3, 1e-2, 0.1, 1.0], "seed": [0, 1]},
)
LOW_RANK = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 15},
    {"model": "separate"},
    {
        "sequences": 8_000,
        "learning_rate": 0.05,
        "steps": 8_000,
        "scale": 0.1,
        "scheme": "restricted",
        "record": 8_000,
    },
    together=[{"rank": [1, 2], "heads": [3, 1]}],
)


def found(sweep, folder):
    with ThreadPoolExecutor(1) as pool:
        run_sweep(sweep, folder, pool)
    return load_sweep(folder)


@pytest.fixture(scope="module")
def separate(tmp_path_factory):
    return found(SEPARATE, tmp_path_factory.mktemp("separate"))


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    return found(MERGED, tmp_path_factory.mktemp("merged"))


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


# The numbers


def test_predictions_stand_by_their_own_run(separate):
    heights, exits = (
        validity(separate, "plateau_height"),
        validity(separate, "exit_time"),
    )
    assert heights.predicted.dims == ("scale", "context_length", "seed", "number")
    assert heights.number.values.tolist() == [0, 1, 2]
    assert exits.number.values.tolist() == [1, 2]
    for each in SEPARATE.experiments():
        at = {
            "scale": each.scale,
            "context_length": each.task.context_length,
            "seed": each.seed,
        }
        steps = staircase(each.task, each.model, each.start)
        np.testing.assert_allclose(heights.predicted.sel(at), steps.plateaus)
        late = steps.drop_times > 0
        np.testing.assert_allclose(
            exits.predicted.sel(at).values[late], steps.drop_times[late]
        )


def test_the_theory_holds_where_weights_are_small_and_wrong_ones_do_not(separate):
    heights = validity(separate, "plateau_height").sel(scale=0.03)
    assert abs(heights.error).max() < 0.05
    swapped = (
        heights.observed
        / heights.predicted.isel(context_length=slice(None, None, -1)).values
        - 1
    )
    assert abs(swapped.sel(number=2)).min() > 0.3  # control: the other context length
    exits = validity(separate, "exit_time").sel(number=1)
    assert abs(exits.error.sel(scale=0.03)).max() < 0.05
    assert (
        abs(exits.observed.sel(scale=0.03) / exits.predicted.sel(scale=0.1) - 1).min()
        > 0.5
    )


def test_later_exit_times_are_off_by_the_finite_sample_only_also_from_large_weights(
    separate,
):
    exits = validity(separate, "exit_time").sel(number=2, context_length=7)
    assert float(abs(exits.error).median("seed").max()) < 0.1
    other = abs(
        exits.observed.sel(scale=0.3) / exits.predicted.sel(scale=0.1) - 1
    )  # control: of other weights
    assert float(other.min()) > 0.5


def test_errors_of_the_last_exit_shrink_with_more_sequences(tmp_path):
    """Weights leave the restricted block by O(1/√P), and idle heads feel it longest: 4 would be expected here."""
    run = {
        name: value for name, value in SEPARATE.run.items() if name != "sequences"
    } | {"scale": 0.03}
    grid = {"sequences": [4_000, 64_000], "seed": [0, 1, 2, 3, 4, 5, 6, 7]}
    data = found(
        Sweep(SEPARATE.task | {"context_length": 7}, SEPARATE.model, run, grid),
        tmp_path,
    )
    few, many = abs(validity(data, "exit_time").error.sel(number=2)).mean("seed").values
    assert few > 2 * many


def test_merged_attention_drops_when_its_growing_mode_says(merged):
    found = validity(merged, "drop_time")
    assert found.number.values.tolist() == [1]
    assert abs(found.error.sel(scale=[1e-3, 1e-2])).max() < 0.05
    task = Task([2, 1], trace=1.0, context_length=15)
    moments = population(task, MERGED.experiments()[0].model)
    modes = [
        unstable_mode_amplitude(moments, each.start)
        for each in MERGED.experiments()
        if each.seed == 0
    ]
    later = float(
        found.observed.sel(scale=1e-3, seed=0, number=1)
        - found.observed.sel(scale=1e-2, seed=0, number=1)
    )
    assert later == pytest.approx(
        drop_time(moments, modes[0]) - drop_time(moments, modes[1]), rel=0.02
    )
    assert np.isnan(
        found.predicted.sel(scale=1.0, seed=1)
    ).all()  # it starts below the middle of the drop
    assert validity(merged, "plateau_height").number.values.tolist() == [0, 1]


def test_heads_of_higher_rank_have_their_own_staircase(tmp_path):
    data = found(LOW_RANK, tmp_path)
    exits = validity(data, "exit_time")
    assert np.isfinite(exits.observed).all()
    wait = exits.observed.sel(number=2) / exits.observed.sel(number=1)
    assert float(wait.sel(rank=2)) < float(
        wait.sel(rank=1)
    )  # an active head learns its second direction soon
    assert validity_curves(data, "exit_time", "rank").get_xlabel() == "rank $R$"


def test_a_part_of_a_sweep_is_as_good(separate):
    whole, part = (
        validity(data, "exit_time")
        for data in (separate, separate.sel(seed=1, scale=[0.1, 0.03]))
    )
    assert part.error.dims == ("scale", "context_length", "number")
    expected = whole.sel(seed=1, scale=[0.1, 0.03])
    np.testing.assert_array_equal(part.error, expected.error)
    one = validity(separate.isel(scale=0, context_length=0, seed=0), "exit_time")
    assert one.error.dims == ("number",)


def test_runs_that_are_missing_or_too_short_show_nothing(separate):
    short = validity(separate.isel(step=slice(0, 200)), "exit_time")
    whole = validity(separate, "exit_time")
    assert np.isnan(short.observed.sel(scale=0.03)).all()
    np.testing.assert_array_equal(short.predicted, whole.predicted)
    gone = separate.copy(deep=True)
    gone.loss.loc[{"seed": 0}] = np.nan
    assert np.isnan(validity(gone, "plateau_height").observed.sel(seed=0)).all()
    np.testing.assert_array_equal(
        validity(gone, "exit_time").sel(seed=1).observed, whole.sel(seed=1).observed
    )


MISTAKES = {
    "quantity": (
        "separate",
        "loss",
        "quantity must be one of plateau_height, exit_time, drop_time, not 'loss'",
    ),
    "drop of separate": (
        "separate",
        "drop_time",
        "Separate has no drop_time: ask for plateau_height or exit_time",
    ),
    "exit of merged": (
        "merged",
        "exit_time",
        "Merged has no exit_time: ask for plateau_height or drop_time",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_quantity_that_there_is_not_is_refused(request, name):
    fixture, quantity, reason = MISTAKES[name]
    with pytest.raises(ValueError, match=reason):
        validity(request.getfixturevalue(fixture), quantity)


# The figures


def test_a_map_shows_the_median_error_of_every_cell(separate):
    ax = validity_map(separate, "exit_time", ("scale", "context_length"), number=2)
    error = abs(validity(separate, "exit_time").error.sel(number=2)).median("seed")
    (picture,) = ax.images
    np.testing.assert_array_equal(np.ma.filled(picture.get_array(), np.nan), error)
    assert [text.get_text() for text in ax.texts] == [
        f"{100 * each:.2g} %" for each in error.values.ravel()
    ]
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "0.3",
        "0.1",
        "0.03",
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["7", "31"]
    assert (
        ax.get_title("left") == "flow time of exit 2: relative error, median over seed"
    )
    turned = validity_map(separate, "exit_time", ("context_length", "scale"), number=2)
    np.testing.assert_array_equal(turned.images[0].get_array(), error.values.T)
    ax.figure.canvas.draw()


def test_a_cell_that_no_run_has_reached_is_empty(separate):
    ax = validity_map(separate.isel(step=slice(0, 1000)), "exit_time", number=2)
    assert [text.get_text() for text in ax.texts][-1] == "–"
    none = validity_map(separate.isel(step=slice(0, 2)), "exit_time", number=2)
    assert {text.get_text() for text in none.texts} == {"–"}
    none.figure.canvas.draw()


def test_curves_show_what_is_observed_with_the_theory_dashed(separate):
    ax = validity_curves(separate, "exit_time", "scale")
    found = validity(separate, "exit_time")
    found = found.where(np.isfinite(found.observed))
    solid = [line for line in ax.lines if line.get_linestyle() == "-"]
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    for number, line, theory in zip((1, 2), solid, dashed, strict=True):
        here = found.sel(number=number).median(["context_length", "seed"])
        np.testing.assert_allclose(line.get_ydata(), here.observed)
        np.testing.assert_allclose(theory.get_ydata(), here.predicted)
        np.testing.assert_allclose(theory.get_ydata()[2], line.get_ydata()[2], rtol=0.1)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "flow time of exit 1",
        "flow time of exit 2",
    ]


def test_what_is_no_positive_number_stands_in_a_row(tmp_path):
    run = SEPARATE.run | {
        "sequences": 500,
        "scale": 0.3,
        "engine": "tokens",
        "record": 20,
        "steps": 20,
    }
    sweep = Sweep(
        {"context_length": 5},
        SEPARATE.model,
        run,
        {"eigenvalues": [[2, 1], [1, 1]], "seed": [0, 1]},
    )
    data = found(sweep, tmp_path)
    ax = validity_curves(data, "plateau_height", "eigenvalues")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["[2, 1]", "[1, 1]"]
    assert validity_curves(data, "plateau_height", "seed").get_xscale() == "linear"


def test_figures_are_drawn_on_given_axes(merged):
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 2)
    assert validity_curves(merged, "drop_time", ax=axes[0]) is axes[0]
    assert validity_map(merged, "drop_time", ("scale", "seed"), ax=axes[1]) is axes[1]
    assert axes[1].get_title("left") == "flow time of the drop: relative error"


@pytest.mark.parametrize(
    "against",
    [("scale",), ("scale", "scale"), ("scale", "step"), ("scale", "seed", "step")],
)
def test_a_map_needs_two_dimensions_of_the_sweep(separate, against):
    with pytest.raises(
        ValueError,
        match="against must name 2 of the dimensions scale, context_length, seed, not",
    ):
        validity_map(separate, "exit_time", against)


def test_other_mistakes_are_refused(separate):
    with pytest.raises(
        ValueError,
        match="against must name 1 of the dimensions scale, context_length, seed, not",
    ):
        validity_curves(separate, "exit_time", "step")
    with pytest.raises(ValueError, match="number must be one of 1, 2, not 0"):
        validity_map(separate, "exit_time", number=0)
