"""Files of staircases: what one starts from, what its exit times rest on, and its exit times as a check."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....models.attention import Separate
from ....runtime.files import AnyPath, as_path, read_arrays, write_atomically
from ....task import Task
from .staircases import Origin, Staircase, assembled, paths_from

FORMAT = "attndyn staircase 1"

# Relative: another machine follows the same path to rounding, which grows along it.
_SAME_EXIT = 1e-6


def save_staircase(steps: Staircase, path: AnyPath) -> Path:
    """Write a staircase to an npz file, atomically."""
    head = {
        "format": FORMAT,
        "task": steps.origin.task.to_dict(),
        "model": steps.origin.model.to_dict(),
        "precision": list(steps.curve.precision),
        "verdict": steps.verdict,
        "uncertainty": steps.uncertainty if np.isfinite(steps.uncertainty) else None,
    }
    arrays: dict[str, Any] = {
        f"weights/{name}": value for name, value in steps.origin.weights.items()
    }
    arrays["exit_times"] = steps.exit_times
    arrays["head"] = np.array(json.dumps(head))
    return write_atomically(path, lambda file: np.savez(file, **arrays))


def load_staircase(path: AnyPath) -> Staircase:
    """The staircase of a file; ValueError if it is truncated or something else, OSError if it is absent."""
    try:
        steps, exit_times = _read(read_arrays(path))
    except (KeyError, RecursionError, TypeError, ValueError):
        raise ValueError(
            f"{as_path(path)} is not a whole staircase file: pass one that Staircase.save wrote"
        ) from None
    if not np.allclose(steps.exit_times, exit_times, rtol=_SAME_EXIT, atol=0):
        raise ValueError(
            f"{as_path(path)} is a staircase of another version: its exit times are not those of its weights"
        )
    return steps


def _read(arrays: dict[str, NDArray[Any]]) -> tuple[Staircase, NDArray[Any]]:
    """The staircase of these arrays, followed anew, and the exit times that are stored."""
    from .path import Precision

    head = json.loads(str(arrays["head"]))
    if head["format"] != FORMAT:
        raise KeyError(head["format"])
    weights = {
        name.removeprefix("weights/"): value
        for name, value in arrays.items()
        if name.startswith("weights/")
    }
    model = Separate.from_dict(head["model"])
    origin = Origin(Task.from_dict(head["task"]), model, weights)
    paths = paths_from(origin)
    curve = paths.curve(paths.heads, Precision(*head["precision"]))
    uncertainty = np.nan if head["uncertainty"] is None else float(head["uncertainty"])
    steps = assembled(origin, curve, str(head["verdict"]), uncertainty)
    return steps, arrays["exit_times"]
