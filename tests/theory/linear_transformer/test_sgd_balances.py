"""The law of balance of online SGD along the line of minima."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import sgd_balance

TASK = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)


def test_reference_course() -> None:
    course = sgd_balance(TASK, 0.02, 32, [0, 1000, 2000, 3000, 4000], scale=1.6)
    expected = [1.644, 0.126, -0.474, -0.737, -0.857]
    np.testing.assert_allclose(course.difference, expected, atol=5e-4)
    assert round(course.limit, 3) == -0.962
    assert round(course.noise_p, 6) == 15.840124
    assert round(course.noise_q, 6) == 21.423715


def smaller_steps(scale: float) -> float:
    """The part of a step at which SGD stays near the minimum at this scale."""
    return min(1.0, scale, 1 / scale) ** 2


@pytest.mark.parametrize("scale", [0.3, 0.9, 1.6, 30.0])
def test_course_solves_the_law(scale: float) -> None:
    share = smaller_steps(scale) / 2
    steps, width = np.linspace(0, 3000, 13) / share**2, 1e-3 / share**2
    courses = [
        sgd_balance(TASK, 0.02 * share, 32, steps + shift, scale=scale)
        for shift in (0, width, 2 * width)
    ]
    slopes = (courses[2].difference - courses[0].difference) / (2 * width)
    c = courses[1].scale
    expected = (0.04 * share) ** 2 / 32 * (15.840124 / c**2 - 21.423715 * c**2)
    np.testing.assert_allclose(slopes, expected, rtol=2e-4, atol=1e-9 * share**2)


@pytest.mark.parametrize("scale", [1e-20, 1e-5, 1e-3])
def test_a_scale_far_below_the_stable_one_grows_exponentially(scale: float) -> None:
    share = smaller_steps(scale)
    steps = 10 / share**2
    course = sgd_balance(TASK, 0.02 * share, 32, [0, steps], scale=scale)
    assert course.scale[0] == pytest.approx(scale, rel=1e-12, abs=0)
    q_squared = -course.difference[0] * scale**2
    rate = (0.04 * share) ** 2 / 32 * course.noise_p / (2 * q_squared)
    assert np.log(course.scale[1] / scale) == pytest.approx(steps * rate, rel=1e-5)


@pytest.mark.parametrize(
    ("rate", "batch", "scale", "message"),
    [
        (0.02, 32, 30.0, r"must be below 2/λ_max = 0\.00115"),
        (1e3, 32, 1.0, r"must be below 2/λ_max"),
        (0.02, 1, 1.6, r"with 1 prompts a step: the noise of the Hessian"),
        (1e-9, 1, 1e60, r"scale must lie between"),
    ],
)
def test_sgd_that_leaves_the_line_of_minima_is_refused(
    rate: float, batch: int, scale: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sgd_balance(TASK, rate, batch, [1], scale=scale)


def test_an_input_that_does_not_vary_moves_nothing() -> None:
    both = Task([1, 0], teachers=Gaussian.shared_basis([1, 1]), context_length=5)
    alone = Task([1], teachers=Gaussian.shared_basis([1]), context_length=5)
    courses = [sgd_balance(t, 1e-3, 9, [0, 500], scale=1.2) for t in (both, alone)]
    np.testing.assert_allclose(courses[0].difference, courses[1].difference, rtol=1e-9)


def test_limit_is_reached_and_kept() -> None:
    course = sgd_balance(TASK, 0.02, 32, [1e6, 1e9], scale=0.6)
    np.testing.assert_allclose(course.scale, course.stable_scale, rtol=1e-12)
    at_rest = sgd_balance(TASK, 0.02, 32, [0, 100], scale=course.stable_scale)
    np.testing.assert_allclose(at_rest.scale, course.stable_scale, rtol=1e-12)
    assert at_rest.to_dict()["limit"] == pytest.approx(course.limit)
    assert "in the limit" in repr(at_rest)


def test_negative_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="steps must be zero or more, not -1"):
        sgd_balance(TASK, 0.02, 32, [-1], scale=1)
