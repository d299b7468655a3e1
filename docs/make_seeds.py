"""Checks the claims from twenty base seeds and writes docs/seeds.md: `python docs/make_seeds.py`, an hour.

Verdicts are kept in build/seeds, so that what is interrupted goes on, and what has not changed is read.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attndyn.compare import Ledger, Verdict, verify

PAGE = Path(__file__).with_name("seeds.md")
KEPT = PAGE.parent.parent / "build" / "seeds"
SEEDS = {"standard": range(20), "long": range(5)}

HEADER = """\
# Twenty base seeds

Every data set and every initialisation of `attndyn verify` follows from its `--seed`. A verdict that changes with
it would be luck. Here are the fast and standard claims from twenty base seeds, no two of which share a random
number, and the long ones from five; written by `make seeds`, which takes an hour. A claim that is missing here is
younger than the last run.

{conclusion}
"""


def page(ledgers: Sequence[Ledger]) -> str:
    """The whole page: what was found, then claim by claim."""
    wrong = [
        f"seed {ledger.seed}: `{v.id}` ({v.level})"
        for ledger in ledgers
        for v in ledger.verdicts
        if not v.holds
    ]
    verdicts = sum(len(ledger.verdicts) for ledger in ledgers)
    same = f"All {verdicts:,} verdicts are as expected: none depends on the seed."
    conclusion = (
        same
        if not wrong
        else f"{len(wrong)} of {verdicts:,} verdicts are not as expected: {'; '.join(wrong)}."
    )
    names = dict.fromkeys(
        verdict.id for ledger in ledgers for verdict in ledger.verdicts
    )
    rows = [
        _row([v for ledger in ledgers for v in ledger.verdicts if v.id == name])
        for name in names
    ]
    head = [
        "| claim | verdicts | controls rejected | observed, by seed |",
        "|---|---|---|---|",
    ]
    versions = ", ".join(
        f"{name} {version}" for name, version in ledgers[0].versions.items()
    )
    return "\n".join(
        [HEADER.format(conclusion=conclusion), *head, *rows, "", f"{versions}.", ""]
    )


def _row(verdicts: Sequence[Verdict]) -> str:
    levels = Counter(verdict.level for verdict in verdicts)
    found = ", ".join(f"{count} {level}" for level, count in levels.most_common())
    controls = {
        f"{len(v.rejected)}/{len(v.rejected) + len(v.accepted)}"
        for v in verdicts
        if v.rejected or v.accepted
    }
    seen = list(dict.fromkeys(verdict.observed for verdict in verdicts))
    shown = "; ".join(seen[:3]) + (f"; {len(seen) - 3} more" if len(seen) > 3 else "")
    return f"| `{verdicts[0].id}` | {found} | {', '.join(sorted(controls))} | {shown.replace('|', chr(92) + '|')} |"


def checked() -> list[Ledger]:
    """The ledgers of all seeds, each with the claims of the last tier that it is checked up to."""
    last = {seed: tier for tier, seeds in SEEDS.items() for seed in seeds}
    return [
        verify(tier=tier, seed=seed, out=KEPT / str(seed), resume=True)
        for seed, tier in last.items()
    ]


if __name__ == "__main__":
    PAGE.write_text(page(checked()), encoding="utf-8")
