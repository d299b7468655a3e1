"""Closed forms of drops as enclosures: one head on one direction, sums of such drops, and white merged attention.

A rank-one head on a common eigenvector of Λ and Ω follows dv/dt = b v² − aλ v⁵, with m = b/(aλ) and y = v/m^{1/3}:
b (t − t₀) = Φ(v) − Φ(v₀), Φ(v) = −1/v + m^{-1/3} [−⅓ ln(1 − y) + ⅙ ln(1 + y + y²) − 3^{-½} arctan((2y + 1)/√3)].
The derivative of Φ is 1/(v² (1 − y³)). On white tasks merged attention from s = w₀, U = w₀ B/‖B‖ follows
dp/dt = 2p (α − κp), with p = ‖M‖, α = ‖B‖ and κ = aλ.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...task import Task
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
from .enclosures import Enclosure
from .rational_moments import AlignedDirection, aligned_directions

BITS = 128
"""Bits by default: 38 digits, of which more than 30 are left."""

MOST_NEWTON_STEPS = 400
"""Most steps of Newton's method on midpoints: early ones move by two at most, and digits double near the end."""

LARGEST_NEWTON_STEP = 2
"""Largest step in x = ln(y/(1 − y)) < 0, where Newton's own may be far too long; above it F is nearly linear."""

INFLATION = 4
"""By how much an interval is widened in which no solution could be proved."""


class _Saturation(NamedTuple):
    """A head in units of where it saturates: y = v/m^{1/3}, and 1 − y without cancellation."""

    y: Ball
    rest: Ball


@with_precision
def head_half_loss_time(
    task: Task,
    model: Parametrization,
    v0: object,
    direction: int = 1,
    *,
    bits: int = BITS,
) -> Enclosure:
    """Flow time at which an aligned rank-one head from v = |k| = |q| = `v0` has halved its part of the loss.

    The part is g (1 − v³/m)², so that v³/m = 1 − √½. `direction` counts from 1 by decreasing gain. ValueError for a
    task that is not diagonal, another model, or a start that is not between 0 and this v.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["4", "3", "2", "1"], trace=1, context_length=31)
    >>> time = head_half_loss_time(task, Separate(heads=4), "1/1000")
    >>> str(time)[:36], time.width < 1e-30
    ('6244.0185581102579390814900926728574', True)
    """
    head = _direction(task, model, direction)
    end = _unsaturated(_half_loss_share().root(3))
    start = _start(head, v0)
    if not start.y < end.y:
        raise ValueError(
            f"v0 must lie between 0 and the amplitude of half the loss, not {v0!r}"
        )
    return Enclosure.of_ball((_phi(head, end) - _phi(head, start)) / ball(head.b))


@with_precision
def head_amplitude(
    task: Task,
    model: Parametrization,
    flow_time: object,
    v0: object,
    direction: int = 1,
    *,
    bits: int = BITS,
) -> Enclosure:
    """v of an aligned rank-one head at `flow_time`, from 0 < `v0` < m^{1/3}; other arguments as `head_half_loss_time`.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["4", "3", "2", "1"], trace=1, context_length=31)
    >>> v = head_amplitude(task, Separate(heads=4), 6000, "1/1000")
    >>> str(v)[:34], v.width < 1e-30
    ('0.02499991319421168532679222510060', True)
    """
    head = _direction(task, model, direction)
    time = _nonnegative("flow_time", flow_time)
    return Enclosure.of_ball(_amplitude(head, time, v0))


@with_precision
def aligned_loss(
    task: Task,
    model: Parametrization,
    flow_time: object,
    v0: Sequence[object],
    *,
    bits: int = BITS,
) -> Enclosure:
    """L at `flow_time` of heads of which each begins on a direction of its own: c − Σ_d g_d [1 − (1 − v_d³/m_d)²].

    `v0` (D,) are the starts by decreasing gain, 0 for a direction without a head. ValueError as `head_half_loss_time`,
    and for more starts than heads.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> aligned_loss(task, Separate(heads=2), 0, ["0", "0"]).contains(1)
    True
    """
    c, directions = aligned_directions(task, _rank_one_heads(model))
    starts = _starts(v0, directions, model)
    time = _nonnegative("flow_time", flow_time)
    return Enclosure.of_ball(_loss(c, directions, starts, time))


@with_precision
def aligned_exit_time(
    task: Task,
    model: Parametrization,
    level: object,
    v0: Sequence[object],
    *,
    until: object = 10**6,
    bits: int = BITS,
) -> Enclosure:
    """Flow time at which the loss of `aligned_loss`, which falls, passes a `level`, found by bisection.

    ValueError for a level that is not below the loss at the start; NoCertificate if the loss is not below it at
    `until`. `middle_of_drop` gives the level between two plateaus.

    >>> from attndyn import Separate, Task
    >>> task, model = Task(eigenvalues=["3/5", "2/5"], context_length=20), Separate(heads=2)
    >>> from attndyn.theory.certified import middle_of_drop
    >>> exits = [aligned_exit_time(task, model, middle_of_drop(task, model, *drop), ["1/50", "1/50"])
    ...          for drop in [((), (1,)), ((1,), (1, 2))]]
    >>> [round(float(time), 6) for time in exits]
    [135.826762, 306.40873]
    """
    c, directions = aligned_directions(task, _rank_one_heads(model))
    starts = _starts(v0, directions, model)
    wanted = ball(rational("level", level))
    end = positive_rational("until", until)
    if not _loss(c, directions, starts, Fraction(0)) > wanted:
        raise ValueError(f"level must be below the loss at the start, not {level!r}")
    if not _loss(c, directions, starts, end) < wanted:
        raise NoCertificate(
            f"the loss is not below the level at flow time {until}: ask for a later one"
        )

    def is_above(time: Fraction) -> bool:
        return bool(_loss(c, directions, starts, time) > wanted)

    def is_below(time: Fraction) -> bool:
        return bool(_loss(c, directions, starts, time) < wanted)

    earliest = last_time(is_above, Fraction(0), end, bits)
    latest = first_time(is_below, Fraction(0), end, bits)
    return Enclosure(earliest, latest)


@with_precision
def merged_half_loss_time(
    task: Task, model: Parametrization, w0: object, *, bits: int = BITS
) -> Enclosure:
    """Flow time at which merged attention on a white task, from s = `w0` and U = w₀ B/‖B‖, loses half.

    ln[(α/w₀² − κ) p/(α − κp)]/(2α) with p = (α/κ)(1 − √½). ValueError unless Λ and Ω are multiples of the identity, for
    another model, or for a start at which less than half is left to lose.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=[1, 1, 1, 1], context_length=31)
    >>> time = merged_half_loss_time(task, Merged(heads=8), "1/100")
    >>> str(time)[:34], time.width < 1e-30
    ('2.21813104133592073955111227091432', True)
    """
    if not isinstance(model, Merged):
        raise ValueError("this form is that of merged attention: pass Merged(heads)")
    _, directions = aligned_directions(task, model)
    start = ball(positive_rational("w0", w0))
    if len({(direction.b, direction.curvature) for direction in directions}) > 1:
        raise ValueError(
            "this form is that of white tasks, where Λ and Ω are multiples of the identity: merged_flow follows others"
        )
    α = ball(directions[0].b) * ball(Fraction(len(directions))).sqrt()  # ‖B‖
    κ = ball(directions[0].curvature)
    p = α / κ * _half_loss_share()
    start_p = start * start
    if not start_p < p:
        raise ValueError(
            f"w0 must leave more than half of the loss to lose, not {w0!r}"
        )
    growth = (α / start_p - κ) * p / (α - κ * p)
    return Enclosure.of_ball(growth.log() / (2 * α))


def last_time(
    is_certain: Callable[[Fraction], bool], begin: Fraction, end: Fraction, bits: int
) -> Fraction:
    """A time at which something is certain that is certain at `begin`, and hardly any later, by bisection."""
    for _ in range(bits):
        middle = (begin + end) / 2
        if is_certain(middle):
            begin = middle
        else:
            end = middle
    return begin


def first_time(
    is_certain: Callable[[Fraction], bool], begin: Fraction, end: Fraction, bits: int
) -> Fraction:
    """A time at which something is certain that is certain at `end`, and hardly any earlier, by bisection."""
    for _ in range(bits):
        middle = (begin + end) / 2
        if is_certain(middle):
            end = middle
        else:
            begin = middle
    return end


def _half_loss_share() -> Ball:
    """1 − √½: the share of what is learned that halves a loss (1 − share)²."""
    return 1 - (flint().arb(1) / 2).sqrt()


def _phi(head: AlignedDirection, at: _Saturation) -> Ball:
    """Φ(v), whose difference over b is the flow time."""
    size = _size(head)
    y, rest = at
    root = flint().arb(3).sqrt()
    logarithms = (1 + y + y * y).log() / 6 - rest.log() / 3
    angle = ((2 * y + 1) / root).atan() / root
    return (logarithms - angle) / size - 1 / (size * y)


def _size(head: AlignedDirection) -> Ball:
    """m^{1/3}, the amplitude at which a head saturates."""
    return ball(head.b / head.curvature).root(3)


def _unsaturated(y: Ball) -> _Saturation:
    """y and 1 − y of a ball, where they are of one size."""
    return _Saturation(y, 1 - y)


def _logistic(x: Ball) -> _Saturation:
    """y = 1/(1 + e^{-x}) and 1 − y = 1/(1 + e^x), both without cancellation."""
    return _Saturation(1 / (1 + (-x).exp()), 1 / (1 + x.exp()))


def _start(head: AlignedDirection, v0: object) -> _Saturation:
    """Where a head begins; ValueError unless it lies between 0 and its fixed point."""
    start = _unsaturated(ball(positive_rational("v0", v0)) / _size(head))
    if not start.rest > 0:
        raise ValueError(
            f"v0 must lie between 0 and the fixed point of the head, not {v0!r}"
        )
    return start


def _amplitude(head: AlignedDirection, time: Fraction, v0: object) -> Ball:
    """v at a time: a solution x of F(x) = Φ(v(x)) − Φ(v₀) − b t that interval Newton proves to be there."""
    start = _start(head, v0)
    target = _phi(head, start) + ball(head.b) * ball(time)

    def excess(x: Ball) -> Ball:
        return _phi(head, _logistic(x)) - target

    def slope(x: Ball) -> Ball:
        # dΦ/dx = (dΦ/dv)(dv/dx) = m^{-1/3} / (y (1 + y + y²))
        y = _logistic(x).y
        return 1 / (_size(head) * y * (1 + y + y * y))

    first = (start.y / start.rest).log().mid()
    guess = _newton_on_midpoints(excess, slope, first)
    return _size(head) * _logistic(_proved_root(excess, slope, guess)).y


def _newton_on_midpoints(
    excess: Callable[[Ball], Ball], slope: Callable[[Ball], Ball], x: Ball
) -> Ball:
    """A number near the solution: nothing is proved of it."""
    resolution = flint().arb(2) ** (-flint().ctx.prec // 2)
    for _ in range(MOST_NEWTON_STEPS):
        step = (excess(x) / slope(x)).mid()
        if x < 0 and abs(step) > LARGEST_NEWTON_STEP:
            step = LARGEST_NEWTON_STEP * step.sgn()
        x = (x - step).mid()
        if abs(step) < resolution:
            break
    return x


def _proved_root(
    excess: Callable[[Ball], Ball], slope: Callable[[Ball], Ball], guess: Ball
) -> Ball:
    """The solution near a guess: N(X) = x − F(x)/F'(X) inside X proves that X holds one solution, and N(X) holds it."""
    radius = flint().arb(2) ** (-flint().ctx.prec // 3)
    while radius < 1:
        wide = flint().arb(guess, radius)
        narrow = guess - excess(guess) / slope(wide)
        if wide.contains_interior(narrow):
            # Once more from there: the error is squared.
            middle = narrow.mid()
            return middle - excess(middle) / slope(narrow)
        radius = radius * INFLATION
    raise NoCertificate(
        "no solution of the implicit equation is certain at this precision: more bits are needed"
    )


def _loss(
    c: Fraction, directions: list[AlignedDirection], v0: list[Fraction], time: Fraction
) -> Ball:
    """c − Σ_d g_d [1 − (1 − v_d³/m_d)²]."""
    loss = ball(c)
    for direction, start in zip(directions, v0, strict=True):
        if start == 0:
            continue
        v = _amplitude(direction, time, start)
        missing = 1 - v * v * v / ball(direction.b / direction.curvature)
        loss = loss - ball(direction.gain) * (1 - missing * missing)
    return loss


def _rank_one_heads(model: Parametrization) -> Separate:
    """The model; ValueError unless it has separate heads of rank one, whose equations these closed forms solve."""
    if not isinstance(model, Separate) or model.rank != 1:
        raise ValueError(
            "this form is that of separate heads of rank one: pass Separate(heads)"
        )
    return model


def _starts(
    v0: Sequence[object],
    directions: Sequence[AlignedDirection],
    model: Parametrization,
) -> list[Fraction]:
    """The starts as fractions, none below zero; ValueError unless there is one for each direction, and enough heads."""
    if len(v0) != len(directions):
        raise ValueError(
            f"v0 must have one start for each of {len(directions)} directions, not {len(v0)}"
        )
    starts = [_nonnegative("v0", start) for start in v0]
    begun = sum(start > 0 for start in starts)
    if begun > _rank_one_heads(model).head_count:
        raise ValueError(
            f"v0 starts {begun} heads, each on a direction of its own, and the model has fewer: "
            "write 0 for a direction without a head"
        )
    return starts


def _nonnegative(name: str, value: object) -> Fraction:
    number = rational(name, value)
    if number < 0:
        raise ValueError(f"{name} must be zero or more, not {value!r}")
    return number


def _direction(
    task: Task, model: Parametrization, direction: object
) -> AlignedDirection:
    """The direction of this number; ValueError if there is none."""
    _, directions = aligned_directions(task, _rank_one_heads(model))
    number = whole_number_between("direction", direction, 1, len(directions))
    return directions[number - 1]
