"""Seeds of repeated measurements."""

SEEDS = 6
"""Data sets and initial weights that a claim about published sizes is averaged over."""


def seeds(base: int, count: int = SEEDS) -> list[int]:
    """Seeds of repeated runs: different bases share none of them.

    >>> seeds(2, 3)
    [2000, 2001, 2002]
    """
    return [1000 * base + k for k in range(count)]
