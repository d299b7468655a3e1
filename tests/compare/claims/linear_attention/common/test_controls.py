"""Wrong variants of the moments: each is wrong in the way its name says, and in no other."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare.claims.linear_attention.common.controls import (
    LONGER_CONTEXT,
    MOMENTS,
    NO_FOURTH_MOMENT,
    TRACE_DROPPED,
    with_context,
    wrong_moments,
)
from attndyn.compare.evidence.claim import UNMODIFIED
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import population

N = 10
BASIS = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
Λ = BASIS @ np.diag([3.0, 2.0, 0.5]) @ BASIS.T
Ω = np.diag([1.0, 2.0, 0.3])
TASKS = {
    "plain": Task([3, 2, 0.5], context_length=N),
    "noisy": Task([3, 2, 0.5], context_length=N, noise_variance=0.7),
    "rotated": Task(covariance=Λ, context_length=N),
    "general": Task(
        covariance=Λ, teacher_covariance=Ω, context_length=N, noise_variance=0.7
    ),
}
MODELS = {
    "context": Merged(2),
    "tokens": Separate(3, divisor="tokens"),
    "none": Merged(1, divisor="none"),
}


def by_definition(task, model, trace=1.0, fourth=1.0, length=N):
    """c, A and B with the terms of A weighted."""
    s = {"context": 1.0, "tokens": length / (length + 1), "none": length}[model.divisor]
    Λ, Ω = task.covariance, task.teacher_covariance
    c = np.trace(Ω @ Λ) + task.noise_variance
    A = s**2 * ((1 + fourth / length) * Λ @ Ω @ Λ + trace * c * Λ / length)
    return c, A, s * Λ @ Ω @ Λ


EXPECTED = {
    UNMODIFIED: {},
    TRACE_DROPPED: {"trace": 0.0},
    NO_FOURTH_MOMENT: {"fourth": 0.0},
    LONGER_CONTEXT: {"length": N + 1},
}


@pytest.mark.parametrize("divisor", MODELS)
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("control", EXPECTED)
def test_a_variant_is_wrong_in_the_way_its_name_says(control, name, divisor):
    task, model = TASKS[name], MODELS[divisor]
    moments = wrong_moments(task, model, control)
    c, A, B = by_definition(task, model, **EXPECTED[control])
    size = np.abs(A).max()
    np.testing.assert_allclose(moments.A, A, rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(moments.B, B, rtol=1e-12, atol=1e-13 * np.abs(B).max())
    assert moments.c == pytest.approx(c, rel=1e-14)
    for other in set(EXPECTED) - {control}:
        assert (
            np.abs(moments.A - by_definition(task, model, **EXPECTED[other])[1]).max()
            > 1e-3 * size
        )


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("control", MOMENTS)
def test_whatever_follows_from_the_moments_is_wrong_too(name, control):
    """Minimum, gains and losses are those of the wrong A, and not of the right one."""
    task, model = TASKS[name], MODELS["context"]
    moments, true = wrong_moments(task, model, control), population(task, model)
    minimum = np.linalg.solve(moments.A, moments.B) @ np.linalg.inv(moments.Lambda)
    np.testing.assert_allclose(moments.minimum, minimum, rtol=1e-9, atol=1e-12)
    assert np.abs(moments.minimum - true.minimum).max() > 1e-3
    T = np.linalg.inv(root(moments.A)) @ moments.B @ np.linalg.inv(root(moments.Lambda))
    gains = np.sort(np.linalg.svd(T, compute_uv=False) ** 2)
    np.testing.assert_allclose(np.sort(moments.gains), gains, rtol=1e-9)
    assert moments.minimum_loss == pytest.approx(moments.c - gains.sum(), rel=1e-9)
    assert abs(moments.minimum_loss - true.minimum_loss) > 1e-3


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T


def test_the_theory_itself_is_not_changed():
    task = TASKS["plain"]
    assert np.array_equal(
        wrong_moments(task, MODELS["context"], UNMODIFIED).A,
        population(task, MODELS["context"]).A,
    )


def test_another_context_length_changes_nothing_else():
    task = TASKS["general"]
    other = with_context(task, 5)
    assert other.context_length == 5
    assert other.to_dict() == task.to_dict() | {"context_length": 5}


def test_an_unknown_variant_is_refused_with_those_that_exist():
    with pytest.raises(
        ValueError, match="no variant of the moments is called 'exponent': there are"
    ) as error:
        wrong_moments(TASKS["plain"], MODELS["context"], "exponent")
    assert all(name in str(error.value) for name in MOMENTS)


MIXED = {"fixed_teacher": [1.0, -1.0], "in_context_fraction": 0.5}
START = initial_weights(
    MODELS["tokens"], Task([2, 1], context_length=4), 0.6, seed=1, scheme="gaussian"
)
RULE = {"learning_rate": 0.05, "steps": 200, "record": 200}


def gap(source, run):
    """Largest difference of the losses of two runs of all weights."""
    return np.max(
        np.abs(train(MODELS["tokens"], source, START, **RULE).loss - run.loss)
    )


@pytest.mark.parametrize("random_labels", [False, True])
def test_runs_on_samples_of_a_mixture_approach_the_one_on_unlimited_data(random_labels):
    """As P^-1/2: the gap falls by 8 over a factor 64 in P; to the run of another fraction it does not."""
    task, model = Task([2, 1], trace=1.0, context_length=4, **MIXED), MODELS["tokens"]
    exact = train(
        model,
        population_statistics(task, model, random_labels=random_labels),
        START,
        **RULE,
    )
    other = Task.from_dict(task.to_dict() | {"in_context_fraction": 0.3})
    wrong = train(
        model,
        population_statistics(other, model, random_labels=random_labels),
        START,
        **RULE,
    )
    assert exact.loss[-1] < 0.7 * exact.loss[0]

    def gaps(sequences):
        data = [
            sample(task, sequences, seed, random_labels=random_labels)
            for seed in range(12)
        ]
        sources = [statistics(each, model) for each in data]
        return np.array(
            [
                np.sqrt(np.mean([gap(each, run) ** 2 for each in sources]))
                for run in (exact, wrong)
            ]
        )

    few, many = gaps(1000), gaps(64_000)
    assert few[0] / many[0] == pytest.approx(8, rel=0.35)
    assert few[1] / many[1] < 4


def test_without_a_mixture_unlimited_data_are_restricted():
    task, model = TASKS["general"], MODELS["none"]
    moments, source = population(task, model), population_statistics(task, model)
    assert (source.block, source.sequences) == ("restricted", np.inf)
    assert np.array_equal(source.b, moments.B.ravel())
    mixture = Task([2, 1], context_length=4, **MIXED)
    assert (
        population_statistics(mixture, model).digest
        != population_statistics(mixture, model, random_labels=True).digest
    )
    with pytest.raises(
        ValueError, match="random_labels are for the sequences of a fixed_teacher"
    ):
        population_statistics(task, model, random_labels=True)
