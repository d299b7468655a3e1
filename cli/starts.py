"""Where a predicted curve starts: amplitudes on the command line, or weights in a file."""

from pathlib import Path
from typing import Any

from ..models.built_in import BuiltIn
from .options import numbers


def start_of(text: str, model: BuiltIn) -> Any:
    """What `time_course` starts from: amplitudes such as "0.1" or "0.1,0.05", or the weights of an npz file.

    Amplitudes of merged attention are s = u, or s,u along the unstable mode, or s,u_1,…,u_D. A file is a run of
    `attndyn simulate`, whose first weights are meant, or holds weights by name. ValueError for anything else.

    >>> from attndyn import Merged, Separate
    >>> start_of("0.1,0", Separate(1)), start_of("0.1,0.2,0.3", Merged(1))
    ([0.1, 0.0], (0.1, [0.2, 0.3]))
    """
    if text.lower().endswith(".npz"):
        return _weights_of_file(Path(text))
    try:
        amplitudes = [float(number) for number in numbers("--start", text)]
    except ValueError:
        raise ValueError(
            f"--start must be amplitudes such as 0.1 or 0.1,0.05, or an npz file, not {text!r}"
        ) from None
    if len(amplitudes) == 1:
        return amplitudes[0]
    is_merged = not hasattr(model, "rank")
    if not is_merged:
        return amplitudes
    s, *u = amplitudes
    return s, u[0] if len(u) == 1 else u


def _weights_of_file(path: Path) -> Any:
    """The first weights of a run, or the arrays of a file of weights; ValueError for another file."""
    from ..runtime.files import array_headers, read_arrays
    from ..simulate import load

    if "head" not in array_headers(path):
        return read_arrays(path)
    return load(path).initial
