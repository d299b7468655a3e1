"""Writes docs/claims.md from the registered claims: `python docs/make_claims.py`."""

from itertools import groupby
from pathlib import Path
from types import ModuleType

from attndyn.compare import Claim
from attndyn.compare.claims import sections

PAGE = Path(__file__).with_name("claims.md")

HEADER = """\
# Claims

What `attndyn verify` checks; [theory](theory.md) explains the statements, and
[the tutorial](tutorial.md#7-your-own-claim) how to add one. A claim holds if prediction and observation agree in
its limit **and** the same judge rejects every wrong formula under *controls*. `attndyn verify NAME` checks one
claim, or all whose ids begin with NAME and a dot. This page is written by `docs/make_claims.py`.

**Levels.** *proved*: a symbolic identity, derived from the definition.
*certified*: an enclosure that holds with certainty lies inside the stated interval; [certified](certified.md) says what
that shows.
*numerical*: observed within an error budget, at the expected order where the claim speaks of a limit.
*refuted*: prediction and observation disagree; a statement that is known not to hold as it stands is expected
to be refuted, its counterexample is checked at every run, and a *corrected* statement must pass the same judge.
*inconclusive*: nothing can be said, because the measurement failed, scatter hides the answer or the judge was
wrong about a variant. A verdict is as expected if its level is the one that the claim expects, *numerical*
unless the table says another.

**Tiers.** *fast* and *standard* claims are checked by default, in about five minutes together on two cores;
`--tier long` adds what takes minutes each, `--tier paper` what takes hours. Claims that are named are checked
whatever their tier.
"""

COLUMNS = ("id", "statement", "what is observed", "limit", "controls", "tier, level")


def page() -> str:
    """The whole page: for each wing a heading, and a table for each of its sections."""
    parts = [HEADER]
    for wing, modules in groupby(sections(), key=wing_of):
        parts += [f"## {wing.replace('_', ' ').capitalize()}\n"]
        parts += [table(section) for section in modules]
    return "\n".join(parts)


def wing_of(section: ModuleType) -> str:
    """The folder of compare/claims that a module lies in."""
    return section.__name__.removeprefix("attndyn.compare.claims.").split(".")[0]


def table(section: ModuleType) -> str:
    """Heading and table of the claims of one module."""
    heading = (section.__doc__ or section.__name__).split("\n")[0].rstrip(".")
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(row(claim) for claim in section.CLAIMS)]
    return "\n".join(
        [f"### {heading}", "", *("| " + " | ".join(cells) + " |" for cells in rows), ""]
    )


def row(claim: Claim) -> tuple[str, ...]:
    """The cells of one claim."""
    variants = [*claim.controls, *(f"corrected: {name}" for name in claim.corrected)]
    kind = (
        claim.tier
        if claim.expected_level == "numerical"
        else f"{claim.tier}, {claim.expected_level}"
    )
    cells = (
        f"`{claim.id}`",
        claim.title,
        claim.observable,
        claim.limit,
        "; ".join(variants),
        kind,
    )
    return tuple(cell.replace("|", r"\|").replace("*", r"\*") for cell in cells)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
