"""Means of products of β over contexts of independent Gaussian modes, exactly, by Wick's theorem.

β_αa = (1/divisor) Σ_n (λ_α x_αn + ε_αn) x_an with independent x ~ N(0, diag s), λ ~ N(0, diag ω) and ε ~ N(0, σ²). In
the mean of a product of m of them the 2m factors of tokens are paired in all (2m − 1)!! ways. A pairing joins the
tokens of β's into cycles, each of which is summed over N tokens, and the modes of factors into classes of equal ones.
Derived here.
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...task import Task
from ..moments.laws import weighted_mean
from .mode_tasks import ModeTask

Pairing = tuple[tuple[int, int], ...]
"""Pairs of the numbers of factors."""


class WickTerm(NamedTuple):
    """A term of a mean: equal modes, and the powers of what it is a product of.

    `classes` numbers each mode's class of equal modes; of each class `inputs` are the powers of s, and `teachers` those
    of ω. `noise` is the power of σ², and `cycles` that of N.
    """

    classes: tuple[int, ...]
    inputs: tuple[int, ...]
    teachers: tuple[int, ...]
    noise: int
    cycles: int


def mean_of_products(
    modes: ModeTask, lengths: FloatArray, products: str, teachers: str = ""
) -> FloatArray:
    """E of a product of β's and λ's, with an axis (D,) for each mode in the order of its first appearance.

    `products` names the modes of the β's: "ai bk" is β_ai β_bk; `teachers` those of further factors λ. `lengths` are
    the means of N^k/divisor^m as in `length_powers`.
    """
    betas = tuple(products.split())
    names = "".join(dict.fromkeys("".join(betas) + teachers))
    means = np.zeros((modes.dimension,) * len(names))
    for term, count in _wick_terms(betas, teachers, names).items():
        weight = count * lengths[term.cycles] * modes.noise**term.noise
        if weight:
            axes = "".join(names[number] for number in term.classes)
            kept = "".join(dict.fromkeys(axes))
            equal = np.einsum(f"{axes}->{kept}", means)  # a view of the equal modes
            equal += weight * _outer_of_classes(modes, term)
    return means


def length_powers(task: Task, model: Parametrization, count: int) -> FloatArray:
    """The means over the context lengths N of N^k/divisor^count, for k up to `count`, (count + 1,)."""
    powers = []
    for k in range(count + 1):
        # A context without tokens has no β.
        values = [
            float(N) ** k / attention_divisor(model, N, task.dimension) ** count
            if N
            else 0.0
            for N in task.context_lengths
        ]
        powers.append(weighted_mean(values, task.context_weights))
    return np.array(powers)


def _outer_of_classes(modes: ModeTask, term: WickTerm) -> FloatArray:
    """Π s^i ω^t of the classes, with an axis for each."""
    outer = np.ones(())
    for inputs, teachers in zip(term.inputs, term.teachers, strict=True):
        factor = modes.inputs**inputs * modes.teachers**teachers
        outer = np.multiply.outer(outer, factor)
    return outer


@lru_cache(maxsize=64)
def _wick_terms(betas: tuple[str, ...], teachers: str, names: str) -> Counter[WickTerm]:
    """How often each term stands in the mean of a product."""
    # Factor 2k is the output of β number k, and factor 2k + 1 its x.
    factors = "".join(betas)
    terms: Counter[WickTerm] = Counter()
    for pairing in _pairings(tuple(range(len(factors)))):
        outputs = [a % 2 == 0 and b % 2 == 0 for a, b in pairing]
        # Two outputs are paired by their x with two λ, or by their noise.
        for is_noise in product(
            *[(False, True) if two else (False,) for two in outputs]
        ):
            for term in _terms_of_pairing(factors, teachers, names, pairing, is_noise):
                terms[term] += 1
    return terms


def _terms_of_pairing(
    factors: str,
    teachers: str,
    names: str,
    pairing: Pairing,
    is_noise: tuple[bool, ...],
) -> Iterator[WickTerm]:
    """The terms of one pairing of the factors of tokens, one for each pairing of the λ that are left."""
    equal = [(factors[a], factors[b]) for a, b in pairing]
    with_x = [pair for pair, noise in zip(pairing, is_noise, strict=True) if not noise]
    scales = [factors[a] for a, _ in with_x]  # of each pair of x a factor s
    slopes = teachers + "".join(
        factors[end] for pair in with_x for end in pair if end % 2 == 0
    )
    cycles = len(set(_classes(range(len(factors) // 2), _joined_tokens(pairing))))
    if len(slopes) % 2:
        return  # odd moments of λ are zero
    for pairs in _pairings(tuple(range(len(slopes)))):
        slope_pairs = [(slopes[a], slopes[b]) for a, b in pairs]
        classes = _classes(names, equal + slope_pairs)
        class_of = dict(zip(names, classes, strict=True))
        # Numbers of classes are places of their first modes.
        order = sorted(set(classes))
        yield WickTerm(
            classes=classes,
            inputs=_powers(order, [class_of[name] for name in scales]),
            teachers=_powers(order, [class_of[a] for a, _ in slope_pairs]),
            noise=sum(is_noise),
            cycles=cycles,
        )


def _joined_tokens(pairing: Pairing) -> list[tuple[int, int]]:
    """The numbers of the β's whose tokens a pairing joins."""
    return [(a // 2, b // 2) for a, b in pairing]


def _powers(order: list[int], found: list[int]) -> tuple[int, ...]:
    """How often each class is found."""
    return tuple(found.count(number) for number in order)


def _classes(
    members: range | str, equal: list[tuple[int, int]] | list[tuple[str, str]]
) -> tuple[int, ...]:
    """For each member the place of the first one that is equal to it by these pairs."""
    first = {member: place for place, member in enumerate(members)}
    for a, b in equal:
        kept, replaced = sorted((first[a], first[b]))
        for member, place in first.items():
            if place == replaced:
                first[member] = kept
    return tuple(first.values())


def _pairings(factors: tuple[int, ...]) -> Iterator[Pairing]:
    """All ways of making pairs of the factors; none for an odd number of them."""
    if not factors:
        yield ()
        return
    first, others = factors[0], factors[1:]
    for place, partner in enumerate(others):
        for pairs in _pairings(others[:place] + others[place + 1 :]):
            yield ((first, partner), *pairs)
