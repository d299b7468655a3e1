"""Fixed points of one layer with several outputs in symbols: by subset on a shared basis, all or nothing on Γ ⊗ Ω.

On a shared basis the loss of diagonal p and q is derived from the definition. It has the form

    L = L(0) − 2ℓ Σ ωλ² pq + g Σ ωλ³ p²q² + k (Σ r² p²)(Σ λ² q²),    r² = ωλ + σ²

with numbers ℓ, g and k that are read off its coefficients. At a given a = pq the last product is least for r²p² ∝ λ²q²,
and stationary there alone. So what is learned of a subset A solves linear equations with one coupling Z = Σ_A λ r a:

    a = (ℓ − k r Z/(ωλ))/(gλ) on A,    Z = ℓ Σ_A r/(g + k Σ_A r²/(ωλ))

The source of the model is Mainali and Teixeira 2025 (arXiv 2504.12916); the fixed points are derived here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import sympy as sp

from ....models.attention import Merged
from ....models.protocol import Parametrization, refuse_other_outputs
from ....runtime.display import Summary
from ..formulas.typeset_results import MAX_FORMULAS, short_text
from ..loss.population_losses import (
    CONVENTION,
    PopulationLoss,
    output_loss,
    token_products,
)
from ..task import Expr, SymbolicTask
from .fixed_point_formulas import Direction, SymbolicFixedPoint, SymbolicFixedPoints

_KNOWN = (
    "fixed points in symbols are known for several outputs whose teachers share the eigenvectors of the inputs, as "
    "symbolic_task(D, shared_basis=True) has them, or have the covariance Γ ⊗ Ω of commuting Λ and Ω"
)


COUPLING = sp.Symbol("Z", positive=True)
"""Z of a subset, where directions are written for all of them."""


@dataclass(frozen=True, eq=False, repr=False)
class ModeFixedPoint(SymbolicFixedPoint):
    """A fixed point of one layer on a shared basis: a_d = p_d q_d of the modes that are learned.

    It exists where all `conditions` hold, inequalities, of which there are none where it always does. `coupling` is Z.

    `coefficients`, `gains` and `loss` are those of `SymbolicFixedPoint`, but here both belong to this subset alone.
    """

    coupling: Expr
    conditions: tuple[Expr, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The fields of `SymbolicFixedPoint`, the coupling Z and the conditions as text."""
        conditions = [str(condition) for condition in self.conditions]
        further = {"coupling": str(self.coupling), "conditions": conditions}
        return super().to_dict() | further

    def _values(self) -> dict[str, Expr]:
        values = super()._values()
        for number, condition in enumerate(self.conditions, start=1):
            values[f"exists if ({number})"] = condition
        return values


class ModeCoefficients(NamedTuple):
    """λ, ω and r (D,) of the modes, and ℓ, g, k of their loss, with `untrained_loss` L(0)."""

    inputs: tuple[Expr, ...]
    teachers: tuple[Expr, ...]
    roots: tuple[Expr, ...]
    linear: Expr
    pairs: Expr
    single: Expr
    untrained_loss: Expr

    def at(self, subset: tuple[int, ...]) -> ModeFixedPoint:
        """What is learned where exactly these modes are, numbered from 1."""
        modes = [d - 1 for d in subset]
        Z = self._coupling(modes)
        directions = [Direction(sp.Integer(0), sp.Integer(0)) for _ in self.inputs]
        for mode in modes:
            directions[mode] = self.direction(mode, Z)
        return ModeFixedPoint(
            subset,
            tuple(directions),
            self.untrained_loss,
            coupling=Z,
            conditions=self._conditions(modes),
        )

    # Long because the formula has four terms.
    def loss(self, p: Sequence[Expr], q: Sequence[Expr]) -> Expr:
        """L of diagonal p and q, as this module states it."""
        ωλ = [self._signal(mode) for mode in range(len(self.inputs))]
        terms = [self.untrained_loss]
        for mode, λ in enumerate(self.inputs):
            a = p[mode] * q[mode]
            terms.append(-2 * self.linear * ωλ[mode] * λ * a)
            terms.append(self.pairs * ωλ[mode] * λ**2 * a**2)
        T_p = sp.Add(*(r**2 * x**2 for r, x in zip(self.roots, p, strict=True)))
        T_q = sp.Add(*(λ**2 * x**2 for λ, x in zip(self.inputs, q, strict=True)))
        return sp.Add(*terms, self.single * T_p * T_q)

    def _signal(self, mode: int) -> Expr:
        return self.teachers[mode] * self.inputs[mode]

    def _pressure(self, modes: Sequence[int]) -> Expr:
        """g/k + Σ_A r²/(ωλ), N + 1 + |A| without noise."""
        ratio = sp.cancel(self.pairs / self.single)
        shares = [
            sp.cancel(self.roots[mode] ** 2 / self._signal(mode)) for mode in modes
        ]
        return sp.Add(ratio, *shares)

    def _coupling(self, modes: Sequence[int]) -> Expr:
        """Z = ℓ Σ_A r/(g + k Σ_A r²/(ωλ))."""
        total = sp.Add(*(self.roots[mode] for mode in modes))
        factor = sp.cancel(self.linear / self.single)
        return factor * total / self._pressure(modes)

    def direction(self, mode: int, Z: Expr) -> Direction:
        """a = (ℓ/(gλ)) [1 − k r Z/(ℓωλ)] and ℓωλ² a, by which it lowers the loss."""
        λ, ω, r = self.inputs[mode], self.teachers[mode], self.roots[mode]
        bracket = 1 - sp.cancel(self.single / self.linear) * Z * r / (ω * λ)
        coefficient = sp.cancel(self.linear / self.pairs) * bracket / λ
        return Direction(coefficient, self.linear * ω * λ**2 * coefficient)

    def _conditions(self, modes: Sequence[int]) -> tuple[Expr, ...]:
        """ωλ/r · (g/k + Σ_A r²/(ωλ)) > Σ_A r for each learned mode: its bracket is positive."""
        # One mode alone always is: g + k r²/(ωλ) > k r²/(ωλ).
        if len(modes) < 2:
            return ()
        total = sp.Add(*(self.roots[mode] for mode in modes))
        pressure = self._pressure(modes)
        return tuple(
            sp.StrictGreaterThan(
                self._signal(mode) / self.roots[mode] * pressure, total
            )
            for mode in modes
        )


class ModeFixedPoints(SymbolicFixedPoints):
    """A candidate for each of the 2^D subsets, most modes first; which exist, their `conditions` say.

    `modes` has ℓ, g, k and L(0), by which each is made when it is asked for. `directions` are functions of the coupling
    Z of a subset, the symbol `COUPLING`.
    """

    def __init__(self, modes: ModeCoefficients) -> None:
        D = len(modes.inputs)
        self.modes = modes
        directions = tuple(modes.direction(mode, COUPLING) for mode in range(D))
        super().__init__(directions, modes.untrained_loss, range(D, -1, -1))

    def _point(self, subset: tuple[int, ...]) -> SymbolicFixedPoint:
        return self.modes.at(subset)

    def summary(self) -> Summary:
        """The loss and the directions as functions of Z, then Z of the first candidates, and the convention of L."""
        rows = {label: short_text(value) for label, value in self._values().items()}
        for subset in islice(self._subsets(), MAX_FORMULAS):
            point = self.modes.at(subset)
            rows[f"S = {point.name}"] = f"Z = {short_text(point.coupling)}"
        rows["convention"] = CONVENTION
        return Summary(f"{len(self)} candidates of fixed points", rows)


def fixed_points_of_outputs(
    task: SymbolicTask, model: Parametrization
) -> SymbolicFixedPoints:
    """The fixed points of one merged head with K outputs, on a shared basis or on Kronecker teachers.

    ValueError for other models and teachers, in one sentence.
    """
    layer = _one_head(task, model)
    teachers = task.shared_basis_variances
    if teachers is not None:
        return ModeFixedPoints(_mode_coefficients(task, layer, teachers))
    return _all_or_nothing(task, layer)


def _one_head(task: SymbolicTask, model: Parametrization) -> Merged:
    """The model; ValueError unless it is one merged head with the outputs of the task."""
    if not isinstance(model, Merged) or model.head_count != 1:
        raise ValueError(
            f"fixed points of several outputs are known for one merged head, Merged(heads=1, outputs={task.outputs}), "
            f"not for {model}"
        )
    refuse_other_outputs(task.outputs, model)
    return model


def _require_variances(variances: Sequence[Expr]) -> None:
    if not all(sp.sympify(variance).is_positive for variance in variances):
        raise ValueError(
            "fixed points in symbols need positive variances of x and of the teachers: leave out the directions that "
            "do not vary, and declare symbols positive"
        )


# A shared basis


# Long because each number is read off one coefficient, which stands beside it.
def _mode_coefficients(
    task: SymbolicTask, model: Merged, teachers: tuple[Expr, ...]
) -> ModeCoefficients:
    """ℓ, g and k of the loss of diagonal p and q, from the definition; ValueError where a direction has no variance."""
    λ, ω = tuple(task.covariance.diagonal()), teachers
    _require_variances([*λ, *ω])
    # Factored, so that the root of a square is a polynomial.
    squares = [
        sp.factor(ω_d * λ_d + task.noise_variance)
        for λ_d, ω_d in zip(λ, ω, strict=True)
    ]
    loss = diagonal_loss(task, model)
    p, q = amplitudes(task.dimension)
    linear = loss.coefficient(p[0] * q[0]) / (-2 * ω[0] * λ[0] ** 2)
    single = loss.coefficient(p[0] ** 2 * q[1] ** 2) / (squares[0] * λ[1] ** 2)
    of_first = loss.coefficient(p[0] ** 2 * q[0] ** 2) / λ[0] ** 2
    pairs = (of_first - single * squares[0]) / (ω[0] * λ[0])
    modes = ModeCoefficients(
        inputs=λ,
        teachers=ω,
        roots=tuple(map(sp.sqrt, squares)),
        linear=sp.cancel(linear),
        pairs=sp.cancel(pairs),
        single=sp.cancel(single),
        untrained_loss=loss.coefficient(sp.Integer(1)),
    )
    # Three coefficients were read off: all others must follow from them.
    ring = loss.polynomial.ring
    if ring.from_expr(sp.expand(modes.loss(p, q))) != loss.polynomial:
        raise ValueError(f"the loss of diagonal p and q is not that of modes: {loss}")
    return modes


def diagonal_loss(task: SymbolicTask, model: Merged) -> PopulationLoss:
    """The loss of p = diag(p_d) and q = diag(q_d) from the definition, ŷ_d = p_d Σ_a β_da q_a x_qa.

    >>> from attndyn import Merged
    >>> from attndyn.theory.symbolic import symbolic_task
    >>> from attndyn.theory.symbolic.dynamics.mode_fixed_points import amplitudes, diagonal_loss
    >>> loss = diagonal_loss(symbolic_task(2, shared_basis=True), Merged(heads=1, outputs=2))
    >>> p, q = amplitudes(2)
    >>> loss.coefficient(p[0] ** 2 * q[1] ** 2)
    lambda_1*lambda_2**2/N
    """
    D = task.dimension
    p, q = amplitudes(D)
    β = token_products(model, D)[D:, :D]  # labels by inputs
    x = task.prompt.query
    outputs = [
        p[d] * sp.Add(*(β[d, a] * q[a] * x[a] for a in range(D))) for d in range(D)
    ]
    alone = [sp.Integer(0)] * D  # without context β is 0
    return output_loss(task, outputs, [*p, *q], without_context=alone)


def amplitudes(dimension: int) -> tuple[list[Expr], list[Expr]]:
    """The symbols p_d and q_d of diagonal weights.

    >>> amplitudes(2)
    ([p_1, p_2], [q_1, q_2])
    """
    numbers = range(1, dimension + 1)
    p = [sp.Symbol(f"p_{d}", real=True) for d in numbers]
    q = [sp.Symbol(f"q_{d}", real=True) for d in numbers]
    return p, q


# Kronecker teachers


# Long because what is refused is said before the loss is derived.
def _all_or_nothing(task: SymbolicTask, model: Merged) -> SymbolicFixedPoints:
    """p ∝ 1 and every direction, or nothing: without noise, or where Γ ∝ 1, as for one output."""
    Γ, Ω = _factors(task)
    if task.noise_variance != 0 and Γ[0, 0] * sp.eye(task.outputs) != Γ:
        raise ValueError(
            "with noise and outputs of different variances the best p is a Wiener filter, whose scale no formula "
            "gives: theory.linear_transformer.kronecker_minimum has it in numbers"
        )
    _require_variances([*task.covariance.diagonal(), *Ω.diagonal(), *Γ.diagonal()])
    m = [sp.Symbol(f"m_{d}", real=True) for d in range(1, task.dimension + 1)]
    loss = _loss_of_map(task, model, m)
    directions = []
    for m_d in m:
        # L = L(0) − 2 b m + A m² along each direction, without products of two.
        b = -loss.coefficient(m_d) / 2
        A = loss.coefficient(m_d**2)
        directions.append(Direction(sp.factor(b / A), sp.factor(b**2 / A)))
    untrained_loss = loss.coefficient(sp.Integer(1))
    return SymbolicFixedPoints(tuple(directions), untrained_loss, [task.dimension, 0])


def _loss_of_map(
    task: SymbolicTask, model: Merged, m: Sequence[Expr]
) -> PopulationLoss:
    """The loss of p ∝ 1 from the definition, ŷ_k = Σ_a m_a β_ka x_qa with m_a = p̄ q_a."""
    D, K = task.dimension, task.outputs
    β = token_products(model, D)[D:, :D]  # labels by inputs
    x = task.prompt.query
    outputs = [sp.Add(*(β[k, a] * m[a] * x[a] for a in range(D))) for k in range(K)]
    alone = [sp.Integer(0)] * K  # without context β is 0
    return output_loss(task, outputs, m, without_context=alone)


def _factors(task: SymbolicTask) -> tuple[Expr, Expr]:
    """Γ (K, K) and Ω (D, D) with covariance Γ ⊗ Ω, Λ and Ω diagonal; ValueError where there are none."""
    D = task.dimension
    T = task.teacher_covariance
    # In units in which the first direction has the variance 1.
    unit = T[0, 0]
    if unit != 0:
        Ω = (T[:D, :D] / unit).applyfunc(sp.cancel)
        Γ = T[::D, ::D]
        rest = (T - sp.kronecker_product(Γ, Ω)).applyfunc(sp.cancel)
        diagonal = all(each.is_diagonal() for each in (Γ, Ω, task.covariance))
        if rest.is_zero_matrix and diagonal:
            return Γ, Ω
    raise ValueError(
        f"{_KNOWN}, each of them diagonal: these have another covariance of W or of x"
    )
