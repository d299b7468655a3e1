"""Equilibria of balanced amplitudes and the index at each fixed point, as the engine finds them and as stated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from .....models.attention import Merged, Separate
from ....evidence.claim import RunContext
from ....evidence.identities import Expr, Formulas
from .identities import aligned_equations, block_flow, problem, stated_directions

SUM_OF_ROOTS = "the sum of cube roots for the root of the sum"
FEWER = "only positive amplitudes"
BALANCED = "s² = m from any start"

Point = Mapping[str, Expr]
"""The value of each variable at an equilibrium, by name."""


@dataclass(frozen=True)
class Case:
    """A system of equations, what is read off its equilibria, and what that should be.

    `equations` gives the rates of the variables and the constraints that hold beside them; `where` reads named
    numbers off all equilibria; `expected` states the same numbers for a control.
    """

    name: str
    equations: Callable[[], tuple[Mapping[Expr, Expr], Sequence[Expr]]]
    where: Callable[[Sequence[Point]], Formulas]
    expected: Callable[[str], Formulas]


def found_equilibria(context: RunContext) -> Formulas:
    """The numbers that are read off the equilibria of every case."""
    from .....theory.symbolic import equilibria

    numbers: dict[str, Expr] = {}
    for case in CASES:
        rates, constraints = case.equations()
        points = [
            {str(variable): value for variable, value in point.items()}
            for point in equilibria(rates, constraints)
        ]
        numbers |= _prefixed(case.name, case.where(points))
    return numbers


def stated_equilibria(context: RunContext, control: str) -> Formulas:
    """The same numbers as the theory states them, or a wrong variant."""
    numbers: dict[str, Expr] = {}
    for case in CASES:
        numbers |= _prefixed(case.name, case.expected(control))
    return numbers


def _prefixed(name: str, numbers: Formulas) -> dict[str, Expr]:
    return {f"{name}, {quantity}": value for quantity, value in numbers.items()}


# What is read off the equilibria


def _amplitudes(points: Sequence[Point]) -> Formulas:
    """How many equilibria there are, and sixth powers of the amplitudes at each set of nonzero ones.

    Sixth powers of cube roots have no roots in them; the signs are in the number of points.
    """
    import sympy as sp

    numbers: dict[str, Expr] = {"points": sp.Integer(len(points))}
    for point in points:
        nonzero = [name for name, value in point.items() if value != 0]
        numbers |= _sixth_powers(nonzero, {n: v**6 for n, v in point.items()})
    return numbers


def _sixth_powers(nonzero: Sequence[str], powers: Mapping[str, Expr]) -> Formulas:
    import sympy as sp

    learned = ", ".join(nonzero)
    return {f"{learned}, {name}": sp.sympify(value) for name, value in powers.items()}


def _count(points: Sequence[Point]) -> Formulas:
    import sympy as sp

    return {"points": sp.Integer(len(points))}


def _unbalanced_signs(points: Sequence[Point]) -> Formulas:
    """Both signs of s, and s² and s u, which the points share."""
    import sympy as sp

    signs = {sp.sign(point["s"]) for point in points}
    (square,) = {sp.expand(point["s"] ** 2) for point in points}
    (product,) = {sp.expand(point["s"] * point["u_1"]) for point in points}
    return {"signs": sp.Integer(len(signs)), "s²": square, "su": product}


def _negative_value(points: Sequence[Point]) -> Formulas:
    """v³ = (−z)³ at the one equilibrium that is not zero."""
    (z,) = (point["z"] for point in points if point["z"] != 0)
    return {"v³": (-z) ** 3}


def _sum_and_product(points: Sequence[Point]) -> Formulas:
    import sympy as sp

    first, second = (point["z"] for point in points)
    return {"sum": first + second, "product": sp.expand(first * second)}


# The systems


def _balanced(
    model: Merged | Separate, dimension: int
) -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    """Aligned equations of the first variable, s or v, and of the others, with its square their sum of squares."""
    # Balance: v² = Σ κ² or s² = Σ u² selects the equilibria without free constants.
    rates = aligned_equations(model, problem("white", dimension))
    first, *others = rates
    return rates, [first**2 - sum(other**2 for other in others)]


def _two_heads_of_rank_one() -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    """Each head has one amplitude, so that nothing beside the equations balances it."""
    return aligned_equations(Separate(2), problem("white", 2)), []


def _unbalanced() -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    """Merged attention with s² − u² = 1 on a task in numbers: Λ = Ω = 1 and N = 3, so that m = 3/5."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask

    task = SymbolicTask(sp.eye(1), sp.eye(1), sp.Integer(0), (sp.Integer(3),))
    rates = aligned_equations(Merged(1), task)
    s, u = rates
    return rates, [s**2 - u**2 - 1]


def _negative_pair() -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    """A head with v = −z and k = q = z: its value and the map have the sign of −z."""
    import sympy as sp

    from .....theory.symbolic import reduce

    z = sp.Symbol("z", real=True)
    # D = 1: one entry of key and of query.
    block = block_flow(Separate(1), problem("white", 1))
    (v,) = block.values
    key, query = block.heads["key"][0][0, 0], block.heads["query"][0][0, 0]
    return reduce(block.flow, {v: -z, key: z, query: z}).equations, []


def _golden_ratio() -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    import sympy as sp

    z = sp.Symbol("z", real=True)
    return {z: z**2 - z - 1}, []


def _predator_and_prey() -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    import sympy as sp

    x, y = sp.symbols("x y", real=True)
    return {x: x * (1 - y), y: y * (x - 1)}, []


def _without_equilibrium() -> tuple[Mapping[Expr, Expr], Sequence[Expr]]:
    import sympy as sp

    x, y = sp.symbols("x y", real=True)
    return {x: x * y - 1, y: x * y - 2}, []


# What is stated


def _learned(dimension: int, control: str) -> list[Expr]:
    """m_d = B_d / (A_d λ_d), which M learns along each direction."""
    _, b, saturation = stated_directions(problem("white", dimension), control)
    return [b[d] / saturation[d] for d in range(dimension)]


def _expected_merged(control: str) -> Formulas:
    """s u = m with s = ±u: zero and two signs."""
    import sympy as sp

    (m,) = _learned(1, control)
    return {
        "points": sp.Integer(2 if control == FEWER else 3),
        **_sixth_powers([], {"s": 0, "u_1": 0}),
        **_sixth_powers(["s", "u_1"], {"s": m**3, "u_1": m**3}),
    }


def _expected_heads(control: str) -> Formulas:
    """v_d³ = m_d or v_d = 0, head by head."""
    import sympy as sp

    m1, m2 = _learned(2, control)
    return {
        "points": sp.Integer(4),
        **_sixth_powers([], {"v_1": 0, "v_2": 0}),
        **_sixth_powers(["v_1"], {"v_1": m1**2, "v_2": 0}),
        **_sixth_powers(["v_2"], {"v_1": 0, "v_2": m2**2}),
        **_sixth_powers(["v_1", "v_2"], {"v_1": m1**2, "v_2": m2**2}),
    }


def _expected_rank_two(control: str) -> Formulas:
    """v³ = Σ m_d over the learned directions, v κ_d² = m_d; each κ_d of either sign."""
    import sympy as sp

    m1, m2 = _learned(2, control)
    v6 = _sixth_power_of_value(m1, m2, control)
    v3 = sp.sqrt(v6)
    v, κ1, κ2 = "v_1", "kappa_1_1", "kappa_1_2"
    return {
        "points": sp.Integer(4 if control == FEWER else 9),
        **_sixth_powers([], {v: 0, κ1: 0, κ2: 0}),
        **_sixth_powers([v, κ1], {v: m1**2, κ1: m1**2, κ2: 0}),
        **_sixth_powers([v, κ2], {v: m2**2, κ1: 0, κ2: m2**2}),
        **_sixth_powers([v, κ1, κ2], {v: v6, κ1: m1**3 / v3, κ2: m2**3 / v3}),
    }


def _sixth_power_of_value(m1: Expr, m2: Expr, control: str) -> Expr:
    """v⁶ = (m_1 + m_2)² of a head that has learned both directions."""
    import sympy as sp

    if control == SUM_OF_ROOTS:
        return (sp.root(m1, 3) + sp.root(m2, 3)) ** 6
    return (m1 + m2) ** 2


def _expected_unbalanced(control: str) -> Formulas:
    """s u = 3/5 and s² − u² = 1 make s⁴ − s² − 9/25 = 0."""
    import sympy as sp

    product = sp.Rational(3, 5)
    square = product if control == BALANCED else (5 + sp.sqrt(61)) / 10
    return {"signs": sp.Integer(2), "s²": square, "su": product}


def _expected_negative(control: str) -> Formulas:
    (m,) = _learned(1, control)
    return {"v³": m}


def _constant(**numbers: int) -> Callable[[str], Formulas]:
    """Numbers that no control changes."""

    def expected(control: str) -> Formulas:
        import sympy as sp

        return {name: sp.Integer(number) for name, number in numbers.items()}

    return expected


CASES = (
    Case("merged", lambda: _balanced(Merged(1), 1), _amplitudes, _expected_merged),
    Case("rank 1", _two_heads_of_rank_one, _amplitudes, _expected_heads),
    Case(
        "rank 2",
        lambda: _balanced(Separate(1, rank=2), 2),
        _amplitudes,
        _expected_rank_two,
    ),
    Case("unbalanced", _unbalanced, _unbalanced_signs, _expected_unbalanced),
    Case("negative pair", _negative_pair, _negative_value, _expected_negative),
    Case("z² = z + 1", _golden_ratio, _sum_and_product, _constant(sum=1, product=-1)),
    Case("predator and prey", _predator_and_prey, _count, _constant(points=2)),
    Case("no equilibrium", _without_equilibrium, _count, _constant(points=0)),
)


# The index at each fixed point

DIMENSIONS = {"numbers": 3, "b real": 2, "n whole": 2}
"""D, by what the eigenvalues of Λ are made of."""


def _spectra() -> dict[str, tuple[Expr, ...]]:
    """Eigenvalues of Λ in decreasing order: in numbers, of a real symbol, of a whole one."""
    import sympy as sp

    b = sp.Symbol("b", real=True)
    n = sp.Symbol("n", positive=True, integer=True)
    return {
        "numbers": (3, 2, 1),
        "b real": (b**2 + 2, b**2 + 1),
        "n whole": (2 * n, 2 * n - 1),
    }


def found_index(context: RunContext) -> Formulas:
    """Negative eigenvalues of the Hessian at each M_S, N = 4, by the eigenvalues of Λ."""
    import sympy as sp

    from .....theory.symbolic import (
        SymbolicTask,
        fixed_points,
        hessian_index,
        population_loss,
        representative_weights,
    )

    indices: dict[str, Expr] = {}
    for name, λ in _spectra().items():
        D = len(λ)
        model = Separate(D)
        task = SymbolicTask(sp.diag(*λ), sp.eye(D), sp.Integer(0), (sp.Integer(4),))
        loss = population_loss(task, model, "restricted")
        maps = {point.subset: point.M for point in fixed_points(task, model)}
        for S in maps:
            # One head for each learned direction: all other heads are zero.
            weights = representative_weights(model, [[maps[d,]] for d in S])
            indices[f"{name}, {S}"] = sp.Integer(hessian_index(loss, weights))
    return indices


def stated_index(context: RunContext, control: str) -> Formulas:
    """Pairs of a learned direction and one of larger gain that is not, or what a control counts."""
    import sympy as sp

    indices: dict[str, Expr] = {}
    for name, D in DIMENSIONS.items():
        directions = range(1, D + 1)
        subsets = chain.from_iterable(
            combinations(directions, size) for size in range(D + 1)
        )
        for S in subsets:
            pairs = [(d, j) for d in S for j in directions if j not in S]
            larger = sum(j < d for d, j in pairs)  # gains decrease with the number
            count = larger
            if control == "smaller gains counted":
                count = len(pairs) - larger
            if control == "minima":
                count = 0
            indices[f"{name}, {S}"] = sp.Integer(count)
    return indices
