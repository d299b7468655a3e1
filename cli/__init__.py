"""The command line: verify, figures, fixed-points, derive, check, simulate, sweep, replay."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from .. import __version__
from . import evidence, formulas, runs

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended."""

app = typer.Typer(
    help="Training dynamics of in-context learning in attention: theory, simulation, comparison.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Every error is one line on standard error."""
    try:
        status = app(list(sys.argv[1:] if arguments is None else arguments), standalone_mode=False)
        if status == INTERRUPTED:  # typer has caught it
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except TyperException as error:
        return _complain(error.format_message(), 2)
    except (KeyboardInterrupt, Abort):
        return _complain("interrupted", INTERRUPTED)
    except OSError as error:
        where = f"cannot read or write {error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", 1)
    except (ValueError, ArithmeticError, MemoryError) as error:
        return _complain(str(error) or type(error).__name__, 1)


def _complain(message: str, status: int) -> int:
    if message:  # a call without arguments has shown the help already
        print(f"attndyn: {' '.join(message.split())}", file=sys.stderr)
    return status


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"attndyn {__version__}")
        raise typer.Exit


def _show_citation(wanted: bool) -> None:
    if wanted:
        from importlib.resources import files

        print(files("attndyn").joinpath("CITATION.cff").read_text(encoding="utf-8"), end="")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    cite: Annotated[
        bool, typer.Option("--cite", callback=_show_citation, is_eager=True, help="Print how to cite.")
    ] = False,
) -> None:
    pass


app.command()(evidence.verify)
app.command()(evidence.figures)
app.command("fixed-points")(formulas.fixed_points)
app.command()(formulas.derive)
app.command()(formulas.check)
app.command()(runs.simulate)
app.command()(runs.sweep)
app.command()(evidence.replay)
