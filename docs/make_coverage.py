"""Writes docs/coverage.md, results of the paper and the claims that hold them: `python docs/make_coverage.py`."""

from pathlib import Path

from attndyn.compare.ledger.coverage import RESULTS, Result, covering, gaps

PAGE = Path(__file__).with_name("coverage.md")

HEADER = """\
# Coverage

Results of Zhang, Singh, Latham and Saxe (ICML 2025, arXiv [2501.16265](https://arxiv.org/abs/2501.16265)), the
[claims](claims.md) that check each, the level that each claim is expected to reach, and the figures that show
it. A verdict that is not the expected one is red in the report of `attndyn verify`. This page is written by
`docs/make_coverage.py`; numbers of equations and figures of the paper are left out, where they could not be
confirmed.

Sizes of the simulated figures are those of the commands that the authors publish with their code (full-batch
gradient descent in float32 there, float64 here):

| experiment | D | N | heads | rank | sequences | initial scale | learning rate | steps |
|---|---|---|---|---|---|---|---|---|
| merged, and the network on cubic features | 4 | 31 | 8 | | 5,000 | 1e-6 | 0.001 | 6,001 |
| separate, rank one | 4 | 31 | 5 | 1 | 80,000 | 0.01 | 0.02 | 10,001 |
| separate, low rank | 8 | 31 | 9 | 8, 4, 2, 1 | 80,000 | 0.005 | 0.02 | 20,001 |
| in-context fractions 0, 0.2 … 1, white, merged | 4 | 31 | 8 | | 5,000, and 5,000 to test | 1e-6 | 0.0005 | 4,001 |

The separate runs here go on, to 120,000 steps, so that all plateaus are seen. The claims on merged attention
train on 80,000 sequences, since the bias of 5,000 exceeds what they resolve. Softmax settings are not among
those commands: ours are those of the linear runs, as [theory](theory.md) says.
"""


def page() -> str:
    """The whole page: a table for each part of the paper, then the gaps."""
    parts = [HEADER, *(table(name, results) for name, results in RESULTS.items())]
    missing = [f"- {title}" for title in gaps()] or [
        "None of the results above is without a claim."
    ]
    return "\n".join([*parts, "## Gaps", "", *missing, ""])


def table(part: str, results: tuple[Result, ...]) -> str:
    """Heading and table of one part."""
    lines = [f"## {part}", "", "| result | claims | figures |", "|---|---|---|"]
    for result in results:
        claims = [
            f"`{claim.id}`{level(claim.expected_level)}" for claim in covering(result)
        ]
        figures = [f"`{name}`" for name in result.figures]
        lines.append(
            f"| {result.title} | {', '.join(claims) or '**none**'} | {', '.join(figures)} |"
        )
    return "\n".join([*lines, ""])


def level(expected: str) -> str:
    """What a claim is expected to be, where it is not observed in numbers."""
    return "" if expected == "numerical" else f" ({expected})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
