"""Writes docs/coverage.md, results of the papers and the claims that check them: `python docs/make_coverage.py`."""

from pathlib import Path

from attndyn.compare.evidence.papers import Paper, Result, all_papers
from attndyn.compare.ledger.coverage import claims_of_result, results_without_claims

PAGE = Path(__file__).with_name("coverage.md")

HEADER = """\
# Coverage

This page is for readers who look for the evidence of one result. It lists the results of each paper, the
[claims](claims.md) that check each of them, the level that each claim is expected to reach, and the figures that show
it. In the report of `attndyn verify` a verdict is red if it is not the expected one.

Numbers of equations and figures of a paper are left out where they could not be confirmed. The page is written by
`docs/make_coverage.py`.
"""


def page() -> str:
    """The whole page: a section for each paper, then the results without a claim."""
    sections = [line for paper in all_papers() for line in section(paper)]
    missing = [f"- {title}" for title in results_without_claims()]
    missing = missing or ["None of the results above is without a claim."]
    return "\n".join([HEADER, *sections, "## Gaps", "", *missing, ""])


def section(paper: Paper) -> list[str]:
    """Heading, notes and tables of one paper."""
    address = f"https://arxiv.org/abs/{paper.arxiv}"
    places = [paper.venue, f"arXiv [{paper.arxiv}]({address})" if paper.arxiv else ""]
    published = ", ".join(
        filter(None, [*places, "" if paper.venue else str(paper.year)])
    )
    authors = ", ".join(paper.authors)
    lines = [
        f"## {paper.citation}",
        "",
        f"{authors}: *{paper.title}*, {published}.",
        "",
    ]
    if paper.notes:
        lines.append(paper.notes)
    return [*lines, *(table(part, results) for part, results in paper.parts.items())]


def table(part: str, results: tuple[Result, ...]) -> str:
    """Heading and table of one part."""
    lines = [f"### {part}", "", "| result | claims | figures |", "|---|---|---|"]
    for result in results:
        claims = [
            f"`{claim.id}`{level(claim.expected_level)}"
            for claim in claims_of_result(result)
        ]
        figures = [f"`{name}`" for name in result.figures]
        lines.append(
            f"| {result.title} | {', '.join(claims) or '**none**'} | {', '.join(figures) or 'none'} |"
        )
    return "\n".join([*lines, ""])


def level(expected: str) -> str:
    """What a claim is expected to be, where it is not observed in numbers."""
    return "" if expected == "numerical" else f" ({expected})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
