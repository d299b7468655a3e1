"""What the population loss is a function of: the effective map, and the moments of the features."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import sympy as sp

from ....models.protocol import Parametrization
from ....runtime.display import Summary
from ..formulas.typeset_results import (
    TypesetResult,
    nested_text,
    short_text,
    typeset,
)
from ..task import Expr, Prompt, SymbolicTask, require_symbolic_task
from .expectations import expectation
from .population_losses import (
    Block,
    PopulationLoss,
    effective_heads,
    output_loss,
    refuse_several_outputs,
    require_block,
    token_products,
)


@dataclass(frozen=True, eq=False, repr=False)
class EffectiveMap(TypesetResult):
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
        linear = (self.B.T * M).trace()
        quadratic = (self.Lambda * M.T * self.A * M).trace()
        return self.c - 2 * linear + quadratic

    def residual_correlation(self, M: Expr) -> Expr:
        """G = B − A M Λ = −½ ∂L/∂M for a SymPy matrix M (D, D), the negative gradient."""
        return self.B - self.A * M * self.Lambda

    def describes(self, loss: PopulationLoss) -> bool:
        """Whether a loss is L(M) at the model's own M, identically in weights, parameters and N."""
        # In the loss's own ring: equal polynomials are equal losses.
        at_model = loss.polynomial.ring.from_expr(self.loss(self.M))
        return bool(loss.polynomial == at_model)

    def summary(self) -> Summary:
        """The map and its moments, matrices row by row."""
        rows = {name: short_text(matrix) for name, matrix in self._parts().items()}
        return Summary("L = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M)", rows)

    def formulas(self) -> dict[str, str]:
        """The same in LaTeX."""
        return typeset(self._parts())

    def to_dict(self) -> dict[str, object]:
        """M, c, B, A and Λ as text, matrices as lists of rows."""
        return {name: nested_text(part) for name, part in self._parts().items()}

    def _parts(self) -> dict[str, Expr]:
        return {"M": self.M, "c": self.c, "B": self.B, "A": self.A, "Λ": self.Lambda}


@dataclass(frozen=True, eq=False, repr=False)
class Moments(TypesetResult):
    """c = E y_q², b = E[y_q F] (K, 1) and S = E[F Fᵀ] (K, K), which make L(M) = c − 2 bᵀM + Mᵀ S M.

    The features are F = G_ij x_q,d with G = X Xᵀ / divisor, `indices` (i, j, d) from 0 in their order: every i ≤ j
    ("full", index D is y), or j = D alone ("restricted"). M_ijd sums a_i B_jd + a_j B_id over heads, or a_i B_id
    where i = j.
    """

    indices: tuple[tuple[int, int, int], ...]
    c: Expr
    b: Expr
    S: Expr

    def summary(self) -> Summary:
        """c, b and S, and how many features there are."""
        rows = {name: short_text(part) for name, part in self._parts().items()}
        title = f"Moments of {len(self.indices)} features: L(M) = c − 2 bᵀM + Mᵀ S M"
        return Summary(title, rows)

    def formulas(self) -> dict[str, str]:
        """The same in LaTeX, as far as it is short."""
        return typeset(self._parts())

    def to_dict(self) -> dict[str, object]:
        """The indices, and c, b and S as text, matrices as lists of rows."""
        parts = {name: nested_text(part) for name, part in self._parts().items()}
        return {"indices": [list(index) for index in self.indices], **parts}

    def _parts(self) -> dict[str, Expr]:
        return {"c": self.c, "b": self.b, "S": self.S}


def effective_map(task: SymbolicTask, model: Parametrization) -> EffectiveMap:
    """The form of a model's loss on the restricted block: its map M, and the moments that M is weighed with.

    `describes` proves that it is that loss. With a fixed teacher it still is, while gradient flow leaves the block.
    ValueError for softmax and several outputs; TypeError where model and task are exchanged.
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
    refuse_several_outputs(task, model, "the form c − 2 tr(BᵀM) + tr(Λ Mᵀ A M)")
    dimension = task.dimension
    prompt = Prompt(dimension)
    query = sp.Matrix(prompt.query)  # (D, 1)
    products = token_products(model, dimension)
    β = sp.Matrix(products[-1, :-1])  # the label's row of X Xᵀ / divisor, (D, 1)

    def mean(matrix: Expr) -> Expr:
        return matrix.applyfunc(lambda entry: expectation(entry, task))

    return EffectiveMap(
        M=_map_of(model, dimension),
        c=expectation(prompt.label**2, task),
        B=mean(prompt.label * β * query.T),
        A=mean(β * β.T),
        Lambda=mean(query * query.T),
    )


def _map_of(model: Parametrization, dimension: int) -> Expr:
    """M = Σ_h v_h U_h (D, D): the label entry of a_h times the rows of B_h for x."""
    a, B = effective_heads(model, dimension, "restricted")
    values = a[:, 0, -1]  # (H,)
    U = B[:, :-1, :]  # (H, D, D)
    return sp.Matrix(np.einsum("h,hij->ij", values, U))


def moments(
    task: SymbolicTask, divisor: str = "context", block: Block = "full"
) -> Moments:
    """The moments that determine the loss of every model with this divisor; exact, whatever the teachers.

    >>> from attndyn.theory.symbolic import moments, symbolic_task
    >>> exact = moments(symbolic_task(1), block="restricted")
    >>> exact.c, exact.b[0], exact.S[0]
    (lambda_1, lambda_1**2, lambda_1**3*(N + 2)/N)
    """
    require_block(block)
    refuse_several_outputs(task, None, "moments(task)")
    indices = _feature_indices(task.dimension, block)

    # The loss of the output Σ M_ijd G_ij x_q,d is L(M), and its coefficients are the moments.
    M = sp.symbols(f"M:{len(indices)}")
    query = Prompt(task.dimension).query
    outputs = []
    for has_context in (True, False):
        G = token_products(
            _Divided(divisor), task.dimension, has_context=has_context
        )  # (D+1, D+1)
        terms = [
            m * G[i, j] * query[d] for m, (i, j, d) in zip(M, indices, strict=True)
        ]
        outputs.append(sp.Add(*terms))
    loss = output_loss(task, outputs[0], M, without_context=outputs[1])
    return _coefficients(indices, loss)


def _feature_indices(dimension: int, block: Block) -> tuple[tuple[int, int, int], ...]:
    """(i, j, d) of every feature G_ij x_q,d, in the order of `Moments`."""
    if block == "full":
        pairs = list(combinations_with_replacement(range(dimension + 1), 2))
    else:
        pairs = [(i, dimension) for i in range(dimension)]
    return tuple((i, j, d) for i, j in pairs for d in range(dimension))


@dataclass(frozen=True)
class _Divided:
    """Stands for a model of which nothing matters but its divisor."""

    divisor: str


def _coefficients(
    indices: tuple[tuple[int, int, int], ...], loss: PopulationLoss
) -> Moments:
    """c, b and S of a loss that is quadratic in its weights."""
    ring = loss.polynomial.ring
    gens = ring.gens

    def coefficient(*factors: Any) -> Expr:
        monomial = sp.prod(factors, ring.one)
        return ring.domain.to_sympy(loss.polynomial.coeff(monomial))

    # L = c − 2 Σ b_i m_i + Σ S_ij m_i m_j, where m_i m_j with i ≠ j occurs twice.
    b = sp.Matrix([-coefficient(m) / 2 for m in gens])
    S = sp.Matrix(
        len(gens),
        len(gens),
        lambda i, j: coefficient(gens[i], gens[j]) / (1 if i == j else 2),
    )
    return Moments(indices, coefficient(), b, S)
