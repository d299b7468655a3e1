"""Where a peer is faster: looked for in every comparison, so that none is forgotten."""

from collections.abc import Iterator, Mapping

from .fresh_prompts import OURS as OUR_STEP
from .fresh_prompts import PEERS
from .runs import OURS, OURS_TOKENS
from .timing import Times, ratio

Measured = Mapping[str, Times]

WHOLE = ("merged", "separate", "low_rank")
LARGE = ("10⁶ inversions", "staircase, D = 1000")
"""Closed forms that no peer was asked for."""

OURS_BY_GROUP = {
    "softmax": OURS_TOKENS,
    "softmax_large": OURS_TOKENS,
    "reduced_flow": "attndyn",
    "full_flow": "DOP853",
}
"""What stands for the package in groups of several problems; `flow` chooses DOP853 unless told otherwise."""


def wins(measured: Measured) -> str:
    """The section: every peer that is faster, or that none is."""
    lines = [
        f"- {what}: {peer}, in {value:.2f} of our time."
        for what, peer, value in compared(measured)
        if value < 1
    ]
    return "\n".join(
        [
            "## Where a peer is faster\n",
            *(lines or ["Nowhere in what was measured."]),
            "",
        ]
    )


def compared(measured: Measured) -> Iterator[tuple[str, str, float]]:
    """Problem, peer, and its time over ours."""
    single = dict.fromkeys(WHOLE, OURS) | {"closed_forms": "attndyn"}
    for group, ours in single.items():
        for peer in measured.get(group, {}):
            if peer not in (ours, OURS_TOKENS, *LARGE):
                yield group.replace("_", " "), peer, ratio(measured[group], peer, ours)
                if OURS_TOKENS in measured[group]:
                    yield (
                        f"{group.replace('_', ' ')}, on tokens",
                        peer,
                        ratio(measured[group], peer, OURS_TOKENS),
                    )
    fresh = measured.get("fresh_prompts", {})
    for peer in PEERS if fresh else ():
        yield "fresh prompts", peer, ratio(fresh, peer, OUR_STEP)
    for group, ours in OURS_BY_GROUP.items():
        for name in measured.get(group, {}):
            problem, peer = name.split(": ")
            if peer != ours:
                yield (
                    f"{group.replace('_', ' ')}, {problem}",
                    peer,
                    ratio(measured[group], name, f"{problem}: {ours}"),
                )
