"""The flow times of a predicted curve: numbers of the user's own, or a grid up to the last one."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from .options import measured, numbers
from .whole_numbers import counted

MOST_POINTS = 100_000
"""Most points of a curve: more than any screen or page shows."""


@dataclass
class FlowTimeOptions:
    """The times of a curve, in flow time."""

    until: Annotated[
        Any, measured("Last flow time of a curve from 0; or choose --flow-time.")
    ] = None
    points: Annotated[
        int | None,
        counted("Times of that curve; 21 if left out, 401 with --out.", least=2),
    ] = None
    flow_time: Annotated[
        str | None, typer.Option(help="Flow times, such as 0,10,100.")
    ] = None

    log_times: Annotated[
        bool,
        typer.Option(
            "--log-times", help="Times evenly spaced in their logarithm, from 1 on."
        ),
    ] = False

    @property
    def are_given(self) -> bool:
        """Whether any of the options is there."""
        return self.log_times or any(
            option is not None for option in (self.until, self.points, self.flow_time)
        )

    def times(self, *, is_written: bool) -> list[float]:
        """The times of --flow-time, or from 0 on until the last; more of them for a curve that is written to a file.

        Evenly spaced, or, with --log-times, 0 and then evenly spaced in their logarithm from 1 on. ValueError
        where both options are given or neither is.
        """
        if (self.until is None) == (self.flow_time is None):
            raise ValueError(
                "pass --until for a curve from 0 on, or --flow-time for times of your own: one of the two"
            )
        if self.flow_time is not None:
            return self._own_times()
        count = self.points or (401 if is_written else 21)
        if count > MOST_POINTS:
            raise ValueError(f"--points must be at most {MOST_POINTS}, not {count}")
        return _grid(self.until, count, self.log_times)

    def _own_times(self) -> list[float]:
        """The times of --flow-time; ValueError for options of a grid."""
        for option, is_given in (
            ("--points", self.points is not None),
            ("--log-times", self.log_times),
        ):
            if is_given:
                raise ValueError(f"{option} is for a curve up to --until: leave it out")
        return [float(time) for time in numbers("--flow-time", str(self.flow_time))]


def _grid(until: float, count: int, is_logarithmic: bool) -> list[float]:
    """So many times from 0 until the last."""
    from ..runtime.checks import positive_number

    last = positive_number(until, "--until")
    if not is_logarithmic:
        return [last * part / (count - 1) for part in range(count)]
    if not last > 1:
        raise ValueError(
            f"--log-times begins at 1: --until must be above 1, not {last:g}"
        )
    # One of the times is 0; the others end on the last one, and begin at 1 if they are two or more.
    intervals = max(count - 2, 1)
    powers = [1 - part / intervals for part in reversed(range(count - 1))]
    return [0.0, *(last**power for power in powers)]
