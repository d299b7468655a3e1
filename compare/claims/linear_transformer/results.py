"""The paper of this wing, and which claims and figures support each of its results."""

from ...evidence.papers import Paper, Result

_MAINALI: dict[str, tuple[Result, ...]] = {
    "Setting": (
        Result(
            "Recorded training of the layer (beyond the paper)",
            (
                "modes_replay.full_batch",
                "modes_replay.statistics",
                "modes_replay.online",
            ),
        ),
    ),
}

PAPERS = (
    Paper(
        key="mainali2025",
        title=(
            "Exact Learning Dynamics of In-Context Learning in Linear Transformers and Its Application to Non-Linear "
            "Transformers"
        ),
        authors=("Mainali", "Teixeira"),
        year=2025,
        arxiv="2504.12916",
        parts=_MAINALI,
        position=4,
    ),
)
