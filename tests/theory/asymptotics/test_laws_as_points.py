"""Laws of tasks as points: every moment up to the fourth, against the formulas of the laws."""

import numpy as np
import pytest

from attndyn.teachers import Gaussian, Mixture, Pool, Sphere
from attndyn.theory.asymptotics.laws_as_points import points_of_law
from attndyn.theory.moments.laws import teacher_fourth_moments


def laws(D):
    root = np.random.default_rng(D).normal(size=(D, D)) / np.sqrt(D)
    singular = root[:, :1] @ root[:, :1].T
    return [
        Sphere(D),
        Sphere(D, radius=0.3),
        Gaussian(root @ root.T, root[0]),
        Gaussian(singular),
        Sphere(D).pool(4, signs=True),
        Pool(root, weights=np.arange(1, D + 1)),
        Mixture((0.3, Sphere(D)), (0.7, Gaussian(root @ root.T))),
    ]


@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_moments_up_to_the_fourth_are_those_of_the_law(D):
    for law in laws(D):
        tasks, weights = points_of_law(law)
        with_one = np.column_stack([tasks, np.ones(len(tasks))])
        fourth = np.einsum("k,ka,kb,kc,kd->abcd", weights, *[with_one] * 4)
        np.testing.assert_allclose(fourth, teacher_fourth_moments(law), atol=1e-12)


def test_moments_of_the_sixth_order_are_others():
    tasks, weights = points_of_law(Gaussian([1, 1]))
    assert weights @ tasks[:, 0] ** 6 != pytest.approx(15)


class OfMyOwn:
    """A law of teachers of the user's own."""

    dimension, outputs, symmetric = 2, 1, True

    def draw(self, generator, n):
        return generator.standard_normal((n, 1, 2))


def test_a_law_of_your_own_is_refused():
    with pytest.raises(ValueError, match="OfMyOwn, a law of teachers of your own"):
        points_of_law(OfMyOwn())


def test_a_dimension_whose_points_do_not_fit_is_refused():
    with pytest.raises(MemoryError, match="dimension 20000"):
        points_of_law(Sphere(20000))
