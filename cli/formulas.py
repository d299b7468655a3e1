"""The commands that print mathematics: fixed-points."""

from typing import Annotated

import typer

from .options import (
    ContextLength,
    Divisor,
    Eigenvalues,
    Heads,
    Json,
    Kind,
    Noise,
    Rank,
    TaskFile,
    Trace,
    model_of,
    task_of,
)


def fixed_points(
    eigenvalues: Eigenvalues = None,
    trace: Trace = None,
    context_length: ContextLength = None,
    noise_variance: Noise = 0.0,
    task: TaskFile = None,
    model: Kind = "separate",
    heads: Heads = None,
    rank: Rank = 1,
    divisor: Divisor = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the smallest losses first.")] = 1000,
    json: Json = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX.")] = False,
    symbolic: Annotated[bool, typer.Option("--symbolic", help="In symbols instead of the task's numbers.")] = False,
) -> None:
    """List the fixed points of gradient flow by increasing loss."""
    if json and latex:
        raise ValueError("--json and --latex are two formats: choose one")
    problem = task_of(eigenvalues, trace, context_length, noise_variance, task)
    attention = model_of(model, problem.dimension if heads is None else heads, rank, divisor)
    if symbolic:
        from ..compare.symbolic_table import print_symbolic, symbolic_json, symbolic_latex

        show = symbolic_json if json else symbolic_latex if latex else print_symbolic
    else:
        from ..compare.table import fixed_points_json, fixed_points_latex, print_fixed_points

        show = fixed_points_json if json else fixed_points_latex if latex else print_fixed_points
    show(problem, attention, limit)
