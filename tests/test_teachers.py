"""Laws of teachers: what they draw, what they refuse, how they travel."""

import copy
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

from attndyn import Task
from attndyn.runtime.covariances import covariance_root
from attndyn.simulate import sample
from attndyn.teachers import (
    Gaussian,
    Mixture,
    Pool,
    Sphere,
    law_from_dict,
)

GLOBAL = np.random.default_rng(0)
"""A generator that a law ought not to use."""


class Own:
    """A law as a user may write it."""

    dimension = 2
    outputs = 1
    symmetric = True

    def draw(self, generator, n):
        return generator.standard_normal((n, self.outputs, self.dimension))


class OfFunction(Own):
    def __init__(self, function):
        self.function = function

    def draw(self, generator, n):
        return self.function(generator, n)


def task_of(law, **options):
    dimension = getattr(law, "dimension", 2)
    return Task([1] * dimension, **{"teachers": law, "context_length": 3} | options)


def drawn(law, count=60_000):
    return law.draw(np.random.default_rng(1), count)


def standard_errors(values, expected):
    """How many standard errors the mean over axis 0 is off, at worst; numbers that never vary must be equal."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) + 1e-12
    return np.max(np.abs(values.mean(axis=0) - expected) / error)


ROTATION = np.array([[0.6, 0.8], [-0.8, 0.6]])
LAWS = {
    "variances": Gaussian([1, 2]),
    "fractions": Gaussian(["1/3", 0]),
    "singular": Gaussian([[1, 1], [1, 1]]),
    "mean": Gaussian([1, 2], mean=[1, 0]),
    "one point": Gaussian([0, 0], mean=[1, 2]),
    "kronecker": Gaussian.kronecker([[1, 0.5], [0.5, 1]], [[2, 0], [0, 1]]),
    "mean of outputs": Gaussian(np.eye(4).reshape(2, 2, 2, 2), mean=[[1, 2], [3, 4]]),
    "shared basis": Gaussian.shared_basis([1, 4], ROTATION),
    "supports": Gaussian.on_supports(2, [[0], [0, 1], [1]]),
    "sphere": Sphere(2),
    "sphere of a radius": Sphere(2, 0.3),
    "pool": Pool([[1, 2], [0.1, 0.2]], [1, 2]),
    "signs": Pool([[1, 2.5]], signs=True),
    "pool of outputs": Pool(np.arange(8).reshape(2, 2, 2) / 3),
    "drawn": Sphere(2, 0.7).pool(5, seed=3),
    "drawn with signs": Sphere(2, 0.7).pool(5, seed=3, signs=True),
    "drawn of a pool": Pool([[1, 2], [3, 4]]).pool(9),
    "mixture": Mixture((0.9, Gaussian([1, 1])), (0.1, Pool([[1, -1], [1, 1]]))),
    "thirds": Mixture(
        ("1/3", Sphere(2)), ("1/3", Pool([[1, 1.5]])), ("1/3", Sphere(2, 2.5))
    ),
    "mixture of mixtures": Mixture(
        (0.5, Mixture((0.5, Sphere(2)), (0.5, Sphere(2, 1)))), (0.5, Sphere(2, 2))
    ),
    "drawn of a mixture": Mixture((0.5, Sphere(2)), (0.5, Pool([[1, 2]]))).pool(4),
    "beside a fixed one": Mixture((0.9, Gaussian([1, 2])), (0.1, Pool([[1, -1]]))),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_a_law_travels(law):
    task = task_of(law, noise_variance="1/7", query_noise_variance=0)
    tokens = sample(task, 9).tokens
    for again in (
        Task.from_toml(task.to_toml()),
        Task.from_json(task.to_json()),
        Task.from_dict(task.to_dict()),
        pickle.loads(pickle.dumps(task)),
        copy.deepcopy(task),
        task_of(pickle.loads(pickle.dumps(law)), **_noise_of(task)),
        task_of(law.to_dict(), **_noise_of(task)),
    ):
        assert again == task
        assert again.digest == task.digest
        np.testing.assert_array_equal(sample(again, 9).tokens, tokens)


def _noise_of(task):
    return {
        "noise_variance": task.exact_noise_variance,
        "query_noise_variance": task.exact_query_noise_variance,
    }


def test_laws_are_told_apart():
    assert len({task_of(law).digest for law in LAWS.values()}) == len(LAWS)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_draws_have_the_shape_and_come_from_the_generator(law):
    assert drawn(law, 7).shape == (7, law.outputs, law.dimension)
    np.testing.assert_array_equal(drawn(law, 7), drawn(law, 7))
    assert drawn(law, 7).dtype == np.float64


# E W_ia W_jb, worked out by hand from the definition of each law.
SECOND = {
    "variances": np.diag([1, 2]),
    "fractions": np.diag([1 / 3, 0]),
    "singular": np.ones((2, 2)),
    "mean": np.diag([2, 2]),
    "one point": np.outer([1, 2], [1, 2]),
    "kronecker": np.kron([[1, 0.5], [0.5, 1]], [[2, 0], [0, 1]]),
    "mean of outputs": np.eye(4) + np.outer([1, 2, 3, 4], [1, 2, 3, 4]),
    "supports": np.diag([1, 0, 0.5, 0.5, 0, 1]),
    "sphere": np.eye(2),
    "sphere of a radius": np.eye(2) * 0.3**2 / 2,
    "pool": (np.outer([1, 2], [1, 2]) + 2 * np.outer([0.1, 0.2], [0.1, 0.2])) / 3,
    "signs": np.outer([1, 2.5], [1, 2.5]),
    "mixture": 0.9 * np.eye(2) + 0.1 * np.eye(2),
    "thirds": np.eye(2) * (1 + 2.5**2 / 2) / 3 + np.outer([1, 1.5], [1, 1.5]) / 3,
    "mixture of mixtures": np.eye(2) * (0.25 + 0.25 * 0.5 + 0.5 * 2),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_moments_of_draws(name):
    w = drawn(LAWS[name]).reshape(60_000, -1)
    products = w[:, :, None] * w[:, None, :]
    np.testing.assert_allclose(np.mean(products, axis=0), SECOND[name], atol=0.2)
    if not isinstance(LAWS[name], Mixture):  # its parts have exact shares
        assert standard_errors(products, SECOND[name]) < 4.5
        wrong = 1.1 * SECOND[name]  # control
        assert standard_errors(products, wrong) > 9


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mean", [1, 0]), ("signs", [0, 0]), ("pool", [0.4, 0.8]), ("sphere", [0, 0])],
)
def test_means_of_draws(name, expected):
    assert standard_errors(drawn(LAWS[name])[:, 0], np.array(expected)) < 4.5
    if any(expected):
        assert standard_errors(drawn(LAWS[name])[:, 0], 0.0) > 9  # control


def test_teachers_of_a_shared_basis_commute():
    W = drawn(LAWS["shared basis"], 200)
    inner = np.einsum("di,pde,ej->pij", ROTATION, W, ROTATION)  # Uᵀ W U
    np.testing.assert_allclose(inner[:, [0, 1], [1, 0]], 0, atol=1e-12)
    spread = np.var(inner[:, [0, 1], [0, 1]], axis=0)
    assert 3 < spread[1] / spread[0] < 5.5


def test_teachers_on_supports_are_zero_elsewhere():
    W = drawn(Gaussian.on_supports(4, [[0, 1], [2]], variance="1/2"), 50)
    assert not np.any(W[:, 0, 2:])
    assert not np.any(W[:, 1, [0, 1, 3]])
    assert np.all(W[:, 0, :2] != 0)
    assert Gaussian.on_supports(4, [[1]], variance="1/2").second[0, 1, 0, 1] == 0.5


def test_a_sphere_has_its_radius():
    length = np.linalg.norm(drawn(Sphere(5, "1/2"), 50), axis=-1)
    np.testing.assert_allclose(length, 0.5)


def test_a_pool_draws_its_members_by_weight():
    pool = Pool([[1, 0], [2, 0], [3, 0]], [1, 0, 3], signs=True)
    values, counts = np.unique(drawn(pool, 8000)[:, 0, 0], return_counts=True)
    assert values.tolist() == [-3, -1, 1, 3]
    np.testing.assert_allclose(counts / 8000, [3 / 8, 1 / 8, 1 / 8, 3 / 8], atol=0.03)


def test_a_drawn_pool_is_of_its_law_and_seed():
    first, again, other = Sphere(3).pool(4), Sphere(3).pool(4), Sphere(3).pool(4, 1)
    np.testing.assert_array_equal(first.teachers, again.teachers)
    assert not np.array_equal(first.teachers, other.teachers)
    np.testing.assert_allclose(np.linalg.norm(first.teachers, axis=-1), np.sqrt(3))
    more = Sphere(3).pool(6).teachers
    np.testing.assert_array_equal(more[:4], first.teachers)
    assert first.to_dict() == {
        "law": "pool",
        "of": {"law": "sphere", "dimension": 3},
        "count": 4,
        "seed": 0,
    }
    assert repr(first) == "Sphere(dimension=3).pool(4, seed=0)"
    assert Sphere(3).pool(np.int64(4), np.int64(0)).to_json() == first.to_json()


def test_a_drawn_pool_with_signs_is_the_same_pool_beside_its_negatives():
    plain, signed = Sphere(3).pool(4, seed=2), Sphere(3).pool(4, seed=2, signs=True)
    np.testing.assert_array_equal(
        signed.members, np.concatenate([plain.teachers, -plain.teachers])
    )
    assert signed.symmetric
    assert not plain.symmetric
    assert repr(signed) == "Sphere(dimension=3).pool(4, seed=2, signs=True)"
    assert "signs" not in plain.to_dict()
    with pytest.raises(ValueError, match="signs must be"):
        Sphere(3).pool(4, signs="yes")


def test_data_weights_and_a_pool_of_one_seed_are_independent():
    pool = Gaussian([1] * 50).pool(40, seed=0).teachers.ravel()
    x = sample(Task([1] * 50, context_length=3), 40, seed=0)
    numbers = set(np.round(x.tokens.ravel(), 9))
    assert not set(np.round(pool, 9)) & numbers


def test_symmetry():
    assert Gaussian([1]).symmetric
    assert not Gaussian([1], mean=[1]).symmetric
    assert Pool([[1, 2], [-1, -2]]).symmetric
    assert Pool([[0.0, -0.0]]).symmetric
    assert not Pool([[1, 2], [-1, -2]], [1, 2]).symmetric
    assert Pool([[1, 2], [-1, -2], [-1, -2]], [2, 1, 1]).symmetric
    assert not Pool([[1, 2]]).symmetric
    assert Pool([[1, 2]], signs=True).symmetric
    assert Mixture((1, Sphere(2)), (0, Pool([[1, 2]]))).symmetric
    assert not Mixture((0.5, Sphere(2)), (0.5, Pool([[1, 2]]))).symmetric


def test_shares_are_exact():
    third = Mixture(("1/3", Sphere(1)), ("2/3", Gaussian([1])))
    assert third.exact_shares == (Fraction(1, 3), Fraction(2, 3))
    for count in range(1, 40):
        counts = third.counts(count)
        assert sum(counts) == count
        assert abs(counts[0] - count / 3) <= 0.5
    tenths = Mixture(*[(0.1, Sphere(1))] * 10)
    assert tenths.counts(30) == [3] * 10


def test_an_old_task_and_its_law_are_the_same():
    assert task_of(LAWS["beside a fixed one"]) == Task(
        [1, 1],
        teacher_covariance=np.diag([1, 2]),
        fixed_teacher=[1, -1],
        in_context_fraction=0.9,
        context_length=3,
    )
    assert task_of(Gaussian(["1/3", 2])) == Task(
        [1, 1], teacher_covariance=[["1/3", 0], [0, 2]], context_length=3
    )
    old = Task([1, 1], fixed_teacher=[1, 2], in_context_fraction=0.5, context_length=3)
    assert isinstance(old.teachers, Mixture)
    assert isinstance(Task([1], context_length=1).teachers, Gaussian)
    assert old.teachers.exact_shares == (Fraction(1, 2), Fraction(1, 2))


@pytest.mark.parametrize(
    "name", ["teacher_covariance", "fixed_teacher", "in_context_fraction"]
)
def test_what_a_law_has_not_is_refused(name):
    with pytest.raises(ValueError, match=f"of the law Sphere has no {name}"):
        getattr(task_of(Sphere(2)), name)


def test_the_root_of_a_covariance_that_is_singular_or_not():
    rng = np.random.default_rng(0)
    for rank in (1, 2, 3):
        factor = rng.normal(size=(3, rank))
        covariance = factor @ factor.T
        root = covariance_root(covariance)
        np.testing.assert_allclose(root @ root.T, covariance, atol=1e-12)
        # Draws stay in the range: nothing of rounding enlarged by a root.
        outside = np.eye(3) - factor @ np.linalg.pinv(factor)
        np.testing.assert_allclose(outside @ root, 0, atol=1e-12)


def test_a_law_of_ones_own():
    task = task_of(Own())
    assert task == task_of(Own())
    assert hash(task) == hash(task_of(Own()))
    assert task != task_of(
        OfFunction(lambda generator, n: 2 * Own().draw(generator, n))
    )
    assert sample(task, 5).y.shape == (5, 4)
    again = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(sample(again, 5).tokens, sample(task, 5).tokens)
    ones = OfFunction(lambda generator, n: np.ones((n, 1, 2)))
    ones.symmetric = False
    of_a_function = task_of(ones)
    assert copy.deepcopy(of_a_function) == of_a_function
    mixed = task_of(Mixture((0.5, Own()), (0.5, Sphere(2))))
    assert mixed.digest != task_of(Mixture((0.5, Sphere(2)), (0.5, Own()))).digest


def own_task(change):
    """A task of a law whose draws are changed."""
    return task_of(OfFunction(lambda generator, n: change(Own().draw(generator, n))))


class Stating(Own):
    """A law that states moments of itself."""

    scale = 1.0

    def draw(self, generator, n):
        return self.scale * super().draw(generator, n)


def stating(**attributes):
    law = Stating()
    for name, value in attributes.items():
        setattr(law, name, value)
    return law


@pytest.mark.parametrize("scale", [1e-70, 1.0, 1e70])
def test_right_statements_of_a_law_are_accepted(scale):
    fourth = np.zeros((2,) * 4)
    for i, j in np.ndindex(2, 2):
        fourth[i, i, j, j] += scale**4
        fourth[i, j, i, j] += scale**4
        fourth[i, j, j, i] += scale**4
    law = stating(scale=scale, second=scale**2 * np.eye(2), fourth=fourth)
    assert task_of(law) == task_of(law)
    # Heavy tails, of which draws tell nothing but the symmetry.
    cauchy = OfFunction(
        lambda generator, n: scale * generator.standard_cauchy((n, 1, 2))
    )
    cauchy.second = 1e9 * np.eye(2)
    assert task_of(cauchy).teachers is cauchy
    constant = OfFunction(lambda generator, n: np.full((n, 1, 2), 0.1 * scale))
    constant.symmetric = False
    constant.second = np.full((2, 2), (0.1 * scale) ** 2)
    assert task_of(constant).teachers is constant


def later(change):
    """Prompts of a law that is right when it is tried, and changed later."""
    return sample(own_task(lambda W: change(W) if len(W) == 20 else W), 20).tokens


REFUSED = {
    "text": (lambda: task_of("sphere"), "Mixture, or a law of your own with dimension"),
    "an array": (lambda: task_of(np.eye(2)), "Mixture, or a law of your own with dim"),
    "a class": (
        lambda: Task([1], teachers=Sphere, context_length=3),
        "Mixture, or a law of your own with dimension",
    ),
    "another dimension": (
        lambda: Task([1, 1], teachers=Sphere(3), context_length=3),
        "teachers are for x of dimension 3, and Λ is 2 × 2",
    ),
    "both": (
        lambda: task_of(Sphere(2), teacher_covariance=np.eye(2), fixed_teacher=[1, 1]),
        "leave teacher_covariance and fixed_teacher out",
    ),
    "nan variance": (lambda: Gaussian([np.nan]), "covariance must be finite"),
    "negative variance": (
        lambda: Gaussian([-1, 1]),
        "covariance must be positive semidefinite: its smallest eigenvalue is -1",
    ),
    "no variance": (lambda: Gaussian([0, 0]), "covariance and mean are both 0"),
    "three axes": (
        lambda: Gaussian(np.ones((2, 2, 2))),
        "must have shape (D,), (D, D) or (K, D, K, D), not (2, 2, 2)",
    ),
    "a number": (lambda: Gaussian(2), "or (K, D, K, D), not ()"),
    "nothing": (lambda: Gaussian([]), "covariance must have shape (D,), not (0,)"),
    "pairs in another order": (
        lambda: Gaussian(np.ones((2, 3, 3, 2))),
        "or (K, D, K, D), not (2, 3, 3, 2)",
    ),
    "asymmetric": (
        lambda: Gaussian(np.arange(16.0).reshape(2, 2, 2, 2)),
        "covariance must be symmetric",
    ),
    "indefinite": (
        lambda: Gaussian(np.array([[0, 1], [1, 0]]).reshape(2, 1, 2, 1)),
        "its smallest eigenvalue is -1",
    ),
    "long mean": (lambda: Gaussian([1], mean=[1, 2]), "mean must have shape (1,)"),
    "mean of one output": (
        lambda: Gaussian(np.eye(4).reshape(2, 2, 2, 2), mean=[1, 2]),
        "mean must have shape (2, 2), not (2,)",
    ),
    "infinite mean": (lambda: Gaussian([1], mean=[np.inf]), "mean must be finite"),
    "masked": (
        lambda: Gaussian(np.ma.masked_array([1.0, 2.0], [0, 1])),
        "covariance must be a plain array",
    ),
    "oblique basis": (
        lambda: Gaussian.shared_basis([1, 2], [[1, 1], [0, 1]]),
        "basis must be orthogonal, 2 × 2",
    ),
    "nan basis": (
        lambda: Gaussian.shared_basis([1], [[np.nan]]),
        "basis must be orthogonal, 1 × 1",
    ),
    "negative shared variance": (
        lambda: Gaussian.shared_basis([-1, 2]),
        "variances must be zero or more, not -1",
    ),
    "negative factors": (
        lambda: Gaussian.kronecker([[-1]], [[-1]]),
        "outputs must be positive semidefinite",
    ),
    "no support": (lambda: Gaussian.on_supports(3, []), "one list of coordinates"),
    "one list": (lambda: Gaussian.on_supports(3, [1, 2]), "such as [[0, 1], [2, 3]]"),
    "a number of supports": (lambda: Gaussian.on_supports(3, 3), "not 3"),
    "empty support": (lambda: Gaussian.on_supports(3, [[]]), "supports[0] must hold"),
    "beyond D": (
        lambda: Gaussian.on_supports(3, [[0], [3]]),
        "supports[1] must hold coordinates from 0 to 2, not [3]",
    ),
    "from behind": (lambda: Gaussian.on_supports(3, [[-1]]), "from 0 to 2, not [-1]"),
    "twice": (lambda: Gaussian.on_supports(3, [[1, 1]]), "states a coordinate twice"),
    "no spread": (
        lambda: Gaussian.on_supports(3, [[1]], variance=0),
        "variance must be positive and finite, not 0",
    ),
    "no dimension": (lambda: Sphere(0), "dimension must be a whole number"),
    "no radius": (lambda: Sphere(2, 0), "radius must be positive and finite, not 0"),
    "nan radius": (lambda: Sphere(2, np.nan), "radius must be positive and finite"),
    "empty pool": (lambda: Pool([]), "of one teacher or more, not (0,)"),
    "ragged pool": (lambda: Pool([[1, 2], [1]]), "numbers of one shape"),
    "flat pool": (lambda: Pool([1, 2]), "must have shape (k, D) or (k, K, D)"),
    "nan pool": (lambda: Pool([[np.nan]]), "teachers of a pool must be finite"),
    "masked pool": (
        lambda: Pool(np.ma.masked_array([[1.0, 2.0]], [[0, 1]])),
        "teachers of a pool must be numbers",
    ),
    "negative weight": (lambda: Pool([[1], [2]], [-1, 2]), "2 numbers of zero or more"),
    "one weight": (lambda: Pool([[1], [2]], [1]), "one a teacher, not [1]"),
    "no weight": (lambda: Pool([[1], [2]], [0, 0]), "must not all be 0"),
    "too much weight": (lambda: Pool([[1], [2]], [1e308, 1e308]), "must be finite"),
    "signs": (lambda: Pool([[1]], signs=1), "signs must be True or False, not 1"),
    "no draws": (lambda: Sphere(2).pool(0), "k must be a whole number of at least 1"),
    "negative seed": (lambda: Sphere(2).pool(1, -1), "seed must be a whole number"),
    "no part": (lambda: Mixture(), "must add up to 1, and add up to 0"),
    "half": (lambda: Mixture((0.5, Sphere(2))), "add up to 0.5"),
    "negative share": (
        lambda: Mixture((-0.5, Sphere(2)), (1.5, Sphere(2))),
        "a number of zero or more, not -0.5",
    ),
    "unequal dimensions": (
        lambda: Mixture((0.5, Sphere(2)), (0.5, Sphere(3))),
        "must have one shape (K, D) of teachers, not (1, 2) and (1, 3)",
    ),
    "unequal outputs": (
        lambda: Mixture((0.5, Sphere(2)), (0.5, LAWS["kronecker"])),
        "not (1, 2) and (2, 2)",
    ),
    "swapped": (
        lambda: Mixture((Sphere(2), 0.5), (Sphere(2), 0.5)),
        "each share of a Mixture must be a number",
    ),
    "flat": (lambda: Mixture(0.5, Sphere(2)), "is (share, law), not 0.5"),
    "shape of draws": (
        lambda: own_task(lambda W: W[:, 0]),
        "must give (n, 1, 2), and 16 draws have shape (16, 2)",
    ),
    "nan of draws": (
        lambda: own_task(lambda W: np.nan * W),
        "draws of the law of teachers must be finite",
    ),
    "complex draws": (lambda: own_task(lambda W: 1j * W), "an array of real numbers"),
    "global state": (
        lambda: own_task(lambda W: Own().draw(GLOBAL, len(W))),
        "gives other numbers when it is called again with the same seed",
    ),
    "a seed of its own": (
        lambda: own_task(lambda W: Own().draw(np.random.default_rng(0), len(W))),
        "gives the same numbers for every seed",
    ),
    "nan later": (
        lambda: later(lambda W: np.nan * W),
        "draws of the law of teachers must be finite: it holds nan or inf",
    ),
    "shape later": (
        lambda: later(lambda W: W[:3]),
        "must give shape (20, 1, 2), not (3, 1, 2)",
    ),
    "complex later": (lambda: later(lambda W: 1j * W), "an array of real numbers"),
    "lopsided": (
        lambda: own_task(lambda W: W + 0.1),
        "states symmetric = True, and 10000 draws W have another law than −W",
    ),
    "skewed with mean 0": (
        lambda: own_task(lambda W: np.where(W > 0, W**2 - 0.5, W + 0.298)),
        "states symmetric = True, and 10000 draws W have another law than −W",
    ),
    "another second moment": (
        lambda: task_of(stating(second=1.2 * np.eye(2))),
        "states `second` otherwise than it draws: 10000 draws are off by 0.2",
    ),
    "another second moment of large teachers": (
        lambda: task_of(stating(second=1.2e200 * np.eye(2), scale=1e100)),
        "states `second` otherwise than it draws: 10000 draws are off by 0.2",
    ),
    "another fourth moment": (
        lambda: task_of(stating(fourth=np.ones((2,) * 4))),
        "states `fourth` otherwise than it draws",
    ),
    "second moments with the axes of outputs behind": (
        lambda: task_of(stating(second=np.zeros((2, 3, 2, 3)), outputs=3)),
        "second of Stating must have shape (3, 2, 3, 2) or (6, 6), not (2, 3, 2, 3)",
    ),
    "second moments that are not symmetric": (
        lambda: task_of(stating(second=[[1, 1], [0, 1]])),
        "must not change when two of its factors W are exchanged",
    ),
    "a file": (
        lambda: task_of(Own()).to_toml(),
        "Own is a law of teachers of your own, which a file cannot hold",
    ),
    "a file of a mixture": (
        lambda: task_of(Mixture((0.5, Own()), (0.5, Sphere(2)))).to_toml(),
        "Own is a law of teachers of your own, which a file cannot hold",
    ),
    "another process": (
        lambda: pickle.dumps(own_task(lambda W: W)),
        "teachers of your own cannot be sent to another process",
    ),
    "no law": (lambda: law_from_dict({"teachers": [[1]]}), "law must be one of gauss"),
    "unknown law": (
        lambda: law_from_dict({"law": "cube"}),
        "mixture, shared_basis, kronecker, on_supports, not 'cube'",
    ),
    "unknown field": (
        lambda: law_from_dict({"law": "sphere", "dim": 2}),
        "Sphere has no field dim: allowed are dimension, radius",
    ),
    "missing field": (
        lambda: law_from_dict({"law": "gaussian"}),
        "Gaussian needs the field covariance",
    ),
    "pool of two kinds": (
        lambda: law_from_dict({"law": "pool", "teachers": [[1]], "seed": 0}),
        "Pool needs the field teachers, or of, count and seed",
    ),
    "drawn without count": (
        lambda: law_from_dict({"law": "pool", "of": {"law": "sphere", "dimension": 2}}),
        "a Pool that is drawn needs the field count",
    ),
    "drawn with weights": (
        lambda: law_from_dict(
            {"law": "pool", "of": {}, "count": 1, "weights": [1]},
        ),
        "has the fields of, count, seed and signs alone",
    ),
    "parts of a file": (
        lambda: law_from_dict({"law": "mixture", "parts": [{"share": 1}]}),
        "a list of {share = …, law = {…}}",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_one_line_that_says_why(make, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian.on_supports(10**6, [[0]]),
        lambda: Gaussian.shared_basis(np.ones(2000)),
        lambda: Gaussian.kronecker(np.eye(1000), np.eye(1000)),
        lambda: Gaussian(np.ones(10**6)),
        lambda: Sphere(2).pool(10**13),
    ],
)
def test_what_does_not_fit_into_memory_is_refused(make):
    with pytest.raises(MemoryError, match="GiB, more than"):
        make()
