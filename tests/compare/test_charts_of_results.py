"""Every result that is a curve draws itself in a notebook, whatever its values are."""

import inspect
from dataclasses import fields, is_dataclass
from xml.etree import ElementTree

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare import overlay
from attndyn.compare.error_curves import ErrorCurve
from attndyn.compare.evidence.evidence import Curve, Fit
from attndyn.compare.fits import FitErrors, FitOverlay
from attndyn.compare.metrics.measures import MatrixMeasures, Measures
from attndyn.compare.readout_predictions import ReadoutPrediction
from attndyn.compare.training_errors import TrainingErrors
from attndyn.runtime.arrays import FloatArray
from attndyn.runtime.display import Displayed
from attndyn.simulate import Trajectory, external_run
from attndyn.simulate.torch_models.checkpoint_files import NetworkRun
from attndyn.theory import TimeCourse, time_course
from attndyn.theory.asymptotics.curves_of_tasks import TaskLearningCurve
from attndyn.theory.asymptotics.learning_curves import LearningCurve
from attndyn.theory.linear_attention.saddle_to_saddle.staircases import Staircase
from attndyn.theory.linear_transformer.four_blocks import FourBlockFlow
from attndyn.theory.linear_transformer.kronecker_tasks import KroneckerFlow
from attndyn.theory.linear_transformer.layer_flows import LayerFlow
from attndyn.theory.linear_transformer.mode_flows import ModeFlow
from attndyn.theory.linear_transformer.sgd_moments import SgdMoments
from attndyn.theory.softmax_attention.balanced_flows import BalancedFlow
from attndyn.theory.softmax_attention.reduced_flows import ReducedFlow

SOLID_AND_DASHED = {"solid", "dashed"}


def matrices(y):
    ones = np.ones((len(y), 1))
    steps = np.zeros(1, dtype=int)
    return MatrixMeasures(
        ("head 0",), y[:, None], ones, ones, ones[1:], steps, np.zeros((0, 2))
    )


def stairs(y):
    """A staircase with these plateaus; what else it holds is not drawn."""
    times, blank = (
        np.arange(1.0, max(len(y), 1)),
        dict.fromkeys(
            ("subsets", "directions", "heads", "kinds", "curve", "moments", "origin"),
            (),
        ),
    )
    plateaus = y if y.size else np.ones(1)
    return Staircase(
        exit_times=times,
        drop_times=times,
        plateaus=plateaus,
        verdict="determined",
        uncertainty=0.0,
        **blank,
    )


def readout(x, y):
    values = {"alpha": x, "tau": np.ones(len(x))}
    return ReadoutPrediction(values, y, y, y, y)


def fits(x, y):
    return FitErrors(x, y[:, None], y[:, None])


TASK = Task([1], context_length=5)

MAKERS = {
    TimeCourse: lambda x, y: TimeCourse(x, y, y[:, None], y[:, None], "closed form"),
    Trajectory: lambda x, y: Trajectory(x, y, y, x[:0], {}, 0.1),
    ErrorCurve: lambda x, y: ErrorCurve(x, y, "new tasks", "a limit"),
    TrainingErrors: lambda x, y: TrainingErrors(x, y, y, y, TASK, TASK),
    FitErrors: fits,
    FitOverlay: lambda x, y: FitOverlay(fits(x, y), y, y, x, x),
    ReadoutPrediction: readout,
    LearningCurve: lambda x, y: LearningCurve(x, y, y, y),
    TaskLearningCurve: lambda x, y: TaskLearningCurve(
        x, y, y, y, y, y, 1, 9.0, TASK, TASK
    ),
    BalancedFlow: lambda x, y: BalancedFlow(x, y, y, y),
    ReducedFlow: lambda x, y: ReducedFlow(x, y, y, y, "exact", 1.0, None),
    LayerFlow: lambda x, y: LayerFlow(x, y, y, y),
    KroneckerFlow: lambda x, y: KroneckerFlow(x, y, y, y, 0.1),
    ModeFlow: lambda x, y: ModeFlow(x, y, y, np.stack([y, y], axis=1), "exact", None),
    FourBlockFlow: lambda x, y: FourBlockFlow(x, y, y, y, y, y, None),
    SgdMoments: lambda x, y: SgdMoments(x, y, y, y, y, y),
    Fit: lambda x, y: Fit("N", tuple(x), tuple(y), 1.0, 1.0),
    Curve: lambda x, y: Curve("loss", tuple(x), tuple(y), tuple(y)),
    Measures: lambda x, y: Measures(x, matrices(y)),
    NetworkRun: lambda x, y: NetworkRun(
        {}, x, {}, np.stack([x, y], axis=1), ("step", "loss"), {}, {}
    ),
    Staircase: lambda x, y: stairs(y),
}

VALUES = {
    "falling": np.geomspace(1.0, 0.1, 50),
    "not finite": np.array([1.0, np.nan, 0.5, np.inf]),
    "diverging": np.geomspace(1.0, 1e308, 9),
    "one": np.array([2.0]),
    "none": np.zeros(0),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("kind", MAKERS, ids=lambda kind: kind.__name__)
def test_a_result_draws_itself(kind, values):
    if kind is FitOverlay and not len(values):
        return  # there are fits, or no overlay
    chart = MAKERS[kind](np.arange(len(values), dtype=float), values).chart()
    if chart is None:  # of nothing, or of one point, there is no curve over a parameter
        assert kind in (ReadoutPrediction, LearningCurve)
        assert len(values) < 2
        return
    svg = ElementTree.fromstring(chart.as_svg())
    assert (svg.get("width"), svg.get("height")) == ("420", "130")
    assert all(line.style != "solid" for line in chart.lines) or kind not in PREDICTED


PREDICTED = (
    TimeCourse,
    ErrorCurve,
    LearningCurve,
    BalancedFlow,
    ReducedFlow,
    LayerFlow,
)


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def is_curve(kind):
    arrays = (
        [f for f in fields(kind) if f.type == FloatArray] if is_dataclass(kind) else []
    )
    names = {field.name for field in arrays}
    return "loss" in names and bool(names & {"flow_time", "theta"})


def test_every_result_with_a_loss_over_time_is_drawn():
    shipped = [kind for kind in subclasses(Displayed) if "attndyn" in kind.__module__]
    curves = {kind for kind in shipped if is_curve(kind)}
    drawn = {kind for kind in shipped if kind.chart is not Displayed.chart}
    assert len(curves) > 8
    assert curves <= drawn
    others = {kind.__name__ for kind in drawn - set(MAKERS)}
    assert others <= {"Overlay", "HeadFlow", "PredictedCurve"}, (
        "add what is drawn to MAKERS"
    )
    assert not any(inspect.isabstract(kind) for kind in MAKERS)


def test_an_overlay_draws_both_and_says_its_gaps():
    run = external_run([2.9, 2.5, 2.0], learning_rate=0.1)
    task = Task([2, 1], context_length=9)
    both = overlay(time_course(task, Merged(2), run.flow_time, 0.1), run)
    chart = both.chart()
    assert {line.style for line in chart.lines} == SOLID_AND_DASHED
    html = both._repr_html_()
    assert f"gap {both.l2_gap:.2g}, largest {both.sup_gap:.2g}" in html
    assert html.index("<svg") < html.index("<table>")
    assert f"{both.sup_gap:.2e}" in html
