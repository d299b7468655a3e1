"""Where balanced amplitudes rest and which ways lead down, as the engine finds it and as it is stated."""

from itertools import chain, combinations

from .....models.attention import Merged, Separate
from ....evidence.claim import RunContext
from .identities import (
    Expr,
    Formulas,
    aligned_equations,
    block_flow,
    problem,
    stated_moments,
)

SUM_OF_ROOTS = "the sum of cube roots for the root of the sum"
FEWER = "only positive amplitudes"
BALANCED = "s² = m from any start"
RANK_TWO = ("v_1", "kappa_1_1", "kappa_1_2")

DESCENTS = {"numbers": 3, "b real": 2, "n whole": 2}
"""D, by what the eigenvalues of Λ are made of."""


def found_rests(context: RunContext) -> Formulas:
    """How often balanced amplitudes rest, and what makes the map there: merged, rank one and rank two, D = 2."""
    import sympy as sp

    from .....theory.symbolic import equilibria

    found: dict[str, Expr] = {}
    for name, model, D in (
        ("merged", Merged(1), 1),
        ("rank 1", Separate(2), 2),
        ("rank 2", Separate(1, rank=2), 2),
    ):
        equations = aligned_equations(model, problem("white", D))
        first, *rest = equations
        balance = [] if name == "rank 1" else [first**2 - sum(each**2 for each in rest)]
        points = equilibria(equations, balance)
        found[f"{name}, points"] = sp.Integer(len(points))
        for point in points:
            learned = [str(each) for each, value in point.items() if value != 0]
            found |= {
                f"{name}, {', '.join(learned)}, {each}": point[each] ** 6
                for each in point
            }
    return found | _other_rests()


def _other_rests() -> dict[str, Expr]:
    """Where a merged amplitude with s² − u² = 1, m = 3/5, a head with v = −k = −q and three small flows rest."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask, equilibria, reduce

    task = SymbolicTask(sp.eye(1), sp.eye(1), sp.Integer(0), (sp.Integer(3),))
    equations = aligned_equations(Merged(1), task)
    s, u = equations
    points = equilibria(equations, [s**2 - u**2 - 1])
    found = {"unbalanced": sp.Integer(len({sp.sign(point[s]) for point in points}))}
    for point in points:
        found |= {
            "unbalanced, s²": sp.expand(point[s] ** 2),
            "unbalanced, su": sp.expand(point[s] * point[u]),
        }
    flow, v, heads = block_flow(Separate(1), problem("white", 1))
    z = sp.Symbol("z", real=True)
    negative = reduce(
        flow, {v[0]: -z, heads["key"][0][0, 0]: z, heads["query"][0][0, 0]: z}
    ).equations
    (rest,) = (point[z] for point in equilibria(negative) if point[z] != 0)
    first, second = (point[z] for point in equilibria({z: z**2 - z - 1}))
    x, y = sp.symbols("x y", real=True)
    found |= {
        "z² = z + 1, sum": first + second,
        "z² = z + 1, product": sp.expand(first * second),
    }
    small = {
        "predator and prey": {x: x * (1 - y), y: y * (x - 1)},
        "restless": {x: x * y - 1, y: x * y - 2},
    }
    found |= {name: sp.Integer(len(equilibria(rates))) for name, rates in small.items()}
    return found | {"negative pair, v³": (-rest) ** 3}


def stated_rests(context: RunContext, control: str) -> Formulas:
    """Sixth powers of the amplitudes, which have no roots in them: signs are in the number of points."""
    import sympy as sp

    found: dict[str, Expr] = {}
    counts = (
        {"merged": 3, "rank 1": 4, "rank 2": 9}
        if control != FEWER
        else {"merged": 2, "rank 1": 4, "rank 2": 4}
    )
    found |= {f"{name}, points": sp.Integer(count) for name, count in counts.items()}
    m = {D: _learned(D, control) for D in (1, 2)}
    found |= _stated(
        "merged", {(): (0, 0), (0, 1): (m[1][0] ** 3, m[1][0] ** 3)}, ("s", "u_1")
    )
    one, two = m[2]
    both = (
        sum(sp.root(each, 3) for each in m[2]) ** 6
        if control == SUM_OF_ROOTS
        else (one + two) ** 2
    )
    heads = {(): (0, 0), (0,): (one**2, 0), (1,): (0, two**2), (0, 1): (one**2, two**2)}
    pairs = {(): (0, 0, 0), (0, 1): (one**2, one**2, 0), (0, 2): (two**2, 0, two**2)}
    pairs[0, 1, 2] = (both, one**3 / sp.sqrt(both), two**3 / sp.sqrt(both))
    product = sp.Rational(3, 5)
    found |= {
        "unbalanced": sp.Integer(2),
        "unbalanced, su": product,
        "negative pair, v³": m[1][0],
    }
    found["unbalanced, s²"] = product if control == BALANCED else (5 + sp.sqrt(61)) / 10
    found |= {"z² = z + 1, sum": sp.Integer(1), "z² = z + 1, product": sp.Integer(-1)}
    found |= {"predator and prey": sp.Integer(2), "restless": sp.Integer(0)}
    return (
        found
        | _stated("rank 1", heads, ("v_1", "v_2"))
        | _stated("rank 2", pairs, RANK_TWO)
    )


def _stated(
    name: str,
    points: dict[tuple[int, ...], tuple[Expr, ...]],
    amplitudes: tuple[str, ...],
) -> dict[str, Expr]:
    import sympy as sp

    return {
        f"{name}, {', '.join(amplitudes[i] for i in learned)}, {each}": sp.sympify(
            value
        )
        for learned, values in points.items()
        for each, value in zip(amplitudes, values, strict=True)
    }


def _learned(dimension: int, control: str) -> list[Expr]:
    """m_d = B_d / (A_d λ_d), which M learns."""
    task = problem("white", dimension)
    _, B, A = stated_moments(task, control)
    return [B[d, d] / (A[d, d] * task.covariance[d, d]) for d in range(dimension)]


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

    real, whole = sp.Symbol("b", real=True), sp.Symbol("n", positive=True, integer=True)
    found: dict[str, Expr] = {}
    for name, λ in zip(
        DESCENTS,
        ((3, 2, 1), (real**2 + 2, real**2 + 1), (2 * whole, 2 * whole - 1)),
        strict=True,
    ):
        D = len(λ)
        model, task = (
            Separate(D),
            SymbolicTask(sp.diag(*λ), sp.eye(D), sp.Integer(0), (sp.Integer(4),)),
        )
        loss = population_loss(model, task, "restricted")
        points = {point.subset: point.M for point in fixed_points(task, model)}
        weights = {
            S: representative_weights(model, [[points[d,]] for d in S]) for S in points
        }
        found |= {
            f"{name}, {S}": sp.Integer(hessian_index(loss, each))
            for S, each in weights.items()
        }
    return found


def stated_index(context: RunContext, control: str) -> Formulas:
    """Pairs of a learned direction and one of larger gain that is not, or what a control counts."""
    import sympy as sp

    found: dict[str, Expr] = {}
    for name, D in DESCENTS.items():
        for S in chain.from_iterable(
            combinations(range(1, D + 1), size) for size in range(D + 1)
        ):
            left = set(range(1, D + 1)) - set(S)
            larger = sum(j < d for d in S for j in left)
            count = {
                "smaller gains counted": len(S) * len(left) - larger,
                "minima": 0,
            }.get(control, larger)
            found[f"{name}, {S}"] = sp.Integer(count)
    return found
