"""Statements that do not hold as they stand: each with its smallest counterexample and what holds instead."""

from typing import Any, Literal

import numpy as np

from .....models.attention import Merged, Separate
from .....simulate import flow, initial_weights, prompts_from_tokens, statistics, train
from .....task import Task
from .....theory import population
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....exact_statistics import population_statistics
from ....metrics.plateaus import effective_map

BEYOND = "a natural reading of Zhang et al. 2025 beyond its hypotheses"
GENERAL = Task(
    eigenvalues=[1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=100
)
BLOCK: dict[int, Literal["full", "restricted"]] = {1: "full", 2: "restricted"}
ONE_MORE, EVERYWHERE = (
    "also a_h·B_g − a_g·B_h at D = 1",
    "also a_h·B_g − a_g·B_h at every D",
)
BY_WEIGHTS = "an idle head with a value adds D − |S|"
EQUAL = Task(eigenvalues=[1.0, 1.0], context_length=10)


def _equal(predicted: object, observed: object) -> Evidence:
    return Evidence(predicted == observed, f"{observed}", f"{predicted}")


def _maps_at_rest(context: RunContext) -> int:
    """Different maps, of 64 tried, at whose weights every gradient vanishes where two gains are equal."""
    model, coefficient = (
        Separate(1),
        float(population(EQUAL, Separate(1)).coefficients[0]),
    )
    source, size = population_statistics(EQUAL, model), coefficient ** (1 / 3)
    maps = []
    for angle in np.pi * np.arange(64) / 64:
        direction = size * np.array([np.cos(angle), np.sin(angle), 0.0])
        weights = {
            "value": np.array([[0.0, 0.0, size]]),
            "key": direction[None, None],
            "query": direction[None, None],
        }
        shaped = {
            name: weights[name].reshape(shape)
            for name, shape in model.shapes(2).items()
        }
        run = train(model, source, shaped, learning_rate=1e-3, steps=1)
        if run.gradient_norm[0] < 1e-12:
            maps.append(effective_map(model, shaped))
    return len({tuple(np.round(each.ravel(), 9)) for each in maps})


def _finite_count(context: RunContext, control: str) -> int:
    """Maps of rank one among the 2^D, or one for every direction tried where a continuum is stated."""
    return {UNMODIFIED: 2, "a circle of maps": 64}[control]


def _first_visit(context: RunContext) -> int:
    """The direction, numbered by gain, that the flow from small weights learns first."""
    start = initial_weights(
        Separate(3), GENERAL, 0.01, context.seeds(1)[0], "restricted"
    )
    times = np.linspace(0, 1_000, 2_001)
    run = flow(
        Separate(3),
        population_statistics(GENERAL, Separate(3)),
        start,
        times,
        rtol=1e-8,
    )
    moments = population(GENERAL, Separate(3))
    left = int(np.flatnonzero(run.loss < moments.c - 0.5 * moments.gains.min())[0])
    weights = {name: value[left] for name, value in run.weights.items()}
    size = np.abs(
        np.einsum(
            "id,ij,jd->d",
            moments.directions,
            effective_map(Separate(3), weights),
            moments.directions,
        )
    )
    return int(np.argmax(size)) + 1


def _first_stated(context: RunContext, control: str) -> int:
    """Number by gain of the direction that is said to come first."""
    moments = population(GENERAL, Separate(3))
    drive = np.einsum("id,ij,jd->d", moments.directions, moments.B, moments.directions)
    order = {UNMODIFIED: moments.gains, "the largest singular value of B": drive}[
        control
    ]
    return int(np.argmax(order)) + 1


def _drift(context: RunContext) -> bool:
    """Whether a weight that begins at zero, outside the restricted block, moves on two sequences with one input."""
    tokens = np.array([[[1.0, 2.0], [1.0, 0.5]], [[-0.5, -1.0], [1.0, 2.0]]])
    model, start = (
        Merged(1),
        {
            "value": np.array([[0.0, 0.3]]),
            "key_query": np.array([[[0.3, 0.0], [0.0, 0.0]]]),
        },
    )
    run = train(
        model,
        statistics(prompts_from_tokens(tokens), model),
        start,
        learning_rate=0.01,
        steps=2,
    )
    return bool(np.abs(run.final["value"][0, 0]) > 1e-6)


def _idle(context: RunContext) -> tuple[bool, ...]:
    """Whether idle heads at M_1 rest that have v ≠ 0 and: k = 0, Gq = 0; q = 0, Gᵀk = 0; kᵀGq ≠ 0 (a control)."""
    task, model = Task(eigenvalues=[2.0, 1.0], context_length=10), Separate(2)
    size = float(population(task, model).coefficients[0]) ** (1 / 3)
    none, first, second = (
        np.zeros(3),
        np.array([0.7, 0.0, 0.0]),
        np.array([0.0, 0.7, 0.0]),
    )
    source, found = population_statistics(task, model), []
    for key, query in ((none, first), (first, none), (second, second)):
        value = np.array([[0.0, 0.0, size], [0.0, 0.0, 0.5]])
        held = size * np.array([1.0, 0.0, 0.0])
        weights = {
            "value": value,
            "key": np.array([held, key]),
            "query": np.array([held, query]),
        }
        shaped = {
            name: weights[name].reshape(shape)
            for name, shape in model.shapes(2).items()
        }
        found.append(
            bool(
                train(model, source, shaped, learning_rate=1e-3, steps=1).gradient_norm[
                    0
                ]
                < 1e-12
            )
        )
    return tuple(found)


def _stated_idle(context: RunContext, control: str) -> tuple[bool, ...]:
    rest = control == "also v ≠ 0 with k = 0 and Gq = 0, or q = 0 and Gᵀk = 0"
    return rest, rest, False


Laws = dict[int, tuple[Any, ...]]
"""Conserved quantities by D."""


def _quadratic_laws(context: RunContext) -> Laws:
    """All quadratic polynomials in the weights of two merged heads that the derived flow keeps, D = 1, 2."""
    from .....theory.symbolic import (
        conserved_quantities,
        flow_equations,
        population_loss,
        symbolic_task,
    )

    losses = {D: population_loss(Merged(2), symbolic_task(D), BLOCK[D]) for D in (1, 2)}
    return {
        D: conserved_quantities(flow_equations(loss), 2) for D, loss in losses.items()
    }


def _stated_laws(context: RunContext, control: str) -> Laws:
    from .....theory.symbolic import weight_symbols

    stated = {}
    for D in (1, 2):
        w = weight_symbols(Merged(2), D)
        a, B = (
            (w["value"], w["key_query"][:, :, :-1])
            if D == 1
            else (w["value"][:, -1:], w["key_query"][:, :-1, :-1])
        )
        laws = [a[h] @ a[g] - (B[h] * B[g]).sum() for h, g in ((0, 0), (0, 1), (1, 1))]
        if D == 1 and control == ONE_MORE:
            laws.append(a[0] @ B[1].ravel() - a[1] @ B[0].ravel())
        if control == EVERYWHERE:
            laws.append(
                a[0] @ B[1].ravel()[: len(a[1])] - a[1] @ B[0].ravel()[: len(a[0])]
            )
        stated[D] = tuple(laws)
    return stated


def _same_laws(predicted: Laws, observed: Laws) -> Evidence:
    """The laws span the same linear space at every D."""
    found = {
        D: (_rank(predicted[D]), _rank(laws), _rank(predicted[D] + laws))
        for D, laws in observed.items()
    }
    beyond = [
        law
        for D, laws in observed.items()
        for law in laws
        if _rank((*predicted[D], law)) > found[D][0]
    ]
    unstated = f", one is {beyond[0]}" if beyond else ""
    agrees = all(len(set(ranks)) == 1 for ranks in found.values())
    return Evidence(agrees, _counted(observed) + unstated, _counted(predicted))


def _rank(laws: tuple[Any, ...]) -> int:
    """How many of these polynomials are linearly independent."""
    import sympy as sp

    weights = sorted(set().union(*(law.free_symbols for law in laws)), key=str)
    rows = [sp.Poly(law, *weights).as_dict() for law in laws]
    monomials = sorted(set().union(*rows))
    return int(
        sp.Matrix([[row.get(powers, 0) for powers in monomials] for row in rows]).rank()
    )


def _counted(laws: Laws) -> str:
    return ", ".join(f"{len(each)} laws at D = {D}" for D, each in laws.items())


def _index_at_nothing(context: RunContext) -> tuple[int, ...]:
    """Index at M = 0 of one rank-one head, k = q = 0, with v = 0 and with v > 0 a symbol, D = 1 and then 2."""
    import sympy as sp

    from .....theory.symbolic import (
        hessian_index,
        population_loss,
        symbolic_task,
        weight_symbols,
    )

    found = []
    for D in (1, 2):
        loss = population_loss(Separate(1), symbolic_task(D), "restricted")
        v = weight_symbols(Separate(1), D)["value"][0, -1]
        found += [
            hessian_index(loss, {v: size})
            for size in (sp.Integer(0), sp.Symbol("s", positive=True))
        ]
    return tuple(found)


def _stated_at_nothing(context: RunContext, control: str) -> tuple[int, ...]:
    return {
        UNMODIFIED: (0, 0, 0, 0),
        BY_WEIGHTS: (0, 1, 0, 2),
        "one way down": (0, 1, 0, 1),
    }[control]


def _refuted(
    name: str,
    title: str,
    statement: str,
    observable: str,
    corrected: str,
    **fields: Any,
) -> Claim:
    known: dict[str, Any] = {
        "judge": _equal,
        "source": BEYOND,
        "limit": "none",
        "tier": "fast",
    }
    known |= {
        "title": title,
        "statement": statement,
        "observable": observable,
        "corrected": (corrected,),
    }
    return Claim(id=f"refuted.{name}", expected_level="refuted", **known | fields)


CLAIMS = (
    _refuted(
        "equal_gains",
        "Separate attention has 2^D fixed points, whatever Λ is",
        r"\#\{M\} = 2^D",
        "maps of rank one at which no weight has a gradient, D = 2, Λ = 1: of 64 directions tried",
        "a circle of maps",
        measure=_maps_at_rest,
        predict=_finite_count,
        hypotheses=("two gains are equal, which the count excludes",),
    ),
    _refuted(
        "order_of_gains",
        "From small weights the directions are learned in the order of their gains, whatever Ω is",
        r"g_1 > g_2 \Rightarrow t_1 < t_2",
        "first direction that the gradient flow learns, D = 2, gains 0.97 and 1.31 where B = diag(1, 0.405)",
        "the largest singular value of B",
        measure=_first_visit,
        predict=_first_stated,
        hypotheses=("Ω is not the identity",),
    ),
    _refuted(
        "restricted_sample",
        "On any sample the weights outside the restricted block stay at zero",
        r"a_h = (0, v_h),\ B_h = (U_h; 0)",
        "the x entry of the value row after two steps, D = 1, N = 1, two sequences",
        "only on unlimited data",
        measure=_drift,
        predict=lambda context, control: control != UNMODIFIED,
        hypotheses=("P is finite",),
    ),
    _refuted(
        "idle_heads",
        "A head that adds nothing to M is at rest only if v = 0 and kᵀGq = 0, or k = q = 0",
        r"v_h = 0,\ k_h^\top G q_h = 0 \quad\text{or}\quad k_h = q_h = 0",
        "whether the gradient vanishes at M_1, D = 2, for three idle heads with v ≠ 0",
        "also v ≠ 0 with k = 0 and Gq = 0, or q = 0 and Gᵀk = 0",
        measure=_idle,
        predict=_stated_idle,
        hypotheses=("an idle head beside one that holds direction 1",),
    ),
    _refuted(
        "quadratic_laws",
        "Merged attention keeps no quadratic quantity but a_h·a_g − ⟨B_h, B_g⟩",
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
        "The Hessian's index is a property of the map M, whatever weights make it",
        r"M(\theta) = M(\theta') \Rightarrow \mathrm{ind}(\theta) = \mathrm{ind}(\theta')",
        "exact index at M = 0 of one rank-one head with v = 0 and v > 0, k = q = 0, D = 1 and then 2",
        BY_WEIGHTS,
        measure=_index_at_nothing,
        predict=_stated_at_nothing,
        controls=("one way down",),
        hypotheses=("points of rest with other weights than the canonical ones",),
    ),
)
