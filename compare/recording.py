"""Recorded trajectories: data, initial weights, settings and losses of somebody else's run, as one npz file."""

import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Merged, Separate, Weights
from ..simulate import Given, given
from ..simulate.files import read_arrays

FloatArray = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

DIVISORS = {"none": "none", "N": "context", "tokens in the prompt, query included": "tokens"}
"""What a recording may say of its attention's divisor, and what a model calls it."""


@dataclass(frozen=True, eq=False)
class TestSet:
    """Prompts that were not trained on, and their recorded losses (steps,)."""

    name: str
    data: Given
    loss: FloatArray


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded file: `model` trained on `data` from `start`, or on cubic `features` if `model` is None."""

    name: str
    model: Merged | Separate | None
    data: Given | None
    features: FloatArray | None
    labels: FloatArray
    start: Weights
    learning_rate: float
    loss: FloatArray
    tests: tuple[TestSet, ...]


def reference_files() -> list[Path]:
    """Paths of the recorded trajectories that come with the package, by name.

    >>> len(reference_files())
    9
    """
    folder = Path(str(files("attndyn.compare.reference")))
    return sorted(folder.glob("*.npz"))


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """The recording in a file; ValueError if the file is truncated or something else, OSError if absent.

    >>> read_recording(reference_files()[0]).model
    Merged(heads=8, divisor='none')
    """
    try:
        arrays = read_arrays(path)
        meta = json.loads(str(arrays["meta"]))
        start = {
            name.removeprefix("initial_"): value.astype(float)
            for name, value in arrays.items()
            if name.startswith("initial_")
        }
        return _recording(Path(path).stem, arrays, meta, start)
    except KeyError as error:
        raise ValueError(f"{path} is no recording: it lacks {error}; docs/recordings.md lists the keys") from None
    except (TypeError, AttributeError, ValueError):
        raise ValueError(
            f"{path} is no recording: it is truncated or something else than a whole npz file"
        ) from None


def _recording(name: str, arrays: Arrays, meta: dict[str, Any], start: Weights) -> Recording:
    common = (arrays["labels"].astype(float), start, float(meta["learning_rate"]))
    if meta["model"] == "cubic_mlp":
        return Recording(name, None, None, arrays["features"].astype(float), *common, arrays["loss"], ())
    data = _data(arrays["tokens"], arrays["labels"], meta)
    prefixes = [key.removesuffix("_loss") for key in arrays if key.startswith("test_") and key.endswith("_loss")]
    tests = tuple(
        TestSet(key, _data(arrays[f"{key}_tokens"], arrays[f"{key}_labels"], meta), arrays[f"{key}_loss"])
        for key in prefixes
    )
    return Recording(name, _model(meta, start), data, None, *common, arrays["loss"], tests)


def _data(tokens: NDArray[Any], labels: NDArray[Any], meta: dict[str, Any]) -> Given:
    known = np.array(tokens, dtype=float)
    known[:, -1, -1] = labels[:, -1]
    every = meta["context_lengths"] == "1..N averaged"
    longest = known.shape[1] - 1
    return given(known, tuple(range(1, longest + 1)) if every else (longest,))


def _model(meta: dict[str, Any], start: Weights) -> Merged | Separate:
    softmax = bool(meta["softmax"])
    divisor = DIVISORS[meta["attention_divisor"]]
    options: dict[str, Any] = {"softmax": True} if softmax else {"divisor": divisor}
    if meta["model"] == "merged":
        return Merged(len(start["value"]), **options)
    return Separate(len(start["value"]), start["key"].shape[1], **options)
