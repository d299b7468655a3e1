"""Fixed points in symbols, for the terminal, for other programs (JSON) and for papers (LaTeX)."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import sympy as sp

from ...models.attention import Merged, Separate
from ...runtime.arrays import FloatArray
from ...task import Task
from ...theory.moments.laws_of_outputs import (
    ROUNDING,
    KroneckerFactors,
    kronecker_factors,
    shared_modes,
)
from ...theory.symbolic import (
    SymbolicFixedPoint,
    SymbolicTask,
    fixed_points,
    latex,
    symbolic_task,
)
from ...theory.symbolic.dynamics.mode_fixed_points import ModeFixedPoint
from ...theory.symbolic.loss.population_losses import (
    CONVENTION,
    LATEX_CONVENTION,
)
from ...theory.symbolic.task import length_shares, refuse_beyond_symbols

COMMUTING = 1e-10
"""Relative size of a commutator below which two matrices commute: rounding of products is some 1e-15."""


def symbolic_task_of(task: Task) -> SymbolicTask:
    """The task with a symbol for each number, in the basis of Λ: λ_d, N, and ω_d and σ where Ω ≠ 1 and σ² > 0.

    A range of context lengths keeps its numbers. With K outputs the basis is that of the modes, or of Γ ⊗ Ω, with γ_k.
    ValueError where Λ and Ω do not commute or are singular, for a fixed teacher, and for other teachers of K outputs.

    >>> symbolic_task_of(Task(eigenvalues=[2, 1], context_length=5, noise_variance=0.1)).parameters
    (lambda_1, lambda_2, sigma)
    """
    refuse_beyond_symbols(task)
    if task.outputs > 1:
        return _with_lengths(_outputs_in_symbols(task), task)
    Λ, Ω = task.covariance, task.teacher_covariance
    if task.in_context_fraction < 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    if not _commute(Λ, Ω):
        raise ValueError(
            "fixed points in symbols need a teacher covariance that commutes with the covariance of x"
        )
    # λ_d and ω_d stand for positive numbers: a direction without variance has no fixed point of its own.
    if min(task.eigenvalues) <= 0 or np.linalg.matrix_rank(Ω) < task.dimension:
        raise ValueError(
            "symbols stand for positive variances, and Λ or Ω is singular: leave out the directions on which x or "
            "the teacher does not vary"
        )
    # White teachers have no symbols ω_d.
    white = np.array_equal(Ω, np.eye(task.dimension))
    symbols = symbolic_task(
        task.dimension,
        teachers="white" if white else "diagonal",
        noise=task.noise_variance > 0,
    )
    return _with_lengths(symbols, task)


def _outputs_in_symbols(task: Task) -> SymbolicTask:
    """K outputs on a shared basis, or of Kronecker teachers on the eigenvectors of Γ, and of Λ and Ω."""
    modes = shared_modes(task)
    if modes is not None:
        _require_variances(modes.inputs, modes.teachers)
        white = np.allclose(modes.teachers, 1.0, rtol=0, atol=ROUNDING)
        return symbolic_task(
            task.dimension,
            teachers="white" if white else "diagonal",
            noise=task.noise_variance > 0,
            shared_basis=True,
        )
    factors = kronecker_factors(task)
    if factors is None or not _commute(task.covariance, factors.inputs):
        raise ValueError(
            "fixed points in symbols are known for outputs that share the eigenvectors of the inputs "
            "(Gaussian.shared_basis), or have a covariance Γ ⊗ Ω (Gaussian.kronecker) with Ω and Λ that commute: "
            "these teachers have another covariance"
        )
    matrices = (task.covariance, factors.outputs, factors.inputs)
    _require_variances(*(np.asarray(np.linalg.eigvalsh(each)) for each in matrices))
    return _kronecker_in_symbols(task, factors)


def _kronecker_in_symbols(task: Task, factors: KroneckerFactors) -> SymbolicTask:
    """Γ ⊗ Ω with γ_k and ω_d, with ω_d alone where Γ = 1, and without where Ω = 1, too."""
    D, K = task.dimension, task.outputs
    noise = task.noise_variance > 0
    alike = np.allclose(factors.outputs, np.eye(K), rtol=0, atol=ROUNDING)
    if alike and np.allclose(factors.inputs, np.eye(D), rtol=0, atol=ROUNDING):
        return symbolic_task(D, noise=noise, outputs=K)
    symbols = symbolic_task(D, teachers="diagonal", noise=noise, outputs=K)
    if not alike:
        return symbols
    Ω = symbolic_task(D, teachers="diagonal").teacher_covariance
    of_outputs = sp.Matrix(sp.kronecker_product(sp.eye(K), Ω))
    return replace(symbols, teacher_covariance=of_outputs)


def _require_variances(*variances: FloatArray) -> None:
    """ValueError unless each of the variances is larger than rounding."""
    for values in variances:
        if np.min(values) <= ROUNDING * np.max(np.abs(values)):
            raise ValueError(
                "symbols stand for positive variances, and one of x, of the teachers or of the outputs vanishes: "
                "leave out the directions that do not vary"
            )


def _commute(Λ: FloatArray, Ω: FloatArray) -> bool:
    commutator = np.max(np.abs(Λ @ Ω - Ω @ Λ))
    return bool(commutator <= COMMUTING * np.max(np.abs(Λ)) * np.max(np.abs(Ω)))


def _with_lengths(symbols: SymbolicTask, task: Task) -> SymbolicTask:
    """The task with its context lengths, of which N is the symbol where there is one."""
    if len(task.context_lengths) == 1:
        return symbols
    lengths = tuple(sp.Integer(n) for n in task.context_lengths)
    return replace(symbols, context_lengths=lengths, length_shares=length_shares(task))


def print_symbolic(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print coefficient and gain of each direction, and the first fixed points, with most directions learned first."""
    points = fixed_points(symbolic_task_of(task), model)
    if task.outputs > 1:
        print(f"convention: {CONVENTION}")
    print(f"L(0) = {points.untrained_loss}")
    for d, direction in enumerate(points.directions, start=1):
        print(f"m_{d} = {direction.coefficient}")
        print(f"g_{d} = {direction.gain}")
    for point in islice(points, limit):
        print(_text_line(point))
    if len(points) > limit:
        print(f"these are the first {limit} fixed points: --limit shows more")


def _text_line(point: SymbolicFixedPoint) -> str:
    """Subset, map and loss of one fixed point."""
    subset = ", ".join(map(str, point.subset))
    terms = [f"m_{d} e_{d} e_{d}ᵀ" for d in point.subset]
    M = " + ".join(terms) or "0"
    loss = " - ".join(["L(0)", *(f"g_{d}" for d in point.subset)])
    line = f"S = {{{subset}}}: M = {M}, L = {loss}"
    if not isinstance(point, ModeFixedPoint):
        return line
    # What holds for this subset alone.
    conditions = [f"({condition})" for condition in point.conditions]
    exists = f", exists if {' and '.join(conditions)}" if conditions else ""
    return f"{line}, Z = {point.coupling}{exists}"


def symbolic_json(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points as JSON: the fields of the numeric one that symbols determine, as text."""
    points = islice(fixed_points(symbolic_task_of(task), model), limit)
    print(json.dumps([_json_fields(point) for point in points]))


def symbolic_latex(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the equations of `print_symbolic` as one LaTeX align* (amsmath)."""
    points = fixed_points(symbolic_task_of(task), model)
    # A comment of LaTeX: papers define the loss with and without ½.
    if task.outputs > 1:
        print(f"% {LATEX_CONVENTION}")
    lines = [f"L(0) &= {latex(points.untrained_loss)}"]
    for d, direction in enumerate(points.directions, start=1):
        coefficient, gain = latex(direction.coefficient), latex(direction.gain)
        lines.append(f"m_{{{d}}} &= {coefficient}, & g_{{{d}}} &= {gain}")
    lines += [_latex_line(point) for point in islice(points, limit)]
    body = " \\\\\n".join(lines)
    print(f"\\begin{{align*}}\n{body}\n\\end{{align*}}")


def _latex_line(point: SymbolicFixedPoint) -> str:
    """Map and loss of one fixed point."""
    subset = r"\emptyset"
    if point.subset:
        subset = rf"\{{{', '.join(map(str, point.subset))}\}}"
    terms = [rf"m_{{{d}}} e_{{{d}}} e_{{{d}}}^\top" for d in point.subset]
    M = " + ".join(terms) or "0"
    loss = " - ".join(["L(0)", *(f"g_{{{d}}}" for d in point.subset)])
    line = f"M_{{{subset}}} &= {M}, & L(M_{{{subset}}}) &= {loss}"
    if not isinstance(point, ModeFixedPoint):
        return line
    rows = [line, f"Z_{{{subset}}} &= {latex(point.coupling)}"]
    for condition in point.conditions:
        rows.append(f"& {latex(condition)}")
    return " \\\\\n".join(rows)


def _json_fields(point: SymbolicFixedPoint) -> dict[str, object]:
    fields: dict[str, object] = {
        "subset": list(point.subset),
        "loss": str(point.loss),
        "coefficients": [str(m) for m in point.coefficients],
        "gains": [str(gain) for gain in point.gains],
    }
    if isinstance(point, ModeFixedPoint):
        fields["conditions"] = [str(condition) for condition in point.conditions]
    return fields
