"""Flows of heads as results: reduced and balanced ones are stored, read and refused alike."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from attndyn import Task
from attndyn.theory.softmax_attention import (
    BalancedFlow,
    ReducedFlow,
    balanced_flow,
    reduced_flow,
)

TASK = Task(
    [1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40
)
TIMES = [3.0, 0.0, 3.0]


def reduced():
    """Three heads of both signs."""
    return reduced_flow(
        TASK, [0.1, -0.1, 0.2], [0.1, 0.1, 0.1], TIMES, loss="approximate"
    )


def balanced():
    """Two heads that serve three tasks."""
    return balanced_flow(TASK, np.full((2, 3), 0.1), np.full((2, 3), 0.2), TIMES)


@pytest.mark.parametrize("flow", [reduced(), balanced()], ids=["reduced", "balanced"])
def test_flows_are_stored(flow, tmp_path):
    path = flow.save(tmp_path / "flow.npz")
    again = type(flow).load(path)
    assert again.to_dict() == flow.to_dict()
    assert repr(again) == repr(flow)
    assert_array_equal(again.flow_time, TIMES)
    arrays = dict(np.load(path))
    for name, broken in (
        ("omega", arrays["omega"][:2]),
        ("mu", arrays["mu"][:, :1]),
        ("loss", arrays["loss"] * np.nan),
        ("flow_time", -arrays["flow_time"]),
    ):
        np.savez(tmp_path / "broken.npz", **(arrays | {name: broken}))
        with pytest.raises(ValueError, match=f"{name} must"):
            type(flow).load(tmp_path / "broken.npz")


def test_one_flow_is_not_read_as_the_other(tmp_path):
    with pytest.raises(ValueError, match="no reduced flow: kind, metric, phases"):
        ReducedFlow.load(balanced().save(tmp_path / "balanced.npz"))
    with pytest.raises(ValueError, match="omega must have shape"):
        BalancedFlow.load(reduced().save(tmp_path / "reduced.npz"))


@pytest.mark.parametrize(
    "times", [[-1.0], [0.0, np.nan], [np.inf], [], [[0.0, 1.0]]], ids=str
)
def test_times_that_are_none_are_refused(times):
    with pytest.raises(ValueError, match="flow_time must"):
        reduced_flow(TASK, [0.1], [0.1], times, loss="approximate")
    with pytest.raises(ValueError, match="flow_time must"):
        balanced_flow(TASK, [[0.1]], [[0.1]], times)
