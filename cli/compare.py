"""The commands that compare theory with runs: verify, figures, replay, overlay."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..runtime.ascii_text import named
from .completion import claims_that_begin, figures_that_begin
from .exit_status import ExitStatus
from .option_groups import with_grouped_options
from .options import Json, ModelOptions, TaskOptions, WeightDecay, measured
from .output.files import refuse_one_file
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
            help="Claims by id or by what comes before the dot of their ids, or Python files of your own.",
            autocompletion=claims_that_begin,
        ),
    ] = None,
    tier: Annotated[
        str,
        typer.Option(
            help="Check claims up to this tier: fast, standard, long, paper. Claims that are named are checked "
            "whatever their tier."
        ),
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
            help="Largest relative deviation allowed: if left out 2e-6, 1e-10 with weights, 1e-12 of a reduced flow.",
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
    if not within and result.hint:
        print(f"{file.name}: {result.hint}", file=sys.stderr)
    if json:
        print(dumps(result.to_dict()))
    else:
        note = "" if within else ": past the tolerance"
        print(
            f"{file.name} on {result.engine}: {result.steps} steps, largest relative deviation "
            f"{result.max_relative_deviation:.2e} (median {result.median_relative_deviation:.2e}), "
            f"{result.seconds:.2f} s{note}"
        )
    return ExitStatus.AS_EXPECTED if within else ExitStatus.OTHER_THAN_EXPECTED


@dataclass
class LogOptions:
    """How a log is read; a saved run knows these itself."""

    learning_rate: Annotated[
        Any,
        measured("Learning rate of the logged run."),
    ] = None
    loss_scale: Annotated[
        Any,
        measured(
            "The logged loss in parts of the mean square: 1/2 for a loss with a half."
        ),
    ] = None
    step: Annotated[
        str | None, typer.Option("--step", help="Name of the log's column of steps.")
    ] = None
    loss: Annotated[
        str | None, typer.Option("--loss", help="Name of the log's column of losses.")
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(help="npz file of checkpoints: STEP/NAME, or steps and names."),
    ] = None

    def run(self, log: Path) -> "Trajectory":
        """The run of a log, or of a saved run; ValueError for options that it does not take."""
        return _logged_run(log, **vars(self))


@dataclass
class CurveOptions:
    """Which curve is laid over a run."""

    scale: Annotated[
        Any,
        measured(
            "Aligned start of the theory's curve; if left out, the first of --weights, else fitted to the first drop."
        ),
    ] = None
    weight_decay: WeightDecay = None
    curve: Annotated[
        Path | None,
        typer.Option(
            help="A saved curve instead: an npz file of time-course or predict."
        ),
    ] = None
    family_tolerance: Annotated[
        Any,
        measured(
            "How far softmax heads may start off the symmetric family, of 1: 1e-6 if left out."
        ),
    ] = None

    def refuse_start(self, reason: str) -> None:
        """ValueError for the options of an aligned start, where the curve has another."""
        options = {"--scale": self.scale, "--weight-decay": self.weight_decay}
        for option, value in options.items():
            if value is not None:
                raise ValueError(f"{reason}: leave {option} out")

    def refuse_family_tolerance(self, curve: str) -> None:
        """ValueError for a tolerance of softmax heads where the curve is of something else."""
        if self.family_tolerance is not None:
            raise ValueError(
                f"--family-tolerance is for softmax heads and their own flow, not for {curve}: leave it out"
            )


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
    log_options: LogOptions,
    curve: CurveOptions,
    *,
    x: Annotated[
        str, typer.Option("--x", help="Axis of the figure: steps or flow_time.")
    ] = "flow_time",
    out: Annotated[
        Path | None, typer.Option(help="Write the figure here: PDF, PNG or SVG.")
    ] = None,
    json: Json = False,
) -> None:
    """Lay the theory's curve over a run of your own, and match its plateaus to fixed points.

    A saved run states its task and model, which then may be left out.
    """
    from ..models.protocol import is_softmax
    from ..runtime.checks import check_choice
    from ..runtime.time_axis import UNITS
    from .output.overlay import (
        figure_format,
        overlay_json,
        print_overlay,
        write_overlay,
    )

    check_choice(x, "--x", UNITS)
    if out is not None:
        figure_format(out)
        refuse_one_file(out, {"--curve": curve.curve, "the log": log})
    run = log_options.run(log)
    if curve.curve is not None:
        laid = _laid_from_file(curve, run, _setting_of_curve(task, model, run, log))
    else:
        setting = _setting(task, model, run, log)
        if is_softmax(setting.attention):
            laid = _laid_from_heads(curve, run, setting)
        else:
            laid = _laid_from_start(curve, run, setting)
    if out is not None:
        _require_rate(laid.run)
    if out is not None:
        write_overlay(laid, out, x)
    if json:
        print(overlay_json(laid))
    else:
        print_overlay(laid)
        if out is not None:
            print(named(out))


class Setting(NamedTuple):
    """What a run was trained on, and with which model: as its file states, or as the command does."""

    problem: "Task"
    attention: "BuiltIn"


def _setting(
    task: TaskOptions, model: ModelOptions, run: "Trajectory", log: Path
) -> Setting:
    """The task and the model of a run; ValueError where the command contradicts the file, or neither states them."""
    from ..compare.conventions import stated_task_of
    from ..models.stated_models import stated_model

    own_task, own_model = stated_task_of(run.settings), stated_model(run.settings)
    problem = task.task() if own_task is None else task.task_like(own_task, log)
    if own_model is None:
        return Setting(problem, model.model(problem))
    attention = model.model_like(own_model, problem.dimension, log)
    return Setting(problem, attention)


def _setting_of_curve(
    task: TaskOptions, model: ModelOptions, run: "Trajectory", log: Path
) -> Setting | None:
    """The same beside a saved curve, which needs none: None where the command states none."""
    return _setting(task, model, run, log) if task.is_given else None


def _laid_from_start(
    curve: CurveOptions, run: "Trajectory", setting: Setting
) -> "LaidOver":
    """The curve of linear attention over a run, and the plateaus; these alone where the run has no flow time.

    The curve starts from a given scale, else from the run's first weights, else from a fitted scale.
    """
    from ..compare import fitted_scale, match_plateaus
    from ..compare import overlay as lay_over
    from ..runtime.checks import positive_number
    from ..theory import fixed_points, time_course
    from .output.overlay import LaidOver

    curve.refuse_family_tolerance("linear attention")
    problem, attention = setting
    decay = _decay_of(run, curve.weight_decay)
    has_flow_time = _has_flow_time(run)
    if decay > 0 and not has_flow_time:
        raise ValueError(
            "this run has no flow time, and fixed points under weight decay are known for gradient descent: "
            "decoupled decay, as AdamW's, has others"
        )
    points = fixed_points(problem, attention, weight_decay=decay)
    matches = match_plateaus(points, run)
    if not has_flow_time and curve.scale is None:
        return LaidOver(run, None, matches=matches)
    _require_rate(run)

    scale: float | None = None
    start: Any = None
    has_first_weights = len(run.weight_time) > 0 and run.weight_time[0] == run.time[0]
    if curve.scale is not None:
        start = scale = positive_number(curve.scale, "--scale")
        origin = f"from an aligned start of {scale:.5g}, as given"
    elif has_first_weights:
        start = run.initial
        origin = "from the run's first weights"
    else:
        start = scale = fitted_scale(problem, attention, run, weight_decay=decay)
        origin = f"from an aligned start of {scale:.5g}, fitted to the first drop of the log, no prediction"
    with warnings_in_one_line():
        predicted = time_course(
            problem, attention, run.flow_time, start, weight_decay=decay
        )
    is_fitted = "fitted" in origin
    return LaidOver(run, lay_over(predicted, run), origin, matches, scale, is_fitted)


def _has_flow_time(run: "Trajectory") -> bool:
    """Whether a run follows a gradient flow at a known rate: not under Adam, nor in a log without its rate."""
    try:
        return len(run.flow_time) > 0
    except ValueError:
        return False


def _require_rate(run: "Trajectory") -> None:
    """ValueError where a run has no flow time, which every curve counts."""
    if run.is_external and not _has_flow_time(run):
        raise ValueError(
            "pass --learning-rate, that of the logged run: the theory's curve counts flow time "
            "(Adam has none: without --learning-rate, --out and --scale its plateaus alone are matched)"
        )
    # A saved run says why it has none.
    _ = run.flow_time


def _laid_from_heads(
    curve: CurveOptions, run: "Trajectory", setting: Setting
) -> "LaidOver":
    """The reduced flow of softmax heads from the first weights of a run, over that run."""
    from ..compare import overlay as lay_over
    from ..compare.softmax_predictions import (
        OFF_FAMILY,
        distances_of_run,
        flow_under_run,
    )
    from .output.overlay import LaidOver

    _require_rate(run)
    curve.refuse_start("the flow of softmax heads starts from the run's own weights")
    if _decay_of(run, None):
        raise ValueError(
            "the reduced flow of softmax heads is known without weight decay, and this run has one"
        )
    problem, attention = setting
    tolerance = curve.family_tolerance
    predicted = flow_under_run(
        problem,
        attention,
        run,
        family_tolerance=OFF_FAMILY if tolerance is None else tolerance,
    )
    origin = f"from the run's first weights, at {len(predicted.flow_time)} times"
    distances = distances_of_run(attention, run)
    return LaidOver(run, lay_over(predicted, run), origin, distances=distances)


def _laid_from_file(
    curve: CurveOptions, run: "Trajectory", setting: Setting | None
) -> "LaidOver":
    """A saved curve over a run; with the plateaus of linear attention, if the command states its task."""
    from ..compare import match_plateaus
    from ..compare import overlay as lay_over
    from ..compare.loss_curves import load_curve
    from ..models.protocol import is_softmax
    from ..theory import fixed_points
    from .output.overlay import LaidOver

    assert curve.curve is not None
    _require_rate(run)
    curve.refuse_start("--curve holds the whole curve")
    curve.refuse_family_tolerance("a curve of a file")
    both = lay_over(load_curve(curve.curve), run)
    origin = f"of {named(curve.curve)}"
    if setting is None or is_softmax(setting.attention):
        return LaidOver(run, both, origin)
    points = fixed_points(*setting)
    return LaidOver(run, both, origin, match_plateaus(points, run))


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
        return run
    rate = options.pop("learning_rate")
    scale = options.pop("loss_scale")
    return external_run(
        log,
        learning_rate=rate,
        loss_scale=1.0 if scale is None else scale,
        **options,
    )
