"""Where a curve or a training starts: numbers on the command line, or weights in a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import doubles, measured, numbers

if TYPE_CHECKING:
    from ..models.built_in import BuiltIn
    from ..task import Task


@dataclass
class StartOptions:
    """The first weights of a training: drawn at random, heads of two numbers each, or those of a file."""

    scale: Annotated[
        Any, measured("Scale of random initial weights; 0.01 if left out.")
    ] = None
    scheme: Annotated[
        str | None,
        typer.Option(
            help="gaussian (if left out, for factorised), restricted, zhang2025 (for the others) or aligned."
        ),
    ] = None
    omega: Annotated[
        str | None,
        typer.Option(
            help="Start of softmax heads with scores omega x_n.x_q and values mu y: 0.1,-0.12, with --mu."
        ),
    ] = None
    mu: Annotated[
        str | None, typer.Option(help="mu of each of these heads: 0.1,-0.08.")
    ] = None
    start: Annotated[
        Path | None,
        typer.Option(
            help="Start from an npz file: the first weights of a run, or weights by name."
        ),
    ] = None

    @property
    def heads(self) -> int | None:
        """How many heads --omega has; None without it."""
        return None if self.omega is None else len(doubles("--omega", self.omega))

    def settings(self, model: "BuiltIn", task: "Task") -> dict[str, Any]:
        """How an `Experiment` begins; ValueError for two starts at once, or half of one."""
        from ..simulate import symmetric_weights
        from ..simulate.attention.initialisation import PUBLISHED_SCHEME

        self._refuse_two_starts()
        if self.start is not None:
            return {"initial": _weights_of_file(self.start)}
        if self.omega is not None and self.mu is not None:
            ω, μ = doubles("--omega", self.omega), doubles("--mu", self.mu)
            return {"initial": symmetric_weights(model, task, ω, μ)}
        scheme = self.scheme
        if scheme is None:
            # Only merged and separate weights have the published scheme.
            is_factorised = type(model).__name__ == "Factorised"
            scheme = "gaussian" if is_factorised else PUBLISHED_SCHEME
        scale = 0.01 if self.scale is None else self.scale
        return {"scale": scale, "scheme": scheme}

    def _refuse_two_starts(self) -> None:
        """ValueError for options of more than one start, and for one of --omega and --mu alone."""
        if (self.omega is None) != (self.mu is None):
            raise ValueError("--omega and --mu belong together: pass both, or neither")
        given = {
            "--start": self.start is not None,
            "--omega": self.omega is not None,
            "--scale or --scheme": self.scale is not None or self.scheme is not None,
        }
        names = [name for name, is_given in given.items() if is_given]
        if len(names) > 1:
            raise ValueError(
                f"{' and '.join(names)} are different starts: pass one of them"
            )


def start_of(text: str, model: "BuiltIn") -> Any:
    """What `time_course` starts from: amplitudes such as "0.1" or "0.1,0.05", or the weights of an npz file.

    Amplitudes of merged attention are s = u, or s,u along the unstable mode, or s,u_1,…,u_D; of several outputs p = q,
    or p,q of every mode, or p_1,…,p_D,q_1,…,q_D. A file is a run of `attndyn simulate`, whose first weights are meant,
    or holds weights by name. ValueError for anything else.

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
    if model.outputs > 1:
        if len(amplitudes) % 2:
            raise ValueError(
                "--start of several outputs is one number, p,q, or p_1,…,p_D,q_1,…,q_D: an even number of them"
            )
        half = len(amplitudes) // 2
        p, q = amplitudes[:half], amplitudes[half:]
        return (p[0], q[0]) if half == 1 else (p, q)
    s, *u = amplitudes
    return s, u[0] if len(u) == 1 else u


def _weights_of_file(path: Path) -> Any:
    """The first weights of a run, or the arrays of a file of weights; ValueError for another file."""
    from ..runtime.files import array_headers, read_arrays
    from ..simulate import load

    if "head" not in array_headers(path):
        return read_arrays(path)
    return load(path).initial
