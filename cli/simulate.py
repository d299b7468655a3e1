"""The commands that train models: simulate, sweep."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..runtime.ascii_text import named
from .option_groups import with_grouped_options
from .options import ModelOptions, TaskOptions, double, measured, pairs
from .output.files import refuse_existing, refuse_one_file
from .starts import StartOptions
from .whole_numbers import counted

if TYPE_CHECKING:
    from ..simulate import Experiment, Trajectory


OPTIMIZERS = ("gradient_descent", "adam")


@dataclass
class OptimizerOptions:
    """How gradients become steps; what is left out is as in the package."""

    learning_rate: Annotated[
        str | None,
        typer.Option(
            help="Step size, or by step as 0:0,500:0.02,20000:0; adam has 0.001 if it is left out."
        ),
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Between the steps of --learning-rate: linear (if left out), cosine or constant."
        ),
    ] = None
    optimizer: Annotated[
        str | None,
        typer.Option(help="gradient_descent or adam; the first if left out."),
    ] = None
    momentum: Annotated[
        Any, measured("Momentum of gradient descent, below 1; 0 if left out.")
    ] = None
    nesterov: Annotated[
        bool, typer.Option("--nesterov", help="Momentum of Nesterov.")
    ] = False
    b1: Annotated[Any, measured("Decay of adam's mean; 0.9 if left out.")] = None
    b2: Annotated[Any, measured("Decay of adam's mean square; 0.999 if left out.")] = (
        None
    )
    eps: Annotated[
        Any, measured("What adam adds to the root of that; 1e-8 if left out.")
    ] = None
    weight_decay: Annotated[
        Any,
        measured(
            "L2 decay of gradient descent, decoupled decay of adam; 0 if left out."
        ),
    ] = None
    clip_norm: Annotated[Any, measured("Shorten gradients to this length.")] = None

    def rate(self) -> float | dict[str, object] | None:
        """The learning rate: a number, the settings of a schedule, or None; ValueError for anything else."""
        if self.learning_rate is not None and ":" in self.learning_rate:
            points = pairs("--learning-rate", self.learning_rate)
            plain = [[step, float(rate)] for step, rate in points]
            return {"points": plain, "kind": self.schedule or "linear"}
        if self.schedule is not None:
            raise ValueError(
                "--schedule is for a --learning-rate by step, such as 0:0,500:0.02"
            )
        if self.learning_rate is None:
            return None
        try:
            return double(self.learning_rate)
        except typer.BadParameter as error:
            raise ValueError(f"--learning-rate: {error.message}") from None

    def settings(self) -> dict[str, object] | None:
        """The settings of the optimizer that is asked for; None for a learning rate alone.

        ValueError where a learning rate is missing.
        """
        from ..runtime.checks import check_choice

        check_choice(self.optimizer or OPTIMIZERS[0], "--optimizer", OPTIMIZERS)
        rate = self.rate()
        options = {
            "learning_rate": rate,
            "momentum": self.momentum,
            "nesterov": self.nesterov or None,
            "b1": self.b1,
            "b2": self.b2,
            "eps": self.eps,
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
        }
        given = {name: value for name, value in options.items() if value is not None}
        if rate is None and self.optimizer != "adam":
            raise ValueError(
                "pass --learning-rate, which only --optimizer adam has itself"
            )
        is_plain = set(given) == {"learning_rate"} and not isinstance(rate, dict)
        if self.optimizer is None and is_plain:
            return None
        return {"name": self.optimizer or OPTIMIZERS[0], **given}


@with_grouped_options
def simulate(
    out: Annotated[Path, typer.Option(help="The npz file to write.")],
    steps: Annotated[int, counted("Number of steps, those of a checkpoint included.")],
    optimizer: OptimizerOptions,
    task: TaskOptions,
    model: ModelOptions,
    start: StartOptions,
    batch: Annotated[
        int | None,
        counted(
            "Prompts of a step: fresh ones, or of --sequences, reshuffled every epoch.",
            least=1,
        ),
    ] = None,
    frozen: Annotated[
        str | None,
        typer.Option(help="Weights that stay as they are, such as value,key."),
    ] = None,
    sequences: Annotated[
        int | None,
        counted("P, the number of training sequences; 5000 without --batch."),
    ] = None,
    seed: Annotated[int, counted("Seed of data, batches and weights.")] = 0,
    whiten: Annotated[
        bool, typer.Option("--whiten", help="Whiten the sampled teachers.")
    ] = False,
    centre: Annotated[
        bool, typer.Option("--centre", help="Centre x at every position.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(help="tokens or statistics; what the model allows if left out."),
    ] = "",
    record: Annotated[
        int | None, counted("Store the weights every so many steps.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File to go on from when interrupted.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if it is there.")
    ] = False,
) -> None:
    """Train attention by gradient descent or Adam, on full or small batches, and save the trajectory."""
    from ..simulate import Experiment

    problem = task.task()
    attention = model.with_heads(start.heads).model(problem)
    rule = optimizer.settings()
    if sequences is None and batch is None:
        sequences = 5000
    experiment = Experiment(
        problem,
        attention,
        sequences,
        **start.settings(attention, problem),
        seed=seed,
        whiten=whiten,
        centre=centre,
        learning_rate=None if rule else optimizer.rate(),
        steps=steps,
        record=record,
        engine=engine,
        optimizer=rule,
        batch=batch,
        frozen=None if frozen is None else _names(frozen),
    )
    read = {"--task": task.file, "--checkpoint": checkpoint, "--start": start.start}
    refuse_one_file(out, read)
    run = _saved(experiment, out, checkpoint, force)
    print(f"{named(out)}: {steps} steps, loss {run.loss[0]:.6g} → {run.loss[-1]:.6g}")


def sweep(
    spec: Annotated[
        Path, typer.Argument(help="A TOML file: what all runs share, and what varies.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the runs, which all workers must see.")
    ],
    executor: Annotated[
        str, typer.Option(help="local, dask or mpi (under mpiexec).")
    ] = "local",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of the Dask scheduler, tcp://HOST:PORT.")
    ] = None,
    workers: Annotated[
        int | None, counted("Local processes; one a core if left out.", least=1)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Make only what is missing in the folder.")
    ] = False,
) -> None:
    """Train every combination of settings that a file asks for, one file a run."""
    from ..runtime.executors import executor_named
    from ..runtime.files import read_utf8
    from ..simulate import Sweep, run_sweep

    with executor_named(executor, scheduler, workers) as pool:
        if executor == "mpi" and pool is None:  # this process has served the first one
            return
        try:
            settings = Sweep.from_toml(read_utf8(spec))
            # Every combination is checked before the first run begins.
            settings.experiments()
        except ValueError as error:
            raise ValueError(f"{spec}: {error}") from None
        summary = run_sweep(settings, out, pool, resume=resume, workers=workers)
    diverged = f", {summary.diverged} of them diverged" if summary.diverged else ""
    print(
        f"{named(out)}: {summary.runs} runs{diverged}; {summary.simulated} simulated now"
    )


def _names(text: str) -> list[str]:
    """The names of a text such as "value, key"."""
    return [name.strip() for name in text.split(",")]


def _saved(
    experiment: "Experiment", out: Path, checkpoint: Path | None, force: bool
) -> "Trajectory":
    """The run of the experiment, written to `out`; of a run that diverges, the part before that is written.

    ValueError, before it begins, if there is a file already that `force` does not allow to replace; a run that goes
    on from its checkpoint replaces its first steps.
    """
    from ..simulate import Diverged

    # Before hours of training, not after.
    goes_on = checkpoint is not None and _holds_first_steps(out, experiment)
    refuse_existing(out, force or goes_on)
    try:
        run = experiment.run(checkpoint)
    except Diverged as error:
        error.trajectory.save(out)
        raise ArithmeticError(f"{error}; what it has is in {named(out)}") from None
    except KeyboardInterrupt:
        print(f"attndyn: {_state_after_interrupt(checkpoint)}", file=sys.stderr)
        raise
    run.save(out)
    return run


def _holds_first_steps(out: Path, experiment: "Experiment") -> bool:
    """Whether a file holds a run of this experiment that ends no later."""
    from dataclasses import replace

    from ..simulate import load
    from ..simulate.runs.store import is_run_of

    try:
        run = load(out)
        steps, record = run.settings["steps"], run.settings["record"]
        shorter = replace(experiment, steps=steps, record=record)
        return steps <= experiment.steps and is_run_of(shorter, run)
    except (KeyError, OSError, ValueError):
        return False


def _state_after_interrupt(checkpoint: Path | None) -> str:
    """The message of an interrupted run: where it is stored, and how to continue it."""
    if checkpoint is None:
        return "nothing of this run is stored: with --checkpoint FILE it would go on from where it is"
    if not checkpoint.exists():
        return "the run had not begun"
    return (
        f"the run so far is in {named(checkpoint)}: the same command goes on from there"
    )
