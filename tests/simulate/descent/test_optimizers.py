"""Optimizers: torch.optim's numbers, optax's shape, frozen weights, and nothing wrong that passes in silence."""

import itertools
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    Diverged,
    initial_weights,
    objective,
    sample,
    statistics,
    train,
)
from attndyn.simulate.descent.gradient_descent import descend
from attndyn.simulate.descent.optimizers import (
    Adam,
    GradientDescent,
    optimizer_from_settings,
    settings_of,
)
from attndyn.simulate.descent.options import DescentOptions
from attndyn.simulate.descent.schedules import Schedule

TORCH = Path(__file__).parents[2] / "data" / "optimizers" / "by_pytorch.json"

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Separate(heads=2)
START = initial_weights(MODEL, TASK, 0.5, seed=1, scheme="gaussian")


def source(seed=0):
    return statistics(sample(TASK, 40, seed=seed), MODEL)


# Beside torch.optim


def by_torch():
    return json.loads(TORCH.read_text())["cases"]


def two_layers():
    """The problem of by_pytorch.py: mean (aᵀ B x − y)², with its gradients by hand."""
    x = np.sin(1.0 + np.arange(32.0)).reshape(8, 4)
    y = np.cos(2.0 * np.arange(8.0))

    def evaluate(weights):
        a, B = weights["a"], weights["B"]
        residual = x @ B.T @ a - y
        slope = 2 * residual @ x / len(y)
        return float(np.mean(residual**2)), {"a": B @ slope, "B": np.outer(a, slope)}

    start = {
        "a": 0.3 * np.cos(np.arange(3.0)),
        "B": 0.4 * np.sin(0.7 * np.arange(12.0)).reshape(3, 4),
    }
    return evaluate, start


COSINE = Schedule({0: 0.0, 50: 0.05, 300: 0.0}, "cosine")

OURS = {
    "descent": GradientDescent(0.05),
    "momentum": GradientDescent(0.02, momentum=0.9),
    "decay": GradientDescent(0.05, weight_decay=0.03),
    "nesterov_decay": GradientDescent(
        0.02, momentum=0.8, nesterov=True, weight_decay=0.01
    ),
    "adam": Adam(0.001, b1=0.8, b2=0.95, eps=1e-6),
    "adamw": Adam(0.01, weight_decay=0.1),
    "adamw_clipped": Adam(0.01, weight_decay=0.1, clip_norm=0.1),
    "clipped": GradientDescent(0.1, clip_norm=0.2),
    "clipped_momentum_decay": GradientDescent(
        0.05, momentum=0.9, weight_decay=0.02, clip_norm=0.1
    ),
    "cosine": GradientDescent(COSINE, momentum=0.9),
    "adam_cosine": Adam(COSINE),
    "cosine_annealing": GradientDescent(Schedule({0: 0.05, 300: 0.0}, "cosine")),
}


def gap_to_torch(optimizer, case):
    """The largest difference of losses and weights, relative to the largest of each."""
    evaluate, start = two_layers()
    run = descend(evaluate, start, DescentOptions(None, 300, 1, None, optimizer), {})
    theirs = np.array(case["loss"])
    gaps = [np.max(np.abs(run.loss[::10] - theirs)) / np.max(np.abs(theirs))]
    for step, weights in case["weights"].items():
        for name, value in run.weights_at(int(step)).items():
            wanted = np.array(weights[name])
            gaps.append(np.max(np.abs(value - wanted)) / np.max(np.abs(wanted)))
    return max(gaps)


@pytest.mark.parametrize("name", OURS)
def test_it_is_torch_to_rounding_over_300_steps(name):
    cases = by_torch()
    assert cases.keys() == OURS.keys()
    assert gap_to_torch(OURS[name], cases[name]) < 1e-12


@pytest.mark.parametrize(
    ("name", "wrong"),
    {
        "momentum": GradientDescent(0.02, momentum=0.9, nesterov=True),
        "nesterov_decay": GradientDescent(0.02, momentum=0.8, weight_decay=0.01),
        "decay": GradientDescent(0.05),
        "adam": Adam(0.001, b1=0.8, b2=0.95),
        "adamw": Adam(0.01),
        "adamw_clipped": Adam(0.01, weight_decay=0.1),
        "clipped": GradientDescent(0.1, clip_norm=0.2 + 1e-6),
        "cosine": GradientDescent(Schedule({0: 0.0, 50: 0.05, 300: 0.0}), momentum=0.9),
    }.items(),
)
def test_another_optimizer_is_told_apart(name, wrong):
    assert gap_to_torch(wrong, by_torch()[name]) > 1e-9


# Their settings


@pytest.mark.parametrize("optimizer", OURS.values())
def test_settings_make_the_optimizer_again(optimizer):
    settings = json.loads(json.dumps(settings_of(optimizer)))
    assert optimizer_from_settings(settings) == optimizer


def test_settings_hold_only_what_is_no_default():
    assert settings_of(Adam()) == {"name": "adam", "learning_rate": 1e-3}
    assert settings_of(GradientDescent(0.1, momentum=0.9)) == {
        "name": "gradient_descent",
        "learning_rate": 0.1,
        "momentum": 0.9,
    }
    assert settings_of(GradientDescent(lambda step: 0.1))["learning_rate"] is None


BAD_SETTINGS = {
    "must be a table": "adam",
    "with one of the names gradient_descent, adam": {"name": "lion"},
    "needs learning_rate": {"name": "gradient_descent"},
    "the optimizer adam has no field momentum": {"name": "adam", "momentum": 0.9},
    "a schedule needs points": {"name": "adam", "learning_rate": {"kind": "linear"}},
    "a schedule has no field shape": {
        "name": "adam",
        "learning_rate": {"points": {"0": 0.1}, "shape": 1},
    },
}


@pytest.mark.parametrize("message", BAD_SETTINGS)
def test_settings_of_no_optimizer_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer_from_settings(BAD_SETTINGS[message])


BAD = {
    "learning_rate must be positive and finite, not 0": lambda: GradientDescent(0),
    "learning_rate must be positive and finite, not nan": lambda: Adam(np.nan),
    "learning_rate must be positive and finite, not True": lambda: Adam(True),
    "not the class Schedule": lambda: Adam(Schedule),
    "momentum must be from 0 to below 1, not 1": lambda: GradientDescent(1, momentum=1),
    "momentum must be zero or more and finite, not -0.1": lambda: GradientDescent(
        1, momentum=-0.1
    ),
    "nesterov needs a momentum above 0": lambda: GradientDescent(1, nesterov=True),
    "nesterov must be True or False, not 1": lambda: GradientDescent(
        1, momentum=0.9, nesterov=1
    ),
    "weight_decay must be zero or more and finite, not -1": lambda: Adam(
        weight_decay=-1
    ),
    "clip_norm must be positive and finite, not 0": lambda: Adam(clip_norm=0),
    "b1 must be from 0 to below 1, not 1.0": lambda: Adam(b1=1.0),
    "b2 must be zero or more and finite, not inf": lambda: Adam(b2=np.inf),
    "eps must be positive and finite, not 0": lambda: Adam(eps=0),
}


@pytest.mark.parametrize("message", BAD)
def test_numbers_out_of_range_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BAD[message]()


# What is given to train


def optimized(optimizer, steps=5, **options):
    return train(MODEL, source(), START, optimizer=optimizer, steps=steps, **options)


def test_too_many_steps_are_refused_by_their_name():
    with pytest.raises(ValueError, match=re.escape("steps must be at most 2^53")):
        optimized(Adam(), steps=10**30)


def test_exactly_one_of_rate_and_optimizer_is_given():
    with pytest.raises(ValueError, match="say how to descend: learning_rate=, or"):
        train(MODEL, source(), START, steps=5)
    with pytest.raises(ValueError, match="learning_rate and optimizer are both given"):
        optimized(Adam(), learning_rate=0.1)


@pytest.mark.parametrize(
    "optimizer", ["adam", 0.1, {"name": "adam"}, Adam, Schedule({0: 0.1}), object()]
)
def test_what_is_no_optimizer_is_refused(optimizer):
    with pytest.raises(ValueError, match="optimizer must be GradientDescent"):
        optimized(optimizer)


def test_a_learning_rate_that_is_a_function_is_gradient_descent():
    run = train(MODEL, source(), START, learning_rate=COSINE, steps=80, record=1)
    rates = np.array([COSINE(step) for step in range(80)])
    np.testing.assert_array_equal(run.learning_rates, rates)
    assert run.learning_rate is None
    sums = np.concatenate([[0], np.cumsum(rates)])
    np.testing.assert_allclose(run.weight_flow_time, 2 * sums, rtol=1e-13)
    assert run.flow_time[1] == 0  # a rate of zero moves nothing
    assert np.array_equal(run.weights_at(1)["value"], START["value"])
    assert not np.array_equal(run.weights_at(2)["value"], START["value"])


def test_a_constant_function_takes_the_steps_of_the_number():
    number = train(MODEL, source(), START, learning_rate=0.05, steps=30, compiled=False)
    function = train(MODEL, source(), START, learning_rate=lambda step: 0.05, steps=30)
    assert np.array_equal(number.loss, function.loss)
    assert np.array_equal(number.final["key"], function.final["key"])
    assert number.learning_rate == function.learning_rate == 0.05
    np.testing.assert_array_equal(number.flow_time, function.flow_time)


def test_plain_gradient_descent_is_a_learning_rate():
    given = optimized(GradientDescent(0.05), steps=30)
    rate = train(MODEL, source(), START, learning_rate=0.05, steps=30)
    assert np.array_equal(given.loss, rate.loss)
    assert np.array_equal(given.final["key"], rate.final["key"])
    assert given.settings == rate.settings
    assert given.optimizer == {"name": "gradient_descent", "learning_rate": 0.05}


BAD_RATES = {
    "the learning rate of step 3 must be zero or more and finite, not nan": (
        lambda step: np.nan if step == 3 else 0.1
    ),
    "the learning rate of step 0 must be zero or more and finite, not -0.1": (
        lambda step: -0.1
    ),
    "the learning rate of step 2 must be zero or more and finite, not None": (
        lambda step: None if step == 2 else 0.1
    ),
    "the learning rate of step 0 must be zero or more and finite, not array": (
        lambda step: np.array([0.1, 0.2])
    ),
    "the learning rate of step 0 must be zero or more and finite, not 1j": (
        lambda step: 1j
    ),
}


@pytest.mark.parametrize("message", BAD_RATES)
def test_rates_that_are_none_are_refused_before_the_first_step(message):
    for options in (
        {"learning_rate": BAD_RATES[message]},
        {"optimizer": Adam(BAD_RATES[message])},
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            train(MODEL, source(), START, steps=5, **options)


def test_a_function_of_nothing_is_no_learning_rate():
    for optimizer in (Adam, GradientDescent):
        with pytest.raises(ValueError, match="does not take one argument"):
            optimizer(lambda: 0.1)


def test_the_rates_of_a_run_are_those_that_it_took():
    """A function that counts its calls gives other rates when it is asked again."""
    calls = itertools.count(1)
    start = {name: np.array(value) for name, value in START.items()}
    run = train(
        MODEL, source(), start, learning_rate=lambda step: 0.01 / next(calls), steps=3
    )
    _, gradients = objective(MODEL, source())(start)
    moved = start["key"] - run.weights_at(1)["key"]
    np.testing.assert_allclose(moved, run.learning_rates[0] * gradients["key"])


def test_rates_of_other_libraries_are_numbers():
    run = train(
        MODEL, source(), START, learning_rate=lambda step: np.array(0.05), steps=5
    )
    assert run.learning_rate == 0.05


# Clipping and its flow time


def test_the_rates_that_are_taken_are_those_of_the_shortened_gradient():
    run = optimized(GradientDescent(0.05, clip_norm=0.5), steps=120, record=1)
    longest = np.minimum(run.gradient_norm, 0.5)
    np.testing.assert_allclose(
        run.learning_rates, 0.05 * longest / run.gradient_norm, rtol=1e-5
    )
    assert run.gradient_norm[0] > 0.5 > run.gradient_norm[-1]
    assert run.learning_rate is None
    free = optimized(GradientDescent(0.05, clip_norm=1e9), steps=30)
    assert free.learning_rate == 0.05
    steps = {
        name: np.diff(value, axis=0).reshape(120, -1)
        for name, value in run.weights.items()
    }
    moved = np.linalg.norm(np.concatenate(list(steps.values()), axis=1), axis=1)
    np.testing.assert_allclose(moved, 0.05 * longest, rtol=1e-5)


def test_momentum_follows_the_flow_at_its_own_time():
    """Half the rate, half the distance to the curve of small steps; with the time of plain descent it is far."""
    small = train(MODEL, source(), START, learning_rate=5e-4, steps=8000)

    def gap(rate, factor=1.0):
        run = optimized(
            GradientDescent(rate, momentum=0.9), steps=int(2 / rate), record=[]
        )
        times = factor * run.flow_time
        inside = times < small.flow_time[-1]
        curve = np.interp(times[inside], small.flow_time, small.loss)
        return np.max(np.abs(run.loss[inside] - curve)[len(times) // 8 :])

    assert gap(0.001) < 0.7 * gap(0.002)
    assert gap(0.001, factor=0.1) > 5 * gap(0.001)


# Frozen weights

MASK = {"key": np.array([[[True, False, True]], [[False, False, True]]])}
ALL_KINDS = {
    "descent": GradientDescent(0.05),
    "momentum": GradientDescent(0.05, momentum=0.9, weight_decay=0.1),
    "nesterov": GradientDescent(
        0.05, momentum=0.9, nesterov=True, weight_decay=0.1, clip_norm=1.0
    ),
    "schedule": GradientDescent(Schedule({0: 0.0, 5: 0.1})),
    "adam": Adam(0.05),
    "adamw": Adam(0.05, weight_decay=0.5, clip_norm=0.1),
    "own": lambda gradients, weights, step: {
        name: -0.1 * np.ones_like(value) for name, value in weights.items()
    },
}


@pytest.mark.parametrize("name", ALL_KINDS)
def test_frozen_weights_stay_to_the_last_bit(name):
    start = {key: value.copy() for key, value in START.items()}
    start["key"][0, 0, 0] = -0.0
    for frozen in (("value", "query"), MASK, {"value": np.zeros((2, 3), bool), **MASK}):
        run = train(
            MODEL,
            source(),
            start,
            optimizer=ALL_KINDS[name],
            steps=12,
            frozen=frozen,
            record=1,
        )
        masks = frozen if isinstance(frozen, dict) else dict.fromkeys(frozen, True)
        for weight, values in run.weights.items():
            mask = np.broadcast_to(masks.get(weight, False), start[weight].shape)
            stays = np.all(
                values.view(np.int64) == start[weight].view(np.int64), axis=0
            )
            assert np.all(stays[mask])
            assert np.all(mask) or not np.all(stays[~mask])


def test_gradients_of_frozen_weights_are_zero():
    free = optimized(Adam(0.01), steps=1)
    run = optimized(Adam(0.01), steps=1, frozen=("value",))
    assert 0 < run.gradient_norm[0] < free.gradient_norm[0]
    nothing = optimized(Adam(0.01), steps=1, frozen={"value": np.zeros((2, 3), bool)})
    assert nothing.settings == free.settings


BAD_FROZEN = {
    "not the text 'value': write ('value',)": "value",
    "frozen names 'bias': the weights are value, key, query": ("bias",),
    "frozen['value'] must have the weight's shape (2, 3), not (3,)": {
        "value": np.ones(3, bool)
    },
    "frozen['value'] must be a boolean mask": {"value": np.ones((2, 3))},
    "frozen['key'] must be a boolean mask": {"key": [[[0, 1, 1]], [[0, 1, 1]]]},
    "frozen leaves no weight to train": ("value", "key", "query"),
    "frozen must be names": 3,
    "frozen['value'] must be a boolean mask, True where the weight stays, not [[": {
        "value": [[True, False, True], [False]]
    },
    "frozen names 0, 1": [0, 1],
}


@pytest.mark.parametrize("message", BAD_FROZEN)
def test_what_cannot_be_frozen_is_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        optimized(Adam(), frozen=BAD_FROZEN[message])


# Optimizers of the user's own


class Moments(NamedTuple):
    count: int
    inner: tuple


class LikeOptax:
    """Momentum in optax's shape: named tuples, float32 updates if asked, writing into whatever it is given."""

    def __init__(self, rate=0.01, dtype=float, writes=False):
        self.rate, self.dtype, self.writes = rate, dtype, writes

    def init(self, params):
        zeros = {name: np.zeros_like(value) for name, value in params.items()}
        return (Moments(0, (zeros, None)), {})

    def update(self, gradients, state, params):
        moments, rest = state
        velocity, _ = moments.inner
        if self.writes:
            for name, value in velocity.items():
                value *= 0.9
                value += gradients[name]
                gradients[name] *= 0
                params[name] *= 0
        else:
            velocity = {
                name: 0.9 * value + gradients[name] for name, value in velocity.items()
            }
        updates = {
            name: np.asarray(-self.rate * value, dtype=self.dtype)
            for name, value in velocity.items()
        }
        return updates, (Moments(moments.count + 1, (velocity, None)), rest)


def test_an_object_of_optax_shape_works_as_it_is():
    ours = optimized(GradientDescent(0.01, momentum=0.9), steps=20)
    for theirs in (LikeOptax(), LikeOptax(writes=True)):
        run = optimized(theirs, steps=20)
        np.testing.assert_allclose(run.loss, ours.loss, rtol=1e-12)
        moments, _ = run.state
        assert isinstance(moments, Moments)
        assert moments.count == 20
        assert run.optimizer == {"name": "own", "called": "LikeOptax"}
        with pytest.raises(ValueError, match=r"own \(LikeOptax\) does not follow"):
            _ = run.flow_time
    single = optimized(LikeOptax(dtype=np.float32), steps=20)
    np.testing.assert_allclose(single.loss, ours.loss, rtol=1e-5)


def test_a_function_is_an_optimizer():
    run = optimized(
        lambda gradients, weights, step: {
            name: -0.01 * (step + 1) * value for name, value in gradients.items()
        },
        steps=20,
    )
    ours = optimized(GradientDescent(lambda step: 0.01 * (step + 1)), steps=20)
    np.testing.assert_allclose(run.loss, ours.loss, rtol=1e-13)


def changed(name, change):
    """A function whose update of one weight is changed; of all if the name is None."""

    def update(gradients, weights, step):
        updates = {key: -0.01 * value for key, value in gradients.items()}
        if name is None:
            return change(updates)
        updates[name] = change(updates[name])
        return updates

    return update


WRONG_UPDATES = {
    "the optimizer's update of 'value' at step 0 must have shape (2, 3), not (3, 2)": (
        changed("value", np.transpose)
    ),
    "the optimizer's update of 'value' at step 0 must have shape (2, 3), not ()": (
        changed("value", np.sum)
    ),
    "the optimizer's update of 'value' at step 0 must be an array of real numbers": (
        changed("value", lambda update: update + 0j)
    ),
    "the optimizer's update of 'key' at step 0 must be an array of real numbers": (
        changed("key", lambda update: update > 0)
    ),
    "the optimizer's update of 'query' at step 0 must be an array of real": (
        changed("query", lambda update: update.astype(str))
    ),
    "the optimizer's updates at step 0 must be a dictionary with the weights value, key, query, not ['key', 'query']": (
        changed(None, lambda all: {n: all[n] for n in ("key", "query")})
    ),
    "the optimizer's updates at step 0 must be a dictionary with the weights value, key, query, not ['value', ": (
        changed(None, lambda all: {**all, "bias": np.zeros(2)})
    ),
    "the optimizer's updates at step 0 must be a dictionary with the weights value, key, query, not None": (
        changed(None, lambda all: None)
    ),
    "the optimizer's update of 'value' at step 0 must be an array of real numbers, not [[": (
        changed("value", lambda update: [[1.0, 2.0], [3.0]])
    ),
    "does not take three arguments": lambda gradients, weights: gradients,
}


@pytest.mark.parametrize("message", WRONG_UPDATES)
def test_updates_that_do_not_fit_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        optimized(WRONG_UPDATES[message])


class Given:
    """An optimizer whose state and result are given."""

    def __init__(self, state=None, result=None):
        self.state, self.result = state, result

    def init(self, weights):
        return self.state

    def update(self, gradients, state, weights):
        return self.result


def test_an_optimizer_that_returns_no_pair_is_refused():
    for result in (None, {"value": 1}, (1, 2, 3), [{}, {}]):
        with pytest.raises(ValueError, match=re.escape("return the pair (updates, ")):
            optimized(Given(result=result))


def test_a_state_that_no_file_holds_is_refused_before_the_first_step():
    wrong = (np.random.default_rng(0), {1: 2.0}, lambda: 3, np.array([object()]))
    for state in (*wrong, iter([1])):
        with pytest.raises(ValueError, match="the state of an optimizer must"):
            optimized(Given(state))


def test_a_state_that_no_file_holds_is_refused_after_the_first_step():
    nothing = {name: 0.0 * value for name, value in START.items()}
    with pytest.raises(ValueError, match="the state of an optimizer must"):
        optimized(Given({"step": 0}, (nothing, {"step": iter([1])})), steps=1)


# Divergence

DIVERGES = {
    "a learning rate smaller than 50, or a momentum below 0.9": GradientDescent(
        50.0, momentum=0.9
    ),
    r"smaller learning rates \(that of step \d+ was 50\)": GradientDescent(
        Schedule({0: 0.0, 1: 50.0})
    ),
    "a learning rate smaller than 1e\\+200, or a weight decay below 10": Adam(
        1e200, weight_decay=10.0
    ),
    "an optimizer of smaller updates": lambda gradients, weights, step: {
        name: -50.0 * value for name, value in gradients.items()
    },
}


@pytest.mark.parametrize("message", DIVERGES)
def test_a_run_that_diverges_says_what_to_do(message):
    with pytest.raises(Diverged, match=f"choose {message}$") as error:
        optimized(DIVERGES[message], steps=1000, record=1)
    run = error.value.trajectory
    assert len(run.loss) == error.value.step
    assert np.all(np.isfinite(run.loss))
    assert np.all(np.isfinite(run.final["key"]))


def test_a_first_update_that_is_not_finite_is_not_blamed_on_the_weights():
    update = lambda gradients, weights, step: {n: np.nan * g for n, g in START.items()}
    message = "the loss or the update is not finite at step 0; choose .* an optimizer of smaller updates"
    with pytest.raises(Diverged, match=message):
        optimized(update)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_updates_that_are_not_finite_are_divergence(value):
    def update(gradients, weights, step):
        size = value if step == 4 else -0.01
        return {name: size * gradient for name, gradient in gradients.items()}

    # Also in the last step, after which no loss would show it.
    with pytest.raises(Diverged, match="at step 4"):
        optimized(update, steps=5)


def test_gradients_whose_square_overflows_are_divergence():
    """Adam would stand still with them for ever, at a finite loss."""

    def steep(weights):
        return 1.0, {"w": np.array([1e200])}

    for optimizer in (Adam(), GradientDescent(0.1, clip_norm=1.0)):
        options = DescentOptions(None, 5, None, None, optimizer)
        with pytest.raises(Diverged, match="at step 0"):
            descend(steep, {"w": np.ones(1)}, options, {"model": "steep"})


def test_a_huge_bound_clips_nothing():
    plain = train(MODEL, source(), START, learning_rate=0.05, steps=20, compiled=False)
    bounded = optimized(GradientDescent(0.05, clip_norm=1e300), steps=20)
    assert np.array_equal(plain.loss, bounded.loss)


def test_merged_attention_learns_with_adam():
    model = Merged(heads=2)
    start = initial_weights(model, TASK, 0.1, seed=1)
    stats = statistics(sample(TASK, 2000), model)
    run = train(model, stats, start, optimizer=Adam(0.01), steps=2000)
    best = train(model, stats, start, learning_rate=0.05, steps=20_000)
    assert run.loss[-1] == pytest.approx(best.loss[-1], rel=1e-3)
    assert run.loss[0] > 1.2 * run.loss[-1]
