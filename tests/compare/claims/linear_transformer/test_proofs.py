"""Proofs on one layer: what they state is what the numerical theory computes, and their cases are those they name."""

import numpy as np
import pytest
import sympy as sp

from attndyn import Task
from attndyn.compare.claims.linear_transformer import minimum_proofs, proofs
from attndyn.compare.claims.linear_transformer.proof_setting import (
    LAWS,
    Layer,
    in_roots,
    stated_loss,
    symbols,
)
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import layer_loss, minimum

INPUTS, TEACHERS, OUTPUTS = [1.5, 0.5], [1.0, 2.0], [0.75, 1.25]


def in_numbers(expression, **numbers):
    named = {symbol: numbers[str(symbol)] for symbol in expression.free_symbols}
    return float(expression.subs(named))


def numbers(D, K):
    values = {"N": 4, "sigma": 0.5}
    for d in range(D):
        values |= {f"lambda_{d + 1}": INPUTS[d], f"omega_{d + 1}": TEACHERS[d]}
    return values | {f"gamma_{k + 1}": OUTPUTS[k] for k in range(K)}


@pytest.mark.parametrize("law", LAWS[1:], ids=str)
def test_the_loss_that_is_stated_is_that_of_the_numerical_theory(law):
    D, K = law.dimension, law.outputs
    generator = np.random.default_rng(5)
    p, q = generator.normal(size=(K, K)), generator.normal(size=(D, D))
    if law.shared_basis:
        teachers = Gaussian.shared_basis(TEACHERS[:D])
    else:
        teachers = Gaussian.kronecker(np.diag(OUTPUTS[:K]), np.diag(TEACHERS[:D]))
    task = Task(INPUTS[:D], teachers=teachers, context_length=4, noise_variance=0.25)
    stated = stated_loss(law, Layer(sp.Matrix(p), sp.Matrix(q)), "")
    expected = float(layer_loss(task, p, q))
    assert in_numbers(stated, **numbers(D, K)) == pytest.approx(expected, rel=1e-12)


def test_the_coefficients_that_are_stated_are_those_of_the_minimum():
    task = Task(
        INPUTS,
        teachers=Gaussian.shared_basis(TEACHERS),
        context_length=4,
        noise_variance=0.25,
    )
    least = minimum(task)
    assert np.all(least.active)
    values = numbers(2, 0)
    for d in range(2):
        values[f"r_{d + 1}"] = np.sqrt(INPUTS[d] * TEACHERS[d] + 0.25)
    stated = [
        in_numbers(a, **values) for a in minimum_proofs._stated_coefficients((1, 2), "")
    ]
    assert np.sort(stated) == pytest.approx(np.sort(least.coefficients), rel=1e-12)


def test_roots_stand_for_the_variances_of_teachers():
    λ, ω, r, σ, _ = symbols()
    assert sp.simplify(in_roots(ω[0] * λ[0] + σ**2) - r[0] ** 2) == 0


def test_cases_of_the_index_are_on_the_sides_that_they_name():
    for case in proofs._cases(length=3):
        free = {
            symbol: sp.Rational(7, 5)
            for root in case.roots
            for symbol in root.free_symbols
        }
        first, second = (root.subs(free) for root in case.roots)
        could_be_on = 5 * second > first  # √λ of the second is above Z/N of the first
        assert could_be_on == (case.name not in ("first, second is off", "second"))
