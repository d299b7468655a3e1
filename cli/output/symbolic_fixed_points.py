"""Fixed points in symbols, for the terminal, for other programs (JSON) and for papers (LaTeX)."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import sympy as sp

from ...models.attention import Merged, Separate
from ...task import Task
from ...theory.symbolic import (
    SymbolicFixedPoint,
    SymbolicTask,
    fixed_points,
    latex,
    symbolic_task,
)
from ...theory.symbolic.task import length_shares, refuse_beyond_symbols

COMMUTING = 1e-10
"""Relative size of a commutator below which two matrices commute: rounding of products is some 1e-15."""


def symbolic_task_of(task: Task) -> SymbolicTask:
    """The task with a symbol for each number, in the basis of Λ: λ_d, N, and ω_d and σ where Ω ≠ 1 and σ² > 0.

    A range of context lengths keeps its numbers. ValueError where Λ and Ω do not commute or are singular, or for a
    fixed teacher.

    >>> symbolic_task_of(Task(eigenvalues=[2, 1], context_length=5, noise_variance=0.1)).parameters
    (lambda_1, lambda_2, sigma)
    """
    refuse_beyond_symbols(task)
    Λ, Ω = task.covariance, task.teacher_covariance
    if task.in_context_fraction < 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    commutator = np.max(np.abs(Λ @ Ω - Ω @ Λ))
    if commutator > COMMUTING * np.max(np.abs(Λ)) * np.max(np.abs(Ω)):
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
    # N is a symbol only where there is one length.
    if len(task.context_lengths) == 1:
        return symbols
    lengths = tuple(sp.Integer(n) for n in task.context_lengths)
    return replace(symbols, context_lengths=lengths, length_shares=length_shares(task))


def print_symbolic(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print coefficient and gain of each direction, and the first fixed points, with most directions learned first."""
    points = fixed_points(symbolic_task_of(task), model)
    first_points = list(islice(points, limit))
    print(f"L(0) = {first_points[0].untrained_loss}")
    for d, direction in enumerate(first_points[0].directions, start=1):
        print(f"m_{d} = {direction.coefficient}")
        print(f"g_{d} = {direction.gain}")
    for point in first_points:
        print(_text_line(point))
    if len(points) > limit:
        print(f"these are the first {limit} fixed points: --limit shows more")


def _text_line(point: SymbolicFixedPoint) -> str:
    """Subset, map and loss of one fixed point."""
    subset = ", ".join(map(str, point.subset))
    terms = [f"m_{d} e_{d} e_{d}ᵀ" for d in point.subset]
    M = " + ".join(terms) or "0"
    loss = " - ".join(["L(0)", *(f"g_{d}" for d in point.subset)])
    return f"S = {{{subset}}}: M = {M}, L = {loss}"


def symbolic_json(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points as JSON: the fields of the numeric one that symbols determine, as text."""
    points = islice(fixed_points(symbolic_task_of(task), model), limit)
    print(json.dumps([_json_fields(point) for point in points]))


def symbolic_latex(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the equations of `print_symbolic` as one LaTeX align* (amsmath)."""
    points = list(islice(fixed_points(symbolic_task_of(task), model), limit))
    lines = [f"L(0) &= {latex(points[0].untrained_loss)}"]
    for d, direction in enumerate(points[0].directions, start=1):
        coefficient, gain = latex(direction.coefficient), latex(direction.gain)
        lines.append(f"m_{{{d}}} &= {coefficient}, & g_{{{d}}} &= {gain}")
    lines += [_latex_line(point) for point in points]
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
    return f"M_{{{subset}}} &= {M}, & L(M_{{{subset}}}) &= {loss}"


def _json_fields(point: SymbolicFixedPoint) -> dict[str, object]:
    return {
        "subset": list(point.subset),
        "loss": str(point.loss),
        "coefficients": [str(m) for m in point.coefficients],
        "gains": [str(gain) for gain in point.gains],
    }
