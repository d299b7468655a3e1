"""A folder of finished runs, each under the digest of the experiment that it is the result of."""

import os
from pathlib import Path

from .. import __version__
from .experiment import Experiment
from .trajectory import Trajectory, load


def fetch(experiment: Experiment, folder: str | os.PathLike[str]) -> Trajectory:
    """The run of an experiment: read from the folder if it is there whole, else simulated and written there.

    The digest and the version of the package name the file, and the settings inside must agree.

    >>> import tempfile
    >>> from attndyn import Merged, Task
    >>> small = Experiment(Task(eigenvalues=[2, 1], context_length=5), Merged(2), sequences=50, scale=0.1,
    ...                    learning_rate=0.01, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, again = fetch(small, Path(folder)), fetch(small, Path(folder))
    >>> bool((first.loss == again.loss).all())
    True
    """
    path = Path(folder) / f"{experiment.digest[:16]}-{__version__}.npz"
    if path.exists():
        try:
            stored = load(path)
        except ValueError:  # half a file is as good as none: it is written again
            stored = None
        if stored is not None and all(
            stored.settings.get(key) == value for key, value in experiment.to_dict().items()
        ):
            return stored
    run = experiment.run()
    run.save(path)
    return run
