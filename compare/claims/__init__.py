"""One module per section of a paper: its statements as claims."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from ..evidence.claim import Claim

SECTIONS = (
    "linear_attention.setting.sampled_moments",
    "linear_attention.fixed_points.enumeration",
    "linear_attention.merged.time_courses",
    "linear_attention.merged.drop",
    "linear_attention.merged.saddle",
    "linear_attention.separate.rank_one",
    "linear_attention.separate.low_rank",
    "linear_attention.setting.linear_networks",
    "linear_attention.in_context.regression",
    "linear_attention.in_context.in_weight",
    "linear_attention.extensions.context_lengths",
    "linear_attention.extensions.softmax_drops",
    "linear_attention.extensions.across_seeds",
    "linear_attention.separate.published_runs",
    "linear_attention.separate.dwell_times",
    "linear_attention.fixed_points.capacity",
    "linear_attention.fixed_points.canonical_weights",
    "linear_attention.setting.directions",
    "linear_attention.fixed_points.order",
    "linear_attention.fixed_points.equal_gains",
    "linear_attention.setting.time_courses",
    "linear_attention.setting.amplitudes",
    "linear_attention.separate.staircases",
    "linear_attention.setting.moment_integrals",
    "linear_attention.separate.closed_forms",
    "linear_attention.separate.small_starts",
    "linear_attention.separate.instantaneous_drops",
    "linear_attention.separate.random_staircases",
    "linear_attention.setting.descent_limits",
    "linear_attention.symbolic.proofs",
    "linear_attention.symbolic.reduced_equations",
    "linear_attention.symbolic.derived_results",
    "linear_attention.symbolic.counterexamples",
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
    'time_courses.py'
    """
    return {
        claim.id: Path(str(module.__file__))
        for module in _modules()
        for claim in module.CLAIMS
    }


def _modules() -> list[ModuleType]:
    return [import_module(f".{name}", __name__) for name in SECTIONS]
