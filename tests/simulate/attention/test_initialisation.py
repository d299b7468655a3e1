"""Initial weights: the schemes by what they promise, and what is refused."""

import re

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.simulate import from_moments, initial_weights, objective, train
from attndyn.simulate.attention.initialisation import model_name, restricted

D = 4
TASK = Task([4, 3, 2, 1], trace=1.0, context_length=31)
ROTATED = Task(covariance=[[2.0, 0.6], [0.6, 1.0]], context_length=9)
MODELS = [Merged(heads=300), Separate(heads=200, rank=1), Separate(heads=150, rank=2)]


def trained(name):
    """Where the weights of the restricted block stand, as an index of the last axes."""
    return {
        "value": (slice(None), slice(-1, None)),
        "key": (..., slice(None, -1)),
        "query": (...,),
        "key_query": (..., slice(None), slice(None)),
    }[name]


def spread(values):
    """Standard deviation about zero, and its standard error for normal numbers."""
    deviation = np.sqrt(np.mean(values**2))
    return deviation, deviation / np.sqrt(2 * values.size)


@pytest.mark.parametrize("model", MODELS)
def test_gaussian_weights_have_the_scale(model):
    weights = initial_weights(model, TASK, scale=0.3, scheme="gaussian")
    assert {name: value.shape for name, value in weights.items()} == model.shapes(D)
    for value in weights.values():
        deviation, error = spread(value)
        assert abs(deviation - 0.3) < 4.5 * error
        assert abs(value.mean()) < 4.5 * 0.3 / np.sqrt(value.size)


PUBLISHED = {  # standard deviation over scale, by hand: one over the root of the entries of the stacked matrix
    Merged(heads=300): {"value": 1.0, "key_query": 1.0},
    Separate(heads=200, rank=1): {
        "value": (200 * 25) ** -0.5,
        "key": (200 * 5) ** -0.5,
        "query": (200 * 5) ** -0.5,
    },
    Separate(heads=150, rank=2): {
        "value": (150 * 25) ** -0.5,
        "key": (300 * 5) ** -0.5,
        "query": (300 * 5) ** -0.5,
    },
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_scales(model):
    weights = initial_weights(model, TASK, scale=0.5, scheme="zhang2025")
    for name, share in PUBLISHED[model].items():
        entries = weights[name][trained(name)]
        deviation, error = spread(entries[entries != 0])
        assert abs(deviation - 0.5 * share) < 4.5 * error
        if (
            isinstance(model, Separate) and name == "value"
        ):  # control: of the matrix only the rows that are kept
            assert abs(deviation - 0.5 * weights[name].size ** -0.5) > 9 * error
    plain = initial_weights(model, TASK, scale=0.5, scheme="restricted")
    for name, share in PUBLISHED[model].items():
        np.testing.assert_allclose(weights[name], share * plain[name], rtol=1e-14)


@pytest.mark.parametrize("scheme", ["restricted", "zhang2025"])
@pytest.mark.parametrize("model", MODELS)
def test_zero_blocks_and_no_other_zeros(model, scheme):
    weights = initial_weights(model, TASK, scale=0.5, scheme=scheme)
    a, B = model.heads(weights)
    assert not np.any(a[:, :-1])
    assert not np.any(B[:, -1])
    assert np.all(a[:, -1])
    assert np.all(B[:, :-1])
    assert np.all(
        weights["query" if "query" in weights else "key_query"][..., -1]
    )  # what meets y stays
    outside = initial_weights(
        model, TASK, scale=0.5, scheme="gaussian"
    )  # control: another scheme
    assert np.all(model.heads(outside)[0][:, :-1])


def test_restricting_copies():
    weights = initial_weights(Merged(heads=1), TASK, scale=0.5, scheme="gaussian")
    before = weights["value"].copy()
    assert not np.any(restricted(weights)["value"][:, :-1])
    assert np.array_equal(weights["value"], before)


@pytest.mark.parametrize("model", MODELS)
def test_seeds(model):
    first, again, other = (
        initial_weights(model, TASK, 0.5, seed=seed, scheme="gaussian")
        for seed in (3, 3, 4)
    )
    for name, value in first.items():
        assert np.array_equal(value, again[name])
        assert (
            abs(np.corrcoef(value.ravel(), other[name].ravel())[0, 1])
            * np.sqrt(value.size)
            < 4.5
        )
    np.testing.assert_allclose(
        initial_weights(model, TASK, 5.0, seed=3, scheme="gaussian")["value"],
        10 * first["value"],
        rtol=1e-15,
    )


def test_aligned_merged_by_hand():
    weights = initial_weights(
        Merged(heads=2), TASK, scale=[0.3, 0.0, 0.4, 0.0], scheme="aligned"
    )
    expected = np.zeros((2, 5, 5))
    expected[0, 0, 0], expected[0, 2, 2] = 0.3, 0.4
    np.testing.assert_array_equal(weights["key_query"], expected)
    np.testing.assert_allclose(
        weights["value"], [[0, 0, 0, 0, 0.5], [0] * 5], rtol=1e-15
    )


def test_aligned_separate_by_hand():
    weights = initial_weights(
        Separate(heads=2, rank=2), TASK, scale=[0.3, 0.4, 0.2, 0.0], scheme="aligned"
    )
    expected = np.zeros((2, 2, 5))
    expected[0, 0, 0], expected[0, 1, 1], expected[1, 0, 2] = 0.3, 0.4, 0.2
    np.testing.assert_array_equal(weights["key"], expected)
    np.testing.assert_array_equal(weights["query"], expected)
    np.testing.assert_allclose(weights["value"][:, -1], [0.5, 0.2], rtol=1e-15)
    assert not np.any(weights["value"][:, :-1])


def test_directions_are_numbered_by_decreasing_eigenvalue():
    task = Task([1, 3, 2], context_length=5)
    weights = initial_weights(
        Separate(heads=3), task, scale=[0.3, 0.2, 0.1], scheme="aligned"
    )
    assert np.argmax(weights["key"][:, 0], axis=1).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "model", [Separate(heads=2), Separate(heads=1, rank=2), Merged(heads=1)]
)
def test_aligned_weights_are_balanced_and_stay_aligned(model):
    """In a basis that is not the axes: every head balanced, and M diagonal with Λ throughout the descent."""
    weights = initial_weights(model, ROTATED, scale=[0.3, 0.2], scheme="aligned")
    B = np.array([np.sum(each**2) for each in model.heads(weights)[1]])
    if isinstance(model, Separate):
        key, query = weights["key"], weights["query"]
        assert np.array_equal(key, query)
        B = np.sum(key**2, axis=(1, 2))
    np.testing.assert_allclose(weights["value"][:, -1] ** 2, B, rtol=1e-14)
    Λ = ROTATED.covariance
    A = (1 + 1 / 9) * Λ @ Λ + np.trace(Λ) * Λ / 9
    stats = from_moments(float(np.trace(Λ)), A, Λ @ Λ, Λ, model, (9,))
    run = train(model, stats, weights, learning_rate=0.01, steps=30)
    assert off_diagonal(model, run.final) < 1e-14
    tilted = initial_weights(
        model, Task([2.0, 1.0], context_length=9), scale=[0.3, 0.2], scheme="aligned"
    )
    rotated = train(
        model, stats, tilted, learning_rate=0.01, steps=30
    )  # control: aligned to other axes
    assert off_diagonal(model, rotated.final) > 1e-3


def off_diagonal(model, weights):
    a, B = model.heads(weights)
    M = np.einsum("h,hij->ij", a[:, -1], B[:, :-1])
    basis = ROTATED.eigenvectors
    return abs(basis.T @ M @ basis)[[0, 1], [1, 0]].max()


@settings(max_examples=25, deadline=None)
@forall(st.integers(1, 5), st.integers(1, 5), st.floats(0.01, 2))
def test_one_number_fills_what_fits(heads, rank, scale):
    weights = initial_weights(
        Separate(heads=heads, rank=rank), TASK, scale=scale, scheme="aligned"
    )
    held = np.sum(weights["key"] != 0)
    assert held == min(heads * rank, D)
    assert np.all(weights["key"][weights["key"] != 0] == scale)


def test_ones_own_model_starts_gaussian():
    weights = initial_weights(Scalar(), TASK, scale=2.0, scheme="gaussian")
    assert weights["w"].shape == (D,)


class Scalar:
    def shapes(self, dimension):
        return {"w": (dimension,)}

    def heads(self, weights):
        raise AssertionError("not needed")


class Sized(Scalar):
    def __init__(self, size):
        self.size = size


def test_names_of_models_do_not_depend_on_the_process():
    assert model_name(Merged(heads=2)) == repr(Merged(heads=2))
    assert model_name(Scalar()) == model_name(Scalar()) == "Scalar()"
    assert model_name(Sized(3)) == "Sized(size=3)"
    assert repr(Scalar()) != repr(Sized(3))


BAD = {
    "scheme must be one of gaussian, restricted, zhang2025, aligned, not 'xavier'": {
        "scheme": "xavier"
    },
    "scale must be positive and finite, not 0": {"scale": 0},
    "scale must be positive and finite, not -1.0": {
        "scale": -1.0,
        "scheme": "zhang2025",
    },
    "scale must be positive and finite, not nan": {"scale": float("nan")},
    "scale must be positive and finite, not 'a'": {"scale": "a"},
    "scale must be positive and finite, not [0.1, 0.2]": {"scale": [0.1, 0.2]},
    "not [0.1, 0.2]": {"scale": [0.1, 0.2], "scheme": "aligned"},
    "scale must be a positive number, or 4 numbers of zero or more, for scheme 'aligned', not 0": {
        "scale": 0,
        "scheme": "aligned",
    },
    "not -0.5": {"scale": -0.5, "scheme": "aligned"},
    "not 'a'": {"scale": "a", "scheme": "aligned"},
    "2 heads of rank 1 hold 2 directions: set the other amplitudes to zero": {
        "model": Separate(heads=2),
        "scale": [1, 1, 1, 0],
        "scheme": "aligned",
    },
    "scheme 'zhang2025' is for Merged and Separate": {
        "model": Scalar(),
        "scheme": "zhang2025",
    },
    "seed must be a whole number of at least 0, not -1": {"seed": -1},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    arguments = {"model": Merged(heads=2), "task": TASK, "scale": 0.5} | BAD[message]
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        initial_weights(**arguments)
    assert "\n" not in str(error.value)


def test_aligned_weights_lower_the_loss():
    """A positive amplitude lowers the population loss: signs are right."""
    Λ = TASK.covariance
    for model in (Merged(heads=1), Separate(heads=4)):
        stats = from_moments(1.0, Λ @ Λ + np.trace(Λ) * Λ / 31, Λ @ Λ, Λ, model, (31,))
        start = initial_weights(model, TASK, scale=0.1, scheme="aligned")
        flipped = start | {"value": -start["value"]}  # control
        assert (
            objective(model, stats)(start)[0]
            < 1.0
            < objective(model, stats)(flipped)[0]
        )


@pytest.mark.parametrize(
    "scale",
    [
        True,
        "1",
        [True, True],
        ["1", "2"],
        [[1.0], [1.0, 2.0]],
        np.ma.masked_array([1.0, 2.0]),
    ],
)
def test_amplitudes_are_plain_numbers(scale):
    with pytest.raises(
        ValueError,
        match="scale must be a positive number, or 2 numbers of zero or more",
    ):
        initial_weights(
            Separate(heads=2), Task([2, 1], context_length=3), scale, scheme="aligned"
        )
