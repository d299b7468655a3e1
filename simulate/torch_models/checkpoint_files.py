"""The file of a network's checkpoints: its weights over training, its log, and the state that a run goes on from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.display import Displayed, Summary, array_summary, change
from ...runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ...runtime.line_charts import Line, LineChart
from ..trajectory import IntArray

STATE = "state_"
"""What the names of the arrays begin with that a run goes on from."""

_KEYS = ("steps", "log", "log_columns", "settings")

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class NetworkRun(Displayed):
    """Checkpoints of a network: `weights` by name, with an axis of the `steps` (T,) in front, and its `log`.

    `log` (rows, columns) has the numbers that `log_columns` names, `constants` what does not change, `settings` the
    network, the seed and the version of PyTorch, and `state` the weights and the optimizer's means after `last_step`.
    """

    settings: dict[str, Any]
    steps: IntArray
    weights: Arrays
    log: FloatArray
    log_columns: tuple[str, ...]
    constants: Arrays
    state: Arrays

    @property
    def last_step(self) -> int:
        """How many steps have been taken."""
        return int(self.state["step"])

    def logged(self, column: str) -> FloatArray:
        """A column of the log; ValueError for a name that is none."""
        if column not in self.log_columns:
            raise ValueError(
                f"the log has the columns {', '.join(self.log_columns)}, not {column!r}"
            )
        return np.asarray(self.log[:, self.log_columns.index(column)])

    def save(self, path: AnyPath) -> None:
        """Write the run to an npz file, whole or not at all; `load_network_run` reads it."""
        state = {f"{STATE}{name}": value for name, value in self.state.items()}
        arrays: dict[str, Any] = {
            "steps": self.steps,
            "log": self.log,
            "log_columns": np.array(self.log_columns),
            "settings": np.array(json.dumps(self.settings, sort_keys=True)),
        }
        arrays |= {**self.constants, **self.weights, **state}
        write_atomically(path, lambda file: np.savez(file, **arrays))

    def summary(self) -> Summary:
        """The network, the steps, and the first and last row of the log."""
        rows: dict[str, object] = {
            "network": self.settings["network"]["network"],
            "seed": self.settings["seed"],
            "steps": self.last_step,
            "checkpoints at": array_summary(self.steps),
        }
        for index, name in enumerate(self.log_columns[1:], start=1):
            rows[name] = f"{self.log[0, index]:.4g} → {self.log[-1, index]:.4g}"
        return Summary("Network trained with PyTorch", rows)

    def chart(self) -> LineChart:
        """The second column of the log over the first, the steps."""
        steps, name = self.log_columns[:2]
        line = Line(self.log[:, 0], self.log[:, 1])
        return LineChart((line,), steps, name, change(self.log[:, 1], name))


def load_network_run(path: AnyPath) -> NetworkRun:
    """The run in a file that `NetworkRun.save` wrote; ValueError if it is something else, OSError if it is absent.

    >>> load_network_run("absent.npz")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'absent.npz'
    """
    arrays = read_arrays(path)
    missing = [name for name in (*_KEYS, f"{STATE}step") if name not in arrays]
    if missing:
        raise ValueError(
            f"{as_path(path)} is no run of a network: it lacks {', '.join(missing)}"
        )
    try:
        settings = json.loads(arrays["settings"].item())
        settings["network"]["network"], settings["seed"]
        columns = tuple(str(name) for name in arrays["log_columns"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{as_path(path)} is no run of a network: its settings cannot be read ({error})"
        ) from None
    state = {
        name.removeprefix(STATE): array
        for name, array in arrays.items()
        if name.startswith(STATE)
    }
    others = {
        name: array
        for name, array in arrays.items()
        if name not in _KEYS and not name.startswith(STATE)
    }
    names = settings.get("constants", [])
    return NetworkRun(
        settings=settings,
        steps=arrays["steps"],
        weights={name: others[name] for name in others if name not in names},
        log=arrays["log"],
        log_columns=columns,
        constants={name: others[name] for name in others if name in names},
        state=state,
    )
