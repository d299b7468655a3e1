"""Moments of Gaussian variables and of averages over a context, in rings of polynomials."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TypeVar

from sympy.utilities.iterables import multiset_partitions

from ..algebra.polynomials import Element, Powers, lowered

Item = TypeVar("Item")


def gaussian_moments(
    covariance: Sequence[Sequence[Element]], one: Element
) -> Callable[[Powers], Element]:
    """The function powers → E[Π z_i^powers_i] of a zero-mean Gaussian vector z, by Isserlis' theorem.

    Covariances lie in any commutative ring whose unit is `one`. Values are cached.

    >>> gaussian_moments([[2, 1], [1, 3]], one=1)((2, 2))
    8
    """

    @cache
    def moment(powers: Powers) -> Element:
        if not any(powers):
            return one
        total = 0 * one
        if sum(powers) % 2:
            return total  # odd moments vanish

        # E[z_i Π z] = Σ_j C_ij E[Π z without one z_j]: the first factor pairs with each of the others.
        i = next(index for index, power in enumerate(powers) if power)
        others = lowered(powers, i)
        for j, power in enumerate(others):
            if power and covariance[i][j]:
                total += power * covariance[i][j] * moment(lowered(others, j))
        return total

    return moment


def partitions(items: Sequence[Item]) -> Iterable[list[list[Item]]]:
    """Every way to split items, which count as different even where they are equal, into non-empty blocks.

    >>> [len(list(partitions(range(k)))) for k in range(6)]
    [1, 1, 2, 5, 15, 52]
    """
    if not items:
        return [[]]  # SymPy has no partition of nothing
    by_index = multiset_partitions(len(items))
    return ([[items[i] for i in block] for block in blocks] for blocks in by_index)
