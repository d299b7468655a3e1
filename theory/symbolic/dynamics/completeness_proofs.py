"""Are these all the fixed points? The maps at which separate attention can rest, counted by a Gröbner basis.

Where keys and queries rest, Σ (dk_hr/dt) k_hrᵀ and Σ (dq_hr/dt) q_hrᵀ vanish. With G = B − A M Λ these sums are
G Mᵀ and Gᵀ M, so the map M of weights at rest solves G Mᵀ = 0 and Gᵀ M = 0. Conversely D pairs of key and query can
hold any such M at rest, and fewer pairs those of low enough rank.

New coordinates x = P z make (P⁻¹ Λ P⁻ᵀ, Pᵀ Ω P) of (Λ, Ω), and Pᵀ M P of a map: solutions stay solutions, with
their multiplicity. Some P makes Λ = 1 and Ω diagonal, so that a proof there, in symbols, is one for every Λ and Ω.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sympy as sp
from sympy.polys.matrices import DomainMatrix
from sympy.polys.orderings import grevlex, lex

from ....models.attention import Separate
from ..algebra.groebner import groebner_basis, solution_count
from ..algebra.sign_analysis import is_positive
from ..loss.effective_maps import effective_map
from ..loss.expectations import Element
from ..task import Expr, SymbolicTask
from .fixed_point_formulas import fixed_points


@dataclass(frozen=True, eq=False)
class Completeness:
    """All maps M (D, D) that solve G Mᵀ = 0 and Gᵀ M = 0, counted, against those of the enumeration.

    `count`: complex solutions, each by its multiplicity; None for infinitely many. `listed`: how many maps of the
    enumeration, distinct and real, are solutions. `basis`: the reduced Gröbner basis in the entries m_i_j of M.
    Count and basis hold for all parameters for which no factor in `unless` vanishes: all else that was divided by
    is positive.
    """

    dimension: int
    count: int | None
    listed: int
    basis: tuple[Expr, ...]
    unless: tuple[Expr, ...]

    @property
    def complete(self) -> bool:
        """Whether the enumeration gives 2^D solutions and there are no others: then all are real and simple."""
        return bool(self.count == self.listed == 2**self.dimension)


def completeness(task: SymbolicTask, divisor: str = "context") -> Completeness:
    """Counts the maps at which separate attention can rest, and finds those of the enumeration among them.

    Over the rational functions of N and the symbols, or for a task in numbers over the rationals. The enumeration
    is `fixed_points`, and where Λ or Ω is not diagonal M_S = A⁻¹ B Λ⁻¹ Σ_S Π_d with the projectors Π_d onto the
    eigenvectors of Bᵀ A⁻¹ B Λ⁻¹. Equal gains make a continuum: the count is None. ValueError where Λ or Ω is not
    diagonal and holds symbols, where one is singular, and for a fixed teacher.

    >>> from attndyn.theory.symbolic import symbolic_task
    >>> found = completeness(symbolic_task(2))
    >>> found.complete, found.count, found.unless
    (True, 4, (lambda_1 - lambda_2,))
    """
    if task.in_context_fraction != 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    system = _system(task, divisor)
    if system.domain.is_QQ and not (
        task.covariance.is_diagonal() and task.teacher_covariance.is_diagonal()
    ):
        listed = _listed_by_projectors(system)
    else:
        listed = _listed(system, task, divisor)
    basis, divisors = groebner_basis(_generators(system))
    written = tuple(polynomial.as_expr() for polynomial in basis)
    unless = _factors(map(system.domain.to_sympy, [*divisors, *system.divisors]))
    return Completeness(task.dimension, solution_count(basis), listed, written, unless)


@dataclass(frozen=True, eq=False)
class _System:
    """A, Λ and the products A⁻¹B, Λ⁻¹Bᵀ as matrices over one field, and what their inverses divide by."""

    A: Element
    Lambda: Element
    AB: Element
    LB: Element
    divisors: tuple[Element, ...]

    @property
    def domain(self) -> Element:
        return self.A.domain

    def residuals(self, M: Element) -> tuple[Element, Element]:
        """A⁻¹ G Mᵀ and Λ⁻¹ Gᵀ M, which vanish where G Mᵀ and Gᵀ M do; their quadratic parts are symmetric."""
        A, Λ, AB, LB = (
            _over(M.domain, each) for each in (self.A, self.Lambda, self.AB, self.LB)
        )
        Mt = M.transpose()
        return AB * Mt - M * Λ * Mt, LB * M - Mt * A * M


def _system(task: SymbolicTask, divisor: str) -> _System:
    form = effective_map(task, Separate(1, divisor=divisor))
    symbols = sorted(
        set().union(*(each.free_symbols for each in (form.A, form.B, form.Lambda))),
        key=str,
    )
    field = sp.QQ.frac_field(*symbols) if symbols else sp.QQ
    A, B, Λ = (
        DomainMatrix.from_Matrix(each).convert_to(field)
        for each in (form.A, form.B, form.Lambda)
    )
    divisors = tuple(each.det() for each in (A, B, Λ))
    if not all(divisors):
        raise ValueError(
            "Λ and Ω must be invertible: leave out the directions without variance or teacher"
        )
    return _System(A, Λ, A.inv() * B, Λ.inv() * B.transpose(), divisors)


def _generators(system: _System) -> list[Element]:
    """The entries of both residuals and of their antisymmetric parts, which are linear."""
    D = system.A.shape[0]
    symbols = [
        sp.Symbol(f"m_{i + 1}_{j + 1}", real=True) for i in range(D) for j in range(D)
    ]
    domain = system.domain.poly_ring(*symbols, order=grevlex)
    M = DomainMatrix(
        [list(domain.gens[D * i : D * (i + 1)]) for i in range(D)], (D, D), domain
    )
    parts = [
        part for each in system.residuals(M) for part in (each - each.transpose(), each)
    ]
    return [entry for part in parts for row in part.to_list() for entry in row]


def _listed(system: _System, task: SymbolicTask, divisor: str) -> int:
    """How many points of `fixed_points` are solutions."""
    points = fixed_points(task, Separate(task.dimension, divisor=divisor))
    maps = (
        DomainMatrix.from_Matrix(point.M).convert_to(system.domain) for point in points
    )
    return len(
        {M.to_Matrix().as_immutable() for M in maps if _vanish(system.residuals(M))}
    )


def _listed_by_projectors(system: _System) -> int:
    """How many of the M_S are solutions, 2^D or 0, without the irrational eigenvalues themselves.

    With M_d as polynomials in an eigenvalue, M_d at every root g and M_d + M_e at every two roots g, h are seen to
    solve. The residuals are quadratic and vanish at M = 0, so all sums of M_d do. The roots are real by Sturm.
    """
    D, Λ = system.A.shape[0], system.Lambda
    K = Λ * system.LB * system.AB * Λ.inv()
    χ = sp.Poly(K.charpoly(), sp.Dummy())
    if χ.count_roots() < D:
        return 0
    domain = sp.QQ.poly_ring(*sp.symbols("g h"), order=lex)
    g, h = domain.gens
    one, other = (_learned(system.AB * Λ.inv(), K, χ, x, domain) for x in (g, h))
    at_g, at_h = (_horner(χ.all_coeffs(), x, domain.zero) for x in (g, h))
    both = [domain.exquo(at_g - at_h, g - h), at_h]
    solves = _vanish(system.residuals(one), [at_g]) and _vanish(
        system.residuals(one + other), both
    )
    return 2**D if solves else 0


def _learned(
    minimum: Element, K: Element, χ: Expr, x: Element, domain: Element
) -> Element:
    """M* Π = M* adj(x − K) / χ'(x) for an eigenvalue x of K, a polynomial in x modulo χ."""
    K = _over(domain, K)
    identity = DomainMatrix.eye(K.shape[0], domain)
    adjugate = power = identity
    for coefficient in χ.all_coeffs()[1:-1]:
        power = K * power + domain.convert(coefficient) * identity
        adjugate = x * adjugate + power
    inverse = _horner(sp.invert(χ.diff(), χ).all_coeffs(), x, domain.zero)
    return _over(domain, minimum) * (inverse * adjugate)


def _horner(coefficients: Iterable[Expr], x: Element, zero: Element) -> Element:
    total = zero
    for coefficient in coefficients:
        total = total * x + x.ring.domain.from_sympy(coefficient)
    return total


def _vanish(matrices: Iterable[Element], modulo: list[Element] | None = None) -> bool:
    """Whether every entry is zero, as a remainder where there are relations."""
    entries = (
        entry for matrix in matrices for row in matrix.to_list() for entry in row
    )
    return not any(entry.rem(modulo) if modulo else entry for entry in entries)


def _over(domain: Element, matrix: Element) -> Element:
    """A matrix over the field of its coefficients as one over a ring of polynomials."""
    return (
        matrix
        if matrix.domain == domain
        else matrix.applyfunc(domain.ring.ground_new, domain)
    )


def _factors(divisors: Iterable[Expr]) -> tuple[Expr, ...]:
    """The irreducible factors, above and below, that are not known to keep a sign."""
    found: set[Expr] = set()
    for divisor in divisors:
        for part in sp.fraction(divisor):
            found.update(factor for factor, _ in sp.factor_list(part)[1])
    unknown = (
        factor
        for factor in found
        if not is_positive(factor) and not is_positive(-factor)
    )
    return tuple(sorted(unknown, key=str))
