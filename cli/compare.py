"""The commands that compare theory with runs: verify, figures, replay, overlay."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..runtime.ascii_text import named
from .completion import claims_that_begin, figures_that_begin
from .exit_status import ExitStatus
from .option_groups import with_grouped_options
from .options import Json, ModelOptions, TaskOptions, WeightDecay, measured
from .output.streams import warnings_in_one_line
from .whole_numbers import counted

if TYPE_CHECKING:
    from ..models.built_in import BuiltIn
    from ..simulate import Trajectory
    from ..task import Task
    from .output.overlay import LaidOver


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
            "Aligned start of the theory's curve; if left out, the first of --weights, else fitted to the first drop."
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
    from ..compare import match_plateaus
    from ..runtime.checks import check_choice
    from ..runtime.time_axis import UNITS
    from ..theory import fixed_points
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

    has_flow_time = _has_flow_time(run)
    decay = _decay_of(run, weight_decay)
    if decay > 0 and not has_flow_time:
        raise ValueError(
            f"{log} has no flow time, and fixed points under weight decay are known for the decay of gradient descent: "
            "decoupled decay, as AdamW's, has others"
        )
    points = fixed_points(problem, attention, weight_decay=decay)
    matches = match_plateaus(points, run)
    # Without a flow time there is no curve, only plateaus.
    laid = None
    if has_flow_time or out is not None or scale is not None:
        laid = _laid_over(
            (problem, attention), run, scale, decay, has_weights=bool(weights)
        )
    if out is not None and laid is not None:
        write_overlay(laid.both, out, x)
    if json:
        print(overlay_json(laid, matches))
    else:
        print_overlay(laid, matches, run)
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


def _laid_over(
    question: tuple["Task", "BuiltIn"],
    run: "Trajectory",
    scale: Any,
    decay: float,
    *,
    has_weights: bool,
) -> "LaidOver":
    """The theory's curve over a run: from a given scale, else from its first weights, else from a fitted scale."""
    from ..compare import fitted_scale, overlay
    from ..runtime.checks import positive_number
    from ..theory import time_course
    from .output.overlay import LaidOver

    task, model = question
    if run.is_external and not _has_flow_time(run):
        raise ValueError(
            "pass --learning-rate, that of the logged run: the theory's curve counts flow time "
            "(Adam has none: without --learning-rate, --out and --scale its plateaus alone are matched)"
        )
    number: float | None = None
    start: Any = None
    if scale is not None:
        origin = "as given"
        start = number = positive_number(scale, "--scale")
    elif has_weights and run.weight_time[0] == run.time[0]:
        origin = "weights"
        start = run.initial
    else:
        origin = "fitted"
        start = number = fitted_scale(task, model, run, weight_decay=decay)
    with warnings_in_one_line():
        curve = time_course(task, model, run.flow_time, start, weight_decay=decay)
    return LaidOver(overlay(curve, run), number, origin)


def _has_flow_time(run: "Trajectory") -> bool:
    """Whether a run follows a gradient flow at a known rate: not under Adam, nor in a log without its rate."""
    try:
        return len(run.flow_time) > 0
    except ValueError:
        return False


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
        return run
    rate = options.pop("learning_rate")
    scale = options.pop("loss_scale")
    return external_run(
        log,
        learning_rate=rate,
        loss_scale=1.0 if scale is None else scale,
        **options,
    )
