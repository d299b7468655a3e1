"""Writes docs/claims.md from the registered claims: `python docs/make_claims.py`."""

from itertools import groupby
from pathlib import Path
from types import ModuleType

from attndyn.compare import Claim
from attndyn.compare.claims import sections

PAGE = Path(__file__).with_name("claims.md")

HEADER = """\
# Claims

This page is for readers who want to know what exactly is checked. It lists every claim of the package. A claim holds if
prediction and observation agree in its limit **and** the same judge rejects every wrong formula under *controls*.

`attndyn verify` checks the claims. `attndyn verify NAME` checks one claim, or all whose ids begin with NAME and a dot.
[Theory](theory.md) explains the statements, and [the tutorial](tutorial.md#7-your-own-claim) how to add one. The page
is written by `docs/make_claims.py`.

**Levels.** A verdict has one of five levels. It is as expected if its level is the one that the claim expects. That is
*numerical* unless the table says another.

| level | meaning |
| :--- | :--- |
| *proved* | A symbolic identity is derived from the definition. |
| *certified* | An enclosure that holds with certainty lies inside the stated interval ([certified](certified.md)). |
| *numerical* | The prediction is observed within an error budget, and at the expected order of its limit. |
| *refuted* | Prediction and observation disagree. This is expected of statements that are known not to hold. |
| *inconclusive* | The measurement failed, scatter hides the answer, or the judge was wrong about a variant. |

Every run checks the counterexample of a refuted statement again, and the same judge must accept the *corrected*
statement.

**Tiers.** *Fast* and *standard* claims are checked by default, in about five minutes together on two cores.
`--tier long` adds claims that take minutes each, and `--tier paper` those that take hours. Claims that you name are
checked whatever their tier.
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
