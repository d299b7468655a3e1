"""The code that a run depends on, so that a store can tell the runs of this code from those of another."""

import sys
from functools import cache
from pathlib import Path

from ...runtime.code_digest import PACKAGE, ROOT, source_digest, sources
from ...teachers import laws_within
from .experiment import Experiment

STARTING_MODULE = "simulate/runs/experiment.py"
"""Every engine is called from here: data, initial weights and descent follow by import."""

STORED_AND_SHOWN = frozenset(
    {
        "runtime/display.py",
        "runtime/line_charts.py",
        "runtime/files.py",
        "runtime/nested.py",
        "runtime/progress.py",
        "runtime/signals.py",
        "runtime/time_axis.py",
        "runtime/typesetting.py",
        "runtime/versions.py",
        "simulate/trajectory.py",
    }
)
"""Modules that write, read, draw or watch a run: no number of it comes from them, and files name their format."""

NOT_OF_EXPERIMENTS = frozenset(
    {"simulate/attention/model_check.py", "simulate/descent/batched_kernels.py"}
)
"""Checks of a user's own model, and many starts at once: an experiment is of a built-in model and one start."""

UNUSED: dict[str, frozenset[str]] = {
    "tokens": frozenset(
        {
            "runtime/aligned_memory.py",
            "simulate/descent/kernels.py",
            "simulate/sufficient_statistics/accumulation.py",
            "simulate/sufficient_statistics/kinds.py",
            "simulate/sufficient_statistics/quadratic_loss.py",
            "simulate/sufficient_statistics/restricted_block.py",
        }
    ),
    "statistics": frozenset({"runtime/threads.py", "simulate/attention/forward.py"}),
}
"""Engine → modules that its runs import and never call."""


def code_digest(experiment: Experiment) -> str:
    """SHA-256 of the code whose change may change the run of an experiment.

    It covers the files of the engine (the data, the initial weights, the objective, the steps and their kernels),
    the task, and the files that define the experiment's own model and the laws that its task holds. It does not cover
    what stores and shows runs, the other engine, other models and laws, theory, sweeps or the comparison.

    >>> from attndyn import Merged, Task
    >>> task, settings = Task([2, 1], context_length=5), dict(sequences=50, scale=0.1, learning_rate=0.01, steps=10)
    >>> runs = [Experiment(task, Merged(2), engine=engine, **settings) for engine in ("tokens", "statistics")]
    >>> code_digest(runs[0]) == code_digest(runs[1])
    False
    """
    task = experiment.task
    laws = laws_within(task.teachers)
    objects = (experiment.model, task, *vars(task).values(), *laws)
    classes: set[type] = set()
    for value in objects:
        classes.update(type(value).__mro__)
    return _digest(experiment.engine, frozenset(_defining_files(classes)))


def engine_files(engine: str, root: Path = ROOT) -> set[Path]:
    """The files of an engine in a package with this root.

    >>> names = {path.name for path in engine_files("statistics")}
    >>> "kernels.py" in names, "forward.py" in names
    (True, False)
    """
    return _reached_from(root / STARTING_MODULE, engine, root)


def _reached_from(start: Path, engine: str, root: Path) -> set[Path]:
    """A file and the files that it imports, less those that an engine's numbers do not depend on."""
    left_out = STORED_AND_SHOWN | NOT_OF_EXPERIMENTS | UNUSED[engine]

    def follows(importer: Path, imported: Path) -> bool:
        return imported.relative_to(root).as_posix() not in left_out

    return sources(start, follows)


def _defining_files(classes: set[type]) -> set[Path]:
    """The files of this package in which the classes are defined."""
    files = set()
    for cls in classes:
        # Installed packages are not of this package: their versions stand in the settings of a run.
        if cls.__module__.startswith(f"{PACKAGE}."):
            module = sys.modules[cls.__module__]
            files.add(Path(str(module.__file__)))
    # A class may show itself by one of these, which is no number of a run.
    return files - {ROOT / name for name in STORED_AND_SHOWN}


@cache
def _digest(engine: str, defining_files: frozenset[Path]) -> str:
    files = engine_files(engine)
    for path in defining_files:
        files |= _reached_from(path, engine, ROOT)
    return source_digest(files)
