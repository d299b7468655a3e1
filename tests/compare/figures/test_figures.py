"""Figures: files, labels, dashed theory, and bytes that depend on the runs alone."""

import io
import subprocess
import sys
from dataclasses import replace
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from attndyn import Merged
from attndyn.compare.claims.asymptotics.published_runs import GAPS
from attndyn.compare.claims.linear_attention.common.experiments import (
    MERGED,
    WHITE,
    merged,
)
from attndyn.compare.evidence.claim import RunContext
from attndyn.compare.figures import all_figures, draw
from attndyn.compare.figures.style import (
    POINTS,
    panels,
    paper_style,
    plateau_lines,
    predicted,
    shaded,
    simulated,
    thinned,
    write,
)
from attndyn.compare.replays.recordings import reference_files
from attndyn.theory import time_course

CHEAP = "growing_mode_order"
TIMES = {"steps", "steps (thousands)", "flow time"}
FIGURES = all_figures()
MAGIC = {"pdf": b"%PDF-", "png": b"\x89PNG\r\n"}


class QuickContext(RunContext):
    """Runs of the same course in a tenth or a twentieth of the steps, on few sequences; of fresh prompts the start."""

    def trajectory(self, experiment):
        if experiment.is_fresh:
            start = replace(experiment, batch=50, steps=experiment.steps // 10)
            return super().trajectory(start)
        if isinstance(experiment.model, Merged):
            quick = {
                "learning_rate": 10 * experiment.learning_rate,
                "steps": experiment.steps // 10,
            }
        else:
            quick = {"scale": 20 * experiment.scale, "steps": experiment.steps // 20}
        # Softmax is trained on the tokens, at a cost in proportion to their number.
        sequences = 500 if experiment.model.softmax else 2000
        return super().trajectory(replace(experiment, sequences=sequences, **quick))


@pytest.fixture(scope="module")
def quick_context(tmp_path_factory):
    return QuickContext(tmp_path_factory.mktemp("runs"))


SMALLER = {
    "softmax_attention.context_lengths.LENGTHS": (80, 113, 160),
    "softmax_attention.context_lengths.EVERY_OTHER": (80, 120, 160),
    "softmax_attention.context_lengths.SINGLE_HEAD": (80, 160),
    "softmax_attention.context_lengths.TRAINED_LENGTH": 80,
    "softmax_attention.training.HEADS": (2,),
    "softmax_attention.published_training.HEADS": (2,),
    "softmax_attention.trap_maps.SIZES_OF_LARGER": np.array([0.005, 0.01]),
    "softmax_attention.trap_maps.HALVINGS": 3,
    "softmax_attention.trap_maps.RANDOM_STARTS": 50,
    "asymptotics.peaks.SETS": 2,
    "asymptotics.peaks.DIMENSION": 8,
    "asymptotics.peaks.POOLS": 2,
    "asymptotics.diversity.SETS": 2,
    "asymptotics.diversity.POOLS": 2,
    "asymptotics.diversity.SETS_OF_RATIOS": 2,
    "asymptotics.diversity.DIMENSION": 8,
    "asymptotics.diversity.GAPS": {10: GAPS[10][::3]},
    "asymptotics.learning_curves.SETS": 2,
    "asymptotics.learning_curves.DIMENSION": 8,
    "asymptotics.learning_curves.THETA": np.geomspace(0.1, 100, 8),
    "asymptotics.error_maps.RIDGES": np.geomspace(1e-5, 10, 4),
    "asymptotics.alignment.SETS": 2,
    "asymptotics.alignment.FINER": 1,
    "asymptotics.few_training_tasks.KAPPAS": (0.25, 8.0),
    "asymptotics.few_training_tasks.SETS": 2,
}
"""Settings that make figures fast: fewer exact losses of softmax heads, and fewer and smaller data sets."""


@pytest.fixture(scope="module", autouse=True)
def smaller_figures():
    """Figures at smaller settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALLER.items():
            patch.setattr(f"attndyn.compare.figures.{name}", value)
        yield


@pytest.fixture(scope="module")
def drawing(quick_context):
    """A function that draws the figure of a name, once."""

    @cache
    def draw_once(name):
        with paper_style():
            return FIGURES[name](quick_context)

    return draw_once


@pytest.fixture(scope="module", params=sorted(FIGURES))
def figure(request, drawing):
    """One figure after the other, in the paper's style."""
    with paper_style():
        yield drawing(request.param)


def all_axes(figure):
    return [each for ax in figure.get_axes() for each in (ax, *ax.child_axes)]


def nameless(figure):
    """Axes without a label of their own or of axes that share theirs; colour bars have one label only."""
    found = []
    for ax in all_axes(figure):
        across = [
            other.get_xlabel() for other in ax.get_shared_x_axes().get_siblings(ax)
        ]
        along = [
            other.get_ylabel() for other in ax.get_shared_y_axes().get_siblings(ax)
        ]
        bar = ax.get_label() == "<colorbar>"
        if not (any(across) or any(along) if bar else any(across) and any(along)):
            found.append(ax)
    return found


def is_dashed(line):
    return line.is_dashed() and line.get_linestyle() != "None"


def drawn(figure, kind):
    file = io.BytesIO()
    write(figure, file, kind)
    return file.getvalue()


def test_figures_are_in_alphabetical_order():
    assert list(FIGURES) == sorted(FIGURES)


def test_every_axis_has_a_name(figure):
    assert nameless(figure) == []


def test_an_axis_without_a_name_would_be_found():
    figure = Figure()
    ax, other = figure.subplots(1, 2, sharey=True)
    ax.set(xlabel="steps", ylabel="loss")
    assert nameless(figure) == [other]
    other.set(xlabel="steps")
    assert nameless(figure) == []
    other.inset_axes((0, 0, 1, 1))
    assert len(nameless(figure)) == 1


def test_time_is_called_by_its_unit(figure):
    names = {ax.get_xlabel() for ax in all_axes(figure)}
    assert {name for name in names if "time" in name or "step" in name} <= TIMES


def test_theory_is_dashed_and_simulation_solid(figure):
    lines = [line for ax in all_axes(figure) for line in ax.get_lines()]
    assert any(is_dashed(line) for line in lines)
    assert all(
        is_dashed(line) or line.get_linestyle() in ("-", "None") for line in lines
    )


def test_a_figure_is_written_whole(figure):
    data = drawn(figure, "pdf")
    assert data.startswith(MAGIC["pdf"])
    assert len(data) > 8_000
    assert b"CreationDate" not in data
    assert b"/Subtype /Image" not in data  # a PDF of lines and cells, not of pixels


def test_a_figure_is_written_in_pixels_too(drawing):
    data = drawn(drawing(CHEAP), "png")
    assert data.startswith(MAGIC["png"])
    assert len(data) > 8_000


def test_no_figure_leaves_its_axes_empty(figure):
    for ax in figure.get_axes():
        assert ax.lines or ax.images or ax.collections


@pytest.fixture(scope="module")
def shapes(drawing):
    """Figures that are looked into."""
    names = ("separate_loss", "merged_white", "replay", "low_rank")
    return {name: drawing(name) for name in names}


def heights(ax):
    """Losses at which dashed lines lie from edge to edge."""
    return [
        line.get_ydata()[0]
        for line in ax.get_lines()
        if is_dashed(line) and list(line.get_xdata()) == [0, 1]
    ]


def test_separate_plateaus_are_those_of_the_paper(shapes):
    (ax,) = shapes["separate_loss"].get_axes()
    assert np.allclose(
        heights(ax), [1, 0.64057971, 0.37737216, 0.20980460, 0.13599507], atol=1e-8
    )


def test_separate_loss_marks_the_published_length(shapes):
    (ax,) = shapes["separate_loss"].get_axes()
    assert any(list(line.get_xdata()) == [10_001, 10_001] for line in ax.get_lines())
    solid = [
        line
        for line in ax.get_lines()
        if not is_dashed(line) and len(line.get_xdata()) > 2
    ]
    assert len(solid) == 6


def test_low_rank_names_multiples_of_the_rank(shapes):
    names = [
        [text.get_text() for text in ax.texts] for ax in shapes["low_rank"].get_axes()
    ]
    assert names[:3] == [
        ["$M_8$", "$M_0$"],
        ["$M_8$", "$M_4$", "$M_0$"],
        [f"$M_{m}$" for m in (8, 6, 4, 2, 0)],
    ]


def test_low_rank_marks_the_published_length_under_a_staircase(shapes):
    for ax in shapes["low_rank"].get_axes():
        assert any(
            list(line.get_xdata()) == [20.001, 20.001] for line in ax.get_lines()
        )
        solid, dashed = (line for line in ax.get_lines() if len(line.get_xdata()) > 2)
        assert is_dashed(dashed)
        assert not is_dashed(solid)
        assert dashed.get_xdata()[-1] == pytest.approx(solid.get_xdata()[-1], rel=1e-2)


def test_merged_curves_start_from_the_weights_of_the_run_below(shapes, quick_context):
    ax = shapes["merged_white"].get_axes()[0]
    long = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
    runs = [
        quick_context.trajectory(each) for each in merged(WHITE, quick_context.seed)
    ]
    for index, (solid, dashed) in enumerate(zip(long[0::2], long[1::2], strict=True)):
        times, weights = (
            dashed.get_xdata(),
            [{name: value[0] for name, value in run.weights.items()} for run in runs],
        )
        own, next_one = (
            time_course(WHITE, MERGED, times, weights[i]).loss
            for i in (index, index + 1)
        )
        assert np.array_equal(solid.get_ydata(), runs[index].loss)
        assert np.allclose(dashed.get_ydata(), own, rtol=1e-12, atol=0)
        assert not np.allclose(dashed.get_ydata(), next_one, rtol=1e-3, atol=0)
        assert is_dashed(dashed)
        assert not is_dashed(solid)


def test_replay_has_a_panel_and_a_small_deviation_for_every_recording(shapes):
    axes = shapes["replay"].get_axes()
    assert len(axes) == len(reference_files("linear_attention"))
    for ax in axes:
        ours, recorded = ax.get_lines()
        assert np.max(np.abs(ours.get_ydata() / recorded.get_ydata() - 1)) < 2e-6
        assert ax.get_title()
        assert "_" not in ax.get_title()


def test_draw_writes_both_formats_and_the_same_bytes_again_but_for_another_seed(
    tmp_path,
):
    first = draw([CHEAP], out=tmp_path / "a", runs=tmp_path / "runs")
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30}):
        again = draw([CHEAP], out=tmp_path / "b", runs=tmp_path / "runs")
    assert first == [tmp_path / "a" / f"{CHEAP}.{kind}" for kind in ("pdf", "png")]
    assert [path.read_bytes() for path in first] == [
        path.read_bytes() for path in again
    ]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(
        path.name for path in first
    )
    other = draw([CHEAP], out=tmp_path / "c", runs=tmp_path / "runs", seed=1)
    assert first[1].read_bytes() != other[1].read_bytes()


def declare_empty_figures(monkeypatch, names):
    """Figures of these names and no others, with nothing in them."""
    figures = {
        name: replace(FIGURES[name], draw=lambda context: panels(1, 1, (1, 1))[0])
        for name in names
    }
    monkeypatch.setattr("attndyn.compare.figures.all_figures", lambda: figures)


def test_draw_keeps_the_order_given_and_the_users_settings(tmp_path, monkeypatch):
    declare_empty_figures(monkeypatch, ["low_rank", "replay"])
    before = dict(mpl.rcParams)
    files = draw(["replay", "low_rank"], out=tmp_path, runs=tmp_path)
    assert [path.name for path in files] == [
        "replay.pdf",
        "replay.png",
        "low_rank.pdf",
        "low_rank.png",
    ]
    assert dict(mpl.rcParams) == before


def test_draw_without_names_draws_all(tmp_path, monkeypatch):
    names = ["conservation", "low_rank", "replay"]
    declare_empty_figures(monkeypatch, names)
    files = draw(out=tmp_path, runs=tmp_path)
    assert [path.name for path in files[::2]] == [f"{name}.pdf" for name in names]


def test_an_unknown_figure_is_refused_with_the_names_that_exist(tmp_path):
    with pytest.raises(
        ValueError,
        match="no figure is called loss: there are balanced_phases, conservation, diversity_transition",
    ):
        draw(["replay", "loss"], out=tmp_path / "out", runs=tmp_path / "runs")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("blocked", ["out", "runs"])
def test_a_folder_that_cannot_be_written_is_an_os_error_before_anything_is_drawn(
    tmp_path, blocked, monkeypatch
):
    (tmp_path / "file").write_text("")
    figure = replace(FIGURES[CHEAP], draw=lambda context: pytest.fail("was drawn"))
    monkeypatch.setattr("attndyn.compare.figures.all_figures", lambda: {CHEAP: figure})
    folders = {"out": tmp_path, "runs": tmp_path} | {
        blocked: tmp_path / "file" / "folder"
    }
    with pytest.raises(OSError, match="file"):
        draw([CHEAP], **folders)


def test_importing_the_figures_does_not_import_matplotlib():
    code = "import sys, attndyn.compare.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_thinning_keeps_the_ends_and_the_shape(scale):
    ax = panels(1, 1, (1, 1), subplot_kw={"xscale": scale})[1][0, 0]
    x = np.arange(200_000.0)
    t, y = thinned(ax, x, np.sqrt(x))
    assert len(t) <= POINTS
    assert np.all(np.diff(t) > 0)
    assert np.array_equal(y, np.sqrt(t))
    assert (t[0], t[-1]) == (float(scale == "log"), x[-1])


def test_lines_of_theory_lie_over_lines_of_simulation():
    ax = panels(1, 1, (1, 1))[1][0, 0]
    predicted(ax, np.arange(3.0), np.arange(3.0))
    simulated(ax, np.arange(3.0), np.arange(3.0), color="red")
    dashed, solid = ax.get_lines()
    assert is_dashed(dashed)
    assert not is_dashed(solid)
    assert dashed.get_zorder() > solid.get_zorder()


def test_the_lowest_level_is_named_below_its_line():
    ax = panels(1, 1, (1, 1))[1][0, 0]
    plateau_lines(ax, [1.0, 0.5], ["high", "low"], "right")
    assert [text.get_va() for text in ax.texts] == ["bottom", "top"]
    assert heights(ax) == [1.0, 0.5]


def test_shades_go_to_white_and_black():
    assert shaded("#204060", 1) == (1, 1, 1)
    assert shaded("#204060", -1) == (0, 0, 0)
    assert np.allclose(shaded("#204060", 0), np.array([0x20, 0x40, 0x60]) / 255)
