"""When a loss passes a level, and where it lies on the way, along a flow that is integrated with certainty."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from ...runtime.decimals import nearest_double
from ...runtime.display import Displayed, Summary
from .balls import (
    Ball,
    NoCertificate,
    ball,
    flint,
    positive_rational,
    rational,
    whole_number_between,
    with_precision,
)
from .closed_forms import first_time, last_time
from .enclosures import Enclosure
from .reduced_flows import ReducedFlow
from .taylor_steps import State, TaylorMethod, TaylorStep

BITS = 256
"""Bits by default: what boxes lose on one drop, a factor of e^20 to e^60, is paid for in them."""

ORDER = 30
"""Order of the steps by default. It goes with the bits: 512 bits at order 30 take ten times the steps of 256."""

LEAST_ORDER = 2
"""Smallest order: below it the polynomial does not bend."""

MOST_ORDER = 200
"""Largest order: a step costs its cube."""

LARGEST_RADIUS = 1e-3
"""Radius at which boxes are given up: they only grow from there."""

MOST_STEPS = 2000
"""Most steps: one drop takes 20 to 60."""

LONGEST_STEP = 1e300
"""Longest step, as at a fixed point, which stays: twice as much is still a double."""

PIECES = 8
"""Pieces of each step in a tube of the loss, unless shorter ones are asked for."""

MOST_PIECES = 10**4
"""Most pieces of each step: more take hours."""


@dataclass(frozen=True, repr=False)
class Crossing(Displayed):
    """The flow time at which the loss passes `level`, and what it was certified with."""

    time: Enclosure
    level: Fraction
    flow: ReducedFlow = field(repr=False)
    bits: int
    order: int
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """The crossing as plain values, numbers as quotients in text."""
        return {
            "equations": self.flow.name,
            "start": [str(number) for number in self.flow.start],
            "level": str(self.level),
            "time": self.time.to_dict(),
            "bits": self.bits,
            "order": self.order,
            "steps": self.steps,
        }

    def summary(self) -> Summary:
        """The crossing on one screen."""
        rows = {
            "equations": self.flow.name,
            "loss": self.level,
            "flow time": self.time,
            "certified with": f"{self.bits} bits, order {self.order}, {self.steps} steps",
        }
        return Summary("Certified time of a drop", rows)


class LossPiece(NamedTuple):
    """The loss from flow time `begin` to `end`, both exact."""

    begin: Fraction
    end: Fraction
    loss: Enclosure


@dataclass(frozen=True, eq=False, repr=False)
class LossTube(Displayed):
    """The loss over whole stretches of time, without a gap between the pieces."""

    pieces: tuple[LossPiece, ...]

    @property
    def widest(self) -> Fraction:
        """The largest width of a piece."""
        return max(piece.loss.width for piece in self.pieces)

    def at(self, flow_time: object) -> Enclosure:
        """The piece of the loss that a time lies in; ValueError for one that the tube does not reach."""
        time = rational("flow_time", flow_time)
        for piece in self.pieces:
            if piece.begin <= time <= piece.end:
                return piece.loss
        raise ValueError(
            f"flow_time must lie between 0 and {float(self.pieces[-1].end)}, not {flow_time!r}"
        )

    def summary(self) -> Summary:
        """The tube on one screen."""
        rows = {
            "flow time": f"0 to {float(self.pieces[-1].end):.6g}",
            "pieces": len(self.pieces),
            "widest": f"{float(self.widest):.2g}",
        }
        return Summary("Certified tube of the loss", rows)


class _TimedStep(NamedTuple):
    """A step, the time at which it begins, exactly, and its box there."""

    begin: Fraction
    start: State
    step: TaylorStep

    @property
    def end(self) -> Fraction:
        """The time at which it ends."""
        return self.begin + Fraction(self.step.length)

    def box(self, time: Fraction) -> State:
        """The box at a time of the step."""
        return self.step.at(ball(time - self.begin))


@with_precision
def drop_time(
    flow: ReducedFlow,
    level: object,
    *,
    until: object = 10**6,
    order: int = ORDER,
    bits: int = BITS,
    method: type[TaylorMethod] = TaylorMethod,
) -> Crossing:
    """The flow time at which the loss passes a level: it never rises, so that it passes it once.

    `until` is the latest time. `method` makes the steps. ValueError for a level that the loss does not begin above;
    NoCertificate where the boxes grow too large, as on a second plateau, or the loss is above the level `until` then.

    >>> from attndyn import Separate, Task
    >>> from attndyn.theory.certified import head_flow, middle_of_drop
    >>> task, model = Task(eigenvalues=["3/5", "2/5"], context_length=20), Separate(heads=1, rank=2)
    >>> crossing = drop_time(head_flow(task, model, ["1/50", "1/50"]), middle_of_drop(task, model))
    >>> round(float(crossing.time), 6), crossing.time.width < 1e-20
    (113.08666, True)
    """
    wanted = rational("level", level)
    if not flow.loss(flow.initial_box()) > ball(wanted):
        raise ValueError(f"level must be below the loss at the start, not {level!r}")

    # The step that begins with the loss above the level and may end below it.
    passing: _TimedStep | None = None
    steps = _steps(flow, method(flow.rate, _order(order)), until)
    for count, timed in enumerate(steps, 1):
        loss = flow.loss(timed.box(timed.end))
        if passing is None and not loss > ball(wanted):
            passing = timed
        if passing is not None and loss < ball(wanted):
            earliest = _last_above(flow, passing, wanted, bits)
            latest = _first_below(flow, timed, wanted, bits)
            time = Enclosure(earliest, latest)
            return Crossing(time, wanted, flow, bits, order, count)
    raise NoCertificate(
        f"the loss is not below the level at flow time {until}: ask for a later one"
    )


@with_precision
def losses_at(
    flow: ReducedFlow,
    flow_times: Sequence[object],
    *,
    order: int = ORDER,
    bits: int = BITS,
) -> list[Enclosure]:
    """The loss at increasing flow times of zero or more; errors as of `drop_time`.

    >>> from attndyn import Separate, Task
    >>> from attndyn.theory.certified import head_flow
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> flow = head_flow(task, Separate(heads=1, rank=2), ["1/50", "1/50"])
    >>> [round(float(loss), 6) for loss in losses_at(flow, [50, 100, 120])]
    [0.999941, 0.996297, 0.430201]
    """
    times = [rational("flow_times", time) for time in flow_times]
    if not times or times != sorted(times) or times[0] < 0:
        raise ValueError("flow_times must be increasing numbers of zero or more")
    remaining = list(times)
    losses = []
    # A little further, so that the last time lies in a step.
    for timed in _steps(flow, TaylorMethod(flow.rate, _order(order)), times[-1] + 1):
        while remaining and remaining[0] <= timed.end:
            losses.append(Enclosure.of_ball(flow.loss(timed.box(remaining.pop(0)))))
        if not remaining:
            break
    return losses


@with_precision
def loss_tube(
    flow: ReducedFlow,
    until: object,
    *,
    pieces: int = PIECES,
    longest: object = 1,
    order: int = ORDER,
    bits: int = BITS,
) -> LossTube:
    """The loss from flow time 0 until beyond `until`, over the `pieces` of steps that are no longer than `longest`.

    The width is proportional to the length of the pieces. Errors as of `drop_time`.

    >>> from attndyn import Separate, Task
    >>> from attndyn.theory.certified import head_flow
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> tube = loss_tube(head_flow(task, Separate(heads=1, rank=2), ["1/10", "1/10"]), 20)
    >>> tube.at("12.5").contains(0.98), float(tube.widest) < 0.01
    (False, True)
    """
    whole_number_between("pieces", pieces, 1, MOST_PIECES)
    limit = nearest_double(positive_rational("longest", longest))
    method = TaylorMethod(flow.rate, _order(order))
    found = []
    for timed in _steps(flow, method, until, limit):
        length = Fraction(timed.step.length) / pieces
        for number in range(pieces):
            begin = length * number
            loss = flow.loss(timed.step.at(_ball_of_times(begin, begin + length)))
            found.append(
                LossPiece(
                    timed.begin + begin,
                    timed.begin + begin + length,
                    Enclosure.of_ball(loss),
                )
            )
    return LossTube(tuple(found))


def _order(order: object) -> int:
    """The order; ValueError unless it is a whole number that a step can have."""
    return whole_number_between("order", order, LEAST_ORDER, MOST_ORDER)


def _steps(
    flow: ReducedFlow,
    method: TaylorMethod,
    until: object,
    longest: float = float("inf"),
) -> Iterator[_TimedStep]:
    """The steps from time 0 until one ends beyond `until`; NoCertificate where boxes have grown too large."""
    end = positive_rational("until", until)
    limit = min(longest, nearest_double(end), LONGEST_STEP)
    begin, state = Fraction(0), flow.initial_box()
    for _ in range(MOST_STEPS):
        step = method.step(state, limit)
        timed = _TimedStep(begin, state, step)
        yield timed
        begin, state = timed.end, step.at(flint().arb(step.length))
        if begin > end:
            return
        if not all(box.rad() < LARGEST_RADIUS for box in state):
            raise NoCertificate(
                f"the boxes grew to {LARGEST_RADIUS} at flow time {float(begin):.6g}: more bits are needed, "
                "and on a plateau after a drop as many more as it lasts"
            )
    raise NoCertificate(
        f"{MOST_STEPS} steps reach flow time {float(begin):.6g} only: take a higher order with more bits"
    )


def _last_above(
    flow: ReducedFlow, timed: _TimedStep, level: Fraction, bits: int
) -> Fraction:
    """A time up to which the loss is above the level with certainty, in a step that begins above it."""

    def is_above(time: Fraction) -> bool:
        return bool(flow.loss(timed.box(time)) > ball(level))

    return last_time(is_above, timed.begin, timed.end, bits)


def _first_below(
    flow: ReducedFlow, timed: _TimedStep, level: Fraction, bits: int
) -> Fraction:
    """A time from which the loss is below the level with certainty, in a step that ends below it."""

    def is_below(time: Fraction) -> bool:
        return bool(flow.loss(timed.box(time)) < ball(level))

    return first_time(is_below, timed.begin, timed.end, bits)


def _ball_of_times(begin: Fraction, end: Fraction) -> Ball:
    """A ball that holds all times between two."""
    return ball(begin).union(ball(end))
