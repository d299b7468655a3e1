"""One module per section of a paper: its statements as claims."""

from importlib import import_module

from ..claim import Claim

SECTIONS = ("setting", "fixed_points", "merged", "separate", "low_rank", "in_context", "limits")


def all_claims() -> list[Claim]:
    """Every claim of the package, in the order of the sections.

    >>> len({claim.id for claim in all_claims()}) == len(all_claims())
    True
    """
    modules = (import_module(f".{name}", __name__) for name in SECTIONS)
    return [claim for module in modules for claim in module.CLAIMS]
