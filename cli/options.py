"""Options that several commands share, and the tasks and models that they describe."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .whole_numbers import counted, whole_number, written_out

if TYPE_CHECKING:
    from fractions import Fraction

    from ..models.built_in import BuiltIn
    from ..task import Task


def number(text: object) -> "float | Fraction":
    """The number of an option, such as 0.4 or 2/5, as it is written."""
    from ..runtime import decimals

    try:
        return decimals.number_of_text(text)
    except ValueError:
        message = f"{text!r} is no number: write a decimal, or a fraction such as 2/5"
        raise typer.BadParameter(message) from None


def double(text: object) -> float:
    """The number of an option, such as 0.4 or 2/5, as the nearest double."""
    return float(number(text))


def numeric(help_text: str) -> Any:
    """An option that takes a number as it is written, such as 0.4 or 2/5."""
    return typer.Option(help=help_text, parser=number, metavar="NUMBER")


def measured(help_text: str) -> Any:
    """An option that takes a number, such as 0.4 or 2/5, as the nearest double."""
    return typer.Option(help=help_text, parser=double, metavar="NUMBER")


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
WeightDecay = Annotated[
    Any,
    measured("L2 decay of the training, wd in gradient + wd * weights; 0 if left out."),
]


Divisor = Annotated[
    str | None,
    typer.Option(
        help="context (N; if left out, for linear), tokens (N + 1), none, or a number."
    ),
]
ScoreDivisor = Annotated[
    str,
    typer.Option(
        help="Divisor of the scores: 2, 3/2, sqrt(3), or sqrt_key, the root of a key's size."
    ),
]
QueryToken = Annotated[
    bool,
    typer.Option(
        "--query-token/--no-query-token",
        help="Whether attention reads the query's own token.",
    ),
]
TaskFile = Annotated[
    Path | None,
    typer.Option("--task", help="TOML or JSON file with the fields of Task."),
]


@dataclass
class TaskOptions:
    """A task: its numbers as options, or a file that holds the whole of it. No option has a default of its own."""

    eigenvalues: Annotated[
        str | None,
        typer.Option(help="Eigenvalues of the covariance of x: 4,3,2,1 or 2/5,3/10."),
    ] = None
    trace: Annotated[Any, numeric("Rescale the covariance to this trace.")] = None
    context_length: Annotated[
        str | None,
        typer.Option(
            help="N; n0..N or 5,10,20 for the mean loss over these lengths; 0:1,5:1/2 with weights."
        ),
    ] = None
    inputs: Annotated[
        str | None,
        typer.Option(
            help="Law of x: gaussian (if left out), uniform, rademacher or sphere."
        ),
    ] = None
    input_mean: Annotated[
        str | None, typer.Option(help="Mean of x, such as 1,0; 0 if left out.")
    ] = None
    teachers: Annotated[
        str | None,
        typer.Option(
            help="Law of the teachers, a table of TOML: {law = 'sphere', dimension = 2}."
        ),
    ] = None
    noise_variance: Annotated[
        Any, numeric("Variance of the label noise; 0 if left out.")
    ] = None
    # A longer name would be cut off in the help of 80 columns.
    query_noise_variance: Annotated[
        Any,
        typer.Option(
            "--query-noise",
            help="That of the query's label; the same if left out.",
            parser=number,
            metavar="NUMBER",
        ),
    ] = None
    file: TaskFile = None

    @property
    def is_given(self) -> bool:
        """Whether any option of a task is there."""
        return any(value is not None for value in vars(self).values())

    def task_like(self, stated: "Task", file: Path) -> "Task":
        """The task that a file states; ValueError for options that say something else, naming both values."""
        from ..compare.conventions import task_differences

        if self.is_given:
            differences = task_differences(self.task(), stated)
            if differences:
                words = differences[0].in_words("the command", str(file))
                raise ValueError(f"{words}: leave the task out, the file states it")
        return stated

    def task(self) -> "Task":
        """The task that the options describe, or that of the file; ValueError where both or neither are given."""
        from ..task import Task, eigenvalue_list

        stated = {
            name: value
            for name, value in vars(self).items()
            if name != "file" and value is not None
        }
        if self.file is not None:
            if stated:
                raise ValueError(
                    "--task holds the whole task: leave the other options of the task out"
                )
            return task_of_file(self.file)
        if self.eigenvalues is None or self.context_length is None:
            raise ValueError(
                "pass --eigenvalues and --context-length, or --task FILE.toml"
            )
        stated["eigenvalues"] = eigenvalue_list(self.eigenvalues)
        stated["context_length"] = context_lengths(self.context_length)
        if self.input_mean is not None:
            stated["input_mean"] = numbers("--input-mean", self.input_mean)
        if self.teachers is not None:
            stated["teachers"] = _law_of_teachers(self.teachers)
        return Task.from_dict(stated)


@dataclass
class ModelOptions:
    """A model of the package; what is left out is as in the package, or as in a file that states it."""

    kind: Annotated[
        str | None,
        typer.Option("--model", help="merged, separate (if left out) or factorised."),
    ] = None
    heads: Annotated[
        int | None,
        counted("Number of heads; D if left out, 1 of merged with several outputs."),
    ] = None
    rank: Annotated[
        int | None,
        counted("Rank of key and query: 1 if left out, D + K for factorised."),
    ] = None
    value_rank: Annotated[
        int | None, counted("Rank of value and output (factorised); D + K if left out.")
    ] = None
    outputs: Annotated[
        int | None,
        counted("K, the number of labels of one x; that of the task if left out."),
    ] = None
    divisor: Divisor = None
    score_divisor: Annotated[
        str | None,
        typer.Option(
            help="Divisor of the scores: 1 (if left out), 3/2, sqrt(3), or sqrt_key, the root of a key's size."
        ),
    ] = None
    softmax: Annotated[
        bool, typer.Option("--softmax", help="Softmax attention, not linear.")
    ] = False
    query_token: Annotated[
        bool | None,
        typer.Option(
            "--query-token/--no-query-token",
            help="Whether attention reads the query's own token, as it does if left out.",
        ),
    ] = None

    def model(self, task: "Task") -> "BuiltIn":
        """The model, for this task; ValueError for a rank that it does not have."""
        from ..models.built_in import model_from_dict

        kind = self._kind()
        # Of several outputs the theory knows one merged head, whatever D is.
        is_one_layer = kind == "merged" and task.outputs > 1
        settings: dict[str, Any] = {
            "model": kind,
            "heads": 1 if is_one_layer else task.dimension,
            "outputs": task.outputs,
            "divisor": None,
        }
        return model_from_dict(settings | self._given() | self._ranks(kind))

    def model_like(self, stated: "BuiltIn", dimension: int, file: Path) -> "BuiltIn":
        """The model that a file states; ValueError for an option that says something else, naming both values."""
        from ..models.built_in import model_from_dict
        from ..models.stated_models import Difference, model_differences

        own_kind = type(stated).__name__.lower()
        kind = own_kind if self.kind is None else self._kind()
        differences: tuple[Difference, ...] = (Difference("model", kind, own_kind),)
        if kind == own_kind:
            settings = {"model": own_kind, **stated.to_dict()}
            wanted = model_from_dict(settings | self._given() | self._ranks(kind))
            differences = model_differences(wanted, stated, dimension)
        if differences:
            words = differences[0].in_words("the command", str(file))
            raise ValueError(f"{words}: leave the option out, the file states it")
        return stated

    def with_heads(self, heads: int | None) -> "ModelOptions":
        """The same model with so many heads, if their number is not given."""
        return self if self.heads is not None else replace(self, heads=heads)

    def _kind(self) -> str:
        """The kind of the model, separate if it was left out; ValueError for another than these."""
        from ..models.built_in import MODELS
        from ..runtime.checks import check_choice

        kind = self.kind or "separate"
        if kind == "softmax":
            raise ValueError(
                "--model must be merged, separate or factorised, and --softmax makes it softmax attention"
            )
        check_choice(kind, "model", MODELS)
        return kind

    def _given(self) -> dict[str, Any]:
        """The settings that are given, ranks aside."""
        settings = {
            "heads": self.heads,
            "outputs": self.outputs,
            "divisor": self.divisor,
            "score_divisor": self.score_divisor,
            "softmax": self.softmax or None,
            "query_token": self.query_token,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def _ranks(self, kind: str) -> dict[str, int]:
        """The ranks that are given; ValueError for one that the model does not have."""
        if kind == "merged" and self.rank not in (None, 1):
            raise ValueError(
                "--rank is for the other models: merged attention has no rank"
            )
        if kind != "factorised" and self.value_rank is not None:
            raise ValueError("--value-rank is for --model factorised: leave it out")
        ranks = {}
        if self.rank is not None and kind != "merged":
            ranks["rank"] = self.rank
        if self.value_rank is not None:
            ranks["value_rank"] = self.value_rank
        return ranks


def context_lengths(text: str) -> Any:
    """N, "n0..N", a list of lengths or {length: weight}, from 5, 0..5, "5,10" or "0:1,5:1/2".

    >>> context_lengths("1e1"), context_lengths("0..5"), context_lengths("5,1e1"), context_lengths("0:1,5:2.5")
    ('10', '0..5', [5, 10], {0: 1.0, 5: 2.5})
    """
    if ":" in text:
        weights: dict[Any, Any] = {}
        for length, weight in pairs("--context-length", text):
            if length in weights:
                raise ValueError(f"--context-length states {length} twice")
            weights[length] = weight
        return weights
    if "," in text:
        return [_whole_or_text(part) for part in text.split(",")]
    return written_out(text)


def pairs(option: str, text: str) -> list[tuple[int, Any]]:
    """(whole number, number) for each part of "0:1,5:1/2"; ValueError for anything else.

    >>> pairs("--option", "0:1,1e1:0.5")
    [(0, 1.0), (10, 0.5)]
    """
    result = []
    for part in text.split(","):
        name, colon, value = part.partition(":")
        try:
            if not colon:
                raise ValueError
            result.append((whole_number(name), _number_of(value)))
        except ValueError:
            raise ValueError(
                f"{option} must be pairs of a whole number and a number such as 0:1,5:1/2, not {part!r}"
            ) from None
    return result


def numbers(option: str, text: str) -> list[Any]:
    """The numbers of a text such as "1,0.5,2/5"; ValueError for anything else.

    >>> numbers("--option", "1,0.5")
    [1.0, 0.5]
    """
    try:
        return [_number_of(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"{option} must be numbers separated by commas, such as 1,0.5 or 2/5,3/10, not {text!r}"
        ) from None


def doubles(option: str, text: str) -> list[float]:
    """The numbers of a text such as "0.3,-1/5" as doubles; ValueError for anything else.

    >>> doubles("--omega", "0.3,-1/5")
    [0.3, -0.2]
    """
    return [float(number) for number in numbers(option, text)]


def _number_of(text: str) -> Any:
    """A number as it is written; ValueError for anything else."""
    from ..runtime import decimals

    return decimals.number_of_text(text)


def _whole_or_text(text: str) -> int | str:
    """The whole number that a text writes, or the text, which a task refuses by name."""
    try:
        return whole_number(text)
    except ValueError:
        return text


def task_of_file(file: Path) -> "Task":
    """The task of a TOML file, or of a JSON file; ValueError names the file."""
    from ..runtime.files import read_utf8
    from ..task import Task

    read = Task.from_json if file.suffix.lower() == ".json" else Task.from_toml
    try:
        return read(read_utf8(file))
    except ValueError as error:
        raise ValueError(f"{file} holds no task: {error}") from None


def _law_of_teachers(text: str) -> Any:
    """The settings of a law from an inline table of TOML; ValueError for anything else."""
    import tomllib
    from decimal import Decimal

    wanted = (
        "--teachers must be a table of TOML such as {law = 'sphere', dimension = 2}"
    )
    try:
        tables = tomllib.loads(f"teachers = {text}", parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{wanted}: {error}") from None
    law = tables.pop("teachers")
    if tables or not isinstance(law, dict):
        raise ValueError(f"{wanted}, not {text!r}")
    return law
