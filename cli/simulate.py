"""The commands that train models: simulate, sweep."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..runtime.ascii_text import named
from .options import (
    ContextLength,
    Divisor,
    Eigenvalues,
    Heads,
    Kind,
    Noise,
    Rank,
    ScoreDivisor,
    TaskFile,
    Trace,
    model_of,
    task_of,
)
from .whole_numbers import counted

if TYPE_CHECKING:
    from ..simulate import Experiment, Trajectory


def simulate(
    out: Annotated[Path, typer.Option(help="The npz file to write.")],
    steps: Annotated[int, counted("Number of steps, those of a checkpoint included.")],
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Step size; adam has 0.001 if it is left out."),
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="gradient_descent or adam; the first if left out."),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Momentum of gradient descent, below 1.")
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="L2 decay of gradient descent, decoupled decay of adam."),
    ] = None,
    clip_norm: Annotated[
        float | None, typer.Option(help="Shorten gradients to this length.")
    ] = None,
    batch: Annotated[
        int | None,
        counted(
            "Prompts of a step: fresh ones, or of --sequences, reshuffled every epoch.",
            least=1,
        ),
    ] = None,
    eigenvalues: Eigenvalues = None,
    trace: Trace = None,
    context_length: ContextLength = None,
    noise_variance: Noise = None,
    task: TaskFile = None,
    model: Kind = "separate",
    heads: Heads = None,
    rank: Rank = 1,
    divisor: Divisor = None,
    score_divisor: ScoreDivisor = "1",
    softmax: Annotated[
        bool, typer.Option("--softmax", help="Softmax attention (trains on tokens).")
    ] = False,
    sequences: Annotated[
        int | None,
        counted("P, the number of training sequences; 5000 without --batch."),
    ] = None,
    seed: Annotated[int, counted("Seed of data and weights.")] = 0,
    scale: Annotated[float, typer.Option(help="Scale of the initial weights.")] = 0.01,
    scheme: Annotated[
        str, typer.Option(help="gaussian, restricted, zhang2025 or aligned.")
    ] = "zhang2025",
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

    problem = task_of(eigenvalues, trace, context_length, noise_variance, task)
    attention = model_of(
        model,
        problem.dimension if heads is None else heads,
        rank,
        divisor,
        softmax,
        score_divisor,
    )
    rule = _optimizer_of(optimizer, learning_rate, momentum, weight_decay, clip_norm)
    if sequences is None and batch is None:
        sequences = 5000
    experiment = Experiment(
        problem,
        attention,
        sequences,
        scale=scale,
        seed=seed,
        scheme=scheme,
        whiten=whiten,
        centre=centre,
        learning_rate=None if rule else learning_rate,
        steps=steps,
        record=record,
        engine=engine,
        optimizer=rule,
        batch=batch,
    )
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


def _optimizer_of(
    name: str | None,
    learning_rate: float | None,
    momentum: float | None,
    weight_decay: float | None,
    clip_norm: float | None,
) -> dict[str, object] | None:
    """The settings of the optimizer that the options ask for; None for a learning rate alone.

    ValueError where a learning rate is missing.
    """
    options = {
        "learning_rate": learning_rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
    }
    given = {option: value for option, value in options.items() if value is not None}
    if learning_rate is None and name != "adam":
        raise ValueError("pass --learning-rate, which only --optimizer adam has itself")
    if name is None and set(given) == {"learning_rate"}:
        return None
    return {"name": name or "gradient_descent", **given}


def _saved(
    experiment: "Experiment", out: Path, checkpoint: Path | None, force: bool
) -> "Trajectory":
    """The run of the experiment, written to `out`; of a run that diverges, the part before that is written.

    ValueError, before it begins, if there is a file already that `force` does not allow to replace; a run that goes
    on from its checkpoint replaces its first steps.
    """
    from ..runtime.files import make_folder, replaceable
    from ..simulate import Diverged

    # Before hours of training, not after.
    goes_on = checkpoint is not None and _holds_first_steps(out, experiment)
    if replaceable(out).exists() and not force and not goes_on:
        raise ValueError(
            f"{out} is there already: pass --force to replace it, or choose another name"
        )
    make_folder(replaceable(out).parent)
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
