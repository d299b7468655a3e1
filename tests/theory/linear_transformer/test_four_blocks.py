"""All four blocks on modes, against exact feature moments, the flow of two blocks and the choice of starts."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.teachers import Pool
from attndyn.theory import feature_moments
from attndyn.theory.linear_transformer import (
    four_block_flow,
    four_block_loss,
    four_block_minima,
    held_by_p2,
    minimum,
    mode_flow,
    mode_loss,
    null_ratio,
)
from attndyn.theory.linear_transformer.four_blocks import (
    Blocks,
    _FourBlocks,
    four_block_weights,
    velocity_of_blocks,
)
from attndyn.theory.linear_transformer.mode_tasks import mode_task

from .laws import hostile_task, modes


def without_query(D, divisor="context"):
    return Merged(heads=1, outputs=D, divisor=divisor, query_token=False)


def feature_loss(task, model, spectrum, blocks):
    """The exact loss of all weights."""
    moments = feature_moments(task, model)
    weights = four_block_weights(model, spectrum, Blocks(*blocks))
    return moments.loss(moments.effective_map(*model.heads(weights)))


@pytest.mark.parametrize(
    "task",
    [modes([1.3, 0.4], 2), modes([1.3, 0.4], 3, [0.7, 1.9], 0.3), modes([1, 0], 5)],
)
def test_the_loss_is_that_of_all_features_without_the_query(task):
    blocks = np.random.default_rng(0).normal(size=(4, 2))
    spectrum = mode_task(task, None, "this test")
    model = without_query(2)
    expected = feature_loss(task, model, spectrum, blocks)
    assert four_block_loss(task, blocks, model) == pytest.approx(expected, rel=1e-12)
    # With it the loss is another.
    other = feature_loss(task, Merged(heads=1, outputs=2), spectrum, blocks)
    assert abs(other / expected - 1) > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_the_flow_descends_the_loss(seed):
    task, model = hostile_task(np.random.default_rng(seed))
    D = task.dimension
    model = without_query(D, str(model.divisor))
    spectrum = mode_task(task, model, "this test")
    x = np.random.default_rng(seed).normal(size=(4, D))
    steps = 1e-2 * np.eye(4 * D).reshape(-1, 4, D)
    moved = np.stack([x + 2 * steps, x + steps, x - steps, x - 2 * steps], axis=1)
    losses = four_block_loss(task, np.moveaxis(moved, 2, 0), model)
    # Exact for a polynomial of degree 4.
    far, near, back, backwards = losses.T
    slopes = (backwards - 8 * back + 8 * near - far) / 12e-2
    velocity = np.ravel(velocity_of_blocks(spectrum, Blocks(*x)))
    assert velocity == pytest.approx(-slopes / 2, abs=1e-10 * np.max(np.abs(slopes)))


def test_p2_and_q1_alone_are_the_two_blocks():
    task = modes([2, 1, 0.5], 7, [1, 0.5, 2], 0.2)
    p, q = 0.3 * np.random.default_rng(0).normal(size=(2, 3))
    off = np.zeros(3)
    blocks = [off, p, q, off]
    assert four_block_loss(task, blocks) == pytest.approx(mode_loss(task, p, q))
    expected = mode_flow(task, p, q, [3.0, 50.0])
    flow = four_block_flow(task, blocks, [3.0, 50.0])
    assert flow.loss == pytest.approx(expected.loss, rel=1e-10)
    assert flow.coefficients == pytest.approx(expected.coefficients, abs=1e-9)


def test_null_blocks_at_zero_are_a_saddle_before_learning_and_stable_after():
    task = modes([1.3, 0.4], 2)
    flow = _FourBlocks(mode_task(task, None, "this test"))
    rates = np.linalg.eigvalsh(flow.jacobian(np.zeros((4, 2))))
    assert rates == pytest.approx(np.repeat([-1.69, -0.16, 0.16, 1.69], 2), abs=1e-12)
    least = four_block_minima(task)
    learned = np.array(least.blocks([True, True]))
    rates = np.linalg.eigvalsh(flow.jacobian(learned).reshape(8, 8))
    # One direction is the scale.
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[-2] < -0.1


@pytest.mark.parametrize("noise", [0, 0.3])
def test_all_minima_have_one_loss_which_the_query_lifts_where_they_are_mixed(noise):
    task = modes([1.3, 0.4], 2, noise=noise)
    least = four_block_minima(task)
    spectrum = mode_task(task, None, "this test")
    assert least.count == 4
    lifted = {}
    for mask in ([True, True], [True, False], [False, True], [False, False]):
        blocks = least.blocks(mask)
        assert four_block_loss(task, blocks) == pytest.approx(minimum(task).loss)
        assert np.abs(velocity_of_blocks(spectrum, blocks)) == pytest.approx(
            np.zeros((4, 2)), abs=1e-14
        )
        rates = np.linalg.eigvalsh(_FourBlocks(spectrum).jacobian(np.array(blocks)))
        assert np.sum(np.abs(rates) < 1e-12) == 1
        assert np.sum(rates > 1e-12) == 0
        model = Merged(heads=1, outputs=2)
        lifted[sum(mask)] = feature_loss(task, model, spectrum, blocks)
    if not noise:
        assert lifted[2] == pytest.approx(0.98563, abs=1e-5)
        assert lifted[0] == pytest.approx(lifted[2], rel=1e-13)
        assert lifted[1] == pytest.approx(1.05841, abs=1e-5)


def test_the_start_chooses_which_pair_holds_a_mode():
    task = modes([1, 0.6], 50)
    draws = np.random.default_rng(0).normal(size=(4, 20, 2))
    blocks = np.stack([0.1 * draws, 0.001 * draws], axis=1)
    flow = four_block_flow(task, blocks, [200.0])
    by_p2 = np.abs(flow.p2 * flow.q1)[-1] > np.abs(flow.p1 * flow.q2)[-1]
    wrong = np.sum(by_p2 != held_by_p2(blocks), axis=(1, 2))
    assert wrong[0] <= 1
    assert wrong[1] == 0
    assert 10 < np.sum(by_p2[1]) < 30
    # Mixtures end at the loss of either pair alone.
    assert flow.loss == pytest.approx(minimum(task).loss, rel=1e-8)


def test_small_null_blocks_stay_small_in_proportion():
    task = modes([1, 0.6], 50)
    # Between whole times the loss differs by 6 % more.
    times = np.arange(41.0)
    start = np.full(2, 1e-3)
    frozen = four_block_flow(task, [0 * start, start, start, 0 * start], times)
    for r in (0.1, 0.01):
        blocks = np.array([r * start, start, start, r * start])
        assert null_ratio(blocks) == pytest.approx([r, r])
        flow = four_block_flow(task, blocks, times)
        largest = max(np.max(np.abs(flow.p1)), np.max(np.abs(flow.q2)))
        assert largest == pytest.approx(0.444 * r, rel=0.02)
        change = np.max(np.abs(flow.loss - frozen.loss)) / frozen.loss[0]
        assert change == pytest.approx(0.27 * r**2, rel=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda task: four_block_loss(
                task, np.ones((4, 2)), Merged(heads=1, outputs=2)
            ),
            "without the query's own token",
        ),
        (
            lambda task: four_block_loss(task, np.ones((3, 2))),
            "p1, p2, q1 and q2",
        ),
        (lambda task: four_block_minima(task).blocks([1, 0]), "True or False"),
        (
            lambda task: four_block_minima(
                Task(
                    [1, 2],
                    teachers=Pool([np.diag([1, 0]), np.diag([0, 1])], signs=True),
                    context_length=5,
                )
            ),
            "normal teachers",
        ),
    ],
)
def test_what_the_formulas_do_not_cover_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(modes([1, 0.6], 5))
