"""The commands that compare theory with runs: verify, figures, replay."""

from pathlib import Path
from typing import Annotated

import typer

from ..runtime.ascii_text import named
from .completion import claims_that_begin, figures_that_begin
from .exit_status import ExitStatus
from .options import Json
from .whole_numbers import counted


def verify(
    claims: Annotated[
        list[str] | None,
        typer.Argument(
            help="Claims by id, or Python files of your own.",
            autocompletion=claims_that_begin,
        ),
    ] = None,
    tier: Annotated[
        str,
        typer.Option(help="Check claims up to this tier: fast, standard, long, paper."),
    ] = "standard",
    out: Annotated[
        Path, typer.Option(help="Folder for ledger, report, figures and runs.")
    ] = Path("results"),
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the ledger here too.")
    ] = None,
    seed: Annotated[int, counted("Base seed of every run.")] = 0,
    workers: Annotated[
        int | None, counted("Processes; one a core if left out.", least=1)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on: check only what has no verdict yet."),
    ] = False,
) -> int:
    """Check every claim of the theory against gradient descent."""
    import sys

    from ..compare import verify as check
    from ..compare.figures import draw, figures_up_to
    from ..compare.report import write_report
    from ..runtime.files import make_folder, write_text
    from .output.tables import print_ledger

    if json is not None:
        make_folder(json.parent)
    try:
        ledger = check(
            claims or (), tier=tier, out=out, seed=seed, workers=workers, resume=resume
        )
    except KeyboardInterrupt as error:
        for how_to_go_on in error.args:
            print(f"attndyn: {how_to_go_on}", file=sys.stderr)
        raise
    for path in filter(None, (out / "ledger.json", json)):
        write_text(path, ledger.to_json())
    names = [] if claims else figures_up_to(tier)
    drawn = []
    if names:  # none would mean all
        drawn = draw(
            names,
            out=out / "figures",
            runs=out / "runs",
            seed=seed,
        )
    write_report(ledger, out, drawn)
    print_ledger(ledger, out)
    return ExitStatus.AS_EXPECTED if ledger.holds else ExitStatus.OTHER_THAN_EXPECTED


def figures(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Figures by name; all if left out.", autocompletion=figures_that_begin
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the PDF and PNG files.")] = Path(
        "figures"
    ),
    seed: Annotated[int, counted("Base seed of every run.")] = 0,
) -> None:
    """Draw theory over simulation, as PDF and PNG."""
    from ..compare.figures import draw

    for path in draw(
        names or (),
        out=out,
        runs=out / "runs",
        seed=seed,
    ):
        print(named(path))


def replay(
    file: Annotated[Path, typer.Argument(help="A recorded npz file.")],
    engine: Annotated[str, typer.Option(help="tokens or statistics.")] = "tokens",
    tolerance: Annotated[
        float, typer.Option(help="Largest relative deviation allowed.")
    ] = 2e-6,
    json: Json = False,
) -> int:
    """Train from a recorded file and compare every loss: status 1 past the tolerance."""
    import sys
    from json import dumps

    from ..compare import replay as train_again

    if not tolerance >= 0:
        raise ValueError(f"--tolerance must be zero or more, not {tolerance}")
    result = train_again(file, engine)
    if result.not_used:
        print(f"not used: {', '.join(result.not_used)}", file=sys.stderr)
    # A deviation that is not finite is past every tolerance.
    within = result.max_relative_deviation <= tolerance
    if json:
        print(dumps(result.to_dict()))
    else:
        note = "" if within else ": past the tolerance"
        print(
            f"{file.name} on {engine}: {result.steps} steps, largest relative deviation "
            f"{result.max_relative_deviation:.2e} (median {result.median_relative_deviation:.2e}), "
            f"{result.seconds:.2f} s{note}"
        )
    return ExitStatus.AS_EXPECTED if within else ExitStatus.OTHER_THAN_EXPECTED
