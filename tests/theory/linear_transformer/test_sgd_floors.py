"""The floor of online SGD."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import largest_step, sgd_floor

TASK = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)


@pytest.mark.parametrize(
    ("batch", "h", "leading", "excess"),
    [
        (32, 0.04, 0.01151, 0.01474),
        (32, 0.02, 0.00576, 0.00646),
        (128, 0.04, 0.00288, 0.00318),
        (128, 0.01, 0.000720, 0.000737),
    ],
)
def test_reference_values(batch: int, h: float, leading: float, excess: float) -> None:
    floor = sgd_floor(TASK, h / 2, batch)
    digits = 6 if leading < 1e-3 else 5
    # The reference is the excess of ½L.
    assert round(floor.leading / 2, digits) == leading
    assert round(floor.excess / 2, digits) == excess
    assert floor.leading < floor.additive < floor.excess
    assert round(float(np.trace(floor.noise)), 6) == 36.843143
    assert round(floor.stable_scale, 6) == 0.927291


def test_covariance_is_stationary_across_the_scale_line() -> None:
    floor = sgd_floor(TASK, 0.01, 32)
    along = np.concatenate([np.diag(floor.p).ravel(), -np.diag(floor.q).ravel()])
    np.testing.assert_allclose(floor.covariance @ along, 0, atol=1e-14)
    assert floor.curvatures[0] == 0 < floor.curvatures[1]


def test_order_of_what_the_leading_floor_leaves_out() -> None:
    ratios = [
        sgd_floor(TASK, 0.01, batch).excess / sgd_floor(TASK, 0.01, batch).additive
        for batch in (10_000, 20_000)
    ]
    assert (ratios[0] - 1) / (ratios[1] - 1) == pytest.approx(2, rel=0.01)


def test_stable_scale_has_the_lowest_leading_floor() -> None:
    least = sgd_floor(TASK, 0.01, 32)
    others = [
        sgd_floor(TASK, 0.01, 32, scale=factor * least.scale).leading
        for factor in (0.9, 1.1)
    ]
    assert min(others) > least.leading


def test_no_floor_above_the_edge() -> None:
    edge = float(largest_step(TASK, scale=1.0))
    assert sgd_floor(TASK, 0.49 * edge, 10**6, scale=1.0).excess > 0
    with pytest.raises(ValueError, match="must be below 2/λ_max"):
        sgd_floor(TASK, 0.51 * edge, 10**6, scale=1.0)
    with pytest.raises(ValueError, match="multiplies second moments by"):
        sgd_floor(TASK, 0.4 * edge, 1)


def test_floor_is_linear_in_tiny_rates() -> None:
    floor = sgd_floor(TASK, 1e-100, 32)
    assert floor.excess == pytest.approx(floor.leading, rel=1e-12)


def test_modes_that_do_not_vary_are_refused() -> None:
    nothing = Task([1, 0], teachers=Gaussian.shared_basis([0, 1]), context_length=2)
    with pytest.raises(ValueError, match="nothing is learned"):
        sgd_floor(nothing, 0.01, 32)
    flat = Task([1, 1], teachers=Gaussian.shared_basis([1, 0]), context_length=2)
    with pytest.raises(ValueError, match="flat at its minimum"):
        sgd_floor(flat, 0.01, 32)


def test_a_mode_that_is_off_adds_noise() -> None:
    task = Task([1, 0.01], teachers=Gaussian.shared_basis([1, 1]), context_length=1)
    floor = sgd_floor(task, 0.001, 64)
    assert floor.p[1] == 0
    assert floor.excess > floor.leading
    assert "stable" in repr(floor)
    assert set(floor.to_dict()) >= {"excess", "leading"}


def test_units_beyond_a_double_are_refused() -> None:
    for s, ω in ((1e-60, 1), (1e80, 1), (1, 1e120)):
        task = Task([s], teachers=Gaussian.shared_basis([ω]), context_length=2)
        with pytest.raises(ValueError, match="take units in which it is between"):
            sgd_floor(task, 1e-3, 32)


def test_a_scale_far_from_the_stable_one_is_refused() -> None:
    with pytest.raises(ValueError, match="take a scale near the stable one"):
        sgd_floor(TASK, 1e-12, 32, scale=1e-3)


def test_a_batch_beyond_any_data_is_refused() -> None:
    with pytest.raises(ValueError, match="batch may be 10¹⁵ at most"):
        sgd_floor(TASK, 1e-3, 10**400)
