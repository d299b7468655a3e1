"""How enclosures are judged: what claims of the level "certified" rest on."""

from collections.abc import Mapping

from ...theory.certified.enclosures import Enclosure
from .evidence import Evidence

Enclosures = Mapping[str, Enclosure]
"""What an interval is of → the interval."""

FEW = 3
"""Up to so many enclosures are written out."""


def enclosed_in(stated: Enclosures, certain: Enclosures) -> Evidence:
    """Every enclosure lies inside the interval that is stated for it.

    One that is disjoint from its interval refutes the statement. One that overlaps it otherwise shows neither: the
    evidence is undecided. ValueError if the two sides are not about the same quantities.

    >>> from attndyn.theory.certified import Enclosure
    >>> certain = {"time": Enclosure.around("27.1079", "1e-5")}
    >>> enclosed_in({"time": Enclosure.around("27.1", "0.01")}, certain).agrees
    True
    >>> wider = enclosed_in({"time": Enclosure.around("27.1079", "1e-6")}, certain)
    >>> wider.agrees, wider.undecided
    (False, True)
    >>> enclosed_in({"time": Enclosure.around("27.2", "0.01")}, certain).undecided
    False
    """
    if not certain or stated.keys() != certain.keys():
        raise ValueError(
            "what is stated and what is certified must be about the same quantities"
        )
    disjoint = [name for name in certain if certain[name].is_disjoint(stated[name])]
    outside = [name for name in certain if not certain[name].is_inside(stated[name])]
    widest = max(float(enclosure.width) for enclosure in certain.values())
    return Evidence(
        agrees=not outside,
        observed=_observed(certain, disjoint or outside, widest),
        expected=_expected(stated),
        undecided=bool(outside) and not disjoint,
        width=widest,
    )


def _observed(certain: Enclosures, failing: list[str], widest: float) -> str:
    """The enclosures, of many only how wide they are, and the first that is not where it was stated to be."""
    text = f"{len(certain)} enclosures, the widest {widest:.1e} wide"
    if len(certain) <= FEW:
        text = ", ".join(f"{name} {value}" for name, value in certain.items())
    if failing:
        text += f"; not inside: {failing[0]} {certain[failing[0]]}"
    return text


def _expected(stated: Enclosures) -> str:
    """The stated intervals, of many only how wide they are."""
    widest = max(float(interval.width) for interval in stated.values())
    if len(stated) <= FEW:
        return ", ".join(f"{name} in {value}" for name, value in stated.items())
    return f"all inside their stated intervals, the widest {widest:.1e} wide"
