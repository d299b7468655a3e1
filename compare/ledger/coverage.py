"""Which claims support the results of the papers: nothing is covered that no paper names."""

from collections.abc import Iterator

from ..claims import all_claims
from ..evidence.claim import Claim
from ..evidence.papers import Result, all_papers


def results_without_claims() -> Iterator[str]:
    """Titles of results that no claim checks, paper by paper.

    >>> "Two fixed points" in list(results_without_claims())
    False
    """
    return (
        result.title
        for paper in all_papers()
        for result in paper.results
        if not result.claims
    )


def claims_of_result(result: Result) -> list[Claim]:
    """The claims of a result; ValueError if one does not exist."""
    claims = {claim.id: claim for claim in all_claims()}
    missing = [name for name in result.claims if name not in claims]
    if missing:
        raise ValueError(
            f"no claim is called {', '.join(missing)}: there are {', '.join(claims)}"
        )
    return [claims[name] for name in result.claims]
