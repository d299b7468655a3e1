"""Results of the papers with the claims that support them, and what one run of verify says of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..evidence.papers import Paper, Result, all_papers
from ..evidence.verdict import Verdict
from ..ledger.coverage import claims_of_result
from ..ledger.ledger import Ledger


class SupportingClaim(NamedTuple):
    """A claim that supports a result: its verdict, None where this run did not check it, and its tier."""

    id: str
    verdict: Verdict | None
    tier: str


@dataclass(frozen=True)
class ResultCoverage:
    """A result, the claims that support it and the figures that show it."""

    title: str
    claims: tuple[SupportingClaim, ...]
    figures: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of the claims that this run checked."""
        return tuple(
            claim.verdict for claim in self.claims if claim.verdict is not None
        )

    @property
    def is_supported(self) -> bool:
        """Whether a claim supports the result and no verdict speaks against it."""
        if not self.claims:
            return False
        return all(verdict.holds for verdict in self.verdicts)

    @property
    def status(self) -> str:
        """What this run says of the result, in words.

        >>> ResultCoverage("a result that nobody checks", (), ()).status
        'no claim'
        """
        if not self.claims:
            return "no claim"
        if not self.verdicts:
            return "not checked in this run"
        wrong = sum(not verdict.holds for verdict in self.verdicts)
        outcome = f"{wrong} not as expected" if wrong else "as expected"
        if len(self.verdicts) == len(self.claims):
            return outcome
        return f"{outcome}, {len(self.verdicts)} of {len(self.claims)} checked"


class PaperCoverage(NamedTuple):
    """A paper, and its results with the verdicts of one ledger, by part (part → results)."""

    paper: Paper
    parts: dict[str, tuple[ResultCoverage, ...]]

    @property
    def results(self) -> tuple[ResultCoverage, ...]:
        """The results of all parts."""
        return tuple(result for part in self.parts.values() for result in part)


def coverage(ledger: Ledger) -> list[PaperCoverage]:
    """Every paper with its results and the verdicts of this ledger; ValueError names a claim that does not exist.

    >>> zhang2025 = coverage(Ledger((), seed=0))[0]
    >>> {result.status for result in zhang2025.parts["Setting"]}
    {'not checked in this run'}
    """
    verdicts = {verdict.id: verdict for verdict in ledger.verdicts}
    coverages = []
    for paper in all_papers():
        parts = {}
        for part, results in paper.parts.items():
            parts[part] = tuple(
                _result_coverage(result, verdicts) for result in results
            )
        coverages.append(PaperCoverage(paper, parts))
    return coverages


def _result_coverage(result: Result, verdicts: dict[str, Verdict]) -> ResultCoverage:
    supporting = tuple(
        SupportingClaim(claim.id, verdicts.get(claim.id), claim.tier)
        for claim in claims_of_result(result)
    )
    return ResultCoverage(result.title, supporting, result.figures)


def summary(results: Sequence[ResultCoverage]) -> str:
    """How far the results are covered, in one line.

    >>> summary([ResultCoverage("a result that nobody checks", (), ())])
    '0 of 1 results checked in this run, 0 not as expected, 1 without a claim'
    """
    checked = [result for result in results if result.verdicts]
    wrong = sum(not result.is_supported for result in checked)
    gaps = sum(not result.claims for result in results)
    return (
        f"{len(checked)} of {len(results)} results checked in this run, "
        f"{wrong} not as expected, {gaps} without a claim"
    )
