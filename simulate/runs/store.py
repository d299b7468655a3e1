"""A folder of finished runs, each in one file that is named after the experiment and the code that made it."""

import hashlib
from pathlib import Path

from ...models.divisors import divisor_name, score_divisor
from ...models.protocol import reads_query_token
from ...runtime.files import AnyPath, as_path
from ..descent.gradient_descent import Diverged
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory, load
from .engine_code import code_digest
from .experiment import Experiment

DIVERGED = "diverged"
"""The setting of a stored run that holds the step at which its loss was no longer finite."""


def load_or_run(
    experiment: Experiment, folder: AnyPath, shared: AnyPath | None = None
) -> Trajectory:
    """The run of an experiment: read from the folder if it is there whole, else simulated and written there.

    The digest of the experiment and that of the code of its engine name the file, and the settings inside must agree.
    A run that diverges is stored too: Diverged is raised each time. `shared` is a folder of statistics that several
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
        run = _simulate(experiment, shared)
        run.save(run_path(experiment, folder))
    if DIVERGED in run.settings:
        raise Diverged(run, run.settings[DIVERGED])
    return run


def load_run(
    experiment: Experiment, folder: AnyPath, code: str | None = None
) -> Trajectory | None:
    """The run of an experiment if the folder has it whole, also one that diverged; `code` as in `run_path`."""
    path = run_path(experiment, folder, code)
    try:
        run = load(path)
    # Half a file is as good as none: it is written again.
    except (FileNotFoundError, ValueError):
        return None
    return run if is_run_of(experiment, run) else None


def is_run_of(experiment: Experiment, run: Trajectory) -> bool:
    """Whether the settings of a run are those of an experiment."""
    settings = experiment.to_dict()
    # Also those that this experiment leaves out, and the run must not have.
    names = Experiment.fields()
    stated = {name: settings.get(name) for name in names}
    return {name: run.settings.get(name) for name in names} == stated


def run_path(experiment: Experiment, folder: AnyPath, code: str | None = None) -> Path:
    """The file of an experiment's run; `code` is a digest of the code that simulates it, ours if left out."""
    if code is None:
        code = code_digest(experiment)
    return as_path(folder) / f"{experiment.digest[:16]}-{code[:8]}.npz"


def data_digest(experiment: Experiment) -> str:
    """SHA-256 of what determines the statistics of an experiment, which others may share."""
    model, dimension = experiment.model, experiment.task.dimension
    divisor = getattr(model, "divisor", None)
    if score_divisor(model, dimension) != 1:
        divisor = divisor_name(model, dimension)
    text = f"{experiment.data.digest}{divisor}"
    # Left out where the query's token is read, so that files of statistics keep their names.
    if not reads_query_token(model):
        text += " without the query's token"
    return hashlib.sha256(text.encode()).hexdigest()


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
    name = f"{data_digest(experiment)[:16]}-{code_digest(experiment)[:8]}.npz"
    path = as_path(folder) / name
    try:
        return Statistics.load(path)
    except (FileNotFoundError, ValueError):
        source = experiment.source
    if not isinstance(source, Statistics):
        raise ValueError("an experiment on tokens has no statistics to share")
    source.save(path)
    return source


def _simulate(experiment: Experiment, shared: AnyPath | None) -> Trajectory:
    """The run, or what there is of it if it diverges."""
    source = None
    if shared is not None and experiment.engine == "statistics":
        source = shared_statistics(experiment, shared)
    try:
        # Compiled whatever its length: many runs follow in one process, which loads the machine code once.
        return experiment.run(source=source, compiled=True)
    except Diverged as error:
        return error.trajectory.with_settings({DIVERGED: error.step})
