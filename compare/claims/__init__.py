"""One module per section of a paper: its statements as claims."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from ..claim import Claim

SECTIONS = (
    "setting",
    "fixed_points",
    "merged",
    "one_drop",
    "saddle",
    "separate",
    "low_rank",
    "network",
    "in_context",
    "in_weight",
    "lengths",
    "softmax",
    "across_seeds",
    "overlays",
    "durations",
    "capacity",
    "canonical",
    "spectra",
    "subsets",
    "ties",
    "courses",
    "amplitudes",
    "ladders",
    "formulas",
    "solutions",
    "onsets",
    "instantaneous_drops",
    "random_staircases",
    "limits",
    "proofs",
    "identities",
    "symbols",
    "refuted",
)


def all_claims() -> list[Claim]:
    """Every claim of the package, in the order of the sections.

    >>> len({claim.id for claim in all_claims()}) == len(all_claims())
    True
    """
    return [claim for module in _modules() for claim in module.CLAIMS]


def section_files() -> dict[str, Path]:
    """The file that states each claim of the package, by id.

    >>> section_files()["merged.aligned"].name
    'merged.py'
    """
    return {claim.id: Path(str(module.__file__)) for module in _modules() for claim in module.CLAIMS}


def _modules() -> list[ModuleType]:
    return [import_module(f".{name}", __name__) for name in SECTIONS]
