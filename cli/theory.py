"""The commands that do mathematics: fixed-points, time-course, derive, check."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..runtime.ascii_text import named
from .exit_status import ExitStatus
from .flow_times import FlowTimeOptions
from .option_groups import with_grouped_options
from .options import (
    Divisor,
    Json,
    ModelOptions,
    QueryToken,
    ScoreDivisor,
    TaskFile,
    TaskOptions,
    WeightDecay,
    task_of_file,
)
from .output.files import refuse_existing, refuse_one_file
from .output.streams import warnings_in_one_line
from .whole_numbers import counted

Printer = Callable[..., None]


@with_grouped_options
def fixed_points(
    task: TaskOptions,
    model: ModelOptions,
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
    problem = task.task()
    attention = model.model(problem)
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


@with_grouped_options
def time_course(
    task: TaskOptions,
    model: ModelOptions,
    start: Annotated[
        str,
        typer.Option(
            help="Amplitudes (0.1; one a direction; s,u of merged), or an npz file: a run, or weights by name."
        ),
    ],
    flow_times: FlowTimeOptions,
    weight_decay: WeightDecay = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write it here: CSV, JSON, npz, PDF, PNG or SVG."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if it is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Predict loss, coefficients and amplitudes of gradient flow over flow time (2 * learning rate * steps)."""
    from json import dumps

    from ..theory import time_course as predicted_course
    from .output.curve_files import curve_format
    from .output.time_course import print_course, write_course
    from .starts import start_of

    if out is not None:
        curve_format(out)
        refuse_one_file(out, {"--task": task.file, "--start": Path(start)})
        refuse_existing(out, force)
    problem = task.task()
    attention = model.model(problem)
    times = flow_times.times(is_written=out is not None)
    begin = start_of(start, attention)
    with warnings_in_one_line():
        course = predicted_course(
            problem,
            attention,
            times,
            begin,
            weight_decay=0.0 if weight_decay is None else weight_decay,
        )
    if out is not None:
        write_course(course, out)
    if json:
        print(dumps(course.to_dict()))
    elif out is None:
        print_course(course)
    else:
        print(
            f"{named(out)}: theory ({course.source}), {len(times)} times, "
            f"loss {course.loss[0]:.6g} → {course.loss[-1]:.6g}"
        )


def derive(
    dim: Annotated[
        int | None, counted("Dimension D of x, whose numbers are symbols.", least=1)
    ] = None,
    task: TaskFile = None,
    model: Annotated[
        str,
        typer.Option(help="merged, separate, factorised, or FILE.py:NAME of your own."),
    ] = "separate",
    heads: Annotated[int | None, counted("Number of heads; 1 if left out.")] = None,
    rank: Annotated[
        int | None,
        counted("Rank of key and query: 1 if left out, D + 1 for factorised."),
    ] = None,
    value_rank: Annotated[
        int | None, counted("Rank of value and output (factorised); D + 1 if left out.")
    ] = None,
    divisor: Divisor = None,
    score_divisor: ScoreDivisor = "1",
    query_token: QueryToken = True,
    block: Annotated[
        str, typer.Option(help="full, every weight, or restricted.")
    ] = "full",
    teachers: Annotated[
        str | None,
        typer.Option(
            help="white (if left out), diagonal or general covariance, in symbols."
        ),
    ] = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Label noise, of variance sigma squared.")
    ] = False,
    mixture: Annotated[
        bool,
        typer.Option(
            "--mixture", help="A fraction 1 - p of prompts has one fixed teacher."
        ),
    ] = False,
    outputs: Annotated[
        int | None, counted("Labels of one x, in symbols; 1 if left out.")
    ] = None,
    shared_basis: Annotated[
        bool,
        typer.Option(
            "--shared-basis",
            help="D labels, one for each direction: teachers on the eigenvectors of x.",
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
        {
            "heads": heads,
            "rank": rank,
            "value_rank": value_rank,
            "divisor": divisor,
            "score_divisor": None if score_divisor == "1" else score_divisor,
            "query_token": None if query_token else False,
        },
    )
    symbols = {
        "teachers": teachers,
        "noise": noise,
        "mixture": mixture,
        "outputs": outputs,
        "shared_basis": shared_basis,
    }
    # Through the reader of statement files, so that both accept the same models.
    derivation = derivation_of(
        _task_table(task, dim, symbols),
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


def _task_table(
    file: Path | None, dim: int | None, symbols: dict[str, Any]
) -> dict[str, Any]:
    """The task of a file, or a task in symbols of this dimension; ValueError where both or neither are given."""
    stated = [name for name, value in symbols.items() if value]
    if file is None:
        if dim is None:
            raise ValueError(
                "pass --dim for a task in symbols, or --task FILE.toml for one in numbers"
            )
        chosen = {name: symbols[name] for name in stated}
        return {"dimension": dim, **chosen}
    if dim is not None or stated:
        option = "dim" if dim is not None else stated[0].replace("_", "-")
        raise ValueError(f"--task holds the whole task: leave --{option} out")
    return task_of_file(file).to_dict()


def _model_settings(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """Fields of a model's table: one head of rank one for the package's own, and the options that are passed.

    A model of the user's own takes the settings that are passed, and no others.
    """
    settings = {name: value for name, value in options.items() if value is not None}
    if model in ("merged", "separate", "factorised"):
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
