"""Laws of the inputs: their moments, what is refused of a law of one's own, how it travels."""

import copy
import pickle
import re

import numpy as np
import pytest

from attndyn import Task
from attndyn.inputs import INPUT_LAWS, Inputs
from attndyn.simulate import sample


def normal(generator, shape):
    """z of a normal law, as a user may write it."""
    return generator.standard_normal(shape)


def signs(generator, shape):
    return generator.choice([-1.0, 1.0], shape)


GLOBAL = np.random.default_rng(0)
"""A generator that a law ought not to use."""


def own(draw=normal, *, dimension=2, **options):
    """A task with inputs of one's own."""
    return Task([1] * dimension, inputs=Inputs(draw, **options), context_length=3)


def standard_errors(values, expected):
    """How many standard errors the mean over axis 0 is off, at worst; numbers that never vary must be equal."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) + 1e-12
    return np.max(np.abs(values.mean(axis=0) - expected) / error)


D = 4
FOURTH = {
    "gaussian": 3.0,
    "uniform": 9 / 5,
    "rademacher": 1.0,
    "sphere": 3 * D / (D + 2),
}
"""E z_i⁴ of each law: of the cube 3² · E u⁴ with u uniform on (−1, 1), of the sphere D² · 3/(D(D+2))."""
MIXED = {"gaussian": 1.0, "uniform": 1.0, "rademacher": 1.0, "sphere": D / (D + 2)}
"""E z_1² z_2²."""


@pytest.mark.parametrize("name", INPUT_LAWS)
def test_a_named_law_has_its_moments(name):
    z = Inputs.named(name).draw(np.random.default_rng(0), (60_000, D))
    assert standard_errors(z, 0.0) < 4.5
    assert standard_errors(z[:, :, None] * z[:, None, :], np.eye(D)) < 4.5
    assert standard_errors(z**4, FOURTH[name]) < 4.5
    assert standard_errors(z[:, 0] ** 2 * z[:, 1] ** 2, MIXED[name]) < 4.5
    for other in set(FOURTH) - {name}:  # control
        assert standard_errors(z**4, FOURTH[other]) > 9


@pytest.mark.parametrize("name", INPUT_LAWS)
def test_a_named_law_lies_where_it_should(name):
    z = Inputs.named(name).draw(np.random.default_rng(0), (50, 4, D))
    where = {
        "gaussian": np.max(np.abs(z)) > 2,
        "uniform": np.max(np.abs(z)) <= np.sqrt(3),
        "rademacher": np.array_equal(np.abs(z), np.ones(z.shape)),
        "sphere": np.allclose(np.linalg.norm(z, axis=-1), np.sqrt(D)),
    }
    assert where[name]


def test_the_law_of_x_is_that_of_its_mean_and_root():
    # x = mean + Λ^½ z with the symmetric root of diag(4, 0, 1).
    task = Task([4, 0, 1], input_mean=[5, -1, 0], inputs="rademacher", context_length=2)
    x = sample(task, 40).x
    assert set(x[..., 0].ravel()) == {3.0, 7.0}
    assert set(x[..., 1].ravel()) == {-1.0}
    assert set(x[..., 2].ravel()) == {-1.0, 1.0}


def test_a_rotated_covariance_has_its_symmetric_root():
    Λ = np.array([[2.0, 1.0], [1.0, 2.0]])
    x = sample(Task(covariance=Λ, inputs="rademacher", context_length=1), 200).x
    values, vectors = np.linalg.eigh(Λ)
    root = (vectors * np.sqrt(values)) @ vectors.T
    corners = {tuple(np.round(root @ z, 9)) for z in np.array([[1, 1], [1, -1]])}
    corners |= {tuple(np.negative(corner)) for corner in corners}
    assert {tuple(row) for row in np.round(x.reshape(-1, 2), 9)} == corners


def test_a_law_of_ones_own_draws_what_its_name_would():
    named, mine = Task([2, 1], context_length=3), own()
    mine = Task([2, 1], inputs=Inputs(normal), context_length=3)
    assert np.array_equal(sample(named, 9).x, sample(mine, 9).x)
    assert named != mine  # its moments are not known


REFUSED = {
    "global state": (
        lambda: own(lambda generator, shape: normal(GLOBAL, shape)),
        "gives other numbers when it is called again with the same seed",
    ),
    "a seed of its own": (
        lambda: own(lambda generator, shape: normal(np.random.default_rng(0), shape)),
        "gives the same numbers for every seed",
    ),
    "another scale": (
        lambda: own(lambda generator, shape: 1.1 * normal(generator, shape)),
        "must have mean 0 and covariance I, since Λ scales it",
    ),
    "a mean": (
        lambda: own(lambda generator, shape: normal(generator, shape) + 0.1),
        "draws are off by 0.",
    ),
    "equal entries": (
        lambda: own(
            lambda generator, shape: np.broadcast_to(
                normal(generator, (*shape[:-1], 1)), shape
            )
        ),
        "must have mean 0 and covariance I",
    ),
    "equal tokens": (
        lambda: own(
            lambda generator, shape: np.broadcast_to(
                normal(generator, (shape[0], *[1] * (len(shape) - 2), shape[-1])), shape
            )
        ),
        "and independent tokens",
    ),
    "nan": (
        lambda: own(lambda generator, shape: np.full(shape, np.nan)),
        "z of the law of inputs must be finite",
    ),
    "complex": (
        lambda: own(lambda generator, shape: 1j * normal(generator, shape)),
        "z of the law of inputs must be an array of real numbers",
    ),
    "another shape": (
        lambda: own(lambda generator, shape: normal(generator, shape)[0]),
        "must give shape (16, 2), not (2,)",
    ),
    "wrong fourth moment": (
        lambda: own(moments={4: 9 / 5}),
        "moments[4] of the law of inputs is stated as 1.8",
    ),
    "wrong fourth moment of |z|": (
        lambda: own(moments={4: 3}, elliptical=True),
        "moments[4] of the law of inputs is stated as 3",
    ),
    "no rotation invariance": (
        lambda: own(signs, elliptical=True),
        "its draws are not rotation invariant",
    ),
    "wrong third moment": (
        lambda: own(moments={3: 1, 4: 3}),
        "moments[3] of the law of inputs is stated as 1, and 10000 draws are off by",
    ),
    "wrong sixth moment": (
        lambda: own(signs, moments={4: 1, 6: 2}),
        "moments[6] of the law of inputs is stated as 2, and 10000 draws are off by 1",
    ),
    "wrong dense moment": (
        lambda: own(moments={4: np.ones((2,) * 4)}),
        "moments[4] of the law of inputs is stated, and 10000 draws are off by",
    ),
    "no moment of products": (
        lambda: Inputs(normal, {3: np.arange(8.0).reshape(2, 2, 2)}),
        "moments[3] must not change when two of its axes are exchanged",
    ),
    "skewed and elliptical": (
        lambda: Inputs(normal, {3: np.ones((2,) * 3)}, elliptical=True),
        "moments[3] of a law that is elliptical must be 0",
    ),
    "an array of moments": (
        lambda: Inputs(normal, np.array([3.0, 15.0])),
        "moments must be {order: moment}, such as {4: 9/5}",
    ),
    "no moments": (lambda: Inputs(normal, False), "moments must be {order: moment}"),
    "a moment beyond doubles": (
        lambda: Inputs(normal, {4: 10**400}),
        "moments[4] must be an array of real numbers",
    ),
    "moments of another D": (
        lambda: own(moments={4: np.zeros((3, 3, 3, 3))}),
        "moments[4] of the law of inputs has shape (3, 3, 3, 3), and Λ is 2 × 2",
    ),
    "no function": (lambda: Inputs(3), "draw must be a function (generator, shape)"),
    "no mapping": (lambda: Inputs(normal, [3]), "moments must be {order: moment}"),
    "order 2": (lambda: Inputs(normal, {2: 1}), "orders 3 and more"),
    "order as text": (lambda: Inputs(normal, {"4": 3}), "not of '4'"),
    "not square": (
        lambda: Inputs(normal, {4: np.ones((2, 3, 2, 2))}),
        "moments[4] must be a number or have shape (D,) * 4",
    ),
    "nan moment": (lambda: Inputs(normal, {4: np.nan}), "moments[4] must be finite"),
    "below Jensen": (lambda: Inputs(normal, {4: 0.5}), "moments[4] must be 1 or more"),
    "sixth below fourth": (
        lambda: Inputs(normal, {4: 3, 6: 5}),
        "moments[6] must be at least moments[4]**1.5",
    ),
    "elliptical": (
        lambda: Inputs(normal, elliptical=1),
        "elliptical must be True or False",
    ),
    "unknown name": (
        lambda: Task([1], inputs="cube", context_length=1),
        "inputs must be one of gaussian, uniform, rademacher, sphere, or an Inputs",
    ),
    "a list": (
        lambda: Task([1], inputs=["uniform"], context_length=1),
        "or an Inputs, not ['uniform']",
    ),
    "the class": (
        lambda: Task([1], inputs=Inputs, context_length=1),
        "or an Inputs, not <class",
    ),
    "a file": (lambda: own().to_toml(), "a law of your own, which a file cannot hold"),
    "another process": (
        lambda: pickle.dumps(own(lambda generator, shape: normal(generator, shape))),
        "inputs of your own cannot be sent to another process: define the function",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_one_line_that_says_why(make, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"moments": {4: 3, 6: 15}},
        {"moments": {4: 8}, "elliptical": True},
        {"draw": signs, "moments": {4: 1, 6: 1}},
        # Heavy tails: 10,000 draws do not tell a fourth moment.
        {
            "draw": lambda generator, shape: (
                np.sqrt(2.5 / 4.5) * generator.standard_t(4.5, shape)
            ),
            "moments": {4: 15},
        },
        {
            "draw": lambda generator, shape: generator.exponential(size=shape) - 1,
            "moments": {3: 2, 4: 9},
        },
        # For x of this dimension alone.
        {
            "draw": lambda generator, shape: (
                normal(generator, shape) @ np.array([[0.6, 0.8], [-0.8, 0.6]])
            )
        },
    ],
)
def test_right_laws_of_ones_own_are_accepted(options):
    task = own(**options)
    assert task == own(**options)
    assert hash(task) == hash(own(**options))
    assert sample(task, 5).x.shape == (5, 4, 2)


def test_a_law_of_many_dimensions_is_tried_in_little_memory():
    assert own(dimension=400).dimension == 400


def test_laws_of_ones_own_are_told_apart():
    laws = [
        own(),
        own(signs),
        own(moments={4: 3}),
        own(moments={4: 3, 6: 15}),
        own(elliptical=True),
    ]
    assert len({law.digest for law in laws}) == len(laws)


def test_a_law_of_ones_own_travels():
    task = own(moments={4: 3})
    for again in (pickle.loads(pickle.dumps(task)), copy.deepcopy(task)):
        assert again == task
        assert again.inputs.moments == task.inputs.moments
        assert np.array_equal(sample(again, 5).tokens, sample(task, 5).tokens)
    with_lambda = own(lambda generator, shape: normal(generator, shape))
    assert copy.deepcopy(with_lambda) == with_lambda


def test_what_a_law_says_of_itself():
    assert repr(Inputs.named("sphere")) == "Inputs('sphere')"
    assert repr(Inputs(normal, {4: 3})) == (
        "<Inputs of one's own, moments of order: 4>"
    )
    assert Inputs(normal, {4: 3}).to_dict() == {
        "name": None,
        "elliptical": False,
        "moments": {4: 3.0},
    }
    assert "law of z" in Inputs(normal)._repr_html_()
