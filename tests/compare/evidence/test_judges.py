"""The judges of claims on manufactured data: they accept what is true and reject what is nearly true."""

import functools
import inspect
from types import CodeType, FunctionType

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attndyn import Separate, Task
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.judges import (
    BONFERRONI_COUNT,
    CONFIDENCE,
    at_least_order,
    converges_at_order,
    converges_on_average,
    equal_within,
    student_quantile,
)
from attndyn.theory import fixed_point, population

H = np.array([0.1, 0.03, 0.01, 0.003])
CURVE = np.linspace(2.0, 1.0, 20)
SHAPE = np.sin(np.linspace(0.0, 3.0, 20))
P = np.array([1_000, 4_000, 16_000, 64_000])


def curves(gap):
    """Predicted curves and observed ones that are `gap` (K,) off at most."""
    return [CURVE] * len(gap), [CURVE + g * SHAPE / SHAPE.max() for g in gap]


# Equality


def test_equal_curves_are_the_same():
    judge = equal_within(1e-9)
    assert judge([CURVE, SHAPE], [CURVE, SHAPE]).agrees
    assert judge([CURVE], [CURVE * (1 + 0.9e-9)]).agrees
    for place in range(20):
        off = CURVE.copy()
        off[place] += 4e-9  # of a curve of size 2
        verdict = judge([CURVE, CURVE], [CURVE, off])
        assert not verdict.agrees
        assert verdict.residual == pytest.approx(2e-9, rel=1e-6)


def test_the_gap_is_relative_to_the_prediction():
    assert equal_within(1e-3)([1e6 * CURVE], [1e6 * CURVE + 1.0]).agrees
    assert not equal_within(1e-3)([1e-6 * CURVE], [1e-6 * CURVE + 1.0]).agrees


def test_curves_that_are_missing_or_hold_nan_are_an_error():
    with pytest.raises(
        ValueError, match="2 predictions cannot be held against 1 observation"
    ):
        equal_within(1e-9)([CURVE, CURVE], [CURVE])
    with pytest.raises(ValueError, match="nan"):
        equal_within(1e-9)([CURVE], [CURVE * np.nan])


# Orders without scatter


@settings(max_examples=25, deadline=None)
@given(order=st.floats(0.3, 4.0), size=st.floats(1e-6, 1.0))
def test_an_order_is_found_and_others_are_not(order, size):
    assume(
        size * H[-1] ** order > 1e-12
    )  # smaller gaps are rounding of curves of size 2 and have no order
    predicted, observed = curves(size * H**order)
    assert converges_at_order(H, order)(predicted, observed).agrees
    assert not converges_at_order(H, order + 0.15)(predicted, observed).agrees
    assert not converges_at_order(H, order - 0.15)(predicted, observed).agrees


def test_a_higher_term_does_not_spoil_an_order():
    predicted, observed = curves(0.5 * H + 2.0 * H**2)
    verdict = converges_at_order(H, 1, name="w")(predicted, observed)
    assert verdict.agrees
    assert verdict.fit.parameter == "w"
    assert verdict.fit.slope == pytest.approx(1.0, abs=0.05)
    assert verdict.fit.expected == 1
    assert verdict.fit.errors[0] == pytest.approx(0.070, rel=0.01)
    assert verdict.residual == pytest.approx(1.5e-3, rel=0.02)


@pytest.mark.parametrize("offset", [1.0, 0.1, 1e-3])
def test_a_wrong_limit_is_told_however_small(offset):
    predicted, observed = curves(0.5 * H + offset)
    assert not converges_at_order(H, 1)(predicted, observed).agrees
    predicted, observed = curves(0.5 * H * (-1) ** np.arange(4) + 1e-3)
    assert not converges_at_order(H, 1)(predicted, observed).agrees


def test_an_order_in_a_scale_of_the_parameter():
    scale = lambda w: w**2 * np.log(1 / w)
    predicted, observed = curves(3 * H**2 * np.log(1 / H))
    assert converges_at_order(H, 1, scale)(predicted, observed).agrees
    assert not converges_at_order(H, 2)(predicted, observed).agrees
    assert not converges_at_order(H, 1, scale)(*curves(3 * H)).agrees


def test_a_parameter_that_grows():
    predicted, observed = curves(5.0 / P)
    assert converges_at_order(P, -1)(predicted, observed).agrees
    assert not converges_at_order(P, -0.5)(predicted, observed).agrees


# An order at least


def entries(gaps):
    """Predictions of 1 (K, entries), and observations that are so far off."""
    return list(np.ones_like(gaps)), list(1 + gaps)


def test_a_higher_order_is_enough_and_a_lower_one_is_not():
    judge = at_least_order(H, 1, 0.05, "scale")
    for order, agrees in {1: True, 1.5: True, 2: True, 0.8: False, 0.5: False}.items():
        assert (
            judge(*entries(H[:, None] ** order * np.array([1.0, 0.3, 0.01]))).agrees
            == agrees
        ), order
    assert not judge(*entries(np.full((4, 3), 0.01))).agrees


def test_entries_may_reach_their_order_late():
    """An error that changes its sign on the way is small by accident there."""
    gaps = np.column_stack([H**2, H * (H - 0.04), 2 * H**2])
    assert not converges_at_order(H, 1)(*entries(gaps)).agrees
    assert at_least_order(H, 1, 0.05)(*entries(gaps)).agrees


def test_one_entry_of_many_that_stays_behind_is_told():
    gaps = np.column_stack([H**2] * 11 + [np.full(4, 0.2)])
    assert at_least_order(H, 1, 0.25)(
        *entries(gaps)
    ).agrees  # the typical gap does not tell
    verdict = at_least_order(H, 1, 0.05)(*entries(gaps))
    assert not verdict.agrees
    assert verdict.residual == pytest.approx(0.2)


def test_exact_agreement_has_no_order_to_find():
    with pytest.raises(ValueError, match="an order needs errors"):
        converges_at_order(H, 1)(*curves(np.zeros(4)))


# Orders with scatter


def sampled(order, seed, seeds=24, size=3.0, offset=0.0):
    """Zero, and observations (K, seeds, 5) whose distance from it falls like P^order, and scatters."""
    noise = np.random.default_rng(seed).standard_normal((4, seeds, 5))
    return np.zeros((4, seeds, 5)), size * noise * P[:, None, None] ** order + offset


def test_sampling_errors_fall_like_the_root():
    verdicts = [
        converges_on_average(P, -0.5, "P")(*sampled(-0.5, seed)) for seed in range(40)
    ]
    assert all(verdict.agrees for verdict in verdicts)
    assert verdicts[0].fit.parameter == "P"
    low, high = verdicts[0].fit.interval
    assert -0.7 < low < -0.5 < high < low + 0.4


@pytest.mark.parametrize("order", [-1.0, -0.75, -0.25, 0.0])
def test_another_order_is_told_whatever_the_seed(order):
    assert not any(
        converges_on_average(P, -0.5)(*sampled(order, seed)).agrees
        for seed in range(20)
    )


def test_a_small_bias_is_told():
    """Two percent of the largest error: what a wrong limit leaves."""
    assert not any(
        converges_on_average(P, -0.5)(*sampled(-0.5, seed, offset=0.03)).agrees
        for seed in range(20)
    )


def test_too_few_seeds_conclude_nothing():
    """An interval wider than 0.4 holds the right order, and every other one: it does not count."""
    few = converges_on_average(P, -0.5)(*sampled(-0.5, 0, seeds=1))
    assert (few.agrees, few.undecided) == (False, True)
    far = converges_on_average(P, -0.5)(*sampled(1.5, 0, seeds=5))
    assert (far.agrees, far.undecided) == (
        False,
        False,
    )  # however wide, it does not hold the order


STOCHASTIC = {"CONFIDENCE", "BONFERRONI_COUNT", "FAMILYWISE_ERROR", "student_quantile"}


def names_in(function, seen):
    """Every name that a function reads: its own, those of functions inside and around it, and those that it calls."""
    if isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type) and within_package(function):
        methods = (value for value in vars(function).values() if callable(value))
        return set().union(*(names_in(method, seen) for method in methods))
    function = inspect.unwrap(function) if callable(function) else None
    if not isinstance(function, FunctionType) or not within_package(function):
        return set()
    if function.__code__ in seen:
        return set()
    code = function.__code__
    seen.add(code)
    names = set(code.co_names)
    for inner in (value for value in code.co_consts if isinstance(value, CodeType)):
        names |= set(inner.co_names)
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    called = [function.__globals__.get(name) for name in names]
    for other in (*around, *called):
        names |= names_in(other, seen)
    return names


def within_package(function):
    return function.__module__.startswith("attndyn.")


def is_stochastic(claim):
    """Whether it compares with a quantile somewhere, so that chance may make it reject what is true."""
    parts = (claim.judge, claim.predict, claim.measure)
    return any(STOCHASTIC & names_in(part, set()) for part in parts)


def test_there_are_no_more_stochastic_claims_than_share_the_false_alarm():
    assert sum(map(is_stochastic, all_claims())) <= BONFERRONI_COUNT


def test_claims_that_draw_on_a_quantile_are_told_from_those_that_do_not():
    of_name = {claim.id: claim for claim in all_claims()}
    for name in (
        "limits.sequences",
        "separate.published_steps",
        "across_seeds.merged_times",
    ):
        assert is_stochastic(of_name[name])
    for name in ("limits.learning_rate", "proofs.moments", "fixed_points.index"):
        assert not is_stochastic(of_name[name])


# What predictions are made of


def test_the_quantile_is_that_of_student():
    from scipy.stats import norm, t

    assert student_quantile(7) == pytest.approx(
        t.ppf((1 + CONFIDENCE) / 2, 7), rel=1e-9
    )
    assert student_quantile(10**7) == pytest.approx(
        norm.ppf((1 + CONFIDENCE) / 2), rel=1e-4
    )
    assert student_quantile(3) > student_quantile(30)


def test_the_aligned_loss_is_the_loss_of_the_map():
    task = Task([4, 3, 2, 1], trace=1.0, context_length=31, noise_variance=0.2)
    moments = population(task, Separate(4))
    coefficients = np.random.default_rng(0).uniform(-1, 3, (6, 4))
    maps = np.einsum(
        "id,td,jd->tij", moments.directions, coefficients, moments.directions
    )
    np.testing.assert_allclose(
        moments.aligned_loss(coefficients), moments.loss(maps), rtol=1e-12
    )
    learned = np.where(np.arange(4) < 2, moments.coefficients, 0.0)[None]
    assert moments.aligned_loss(learned)[0] == pytest.approx(
        fixed_point(task, Separate(4), (1, 2)).loss, rel=1e-12
    )
    assert (
        abs(
            moments.aligned_loss(learned[:, ::-1])[0]
            - fixed_point(task, Separate(4), (1, 2)).loss
        )
        > 0.01
    )


def test_rounding_is_left_out_of_an_order():
    gaps = np.array([1e-3, 1e-6, 1e-9, 3e-16])
    verdict = converges_at_order(np.array([1e-1, 1e-2, 1e-3, 1e-4]), 3)(*curves(gaps))
    assert verdict.agrees, verdict
    assert "1 below the floor" in verdict.observed
    stalled = converges_at_order(np.array([1e-1, 1e-2, 1e-3, 1e-4]), 3)(
        *curves(np.array([1e-3, 1e-6, 1e-9, 1e-9]))
    )
    assert not stalled.agrees  # control: a stall above the floor is one
