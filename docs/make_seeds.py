"""Checks the claims from twenty base seeds and writes docs/seeds.md: `python docs/make_seeds.py`, an hour.

Verdicts are stored in build/seeds: an interrupted run goes on, and what has not changed is read. With names of claims
(`python docs/make_seeds.py softmax`) these alone are checked, and the rows of all others stay as they are; with
`--seeds 6` from so many base seeds at most.
"""

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from attndyn.compare import Ledger, Verdict, verify
from attndyn.compare.evidence.claim import TIERS
from attndyn.compare.ledger.claim_names import claims_named

PAGE = Path(__file__).with_name("seeds.md")
STORE = PAGE.parent.parent / "build" / "seeds"
SEEDS = {"standard": range(20), "long": range(5)}

HEADER = """\
# Twenty base seeds

This page is for readers who ask whether a verdict depends on luck. Every data set and every initialisation of
`attndyn verify` follows from its `--seed`. The table shows what the claims observed from other seeds:

- *Fast and standard claims* are checked from twenty base seeds, no two of which share a random number.
- *Long claims* are checked from five.

The column of verdicts counts the seeds from which a claim was checked. There are fewer of them if the claim is younger
than the last full run. One seed is enough if the claim draws nothing at random. A claim that is missing in the table is
younger than its last update. `make seeds` writes this page in about an hour.

{conclusion}
"""


MAX_OBSERVATIONS = 3
"""Observations of a claim that its row shows: most differ in the last digits only."""


def page(ledgers: Sequence[Ledger], older: str = "") -> str:
    """The whole page: whether a verdict depends on the seed, then claim by claim.

    Rows of an older page stay as they are, in their place, if the ledgers have no verdict of their claim.
    """
    by_claim: dict[str, list[Verdict]] = {}
    for ledger in ledgers:
        for verdict in ledger.verdicts:
            by_claim.setdefault(verdict.id, []).append(verdict)

    rows = dict(_ROW.findall(older))
    rows |= {name: _row(verdicts) for name, verdicts in by_claim.items()}
    versions = ledgers[0].versions.items()
    lines = [
        HEADER.format(conclusion=_conclusion(ledgers, rows)),
        "| claim | verdicts | controls rejected | observed, by seed |",
        "|---|---|---|---|",
        *rows.values(),
        "",
        f"{', '.join(f'{name} {version}' for name, version in versions)}.",
        "",
    ]
    return "\n".join(lines)


_ROW = re.compile(r"^(?=\| `([^`]+)` \| \d)(.*)$", re.MULTILINE)
"""Name and text of a row."""

_COUNTS = re.compile(r"(\d+) [a-z]+")


def _conclusion(ledgers: Sequence[Ledger], rows: Mapping[str, str]) -> str:
    """How many verdicts are as expected, and which are not: those of older rows were."""
    counts = [row.split(" | ")[1] for row in rows.values()]
    total = sum(int(number) for count in counts for number in _COUNTS.findall(count))
    unexpected = [
        f"seed {verdict.seed}: `{verdict.id}` ({verdict.level})"
        for ledger in ledgers
        for verdict in ledger.verdicts
        if not verdict.holds
    ]
    if not unexpected:
        return f"All {total:,} verdicts are as expected: none depends on the seed."
    return (
        f"{len(unexpected)} of {total:,} verdicts are not as expected: "
        f"{'; '.join(unexpected)}."
    )


def _row(verdicts: Sequence[Verdict]) -> str:
    """The row of one claim, from its verdicts at all seeds."""
    levels = Counter(verdict.level for verdict in verdicts).most_common()
    tried = [verdict for verdict in verdicts if verdict.variants.control_count]
    controls = {
        f"{len(verdict.rejected)}/{verdict.variants.control_count}" for verdict in tried
    }
    observations = list(dict.fromkeys(verdict.observed for verdict in verdicts))
    observed = "; ".join(observations[:MAX_OBSERVATIONS])
    hidden = len(observations) - MAX_OBSERVATIONS
    if hidden > 0:
        observed += f"; {hidden} more"
    cells = (
        f"`{verdicts[0].id}`",
        ", ".join(f"{count} {level}" for level, count in levels),
        ", ".join(sorted(controls)),
        observed.replace("|", r"\|"),
    )
    return f"| {' | '.join(cells)} |"


def ledgers_of_all_seeds(
    names: Sequence[str] = (), count: int | None = None
) -> list[Ledger]:
    """The ledgers of all seeds, each with the claims of the last tier that it is checked up to, or those named of them.

    `count` limits the seeds.
    """
    last = {seed: tier for tier, seeds in SEEDS.items() for seed in seeds}
    chosen = dict(list(last.items())[:count])
    return [
        verify(
            _of_tier(names, tier),
            tier=tier,
            seed=seed,
            out=STORE / str(seed),
            resume=True,
        )
        for seed, tier in chosen.items()
    ]


def _of_tier(names: Sequence[str], tier: str) -> list[str]:
    """The ids of the named claims up to this tier, none if none is named."""
    up_to = TIERS[: TIERS.index(tier) + 1]
    return (
        [claim.id for claim in claims_named(names, tier) if claim.tier in up_to]
        if names
        else []
    )


def main() -> None:
    """Writes the page, or the rows of the named claims."""
    parser = argparse.ArgumentParser(description="Writes docs/seeds.md.")
    parser.add_argument(
        "names", nargs="*", help="ids of claims, or what precedes a dot"
    )
    parser.add_argument("--seeds", type=int, help="how many base seeds at most")
    arguments = parser.parse_args()
    older = PAGE.read_text(encoding="utf-8") if arguments.names else ""
    ledgers = ledgers_of_all_seeds(arguments.names, arguments.seeds)
    PAGE.write_text(page(ledgers, older), encoding="utf-8")


if __name__ == "__main__":
    main()
