"""Where runs land: on the fixed points of the theory, with the Hessian that these have."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.compare import effective_map, hessian, hessian_index, match_plateaus
from attndyn.compare.claims.linear_attention.common.controls import (
    TRACE_DROPPED,
    wrong_moments,
)
from attndyn.compare.evidence.claim import UNMODIFIED
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import (
    external_run,
    flow,
    initial_weights,
    objective,
    predict,
    prompts_from_tokens,
    sample,
    statistics,
    train,
)
from attndyn.simulate.attention.initialisation import restricted
from attndyn.theory import fixed_point, fixed_points

TASK = Task([4, 3, 2, 1], trace=1.0, context_length=31)
SEPARATE = Separate(heads=4)
GREEDY = [fixed_point(TASK, SEPARATE, range(1, m + 1)) for m in range(5)]
SIZE = float(np.linalg.norm(GREEDY[-1].M))


def descent(amplitudes, steps=12_000):
    start = initial_weights(SEPARATE, TASK, amplitudes, scheme="aligned")
    return train(
        SEPARATE,
        population_statistics(TASK, SEPARATE),
        start,
        learning_rate=0.5,
        steps=steps,
        record=10,
    )


@pytest.fixture(scope="module")
def landed():
    """All five plateaus of a run on exact statistics, heads growing one after the other."""
    run = descent(np.array([0.05, 0.02, 0.012, 0.01]), steps=20_000)
    return run, match_plateaus(GREEDY, run)


# Landings


def test_a_run_lands_on_the_fixed_points(landed):
    run, found = landed
    assert [landing.point.subset for landing in found] == [
        point.subset for point in GREEDY
    ]
    assert np.all(np.diff([landing.time for landing in found]) > 0)
    for landing in found:
        assert landing.map_gap < 0.01
        assert landing.loss == pytest.approx(landing.point.loss, abs=2e-4)
        assert landing.loss == run.loss[run.time == landing.time][0]
        assert (
            landing.gradient_norm
            == run.gradient_norm[run.time == landing.time][0]
            < 2e-3
        )
    assert found[-1].map_gap < 1e-6


def test_landings_are_told_from_wrong_fixed_points(landed):
    """Each is far from every other M_S, and its loss from the losses of wrong moments."""
    found = landed[1]
    for landing in found:
        M = effective_map(SEPARATE, landing.weights)
        others = [
            p.M
            for p in fixed_points(TASK, SEPARATE)
            if p.subset != landing.point.subset
        ]
        assert min(np.linalg.norm(M - other) for other in others) / SIZE > 0.2
    wrong = wrong_moments(TASK, SEPARATE, TRACE_DROPPED)
    levels = wrong.c - np.cumsum(wrong.gains)
    assert np.all(np.abs([landing.loss for landing in found[1:]] - levels) > 5e-3)


def test_the_weights_are_the_stored_ones_nearest_to_the_plateau(landed):
    run, found = landed
    for landing in found:
        nearest = np.argmin(np.abs(run.weight_time - landing.time))
        assert np.array_equal(landing.weights["value"], run.weights["value"][nearest])
        assert abs(run.weight_time[nearest] - landing.time) <= 5


def test_a_plateau_that_the_run_skips_is_left_out():
    start = initial_weights(
        SEPARATE, TASK, np.array([0.05, 0.02, 0.0, 0.0]), scheme="aligned"
    )
    run = flow(
        SEPARATE, population_statistics(TASK, SEPARATE), start, [0.0, 10.0, 5_000.0]
    )  # past M_{1}, short of M_{1,2,3}
    found = match_plateaus(GREEDY, run)
    assert [landing.point.subset for landing in found] == [(), (1, 2)]
    assert found[-1].map_gap < 1e-6


def test_a_plateau_that_the_run_passes_by_has_a_gradient():
    """Two heads that grow together: the loss passes that of M_{1} and does not rest there."""
    moments = wrong_moments(TASK, SEPARATE, UNMODIFIED)
    together = 0.05 / moments.b[:2] * moments.b[0]
    run = descent(np.array([*together, 0.0, 0.0]), steps=4_000)
    found = match_plateaus(GREEDY[:3], run)
    assert [
        landing.point.subset for landing in found if landing.gradient_norm < 5e-3
    ] == [(), (1, 2)]
    assert found[1].gradient_norm > 0.01


def test_a_run_that_ends_early_has_the_plateaus_it_saw():
    run = descent(np.array([0.05, 0.02, 0.0, 0.0]), steps=400)
    assert [landing.point.subset for landing in match_plateaus(GREEDY, run)] == [
        (),
        (1,),
    ]


# All fixed points: which plateaus there are is found in the run


def outside(run, every=1, noise=0.0, weights=False):
    """The run as a log of every so many steps has it, with noise of this part of each loss."""
    factors = 1 + noise * np.random.default_rng(0).standard_normal(len(run.loss))
    log = np.column_stack([run.steps, run.loss * factors])[::every]
    stored = {"steps": run.weight_steps, **run.weights} if weights else None
    return external_run(log, weights=stored, learning_rate=0.5)


POINTS = fixed_points(TASK, SEPARATE)


def test_the_plateaus_are_found_in_the_run(landed):
    run, expected = landed
    found = match_plateaus(POINTS, run)
    assert [match.subset for match in found] == [point.subset for point in GREEDY]
    for match, other in zip(found, expected, strict=True):
        assert match.loss == other.loss
        assert match.map_gap == other.map_gap < 0.01
        assert match.step == other.step == match.time
        assert match.flow_time == pytest.approx(match.step)


@pytest.mark.parametrize(
    ("every", "noise", "tolerance"),
    [(1, 0, 1e-4), (50, 0, 1e-4), (20, 1e-3, 7e-4), (1, 1e-2, 2e-3)],
)
def test_plateaus_from_losses_alone(landed, every, noise, tolerance):
    """A log has the heights that the gradient gives, whether every loss is in it or some, smooth or noisy."""
    run, expected = landed
    found = match_plateaus(POINTS, outside(run, every, noise))
    assert [match.subset for match in found] == [point.subset for point in GREEDY]
    heights = [match.loss for match in found]
    np.testing.assert_allclose(
        heights, [match.loss for match in expected], atol=tolerance
    )
    assert all(np.isnan(match.map_gap) for match in found)
    listed = match_plateaus(GREEDY, outside(run, every, noise))
    np.testing.assert_allclose([match.loss for match in listed], heights, atol=7e-4)


def test_losses_of_single_batches_have_their_plateaus(landed):
    """Losses that scatter by a third, and gradients that say nothing, as of a batch a step."""
    run = landed[0]
    rng = np.random.default_rng(0)
    noise = np.exp(0.3 * rng.standard_normal(len(run.loss)))
    scattered = external_run(run.loss * noise / noise.mean())
    for batches in (scattered, replace(scattered, gradient_norm=noise)):
        found = match_plateaus(POINTS, batches)
        assert [match.subset for match in found][-2:] == [(1, 2, 3), (1, 2, 3, 4)]
        assert found[-1].loss == pytest.approx(GREEDY[-1].loss, rel=0.02)


def test_weights_of_a_run_from_outside_give_its_maps(landed):
    run, expected = landed
    found = match_plateaus(POINTS, outside(run, 50, weights=True))
    gaps = [match.map_gap for match in found]
    np.testing.assert_allclose(gaps, [m.map_gap for m in expected], atol=2e-3)


def test_weights_that_were_stored_elsewhere_are_not_those_of_a_plateau(landed):
    run = landed[0]
    few = external_run(
        np.column_stack([run.steps, run.loss]),
        weights={0: run.initial, int(run.weight_steps[-1]): run.final},
    )
    found = match_plateaus(POINTS, few)
    assert [bool(match.weights) for match in found] == [True, *[False] * 3, True]
    assert [match.subset for match in found] == [point.subset for point in GREEDY]


def test_nearly_equal_losses_are_ambiguous_without_weights():
    """{1} and {2} differ by 0.0004: by the loss both are listed, by the map they are told apart."""
    task, model = Task([1.001, 1, 0.2], context_length=31), Separate(heads=3)
    start = initial_weights(model, task, np.array([0.01, 0.1, 0.0]), scheme="aligned")
    run = train(
        model,
        population_statistics(task, model),
        start,
        learning_rate=0.05,
        steps=4_000,
        record=10,
    )
    points = fixed_points(task, model)
    by_map = match_plateaus(points, run)
    assert [match.subset for match in by_map] == [(), (2,), (1, 2)]
    by_loss = match_plateaus(points, outside(run))
    first_drop = by_loss[1]
    assert first_drop.is_ambiguous
    assert first_drop.subset is None
    candidates = {first_drop.point.subset, *(p.subset for p in first_drop.rivals)}
    assert candidates == {(1,), (2,)}
    assert "{1} or {2}" in repr(by_loss) or "{2} or {1}" in repr(by_loss)
    assert "too near to each other" in repr(by_loss)
    assert first_drop.to_dict()["ambiguous"]
    # A run that is told to be at {1} is not silently so.
    assert match_plateaus(points[-4:], run)[1].is_near


def test_a_plateau_at_no_fixed_point_is_said_to_be_none(landed):
    """A loss of another convention: half of it is near no level where the levels are far apart."""
    run = landed[0]
    halved = external_run(np.column_stack([run.steps, run.loss / 2]))
    found = match_plateaus(POINTS, halved)
    assert not found[-1].is_near
    assert found[-1].subset is None
    assert "none near, nearest" in repr(found)
    assert not found[-1].to_dict()["near"]


@pytest.mark.parametrize("factor", [0.5, 256.0])
@pytest.mark.parametrize("weights", [False, True])
def test_a_loss_of_another_convention_is_noticed(landed, factor, weights):
    run = outside(landed[0], weights=weights)
    other = replace(run, loss=run.loss * factor)
    found = match_plateaus(POINTS, other)
    assert f"loss_scale={factor:.3g}?" in repr(found)
    assert match_plateaus(POINTS, run).note == ""
    assert match_plateaus(POINTS, replace(run, loss=run.loss * 1.03)).note == ""


def test_a_suggested_loss_scale_goes_on_from_the_given_one(landed):
    """Losses that were divided by a half which they did not have."""
    run = outside(landed[0], weights=False)
    other = external_run(np.column_stack([run.steps, run.loss]), loss_scale=0.5)
    note = match_plateaus(POINTS, other).note
    assert "losses are 2 times the levels" in note
    assert note.endswith("loss_scale=1?")


def test_spikes_part_no_plateau(landed):
    """At the edge of stability the loss jumps up and comes back: one visit of the fixed point, at its lower loss."""
    run = landed[0]
    loss = run.loss.copy()
    loss[15_000:15_030] *= 1.4
    loss[16_000:16_050] *= 1 + 0.2 * np.exp(-np.arange(50) / 9)
    spiky = external_run(loss, weights={"steps": run.weight_steps, **run.weights})
    found = match_plateaus(POINTS, spiky)
    assert [match.subset for match in found] == [point.subset for point in GREEDY]
    assert found[-1].loss == pytest.approx(GREEDY[-1].loss, abs=1e-6)


def test_a_run_that_never_drops_has_one_plateau(landed):
    run = landed[0]
    early = external_run(run.loss[:30])
    assert [match.subset for match in match_plateaus(POINTS, early)] == [()]
    constant = external_run(np.full(40, TASK.trace or 1.0))
    assert [match.subset for match in match_plateaus(POINTS, constant)] == [()]
    assert len(match_plateaus(POINTS, external_run(np.zeros(40)))) == 1


WRONG = {
    r"match_plateaus\(points, run\): got Trajectory, then FixedPoints": (
        TypeError,
        lambda run: match_plateaus(run, POINTS),
    ),
    "needs a fixed point or more": (ValueError, lambda run: match_plateaus([], run)),
    "points must be fixed points": (TypeError, lambda run: match_plateaus([1], run)),
    "of several models": (
        ValueError,
        lambda run: match_plateaus(
            [GREEDY[0], fixed_point(TASK, Separate(heads=3), ())], run
        ),
    ),
    "two losses or more": (
        ValueError,
        lambda run: match_plateaus(POINTS, external_run([1.0])),
    ),
    r"weights 'value' of shape \(4, 5\), and the run of shape \(4, 5, 5\): .* pass W_V": (
        ValueError,
        lambda run: match_plateaus(
            POINTS,
            external_run(
                [1.0, 0.5],
                weights={0: {**GREEDY[0].weights, "value": np.ones((4, 5, 5))}},
            ),
        ),
    ),
    r"and the run \['W_V'\]": (
        ValueError,
        lambda run: match_plateaus(
            POINTS, external_run([1.0, 0.5], weights={0: {"W_V": np.ones((4, 5))}})
        ),
    ),
    "more than 20,000 fixed points": (
        ValueError,
        lambda run: match_plateaus(
            fixed_points(Task(np.arange(1, 17), context_length=9), Separate(16)), run
        ),
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_matched_is_refused(message, landed):
    error, call = WRONG[message]
    with pytest.raises(error, match=message):
        call(landed[0])


def test_matches_show_themselves_as_a_table(landed):
    found = match_plateaus(POINTS, landed[0])
    lines = repr(found).splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("  2: {1}")
    assert "map gap" in lines[2]
    assert found.to_dict()["plateaus"][1]["subset"] == [1]
    assert len(found[1:3]) == 2
    assert found[1:3][0] is found[1]


# The effective map


def random_weights(model, seed):
    return initial_weights(
        model, Task([2, 1, 0.5], context_length=4), 1.0, seed, "gaussian"
    )


@pytest.mark.parametrize(
    "model",
    [Merged(3), Separate(2, 2, divisor="none"), Separate(3, divisor="tokens")],
    ids=["merged", "R=2", "R=1"],
)
@settings(max_examples=10, deadline=None)
@forall(seed=st.integers(0, 10**6))
def test_the_effective_map_predicts_what_the_model_does(model, seed):
    """On the restricted block ŷ = βᵀ M x_q, with β = Σ y_n x_n / divisor; the transpose does not."""
    weights, rng = restricted(random_weights(model, seed)), np.random.default_rng(seed)
    tokens = rng.standard_normal((6, 5, 4))
    divisor = {"context": 4, "tokens": 5, "none": 1}[model.divisor]
    beta = np.einsum("pn,pnd->pd", tokens[:, :-1, -1], tokens[:, :-1, :-1]) / divisor
    M, query = effective_map(model, weights), tokens[:, -1, :-1]
    output = predict(model, model.heads(weights), tokens)
    np.testing.assert_allclose(
        np.einsum("pj,jd,pd->p", beta, M, query), output, rtol=1e-9, atol=1e-9
    )
    assert abs(np.einsum("pj,dj,pd->p", beta, M, query) - output).max() > 1e-6


@settings(max_examples=10, deadline=None)
@forall(seed=st.integers(0, 10**6))
def test_outside_the_restricted_block_both_ways_to_meet_beta_count(seed):
    """G has β in its last row and in its last column: the outputs for y and −y differ by twice what meets β."""
    model = Merged(2)
    weights, rng = random_weights(model, seed), np.random.default_rng(seed)
    tokens = rng.standard_normal((6, 5, 4))
    flipped = tokens * np.array([1, 1, 1, -1])
    beta = np.einsum("pn,pnd->pd", tokens[:, :-1, -1], tokens[:, :-1, :-1]) / 4
    odd = (
        predict(model, model.heads(weights), tokens)
        - predict(model, model.heads(weights), flipped)
    ) / 2
    expected = np.einsum(
        "pj,jd,pd->p", beta, effective_map(model, weights), tokens[:, -1, :-1]
    )
    np.testing.assert_allclose(odd, expected, rtol=1e-9, atol=1e-9)


# The Hessian


def quadratic(seed=0, size=5):
    """A quadratic loss of two named weights, and its Hessian."""
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((size, size))
    H = H + H.T

    def evaluate(weights):
        x = np.concatenate([weights["a"].ravel(), weights["b"]])
        gradient = H @ x
        return float(x @ gradient) / 2, {
            "a": gradient[:4].reshape(2, 2),
            "b": gradient[4:],
        }

    return evaluate, H


ALL = {"a": np.ones((2, 2)), "b": np.ones(1)}
AT = {"a": np.array([[0.3, -1.0], [2.0, 0.0]]), "b": np.array([0.5])}


def test_the_hessian_of_a_quadratic():
    evaluate, H = quadratic()
    np.testing.assert_allclose(hessian(evaluate, AT, ALL), H, atol=1e-9)
    assert hessian_index(evaluate, AT, ALL) == np.sum(np.linalg.eigvalsh(H) < 0) > 0
    some = {"a": np.array([[1.0, 0.0], [0.0, 1.0]]), "b": np.ones(1)}
    np.testing.assert_allclose(
        hessian(evaluate, AT, some), H[np.ix_([0, 3, 4], [0, 3, 4])], atol=1e-9
    )
    assert AT["a"][0, 0] == 0.3  # the weights are left as they are


def test_nothing_free_has_no_hessian():
    evaluate, _ = quadratic()
    nothing = {name: np.zeros_like(value) for name, value in ALL.items()}
    assert hessian(evaluate, AT, nothing).shape == (0, 0)
    assert hessian_index(evaluate, AT, nothing) == 0


def test_central_differences_are_of_second_order():
    """Gradient x + x² + x³ at 0: slope 1, and h² beside it; one-sided differences would be h off."""

    def evaluate(weights):
        x = weights["x"]
        return 0.0, {"x": x + x**2 + x**3}

    at, free = {"x": np.zeros(1)}, {"x": np.ones(1)}
    errors = [hessian(evaluate, at, free, step)[0, 0] - 1 for step in (0.1, 0.01)]
    np.testing.assert_allclose(errors, [1e-2, 1e-4], rtol=1e-9)


@pytest.mark.parametrize(
    "model",
    [Separate(heads=3, rank=1), Separate(heads=2, rank=2), Merged(heads=2)],
    ids=str,
)
def test_the_index_at_fixed_points_is_the_predicted_one(model):
    task = Task([3, 2, 1], context_length=7)
    evaluate, kinds = objective(model, population_statistics(task, model)), set()
    for point in fixed_points(task, model):
        inside = restricted(
            {name: np.ones_like(value) for name, value in point.weights.items()}
        )
        assert hessian_index(evaluate, point.weights, inside) == point.hessian_index
        kinds.add(point.hessian_index)
    assert len(kinds) > 1


def test_the_floor_tells_a_way_out_from_slow_growth():
    evaluate, free = (
        (lambda w: (0.0, {"x": np.array([-1e-3, -1.0, 1.0]) * w["x"]})),
        {"x": np.ones(3)},
    )
    at = {"x": np.zeros(3)}
    assert [
        hessian_index(evaluate, at, free, floor) for floor in (1e-6, 1e-2, 2.0)
    ] == [2, 1, 0]


def test_the_hessian_of_attention_from_its_losses():
    """Against second differences of the loss itself, on tokens and outside the restricted block."""
    model, task = Separate(2), Task([2, 1], context_length=4)
    data = prompts_from_tokens(sample(task, 20).tokens)
    evaluate = objective(model, statistics(data, model))
    weights = initial_weights(model, task, 0.5, 1, "gaussian")
    free = {name: np.ones_like(value) for name, value in weights.items()}
    H, rng, h = hessian(evaluate, weights, free), np.random.default_rng(0), 1e-3
    for _ in range(5):
        direction = rng.standard_normal(len(H))
        losses = [
            evaluate(shifted(weights, sign * h * direction))[0] for sign in (-1, 0, 1)
        ]
        second = (losses[0] - 2 * losses[1] + losses[2]) / h**2
        assert direction @ H @ direction == pytest.approx(second, rel=1e-3, abs=1e-3)


def shifted(weights, change):
    ends = np.cumsum([value.size for value in weights.values()])[:-1]
    pieces = np.split(change, ends)
    return {
        name: value + piece.reshape(value.shape)
        for (name, value), piece in zip(weights.items(), pieces, strict=True)
    }


def test_a_hessian_that_is_not_finite_has_no_index():
    weights, free = {"x": np.ones(2)}, {"x": np.ones(2)}
    with pytest.raises(ValueError, match="nan or inf"):
        hessian_index(lambda w: (0.0, {"x": np.nan * w["x"]}), weights, free)
    with pytest.raises(ValueError, match="floor must be zero or more"):
        hessian_index(lambda w: (0.0, {"x": w["x"]}), weights, free, floor=np.nan)
    with pytest.raises(ValueError, match="step must be positive"):
        hessian(lambda w: (0.0, {"x": w["x"]}), weights, free, step=0)


def test_the_hessian_of_large_weights():
    found = hessian(
        lambda w: (0.0, {"x": 3 * w["x"] ** 2}),
        {"x": np.array([1.0, 2e12])},
        {"x": np.ones(2)},
    )
    np.testing.assert_allclose(found, np.diag([6, 12e12]), rtol=1e-6, atol=1e-3)


def test_a_match_shows_itself_on_one_screen(landed):
    match = landed[1][2]
    text = repr(match)
    assert len(text.splitlines()) <= 24
    assert f"{match.loss:.6g}" in text
    assert "array" not in text
    assert match.to_dict()["subset"] == [1, 2]
    assert match.to_dict()["map_gap"] == match.map_gap
