"""What is printed of an enclosure, read back: a reader's interval must hold the certain one."""

from fractions import Fraction
from typing import NamedTuple

from .....theory.certified import Enclosure
from ....evidence.claim import Claim, RunContext
from ....evidence.enclosed import enclosed_in


class Interval(NamedTuple):
    """A midpoint and a radius, exact."""

    middle: Fraction
    radius: Fraction


INTERVALS = {
    "seventeen digits": Interval(
        Fraction("27.109657265264784755"), Fraction("9.4321e-17")
    ),
    "below zero": Interval(Fraction(-1, 3), Fraction(1, 7 * 10**6)),
    "below one": Interval(Fraction(1, 700), Fraction(1, 3 * 10**9)),
    "radius of one digit": Interval(Fraction(1000, 7), Fraction(10, 3)),
    "radius of two digits": Interval(Fraction(10**9, 81), Fraction("46.81")),
    "radius of five digits": Interval(Fraction(-1000025000), Fraction("10123.4")),
    "radius that is rounded to a power of ten": Interval(
        Fraction("3.1428"), Fraction("0.00998")
    ),
    "radius just above ten units of its second digit": Interval(
        Fraction("3.1417"), Fraction("0.00101")
    ),
    "no width": Interval(Fraction(-1, 8), Fraction(0)),
    "no width, endless decimals": Interval(Fraction(2, 3), Fraction(0)),
}

LARGEST_GROWTH = Fraction(6, 5)
"""Both roundings move an end by at most two units of the radius's second digit, of which it has ten or more."""

SIXTY_DECIMALS = Fraction(1, 10**59)
"""What sixty decimals leave of a number whose interval has no width."""

INWARDS = "ends in print inside the interval"
WIDTH_FOR_RADIUS = "the width for the radius"


def shown_intervals(context: RunContext) -> dict[str, Enclosure]:
    """Both ends in print, the middle, the radius and the width of each interval."""
    numbers: dict[str, Fraction] = {}
    for name, (middle, radius) in INTERVALS.items():
        enclosure = Enclosure(middle - radius, middle + radius)
        shown_middle, _, shown_radius = str(enclosure).partition(" ± ")
        numbers |= {
            f"{name}: lower end": Fraction(shown_middle) - Fraction(shown_radius),
            f"{name}: upper end": Fraction(shown_middle) + Fraction(shown_radius),
            f"{name}: middle": enclosure.midpoint,
            f"{name}: radius": enclosure.radius,
            f"{name}: width": enclosure.width,
        }
    return {name: Enclosure(number, number) for name, number in numbers.items()}


def allowed_numbers(context: RunContext, control: str) -> dict[str, Enclosure]:
    """Where ends in print may lie, outside the interval and near it, and what the exact numbers are."""
    allowed: dict[str, Enclosure] = {}
    for name, (middle, radius) in INTERVALS.items():
        reach = (radius, LARGEST_GROWTH * radius + SIXTY_DECIMALS)
        if control == INWARDS:
            reach = (radius / 2, radius)
        stated_radius = 2 * radius if control == WIDTH_FOR_RADIUS else radius
        allowed |= {
            f"{name}: lower end": Enclosure(middle - reach[1], middle - reach[0]),
            f"{name}: upper end": Enclosure(middle + reach[0], middle + reach[1]),
            f"{name}: middle": Enclosure(middle, middle),
            f"{name}: radius": Enclosure(stated_radius, stated_radius),
            f"{name}: width": Enclosure(2 * radius, 2 * radius),
        }
    return allowed


CLAIMS = (
    Claim(
        id="certified.printed",
        title="Enclosures in print hold the exact ones, and are hardly wider",
        origin="goes beyond the papers: exact intervals, whose text Python's own fractions read",
        statement=r"m - \tfrac{6}{5} r \le m' - r' \le m - r, \quad m + r \le m' + r' \le m + \tfrac{6}{5} r",
        hypotheses=("a radius r above zero; without one sixty decimals are printed",),
        observable="both ends of ten intervals as their text gives them, with middle, radius and width",
        limit="none: all numbers are exact",
        measure=shown_intervals,
        predict=allowed_numbers,
        judge=enclosed_in,
        controls=(INWARDS, WIDTH_FOR_RADIUS),
        expected_level="certified",
        evidence_level="certified",
    ),
)
