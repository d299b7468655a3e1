"""Checks many claims in parallel processes and collects the verdicts."""

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..simulate import Experiment
from ..simulate.files import make_folder
from ..simulate.progress import tracked
from ..simulate.store import fetch
from ..simulate.trajectory import versions
from .claim import TIERS, Claim, Lab, check
from .claims import all_claims
from .verdict import Verdict


@dataclass(frozen=True)
class Ledger:
    """The verdicts on the claims that were checked, in the order of the claims."""

    verdicts: tuple[Verdict, ...]
    seed: int

    @property
    def holds(self) -> bool:
        """Whether every verdict is the expected one."""
        return all(verdict.holds for verdict in self.verdicts)

    def to_json(self) -> str:
        """The ledger as JSON: holds, verdicts, versions, seed."""
        verdicts = [verdict.to_dict() for verdict in self.verdicts]
        return json.dumps(
            {"holds": self.holds, "verdicts": verdicts, "versions": versions(), "seed": self.seed}, indent=2
        )


def verify(
    claims: Sequence[str] = (),
    *,
    tier: str = "standard",
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    workers: int | None = None,
) -> Ledger:
    """Check claims by id, or by the part of the id before a dot, or all up to a tier, against simulations.

    Finished runs are kept in `out`/runs and read again next time; without `out` they are not kept. `seed` is the
    base of every random number; `workers` processes share the work, as many as there are cores if left out.
    ValueError names a claim or a tier that does not exist; OSError if `out` cannot be written; MemoryError if a
    worker process was killed.

    >>> from attndyn.compare import verify
    >>> verify(["fixed_points.losses"], workers=1).holds
    True
    """
    chosen = choose([claims] if isinstance(claims, str) else claims, tier)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            return _verify(chosen, Lab(Path(folder), seed), workers)
    return _verify(chosen, Lab(make_folder(Path(out) / "runs"), seed), workers)


def choose(names: Sequence[str], tier: str) -> list[Claim]:
    """The claims of these names (whole ids, or what precedes a dot), or all up to the tier."""
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {tier!r}")
    known = all_claims()
    if not names:
        return [claim for claim in known if TIERS.index(claim.tier) <= TIERS.index(tier)]
    chosen = [claim for claim in known if any(_is_named(claim, name) for name in names)]
    unknown = [name for name in names if not any(_is_named(claim, name) for claim in chosen)]
    if unknown:
        ids = ", ".join(claim.id for claim in known)
        raise ValueError(f"no claim is called {', '.join(unknown)}: there are {ids}")
    return chosen


def _is_named(claim: Claim, name: str) -> bool:
    return claim.id == name or claim.id.startswith(f"{name}.")


def _verify(claims: list[Claim], lab: Lab, workers: int | None) -> Ledger:
    experiments = {e.digest: e for claim in claims for e in claim.experiments(lab.seed)}
    longest_first = sorted(experiments.values(), key=_cost, reverse=True)
    count = min(workers or _cores(), max(len(claims), len(longest_first)))
    if count == 1:
        return Ledger(tuple(check(claim, lab) for claim in claims), lab.seed)
    with ProcessPoolExecutor(count, get_context("spawn"), _end_at_once) as pool:
        _each(pool, _make, [(experiment, lab.runs) for experiment in longest_first], "simulating")
        verdicts = _each(pool, _check_by_id, [(claim.id, lab) for claim in claims], "checking")
    return Ledger(tuple(verdicts), lab.seed)


def _cores() -> int:
    """Cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _each(pool: Executor, work: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], title: str) -> list[Any]:
    """Results in the order of the jobs, whichever is done first."""
    futures = [pool.submit(work, *job) for job in jobs]
    try:
        for future in tracked(as_completed(futures), len(futures), title):
            future.result()  # the first failure ends the rest
        return [future.result() for future in futures]
    except BrokenExecutor:
        raise MemoryError("a worker process was killed, as when memory runs out: choose fewer workers") from None
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _end_at_once() -> None:
    """Ctrl-C reaches every process: let a worker die of it, in silence."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _cost(experiment: Experiment) -> int:
    return experiment.steps * experiment.task.dimension**4


def _make(experiment: Experiment, runs: Path) -> None:
    fetch(experiment, runs)


def _check_by_id(name: str, lab: Lab) -> Verdict:
    """Claims hold functions, which processes do not exchange: they are found by id on the other side."""
    return check(next(claim for claim in all_claims() if claim.id == name), lab)
