"""The commands that do mathematics: fixed-points, derive, check."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .exit_status import ExitStatus
from .options import (
    ContextLength,
    Divisor,
    Eigenvalues,
    Heads,
    Json,
    Kind,
    Noise,
    Rank,
    ScoreDivisor,
    TaskFile,
    Trace,
    model_of,
    task_of,
)
from .whole_numbers import counted


def fixed_points(
    eigenvalues: Eigenvalues = None,
    trace: Trace = None,
    context_length: ContextLength = None,
    noise_variance: Noise = None,
    task: TaskFile = None,
    model: Kind = "separate",
    heads: Heads = None,
    rank: Rank = 1,
    divisor: Divisor = None,
    score_divisor: ScoreDivisor = "1",
    limit: Annotated[
        int, counted("At most this many, the smallest losses first.", least=1)
    ] = 1000,
    json: Json = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX.")] = False,
    symbolic: Annotated[
        bool,
        typer.Option("--symbolic", help="In symbols instead of the task's numbers."),
    ] = False,
) -> None:
    """List the fixed points of gradient flow by increasing loss."""
    if json and latex:
        raise ValueError("--json and --latex are two formats: choose one")
    problem = task_of(eigenvalues, trace, context_length, noise_variance, task)
    attention = model_of(
        model,
        problem.dimension if heads is None else heads,
        rank,
        divisor,
        score_divisor=score_divisor,
    )
    if symbolic:
        from .output.symbolic_fixed_points import (
            print_symbolic,
            symbolic_json,
            symbolic_latex,
        )

        show = symbolic_json if json else symbolic_latex if latex else print_symbolic
    else:
        from .output.tables import (
            fixed_points_json,
            fixed_points_latex,
            print_fixed_points,
        )

        show = (
            fixed_points_json
            if json
            else fixed_points_latex
            if latex
            else print_fixed_points
        )
    show(problem, attention, limit)


def derive(
    dim: Annotated[int, counted("Dimension D of x.", least=1)],
    model: Annotated[
        str, typer.Option(help="merged, separate, or FILE.py:NAME of your own.")
    ] = "separate",
    heads: Annotated[int | None, counted("Number of heads; 1 if left out.")] = None,
    rank: Annotated[
        int | None, counted("Rank of key and query (separate); 1 if left out.")
    ] = None,
    divisor: Divisor = None,
    score_divisor: ScoreDivisor = "1",
    block: Annotated[
        str, typer.Option(help="full, every weight, or restricted.")
    ] = "full",
    teachers: Annotated[
        str, typer.Option(help="white, diagonal or general covariance.")
    ] = "white",
    noise: Annotated[
        bool, typer.Option("--noise", help="Label noise, of variance sigma squared.")
    ] = False,
    mixture: Annotated[
        bool,
        typer.Option(
            "--mixture", help="A fraction 1 - p of prompts has one fixed teacher."
        ),
    ] = False,
    degree: Annotated[
        int, counted("Look for conserved polynomials up to this degree.", least=0)
    ] = 2,
    reduce: Annotated[
        str,
        typer.Option(help='An ansatz, as "value_1_2 = v, key_1_1_1 = v", or aligned.'),
    ] = "",
    amplitudes: Annotated[
        str, typer.Option(help="Names in the ansatz that move, as v,u_1.")
    ] = "",
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX.")] = False,
) -> None:
    """Derive loss, gradient flow, conserved quantities and reduced equations of a model, exactly."""
    from ..compare.user.statement_file import derivation_of
    from .output.derivation import print_derivation, print_latex, reduction_on

    task = {"dimension": dim, "teachers": teachers, "noise": noise, "mixture": mixture}
    given: dict[str, Any] = {"heads": heads, "rank": rank, "divisor": divisor}
    if score_divisor != "1":
        given["score_divisor"] = score_divisor
    if model in ("merged", "separate"):
        given["heads"] = 1 if heads is None else heads
    if model == "separate":
        given["rank"] = 1 if rank is None else rank
    settings = {name: value for name, value in given.items() if value is not None}
    derivation = derivation_of(task, {"model": model, "block": block, **settings})
    names = [name.strip() for name in amplitudes.split(",") if name.strip()]
    if names and not reduce:
        raise ValueError(
            "--amplitudes names what moves in an ansatz: pass --reduce with it"
        )
    reduction = reduction_on(derivation, reduce, names) if reduce else None
    (print_latex if latex else print_derivation)(derivation, degree, reduction)


def check(
    file: Annotated[
        Path, typer.Argument(help="A TOML file with a task, a model and statements.")
    ],
    json: Json = False,
) -> ExitStatus:
    """Prove or refute the statements of a file, or say where they are undefined."""
    from json import dumps

    from ..compare.user.statement_file import load_statements

    rows = []
    for answer in load_statements(file).answers():
        name, expected, finding = (
            answer.entry.name,
            answer.entry.expected,
            answer.result,
        )
        rows.append(
            {
                "name": name,
                "level": finding.level,
                "expected_level": expected,
                "holds": answer.holds,
            }
        )
        rows[-1]["finding"] = str(finding)
        if not json:
            print(
                f"{name}: {finding}{'' if answer.holds else f' (expected: {expected})'}",
                flush=True,
            )
    if json:
        print(dumps(rows))
    return _worst([str(row["level"]) for row in rows if not row["holds"]])


def _worst(unexpected: list[str]) -> ExitStatus:
    """The exit status for the levels of statements that are not as expected."""
    of_level = {"undecided": ExitStatus.UNDECIDED, "undefined": ExitStatus.UNDEFINED}
    found = {
        of_level.get(level, ExitStatus.OTHER_THAN_EXPECTED) for level in unexpected
    }
    by_weight = (
        ExitStatus.OTHER_THAN_EXPECTED,
        ExitStatus.UNDEFINED,
        ExitStatus.UNDECIDED,
    )
    return next(
        (status for status in by_weight if status in found), ExitStatus.AS_EXPECTED
    )
