"""The compiled flow of rank-one heads, against the flow of any model and against what is known of it."""

from pathlib import Path

import numpy as np
import pytest

from attndyn import Separate, Task
from attndyn.compare.claims.linear_attention.separate.exit_time_measurements import (
    exact_source,
    middles,
    observed_passages,
    uneven_start,
    whitened_shares,
)
from attndyn.compare.claims.linear_attention.separate.random_staircases import (
    KINDS,
    random_start,
)
from attndyn.compare.metrics.curves import crossing_times
from attndyn.simulate import flow, initial_weights, sample, statistics
from attndyn.simulate.descent.rank_one_flow import passages

PAIR = Task([2.0, 1.0], context_length=20)
CASES = np.load(Path(__file__).parents[2] / "data" / "staircases.npz")


def case_names():
    return sorted({name.split("_", 1)[0] for name in CASES.files})


def case(name):
    """Task, model, weights, and the stored numbers."""
    stored = {
        key.split("_", 1)[1]: CASES[key][()]
        for key in CASES.files
        if key.startswith(name + "_")
    }
    teacher = (
        stored["teacher"] if stored["teacher"].ndim == 2 else np.diag(stored["teacher"])
    )
    task = Task(
        stored["eigenvalues"],
        teacher_covariance=teacher,
        noise_variance=float(stored["noise"]),
        context_length=int(stored["n"]),
    )
    model = Separate(heads=len(stored["value"]))
    weights = {
        key: np.zeros(shape) for key, shape in model.shapes(task.dimension).items()
    }
    weights["value"][:, -1] = stored["value"]
    weights["key"][:, 0, :-1], weights["query"][:, 0, :-1] = (
        stored["key"],
        stored["query"],
    )
    return task, model, weights, stored


@pytest.mark.parametrize("name", case_names())
def test_levels_are_passed_when_another_integration_says(name):
    task, model, weights, stored = case(name)
    assert middles(task, model) == pytest.approx(stored["levels"], rel=1e-12)
    run = observed_passages(task, model, weights, float(stored["until"]))
    assert run.times == pytest.approx(stored["times"], rel=1e-9)
    if np.all(np.isfinite(stored["times"])):
        assert run.loss == pytest.approx(float(stored["final"]), abs=1e-7)


def test_it_is_the_flow_of_the_model_at_every_exit():
    model, start = (
        Separate(heads=3),
        initial_weights(Separate(heads=3), PAIR, 0.05, 3, "restricted"),
    )
    source = exact_source(PAIR, model)
    run = passages(model, source, start, middles(PAIR, model), until=1e4)
    times = np.linspace(0, 1.2 * run.times[-1], 20_001)
    path = flow(model, source, start, times, rtol=1e-11)
    assert run.times == pytest.approx(
        crossing_times(times, path.loss, middles(PAIR, model)), rel=1e-6
    )
    losses = [
        float(path.loss[np.argmin(path.gradient_norm[times < run.times[0]])]),
        path.loss[-1],
    ]
    assert np.sum(run.maps()[0], axis=0) == pytest.approx(np.zeros((2, 2)), abs=1e-3)
    assert losses[1] == pytest.approx(run.loss, abs=1e-4)


def test_the_heads_between_exits_are_at_rest():
    model = Separate(heads=2)
    run = observed_passages(PAIR, model, uneven_start(model, 2, 1e-3, 0), 1e5)
    shares, first = whitened_shares(PAIR, run.maps().sum(axis=1), 0.01)
    assert first.tolist() == [1, 2]
    assert shares == pytest.approx(np.array([[0, 0], [1, 0], [1, 1]]), abs=2e-3)


def test_a_mirror_pair_stays_one_to_the_last_bit():
    start = random_start("mirror pair", 1)
    run = observed_passages(start.task, start.model, start.weights, 30 / start.scale)
    reached = np.isfinite(run.values[:, 0])
    assert np.array_equal(run.values[reached, 1], -run.values[reached, 0])
    assert np.array_equal(run.keys[reached, 1], run.keys[reached, 0])
    assert np.array_equal(run.queries[reached, 1], -run.queries[reached, 0])


def test_levels_that_are_not_passed_in_time_are_never_passed():
    model = Separate(heads=1)
    run = observed_passages(PAIR, model, uneven_start(model, 2, 1e-2, 0), 2e4)
    assert np.isfinite(run.times).tolist() == [True, False]
    assert np.isnan(run.values[:, 0]).tolist() == [False, False, True]
    nothing = {name: np.zeros(shape) for name, shape in model.shapes(2).items()}
    assert np.all(np.isinf(observed_passages(PAIR, model, nothing, 10.0).times))


@pytest.mark.parametrize("until", [1e6, 1e8, 1e10])
def test_a_first_step_that_is_far_too_long_is_taken_again(until):
    """Until may be any time after the last exit: an overflow in a trial step is not an arrival."""
    model = Separate(heads=2)
    start = uneven_start(model, 2, 1e-3, 1)
    assert observed_passages(PAIR, model, start, until).times == pytest.approx(
        observed_passages(PAIR, model, start, 1e4).times, rel=1e-10
    )


def test_other_ranks_and_samples_are_refused():
    model = Separate(heads=1)
    start = uneven_start(model, 2, 1e-2, 0)
    data = statistics(sample(PAIR, 10, 0), model)
    with pytest.raises(ValueError, match="exact expectations"):
        passages(model, data, start, np.array([1.0]), 1.0)
    with pytest.raises(ValueError, match="rank-one"):
        passages(
            Separate(heads=1, rank=2),
            exact_source(PAIR, model),
            start,
            np.array([1.0]),
            1.0,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_start_is_what_its_kind_says(kind):
    for seed in range(5):
        start = random_start(kind, seed)
        values, keys, queries = (
            start.weights[name] for name in ("value", "key", "query")
        )
        λ, D = np.diag(start.task.covariance), start.task.dimension
        gap = 1 - λ[1] / λ[0]
        commutator = start.task.covariance @ start.task.teacher_covariance
        facts = {
            "near tie": 1e-4 <= gap <= 0.1,
            "exact tie": gap == 0,
            "non-commuting teacher": np.max(np.abs(commutator - commutator.T)) > 1e-6,
            "fewer heads": len(values) < D,
            "zero head": not (
                np.any(values[0]) or np.any(keys[0]) or np.any(queries[0])
            ),
            "value alone": values[0, -1] == 0.1
            and not (np.any(keys[0]) or np.any(queries[0])),
            "key alone": np.any(keys[0])
            and not (np.any(values[0]) or np.any(queries[0])),
            "mirror pair": np.array_equal(values[1:2], -values[:1])
            and np.array_equal(queries[1:2], -queries[:1]),
            "lacks a direction": keys[0, 0, 0] == queries[0, 0, 0] == 0,
        }
        assert facts.get(kind, True)
        assert np.trace(start.task.covariance) == pytest.approx(1)
