"""Checks the claims from twenty base seeds and writes docs/seeds.md: `python docs/make_seeds.py`, an hour.

Verdicts are stored in build/seeds: an interrupted run goes on, and what has not changed is read.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attndyn.compare import Ledger, Verdict, verify

PAGE = Path(__file__).with_name("seeds.md")
STORE = PAGE.parent.parent / "build" / "seeds"
SEEDS = {"standard": range(20), "long": range(5)}

HEADER = """\
# Twenty base seeds

Every data set and every initialisation of `attndyn verify` follows from its `--seed`. A verdict that changes with
it would be luck. Here are the fast and standard claims from twenty base seeds, no two of which share a random
number, and the long ones from five; written by `make seeds`, which takes an hour. A claim that is missing here is
younger than the last run.

{conclusion}
"""


MAX_OBSERVATIONS = 3
"""Observations of a claim that its row shows: most differ in the last digits only."""


def page(ledgers: Sequence[Ledger]) -> str:
    """The whole page: whether a verdict depends on the seed, then claim by claim."""
    by_claim: dict[str, list[Verdict]] = {}
    for ledger in ledgers:
        for verdict in ledger.verdicts:
            by_claim.setdefault(verdict.id, []).append(verdict)

    versions = ledgers[0].versions.items()
    lines = [
        HEADER.format(conclusion=_conclusion(ledgers)),
        "| claim | verdicts | controls rejected | observed, by seed |",
        "|---|---|---|---|",
        *(_row(verdicts) for verdicts in by_claim.values()),
        "",
        f"{', '.join(f'{name} {version}' for name, version in versions)}.",
        "",
    ]
    return "\n".join(lines)


def _conclusion(ledgers: Sequence[Ledger]) -> str:
    """How many verdicts are as expected, and which are not."""
    verdicts = [verdict for ledger in ledgers for verdict in ledger.verdicts]
    unexpected = [
        f"seed {verdict.seed}: `{verdict.id}` ({verdict.level})"
        for verdict in verdicts
        if not verdict.holds
    ]
    if not unexpected:
        return (
            f"All {len(verdicts):,} verdicts are as expected: none depends on the seed."
        )
    return (
        f"{len(unexpected)} of {len(verdicts):,} verdicts are not as expected: "
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


def ledgers_of_all_seeds() -> list[Ledger]:
    """The ledgers of all seeds, each with the claims of the last tier that it is checked up to."""
    last = {seed: tier for tier, seeds in SEEDS.items() for seed in seeds}
    return [
        verify(tier=tier, seed=seed, out=STORE / str(seed), resume=True)
        for seed, tier in last.items()
    ]


if __name__ == "__main__":
    PAGE.write_text(page(ledgers_of_all_seeds()), encoding="utf-8")
