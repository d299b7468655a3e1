"""Machine code against the plain path: the same runs to rounding, and wrong kernels are told apart."""

import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    Diverged,
    Statistics,
    from_moments,
    initial_weights,
    load,
    sample,
    statistics,
    train,
    train_many,
)
from attndyn.simulate.attention.initialisation import restricted
from attndyn.simulate.descent import gradient_descent as descent_module
from attndyn.simulate.descent import steppers
from attndyn.simulate.runs import experiment

TASK = Task([3, 2, 1], trace=1.0, context_length=6, noise_variance=0.1)
MODELS = {
    "merged": Merged(heads=2),
    "one merged head": Merged(heads=1, divisor="tokens"),
    "rank one": Separate(heads=5),
    "rank two": Separate(heads=2, rank=2, divisor="tokens"),
    "rank above D": Separate(heads=1, rank=5),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
RULE = {"learning_rate": 0.03, "steps": 500, "record": [3, 4, 100, 499]}


def source(model, block="full", task=TASK):
    return statistics(sample(task, 60, seed=1), model, block)


def start_of(model, block="full", seed=2, task=TASK):
    return initial_weights(
        model, task, 0.5, seed, "restricted" if block == "restricted" else "gaussian"
    )


def agree(run, other, tolerance=1e-12):
    """The same run to rounding, relative to the largest of the numbers."""
    assert run.weight_steps.tolist() == other.weight_steps.tolist()
    assert np.array_equal(run.time, other.time)
    pairs = [(run.loss, other.loss), (run.gradient_norm, other.gradient_norm)]
    pairs += [(run.weights[name], other.weights[name]) for name in run.weights]
    assert all(np.max(np.abs(a - b)) < tolerance * np.max(np.abs(b)) for a, b in pairs)
    assert run.settings == other.settings


def same_run(run, other):
    for name in ("time", "loss", "gradient_norm", "weight_time"):
        assert np.array_equal(getattr(run, name), getattr(other, name)), name
    assert all(
        np.array_equal(run.weights[name], other.weights[name]) for name in run.weights
    )


@pytest.mark.parametrize("block", ["full", "restricted"])
@each_model
def test_machine_code_takes_the_plain_steps(model, block):
    stats, start = source(model, block), start_of(model, block)
    plain = train(model, stats, start, compiled=False, **RULE)
    agree(train(model, stats, start, **RULE), plain)
    assert plain.loss[-1] < 0.9 * plain.loss[0]  # control: there is something to follow


@settings(max_examples=20, deadline=None)
@forall(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(1, 30),
    st.booleans(),
)
def test_any_sizes(dimension, heads, rank, steps, inside):
    task = Task(np.arange(dimension, 0, -1.0), trace=1.0, context_length=5)
    model = Separate(heads, rank) if rank else Merged(heads)
    block = "restricted" if inside else "full"
    stats, start = source(model, block, task), start_of(model, block, task=task)
    rule = {"learning_rate": 0.01, "steps": steps}
    agree(
        train(model, stats, start, **rule),
        train(model, stats, start, compiled=False, **rule),
    )


def off_by_a_millionth(stats):
    S = exact_border(stats)
    S[4, 2] *= 1 + 1e-6
    return S


exact_border, exact_entries = steppers.bordered, steppers.feature_rows
WRONG = {
    "one number of S off by a millionth": ("bordered", off_by_a_millionth),
    "c for c / 2": (
        "bordered",
        lambda stats: exact_border(stats) + np.diag(exact_border(stats) == stats.c) / 2,
    ),
    "two features exchanged": (
        "feature_rows",
        lambda stats: exact_entries(stats)[:, [1, 0, *range(2, 10)]],
    ),
    "one order of the indices": (
        "feature_rows",
        lambda stats: np.tile(exact_entries(stats)[0], (2, 1)),
    ),
}


@pytest.mark.parametrize(("name", "wrong"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_kernel_is_told_apart(monkeypatch, name, wrong):
    model = Merged(heads=2)
    stats, start = source(model), start_of(model)
    plain = train(model, stats, start, compiled=False, **RULE)
    monkeypatch.setattr(steppers, name, wrong)
    with pytest.raises(AssertionError):
        agree(train(model, stats, start, **RULE), plain)


@pytest.mark.parametrize("model", [Merged(heads=2), Separate(heads=2, rank=2)])
def test_the_tokens_agree_at_nine_digits(model):
    data, start = sample(TASK, 60, seed=1), start_of(model)
    tokens = train(model, data, start, **RULE)
    np.testing.assert_allclose(
        train(model, statistics(data, model), start, **RULE).loss,
        tokens.loss,
        rtol=1e-9,
    )
    near = train(model, statistics(sample(TASK, 61, seed=1), model), start, **RULE)
    assert (
        np.max(np.abs(near.loss / tokens.loss - 1)) > 1e-4
    )  # control: one sequence more


# Stretches


def short_stretches(monkeypatch, steps=7):
    monkeypatch.setattr(steppers, "_work", lambda *source: steppers.WORK // steps)


def interrupted(monkeypatch, path, model, at, **rule):
    """Train until the stretch of this number, which Ctrl-C ends."""
    make, calls = steppers.compiled_stepper, iter(range(10**6))

    def interrupting(*arguments):
        made = make(*arguments)

        def advance(weights, stretch):
            if next(calls) == at:
                raise KeyboardInterrupt
            return made.advance(weights, stretch)

        return made._replace(advance=advance)

    with monkeypatch.context() as patch:
        patch.setattr(descent_module.steppers, "compiled_stepper", interrupting)
        with pytest.raises(KeyboardInterrupt):
            train(model, source(model), start_of(model), checkpoint=path, **rule)


@pytest.mark.parametrize("record", [1, 5, 7, None, [0, 6, 7, 8, 30]])
@each_model
def test_an_interrupted_run_goes_on_bit_for_bit(monkeypatch, tmp_path, model, record):
    rule = {"learning_rate": 0.03, "steps": 30, "record": record}
    whole = train(model, source(model), start_of(model), **rule)
    short_stretches(monkeypatch)
    for at in (0, 1, 3):
        path = tmp_path / f"{at}.npz"
        interrupted(monkeypatch, path, model, at, **rule)
        assert len(load(path).loss) == 7 * at
        resumed = train(model, source(model), start_of(model), checkpoint=path, **rule)
        same_run(resumed, whole)
        assert resumed.settings == whole.settings


def test_a_stretch_ends_within_a_tenth_of_a_second_or_so():
    for model, D in ((Merged(8), 4), (Separate(9), 8)):
        task = Task(np.arange(D, 0, -1.0), context_length=3)
        assert (
            100
            < steppers.compiled_stepper(model, source(model, task=task), 0.1).step_count
            < 20_000
        )


# Divergence


@each_model
@pytest.mark.parametrize("record", [1, [5]])
def test_it_diverges_at_the_same_step(model, record):
    def diverged(compiled):
        with pytest.raises(Diverged) as error:
            train(
                model,
                source(model),
                start_of(model),
                learning_rate=3.0,
                steps=1000,
                record=record,
                compiled=compiled,
            )
        return error.value

    plain, fast = diverged(False), diverged(True)
    assert fast.step == plain.step > 2
    assert str(fast) == str(plain)
    assert len(fast.trajectory.loss) == fast.step
    assert (
        fast.trajectory.weight_steps.tolist() == plain.trajectory.weight_steps.tolist()
    )
    np.testing.assert_allclose(
        fast.trajectory.loss[:-1], plain.trajectory.loss[:-1], rtol=1e-6
    )


# Many starts


@pytest.mark.parametrize("block", ["full", "restricted"])
@each_model
def test_many_starts_are_many_runs(monkeypatch, model, block):
    starts = [start_of(model, block, seed) for seed in range(5)]
    single = [train(model, source(model, block), start, **RULE) for start in starts]
    short_stretches(monkeypatch, 5 * 33)
    for run, other in zip(
        train_many(model, source(model, block), starts, **RULE), single, strict=True
    ):
        agree(run, other)
    assert (
        np.max(np.abs(single[0].loss / single[1].loss - 1)) > 1e-3
    )  # control: the starts matter


def test_where_there_is_no_machine_code_the_runs_are_made_in_turn():
    model = Merged(heads=1, softmax=True)
    starts = [start_of(model, seed=seed) for seed in range(2)]
    data, rule = sample(TASK, 20), {"learning_rate": 0.1, "steps": 5}
    for run, start in zip(train_many(model, data, starts, **rule), starts, strict=True):
        same_run(run, train(model, data, start, **rule))


def test_a_start_that_diverges_does_so_alone():
    model, rule = Merged(heads=2), {"learning_rate": 0.2, "steps": 300, "record": 50}
    calm = start_of(model, seed=0)
    wild = {name: 6 * value for name, value in calm.items()}
    with pytest.raises(Diverged) as error:
        train_many(model, source(model), [calm, wild], **rule)
    with pytest.raises(Diverged) as alone:
        train(model, source(model), wild, **rule)
    assert error.value.step == alone.value.step
    assert (
        error.value.trajectory.weight_steps.tolist()
        == alone.value.trajectory.weight_steps.tolist()
    )
    assert error.value.trajectory.settings == alone.value.trajectory.settings
    assert np.all(np.isfinite(error.value.trajectory.loss))
    agree(
        train_many(model, source(model), [calm, calm], **rule)[1],
        train(model, source(model), calm, **rule),
    )


def test_no_start_is_refused():
    with pytest.raises(
        ValueError,
        match=re.escape("starts must hold the weights of at least one start, not none"),
    ):
        train_many(
            Merged(heads=1), source(Merged(heads=1)), [], learning_rate=0.1, steps=5
        )


# Exact moments


def moments(D, model, error=0.0):
    """Exact moments whose Λ and A do not commute, A perhaps with an error, and the same as a dense matrix."""
    rng = np.random.default_rng(D)
    A, Λ = (np.eye(D) + factor @ factor.T / D for factor in rng.normal(size=(2, D, D)))
    A[0, 0] *= 1 + error
    exact = from_moments(5.0, A / D, rng.normal(size=(D, D)) / D, Λ / D, model, (9,))
    kind = (exact.sequences, D, exact.context_lengths, exact.divisor, exact.block)
    return exact, Statistics(exact.c, exact.b, exact.S, *kind)


def inside(model, D):
    return restricted(
        initial_weights(
            model, Task(np.ones(D), context_length=9), 0.3, seed=1, scheme="gaussian"
        )
    )


@pytest.mark.parametrize("D", [1, 3, 20])
@pytest.mark.parametrize(
    "model", [Merged(heads=3), Separate(heads=4), Separate(heads=2, rank=3)]
)
def test_exact_moments_are_their_matrix(model, D):
    exact, dense = moments(D, model)
    rule = {"learning_rate": 0.02, "steps": 100, "record": [0, 10, 40]}
    expected = train(model, dense, inside(model, D), compiled=False, **rule)
    for compiled in (False, True):
        run = train(model, exact, inside(model, D), compiled=compiled, **rule)
        np.testing.assert_allclose(run.loss, expected.loss, rtol=1e-12)
        np.testing.assert_allclose(
            run.gradient_norm, expected.gradient_norm, rtol=1e-11
        )
        for name in run.weights:
            np.testing.assert_allclose(
                run.weights[name], expected.weights[name], rtol=1e-10, atol=1e-13
            )
    wrong = train(
        model, moments(D, model, error=1e-4)[0], inside(model, D), **rule
    )  # control
    assert np.max(np.abs(wrong.loss / expected.loss - 1)) > 1e-9


@pytest.mark.parametrize("model", [Merged(heads=2), Separate(heads=4)])
def test_exact_moments_of_many_dimensions_fit_in_memory(model):
    D = 96
    exact, _ = moments(2, model)
    exact = from_moments(1.0, np.eye(D), np.eye(D), np.eye(D), model, (9,))
    start = inside(model, D)
    train(model, exact, start, learning_rate=1e-3, steps=1)
    tracemalloc.start()
    try:
        train(model, exact, start, learning_rate=1e-3, steps=2, record=[0])
        assert tracemalloc.get_traced_memory()[1] < 0.02 * 8 * D**4
    finally:
        tracemalloc.stop()


def test_exact_moments_diverge_as_their_matrix_does():
    model = Merged(heads=2)
    exact, dense = moments(20, model)
    steps = []
    for stats in (exact, dense):
        with pytest.raises(Diverged) as error:
            train(
                model, stats, inside(model, 20), learning_rate=2.0, steps=500, record=1
            )
        steps.append(error.value.step)
        assert error.value.trajectory.weight_steps[-1] == error.value.step
    assert steps[0] == steps[1]


# Loading


def test_the_plain_path_loads_no_compiler():
    code = """
import sys
from attndyn import Merged, Task
from attndyn.simulate import initial_weights, sample, statistics, train
model, task = Merged(1), Task([2, 1], context_length=3)
rule = {"learning_rate": 0.1, "steps": 3}
train(model, statistics(sample(task, 9), model), initial_weights(model, task, 0.1), compiled=False, **rule)
print("numba" in sys.modules)
train(model, statistics(sample(task, 9), model), initial_weights(model, task, 0.1), **rule)
print("numba" in sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(("steps", "compiled"), [(19_999, False), (20_000, True)])
def test_a_short_experiment_does_not_load_it(monkeypatch, steps, compiled):
    asked = []

    def trained(*arguments, **rule):
        asked.append(rule["compiled"])
        return train(*arguments, **{**rule, "steps": 2, "compiled": False})

    monkeypatch.setattr(experiment, "train", trained)
    rule = {"sequences": 10, "scale": 0.1, "learning_rate": 0.1, "steps": steps}
    experiment.Experiment(TASK, Merged(heads=1), **rule).run()
    assert asked == [compiled]


def test_machine_code_is_made_anew_where_it_cannot_be_kept(monkeypatch):
    from attndyn.simulate.descent import kernels

    made = []

    def njit(*, cache, **rules):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        made.append(rules)
        return lambda function: function

    monkeypatch.setattr(kernels, "njit", njit)
    assert kernels.jit(abs)(-2) == 2
    assert made == [{"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}]


def test_data_before_the_model_of_many_starts_is_answered_with_the_call():
    data = sample(Task([2, 1], context_length=5), 10)
    call = r"call train_many\(model, source, starts\): got Prompts, then Merged"
    with pytest.raises(TypeError, match=call):
        train_many(data, Merged(2), [{}], learning_rate=0.1, steps=2)
