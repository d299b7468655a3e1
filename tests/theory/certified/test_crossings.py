"""Drop times by validated integration: two settings agree, and so does a solver in doubles."""

import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise

import flint
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.theory.certified import (
    NoCertificate,
    drop_time,
    head_flow,
    heads_flow,
    loss_tube,
    losses_at,
    merged_flow,
    middle_of_drop,
)

TWO = Task(eigenvalues=["3/5", "2/5"], context_length=20)
MERGED = Merged(heads=4)
U0 = ["9/100", "4/100"]
OBLIQUE = Task(
    covariance=[["3/4", "1/4"], ["1/4", "1/2"]],
    teacher_covariance=[[1, "1/5"], ["1/5", 2]],
    noise_variance="1/10",
    context_length=12,
)
HEADS = Separate(heads=2)
WEIGHTS = {
    "value": [[0, 0, "1/5"], [0, 0, "-1/10"]],
    "key": [[["1/5", "1/10", 0]], [["1/10", "-1/5", 0]]],
    "query": [[["1/4", "1/10", 0]], [["-1/5", "1/10", 0]]],
}


def merged():
    return merged_flow(TWO, MERGED, "1/10", U0)


LEVEL = middle_of_drop(TWO, MERGED, (), (1, 2))


def moments(task):
    """c, A, B and Λ in doubles, from the definition."""
    Λ, Ω, N = task.covariance, task.teacher_covariance, task.context_length
    B = Λ @ Ω @ Λ
    c = np.trace(Λ @ Ω) + task.noise_variance
    return c, (1 + 1 / N) * B + c / N * Λ, B, Λ


def exit_in_doubles(task, weights, level):
    """When the flow of all weights passes a level, by a solver of order 8."""
    c, A, B, Λ = moments(task)
    H, D = len(weights["value"]), len(Λ)

    def parts(x):
        return x[:H], x[H : H + H * D].reshape(H, D), x[H + H * D :].reshape(H, D)

    def rate(_, x):
        v, k, q = parts(x)
        G = B - A @ np.einsum("h,hi,hj->ij", v, k, q) @ Λ
        dv = np.einsum("hi,ij,hj->h", k, G, q)
        return np.concatenate(
            [dv, (v[:, None] * (q @ G.T)).ravel(), (v[:, None] * (k @ G)).ravel()]
        )

    def excess(_, x):
        v, k, q = parts(x)
        M = np.einsum("h,hi,hj->ij", v, k, q)
        return c - 2 * np.sum(B * M) + np.sum((A @ M @ Λ) * M) - level

    excess.terminal = True
    exact = {
        name: np.vectorize(lambda number: float(Fraction(number)))(array)
        for name, array in weights.items()
    }
    start = np.concatenate(
        [
            exact["value"][:, -1],
            exact["key"][:, 0, :D].ravel(),
            exact["query"][:, 0, :D].ravel(),
        ]
    )
    run = solve_ivp(
        rate, (0, 500), start, "DOP853", events=excess, rtol=1e-12, atol=1e-14
    )
    return run.t_events[0][0]


def test_the_whole_flow_of_heads_on_a_task_without_common_eigenvectors():
    level = Fraction(8, 5)
    crossing = drop_time(heads_flow(OBLIQUE, HEADS, WEIGHTS), level, bits=192, order=24)
    assert (
        abs(float(crossing.time) - exit_in_doubles(OBLIQUE, WEIGHTS, float(level)))
        < 1e-8
    )
    assert crossing.time.width < Fraction(1, 10**10)


def test_two_settings_have_a_common_point_and_more_bits_are_narrower():
    rough = drop_time(merged(), LEVEL, bits=96, order=8).time
    fine = drop_time(merged(), LEVEL, bits=192, order=24).time
    assert not rough.is_disjoint(fine)
    assert fine.width < rough.width / 1000


@pytest.mark.parametrize(
    ("bits", "order"), [(20, 4), (30, 8), (40, 8), (53, 16), (64, 30), (80, 4)]
)
def test_starved_of_precision_it_refuses_or_widens_and_never_lies(bits, order):
    fine = drop_time(merged(), LEVEL, bits=192, order=24).time
    try:
        poor = drop_time(merged(), LEVEL, bits=bits, order=order).time
    except NoCertificate:
        return
    assert not poor.is_disjoint(fine)


def test_the_tube_holds_the_losses_and_has_no_gap():
    tube = loss_tube(merged(), 24, bits=128, order=16)
    for earlier, later in pairwise(tube.pieces):
        assert earlier.end == later.begin
    assert tube.pieces[0].begin == 0
    assert tube.pieces[-1].end >= 24
    times = [Fraction(7 * step, 9) for step in range(1, 30)]
    for time, loss in zip(
        times, losses_at(merged(), times, bits=128, order=16), strict=True
    ):
        assert not tube.at(time).is_disjoint(loss)
        assert loss.width < tube.at(time).width
    finer = loss_tube(merged(), 24, longest="1/4", bits=128, order=16)
    assert finer.widest < tube.widest
    with pytest.raises(ValueError, match="flow_time must lie between"):
        tube.at(10**6)


def test_the_start_of_the_loss_is_the_task_without_a_model():
    (loss,) = losses_at(merged_flow(TWO, MERGED, 0, [0, 0]), [0])
    assert loss.contains(1)


def test_a_second_plateau_is_refused_and_not_guessed():
    flow = head_flow(TWO, Separate(heads=1, rank=2), ["1/20", "1/10000"])
    late = middle_of_drop(TWO, Separate(heads=1), (1,), (1, 2))
    with pytest.raises(NoCertificate, match="more bits are needed"):
        drop_time(flow, late, bits=64, order=12)


def test_the_precision_of_others_is_left_as_it_was():
    before = flint.ctx.prec, flint.ctx.cap
    drop_time(merged(), LEVEL, bits=96, order=8)
    assert (flint.ctx.prec, flint.ctx.cap) == before
    with pytest.raises(NoCertificate):
        drop_time(merged(), LEVEL, bits=96, order=8, until=1)
    assert (flint.ctx.prec, flint.ctx.cap) == before


WRONG_WEIGHTS = {
    "off the block": WEIGHTS | {"value": [["1/5", 0, "1/5"], [0, 0, 1]]},
    "no number": WEIGHTS | {"value": [[0, 0, "x"], [0, 0, 1]]},
    "infinite": WEIGHTS | {"value": [[0, 0, float("inf")], [0, 0, 1]]},
    "another shape": WEIGHTS | {"key": [["1/5", "1/10", 0], ["1/10", "-1/5", 0]]},
    "a name too many": WEIGHTS | {"bias": [0]},
}


@pytest.mark.parametrize("weights", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="must"):
        heads_flow(OBLIQUE, HEADS, weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drop_time(merged(), 2), "below the loss at the start"),
        (lambda: drop_time(merged(), "x"), "level must be a rational"),
        (lambda: drop_time(merged(), LEVEL, order=1), "order"),
        (lambda: drop_time(merged(), LEVEL, order=10.0), "order"),
        (lambda: drop_time(merged(), LEVEL, until=0), "until must be positive"),
        (lambda: loss_tube(merged(), 5, pieces=0), "pieces"),
        (lambda: loss_tube(merged(), 5, longest=0), "longest must be positive"),
        (lambda: losses_at(merged(), []), "increasing"),
        (lambda: losses_at(merged(), [2, 1]), "increasing"),
        (lambda: losses_at(merged(), [-1]), "zero or more"),
        (lambda: merged_flow(TWO, HEADS, "1/10", U0), "Merged"),
        (lambda: merged_flow(TWO, MERGED, "1/10", ["1/10"]), "2 numbers"),
        (lambda: merged_flow(OBLIQUE, MERGED, "1/10", U0), "diagonal"),
        (lambda: head_flow(TWO, HEADS, ["1/10", "1/10"]), "kappa0"),
        (lambda: head_flow(TWO, MERGED, ["1/10"]), "kappa0"),
        (lambda: head_flow(TWO, Separate(heads=1, rank=2), []), "kappa0"),
        (lambda: heads_flow(TWO, Separate(heads=2, rank=2), WEIGHTS), "rank one"),
        (lambda: middle_of_drop(TWO, HEADS, (), (3,)), "from 1 to 2"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_plain_values_say_what_the_time_was_certified_with():
    plain = drop_time(merged(), LEVEL, bits=96, order=8).to_dict()
    assert (plain["bits"], plain["order"]) == (96, 8)
    assert plain["start"] == ["1/10", "9/100", "1/25"]
    assert plain["steps"] > 5


def test_threads_do_not_change_each_others_precision():
    flow, level = merged_flow(TWO, MERGED, "1/10", U0), Fraction(1, 2)
    settings = [{"bits": 128, "order": 16}, {"bits": 256, "order": 30}] * 2
    alone = [drop_time(flow, level, **setting).time for setting in settings]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that threads take turns within a step
    try:
        with ThreadPoolExecutor(4) as pool:
            together = list(
                pool.map(lambda setting: drop_time(flow, level, **setting), settings)
            )
    finally:
        sys.setswitchinterval(interval)
    assert [crossing.time for crossing in together] == alone


def test_a_flow_at_rest_stays_or_is_refused():
    rest = head_flow(TWO, Separate(heads=1), [0])
    (loss,) = losses_at(rest, ["1e30"])
    assert loss.contains(1)
    assert "Enclosure" in repr(loss)
    with pytest.raises(NoCertificate, match="no step"):
        losses_at(rest, ["1e350"])
    with pytest.raises(ValueError, match="below the loss at the start"):
        drop_time(rest, 1, until="1e350")


def test_the_latest_time_may_be_beyond_doubles():
    flow = merged_flow(TWO, MERGED, "1/10", U0)
    tube = loss_tube(flow, 1, longest="1e350", bits=128, order=16)
    assert tube.at(1).width < 1
    crossing = drop_time(flow, "1/2", until="1e350")
    assert crossing.time.is_disjoint(drop_time(flow, "2/5").time)
