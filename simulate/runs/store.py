"""A folder of finished runs, each in one file under the digest of the experiment that it is the result of."""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np

from ...models.divisors import divisor_name, score_divisor
from ...runtime.code_digest import source_digest, sources
from ...runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ..descent.gradient_descent import Diverged
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory, load
from .experiment import Experiment

DIVERGED = "diverged"
"""The setting of a stored run that holds the step at which its loss was no longer finite."""


def load_or_run(
    experiment: Experiment, folder: AnyPath, shared: AnyPath | None = None
) -> Trajectory:
    """The run of an experiment: read from the folder if it is there whole, else simulated and written there.

    The digest of the experiment and that of the simulating code name the file, and the settings inside must agree.
    A run that diverges is kept too: Diverged is raised each time. `shared` is a folder of statistics that several
    experiments need. OSError if a folder cannot be written: what is there is whole, and nothing else is.

    >>> import tempfile
    >>> from attndyn import Merged, Task
    >>> small = Experiment(Task(eigenvalues=[2, 1], context_length=5), Merged(2), sequences=50, scale=0.1,
    ...                    learning_rate=0.01, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, again = load_or_run(small, Path(folder)), load_or_run(small, Path(folder))
    >>> bool((first.loss == again.loss).all())
    True
    """
    run = load_run(experiment, folder)
    if run is None:
        run = _simulated(experiment, shared)
        run.save(run_path(experiment, folder))
    if DIVERGED in run.settings:
        raise Diverged(run, run.settings[DIVERGED])
    return run


def load_run(
    experiment: Experiment, folder: AnyPath, code: str | None = None
) -> Trajectory | None:
    """The run of an experiment if the folder holds it whole, also one that diverged; `code` as in `run_path`."""
    path = run_path(experiment, folder, code)
    try:
        run = load(path)
    except (
        FileNotFoundError,
        ValueError,
    ):  # half a file is as good as none: it is written again
        return None
    same = all(
        run.settings.get(key) == value for key, value in experiment.to_dict().items()
    )
    return run if same else None


def run_path(experiment: Experiment, folder: AnyPath, code: str | None = None) -> Path:
    """The file of an experiment's run; `code` is the digest of the code that simulates it, ours if left out."""
    return (
        as_path(folder) / f"{experiment.digest[:16]}-{(code or code_digest())[:8]}.npz"
    )


def data_digest(experiment: Experiment) -> str:
    """SHA-256 of what determines the statistics of an experiment, which others may share."""
    divisor = getattr(experiment.model, "divisor", None)
    if score_divisor(experiment.model, experiment.task.dimension) != 1:
        divisor = divisor_name(experiment.model, experiment.task.dimension)
    return hashlib.sha256(f"{experiment.data.digest}{divisor}".encode()).hexdigest()


def shared_statistics(experiment: Experiment, folder: AnyPath) -> Statistics:
    """The statistics that an experiment trains on: read from the folder if they are there, else made and written.

    >>> import tempfile
    >>> from attndyn import Merged, Task
    >>> small = Experiment(Task(eigenvalues=[2, 1], context_length=5), Merged(2), sequences=50, scale=0.1,
    ...                    learning_rate=0.01, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made, read = shared_statistics(small, folder), shared_statistics(small, folder)
    >>> made.digest == read.digest
    True
    """
    path = as_path(folder) / f"{data_digest(experiment)[:16]}-{code_digest()[:8]}.npz"
    try:
        return _read_statistics(path)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        made = experiment.source
    if not isinstance(made, Statistics):
        raise ValueError("an experiment on tokens has no statistics to share")
    head = json.dumps(
        [made.sequences, made.dimension, made.context_lengths, made.divisor, made.block]
    )
    write_atomically(
        path,
        lambda file: np.savez(file, head=np.array(head), c=made.c, b=made.b, S=made.S),
    )
    return made


def _read_statistics(path: Path) -> Statistics:
    arrays = read_arrays(path)
    sequences, dimension, lengths, divisor, block = json.loads(str(arrays["head"]))
    kind = (sequences, dimension, tuple(lengths), divisor, block)
    return Statistics(float(arrays["c"]), arrays["b"], arrays["S"], *kind)


def _simulated(experiment: Experiment, shared: AnyPath | None) -> Trajectory:
    """The run, or what there is of it if it diverges."""
    source = None
    if shared is not None and experiment.engine == "statistics":
        source = shared_statistics(experiment, shared)
    try:
        return experiment.run(
            source=source, compiled=True
        )  # of any length: many follow in one process
    except Diverged as error:
        return error.trajectory.with_settings({DIVERGED: error.step})


@cache
def code_digest() -> str:
    """SHA-256 of the source that simulates: a changed line makes stored runs those of other code.

    >>> len(code_digest())
    64
    """
    return source_digest(sources(Path(__file__).with_name("experiment.py")))
