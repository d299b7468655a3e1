"""Steps of a flow that are certain: a Taylor polynomial whose remainder is bounded over the whole step.

From a box x₀ one looks for a box X with x₀ + [0, h] f(X) inside X. Then the solution exists until h and stays in X
(Picard). With the coefficients x_k of its power series, x(t) = Σ_{k<p} x_k t^k + R t^p with R in x_p(X), the
coefficient p from X (Lagrange).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .balls import Ball, NoCertificate, flint, is_finite

Series = Any
"""A power series of balls (`arb_series`)."""

State = list[Ball]
"""A box: one ball for each coordinate."""

Rate = Callable[[list[Series]], list[Series]]
"""f of dx/dt = f(x), written for power series."""

REMAINDER_SHARE = 0.4
"""A step is so long that its remainder is 2^(−0.4 bits) of the state: more would waste bits, less would waste steps."""

INFLATION = 1.3
"""By how much a box is widened in the search for one that holds the solution over a step."""

LEAST_RADIUS = 1e-60
"""Radius by which a box without one is widened: any positive number would do."""

MOST_INFLATIONS = 12
"""Attempts before a step is halved."""

MOST_HALVINGS = 60
"""Halvings before a step is given up."""


@dataclass(frozen=True, eq=False)
class TaylorStep:
    """The solution over [0, `length`]: Σ_k coefficients[i][k] t^k + remainder[i] t^p for coordinate i."""

    length: float
    coefficients: list[list[Ball]]
    remainder: State

    def at(self, time: Ball) -> State:
        """The box of the solution at a time of the step, or over a ball of times."""
        box = []
        for series, last in zip(self.coefficients, self.remainder, strict=True):
            value = last
            for coefficient in reversed(series):
                value = value * time + coefficient
            box.append(value)
        return box


@dataclass(frozen=True, eq=False)
class TaylorMethod:
    """Steps of dx/dt = `rate`(x) of an `order` p, which bound their own error."""

    rate: Rate
    order: int

    def step(self, start: State, longest: float) -> TaylorStep:
        """A step from a box; NoCertificate if none, however short, could be proved to stay in a box."""
        coefficients = self.series(start)
        length = min(longest, self._length(coefficients))
        for _ in range(MOST_HALVINGS):
            box = self.enclosing_box(start, length)
            if box is not None:
                leading = [series[: self.order] for series in coefficients]
                return TaylorStep(length, leading, self.remainder(box))
            length /= 2
        raise NoCertificate(
            "no step of the flow is certain to stay in a box: more bits are needed"
        )

    def series(self, start: State) -> list[list[Ball]]:
        """Coefficients x_0 … x_p of the solution from a box, of each coordinate: (k + 1) x_{k+1} = f(x)_k."""
        arb_series = flint().arb_series
        rows = [[coordinate] for coordinate in start]
        for k in range(self.order):
            flint().ctx.cap = k + 1
            rates = self.rate([arb_series(row, k + 1) for row in rows])
            for row, series in zip(rows, rates, strict=True):
                row.append(series[k] / (k + 1))
        return rows

    def velocity(self, box: State) -> State:
        """f of a box."""
        flint().ctx.cap = 1
        rates = self.rate([flint().arb_series([ball], 1) for ball in box])
        return [series[0] for series in rates]

    def enclosing_box(self, start: State, length: float) -> State | None:
        """A box that the solution stays in for this long, None if none was found."""
        half = flint().arb(length / 2)
        times = flint().arb(half, half)  # [0, length]
        box = self._moved(start, times, start)
        for _ in range(MOST_INFLATIONS):
            wide = [_inflated(ball) for ball in box]
            image = self._moved(start, times, wide)
            if all(ball.contains(part) for ball, part in zip(wide, image, strict=True)):
                return image
            box = [ball.union(part) for ball, part in zip(wide, image, strict=True)]
        return None

    def remainder(self, box: State) -> State:
        """Coefficient p of the solutions from everywhere in a box."""
        return [series[self.order] for series in self.series(box)]

    def _moved(self, start: State, times: Ball, box: State) -> State:
        """x₀ + times · f(box)."""
        velocity = self.velocity(box)
        return [x + times * rate for x, rate in zip(start, velocity, strict=True)]

    def _length(self, coefficients: list[list[Ball]]) -> float:
        """How long a step may be: x_p h^p is REMAINDER_SHARE of the bits below the state."""
        last = _largest([series[-1] for series in coefficients])
        first = _largest([series[0] for series in coefficients])
        if last == 0:
            return float("inf")
        bits = float(flint().ctx.prec)
        allowed: float = (first / last * 2.0 ** (-REMAINDER_SHARE * bits)) ** (
            1 / self.order
        )
        return allowed


def _inflated(ball: Ball) -> Ball:
    return flint().arb(ball.mid(), ball.rad() * INFLATION + LEAST_RADIUS)


def _largest(balls: State) -> float:
    """The largest size in a box as a double; NoCertificate where it bounds nothing."""
    if not all(is_finite(ball) for ball in balls):
        raise NoCertificate(
            "the boxes grew beyond every bound at this precision: more bits are needed"
        )
    return max(float(abs(ball).upper()) for ball in balls)
