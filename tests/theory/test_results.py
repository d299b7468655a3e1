"""Results of the theory show themselves: one screen of text, formulas in a notebook, plain numbers, files."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.theory import (
    TimeCourse,
    feature_moments,
    fixed_point,
    fixed_points,
    population,
    time_course,
)

SMALL = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
LARGE = Task(np.linspace(1, 2, 300), context_length=31, trace=1.0)
MODEL = Separate(heads=4)


def course(task, start=0.1):
    return time_course(task, MODEL, np.linspace(0, 1000, 300), start)


RESULTS = {
    "task": SMALL,
    "large task": LARGE,
    "full task": Task(covariance=np.eye(30) + 0.1, context_length=9),
    "model": MODEL,
    "merged": Merged(heads=8, score_divisor="sqrt_key"),
    "population": population(SMALL, MODEL),
    "large population": population(LARGE, MODEL),
    "feature moments": feature_moments(SMALL, MODEL),
    "fixed point": fixed_point(SMALL, MODEL, (1, 3)),
    "fixed points": fixed_points(LARGE, MODEL),
    "course": course(SMALL),
    "large course": course(LARGE),
}


@pytest.mark.parametrize("name", RESULTS)
def test_text_fits_one_screen(name):
    lines = repr(RESULTS[name]).splitlines()
    assert 1 <= len(lines) <= 24
    assert max(len(line) for line in lines) <= 400
    assert len(repr(RESULTS[name])) <= 2400


@pytest.mark.parametrize("name", RESULTS)
def test_a_notebook_gets_a_table_with_formulas(name):
    html = RESULTS[name]._repr_html_()
    assert "<table>" in html
    assert html.count("<svg") == name.endswith("course")
    assert "<math" in html
    assert len(html) < 20_000


@pytest.mark.parametrize("name", RESULTS)
def test_dictionaries_hold_plain_numbers(name):
    json.dumps(RESULTS[name].to_dict())


def test_a_course_comes_back_from_its_file(tmp_path):
    one = course(SMALL)
    path = one.save(tmp_path / "course.npz")
    again = TimeCourse.load(path)
    assert again.source == one.source == "closed form"
    for name in ("flow_time", "loss", "amplitudes", "coefficients"):
        assert np.array_equal(getattr(again, name), getattr(one, name))


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", loss=np.zeros(3))
    with pytest.raises(ValueError, match="no time course: flow_time"):
        TimeCourse.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        TimeCourse.load(tmp_path / "missing.npz")
    wrong = course(SMALL).to_dict() | {"loss": np.zeros(2)}
    np.savez(tmp_path / "wrong.npz", **wrong)
    with pytest.raises(ValueError, match=r"loss must have shape \(300,\), not \(2,\)"):
        TimeCourse.load(tmp_path / "wrong.npz")


def test_a_curve_takes_a_label_of_its_own():
    ax = course(SMALL).plot(label="mine")
    course(SMALL).plot(ax, color="red")
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == ["mine", "theory (closed form)"]
    plt.close(ax.figure)


def test_long_settings_print_as_a_summary_and_short_ones_as_their_constructor():
    assert repr(SMALL) == "Task(eigenvalues=[0.4, 0.3, 0.2, 0.1], context_length=31)"
    assert eval(repr(SMALL), {"Task": Task}) == SMALL
    assert "eigenvalues=(300,) from" in repr(LARGE)
