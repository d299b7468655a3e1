"""The Hessian's index at every fixed point, in symbols for every Λ and Ω, and the formulas that it refutes."""

from itertools import chain, combinations

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.theory import fixed_point
from attndyn.theory.symbolic import (
    N,
    SymbolicTask,
    fixed_points,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.dynamics.stability import (
    Inertia,
    hessian,
    hessian_index,
    inertia,
    representative_weights,
)


def decreasing(D):
    """c_1 > … > c_D > 0 as sums of positive symbols."""
    steps = [sp.Symbol(f"delta_{d}", positive=True) for d in range(D)]
    return [sp.Add(*steps[d:]) for d in range(D)]


def white_inputs(D):
    """Λ = 1 and Ω = diag(c) with noise, directions by decreasing gain: what every task is in some coordinates."""
    return SymbolicTask(
        sp.eye(D), sp.diag(*decreasing(D)), sp.Symbol("sigma", positive=True) ** 2, (N,)
    )


def white_teachers(D):
    return SymbolicTask(sp.diag(*decreasing(D)), sp.eye(D), sp.Integer(0), (N,))


def maps(task):
    """The map of each direction, numbered from 1."""
    points = fixed_points(task, Separate(task.dimension))
    return {point.subset[0]: point.M for point in points if len(point.subset) == 1}


def falls(packing, D):
    """#{(d, j): d learned, j not, j of larger gain}."""
    return sum(j < d for d in chain(*packing) for j in unlearned(packing, D))


def unlearned(packing, D):
    return {*range(1, D + 1)} - {*chain(*packing)}


def idle_pairs(packing, rank):
    """How many pairs the active heads have to spare."""
    return sum(rank - len(head) for head in packing if head)


def index(packing, D, rank):
    return falls(packing, D) + idle_pairs(packing, rank) * len(unlearned(packing, D))


WRONG = {
    "smaller gains counted": lambda packing, D: sum(
        j > d for d in chain(*packing) for j in unlearned(packing, D)
    ),
    "every missing direction counted": lambda packing, D: len(unlearned(packing, D)),
    "idle pairs left out": falls,
    "one fall to an idle pair": lambda packing, D: (
        falls(packing, D) + idle_pairs(packing, 2)
    ),
}


def one_to_a_head(D):
    return [
        [(d,) for d in S]
        for size in range(D + 1)
        for S in combinations(range(1, D + 1), size)
    ]


def derived(task, model, packings, learned=None):
    """The index at each packing, from the Hessian of the derived loss."""
    loss, each = population_loss(task, model, "restricted"), learned or maps(task)
    return [
        hessian_index(
            loss, representative_weights(model, [[each[d] for d in head] for head in p])
        )
        for p in packings
    ]


@pytest.mark.parametrize(
    ("task", "heads"),
    [(white_teachers(2), 2), (white_inputs(2), 2), (white_inputs(3), 3)],
    ids=["white teachers, D = 2", "any task, D = 2", "any task, D = 3"],
)
def test_learned_directions_fall_to_each_larger_gain(task, heads):
    D, packings = task.dimension, one_to_a_head(task.dimension)
    found = derived(task, Separate(heads), packings)
    assert found == [index(packing, D, 1) for packing in packings]
    assert found == ([0, 0, 1, 0] if D == 2 else [0, 0, 1, 2, 0, 1, 2, 0])
    for name in ("smaller gains counted", "every missing direction counted"):
        assert found != [WRONG[name](packing, D) for packing in packings]


def test_which_head_holds_a_direction_does_not_matter():
    task, model = white_inputs(2), Separate(3)
    packings = [[(2,)], [(), (), (2,)], [(), (1,), (2,)], [(2,), (), (1,)]]
    assert derived(task, model, packings) == [1, 1, 0, 0]


RANK_TWO = [
    [(1,)],
    [(2,)],
    [(1, 2)],
    [(1,), (2,)],
    [(2,), (1,)],
]


def test_idle_pairs_of_active_heads_fall_along_every_missing_direction():
    task, model = white_inputs(2), Separate(2, rank=2)
    found = derived(task, model, RANK_TWO)
    assert found == [index(packing, 2, 2) for packing in RANK_TWO] == [1, 2, 0, 0, 0]
    for wrong in WRONG.values():
        assert found != [wrong(packing, 2) for packing in RANK_TWO]


numbers = st.builds(sp.Rational, st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=5, deadline=None)
@given(
    st.lists(numbers, min_size=3, max_size=3, unique=True),
    numbers,
    st.integers(1, 30),
    st.data(),
)
def test_packings_of_rank_two_in_rational_numbers(λ, noise, length, data):
    task = SymbolicTask(sp.diag(*sorted(λ, reverse=True)), sp.eye(3), noise, (length,))
    directions = data.draw(st.permutations([1, 2, 3]))
    size = data.draw(st.integers(1, 3))
    cut = data.draw(st.integers(max(1, size - 2), min(2, size)))
    packing = [tuple(directions[:cut]), tuple(directions[cut:size])]
    model = Separate(2, rank=2)
    numeric = Task(
        sorted(map(float, λ), reverse=True),
        noise_variance=float(noise),
        context_length=length,
    )
    theirs = fixed_point(
        numeric, model, chain(*packing), [head for head in packing if head]
    )
    assert (
        derived(task, model, [packing])
        == [index(packing, 3, 2)]
        == [theirs.hessian_index]
    )


def oblique_maps(P, c):
    """A task whose Λ and Ω seldom commute, and the maps M_d of its directions by decreasing gain, c decreasing."""
    inverse = P.inv()
    task = SymbolicTask(
        P * P.T, inverse.T * sp.diag(*c) * inverse, sp.Rational(1, 3), (5,)
    )
    plain = SymbolicTask(
        sp.eye(len(c)), sp.diag(*c), task.noise_variance, task.context_lengths
    )
    return task, {d: inverse.T * M * inverse for d, M in maps(plain).items()}


def test_where_covariances_do_not_commute():
    P = sp.Matrix([[1, 2, 0], [0, 1, -1], [1, 0, 1]])
    task, learned = oblique_maps(
        P, (sp.Integer(3), sp.Rational(3, 2), sp.Rational(1, 4))
    )
    assert (
        task.covariance * task.teacher_covariance
        != task.teacher_covariance * task.covariance
    )
    packings = one_to_a_head(3)
    found = derived(task, Separate(3), packings, learned)
    assert found == [index(packing, 3, 1) for packing in packings]
    reversed_order = {d: learned[4 - d] for d in learned}
    assert derived(task, Separate(3), packings, reversed_order) != found


def test_new_coordinates_take_the_loss_of_weights_to_that_of_another_task():
    P = sp.Matrix([[1, 2], [-1, 3]])
    task, _ = oblique_maps(P, (sp.Integer(2), sp.Integer(1)))
    plain = SymbolicTask(
        sp.eye(2), sp.diag(2, 1), task.noise_variance, task.context_lengths
    )
    model, D = Separate(1, rank=2), 2
    symbols, there = weight_symbols(model, D), {}
    for name in ("key", "query"):
        for row in symbols[name][0]:
            there |= dict(zip(row[:-1], P.T * sp.Matrix(row[:-1]), strict=True))
    ours, other = (
        population_loss(each, model, "restricted").expression for each in (task, plain)
    )
    assert sp.expand(other.subs(there, simultaneous=True) - ours) == 0
    assert sp.expand(other - ours) != 0


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_merged_heads_leave_zero_by_one_direction_each(heads):
    loss = population_loss(
        symbolic_task(2, teachers="diagonal", noise=True), Merged(heads), "restricted"
    )
    assert inertia(hessian(loss, {})) == Inertia(heads, 3 * heads, heads)
    at_zero = population_loss(symbolic_task(2), Separate(heads), "restricted")
    assert inertia(hessian(at_zero, {})) == Inertia(0, 5 * heads, 0)


def test_merged_eigenvalues_at_zero():
    task, x = symbolic_task(2, teachers="diagonal"), sp.Symbol("x")
    λ, ω = task.parameters[:2], task.parameters[2:]
    norm = sum((a**2 * b) ** 2 for a, b in zip(λ, ω, strict=True))
    H = hessian(population_loss(task, Merged(1), "restricted"), {})
    assert sp.expand(H.charpoly(x).as_expr() - x**3 * (x**2 - 4 * norm)) == 0
    assert sp.expand(H.charpoly(x).as_expr() - x**3 * (x**2 - norm)) != 0


def test_the_whole_model_has_no_other_way_down():
    task, model = white_teachers(2), Separate(2)
    loss, learned = population_loss(task, model), maps(task)
    found = [
        hessian_index(
            loss,
            representative_weights(
                model, [[learned[d] for d in head] for head in packing]
            ),
        )
        for packing in one_to_a_head(2)
    ]
    assert found == derived(task, model, one_to_a_head(2)) == [0, 0, 1, 0]


nonzero = st.integers(-3, 3).filter(bool)


@settings(max_examples=8, deadline=None)
@given(
    nonzero,
    st.lists(nonzero, min_size=3, max_size=3),
    st.sampled_from([[(3,)], [(1, 3)], [(2, 3)], [(2,)]]),
)
def test_weights_of_one_orbit_have_one_signature(a, C, packing):
    task, model = (
        SymbolicTask(sp.diag(5, 3, 2), sp.eye(3), sp.Rational(1, 2), (4,)),
        Separate(1, rank=2),
    )
    loss, each = population_loss(task, model, "restricted"), maps(task)
    point = representative_weights(model, [[each[d] for d in head] for head in packing])
    mixing = sp.Matrix([[C[0], C[1]], [0, C[2]]])
    symbols = weight_symbols(model, 3)
    moved = {symbols["value"][0, -1]: a * point[symbols["value"][0, -1]]}
    for name, factor in (("key", mixing), ("query", mixing.inv().T / a)):
        rows = sp.Matrix(
            2, 3, [point.get(symbol, 0) for symbol in symbols[name][0, :, :-1].flat]
        )
        moved |= dict(zip(symbols[name][0, :, :-1].flat, factor * rows, strict=True))
    assert inertia(hessian(loss, moved)) == inertia(hessian(loss, point))
    assert hessian_index(loss, moved) == index(packing, 3, 2)
    assert hessian(loss, moved) != hessian(loss, point)


@pytest.mark.parametrize("D", [2, 3])
def test_a_value_in_an_idle_head_is_off_the_orbit(D):
    task, model = white_inputs(D), Separate(2)
    loss, symbols = population_loss(task, model, "restricted"), weight_symbols(model, D)
    point = representative_weights(model, [[maps(task)[1]]])
    other = {**point, symbols["value"][1, -1]: sp.Rational(3, 10)}
    assert (hessian_index(loss, point), hessian_index(loss, other)) == (0, D - 1)


@st.composite
def congruent(draw):
    """A symmetric matrix C S Cᵀ with C invertible, and the signs S."""
    n = draw(st.integers(1, 5))
    signs = draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n))
    entry = st.integers(-3, 3)
    lower, upper = (
        sp.Matrix(n, n, draw(st.lists(entry, min_size=n * n, max_size=n * n)))
        for _ in range(2)
    )
    C = (lower.lower_triangular(-1) + sp.eye(n)) * (
        upper.upper_triangular(1) + sp.eye(n)
    )
    return C * sp.diag(*signs) * C.T, signs


@settings(max_examples=25, deadline=None)
@given(congruent())
def test_signatures_by_the_law_of_inertia(case):
    matrix, signs = case
    assert inertia(matrix) == Inertia(signs.count(-1), signs.count(0), signs.count(1))
    assert inertia(-matrix) == Inertia(signs.count(1), signs.count(0), signs.count(-1))


def test_names_what_has_no_index():
    a, b = sp.symbols("a b", positive=True)
    loss = population_loss(symbolic_task(1), Separate(1), "restricted")
    value, key, query = loss.weights
    with pytest.raises(ValueError, match="no equilibrium: the gradient of"):
        hessian_index(loss, {value: 1, key: 1, query: 1})
    with pytest.raises(ValueError, match="no weight a: it has"):
        hessian_index(loss, {a: 1})
    for unsure in (a - b, 1 / (a - b), sp.Symbol("c", real=True)):
        with pytest.raises(ValueError, match=r"sign of .* depends on its symbols"):
            inertia(sp.diag(unsure))
    with pytest.raises(ValueError, match="only symmetric"):
        inertia(sp.Matrix([[1, 2], [3, 4]]))
    with pytest.raises(
        ValueError, match="rational functions have exact signs here, not sqrt"
    ):
        inertia(sp.diag(sp.sqrt(2)))
    for number in (0.5, sp.pi, sp.I, sp.sqrt(a)):
        with pytest.raises(ValueError, match="exact signs here, not"):
            inertia(sp.diag(number))
    with pytest.raises(ValueError, match="exact signs here, not sqrt"):
        hessian_index(loss, {value: sp.sqrt(2)})


def test_signs_of_sums_of_positive_terms():
    a, b, c = (
        sp.Symbol("a", positive=True),
        sp.Symbol("b", positive=True),
        sp.Symbol("c", real=True),
    )
    assert inertia(sp.diag(a / (a + b), -a * b, c**2 + 1, -1 / a, 0)) == Inertia(
        2, 1, 2
    )
    assert inertia(sp.diag(N - 1 + a, -N)) == Inertia(1, 0, 1)
    assert inertia(sp.Matrix([[a, a + b], [a + b, a]])) == Inertia(1, 0, 1)


def test_names_maps_that_do_not_fit():
    with pytest.raises(ValueError, match="at most 1 maps in each of 2 heads"):
        representative_weights(Separate(2), [[sp.eye(1), sp.eye(1)]])
    with pytest.raises(ValueError, match="at most 1 maps in each of 1 heads"):
        representative_weights(Separate(1), [[sp.eye(1)], [sp.eye(1)]])
    for matrix in (sp.eye(2), sp.zeros(2)):
        with pytest.raises(ValueError, match="rank one"):
            representative_weights(Separate(1), [[matrix]])
    assert representative_weights(Separate(2), [[], []]) == {}


def test_an_order_is_what_the_sign_needs():
    task = symbolic_task(2)
    with pytest.raises(ValueError, match="depends on its symbols"):
        derived(task, Separate(2), [[(2,)]])
    assert derived(task, Separate(2), [[], [(1,), (2,)]]) == [0, 0]
