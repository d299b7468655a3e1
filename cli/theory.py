"""The commands that do mathematics: fixed-points, derive, check."""

from collections.abc import Callable
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
    WeightDecay,
    model_of,
    task_of,
)
from .whole_numbers import counted

Printer = Callable[..., None]


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
    weight_decay: WeightDecay = None,
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
    print_json: Printer
    print_latex: Printer
    print_text: Printer
    arguments: tuple[Any, ...]
    if symbolic:
        if weight_decay is not None:
            raise ValueError(
                "no symbolic fixed points under weight decay are known: leave --symbolic or --weight-decay out"
            )
        from .output.symbolic_fixed_points import (
            print_symbolic,
            symbolic_json,
            symbolic_latex,
        )

        print_json = symbolic_json
        print_latex = symbolic_latex
        print_text = print_symbolic
        arguments = (problem, attention, limit)
    else:
        from ..theory import fixed_points as numerical_fixed_points
        from .output.tables import (
            fixed_points_json,
            fixed_points_latex,
            print_fixed_points,
        )

        print_json = fixed_points_json
        print_latex = fixed_points_latex
        print_text = print_fixed_points
        decay = 0.0 if weight_decay is None else float(weight_decay)
        points = numerical_fixed_points(problem, attention, weight_decay=decay)
        arguments = (points, limit)

    if json:
        print_json(*arguments)
    elif latex:
        print_latex(*arguments)
    else:
        print_text(*arguments)


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

    passed = _model_settings(
        model,
        {"heads": heads, "rank": rank, "divisor": divisor},
        score_divisor,
    )
    task = {
        "dimension": dim,
        "teachers": teachers,
        "noise": noise,
        "mixture": mixture,
    }
    # Through the reader of statement files, so that both accept the same models.
    derivation = derivation_of(
        task,
        {
            "model": model,
            "block": block,
            **passed,
        },
    )

    names = [name.strip() for name in amplitudes.split(",") if name.strip()]
    if names and not reduce:
        raise ValueError(
            "--amplitudes names what moves in an ansatz: pass --reduce with it"
        )
    reduction = reduction_on(derivation, reduce, names) if reduce else None
    if latex:
        print_latex(derivation, degree, reduction)
    else:
        print_derivation(derivation, degree, reduction)


def _model_settings(
    model: str, options: dict[str, Any], score_divisor: str
) -> dict[str, Any]:
    """Fields of a model's table: one head of rank one for the package's own, and the options that are passed.

    A model of the user's own takes the settings that are passed, and no others.
    """
    settings = {name: value for name, value in options.items() if value is not None}
    if score_divisor != "1":
        settings["score_divisor"] = score_divisor
    if model in ("merged", "separate"):
        settings.setdefault("heads", 1)
    if model == "separate":
        settings.setdefault("rank", 1)
    return settings


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
        name, expected = answer.entry.name, answer.entry.expected
        row = {
            "name": name,
            "level": answer.result.level,
            "expected_level": expected,
            "holds": answer.holds,
            "finding": str(answer.result),
        }
        rows.append(row)
        if not json:
            note = "" if answer.holds else f" (expected: {expected})"
            # At once, since the next statement may take minutes.
            print(f"{name}: {answer.result}{note}", flush=True)
    if json:
        print(dumps(rows))
    return _status_of_levels({str(row["level"]) for row in rows if not row["holds"]})


def _status_of_levels(unexpected: set[str]) -> ExitStatus:
    """The exit status for the levels of statements that are not as expected: the gravest of them decides."""
    if not unexpected:
        return ExitStatus.AS_EXPECTED
    if unexpected - {"undefined", "undecided"}:
        return ExitStatus.OTHER_THAN_EXPECTED
    if "undefined" in unexpected:
        return ExitStatus.UNDEFINED
    return ExitStatus.UNDECIDED
