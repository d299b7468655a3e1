"""Phases named on flows: what is said of each start, against gradients of the loss itself, and what is not said."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.theory.softmax_attention import (
    HeadPhases,
    exact_loss,
    growth_rates,
    leading_tail_end,
    reduced_flow,
    tail_end,
    tail_law,
    trap_loss,
    valley_step,
)
from attndyn.theory.softmax_attention.head_phases import phases_of


def white(dimension=5, length=40, noise=0.1):
    """The task of He et al.: x ~ N(0, 1), w ~ N(0, 1/D)."""
    return Task(
        [1] * dimension,
        teacher_covariance=np.eye(dimension) / dimension,
        noise_variance=noise,
        context_length=length,
    )


SMALL = white(3, 12)
"""A size at which the exact loss costs little."""

START = ([0.1, -0.12], [0.1, -0.08])
"""Two heads of either sign."""


# ---- the valley ----


@pytest.mark.parametrize(("query_token", "begin"), [(False, 9.09), (True, 40.6)])
def test_the_exact_valley_is_where_ω_is_at_rest_on_the_exact_loss(query_token, begin):
    times = [0.9 * begin, 1.1 * begin]
    flow = reduced_flow(SMALL, *START, times, query_token=query_token)
    assert abs(flow.phases.valley_time / begin - 1) < 0.01
    gradient = exact_loss(
        SMALL, flow.omega, flow.mu, query_token=query_token, gradient=True
    ).gradient
    # All of ∂L/∂ω_h at small heads is 2 g |μ_h|.
    g = (12 / 13) ** 2 if query_token else 11 / 12
    left = gradient.omega / (2 * g * flow.mu)
    largest = np.max(np.abs(left), axis=1)
    assert largest[0] > 0.01 > largest[1]
    assert_allclose(flow.phases.valley_error, left[1, np.argmax(np.abs(left[1]))])


def test_the_exact_valley_step_is_where_the_slope_vanishes():
    task, s = white(3, 12, 0.3), np.array([0.2, 0.7])
    γ = np.sqrt(s / 3)
    m = valley_step(task, s) / (2 * γ)
    ω, μ = np.array([γ, -γ]).T, np.array([m, -m]).T
    gradient = exact_loss(task, ω, μ, gradient=True).gradient
    assert_allclose(gradient.omega, 0, atol=1e-8)
    # The best values for these ω, at which ∂L/∂μ vanishes, are others.
    assert np.all(np.abs(gradient.mu) > 1e-3)


# ---- tail and end ----


def test_the_tail_is_named_where_it_is():
    task = white()
    times = np.geomspace(10, 1e9, 1000)
    flow = reduced_flow(task, *START, times)
    phases = flow.phases
    # s is 2 s* there: later it falls more slowly.
    assert 3e4 < phases.tail_time < 5e4
    s = np.interp(phases.tail_time, times, 5 * np.mean(flow.omega**2, axis=1))
    assert 1.9 < s / phases.end < 2.3
    # κ of the exact loss to leading order in 1/N, 3.9 times that of the approximate one.
    κ = 1.1 / 40 * 7 * 9 * 8.5 / (5**3 * 1.1)
    law = (4 * κ * phases.tail_time) ** (-1 / 3)
    assert_allclose(phases.tail_ratio, s / law, rtol=1e-3)
    assert abs(s / tail_law(task, phases.tail_time) - 1) < 0.05
    # The approximate law has an s for that time, too, which is larger.
    approximate = tail_law(task, phases.tail_time, loss="approximate")
    assert approximate / s > 1.1
    # Of both laws of the valley at t = 100 only the exact one holds.
    early = np.searchsorted(times, 100.0)
    η, s = flow.omega[early] @ flow.mu[early], 5 * np.mean(flow.omega[early] ** 2)
    assert abs(η / valley_step(task, s) - 1) < 3e-3
    assert abs(η / valley_step(task, s, loss="approximate") - 1) > 0.02


def test_heads_of_unlike_size_have_no_tail_yet():
    """A third head comes late: what two of them do before is no tail of three."""
    ω, μ = [0.0, 0.007, -0.077], [0.0, 0.072, -0.003]
    task = white(3, 75, 1.0)
    options = {"loss": "approximate", "metric": "euclidean"}
    early = reduced_flow(task, ω, μ, [3e3], **options).phases
    late = reduced_flow(task, ω, μ, [1e7], **options).phases
    assert (early.positive, early.negative) == (1, 2)
    assert early.tail_time is None
    assert abs(late.tail_ratio - 1) < 0.01


def test_a_short_context_has_a_valley_and_no_tail():
    phases = reduced_flow(SMALL, *START, [1e4]).phases
    assert phases.valley_time is not None
    assert phases.tail_time is None
    assert phases.tail_ratio is None
    assert abs(phases.end - 0.6468) < 1e-4


def test_the_end_comes_when_the_law_says():
    """With the query's token; without it, at 40 tokens, the flow is 1.8 % late."""
    task = white(3, 40)
    end = tail_end(task, query_token=True)
    late = [300 * end.time]
    phases = reduced_flow(task, *START, late, query_token=True).phases
    assert abs(phases.end_time / end.time - 1) < 2e-3
    assert abs(phases.end / end.size - 1) < 1e-4


def test_the_leading_end_is_approached_as_contexts_grow():
    ratios = []
    for N in (80, 160, 320):
        end, leading = tail_end(white(5, N)), leading_tail_end(white(5, N))
        ratios.append([end.size / leading.size, end.rate / leading.rate])
    off = np.abs(np.array(ratios) - 1)
    order = np.log2(off[:-1] / off[1:])
    assert np.all((order > 0.8) & (order < 1.3))


@pytest.mark.parametrize("loss", ["approximate", "exact"])
@pytest.mark.parametrize("omega", [[0.1, -0.1], [0.3, -0.2]])
def test_large_values_have_no_end_and_no_tail(loss, omega):
    """Heads come to the valley at an s far below its law's, where they hardly move."""
    phases = reduced_flow(white(), omega, [1e3, -1e3], [1e6], loss=loss).phases
    assert phases.valley_time is not None
    assert phases.tail_time is phases.tail_ratio is None
    assert phases.end_time is phases.end is None


def test_the_drop_of_large_values_is_found_at_its_time():
    """ω falls from 0.1 to the least loss of μ at the rate of 2ρμ² and more, long before anything would grow."""
    times = np.geomspace(1e-8, 1e-3, 2001)
    flow = reduced_flow(white(), [0.1, -0.1], [1e3, -1e3], times, loss="approximate")
    half = 1.1 - 0.5 / (1 + 5 * 1.1 / 40)
    drop = np.interp(-half, -flow.loss, times)
    assert abs(flow.phases.drop_time / drop - 1) < 1e-2
    late = reduced_flow(white(), [0.1, -0.1], [1e3, -1e3], [1e4], loss="approximate")
    assert abs(late.phases.drop_time / drop - 1) < 1e-2


# ---- the trap ----


@pytest.mark.parametrize(
    ("omega", "options"),
    [
        ([0.01, 0.02], {"loss": "approximate"}),
        ([-0.01, -0.02, -0.03], {"loss": "approximate", "metric": "euclidean"}),
        ([0.01, 0.02], {"query_token": True}),
    ],
)
def test_heads_of_one_sign_are_trapped(omega, options):
    task = white() if "loss" in options else SMALL
    flow = reduced_flow(task, omega, omega, [2e4], **options)
    phases = flow.phases
    assert phases.trapped
    assert 0 in (phases.positive, phases.negative)
    assert phases.valley_time is phases.tail_time is phases.end_time is None
    assert "trapped in the same-sign minimum" in phases.in_words()
    assert "valley" not in repr(flow)
    if "loss" in options:
        assert abs(flow.loss[0] - trap_loss(task)) < 1e-6


def test_heads_on_their_way_are_not_trapped():
    """Before they are at rest, and where a head crosses later."""
    task = white()
    early = reduced_flow(task, [0.01, 0.02], [0.01, 0.02], [30.0], loss="approximate")
    assert not early.phases.trapped
    # On the minimum of one head beside a weak one of the same sign, which it pushes across.
    ω, μ = [1 / np.sqrt(5), 0.05], [1.627692, 0.001]
    at_once = reduced_flow(task, ω, μ, [1e-3], loss="approximate").phases
    later = reduced_flow(task, ω, μ, [1e4], loss="approximate").phases
    assert not at_once.trapped
    assert (later.positive, later.negative, later.trapped) == (1, 1, False)
    assert later.valley_time is not None
    # One head is at its optimum, and not trapped.
    alone = reduced_flow(task, [0.01], [0.01], [1e3], loss="approximate").phases
    assert not alone.trapped


# ---- growth ----


@pytest.mark.parametrize(
    ("omega", "mu"),
    [
        ([0.0, 0.0], [2.0, -1.0]),
        ([1.0, -0.8], [0.0, 0.0]),
        ([0.3, -0.2], [0.3, -0.4]),
        ([0.1, -0.1], [0.0, 0.0]),
    ],
)
def test_large_starts_have_no_growth(omega, mu):
    phases = reduced_flow(white(), omega, mu, [40.0], loss="approximate").phases
    rates = growth_rates(white(), 2, loss="approximate")
    if phases.growth is not None:
        # ω = 0 is a small start as long as Σ|μω| and s stay below 0.001.
        assert_allclose(phases.growth[0], rates.zero_sum, rtol=0.02)
    else:
        assert "growth" not in phases.in_words()


def test_a_summary_says_growth_and_tail():
    flow = reduced_flow(white(), [2e-3, -1e-3], [1e-3, 1e-3], [1e6], loss="approximate")
    words = flow.phases.in_words()
    for phase in ("growth at rate 0.44", "drop at", "valley from", "tail s = 1 of"):
        assert phase in words
    for name, measured in flow.phases.rows().items():
        assert name in repr(flow)
        assert measured in repr(flow)


def test_times_in_any_order_have_the_same_phases():
    sorted_times = np.array([0.0, 5.0, 5.0, 1e3])
    order = [3, 1, 0, 2]
    flow = reduced_flow(white(), *START, sorted_times, loss="approximate")
    other = reduced_flow(white(), *START, sorted_times[order], loss="approximate")
    assert other.phases == flow.phases
    assert_allclose(other.omega, flow.omega[order], rtol=0)
    assert repr(other).count("→") == 1
    assert f"{flow.loss[0]:.6g} → {flow.loss[-1]:.6g}" in repr(other)


# ---- stored ----


def test_phases_are_read_from_what_they_wrote():
    phases = reduced_flow(white(), *START, [50.0], loss="approximate").phases
    assert phases_of(json.dumps(phases.to_dict())) == phases
    no_zero_sum = replace(phases, growth=growth_rates(white(), 1))
    again = phases_of(json.dumps(no_zero_sum.to_dict()))
    assert again.to_dict() == no_zero_sum.to_dict()
    assert isinstance(again, HeadPhases)
    for other in ("", "[]", "{}", '{"growth": null}', "nan"):
        with pytest.raises(ValueError, match="not those of a reduced flow"):
            phases_of(other)
