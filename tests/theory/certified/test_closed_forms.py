"""Closed forms as enclosures, against quadratures, and at the ends of their range."""

import random
from fractions import Fraction
from itertools import pairwise

import flint
import mpmath
import pytest

from attndyn import Merged, Separate, Task
from attndyn.theory.certified import (
    NoCertificate,
    aligned_exit_time,
    aligned_loss,
    head_amplitude,
    head_half_loss_time,
    merged_half_loss_time,
)
from attndyn.theory.certified.closed_forms import _proved_root

FOUR = Task(eigenvalues=[4, 3, 2, 1], trace=1, context_length=31)
HEADS = Separate(heads=4)
WHITE = Task(eigenvalues=[1, 1, 1, 1], context_length=31)


def real(number):
    return mpmath.mpf(number.numerator) / number.denominator


@pytest.mark.parametrize("seed", range(6))
def test_half_loss_times_of_random_heads_are_quadratures(seed):
    generator = random.Random(seed)
    λ = Fraction(generator.randint(1, 30), 10)
    N = generator.choice([1, 5, 31, 1000])
    noise = Fraction(generator.randint(0, 5), 7)
    v0 = Fraction(1, generator.randint(8, 10**5))
    task = Task(eigenvalues=[λ], noise_variance=noise, context_length=N)
    time = head_half_loss_time(task, Separate(heads=1), v0)
    with mpmath.workdps(50):
        b = real(λ) ** 2
        curvature = real(λ) * (
            b * (1 + mpmath.mpf(1) / N) + real(λ) * real(λ + noise) / N
        )
        end = mpmath.cbrt(b / curvature * (1 - mpmath.sqrt(mpmath.mpf(1) / 2)))
        cuts = mpmath.linspace(mpmath.log(real(v0)), mpmath.log(end), 9)
        quadrature = mpmath.quad(
            lambda u: 1 / (b * mpmath.exp(u) - curvature * mpmath.exp(4 * u)), cuts
        )
        assert (
            abs(real(time.midpoint) - quadrature)
            < real(time.radius) + quadrature / mpmath.mpf(10) ** 40
        )
    assert time.radius < time.midpoint / 10**33


def test_the_amplitude_is_the_inverse_of_the_time():
    time = head_half_loss_time(FOUR, HEADS, "1/1000")
    v = head_amplitude(FOUR, HEADS, time.midpoint, "1/1000")
    share = v.midpoint**3 / _coefficient(FOUR)
    assert abs((1 - share) ** 2 - Fraction(1, 2)) < Fraction(1, 10**30)


def _coefficient(task):
    """m = b/(aλ) of the first direction."""
    λ, N = max(task.exact_variances), task.context_length
    return λ / (λ * λ * (1 + Fraction(1, N)) + λ * sum(task.exact_variances) / N)


@pytest.mark.parametrize("time", [0, "1/1000", 10, 6245, 10**4, 10**6])
def test_amplitudes_before_and_long_after_the_drop(time):
    v = head_amplitude(FOUR, HEADS, time, "1/1000")
    limit = _coefficient(FOUR)
    assert Fraction(1, 1000) - v.radius <= v.midpoint
    assert v.lower**3 <= limit
    assert v.width < Fraction(1, 10**30)
    if time == 10**6:
        assert v.upper**3 >= limit


def test_amplitudes_grow_with_time():
    amplitudes = [head_amplitude(FOUR, HEADS, 40 * step, "1/200") for step in range(60)]
    for earlier, later in pairwise(amplitudes):
        assert later.upper > earlier.lower


def test_the_loss_of_one_head_is_half_gone_at_its_half_loss_time():
    starts = ["1/100", 0, 0, 0]
    time = head_half_loss_time(FOUR, HEADS, "1/100")
    gained = 1 - aligned_loss(FOUR, HEADS, 10**6, starts).midpoint
    loss = aligned_loss(FOUR, HEADS, time.midpoint, starts)
    assert abs(loss.midpoint - 1 + gained / 2) < Fraction(1, 10**30)
    level = 1 - gained / 2
    exit_time = aligned_exit_time(FOUR, HEADS, level, starts, until=1000)
    assert abs(exit_time.midpoint - time.midpoint) < Fraction(1, 10**25)


def test_less_precision_is_wider_and_never_elsewhere():
    precise = head_half_loss_time(FOUR, HEADS, "1/1000", bits=256)
    for bits in (20, 30, 53, 64, 100):
        poor = head_half_loss_time(FOUR, HEADS, "1/1000", bits=bits)
        assert not poor.is_disjoint(precise)
        try:
            v = head_amplitude(FOUR, HEADS, 6200, "1/1000", bits=bits)
        except NoCertificate:
            continue
        assert not v.is_disjoint(head_amplitude(FOUR, HEADS, 6200, "1/1000", bits=256))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: head_half_loss_time(FOUR, HEADS, "0"), "positive"),
        (lambda: head_half_loss_time(FOUR, HEADS, "-1/10"), "positive"),
        (lambda: head_half_loss_time(FOUR, HEADS, 5), "fixed point"),
        (lambda: head_half_loss_time(FOUR, HEADS, "13/10"), "half the loss"),
        (lambda: head_half_loss_time(FOUR, HEADS, "x"), "v0 must be a rational"),
        (lambda: head_half_loss_time(FOUR, HEADS, "1/100", 5), "from 1 to 4"),
        (lambda: head_half_loss_time(FOUR, HEADS, "1/100", 0), "from 1 to 4"),
        (lambda: head_half_loss_time(FOUR, HEADS, "1/100", True), "from 1 to 4"),
        (lambda: head_half_loss_time(FOUR, HEADS, "1/100", "1"), "from 1 to 4"),
        (lambda: head_amplitude(FOUR, HEADS, -1, "1/100"), "zero or more"),
        (lambda: head_amplitude(FOUR, HEADS, float("inf"), "1/100"), "rational"),
        (lambda: aligned_loss(FOUR, HEADS, 1, ["1/100"]), "each of 4"),
        (lambda: aligned_exit_time(FOUR, HEADS, 2, ["1/9"] * 4), "below the loss"),
        (lambda: merged_half_loss_time(FOUR, Merged(heads=2), "1/100"), "white"),
        (lambda: merged_half_loss_time(WHITE, Merged(heads=2), 5), "half of the loss"),
    ],
)
def test_what_has_no_closed_form_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_a_level_that_is_not_reached_is_refused():
    with pytest.raises(NoCertificate, match="later"):
        aligned_exit_time(FOUR, HEADS, "1/2", ["1/100", 0, 0, 0], until=10)


def test_a_task_that_is_not_diagonal_is_refused():
    task = Task(covariance=[[2, 1], [1, 2]], context_length=5)
    with pytest.raises(ValueError, match="diagonal"):
        head_half_loss_time(task, Separate(heads=2), "1/100")


@pytest.mark.parametrize("error", ["1e-3", "1e-6", "1e-12", "0"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_root_is_proved_from_a_guess_that_is_off(error, sign):
    with flint.ctx.workprec(128):
        root = flint.arb(2).sqrt()
        guess = (root + sign * flint.arb(error)).mid()
        proved = _proved_root(lambda x: x * x - 2, lambda x: 2 * x, guess)
        assert proved.overlaps(root)
        assert proved.rad() < 1e-5


def test_no_root_is_proved_where_there_is_none():
    with (
        flint.ctx.workprec(128),
        pytest.raises(NoCertificate, match="no solution"),
    ):
        _proved_root(lambda x: x * x + 2, lambda x: 2 * x, flint.arb(1))


@pytest.mark.parametrize("model", [Merged(heads=2), Separate(heads=1, rank=2)])
def test_heads_of_another_kind_have_other_equations(model):
    routines = [
        lambda: head_half_loss_time(FOUR, model, "1/100"),
        lambda: head_amplitude(FOUR, model, 1, "1/100"),
        lambda: aligned_loss(FOUR, model, 1, ["1/100", 0, 0, 0]),
        lambda: aligned_exit_time(FOUR, model, "1/2", ["1/100", 0, 0, 0]),
    ]
    for routine in routines:
        with pytest.raises(ValueError, match="separate heads of rank one"):
            routine()


def test_the_form_of_merged_attention_is_not_that_of_separate_heads():
    with pytest.raises(ValueError, match="merged attention"):
        merged_half_loss_time(WHITE, HEADS, "1/100")


def test_no_more_heads_begin_than_there_are():
    one = Separate(heads=1)
    with pytest.raises(ValueError, match="starts 2 heads"):
        aligned_loss(FOUR, one, 1, ["1/100", "1/100", 0, 0])
    alone = aligned_loss(FOUR, one, 1, [0, "1/100", 0, 0])
    assert alone == aligned_loss(FOUR, HEADS, 1, [0, "1/100", 0, 0])
