"""Curves of every wing over runs: what an overlay takes, writes and reads, and what it refuses."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare import Overlay, overlay
from attndyn.compare.loss_curves import LossCurve, load_curve
from attndyn.simulate import external_run
from attndyn.theory import time_course
from attndyn.theory.softmax_attention import ReducedFlow, reduced_flow

TASK = Task([1] * 3, teacher_covariance=np.eye(3) / 3, context_length=12)
TIMES = np.linspace(0, 40, 41)
OFFSET = 0.01


@pytest.fixture(scope="module")
def softmax():
    """The flow of two heads on the approximate loss, whose equations are cheap."""
    return reduced_flow(TASK, [0.01, -0.02], [0.01, -0.01], TIMES, loss="approximate")


@pytest.fixture(scope="module")
def run(softmax):
    """Losses that lie above the flow's by a known amount."""
    return external_run(
        softmax.loss + OFFSET, step=np.arange(41) * 2, learning_rate=0.25
    )


def test_a_reduced_flow_lies_over_a_run(softmax, run):
    for both in (overlay(softmax, run), overlay(run, softmax)):
        assert both.curve is softmax
        assert both.sup_gap == pytest.approx(OFFSET, rel=1e-12)
        assert both.l2_gap == pytest.approx(OFFSET, rel=1e-12)
        assert both.to_dict()["theory"] == "reduced flow, approximate loss"
        assert "reduced flow, approximate loss" in repr(both)


def test_another_clock_would_show(softmax, run):
    slower = reduced_flow(
        TASK,
        [0.01, -0.02],
        [0.01, -0.01],
        TIMES,
        loss="approximate",
        metric="euclidean",
    )
    assert overlay(slower, run).sup_gap > 10 * OFFSET


def test_a_file_of_an_overlay_knows_its_kind_of_curve(softmax, run, tmp_path):
    again = Overlay.load(overlay(softmax, run).save(tmp_path / "both.npz"))
    assert isinstance(again.curve, ReducedFlow)
    assert again.curve.to_dict() == softmax.to_dict()
    assert again.to_dict() == overlay(softmax, run).to_dict()


def test_files_of_both_kinds_are_read(softmax, tmp_path):
    linear = time_course(Task([2, 1], context_length=9), Merged(2), [0, 1], 0.1)
    for curve in (linear, softmax):
        read = load_curve(curve.save(tmp_path / "curve.npz"))
        assert type(read) is type(curve)
        assert read.loss.tolist() == curve.loss.tolist()
    np.savez(tmp_path / "other.npz", loss=[1.0])
    with pytest.raises(ValueError, match=r"other\.npz is no predicted curve: pass"):
        load_curve(tmp_path / "other.npz")


def test_it_is_drawn_as_every_theory_is(softmax, run):
    from matplotlib.figure import Figure

    ax = overlay(softmax, run).plot(Figure().add_subplot(), x="steps")
    observed, predicted = ax.lines
    assert predicted.get_xdata().tolist() == run.steps.tolist()
    assert predicted.get_label() == "theory"
    assert observed.get_linestyle() != predicted.get_linestyle()
    alone = softmax.plot(Figure().add_subplot())
    assert alone.lines[0].get_label() == "theory (reduced flow, approximate loss)"


@dataclass
class Own:
    """The least that a curve of a user's own has."""

    flow_time: np.ndarray = field(default_factory=lambda: TIMES)
    loss: np.ndarray = field(default_factory=lambda: np.ones(41))
    source: str = "own"

    def save(self, path):
        np.savez(path, mine=self.loss)
        return Path(path)


def test_a_curve_of_ones_own_is_taken(run, tmp_path):
    both = overlay(Own(), run)
    assert isinstance(both.curve, LossCurve)
    assert both.sup_gap == pytest.approx(np.abs(run.loss - 1).max())
    with pytest.raises(ValueError, match="not a whole overlay file"):
        Overlay.load(both.save(tmp_path / "own.npz"))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "other", ["run", Own, [1.0, 2.0], None, ReducedFlow], ids=lambda other: str(other)
)
def test_two_that_are_no_pair_are_refused(other, order, run):
    pair = (run if other == "run" else other, run)[::order]
    names = " and ".join(type(part).__name__ for part in pair)
    with pytest.raises(TypeError, match=rf"one predicted curve .* not {names}$"):
        overlay(*pair)


def test_two_curves_are_refused(softmax):
    with pytest.raises(TypeError, match="not ReducedFlow and Own"):
        overlay(softmax, Own())
