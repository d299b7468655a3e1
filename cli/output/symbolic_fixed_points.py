"""Fixed points in symbols, for the terminal, for other programs (JSON) and for papers (LaTeX)."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np

from ...models.attention import Merged, Separate
from ...task import Task
from ...theory.symbolic import (
    SymbolicFixedPoint,
    SymbolicTask,
    fixed_points,
    latex,
    symbolic_task,
)

_COMMUTING = 1e-10


def in_symbols(task: Task) -> SymbolicTask:
    """The task with a symbol for each number, in the basis of Λ: λ_d, N, and ω_d and σ where Ω ≠ 1 and σ² > 0.

    A range of context lengths keeps its numbers. ValueError where Λ and Ω do not commute, or for a fixed teacher.

    >>> in_symbols(Task(eigenvalues=[2, 1], context_length=5, noise_variance=0.1)).parameters
    (lambda_1, lambda_2, sigma)
    """
    Λ, Ω = task.covariance, task.teacher_covariance
    if task.in_context_fraction < 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    if np.max(np.abs(Λ @ Ω - Ω @ Λ)) > _COMMUTING * np.max(np.abs(Λ)) * np.max(
        np.abs(Ω)
    ):
        raise ValueError(
            "fixed points in symbols need a teacher covariance that commutes with the covariance of x"
        )
    white = np.array_equal(Ω, np.eye(task.dimension))
    symbols = symbolic_task(
        task.dimension,
        teachers="white" if white else "diagonal",
        noise=task.noise_variance > 0,
    )
    if len(task.context_lengths) == 1:
        return symbols
    return replace(symbols, context_lengths=task.context_lengths)


def print_symbolic(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print what each direction means, and the first fixed points with the most directions learned first."""
    points = fixed_points(in_symbols(task), model)
    shown = list(islice(points, limit))
    print(f"L(0) = {shown[0].untrained_loss}")
    for d, direction in enumerate(shown[0].directions, start=1):
        print(f"m_{d} = {direction.coefficient}\ng_{d} = {direction.gain}")
    for point in shown:
        names = ", ".join(map(str, point.subset))
        learned = " + ".join(f"m_{d} e_{d} e_{d}ᵀ" for d in point.subset) or "0"
        print(
            f"S = {{{names}}}: M = {learned}, L = {' - '.join(['L(0)', *(f'g_{d}' for d in point.subset)])}"
        )
    if next(points, None) is not None:
        print(f"these are the first {limit} fixed points: --limit shows more")


def symbolic_json(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points as JSON: the fields of the numeric one that symbols determine, as text."""
    print(
        json.dumps(
            [
                _plain(point)
                for point in islice(fixed_points(in_symbols(task), model), limit)
            ]
        )
    )


def symbolic_latex(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the same equations as `print_symbolic` as one LaTeX align* (amsmath)."""
    shown = list(islice(fixed_points(in_symbols(task), model), limit))
    lines = [f"L(0) &= {latex(shown[0].untrained_loss)}"]
    for d, direction in enumerate(shown[0].directions, start=1):
        lines.append(
            f"m_{{{d}}} &= {latex(direction.coefficient)}, & g_{{{d}}} &= {latex(direction.gain)}"
        )
    for point in shown:
        name = (
            rf"\{{{', '.join(map(str, point.subset))}\}}"
            if point.subset
            else r"\emptyset"
        )
        learned = (
            " + ".join(rf"m_{{{d}}} e_{{{d}}} e_{{{d}}}^\top" for d in point.subset)
            or "0"
        )
        loss = " - ".join(["L(0)", *(f"g_{{{d}}}" for d in point.subset)])
        lines.append(f"M_{{{name}}} &= {learned}, & L(M_{{{name}}}) &= {loss}")
    print(r"\begin{align*}" + "\n" + " \\\\\n".join(lines) + "\n" + r"\end{align*}")


def _plain(point: SymbolicFixedPoint) -> dict[str, object]:
    return {
        "subset": list(point.subset),
        "loss": str(point.loss),
        "coefficients": [str(m) for m in point.coefficients],
        "gains": [str(gain) for gain in point.gains],
    }
