"""Options that several commands share, and the tasks and models that they describe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .whole_numbers import counted, written_out

if TYPE_CHECKING:
    from fractions import Fraction

    from ..models.built_in import BuiltIn
    from ..runtime.decimals import Number
    from ..task import Task


def number(text: object) -> "float | Fraction":
    """The number of an option, such as 0.4 or 2/5, as it is written."""
    from ..runtime import decimals

    try:
        return decimals.number_of_text(text)
    except ValueError:
        message = f"{text!r} is no number: write a decimal, or a fraction such as 2/5"
        raise typer.BadParameter(message) from None


Eigenvalues = Annotated[
    str | None,
    typer.Option(help="Eigenvalues of the covariance of x: 4,3,2,1 or 2/5,3/10."),
]
Trace = Annotated[
    Any,
    typer.Option(
        parser=number, help="Rescale the covariance to this trace.", metavar="NUMBER"
    ),
]
ContextLength = Annotated[
    str | None,
    typer.Option(help="N, or n0..N such as 1..N for the loss over these lengths."),
]
Noise = Annotated[
    Any,
    typer.Option(
        parser=number,
        help="Variance of the label noise; 0 if left out.",
        metavar="NUMBER",
    ),
]
TaskFile = Annotated[
    Path | None, typer.Option("--task", help="TOML file with the fields of Task.")
]
Kind = Annotated[str, typer.Option("--model", help="merged or separate.")]
Heads = Annotated[int | None, counted("Number of heads; D if left out.")]
Rank = Annotated[int, counted("Rank of key and query (separate).")]
Divisor = Annotated[
    str | None, typer.Option(help="context (N, the default), tokens (N + 1) or none.")
]
ScoreDivisor = Annotated[
    str,
    typer.Option(
        help="Divisor of the scores: 2, 3/2, sqrt(3), or sqrt_key, the root of a key's size."
    ),
]
WeightDecay = Annotated[
    Any,
    typer.Option(
        parser=number,
        help="L2 decay of the training, wd in gradient + wd * weights; 0 if left out.",
        metavar="NUMBER",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def task_of(
    eigenvalues: str | None,
    trace: "Number | None",
    context_length: str | None,
    noise: "Number | None",
    file: Path | None,
) -> "Task":
    """The task that the options describe, or that of the file; ValueError where both or neither are given."""
    from ..runtime.files import read_utf8
    from ..task import Task, eigenvalue_list

    if file is not None:
        options = (eigenvalues, context_length, trace, noise)
        if any(option is not None for option in options):
            raise ValueError(
                "--task holds the whole task: leave the other options of the task out"
            )
        try:
            return Task.from_toml(read_utf8(file))
        except ValueError as error:
            raise ValueError(f"{file} holds no task: {error}") from None
    if eigenvalues is None or context_length is None:
        raise ValueError("pass --eigenvalues and --context-length, or --task FILE.toml")
    spectrum = eigenvalue_list(eigenvalues)
    # Options have no default, so that one beside --task is noticed.
    variance = 0.0 if noise is None else noise
    return Task(
        spectrum,
        context_length=written_out(context_length),
        noise_variance=variance,
        trace=trace,
    )


def model_of(
    name: str,
    heads: int,
    rank: int,
    divisor: str | None,
    softmax: bool = False,
    score_divisor: str = "1",
) -> "BuiltIn":
    """The model that the options describe; ValueError for a rank of merged attention."""
    from ..models.built_in import model_from_dict

    settings: dict[str, Any] = {
        "model": name,
        "heads": heads,
        "divisor": divisor,
        "softmax": softmax,
    }
    settings["score_divisor"] = score_divisor
    if name != "merged":
        settings["rank"] = rank
    elif rank != 1:
        raise ValueError(
            "--rank is for the separate model: merged attention has no rank"
        )
    return model_from_dict(settings)
