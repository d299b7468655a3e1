"""What the population loss is a function of: the effective map, and the moments of the features."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import sympy as sp

from ....models.protocol import Parametrization
from ..task import Expr, Prompt, SymbolicTask, require_symbolic_task
from .expectations import expectation
from .population_losses import (
    Block,
    PopulationLoss,
    divisor_of,
    effective_heads,
    output_loss,
    require_block,
    token_products,
)


@dataclass(frozen=True, eq=False)
class EffectiveMap:
    """L = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M) with M (D, D) as SymPy matrices: the model predicts βᵀ M x_q.

    `M` is the model's map in its weights; c = E y_q², B = E[y_q β x_qᵀ], A = E[β βᵀ] and `Lambda` = Λ are
    rational in N. β = Σ_n y_n x_n / divisor.
    """

    M: Expr
    c: Expr
    B: Expr
    A: Expr
    Lambda: Expr

    def loss(self, M: Expr) -> Expr:
        """L(M) for a SymPy matrix M (D, D), not expanded."""
        return (
            self.c
            - 2 * (self.B.T * M).trace()
            + (self.Lambda * M.T * self.A * M).trace()
        )

    def force(self, M: Expr) -> Expr:
        """G = B − A M Λ = −½ ∂L/∂M for a SymPy matrix M (D, D)."""
        return self.B - self.A * M * self.Lambda

    def describes(self, loss: PopulationLoss) -> bool:
        """Whether a loss is L(M) at the model's own M, identically in weights, parameters and N."""
        return bool(
            loss.polynomial == loss.polynomial.ring.from_expr(self.loss(self.M))
        )


@dataclass(frozen=True, eq=False)
class Moments:
    """c = E y_q², b = E[y_q F] (K, 1) and S = E[F Fᵀ] (K, K), which make L(M) = c − 2 bᵀM + Mᵀ S M.

    The features are F = G_ij x_q,d with G = X Xᵀ / divisor, `indices` (i, j, d) from 0 in their order: every i ≤ j
    ("full", index D is y), or j = D alone ("restricted"). M_ijd sums a_i B_jd + a_j B_id over heads, or a_i B_id
    where i = j.
    """

    indices: tuple[tuple[int, int, int], ...]
    c: Expr
    b: Expr
    S: Expr


def effective_map(task: SymbolicTask, model: Parametrization) -> EffectiveMap:
    """The form of a model's loss on the restricted block: its map M, and the moments that M is weighed with.

    `describes` proves that it is that loss. With a fixed teacher it still is, while gradient flow leaves the block.
    ValueError for softmax; TypeError where model and task are exchanged.
    Source: Zhang et al. 2025 (arXiv 2501.16265), for Ω = 1 and no noise.

    >>> from attndyn import Separate
    >>> from attndyn.theory.symbolic import effective_map, population_loss, symbolic_task
    >>> model, task = Separate(heads=1), symbolic_task(1, noise=True)
    >>> form = effective_map(task, model)
    >>> form.M, sp.factor(form.A[0])
    (Matrix([[key_1_1_1*query_1_1_1*value_1_2]]), lambda_1*(N*lambda_1 + 2*lambda_1 + sigma**2)/N)
    >>> form.describes(population_loss(task, model, "restricted"))
    True
    """
    require_symbolic_task(task, model, "effective_map(task, model)")
    dimension = task.dimension
    prompt, products = (
        Prompt(dimension),
        token_products(divisor_of(model, dimension), dimension),
    )
    a, B = effective_heads(model, dimension, "restricted")
    β, query = sp.Matrix(products[-1, :-1]), sp.Matrix(prompt.query)
    M = sp.Matrix(np.einsum("h,hij->ij", a[:, -1], B[:, :-1, :]))
    parts = (prompt.label**2, prompt.label * β * query.T, β * β.T, query * query.T)
    return EffectiveMap(M, *(_expectations(part, task) for part in parts))


def moments(
    task: SymbolicTask, divisor: str = "context", block: Block = "full"
) -> Moments:
    """The moments that determine the loss of every model with this divisor; exact, whatever the teachers.

    >>> from attndyn.theory.symbolic import moments, symbolic_task
    >>> exact = moments(symbolic_task(1), block="restricted")
    >>> exact.c, exact.b[0], exact.S[0]
    (lambda_1, lambda_1**2, lambda_1**3*(N + 2)/N)
    """
    dimension = task.dimension
    require_block(block)
    if block == "full":
        pairs = list(combinations_with_replacement(range(dimension + 1), 2))
    else:
        pairs = [(i, dimension) for i in range(dimension)]
    products = token_products(divisor_of(_Divided(divisor), dimension), dimension)
    indices = tuple((i, j, d) for i, j in pairs for d in range(dimension))
    weights = sp.symbols(f"M:{len(indices)}")
    query = Prompt(dimension).query
    output = sp.Add(
        *(
            m * products[i, j] * query[d]
            for m, (i, j, d) in zip(weights, indices, strict=True)
        )
    )
    return Moments(indices, *_quadratic(output_loss(task, output, weights)))


@dataclass(frozen=True)
class _Divided:
    divisor: str


def _quadratic(loss: PopulationLoss) -> tuple[Expr, Expr, Expr]:
    """c, b and S of a loss that is quadratic in its weights."""
    polynomial, gens = loss.polynomial, loss.polynomial.ring.gens
    to_sympy = polynomial.ring.domain.to_sympy

    def coefficient(*factors: Any) -> Expr:
        return to_sympy(polynomial.coeff(sp.prod(factors, polynomial.ring.one)))

    b = sp.Matrix([-coefficient(m) / 2 for m in gens])
    S = sp.Matrix(
        len(gens),
        len(gens),
        lambda i, j: coefficient(gens[i], gens[j]) / (1 if i == j else 2),
    )
    return coefficient(), b, S


def _expectations(part: Expr, task: SymbolicTask) -> Expr:
    if isinstance(part, sp.MatrixBase):
        return part.applyfunc(lambda entry: expectation(entry, task))
    return expectation(part, task)
