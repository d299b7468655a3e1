"""Results of the paper with the claims that hold them, and what one run of verify says of each."""

from dataclasses import dataclass
from typing import NamedTuple

from ..evidence.verdict import Verdict
from ..ledger.coverage import RESULTS, Result, covering
from ..ledger.verification import Ledger


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


def coverage(ledger: Ledger) -> dict[str, tuple[Covered, ...]]:
    """Part of the paper → its results with the verdicts of this ledger; ValueError names a claim that is none.

    >>> {each.status for each in coverage(Ledger((), seed=0))["Setting"]}
    {'not checked in this run'}
    """
    found = {verdict.id: verdict for verdict in ledger.verdicts}
    return {
        part: tuple(_covered(result, found) for result in results)
        for part, results in RESULTS.items()
    }


def _covered(result: Result, found: dict[str, Verdict]) -> Covered:
    holdings = tuple(
        Holding(claim.id, found.get(claim.id), claim.tier) for claim in covering(result)
    )
    return Covered(result.title, holdings, result.figures)


def summary(parts: dict[str, tuple[Covered, ...]]) -> str:
    """How far the results are covered, in one line.

    >>> summary({"a part": (Covered("a result that nobody checks", (), ()),)})
    '0 of 1 results checked in this run, 0 not as expected, 1 without a claim'
    """
    results = [result for part in parts.values() for result in part]
    checked = [result for result in results if result.checked]
    wrong = sum(not result.good for result in checked)
    gaps = sum(not result.holdings for result in results)
    return (
        f"{len(checked)} of {len(results)} results checked in this run, "
        f"{wrong} not as expected, {gaps} without a claim"
    )
