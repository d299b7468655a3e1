"""The stability of an equilibrium: the signature of the Hessian of the population loss, exactly.

Weights with cube roots, such as v = |k| = |q| = m^{1/3}, need not be written: v → a v, K → C K, Q → C⁻ᵀ Q / a in
one head (a ≠ 0, C invertible) is a linear map T of the weights with L(T θ) = L(θ) for all θ, so that the Hessians
at θ and T θ are congruent: their signature is one. `representative_weights` is a rational point of that orbit.
Weights of the same M off the orbit, such as with a value in a head without keys, can have another signature.

New coordinates x = P z change keys and queries linearly too, k → Pᵀ k, and (Λ, Ω) to (P⁻¹ Λ P⁻ᵀ, Pᵀ Ω P). Some P
makes Λ = 1 and Ω diagonal, so that a signature there, in symbols, is that of every Λ and Ω.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import sympy as sp
from sympy.polys.matrices import DomainMatrix
from sympy.polys.orderings import lex
from sympy.polys.rings import PolyRing

from ....models.attention import Separate
from ..algebra.polynomials import Element
from ..algebra.sign_analysis import is_positive
from ..loss.population_losses import PopulationLoss, weight_symbols
from ..task import Expr


class Inertia(NamedTuple):
    """How many eigenvalues of a symmetric matrix are below zero, zero, and above."""

    negative: int
    zero: int
    positive: int


def hessian_index(loss: PopulationLoss, point: Mapping[Expr, Expr]) -> int:
    """How many eigenvalues of the Hessian of a loss are negative at an equilibrium: a proof, without numerics.

    `point` gives weights their values, rational numbers or rational functions of positive symbols; the others are
    zero. ValueError for what is no weight of the loss, where the gradient does not vanish, and where a sign depends
    on the values of symbols: build an order into the task, such as Λ = diag(a + b, b).

    >>> from attndyn import Merged
    >>> from attndyn.theory.symbolic import population_loss, symbolic_task
    >>> hessian_index(population_loss(symbolic_task(2), Merged(heads=3), "restricted"), {})
    3
    """
    return inertia(hessian(loss, point)).negative


def hessian(loss: PopulationLoss, point: Mapping[Expr, Expr]) -> Expr:
    """∂²L/∂θ∂θ' at an equilibrium, a SymPy matrix in the order of `loss.weights`.

    `point` and errors as for `hessian_index`, signs excepted.
    """
    values = _values(loss, point)
    # Higher orders in weights at zero do not enter second derivatives there.
    expansion = _near(loss, values)
    field = expansion.ring.domain
    gens = expansion.ring.gens
    numbers = [field.from_sympy(value) for value in values]
    slopes = [expansion.diff(gen) for gen in gens]
    for weight, slope in zip(loss.weights, slopes, strict=True):
        if _evaluated(slope, numbers):
            raise ValueError(
                f"the weights are no equilibrium: the gradient of {weight} does not vanish"
            )
    return sp.Matrix(
        len(gens),
        len(gens),
        lambda i, j: field.to_sympy(_evaluated(slopes[i].diff(gens[j]), numbers)),
    )


def inertia(matrix: Expr) -> Inertia:
    """The signs of the eigenvalues of a symmetric SymPy matrix of rational numbers or functions, exactly.

    All eigenvalues are real, so the rule of Descartes is exact: as many are positive as the coefficients of the
    characteristic polynomial change sign. Blocks that are not coupled are taken separately. ValueError for a matrix
    that is not symmetric, for irrational entries and where a sign depends on the values of symbols.

    >>> inertia(sp.Matrix([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    Inertia(negative=1, zero=1, positive=1)
    """
    # Over a field of rational functions arithmetic is exact, and zero is zero.
    entries = DomainMatrix.from_Matrix(matrix).convert_to(_field(matrix))
    if entries != entries.transpose():
        raise ValueError("only symmetric matrices have a signature: pass (H + H.T) / 2")
    # Strongly connected components: blocks that no entry couples.
    blocks = [entries.extract(indices, indices) for indices in entries.scc()]
    parts = [_block_inertia(block) for block in blocks]
    return Inertia(*map(sum, zip(*parts, strict=True)))


def representative_weights(
    model: Separate, maps: Sequence[Sequence[Expr]]
) -> dict[Expr, Expr]:
    """Weights with v = 1 of the heads that hold these maps, for `hessian_index`: M_d = k qᵀ for each pair in turn.

    `maps[h]` are the SymPy matrices (D, D) of rank one in head h, such as m_d e_d e_dᵀ; pairs and heads beyond are
    zero. ValueError for more than fit, and for other ranks.

    >>> from attndyn.theory.symbolic import fixed_points, population_loss, symbolic_task
    >>> task, model = symbolic_task(2), Separate(heads=2)
    >>> learned = {point.subset: point.M for point in fixed_points(task, model)}
    >>> point = representative_weights(model, [[learned[1,]], [learned[2,]]])
    >>> hessian_index(population_loss(task, model, "restricted"), point)
    0
    """
    # A head with R pairs holds a map of rank R at most.
    if len(maps) > model.head_count or any(
        len(of_head) > model.rank for of_head in maps
    ):
        raise ValueError(
            f"{model} holds at most {model.rank} maps in each of {model.head_count} heads"
        )
    point: dict[Expr, Expr] = {}
    for h, of_head in enumerate(maps):
        for r, M in enumerate(of_head):
            weights = weight_symbols(model, M.rows)
            key, query = _factors(M)  # (D, 1), (1, D)
            point[weights["value"][h, -1]] = sp.Integer(1)
            # Keys have D + 1 entries, of which that of the label stays zero.
            point |= dict(zip(weights["key"][h, r], key, strict=False))
            point |= dict(zip(weights["query"][h, r], query, strict=False))
    return point


def _factors(rank_one: Expr) -> tuple[Expr, Expr]:
    """k and q with k qᵀ the matrix."""
    for index, entry in enumerate(rank_one):
        if entry == 0:
            continue
        i, j = divmod(index, rank_one.cols)
        key = rank_one[:, j]
        query = rank_one[i, :] / entry
        if (key * query - rank_one).applyfunc(sp.cancel).is_zero_matrix:
            return key, query
        break
    raise ValueError(f"a pair of key and query holds a map of rank one, not {rank_one}")


def _field(expressions: Iterable[Expr]) -> Element:
    """The rational functions of the symbols in some expressions, or the rational numbers."""
    symbols: set[Expr] = set()
    for expression in expressions:
        if not _is_rational_function(expression):
            raise ValueError(
                f"only rational numbers and rational functions have exact signs here, not {expression}: leave a root "
                "out of the score divisor, which changes no sign"
            )
        symbols |= expression.free_symbols
    if symbols:
        return sp.QQ.frac_field(*sorted(symbols, key=str))
    return sp.QQ


def _is_rational_function(expression: Expr) -> bool:
    """Whether an expression has whole powers and rational numbers only."""
    numbers = expression.atoms(sp.Number, sp.NumberSymbol, sp.I)
    if not all(number.is_Rational for number in numbers):
        return False
    if not all(power.exp.is_Integer for power in expression.atoms(sp.Pow)):
        return False
    return bool(expression.is_rational_function())


def _values(loss: PopulationLoss, point: Mapping[Expr, Expr]) -> list[Expr]:
    """The values of the loss's weights, zero where the point has none."""
    strangers = [
        str(symbol)
        for symbol, value in point.items()
        if symbol not in loss.weights and value != 0
    ]
    if strangers:
        raise ValueError(
            f"the loss has no weight {', '.join(strangers)}: it has {', '.join(map(str, loss.weights))}"
        )
    return [sp.sympify(point.get(weight, 0), strict=True) for weight in loss.weights]


def _near(loss: PopulationLoss, values: list[Expr]) -> Element:
    """The loss up to second order in the weights that are zero, over the field of its parameters and the values."""
    to_sympy = loss.polynomial.ring.domain.to_sympy
    at_zero = [i for i, value in enumerate(values) if value == 0]
    terms = {
        powers: to_sympy(coefficient)
        for powers, coefficient in loss.polynomial.terms()
        if sum(powers[i] for i in at_zero) <= 2
    }
    field = _field([*terms.values(), *values])
    ring = PolyRing(loss.weights, field, lex)
    return ring.from_dict(
        {powers: field.from_sympy(part) for powers, part in terms.items()}
    )


def _evaluated(polynomial: Element, numbers: list[Element]) -> Element:
    """The polynomial at numbers of its field."""
    total = polynomial.ring.domain.zero
    for powers, coefficient in polynomial.terms():
        term = coefficient
        for number, power in zip(numbers, powers, strict=True):
            if power:
                term *= number**power
        total += term
    return total


def _block_inertia(block: Element) -> Inertia:
    """The inertia of a block by Descartes' rule on its characteristic polynomial p(x), and p(−x)."""
    signs = [_sign(coefficient, block.domain) for coefficient in block.charpoly()]
    mirrored = [-sign if index % 2 else sign for index, sign in enumerate(signs)]
    # Eigenvalue 0 is as often there as low coefficients vanish.
    zero = next(index for index, sign in enumerate(reversed(signs)) if sign)
    return Inertia(_changes(mirrored), zero, _changes(signs))


def _changes(signs: list[int]) -> int:
    """How often a sequence of signs changes, zeros left out."""
    nonzero = [sign for sign in signs if sign]
    return sum(sign != after for sign, after in pairwise(nonzero))


def _sign(value: Element, domain: Element) -> int:
    """The sign of a number, or of a rational function of positive symbols, in normal form."""
    if not value:
        return 0
    if domain.is_QQ:
        if value > 0:
            return 1
        return -1
    if all(symbol.is_positive for symbol in domain.symbols):
        sign = _common_sign(value.numer) * _common_sign(value.denom)
        if sign:
            return sign
    expression = sp.factor(value.as_expr())
    if is_positive(expression):
        return 1
    if is_positive(-expression):
        return -1
    raise ValueError(
        f"the sign of {expression} depends on its symbols: build in an order, such as Λ = diag(a + b, b)"
    )


def _common_sign(polynomial: Element) -> int:
    """The sign that all coefficients share, or 0."""
    coefficients = polynomial.coeffs()
    if all(coefficient > 0 for coefficient in coefficients):
        return 1
    if all(coefficient <= 0 for coefficient in coefficients):
        return -1
    return 0
