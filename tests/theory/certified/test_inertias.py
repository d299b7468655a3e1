"""Inertias of matrices whose signs are known, over many orders of magnitude, and blocks that are not definite."""

import random
from fractions import Fraction

import flint
import pytest

from attndyn.theory.certified import NoCertificate
from attndyn.theory.certified.balls import as_balls, rational_matrix
from attndyn.theory.certified.inertias import (
    Inertia,
    _prove_definite,
    certified_inertia,
)


def congruent(diagonal, seed):
    """Vᵀ diag V with a unit triangular V of rationals: it has the signs of the diagonal (Sylvester)."""
    generator = random.Random(seed)
    n = len(diagonal)
    V = [
        [
            Fraction(int(i == j)) if i >= j else Fraction(generator.randint(-9, 9), 7)
            for j in range(n)
        ]
        for i in range(n)
    ]
    inner = rational_matrix(
        [[diagonal[i] if i == j else Fraction(0) for j in range(n)] for i in range(n)]
    )
    outer = rational_matrix(V)
    return as_balls(outer.transpose() * inner * outer)


@pytest.mark.parametrize("seed", range(20))
def test_signs_of_very_different_sizes_are_all_found(seed):
    generator = random.Random(seed)
    n = generator.randint(1, 6)
    diagonal = [
        generator.choice([-1, 1])
        * Fraction(1, 10 ** generator.choice([0, 0, 5, 12, 25]))
        for _ in range(n)
    ]
    with flint.ctx.workprec(400):
        inertia = certified_inertia(congruent(diagonal, seed), 0)
    negative = sum(entry < 0 for entry in diagonal)
    assert inertia == Inertia(negative, 0, n - negative)


def test_a_null_space_that_is_not_there_is_refused():
    with flint.ctx.workprec(200):
        matrix = congruent([Fraction(1), Fraction(-1), Fraction(2)], 0)
        with pytest.raises(NoCertificate, match="more directions are curved"):
            certified_inertia(matrix, 1)


@pytest.mark.parametrize(("entry", "sign"), [(2, 1), (1, 1), (-2, -1)])
def test_a_block_that_no_circle_proves_is_refused(entry, sign):
    # Eigenvalues sign ± entry, of both signs, though the diagonal has one.
    block = flint.arb_mat([[sign, entry], [entry, sign]])
    with pytest.raises(NoCertificate, match="sign of a curvature"):
        _prove_definite(block, [0, 1], sign)
    _prove_definite(flint.arb_mat([[3 * sign, 1], [1, 3 * sign]]), [0, 1], sign)
    with pytest.raises(NoCertificate, match="sign of a curvature"):
        _prove_definite(flint.arb_mat([[3 * sign, 1], [1, 3 * sign]]), [0, 1], -sign)
