"""Runs that are made once: they go on where they were interrupted, and their losses come with the package."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from .....runtime.arrays import FloatArray
from .....runtime.files import read_arrays, write_atomically
from .....simulate import Experiment, Trajectory
from .....simulate.runs.store import load_run, run_path

POINTS = 1_000
"""Points of an archived loss, denser where it falls early."""


@dataclass(frozen=True, eq=False)
class ArchivedRun:
    """The thinned loss (K,) of a run against its steps (K,), and the experiment that it is the result of."""

    steps: FloatArray
    loss: FloatArray
    experiment: dict[str, object]


def run_to_completion(experiment: Experiment, folder: Path) -> Trajectory:
    """The run of an experiment from the folder, or made there: an interrupted one goes on from its checkpoint.

    The checkpoint lies beside the run until that is whole. OSError if the folder cannot be written; raises what
    `train` raises.
    """
    run = load_run(experiment, folder)
    if run is not None:
        return run
    path = run_path(experiment, folder)
    checkpoint = path.with_suffix(".part")
    run = experiment.run(checkpoint=checkpoint, compiled=True)
    run.save(path)
    checkpoint.unlink(missing_ok=True)
    return run


def archived_file(name: str) -> Path:
    """The file of the archived loss of this name."""
    folder = files("attndyn.compare.claims.linear_attention.common.archive")
    return Path(str(folder)) / f"{name}.npz"


def archive_run(run: Trajectory, path: Path) -> Path:
    """Write what a package can carry of a finished run; OSError if it cannot be written."""
    last = len(run.loss) - 1
    spread = np.geomspace(1, last, POINTS).astype(int)
    chosen = np.unique(np.concatenate([[0], spread, [last]]))

    # The settings say which experiment it is, so that another one never reads its losses.
    # An optimizer and a batch that are left out are not among them.
    stated = [name for name in Experiment.__dataclass_fields__ if name in run.settings]
    settings = {name: run.settings[name] for name in stated}
    arrays = {
        "steps": run.time[chosen],
        "loss": run.loss[chosen],
        "experiment": np.array(json.dumps(settings, sort_keys=True)),
    }
    return write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def read_archived_run(path: Path) -> ArchivedRun:
    """What `archive_run` wrote; ValueError for something else, OSError if it is absent."""
    arrays = read_arrays(path)
    return ArchivedRun(
        steps=arrays["steps"],
        loss=arrays["loss"],
        experiment=json.loads(str(arrays["experiment"])),
    )


def losses_of(
    experiment: Experiment, name: str, folder: Path
) -> tuple[FloatArray, FloatArray]:
    """Steps and losses of an experiment: the archived ones of this name if they are its, else those of a run."""
    path = archived_file(name)
    if path.exists():
        archived = read_archived_run(path)
        # Another seed or size is another experiment: it is run.
        if archived.experiment == experiment.to_dict():
            return archived.steps, archived.loss
    run = run_to_completion(experiment, folder)
    return run.time, run.loss
