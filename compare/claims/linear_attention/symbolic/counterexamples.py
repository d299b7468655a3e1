"""Statements that do not hold as they stand: each with its smallest counterexample and what holds instead."""

from typing import Any, Literal

import numpy as np

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, prompts_from_tokens, statistics, train
from .....task import Task
from .....theory import population
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....exact_statistics import POPULATION_MOMENTS, population_statistics

REVERSED_GAINS = Task(
    eigenvalues=[1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=100
)
"""B = diag(1, 0.405), but gains 0.97 and 1.31."""

EQUAL_GAINS = Task(eigenvalues=[1.0, 1.0], context_length=10)
BLOCK: dict[int, Literal["full", "restricted"]] = {1: "full", 2: "restricted"}
"""Weights of which the laws are sought, by D: the linear algebra of all weights at D = 2 takes minutes."""

ONE_MORE = "also a_h·B_g − a_g·B_h at D = 1"
EVERYWHERE = "also a_h·B_g − a_g·B_h at every D"
BY_WEIGHTS = "a head of zero map with a value adds D − |S|"

NO_GRADIENT = 1e-12
"""Norm below which a gradient is rounding."""


def _equal(predicted: object, observed: object) -> Evidence:
    return Evidence(predicted == observed, f"{observed}", f"{predicted}")


def _gradient_norm(task: Task, model: Separate, weights: Weights) -> float:
    """Norm of the gradient of the loss on unlimited data, by the simulation."""
    source = population_statistics(task, model)
    run = train(model, source, weights, learning_rate=1e-3, steps=1)
    return float(run.gradient_norm[0])


# Equal gains


def _stationary_directions(context: RunContext) -> int:
    """Different maps, of 64 tried, at whose weights every gradient vanishes where two gains are equal."""
    model = Separate(1)
    size = np.cbrt(population(EQUAL_GAINS, model).coefficients[0])  # v = |k| = |q|
    maps = set()
    for angle in np.pi * np.arange(64) / 64:
        direction = size * np.array([np.cos(angle), np.sin(angle), 0.0])
        weights = {
            "value": np.array([[0.0, 0.0, size]]),
            "key": direction[None, None],  # (H, R, D + 1)
            "query": direction[None, None],
        }
        if _gradient_norm(EQUAL_GAINS, model, weights) < NO_GRADIENT:
            M = effective_map(model, weights)
            maps.add(tuple(np.round(M.ravel(), 9)))
    return len(maps)


def _finite_count(context: RunContext, control: str) -> int:
    """Maps of rank one among the 2^D, or one for every direction tried where a continuum is stated."""
    return {UNMODIFIED: 2, "a circle of maps": 64}[control]


# The order of gains


def _first_learned(context: RunContext) -> int:
    """The direction, numbered by gain, that the flow from small weights learns first."""
    model, task = Separate(3), REVERSED_GAINS
    start = initial_weights(model, task, 0.01, context.seeds(1)[0], "restricted")
    times = np.linspace(0, 1_000, 2_001)
    run = flow(model, population_statistics(task, model), start, times, rtol=1e-8)

    # The first drop is under way where half of the smaller gain is made.
    moments = population(task, model)
    fallen = run.loss < moments.c - 0.5 * moments.gains.min()
    first = int(np.flatnonzero(fallen)[0])
    M = effective_map(model, {name: w[first] for name, w in run.weights.items()})
    return _largest_along_directions(M)


def _largest_along_directions(matrix: FloatArray) -> int:
    """The direction d, from 1 by decreasing gain, along which |e_dᵀ M e_d| is largest."""
    e = population(REVERSED_GAINS, Separate(3)).directions
    return 1 + int(np.argmax(np.abs(np.einsum("id,ij,jd->d", e, matrix, e))))


def _first_stated(context: RunContext, control: str) -> int:
    """The direction that is stated to come first, numbered by gain."""
    if control == UNMODIFIED:
        return 1
    return _largest_along_directions(population(REVERSED_GAINS, Separate(3)).B)


# A finite sample


def _leaves_the_block(context: RunContext) -> bool:
    """Whether a weight that begins at zero, outside the restricted block, moves on two sequences with one input."""
    model = Merged(1)
    tokens = np.array([[[1.0, 2.0], [1.0, 0.5]], [[-0.5, -1.0], [1.0, 2.0]]])
    start = {
        "value": np.array([[0.0, 0.3]]),
        "key_query": np.array([[[0.3, 0.0], [0.0, 0.0]]]),
    }
    source = statistics(prompts_from_tokens(tokens), model)
    run = train(model, source, start, learning_rate=0.01, steps=2)
    return bool(np.abs(run.final["value"][0, 0]) > 1e-6)


# Heads that add nothing to the map


def _stationary_heads(context: RunContext) -> tuple[bool, ...]:
    """Whether small heads at M_1 are stationary that have v ≠ 0 and: k = 0, Gq = 0; q = 0, Gᵀk = 0; kᵀGq ≠ 0.

    The last one is a check of the measurement: it moves.
    """
    task, model = Task(eigenvalues=[2.0, 1.0], context_length=10), Separate(2)
    size = float(np.cbrt(population(task, model).coefficients[0]))

    # At M_1 the residual G vanishes along the first axis and not along the second.
    none, first, second = 0.7 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    stationary = []
    for key, query in ((none, first), (first, none), (second, second)):
        weights = _beside_learned_head(size, key, query)
        stationary.append(_gradient_norm(task, model, weights) < NO_GRADIENT)
    return tuple(stationary)


def _beside_learned_head(size: float, key: FloatArray, query: FloatArray) -> Weights:
    """A head with v = |k| = |q| = `size` on the first axis, and one with v = 1/2 and this key and query (D + 1,)."""
    learned = np.array([size, 0.0, 0.0])
    return {
        "value": np.array([[0.0, 0.0, size], [0.0, 0.0, 0.5]]),
        "key": np.array([[learned], [key]]),  # (H, R, D + 1)
        "query": np.array([[learned], [query]]),
    }


def _stated_heads(context: RunContext, control: str) -> tuple[bool, ...]:
    also = control == "also v ≠ 0 with k = 0 and Gq = 0, or q = 0 and Gᵀk = 0"
    return also, also, False


# Quadratic conservation laws

Laws = dict[int, tuple[Any, ...]]
"""Conserved quantities by D."""


def _quadratic_laws(context: RunContext) -> Laws:
    """All quadratic polynomials in the weights of two merged heads that the derived flow conserves, D = 1, 2."""
    from .....theory.symbolic import (
        conserved_quantities,
        flow_equations,
        population_loss,
        symbolic_task,
    )

    laws = {}
    for D in (1, 2):
        loss = population_loss(symbolic_task(D), Merged(2), BLOCK[D])
        laws[D] = conserved_quantities(flow_equations(loss), 2)
    return laws


def _stated_laws(context: RunContext, control: str) -> Laws:
    """The laws at D = 1 and 2, with one more at D = 1 or at both where a control says so."""
    return {
        1: _laws_of(1, one_more=control in (ONE_MORE, EVERYWHERE)),
        2: _laws_of(2, one_more=control == EVERYWHERE),
    }


def _laws_of(dimension: int, one_more: bool) -> tuple[Any, ...]:
    """a_h·a_g − ⟨B_h, B_g⟩ for the three pairs of two heads, and a_1·B_2 − a_2·B_1 on the entries that meet."""
    (a1, a2), B = _block_weights(dimension)
    B1, B2 = (matrix.ravel() for matrix in B)
    laws = [a1 @ a1 - B1 @ B1, a1 @ a2 - B1 @ B2, a2 @ a2 - B2 @ B2]
    if one_more:
        # At D = 1 both have D + 1 entries; elsewhere only the first entries of B meet a.
        size = len(a1)
        laws.append(a1 @ B2[:size] - a2 @ B1[:size])
    return tuple(laws)


def _block_weights(dimension: int) -> tuple[Any, Any]:
    """Symbols of a (H, D + 1) and B (H, D + 1, D) of two heads, or (H, 1) and (H, D, D) on the restricted block."""
    from .....theory.symbolic import weight_symbols

    weights = weight_symbols(Merged(2), dimension)
    a, B = weights["value"], weights["key_query"][:, :, :-1]
    if BLOCK[dimension] == "restricted":
        return a[:, -1:], B[:, :-1]
    return a, B


def _same_laws(predicted: Laws, observed: Laws) -> Evidence:
    """The laws span the same linear space at every D."""
    agrees = True
    unstated = []  # laws outside the predicted span
    for D, laws in observed.items():
        rank = _rank(predicted[D])
        agrees &= rank == _rank(laws) == _rank(predicted[D] + laws)
        unstated += [law for law in laws if _rank((*predicted[D], law)) > rank]

    example = f", one is {unstated[0]}" if unstated else ""
    return Evidence(agrees, _counts(observed) + example, _counts(predicted))


def _rank(laws: tuple[Any, ...]) -> int:
    """How many of these polynomials are linearly independent."""
    import sympy as sp

    weights = sorted(set().union(*(law.free_symbols for law in laws)), key=str)
    rows = [sp.Poly(law, *weights).as_dict() for law in laws]
    monomials = sorted(set().union(*rows))
    coefficients = [[row.get(powers, 0) for powers in monomials] for row in rows]
    return int(sp.Matrix(coefficients).rank())


def _counts(laws: Laws) -> str:
    return ", ".join(f"{len(of_D)} laws at D = {D}" for D, of_D in laws.items())


# The index of a map


def _index_at_zero(context: RunContext) -> tuple[int, ...]:
    """Index at M = 0 of one rank-one head, k = q = 0, with v = 0 and with v > 0 a symbol, D = 1 and then 2."""
    import sympy as sp

    from .....theory.symbolic import (
        hessian_index,
        population_loss,
        symbolic_task,
        weight_symbols,
    )

    zero, positive = sp.Integer(0), sp.Symbol("s", positive=True)
    indices = []
    for D in (1, 2):
        loss = population_loss(symbolic_task(D), Separate(1), "restricted")
        v = weight_symbols(Separate(1), D)["value"][0, -1]
        indices += [hessian_index(loss, {v: zero}), hessian_index(loss, {v: positive})]
    return tuple(indices)


def _stated_index(context: RunContext, control: str) -> tuple[int, ...]:
    if control == BY_WEIGHTS:
        return (0, 1, 0, 2)
    if control == "one unstable direction":
        return (0, 1, 0, 1)
    return (0, 0, 0, 0)


def _refuted(
    name: str,
    title: str,
    statement: str,
    observable: str,
    corrected: str,
    **fields: Any,
) -> Claim:
    """A fast claim that is expected to be refuted; `fields` are further ones or replace those set here."""
    common: dict[str, Any] = {
        "judge": _equal,
        "paper": "zhang2025",
        "equation": "a natural reading outside its hypotheses",
        "beyond_paper": True,
        "limit": "none",
        "tier": "fast",
    }
    return Claim(
        id=f"refuted.{name}",
        title=title,
        statement=statement,
        observable=observable,
        expected_level="refuted",
        corrected=(corrected,),
        **common | fields,
    )


CLAIMS = (
    _refuted(
        "equal_gains",
        "Separate attention has 2^D fixed points for every Λ",
        r"\#\{M\} = 2^D",
        "maps of rank one at which no weight has a gradient, D = 2, Λ = 1: of 64 directions tried",
        "a circle of maps",
        measure=_stationary_directions,
        assumes=POPULATION_MOMENTS,
        predict=_finite_count,
        hypotheses=("two gains are equal, which the count excludes",),
    ),
    _refuted(
        "order_of_gains",
        "From small weights the directions are learned in the order of their gains for every Ω",
        r"g_1 > g_2 \Rightarrow t_1 < t_2",
        "first direction that the gradient flow learns, D = 2, gains 0.97 and 1.31 where B = diag(1, 0.405)",
        "the largest singular value of B",
        measure=_first_learned,
        assumes=POPULATION_MOMENTS,
        predict=_first_stated,
        hypotheses=("Ω is not the identity",),
    ),
    _refuted(
        "restricted_sample",
        "On any sample the weights outside the restricted block stay at zero",
        r"a_h = (0, v_h),\ B_h = (U_h; 0)",
        "the x entry of the value row after two steps, D = 1, N = 1, two sequences",
        "only on unlimited data",
        measure=_leaves_the_block,
        predict=lambda context, control: control != UNMODIFIED,
        hypotheses=("P is finite",),
    ),
    _refuted(
        "idle_heads",
        "A head with zero map is stationary only if v = 0 and kᵀGq = 0, or k = q = 0",
        r"v_h = 0,\ k_h^\top G q_h = 0 \quad\text{or}\quad k_h = q_h = 0",
        "whether the gradient vanishes at M_1, D = 2, for three heads of zero map with v ≠ 0",
        "also v ≠ 0 with k = 0 and Gq = 0, or q = 0 and Gᵀk = 0",
        measure=_stationary_heads,
        assumes=POPULATION_MOMENTS,
        predict=_stated_heads,
        hypotheses=("one head of zero map beside one that has learned direction 1",),
    ),
    _refuted(
        "quadratic_laws",
        "Merged attention conserves no quadratic quantity but a_h·a_g − ⟨B_h, B_g⟩",
        r"a_h\cdot a_g - \langle B_h, B_g\rangle",
        "every quadratic law of two heads, by linear algebra on the derived flow, D = 1 (all weights) and 2",
        ONE_MORE,
        measure=_quadratic_laws,
        predict=_stated_laws,
        judge=_same_laws,
        controls=(EVERYWHERE,),
        hypotheses=("at D = 1, where a_h and B_h have one shape",),
    ),
    _refuted(
        "index_of_a_map",
        "The Hessian index is the same for all weights with the same map M",
        r"M(\theta) = M(\theta') \Rightarrow \mathrm{ind}(\theta) = \mathrm{ind}(\theta')",
        "exact index at M = 0 of one rank-one head with v = 0 and v > 0, k = q = 0, D = 1 and then 2",
        BY_WEIGHTS,
        measure=_index_at_zero,
        predict=_stated_index,
        controls=("one unstable direction",),
        hypotheses=("fixed points with other weights than the canonical ones",),
    ),
)
