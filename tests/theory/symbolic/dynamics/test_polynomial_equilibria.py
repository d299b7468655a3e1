"""Points of rest: all real ones, exact, against polynomials whose roots are known."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.symbolic import N, SymbolicTask, symbolic_task
from attndyn.theory.symbolic.derivation import derive
from attndyn.theory.symbolic.dynamics.polynomial_equilibria import equilibria
from attndyn.theory.symbolic.statements.checking import check_statement
from attndyn.theory.symbolic.statements.statements import StatedFixedPoint

x, y = sp.symbols("x y", real=True)
a, b = sp.symbols("a b", positive=True)


def values(equations, where=()):
    return [tuple(point.values()) for point in equilibria(equations, where)]


class Tied:
    """One head whose query is its key."""

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]


@pytest.mark.parametrize(
    ("rate", "roots"),
    [
        (a * x - b, [b / a]),
        (x**2 - a, [sp.sqrt(a), -sp.sqrt(a)]),
        (x**2 + a, []),
        (x**3 + a, [-sp.cbrt(a)]),
        (
            x**4 - a**2 * b,
            [sp.sqrt(a) * b ** sp.Rational(1, 4), -sp.sqrt(a) * b ** sp.Rational(1, 4)],
        ),
        (
            x**2 - 2 * (a + b) * x + a**2 + b**2,
            [a + b + sp.sqrt(2 * a * b), a + b - sp.sqrt(2 * a * b)],
        ),
        (x**2 + x + a + 1, []),
        (x**2 + x + a, "depends"),
        (x**6 - 3 * x**3 + 2, [1, sp.cbrt(2)]),
        (x**4 + 3 * x**2 + 1, []),
        (x * (x - a) ** 2, [0, a]),
        (sp.Integer(1), []),
    ],
)
def test_roots_in_one_amplitude(rate, roots):
    if roots == "depends":
        with pytest.raises(
            ValueError,
            match=r"the sign of .* depends on the parameters or is not known",
        ):
            equilibria({x: rate})
        return
    found = [point[x] for point in equilibria({x: rate})]
    assert len(found) == len(roots)
    for root in roots:
        assert sum(sp.simplify(each - root) == 0 for each in found) == 1
        assert not any(
            sp.simplify(each - root - 1) == 0 and root + 1 not in roots
            for each in found
        )


@settings(max_examples=10, deadline=None)
@given(
    st.sets(st.integers(-4, 4), min_size=1, max_size=3),
    st.sets(st.integers(-4, 4), min_size=1, max_size=3),
)
def test_a_grid_of_points_is_found_in_sheared_coordinates(first, second):
    """Both polynomials hold x and y, and their common zeros are the grid, sheared."""
    u, v = x + y, x - 2 * y
    f = sp.expand(sp.prod([u - root for root in first]))
    g = sp.expand(sp.prod([v - root for root in second]))
    found = set(values({x: sp.expand(f + g), y: sp.expand(f - 2 * g)}))
    expected = {
        (sp.Rational(2 * p + q, 3), sp.Rational(p - q, 3))
        for p in first
        for q in second
    }
    assert expected == found


def test_an_irreducible_polynomial_in_numbers_has_exact_roots():
    ((root,),) = values({x: x**5 - x - 1})
    assert isinstance(root, sp.CRootOf)
    assert float(root) == pytest.approx(1.1673039782614187)
    assert len(values({x: x**5 - 4 * x + 1})) == 3
    with pytest.raises(
        ValueError, match="have no closed form: give its parameters numbers"
    ):
        equilibria({x: x**5 - a * x - 1})


def test_circle_and_hyperbola():
    """x² + y² = a², x y = a²/2 touch where x = y, and x y = a² nowhere."""
    root = a / sp.sqrt(2)
    circle = x**2 + y**2 - a**2
    found = values({x: circle, y: x * y - a**2 / 2})
    assert len(found) == 2
    assert all(sp.simplify(abs(p) - root) == sp.simplify(p - q) == 0 for p, q in found)
    assert values({x: circle, y: x * y - a**2}) == []


def test_conditions_cut_a_continuum():
    equations = {x: y * (1 - x * y), y: x * (1 - x * y)}
    with pytest.raises(
        ValueError, match="the equilibria are a continuum: add conserved quantities"
    ):
        equilibria(equations)
    assert set(values(equations, [x**2 - y**2])) == {(0, 0), (1, 1), (-1, -1)}
    with pytest.raises(ValueError, match="a continuum"):
        equilibria({x: sp.Integer(0)})


def test_rates_with_amplitudes_below_the_line_are_refused():
    with pytest.raises(ValueError, match="rates must be polynomial in x, not"):
        equilibria({x: 1 / (1 + x)})
    with pytest.raises(ValueError, match="rates must be polynomial in x, not"):
        equilibria({x: sp.sqrt(x) - 1})
    assert values({x: x / a - 1 / b}) == [(a / b,)]


def tied_points(task):
    """The derivation of a tied head, and where its balanced weights rest."""
    derivation = derive(task, Tied(), "restricted")
    v, *k = derivation.weights
    return derivation, derivation.equilibria(
        where=[2 * v**2 - sum(each**2 for each in k)]
    )


def test_a_tied_head_rests_at_one_direction_or_none():
    """With an order of the eigenvalues all signs are known: of the tilted points none is real."""
    with pytest.raises(
        ValueError, match=r"the sign of .* fix an order in the task, such as"
    ):
        tied_points(symbolic_task(2))
    ordered = SymbolicTask(sp.diag(b + a, b), sp.eye(2), sp.Integer(0), (N,))
    derivation, points = tied_points(ordered)
    v, *k = derivation.weights
    learned = [[d for d in (0, 1) if point[k[d]] != 0] for point in points]
    assert sorted(learned) == [[], [0], [0], [1], [1]]
    assert all(
        check_statement(StatedFixedPoint(point), derivation).holds for point in points
    )
    assert not check_statement(
        StatedFixedPoint({**points[-1], v: 2 * points[-1][v]}), derivation
    ).holds
    for point, directions in zip(points, learned, strict=True):
        for d in directions:
            λ = (a + b, b)[d]
            m = N / (
                λ * (N + 1) + a + 2 * b
            )  # the learned coefficient of Zhang et al. 2025
            assert sp.simplify(point[v] ** 3 / m) == sp.Rational(1, 2)


def test_raw_weights_of_one_map_are_a_continuum():
    with pytest.raises(ValueError, match="a continuum: add conserved quantities"):
        derive(symbolic_task(1), Tied(), "restricted").equilibria()
