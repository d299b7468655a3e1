"""The command predict readout: errors of the linear read-out on new and on training tasks in high dimension."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exit_status import ExitStatus, in_words
from .option_groups import with_grouped_options
from .options import Json, doubles
from .output.files import format_named, refuse_existing
from .predict import predict

if TYPE_CHECKING:
    from ..compare.readout_predictions import ReadoutPrediction

_INFINITE = ("inf", "∞")


@dataclass
class ReadoutOptions:
    """Ratios of sizes, one number each or a list; lists are as long as each other."""

    tau: Annotated[
        str, typer.Option(help="Training prompts P/(D(D+1)), such as 0.5,2 or inf.")
    ]
    alpha: Annotated[str, typer.Option(help="Context length N/D.")]
    kappa: Annotated[str, typer.Option(help="Training tasks k/D.")]
    noise: Annotated[
        str, typer.Option(help="Noise of the labels, whose variance is 1 without it.")
    ] = "0"
    ridge: Annotated[
        str | None,
        typer.Option(
            help="Ridge lambda of the penalty (lambda/D)|Gamma|² beside the mean of squares; 0 if left out."
        ),
    ] = None
    theta: Annotated[
        str | None,
        typer.Option(help="Times of gradient flow instead of a ridge solution."),
    ] = None
    test_alpha: Annotated[
        str | None,
        typer.Option(help="Context length N/D of new tasks; --alpha if left out."),
    ] = None

    def prediction(self) -> "ReadoutPrediction":
        """The errors; ValueError for text that is no numbers and for what the theory refuses."""
        from ..compare.readout_predictions import readout_prediction

        texts = {
            "tau": self.tau,
            "alpha": self.alpha,
            "kappa": self.kappa,
            "noise": self.noise,
            "ridge": self.ridge,
            "theta": self.theta,
            "test_alpha": self.test_alpha,
        }
        given = {
            name: _parameters(f"--{name.replace('_', '-')}", text)
            for name, text in texts.items()
            if text is not None
        }
        _refuse_other_lengths(given)
        return readout_prediction(**given)


def _parameters(option: str, text: str) -> list[float]:
    """The numbers of a list, of which some may be inf; ValueError for anything else.

    >>> _parameters("--tau", "1/2,inf")
    [0.5, inf]
    """
    parts = [part.strip() for part in text.split(",")]
    return [
        float("inf") if part in _INFINITE else doubles(option, part)[0]
        for part in parts
    ]


def _refuse_other_lengths(given: dict[str, list[float]]) -> None:
    """ValueError for lists of different lengths: which number would belong to which?"""
    lengths = {name: len(values) for name, values in given.items() if len(values) > 1}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(
            f"--{name.replace('_', '-')} has {length}"
            for name, length in lengths.items()
        )
        raise ValueError(f"lists must be as long as each other: {listed}")


@dataclass
class TableOptions:
    """Where the table goes."""

    out: Annotated[
        Path | None, typer.Option(help="Write the table here: CSV or JSON.")
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if it is there.")
    ] = False
    json: Json = False


@predict.command(
    "readout", epilog=in_words(ExitStatus.AS_EXPECTED, ExitStatus.NOT_DONE)
)
@with_grouped_options
def readout(readout: ReadoutOptions, output: TableOptions) -> None:
    """Predict errors of the linear read-out on new (icl) and training (idg) tasks as D grows without bound."""
    from json import dumps

    from .output.readout_prediction import print_readout, write_readout

    if output.out is not None:
        format_named(output.out, ("csv", "json"))
        refuse_existing(output.out, output.force)
    prediction = readout.prediction()
    if output.out is not None:
        write_readout(prediction, output.out)
    if output.json:
        print(dumps(prediction.to_dict()))
    else:
        print_readout(prediction, output.out)
