"""Gains and maps of all fixed points as balls: eigenvalues of an exact matrix and its spectral projectors.

C = A⁻¹ B Λ⁻¹ Bᵀ is rational and similar to T Tᵀ, so that its eigenvalues are the gains. With the spectral projectors
Π_d of C the rank-one maps are M_d = Π_d A⁻¹ B Λ⁻¹: no square root and no eigenvector is needed.
"""

from functools import cmp_to_key
from itertools import pairwise
from typing import NamedTuple

from .balls import Ball, BallMatrix, NoCertificate, RationalMatrix, as_balls, flint
from .rational_moments import RationalMoments


class CertifiedSpectrum(NamedTuple):
    """Gains g_d by decreasing size, and the maps M_d (D, D) that are learned one by one."""

    gains: list[Ball]
    maps: list[BallMatrix]


def certified_spectrum(moments: RationalMoments) -> CertifiedSpectrum:
    """The spectrum; NoCertificate where gains are equal, which is proved, or the precision does not tell them apart."""
    to_minimum = moments.A.inv() * moments.B * moments.Lambda.inv()  # M*, (D, D)
    C = to_minimum * moments.B.transpose()
    gains = _gains(C)
    minimum = as_balls(to_minimum)
    maps = [projector * minimum for projector in _projectors(C, gains)]
    return CertifiedSpectrum(gains, maps)


def _gains(C: RationalMatrix) -> list[Ball]:
    """The eigenvalues of C as disjoint balls, by decreasing size."""
    polynomial = C.charpoly()
    # A root is double just where the polynomial and its derivative have a common factor, which Euclid decides exactly.
    common_factor = polynomial.gcd(polynomial.derivative())
    if common_factor.degree() > 0:
        raise NoCertificate(
            "two gains are equal, which is proved exactly: the fixed points are a continuum, and no list holds them all"
        )
    # All eigenvalues are real, as those of T Tᵀ are.
    roots = [root.real for root, _ in polynomial.complex_roots()]
    gains = sorted(roots, key=cmp_to_key(_larger_first))
    for larger, smaller in pairwise(gains):
        if not larger > smaller:
            raise NoCertificate(
                "this precision does not tell two gains apart: more bits are needed"
            )
    if not gains[-1] > 0:
        raise NoCertificate(
            "a gain is zero or cannot be told from zero: leave out directions on which the teacher does not vary, "
            "or take more bits"
        )
    return gains


def _larger_first(gain: Ball, other: Ball) -> int:
    """The order of two balls, where it is certain: midpoints alone may tie."""
    return int(other > gain) - int(gain > other)


def _projectors(C: RationalMatrix, gains: list[Ball]) -> list[BallMatrix]:
    """Π_d = Π_{j ≠ d} (C − g_j) / (g_d − g_j) by Lagrange interpolation, each (D, D)."""
    matrix = as_balls(C)
    D = matrix.nrows()
    one = identity(D)
    projectors = []
    for d in range(D):
        projector = one
        for j in range(D):
            if j != d:
                factor = (matrix - one * gains[j]) * (1 / (gains[d] - gains[j]))
                projector = projector * factor
        projectors.append(projector)
    return projectors


def identity(size: int) -> BallMatrix:
    """The unit matrix (size, size)."""
    arb = flint().arb
    entries = [arb(int(i == j)) for i in range(size) for j in range(size)]
    return flint().arb_mat(size, size, entries)
