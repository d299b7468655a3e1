"""Moments of all features against the definition in symbols, the restricted block and sampled data."""

import re
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from attndyn import Merged, Separate, Task
from attndyn.simulate import sample, statistics
from attndyn.simulate.sufficient_statistics.quadratic_loss import feature_pairs
from attndyn.theory import FeatureMoments, feature_moments, population
from attndyn.theory.moments import features
from attndyn.theory.symbolic import moments, rational_task

DIVISORS = ("context", "tokens", "none")
LENGTHS = (1, 2, 3, 4, "1..3")


def random_task(seed, dimension, fraction=1.0, context_length=3):
    """Λ and Ω do not commute, there is noise, and below fraction 1 a fixed teacher."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, dimension, dimension))
    Λ, Ω = (root @ root.T / dimension + 0.2 * np.eye(dimension) for root in roots)
    teacher = rng.choice([-1, 1], dimension) * rng.uniform(0.5, 1.5, dimension)
    mixture = (
        {"fixed_teacher": teacher, "in_context_fraction": fraction}
        if fraction < 1
        else {}
    )
    fields = {
        "covariance": Λ,
        "teacher_covariance": Ω,
        "noise_variance": rng.uniform(0.1, 1),
    }
    return Task(**fields, context_length=context_length, **mixture)


def changed(task, **fields):
    return Task(**task.to_dict() | fields)


def numbers(moments):
    """c, b and the upper triangle of S, one after the other."""
    return np.array(
        [moments.c, *moments.b, *moments.S[np.triu_indices(len(moments.b))]]
    )


def longer(task):
    longest = max(task.context_lengths) + 1
    return changed(
        task,
        context_length=longest
        if isinstance(task.context_length, int)
        else f"1..{longest}",
    )


@contextmanager
def patched(name, wrong):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, name, wrong(getattr(features, name)))
        yield


def without_fourth_and_sixth(query):
    return lambda Λ: query(Λ)._replace(fourth=np.zeros((len(Λ) + 1,) * 4), sixth=0.0)


def without_one_pairing(fourth_moments):
    """Of the three pairings of w w w w one is missing, for random teachers."""

    def wrong(mean, covariance):
        return fourth_moments(mean, covariance) - np.einsum(
            "ac,bd->abcd", covariance, covariance
        )

    return wrong


def wrong_moments(task, model):
    """Moments with one named mistake each."""
    wrong = {"N + 1 for N": feature_moments(longer(task), model)}
    with patched("_query_moments", without_fourth_and_sixth):
        wrong["query's own token dropped"] = feature_moments(task, model)
    with patched(
        "_query_moments", lambda query: lambda Λ: query(Λ)._replace(sixth=0.0)
    ):
        wrong["sixth moment dropped"] = feature_moments(task, model)
    if task.in_context_fraction > 0:
        with patched("gaussian_fourth_moments", without_one_pairing):
            wrong["two of the three pairings of w"] = feature_moments(task, model)
    if task.in_context_fraction < 1:
        w0, p = task.fixed_teacher, task.in_context_fraction
        wrong["sign of the fixed teacher"] = feature_moments(
            changed(task, fixed_teacher=-w0), model
        )
        wrong["fraction of the others"] = feature_moments(
            changed(task, in_context_fraction=1 - p), model
        )
    return wrong


def largest_error(ours, exact):
    """Largest difference between moments, in units of the sizes of the two features (y_q for c and b)."""
    size = np.sqrt(np.array([exact.c, *np.diag(exact.S)]))
    whole = [
        np.block([[np.full((1, 1), m.c), m.b[None]], [m.b[:, None], m.S]])
        for m in (ours, exact)
    ]
    return np.max(np.abs(whole[0] - whole[1]) / np.outer(size, size))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 2]),
    st.sampled_from([1.0, 0.3, 0.0]),
    st.sampled_from(DIVISORS),
    st.sampled_from(LENGTHS),
)
def test_the_definition_in_symbols_has_these_moments(
    seed, dimension, fraction, divisor, length
):
    task, model = (
        random_task(seed, dimension, fraction, length),
        Separate(1, divisor=divisor),
    )
    derived = moments(rational_task(task), divisor)
    numeric = [
        np.array(part.evalf(30).tolist(), dtype=float)
        for part in (derived.b, derived.S)
    ]
    exact = FeatureMoments(
        np.array(derived.indices), float(derived.c), numeric[0][:, 0], numeric[1]
    )
    ours = feature_moments(task, model)
    assert ours.indices.tolist() == exact.indices.tolist()
    assert largest_error(ours, exact) < 1e-13
    errors = {
        name: largest_error(wrong, exact)
        for name, wrong in wrong_moments(task, model).items()
    }
    assert {name: error for name, error in errors.items() if error < 1e-4} == {}


@pytest.mark.parametrize("dimension", [1, 2, 3, 8])
@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("length", [3, "1..3"])
def test_the_restricted_part_is_the_population(dimension, divisor, length):
    task, model = (
        random_task(dimension, dimension, 1.0, length),
        Merged(1, divisor=divisor),
    )
    full, block = feature_moments(task, model), population(task, model)
    i, j, _ = full.indices.T
    inside = (i < dimension) & (j == dimension)
    expected = np.kron(block.A, block.Lambda)

    def agree(moments):
        part = moments.S[np.ix_(inside, inside)]
        return np.allclose(
            moments.b[inside], block.B.ravel(), rtol=1e-13, atol=1e-14
        ) and np.allclose(part, expected, rtol=1e-13, atol=1e-14 * expected.max())

    assert agree(full)
    assert full.c == pytest.approx(block.c, rel=1e-14)
    assert not agree(feature_moments(longer(task), model))  # control: N + 1 for N
    white = changed(task, teacher_covariance=np.eye(dimension))
    assert not agree(feature_moments(white, model))  # control: teachers taken as white
    # The restricted minimum is that of all weights, since without a fixed teacher nothing drives the others.
    assert full.minimum_loss == pytest.approx(block.minimum_loss, rel=1e-11)
    assert np.allclose(
        full.minimum[inside], block.minimum.ravel(), rtol=1e-8, atol=1e-10
    )
    assert np.max(np.abs(full.minimum[~inside])) < 1e-8 * np.max(np.abs(full.minimum))
    mixture = feature_moments(random_task(dimension, dimension, 0.5, length), model)
    assert np.max(np.abs(mixture.minimum[~inside])) > 1e-2 * np.max(
        np.abs(mixture.minimum)
    )


SAMPLED = {
    "random teachers": (random_task(0, 3, 1.0, 4), "context", False),
    "mixture, N + 1": (random_task(1, 3, 0.7, 3), "tokens", False),
    "mixture, every length, no divisor": (
        random_task(2, 4, 0.7, "1..3"),
        "none",
        False,
    ),
    "mixture, long": (random_task(3, 4, 0.3, 8), "context", False),
    "fixed teacher alone": (random_task(4, 3, 0.0, 3), "context", False),
    "fixed teacher, random labels": (random_task(5, 3, 0.0, 3), "tokens", True),
    "mixture, random labels": (random_task(6, 4, 0.5, 3), "context", True),
}
BATCHES, BATCH = 75, 4000


class Sampled:
    """Moments of batches of simulated sequences, (BATCHES, numbers), and the level that all together keep."""

    def __init__(self, task, model, random_labels):
        data = [
            sample(task, BATCH, seed, random_labels=random_labels)
            for seed in range(BATCHES)
        ]
        self.values = np.array([numbers(statistics(each, model)) for each in data])
        # Two-sided at 1e-3 for all entries together, by Bonferroni: about 5 standard errors, not 3.4.
        self.level = student.ppf(1 - 1e-3 / 2 / self.values.shape[1], BATCHES - 1)

    def distance(self, moments):
        """Largest distance of an entry in standard errors."""
        errors = self.values.std(axis=0, ddof=1) / np.sqrt(BATCHES)
        return np.max(np.abs(self.values.mean(axis=0) - numbers(moments)) / errors)


@pytest.mark.parametrize("name", SAMPLED)
def test_sampled_statistics_have_these_moments(name):
    task, divisor, random_labels = SAMPLED[name]
    model = Merged(1, divisor=divisor)
    sampled = Sampled(task, model, random_labels)
    assert (
        sampled.distance(feature_moments(task, model, random_labels=random_labels))
        < sampled.level
    )
    wrong = (
        {"consistent labels": feature_moments(task, model)}
        if random_labels
        else wrong_moments(task, model)
    )
    distances = {label: sampled.distance(each) for label, each in wrong.items()}
    assert {label: far for label, far in distances.items() if far < sampled.level} == {}


@pytest.mark.parametrize("dimension", [1, 3])
def test_features_stand_in_the_order_of_the_statistics(dimension):
    i, j = feature_pairs(dimension, "full")
    expected = [(a, b, d) for a, b in zip(i, j, strict=True) for d in range(dimension)]
    assert [
        *map(tuple, feature_moments(random_task(0, dimension), Merged(1)).indices)
    ] == expected


def test_random_labels_leave_nothing_to_learn_in_context():
    """Labels that are N(0, 1) and alone: β is independent of y_q, with E ββᵀ = Λ/N."""
    task = random_task(7, 3, 0.0, 5)
    ours = feature_moments(task, Merged(1), random_labels=True)
    i, j, _ = ours.indices.T
    inside = (i < 3) & (j == 3)

    def agree(moments):
        S = moments.S[np.ix_(inside, inside)]
        Λ = task.covariance
        return not moments.b[inside].any() and np.allclose(
            S, np.kron(Λ / 5, Λ), rtol=1e-13
        )

    assert agree(ours)
    assert not agree(feature_moments(task, Merged(1)))
    assert ours.c == pytest.approx(
        task.fixed_teacher @ task.covariance @ task.fixed_teacher + task.noise_variance
    )


MIXED = {"fixed_teacher": [1.0, 1.0], "in_context_fraction": 0.5}
REFUSED = {
    "softmax attention has no finite moments": (
        Task([2, 1], context_length=3),
        Merged(1, softmax=True),
        False,
    ),
    "random_labels are for the sequences of a fixed_teacher": (
        Task([2, 1], context_length=3),
        Merged(1),
        True,
    ),
    "random_labels need one context length, not 1..3": (
        Task([2, 1], context_length="1..3", **MIXED),
        Merged(1),
        True,
    ),
    "the moments of this task overflow: rescale": (
        Task([1e110, 1], context_length=3),
        Merged(1),
        False,
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_has_no_moments_is_refused_in_one_line(message):
    task, model, random_labels = REFUSED[message]
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        feature_moments(task, model, random_labels=random_labels)
    assert "\n" not in str(error.value)


def test_an_unused_fixed_teacher_changes_nothing():
    task = random_task(11, 3)
    mixed = changed(task, fixed_teacher=[1.0, 2.0, 3.0], in_context_fraction=1.0)
    assert np.array_equal(
        numbers(feature_moments(task, Merged(1))),
        numbers(feature_moments(mixed, Merged(1))),
    )
