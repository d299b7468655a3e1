"""Weights that rest at a fixed point, proved from the derived flow: the canonical ones, and the continuum."""

from functools import cache
from itertools import chain, combinations, product

import pytest
import sympy as sp

from attndyn import Separate
from attndyn.theory.symbolic import N, SymbolicTask, effective_map, symbolic_task
from attndyn.theory.symbolic.derivation import derive

PLANE = symbolic_task(2, teachers="diagonal", noise=True)
SPACE = symbolic_task(3)
EXAMPLE = SymbolicTask(sp.diag(3, 2, 1), sp.eye(3), sp.Integer(0), (N,))


@cache
def derived(task, heads, rank):
    """A model's loss and flow on the restricted block, and its map."""
    model = Separate(heads, rank)
    return derive(task, model, "restricted"), effective_map(task, model).M


def coefficients(task):
    """m_d and the gains g_d."""
    λ, ω = task.covariance.diagonal(), task.teacher_covariance.diagonal()
    c = sum(x * y for x, y in zip(λ, ω, strict=True)) + task.noise_variance
    m = [y / (x * y * (1 + 1 / N) + c / N) for x, y in zip(λ, ω, strict=True)]
    return m, [x**2 * y * z for x, y, z in zip(λ, ω, m, strict=True)], c


def vanishes(expression, relations):
    """Whether a rational expression is zero where every symbol r of {r: (k, value)} has r^k = value."""
    for symbol, (order, value) in relations.items():
        terms = sp.Poly(sp.numer(sp.together(expression)), symbol).terms()
        expression = sp.Add(
            *(
                part * value ** (k // order) * symbol ** (k % order)
                for (k,), part in terms
            )
        )
    numerator = sp.numer(sp.together(expression))
    symbols = sorted(numerator.free_symbols, key=str)
    return sp.Poly(numerator, *symbols).is_zero if symbols else numerator == 0


def placed(arrays, heads):
    """Weight → value on the block, where a head is (v, keys, queries) and what is left out is zero."""
    there = {
        weight: sp.Integer(0) for array in arrays.values() for weight in array.flat
    }
    for h, (v, *pairs) in enumerate(heads):
        there[arrays["value"][h, -1]] = sp.sympify(v)
        for name, vectors in zip(("key", "query"), pairs, strict=True):
            for symbols, vector in zip(arrays[name][h, :, :-1], vectors, strict=False):
                there |= dict(zip(symbols, map(sp.sympify, vector), strict=True))
    return there


def rests(task, heads, rank=1, relations=None, count=None):
    """Whether the flow of a model of `count` heads vanishes at these weights."""
    derivation, _ = derived(task, count or len(heads), rank)
    there = placed(derivation.arrays, heads)
    return all(
        vanishes(rate.xreplace(there), relations or {})
        for rate in derivation.flow.values()
    )


def holds(task, heads, subset, rank=1, relations=None, count=None):
    """Whether weights make the map M_S, and have the loss c − Σ g of it."""
    derivation, M = derived(task, count or len(heads), rank)
    there, (m, gains, c) = placed(derivation.arrays, heads), coefficients(task)
    wanted = sp.diag(*(m[d] if d in subset else 0 for d in range(task.dimension)))
    loss = (
        derivation.loss.expression.xreplace(there) - c + sum(gains[d] for d in subset)
    )
    return all(
        vanishes(gap, relations or {}) for gap in [loss, *(M.xreplace(there) - wanted)]
    )


def axis(d, length, size):
    return [length if i == d else 0 for i in range(size)]


def canonical(d, r, size=2, signs=(1, 1, 1)):
    """The head that holds direction d, with v = |k| = |q| = r."""
    v, key, query = (sign * r for sign in signs)
    return v, [axis(d, key, size)], [axis(d, query, size)]


R = sp.symbols("r_1 r_2", positive=True)


def roots(order, factor=1):
    return {
        r: (order, factor * m) for r, m in zip(R, coefficients(PLANE)[0], strict=True)
    }


@pytest.mark.parametrize(
    "subset", list(chain.from_iterable(combinations(range(2), k) for k in range(3)))
)
def test_canonical_weights_rest(subset):
    heads = [canonical(d, R[d]) for d in subset]
    cubes = roots(3)
    assert rests(PLANE, heads, relations=cubes, count=3)  # one head or more is idle
    assert holds(PLANE, heads, subset, relations=cubes, count=3)
    wrong = {
        "square root": roots(2),
        "fourth root": roots(4),
        "twice the coefficient": roots(3, factor=2),
        "N + 1 for N": {r: (3, m.subs(N, N + 1)) for r, (_, m) in cubes.items()},
    }
    assert [
        name
        for name, claim in wrong.items()
        if subset and rests(PLANE, heads, relations=claim)
    ] == []


@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_canonical_signs_have_product_one(signs):
    heads = [canonical(1, R[1], signs=signs), canonical(0, R[0])]
    assert rests(PLANE, heads, relations=roots(3)) == (sp.prod(signs) == 1)


A, B, C, S = sp.symbols("alpha beta gamma s")
MIX = sp.Matrix(2, 2, sp.symbols("p:4"))


def mixed(m, matrix, inverse):
    """Keys of two heads mixed by a matrix, queries by its inverse: Σ v k qᵀ stays."""
    queries = inverse * sp.diag(*m[:2])
    return [
        (v, [[*matrix[:, h], 0]], [[*queries[h, :] / v, 0]])
        for h, v in enumerate((A, B))
    ]


def of_rank_two(m, matrix, inverse):
    queries = inverse * sp.diag(*m[:2]) / A
    return [
        (
            A,
            [[*matrix[:, r], 0] for r in range(2)],
            [[*queries[r, :], 0] for r in range(2)],
        )
    ]


def continuum():
    """Weights with the map that has learned directions 1 and 2 of three: name → (heads, rank)."""
    m, *_ = coefficients(SPACE)
    first, second = (
        (A, [[B, 0, 0]], [[m[0] / (A * B), 0, 0]]),
        (C, [[0, 1, 0]], [[0, m[1] / C, 0]]),
    )
    inverse = MIX.adjugate() / MIX.det()
    return {
        "rescaled": ([first, second], 1),
        "permuted": ([second, first], 1),
        "signs": ([(-A, [[-B, 0, 0]], first[2]), second], 1),
        "two heads on one direction": ([(A, [[B, 0, 0]], [[S * m[0] / (A * B), 0, 0]]), second,
                                        (B, [[C, 0, 0]], [[(1 - S) * m[0] / (B * C), 0, 0]])], 1),
        "two heads that cancel": ([first, second, (A, [[B, C, 0]], [[1, S, 0]]),
                                   (-A, [[B, C, 0]], [[1, S, 0]])], 1),
        "mixed": (mixed(m, MIX, inverse), 1),
        "mixed in one head": (of_rank_two(m, MIX, inverse), 2),
        "idle, without value": ([first, second, (0, [[A, B, C]], [[A, C, 0]])], 1),
        "idle, pairs that cancel": ([first, second, (0, [[A, B, C], [0, 0, S]], [[A, C, -S], [B, 0, C]])], 2),
        "idle, without key and query": ([first, second, (S, [[0, 0, 0]], [[0, 0, 0]])], 1),
        "idle, without key, query learned": ([first, second, (S, [[0, 0, 0]], [[B, C, 0]])], 1),
        "idle, without query, key learned": ([first, second, (S, [[A, C, 0]], [[0, 0, 0]])], 1),
    }  # fmt: skip


def impostors():
    """Weights that do not rest, and whether their map and loss are those of a fixed point."""
    m, *_ = coefficients(SPACE)
    first, second = (
        (A, [[B, 0, 0]], [[m[0] / (A * B), 0, 0]]),
        (C, [[0, 1, 0]], [[0, m[1] / C, 0]]),
    )
    inverse = MIX.adjugate() / MIX.det()
    return {
        "idle, without value, both unlearned": ([first, second, (0, [[A, B, C]], [[A, C, 1]])], True),
        "idle, without key, query unlearned": ([first, second, (S, [[0, 0, 0]], [[B, C, 1]])], True),
        "idle, without query, key unlearned": ([first, second, (S, [[0, 0, 1]], [[0, 0, 0]])], True),
        "two heads that cancel, unlearned": ([first, second, (A, [[0, 0, 1]], [[0, 0, S]]),
                                              (-A, [[0, 0, 1]], [[0, 0, S]])], True),
        "idle, all nonzero": ([first, second, (S, [[0, 0, 1]], [[0, 0, 1]])], False),
        "two heads, each whole": ([first, first, second], False),
        "mixed without the inverse": (mixed(m, MIX, MIX), False),
        "mixed by a transpose": (mixed(m, MIX, inverse.T), False),
        "one sign": ([(-A, *first[1:]), second], False),
    }  # fmt: skip


@pytest.mark.parametrize("name", continuum())
def test_the_weights_of_one_map_are_a_continuum(name):
    heads, rank = continuum()[name]
    assert rests(SPACE, heads, rank)
    assert holds(SPACE, heads, (0, 1), rank)


@pytest.mark.parametrize("name", impostors())
def test_weights_that_look_alike_move(name):
    heads, same_map = impostors()[name]
    assert not rests(SPACE, heads)
    assert holds(SPACE, heads, (0, 1)) == same_map


V, PAIRS = sp.symbols("v_1 v_2", positive=True), sp.symbols("kappa_1:4", positive=True)


def packed(packing, m, *, lengths=lambda m, v: m / v, value=sum):
    """Heads that hold a packing's directions, v³ = Σ m_d and |k_d|² = |q_d|² = m_d / v, and what v and κ obey."""
    heads, relations = [], {}
    for v, directions in zip(V, packing, strict=False):
        vectors = [axis(d, PAIRS[d], 3) for d in directions]
        heads.append((v, vectors, vectors))
        relations |= {PAIRS[d]: (2, lengths(m[d], v)) for d in directions}
    cubes = {
        v: (3, value([m[d] for d in directions]))
        for v, directions in zip(V, packing, strict=False)
    }
    return heads, relations | cubes


def balanced(heads, relations):
    """Whether v² = Σ_r |k_r|² and K Kᵀ = Q Qᵀ in every head."""
    for v, keys, queries in heads:
        K, Q = sp.Matrix(keys), sp.Matrix(queries)
        gaps = [v**2 - (K * K.T).trace(), *(K * K.T - Q * Q.T)]
        if not all(vanishes(gap, relations) for gap in gaps):
            return False
    return True


@pytest.mark.parametrize(
    ("packing", "task"),
    [
        ([(0,)], SPACE),
        ([(0, 1)], SPACE),
        ([(1, 2)], EXAMPLE),
        ([(0, 1), (2,)], EXAMPLE),
        ([(0, 1, 2)], EXAMPLE),
    ],
)
def test_canonical_weights_of_any_rank(packing, task):
    m, subset, rank = (
        coefficients(task)[0],
        tuple(chain.from_iterable(packing)),
        max(2, *map(len, packing)),
    )
    heads, relations = packed(packing, m)
    assert rests(task, heads, rank, relations, count=2)
    assert holds(task, heads, subset, rank, relations, count=2)
    assert balanced(heads, relations)
    for lengths in (lambda m, v: m, lambda m, v: m / v**2, lambda m, v: m * v):
        assert not rests(task, heads, rank, packed(packing, m, lengths=lengths)[1])
    for value in (lambda held: 2 * sum(held), lambda held: sum(x**2 for x in held)):
        assert not balanced(*packed(packing, m, value=value))


@pytest.mark.parametrize(("heads", "rank"), [(1, 1), (2, 1), (1, 2)])
def test_no_map_has_more_directions_than_pairs(heads, rank):
    """Minors of M beyond the number of key-query pairs vanish; of that number, none does."""
    M, pairs = derived(SPACE, heads, rank)[1], heads * rank

    def vanish(order):
        blocks = product(combinations(range(3), order), repeat=2)
        return {
            vanishes(M.extract(list(rows), list(columns)).det(), {})
            for rows, columns in blocks
        }

    assert (vanish(pairs + 1), vanish(pairs)) == ({True}, {False})
