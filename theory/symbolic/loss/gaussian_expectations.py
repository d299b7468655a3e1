"""Moments of Gaussian variables and of averages over a context, in rings of polynomials."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

Powers = tuple[int, ...]


def gaussian_moments(
    covariance: Sequence[Sequence[Any]], one: Any
) -> Callable[[Powers], Any]:
    """The function powers → E[Π z_i^powers_i] of a zero-mean Gaussian vector z, by Isserlis' theorem.

    Covariances lie in any commutative ring whose unit is `one`. Values are cached.

    >>> gaussian_moments([[2, 1], [1, 3]], one=1)((2, 2))
    8
    """

    @cache
    def moment(powers: Powers) -> Any:
        first = next((i for i, power in enumerate(powers) if power), None)
        if first is None:
            return one
        total, rest = 0 * one, lowered(powers, first)
        if sum(rest) % 2 == 0:
            return total
        for j, power in enumerate(
            rest
        ):  # the first factor pairs with each of the others
            if power and covariance[first][j]:
                total += power * covariance[first][j] * moment(lowered(rest, j))
        return total

    return moment


def lowered(powers: Powers, index: int) -> Powers:
    """The powers with one factor fewer at `index`."""
    return (*powers[:index], powers[index] - 1, *powers[index + 1 :])


def added(*powers: Powers) -> Powers:
    """The powers of a product of monomials."""
    return tuple(map(sum, zip(*powers, strict=True)))


def partitions(items: Sequence[Any]) -> Iterator[list[list[Any]]]:
    """Every way to split items, told apart by position, into non-empty blocks.

    >>> [len(list(partitions(range(k)))) for k in range(6)]
    [1, 1, 2, 5, 15, 52]
    """
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for blocks in partitions(rest):
        yield [[first], *blocks]
        for i, block in enumerate(blocks):
            yield [*blocks[:i], [first, *block], *blocks[i + 1 :]]
