"""The command line: verify, figures, fixed-points, simulate, replay."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from . import __version__

if TYPE_CHECKING:
    from .model import Merged, Separate
    from .task import Task

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended."""

app = typer.Typer(
    help="Training dynamics of in-context learning in attention: theory, simulation, comparison.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Eigenvalues = Annotated[str | None, typer.Option(help="Spectrum of Λ, such as 4,3,2,1.")]
Trace = Annotated[float | None, typer.Option(help="Rescale Λ to this trace.")]
ContextLength = Annotated[str | None, typer.Option(help="N, or 1..N for the loss over every length.")]
Noise = Annotated[float, typer.Option(help="Variance σ² of the label noise.")]
TaskFile = Annotated[Path | None, typer.Option("--task", help="TOML file with the fields of Task.")]
Kind = Annotated[str, typer.Option("--model", help="merged or separate.")]
Heads = Annotated[int | None, typer.Option(help="Number of heads; D if left out.")]
Rank = Annotated[int, typer.Option(help="Rank of key and query (separate).")]
Divisor = Annotated[str | None, typer.Option(help="context (N, the default), tokens (N + 1) or none.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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

        print(files(__package__).joinpath("CITATION.cff").read_text(encoding="utf-8"), end="")
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


@app.command()
def verify(
    claims: Annotated[list[str] | None, typer.Argument(help="Claims by id; all if left out.")] = None,
    tier: Annotated[
        str, typer.Option(help="Check claims up to this tier: fast, standard, long, paper.")
    ] = "standard",
    out: Annotated[Path, typer.Option(help="Folder for ledger.json, figures and runs.")] = Path("results"),
    json: Annotated[Path | None, typer.Option("--json", help="Write the ledger here too.")] = None,
    seed: Annotated[int, typer.Option(help="Base seed of every run.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if left out.")] = None,
) -> int:
    """Check every claim of the theory against gradient descent; exit 0 only if all verdicts are as expected."""
    from .compare import verify as check
    from .compare.figures import draw
    from .compare.table import print_ledger
    from .simulate.files import make_folder, write_text

    if json is not None:
        make_folder(json.parent)
    ledger = check(claims or (), tier=tier, out=out, seed=seed, workers=workers)
    for path in filter(None, (out / "ledger.json", json)):
        write_text(path, ledger.to_json())
    if not claims and tier != "fast":  # whose claims leave no runs to draw
        draw(out=out / "figures", runs=out / "runs", seed=seed)
    print_ledger(ledger, out)
    return 0 if ledger.holds else 1


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Figures by name; all if left out.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the PDF and PNG files.")] = Path("figures"),
    seed: Annotated[int, typer.Option(help="Base seed of every run.")] = 0,
) -> None:
    """Draw theory over simulation, as PDF and PNG."""
    from .compare.figures import draw

    for path in draw(names or (), out=out, runs=out / "runs", seed=seed):
        print(path)


@app.command("fixed-points")
def fixed_points(
    eigenvalues: Eigenvalues = None,
    trace: Trace = None,
    context_length: ContextLength = None,
    noise_variance: Noise = 0.0,
    task: TaskFile = None,
    model: Kind = "separate",
    heads: Heads = None,
    rank: Rank = 1,
    divisor: Divisor = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the smallest losses first.")] = 1000,
    json: Json = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX.")] = False,
    symbolic: Annotated[bool, typer.Option("--symbolic", help="In symbols instead of the task's numbers.")] = False,
) -> None:
    """List the fixed points of gradient flow by increasing loss."""
    if json and latex:
        raise ValueError("--json and --latex are two formats: choose one")
    problem = _task(eigenvalues, trace, context_length, noise_variance, task)
    attention = _model(model, problem.dimension if heads is None else heads, rank, divisor)
    if symbolic:
        from .compare.symbolic_table import print_symbolic, symbolic_json, symbolic_latex

        show = symbolic_json if json else symbolic_latex if latex else print_symbolic
    else:
        from .compare.table import fixed_points_json, fixed_points_latex, print_fixed_points

        show = fixed_points_json if json else fixed_points_latex if latex else print_fixed_points
    show(problem, attention, limit)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The npz file to write.")],
    learning_rate: Annotated[float, typer.Option(help="Step size η; a step advances flow time by 2η.")],
    steps: Annotated[int, typer.Option(help="Number of gradient-descent steps.")],
    eigenvalues: Eigenvalues = None,
    trace: Trace = None,
    context_length: ContextLength = None,
    noise_variance: Noise = 0.0,
    task: TaskFile = None,
    model: Kind = "separate",
    heads: Heads = None,
    rank: Rank = 1,
    divisor: Divisor = None,
    softmax: Annotated[bool, typer.Option("--softmax", help="Softmax attention (trains on tokens).")] = False,
    sequences: Annotated[int, typer.Option(help="P, the number of training sequences.")] = 5000,
    seed: Annotated[int, typer.Option(help="Seed of data and weights.")] = 0,
    scale: Annotated[float, typer.Option(help="Scale of the initial weights.")] = 0.01,
    scheme: Annotated[str, typer.Option(help="gaussian, restricted, published or aligned.")] = "published",
    whiten: Annotated[bool, typer.Option("--whiten", help="Whiten the sampled teachers.")] = False,
    centre: Annotated[bool, typer.Option("--centre", help="Centre x at every position.")] = False,
    engine: Annotated[str, typer.Option(help="tokens or statistics; what the model allows if left out.")] = "",
    record: Annotated[int | None, typer.Option(help="Store the weights every so many steps.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="File to go on from when interrupted.")] = None,
) -> None:
    """Train attention by full-batch gradient descent and save the trajectory."""
    from .simulate import Diverged, Experiment
    from .simulate.files import make_folder, replaceable

    problem = _task(eigenvalues, trace, context_length, noise_variance, task)
    attention = _model(model, problem.dimension if heads is None else heads, rank, divisor, softmax)
    engine = engine or ("tokens" if softmax else "statistics")
    rule: dict[str, Any] = {"learning_rate": learning_rate, "steps": steps, "record": record, "engine": engine}
    begin: dict[str, Any] = {"scale": scale, "seed": seed, "scheme": scheme, "whiten": whiten, "centre": centre}
    experiment = Experiment(problem, attention, sequences, **begin, **rule)
    if out.is_dir():
        raise ValueError(f"--out must name a file, but {out} is a folder")
    make_folder(replaceable(out).parent)
    try:
        run = experiment.run(checkpoint)
    except Diverged as error:
        error.trajectory.save(out)
        raise ArithmeticError(f"{error}; what it has is in {out}") from None
    run.save(out)
    print(f"{out}: {steps} steps, loss {run.loss[0]:.6g} → {run.loss[-1]:.6g}")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A recorded npz file.")],
    engine: Annotated[str, typer.Option(help="tokens or statistics.")] = "tokens",
    tolerance: Annotated[float, typer.Option(help="Largest relative deviation allowed.")] = 2e-6,
    json: Json = False,
) -> int:
    """Train from a recorded file and compare every loss; exit 1 past the tolerance."""
    from json import dumps

    from .compare import replay as train_again

    result = train_again(file, engine)
    if json:
        print(dumps(result.to_dict()))
    else:
        print(
            f"{file.name} on {engine}: {result.steps} steps, largest relative deviation "
            f"{result.max_relative_deviation:.2e} (median {result.median_relative_deviation:.2e}), "
            f"{result.seconds:.2f} s{'' if result.max_relative_deviation <= tolerance else ': past the tolerance'}"
        )
    return 0 if result.max_relative_deviation <= tolerance else 1


def _task(
    eigenvalues: str | None, trace: float | None, context_length: str | None, noise: float, file: Path | None
) -> "Task":
    from .task import Task, eigenvalue_list

    if file is not None:
        if eigenvalues is not None or context_length is not None or trace is not None or noise:
            raise ValueError("--task holds the whole task: leave the other options of the task out")
        try:
            return Task.from_toml(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file} holds no task: {error}") from None
    if eigenvalues is None or context_length is None:
        raise ValueError("pass --eigenvalues and --context-length, or --task FILE.toml")
    spectrum = eigenvalue_list(eigenvalues)
    return Task(spectrum, context_length=context_length, noise_variance=noise, trace=trace)


def _model(name: str, heads: int, rank: int, divisor: str | None, softmax: bool = False) -> "Merged | Separate":
    from .model import model_from_dict

    settings: dict[str, Any] = {"model": name, "heads": heads, "divisor": divisor, "softmax": softmax}
    if name != "merged":
        settings["rank"] = rank
    elif rank != 1:
        raise ValueError("--rank is for the separate model: merged attention has no rank")
    return model_from_dict(settings)
