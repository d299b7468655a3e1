"""Manifolds of weights on which the dynamics become few equations, to be tried with `reduce`."""

import sympy as sp

from ....models.attention import Merged, Separate
from ....models.protocol import Parametrization, outputs_of
from ..loss.population_losses import weight_symbols
from ..task import Expr


def aligned_ansatz(model: Parametrization, dimension: int) -> dict[Expr, Expr]:
    """Weights whose heads point along eigenvectors of Λ, as functions of few amplitudes; the others are zero.

    Merged: v_h = v̂_h s and U_h = v̂_h diag(u_1 … u_D) with any unit vector v̂, whose rational parameters are τ_2 …
    τ_H. Separate: each head takes the next R directions with v_h, and κ_h_r on key and query alike; one amplitude
    v_h where R = 1. Heads beyond the last direction are zero. This is a proposal, not a proof: `reduce` decides.
    ValueError for other models. Source: Zhang et al. 2025 (arXiv 2501.16265).

    >>> from attndyn import Separate
    >>> aligned_ansatz(Separate(heads=1), 2)
    {value_1_3: v_1, key_1_1_1: v_1, query_1_1_1: v_1}
    """
    if outputs_of(model) > 1:
        raise ValueError(
            f"aligned weights are known for one output, not for {outputs_of(model)}: write them"
        )
    if isinstance(model, Merged):
        return _merged(model, dimension)
    if isinstance(model, Separate):
        return _separate(model, dimension)
    raise ValueError(
        f"aligned weights are known for Merged and Separate, not for {type(model).__name__}: write them"
    )


def _merged(model: Merged, dimension: int) -> dict[Expr, Expr]:
    weights = weight_symbols(model, dimension)
    s = _real("s")
    u = [_real(f"u_{d + 1}") for d in range(dimension)]
    ansatz: dict[Expr, Expr] = {}
    # All heads share one direction of growth, in the proportions of v̂.
    for h, unit in enumerate(_unit_vector(model.head_count)):
        ansatz[weights["value"][h, -1]] = unit * s
        ansatz |= {weights["key_query"][h, d, d]: unit * u[d] for d in range(dimension)}
    return ansatz


def _separate(model: Separate, dimension: int) -> dict[Expr, Expr]:
    weights = weight_symbols(model, dimension)
    ansatz: dict[Expr, Expr] = {}
    for d in range(min(dimension, model.head_count * model.rank)):
        # Directions are dealt out in turn: the first R to head 1, the next R to head 2.
        h, r = divmod(d, model.rank)
        value = _real(f"v_{h + 1}")
        # With one pair v =
        # k
        #  =
        # q
        #  is conserved, so that one amplitude is enough.
        pair = value if model.rank == 1 else _real(f"kappa_{h + 1}_{r + 1}")
        ansatz |= {
            weights["value"][h, -1]: value,
            weights["key"][h, r, d]: pair,
            weights["query"][h, r, d]: pair,
        }
    return ansatz


def _unit_vector(size: int) -> list[Expr]:
    """Any unit vector but one, by stereographic projection from τ_2 … τ_H."""
    τ = [_real(f"tau_{h}") for h in range(2, size + 1)]
    #
    # τ
    # ², of which (1 −
    # τ
    # ²)/(1 +
    # τ
    # ²) is the first entry.
    length = sp.Add(*(t**2 for t in τ))
    return [(1 - length) / (1 + length), *(2 * t / (1 + length) for t in τ)]


def _real(name: str) -> Expr:
    return sp.Symbol(name, real=True)
