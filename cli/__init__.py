"""The command line: what `attndyn` does, how it ends, and what it says of an error."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from ..runtime.ascii_text import named
from ..runtime.versions import package_version
from . import compare, measures, simulate, theory
from . import readout as readout
from .exit_status import ExitStatus, in_words
from .explorer import explore
from .networks import train_network
from .output.streams import abandon, flush, is_closed_pipe, spelled_output
from .predict import predict
from .signals import ended_by_signals

app = typer.Typer(
    help="Training dynamics of in-context learning in attention: theory, simulation, comparison.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Every error is one line on standard error."""
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    with spelled_output(), ended_by_signals() as ending:
        try:
            return _run(command_line)
        except (KeyboardInterrupt, Abort):
            return _complain(ending.message, ending.status)


def _run(arguments: list[str]) -> int:
    """Exit status of a command that is not interrupted; an error that a user can correct is reported in one line."""
    try:
        status = _command(arguments)
        flush()
        return status
    except TyperException as error:
        return _complain(
            error.format_message().replace("Value error, ", ""), ExitStatus.NOT_DONE
        )
    except OSError as error:
        abandon()
        if is_closed_pipe(error):
            return ExitStatus.NOBODY_READS
        return _complain(_culprit(error), ExitStatus.NOT_DONE)
    except (
        ValueError,
        MemoryError,
        ZeroDivisionError,
        OverflowError,
        FloatingPointError,
    ) as error:
        return _complain(str(error) or type(error).__name__, ExitStatus.NOT_DONE)
    except ArithmeticError as error:  # training has diverged
        return _complain(str(error), ExitStatus.OTHER_THAN_EXPECTED)


def _command(arguments: list[str]) -> int:
    """Exit status of a command; raises the KeyboardInterrupt and the OSError of a closed pipe, which typer hides."""
    output = sys.stdout
    try:
        status = app(arguments, prog_name="attndyn", standalone_mode=False)
    except SystemExit as exit:
        # typer replaces standard output when its pipe is closed.
        sys.stdout = output
        if is_closed_pipe(exit.__context__):
            raise exit.__context__ from None
        status = exit.code
    # typer turns Ctrl-C into this status.
    if status == ExitStatus.INTERRUPTED:
        raise KeyboardInterrupt
    return status if isinstance(status, int) else ExitStatus.AS_EXPECTED


def _culprit(error: OSError) -> str:
    """The file that cannot be read or written, and the reason."""
    if error.errno is None:  # such as a cluster that does not answer
        return str(error)
    problem = "cannot write the output"
    if error.filename:
        problem = f"cannot read or write {_named(error.filename)}"
    return f"{problem}: {error.strerror}"


def _named(file: object) -> str:
    """The name of a file in an error, which is a path or the number of an open file."""
    if isinstance(file, str | bytes | os.PathLike):
        return named(os.fsdecode(file))
    return str(file)


def _complain(message: str, status: ExitStatus) -> ExitStatus:
    """Print the message in one line on standard error; returns the status."""
    # A call without arguments has printed the help, and has no message.
    if message:
        # Standard error may be closed.
        with suppress(OSError):
            print(
                f"attndyn: {' '.join(message.split())}",
                file=sys.stderr,
                flush=True,
            )
    return status


def _show_version(is_asked: bool) -> None:
    if is_asked:
        print(f"attndyn {package_version()}")
        raise typer.Exit


def _show_citation(is_asked: bool) -> None:
    if is_asked:
        from importlib.resources import files

        for name in ("CITATION.cff", "CITATION.bib"):
            print(files("attndyn").joinpath(name).read_text(encoding="utf-8"))
        raise typer.Exit


@app.callback(epilog=in_words(*ExitStatus))
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
    cite: Annotated[
        bool,
        typer.Option(
            "--cite",
            callback=_show_citation,
            is_eager=True,
            help="Print how to cite (CFF, BibTeX).",
        ),
    ] = False,
) -> None:
    pass


_DONE_OR_NOT = in_words(ExitStatus.AS_EXPECTED, ExitStatus.NOT_DONE)
_JUDGED = in_words(
    ExitStatus.AS_EXPECTED, ExitStatus.OTHER_THAN_EXPECTED, ExitStatus.NOT_DONE
)
_EVERY_STATUS = in_words(*ExitStatus)

app.command(epilog=_JUDGED)(compare.verify)
app.command(epilog=_DONE_OR_NOT)(compare.figures)
app.command("fixed-points", epilog=_DONE_OR_NOT)(theory.fixed_points)
app.command("time-course", epilog=_DONE_OR_NOT)(theory.time_course)
app.add_typer(predict, name="predict")
app.command(epilog=_DONE_OR_NOT)(theory.derive)
app.command(epilog=_EVERY_STATUS)(theory.check)
app.command(epilog=_JUDGED)(simulate.simulate)
app.command(epilog=_DONE_OR_NOT)(simulate.sweep)
app.add_typer(train_network, name="train-network")
app.command(epilog=_JUDGED)(compare.replay)
app.command(epilog=_DONE_OR_NOT)(compare.overlay)
app.command(epilog=_DONE_OR_NOT)(measures.measure)
app.command(epilog=_DONE_OR_NOT)(explore)
