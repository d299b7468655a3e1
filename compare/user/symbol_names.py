"""Names in formulas of users about a derivation: its weights, the task's parameters or its numbers."""

from collections.abc import Iterable
from itertools import pairwise

import sympy as sp

from ...theory.symbolic import Derivation, N, SymbolicTask
from ...theory.symbolic.task import Expr


def symbols_of(derivation: Derivation) -> list[Expr]:
    """Every symbol that formulas about a derivation may have: its weights and parameters, and N if it is one."""
    weights = [symbol for array in derivation.arrays.values() for symbol in array.flat]
    return [*weights, *derivation.parameters, *free_length(derivation.task)]


def numbers_of(task: SymbolicTask) -> dict[str, Expr]:
    """The numbers of a task under the names that they have in symbols: N, lambda_1, omega_1, sigma, w0_1, p.

    Left out is what has no name: N where there are several lengths, and λ_d and ω_d where a matrix is not diagonal
    or, as directions are numbered by decreasing λ, the diagonal of Λ increases.
    """
    values: dict[str, Expr] = {}
    if task.context_lengths != (N,) and len(task.context_lengths) == 1:
        values["N"] = task.context_lengths[0]
    values |= _variances(task)
    # Formulas speak of σ, tasks of σ².
    if task.noise_variance != 0:
        values["sigma"] = sp.sqrt(task.noise_variance)
    if task.fixed_teacher is not None:
        values |= _numbered("w0", task.fixed_teacher)
        values["p"] = task.in_context_fraction
    # A task may mix numbers and symbols; symbols go by their own names.
    return {name: value for name, value in values.items() if value.is_number}


def _variances(task: SymbolicTask) -> dict[str, Expr]:
    """λ_d and, where Ω ≠ I, ω_d; nothing where Λ is not diagonal with a decreasing diagonal."""
    Λ, Ω = task.covariance, task.teacher_covariance
    if not (Λ.is_diagonal() and _decreases(list(Λ.diagonal()))):
        return {}
    variances = _numbered("lambda", Λ.diagonal())
    if task.outputs > 1:
        # Γ and Ω of Kronecker teachers share a scale, so that γ and ω have no value of their own.
        on_modes = task.shared_basis_variances
        return variances | (_numbered("omega", on_modes) if on_modes else {})
    if Ω.is_diagonal() and sp.eye(task.dimension) != Ω:
        variances |= _numbered("omega", Ω.diagonal())
    return variances


def _numbered(name: str, values: Iterable[Expr]) -> dict[str, Expr]:
    return {
        f"{name}_{number}": sp.sympify(value)
        for number, value in enumerate(values, start=1)
    }


def _decreases(values: list[Expr]) -> bool:
    return all(
        before.is_number and before >= after for before, after in pairwise(values)
    )


def free_length(task: SymbolicTask) -> list[Expr]:
    """N, where it is a symbol."""
    return [N] if task.context_lengths == (N,) else []


def real_symbols(names: list[str], positive: bool = False) -> list[Expr]:
    """Real symbols of these names, or positive ones; ValueError for what is no name."""
    are_names = isinstance(names, list) and all(
        isinstance(name, str) and name.isidentifier() for name in names
    )
    if not are_names:
        raise ValueError(
            f"names must be a list such as ['v', 'kappa_1'], not {names!r}"
        )
    assumption = {"positive": True} if positive else {"real": True}
    return [sp.Symbol(name, **assumption) for name in names]
