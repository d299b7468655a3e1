"""The paper of this wing, and which claims and figures support each of its results."""

from ...evidence.papers import Paper

PAPERS = (
    Paper(
        key="lu2025",
        title="Asymptotic theory of in-context learning by linear attention",
        authors=("Lu", "Letey", "Zavatone-Veth", "Maiti", "Pehlevan"),
        year=2025,
        venue="PNAS 2025",
        arxiv="2405.11751",
        position=5,
    ),
)
