"""`python -m benchmarks [GROUP…]`: measures, each group in a process of its own, and writes docs/benchmarks.md.

Results are kept in build/benchmarks, one file a group, so that a stopped suite goes on where it was; --fresh
measures again. The page says which groups are missing.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from .timing import Times

FOLDER = Path(__file__).parent.parent / "build" / "benchmarks"
MODULES = {
    "process": ("process",),
    "steps": (
        "full_block",
        "many_starts",
        "population_steps",
        "accumulation",
        "restricted",
    ),
    "time_courses": ("closed_forms", "reduced_flow", "full_flow"),
    "growth": ("growth",),
    "fresh_prompts": ("fresh_prompts",),
    "softmax_losses": ("softmax_losses",),
    "ridge_fits": ("ridge_fits",),
    "runs": ("merged", "softmax", "softmax_large", "separate", "low_rank"),
}
"""Module → its groups, the quick ones first."""

THREADED = ("merged", "softmax", "softmax_large", "separate", "low_rank")
"""Groups with peers that use all cores: ours does too, on tokens."""


def main() -> None:
    """Measure what was asked for, or all that is missing, and write the page."""
    everything = [group for groups in MODULES.values() for group in groups]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "groups",
        nargs="*",
        choices=[*everything, []],
        metavar="GROUP",
        help=", ".join(everything),
    )
    parser.add_argument(
        "--fresh", action="store_true", help="measure again what is there"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measure(asked.one)
        return
    for group in asked.groups or everything:
        if asked.fresh or not path(group).is_file():
            print(f"measuring {group}", flush=True)
            command = [sys.executable, "-m", "benchmarks", "--one", group]
            subprocess.run(command, check=True, env=os.environ | threads(group))
    write(everything)


def threads(group: str) -> dict[str, str]:
    """Environment of a group's process: products of NumPy on one core, since they are small."""
    cores = str(os.cpu_count()) if group in THREADED else "1"
    return {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": cores}


def path(group: str) -> Path:
    """Where the times of a group are kept."""
    return FOLDER / f"{group}.json"


def measure(group: str) -> None:
    """Measure one group in this process and keep its times."""
    from importlib import import_module

    module = next(name for name, groups in MODULES.items() if group in groups)
    measured: Times = import_module(f".{module}", __package__).GROUPS[group]()
    FOLDER.mkdir(parents=True, exist_ok=True)
    path(group).write_text(json.dumps(measured, indent=1), encoding="utf-8")


def write(groups: list[str]) -> None:
    """Write docs/benchmarks.md from the groups that were measured."""
    from .page import PAGE, page

    measured = {
        group: json.loads(path(group).read_text("utf-8"))
        for group in groups
        if path(group).is_file()
    }
    PAGE.write_text(
        page(measured, [group for group in groups if group not in measured]),
        encoding="utf-8",
    )
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
