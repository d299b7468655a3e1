"""The commands that compare theory with runs: verify, figures, replay, overlay."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..runtime.ascii_text import named
from .completion import claims_that_begin, figures_that_begin
from .exit_status import ExitStatus
from .option_groups import with_grouped_options
from .options import Json, ModelOptions, TaskOptions, WeightDecay, measured
from .whole_numbers import counted

if TYPE_CHECKING:
    from ..simulate import Trajectory


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
        float | None,
        typer.Option(
            help="Largest relative deviation allowed: 2e-6 if left out, 1e-12 of a reduced flow.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Train from a recorded file and compare every loss: status 1 past the tolerance.

    A recorded reduced flow of softmax heads is followed step by step instead.
    """
    import sys
    from json import dumps

    from ..compare import replay as train_again

    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"--tolerance must be zero or more, not {tolerance}")
    result = train_again(file, engine)
    if result.not_used:
        print(f"not used: {', '.join(result.not_used)}", file=sys.stderr)
    # A deviation that is not finite is past every tolerance.
    largest = result.tolerance if tolerance is None else tolerance
    within = result.max_relative_deviation <= largest
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


@with_grouped_options
def overlay(
    log: Annotated[
        Path,
        typer.Argument(
            help="Losses as CSV, JSON or JSONL, or an npz file of attndyn simulate."
        ),
    ],
    task: TaskOptions,
    model: ModelOptions,
    learning_rate: Annotated[
        Any,
        measured("Learning rate of the logged run."),
    ] = None,
    loss_scale: Annotated[
        Any,
        measured(
            "The logged loss in parts of the mean square: 1/2 for a loss with a half."
        ),
    ] = None,
    scale: Annotated[
        Any,
        measured(
            "Aligned start of the theory's curve; fitted to the first drop if left out."
        ),
    ] = None,
    weight_decay: WeightDecay = None,
    step: Annotated[
        str | None, typer.Option("--step", help="Name of the log's column of steps.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option("--loss", help="Name of the log's column of losses.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="npz file of checkpoints: STEP/NAME, or steps and names."),
    ] = None,
    x: Annotated[
        str, typer.Option("--x", help="Axis of the figure: steps or flow_time.")
    ] = "flow_time",
    out: Annotated[
        Path | None, typer.Option(help="Write the figure here: PDF, PNG or SVG.")
    ] = None,
    json: Json = False,
) -> None:
    """Lay the theory's curve over a run of your own, and match its plateaus to fixed points."""
    # Long because every option of a task, a model and a log is one of its arguments.
    from ..compare import fitted_scale, match_plateaus
    from ..compare import overlay as lay_over
    from ..runtime.checks import check_choice, positive_number
    from ..runtime.time_axis import UNITS
    from ..theory import fixed_points, time_course
    from .output.overlay import (
        figure_format,
        overlay_json,
        print_overlay,
        write_overlay,
    )

    check_choice(x, "--x", UNITS)
    if out is not None:
        figure_format(out)
    problem = task.task()
    attention = model.model(problem)
    run = _logged_run(
        log,
        learning_rate=learning_rate,
        loss_scale=loss_scale,
        step=step,
        loss=loss,
        weights=weights,
    )

    decay = _decay_of(run, weight_decay)
    is_fitted = scale is None
    given = None if is_fitted else positive_number(scale, "--scale")
    start = given or fitted_scale(problem, attention, run, weight_decay=decay)
    curve = time_course(problem, attention, run.flow_time, start, weight_decay=decay)
    both = lay_over(curve, run)
    points = fixed_points(problem, attention, weight_decay=decay)
    matches = match_plateaus(points, run)
    if out is not None:
        write_overlay(both, out, x)
    if json:
        print(overlay_json(both, matches, start, is_fitted=is_fitted))
    else:
        print_overlay(both, matches, start, is_fitted=is_fitted)
        if out is not None:
            print(named(out))


def _decay_of(run: "Trajectory", weight_decay: float | None) -> float:
    """The L2 decay of a run: its own if it was saved, else as given; ValueError where both are stated."""
    if run.is_external or run.is_flow:
        return weight_decay or 0.0
    if weight_decay is not None:
        raise ValueError(
            "a saved run knows its own weight decay: leave --weight-decay out"
        )
    return float((run.optimizer or {}).get("weight_decay", 0.0))


def _refuse_frozen(run: "Trajectory", log: Path) -> None:
    """ValueError for a run that keeps whole weights as they are."""
    frozen = run.settings.get("frozen") or ()
    if isinstance(frozen, dict):
        # Masks may hold what stays 0 in theory as well.
        frozen = [name for name, mask in frozen.items() if _is_all_true(mask)]
    if frozen:
        raise ValueError(
            f"{log} keeps {', '.join(frozen)} as it is, and the theory is of training all weights"
        )


def _is_all_true(mask: Any) -> bool:
    """Whether nested lists hold True alone."""
    if isinstance(mask, list):
        return all(_is_all_true(part) for part in mask)
    return bool(mask)


def _logged_run(log: Path, **options: Any) -> "Trajectory":
    """The run of a log, or of a file that `attndyn simulate` wrote; ValueError for options that it does not take."""
    from ..simulate import external_run, load

    if log.suffix == ".npz":
        given = [name for name, value in options.items() if value is not None]
        if given:
            option = given[0].replace("_", "-")
            raise ValueError(
                f"{log} is a saved run, which knows its own: leave --{option} out"
            )
        run = load(log)
        _refuse_frozen(run, log)
        if run.is_flow:
            return run
        # Without a rate there is no flow time, which says why.
        _ = run.flow_time
        return run
    rate = options.pop("learning_rate")
    if rate is None:
        raise ValueError(
            "pass --learning-rate, that of the logged run: the theory's curve counts flow time"
        )
    scale = options.pop("loss_scale")
    return external_run(
        log,
        learning_rate=rate,
        loss_scale=1.0 if scale is None else scale,
        **options,
    )
