"""Results of the papers with the claims that support them, and what one run of verify says of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..evidence.papers import Paper, Result, all_papers
from ..evidence.verdict import Verdict
from ..ledger.coverage import claims_of_result
from ..ledger.ledger import Ledger


class Holding(NamedTuple):
    """A claim that holds a result: its verdict, None where this run did not check it, and its tier."""

    id: str
    verdict: Verdict | None
    tier: str


@dataclass(frozen=True)
class Covered:
    """A result, the claims that hold it and the figures that show it."""

    title: str
    holdings: tuple[Holding, ...]
    figures: tuple[str, ...]

    @property
    def checked(self) -> tuple[Verdict, ...]:
        """The verdicts that there are."""
        return tuple(each.verdict for each in self.holdings if each.verdict is not None)

    @property
    def good(self) -> bool:
        """Whether something holds the result and nothing that was checked speaks against it."""
        return bool(self.holdings) and all(verdict.holds for verdict in self.checked)

    @property
    def status(self) -> str:
        """What this run says of the result, in words.

        >>> Covered("a result that nobody checks", (), ()).status
        'no claim'
        """
        if not self.holdings:
            return "no claim"
        if not self.checked:
            return "not checked in this run"
        wrong = sum(not verdict.holds for verdict in self.checked)
        said = f"{wrong} not as expected" if wrong else "as expected"
        return (
            said
            if len(self.checked) == len(self.holdings)
            else f"{said}, {self.share} checked"
        )

    @property
    def share(self) -> str:
        """How many of the claims this run checked."""
        return f"{len(self.checked)} of {len(self.holdings)}"


class PaperCoverage(NamedTuple):
    """A paper, and its results with the verdicts of one ledger, by part (part → results)."""

    paper: Paper
    parts: dict[str, tuple[Covered, ...]]

    @property
    def results(self) -> tuple[Covered, ...]:
        """The results of all parts."""
        return tuple(result for part in self.parts.values() for result in part)


def coverage(ledger: Ledger) -> list[PaperCoverage]:
    """Every paper with its results and the verdicts of this ledger; ValueError names a claim that does not exist.

    >>> zhang2025 = coverage(Ledger((), seed=0))[0]
    >>> {result.status for result in zhang2025.parts["Setting"]}
    {'not checked in this run'}
    """
    verdicts = {verdict.id: verdict for verdict in ledger.verdicts}
    return [
        PaperCoverage(
            paper,
            {
                part: tuple(_covered(result, verdicts) for result in results)
                for part, results in paper.parts.items()
            },
        )
        for paper in all_papers()
    ]


def _covered(result: Result, verdicts: dict[str, Verdict]) -> Covered:
    holdings = tuple(
        Holding(claim.id, verdicts.get(claim.id), claim.tier)
        for claim in claims_of_result(result)
    )
    return Covered(result.title, holdings, result.figures)


def summary(results: Sequence[Covered]) -> str:
    """How far the results are covered, in one line.

    >>> summary([Covered("a result that nobody checks", (), ())])
    '0 of 1 results checked in this run, 0 not as expected, 1 without a claim'
    """
    checked = [result for result in results if result.checked]
    wrong = sum(not result.good for result in checked)
    gaps = sum(not result.holdings for result in results)
    return (
        f"{len(checked)} of {len(results)} results checked in this run, "
        f"{wrong} not as expected, {gaps} without a claim"
    )
