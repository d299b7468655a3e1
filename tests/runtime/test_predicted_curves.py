"""Files of predicted curves: what they hold, and which of them are refused, of every class alike."""

import numpy as np
import pytest

from attndyn.compare import ErrorCurve
from attndyn.theory import TimeCourse
from attndyn.theory.softmax_attention import BalancedFlow

TIMES, LOSS = np.array([2.0, 0.0]), np.array([0.5, 1.0])
HEADS = np.ones((2, 3, 1))

CURVES = [
    TimeCourse(TIMES, LOSS, np.ones((2, 3)), np.ones((2, 4)), "closed form"),
    ErrorCurve(TIMES, LOSS, "new tasks", "a limit"),
    BalancedFlow(TIMES, HEADS, HEADS, LOSS),
]
NAMES = [
    {"flow_time", "loss", "amplitudes", "coefficients", "source", "settings"},
    {"flow_time", "loss", "tested_on", "source", "settings"},
    {"flow_time", "loss", "omega", "mu"},
]


@pytest.mark.parametrize(("curve", "names"), list(zip(CURVES, NAMES, strict=True)))
def test_a_file_holds_the_series_and_what_they_are(curve, names, tmp_path):
    path = curve.save(tmp_path / "curve.npz")
    with np.load(path) as file:
        assert set(file) == names
    assert type(curve).load(path).to_dict() == curve.to_dict()


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": [1.0, 2.0, 3.0]}, r"loss must have shape \(2,\)"),
        ({"loss": [1.0, np.nan]}, "loss must be finite"),
        ({"flow_time": [-1.0, 0.0]}, "no times below 0"),
    ],
)
def test_series_that_are_no_curve_are_refused(curve, changed, message, tmp_path):
    path = curve.save(tmp_path / "curve.npz")
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | changed))
    with pytest.raises(ValueError, match=message):
        type(curve).load(path)
    del arrays["loss"]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"is no {curve.NAME}: loss missing"):
        type(curve).load(path)


def test_one_letter_is_one_size(tmp_path):
    path = CURVES[2].save(tmp_path / "curve.npz")
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"mu": np.ones((2, 4, 1))}))
    with pytest.raises(ValueError, match=r"mu must have shape \(2, 3, 1\)"):
        BalancedFlow.load(path)


@pytest.mark.parametrize("curve", CURVES)
def test_no_curve_knows_steps(curve):
    assert curve.plot().get_lines()[0].get_xdata().tolist() == [0.0, 2.0]
    with pytest.raises(ValueError, match=f"this {curve.NAME} knows no learning rate"):
        curve.plot(x="steps")
