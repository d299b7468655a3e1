"""Are these all the fixed points? The maps of all equilibria of separate attention, counted by a Gröbner basis.

At an equilibrium Σ (dk_hr/dt) k_hrᵀ and Σ (dq_hr/dt) q_hrᵀ vanish. With G = B − A M Λ these sums are G Mᵀ and Gᵀ M,
so its map M solves G Mᵀ = 0 and Gᵀ M = 0. Conversely D pairs of key and query have an equilibrium for any such M, and
fewer pairs for those of low enough rank.

New coordinates x = P z make (P⁻¹ Λ P⁻ᵀ, Pᵀ Ω P) of (Λ, Ω), and Pᵀ M P of a map: solutions stay solutions, with
their multiplicity. Some P makes Λ = 1 and Ω diagonal, so that a proof there, in symbols, is one for every Λ and Ω.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import sympy as sp
from sympy.polys.matrices import DomainMatrix
from sympy.polys.orderings import grevlex, lex

from ....models.attention import Separate
from ....runtime.display import Summary
from ..algebra.groebner import groebner_basis, solution_count
from ..algebra.polynomials import Element
from ..algebra.sign_analysis import is_positive
from ..formulas.latex_printer import latex
from ..formulas.typeset_results import TypesetResult, short_text
from ..loss.effective_maps import effective_map
from ..task import Expr, SymbolicTask, symbols_in
from .fixed_point_formulas import fixed_points_of_one_output


@dataclass(frozen=True, eq=False, repr=False)
class Completeness(TypesetResult):
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

    def summary(self) -> Summary:
        """The counts, and where they do not hold."""
        count = "infinitely many" if self.count is None else self.count
        rows = {
            "complex solutions": count,
            "listed": self.listed,
            "complete": "yes" if self.complete else "no",
            "Gröbner basis": f"{len(self.basis)} polynomials",
        }
        if self.unless:
            rows["unless zero"] = ", ".join(map(short_text, self.unless))
        return Summary(f"Fixed points in D = {self.dimension}, all of them", rows)

    def formulas(self) -> dict[str, str]:
        """The factors that must not vanish."""
        if not self.unless:
            return {}
        return {"unless zero": r",\ ".join(map(latex, self.unless))}

    def to_dict(self) -> dict[str, object]:
        """The fields and `complete`, expressions as text."""
        return {
            "dimension": self.dimension,
            "count": self.count,
            "listed": self.listed,
            "complete": self.complete,
            "basis": [str(polynomial) for polynomial in self.basis],
            "unless": [str(factor) for factor in self.unless],
        }


def completeness(task: SymbolicTask, divisor: str = "context") -> Completeness:
    """The number of maps of equilibria of separate attention, and how many of the enumeration are among them.

    Over the rational functions of N and the symbols, or for a task in numbers over the rationals. The enumeration
    is `fixed_points`, and where Λ or Ω is not diagonal M_S = A⁻¹ B Λ⁻¹ Σ_S Π_d with the projectors Π_d onto the
    eigenvectors of Bᵀ A⁻¹ B Λ⁻¹. Equal gains make a continuum: the count is None. ValueError where Λ or Ω is not
    diagonal and holds symbols, where one is singular, and for a fixed teacher.

    >>> from attndyn.theory.symbolic import symbolic_task
    >>> proof = completeness(symbolic_task(2))
    >>> proof.complete, proof.count, proof.unless
    (True, 4, (lambda_1 - lambda_2,))
    """
    if task.outputs > 1:
        raise ValueError(
            f"completeness is proved for one output, not for {task.outputs}"
        )
    if task.in_context_fraction != 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    system = _system(task, divisor)
    # Without symbols and off the eigenbasis, the eigenvalues may be irrational.
    is_diagonal = (
        task.covariance.is_diagonal() and task.teacher_covariance.is_diagonal()
    )
    if system.domain.is_QQ and not is_diagonal:
        listed = _listed_by_projectors(system)
    else:
        listed = _listed(system, task, divisor)
    basis, divisors = groebner_basis(_generators(system))
    divided_by = map(system.domain.to_sympy, [*divisors, *system.divisors])
    return Completeness(
        task.dimension,
        count=solution_count(basis),
        listed=listed,
        basis=tuple(polynomial.as_expr() for polynomial in basis),
        unless=_sign_changing_factors(divided_by),
    )


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
        A = _over(M.domain, self.A)
        Λ = _over(M.domain, self.Lambda)
        AB = _over(M.domain, self.AB)
        LB = _over(M.domain, self.LB)
        Mt = M.transpose()
        of_keys = AB * Mt - M * Λ * Mt
        of_queries = LB * M - Mt * A * M
        return of_keys, of_queries


def _system(task: SymbolicTask, divisor: str) -> _System:
    form = effective_map(task, Separate(1, divisor=divisor))
    matrices = (form.A, form.B, form.Lambda)
    used = symbols_in(matrices)
    symbols = sorted(used, key=str)
    field = sp.QQ.frac_field(*symbols) if symbols else sp.QQ
    A, B, Λ = (
        DomainMatrix.from_Matrix(matrix).convert_to(field) for matrix in matrices
    )
    # A matrix over the field is invertible where its determinant does not vanish.
    divisors = (A.det(), B.det(), Λ.det())
    if not all(divisors):
        raise ValueError(
            "Λ and Ω must be invertible: leave out the directions without variance or teacher"
        )
    return _System(A, Λ, A.inv() * B, Λ.inv() * B.transpose(), divisors)


def _generators(system: _System) -> list[Element]:
    """The entries of both residuals R and of R − Rᵀ, which are linear: they shorten the basis."""
    D = system.A.shape[0]
    symbols = [
        sp.Symbol(f"m_{i + 1}_{j + 1}", real=True) for i in range(D) for j in range(D)
    ]
    domain = system.domain.poly_ring(*symbols, order=grevlex)
    rows = [list(domain.gens[D * i : D * (i + 1)]) for i in range(D)]
    M = DomainMatrix(rows, (D, D), domain)
    generators: list[Element] = []
    for residual in system.residuals(M):
        generators += _entries(residual - residual.transpose())
        generators += _entries(residual)
    return generators


def _entries(matrix: Element) -> list[Element]:
    return [entry for row in matrix.to_list() for entry in row]


def _listed(system: _System, task: SymbolicTask, divisor: str) -> int:
    """How many points of `fixed_points` are solutions."""
    # A set, since equal gains would list a map twice.
    solutions = set()
    for point in fixed_points_of_one_output(
        task, Separate(task.dimension, divisor=divisor)
    ):
        M = DomainMatrix.from_Matrix(point.M).convert_to(system.domain)
        if _vanish(system.residuals(M)):
            solutions.add(M.to_Matrix().as_immutable())
    return len(solutions)


# Long because this is one proof, whose relations between the roots g and h are read together.
def _listed_by_projectors(system: _System) -> int:
    """How many of the M_S are solutions, 2^D or 0, without the irrational eigenvalues themselves.

    With M_d as polynomials in an eigenvalue, M_d at every root g and M_d + M_e at every two roots g, h are seen to
    solve. The residuals are quadratic and vanish at M = 0, so all sums of M_d do. The roots are real by Sturm.
    """
    D = int(system.A.shape[0])
    minimum = system.AB * system.Lambda.inv()  # M* = A⁻¹ B Λ⁻¹
    K = system.Lambda * system.LB * minimum  # Bᵀ A⁻¹ B Λ⁻¹, whose eigenvalues are gains
    χ = sp.Poly(K.charpoly(), sp.Dummy())
    if χ.count_roots() < D:
        return 0

    _, g, h = sp.ring("g h", sp.QQ, lex)
    M_g = _learned_map(minimum, K, χ, g)
    M_h = _learned_map(minimum, K, χ, h)
    χ_g = _horner(χ.all_coeffs(), g)
    χ_h = _horner(χ.all_coeffs(), h)

    # One root: χ(g) = 0. Two different ones: also (χ(g) − χ(h)) / (g − h) = 0.
    difference_quotient = (χ_g - χ_h).exquo(g - h)
    maps_solve = _vanish(system.residuals(M_g), [χ_g])
    pairs = system.residuals(M_g + M_h)
    if maps_solve and _vanish(pairs, [difference_quotient, χ_h]):
        return int(2**D)
    return 0


def _learned_map(minimum: Element, K: Element, χ: Expr, x: Element) -> Element:
    """M* Π = M* adj(x − K) / χ'(x) for an eigenvalue x of K, a polynomial in x modulo χ."""
    domain = x.ring.to_domain()
    K = _over(domain, K)
    identity = DomainMatrix.eye(K.shape[0], domain)

    # adj(x − K) = Σ_j x^(D−1−j) (K^j + c_1 K^(j−1) + … + c_j), by the Faddeev–LeVerrier recursion.
    power = identity
    adjugate = identity
    for coefficient in χ.all_coeffs()[1:-1]:
        power = K * power + domain.convert(coefficient) * identity
        adjugate = x * adjugate + power
    inverse_slope = _horner(sp.invert(χ.diff(), χ).all_coeffs(), x)
    return _over(domain, minimum) * (inverse_slope * adjugate)


def _horner(coefficients: Iterable[Expr], x: Element) -> Element:
    """A polynomial, by its coefficients from the highest on, at x."""
    total = x.ring.zero
    for coefficient in coefficients:
        total = total * x + x.ring.domain.from_sympy(coefficient)
    return total


def _vanish(matrices: Iterable[Element], modulo: list[Element] | None = None) -> bool:
    """Whether every entry is zero, as a remainder where there are relations."""
    for matrix in matrices:
        for entry in _entries(matrix):
            if entry.rem(modulo) if modulo else entry:
                return False
    return True


def _over(domain: Element, matrix: Element) -> Element:
    """A matrix over the field of its coefficients as one over a ring of polynomials."""
    if matrix.domain == domain:
        return matrix
    return matrix.applyfunc(domain.ring.ground_new, domain)


def _sign_changing_factors(divisors: Iterable[Expr]) -> tuple[Expr, ...]:
    """The irreducible factors, above and below, that are not known to keep a sign."""
    factors: set[Expr] = set()
    for divisor in divisors:
        # A divisor may have a pole as well as a zero.
        for part in sp.fraction(divisor):
            factors.update(factor for factor, _ in sp.factor_list(part)[1])
    changing = [
        factor
        for factor in factors
        if not is_positive(factor) and not is_positive(-factor)
    ]
    return tuple(sorted(changing, key=str))
