"""A claim of the theory, how it is checked, and what the check found."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..simulate import Experiment, Trajectory, fetch

TIERS = ("fast", "standard", "long", "paper")

THEORY = ""
"""The variant of a prediction that is the theory itself; every other name is a control."""


@dataclass(frozen=True)
class Lab:
    """Where measurements are made: the folder of finished runs and the base seed; ValueError if negative."""

    runs: Path
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, not {self.seed!r}")

    def run(self, experiment: Experiment) -> Trajectory:
        """The trajectory of an experiment, simulated once and then read."""
        return fetch(experiment, self.runs)


@dataclass(frozen=True)
class Judgement:
    """Whether a prediction and an observation agree, and both in words."""

    agrees: bool
    observed: str
    expected: str


@dataclass(frozen=True)
class Claim:
    """A statement with its evidence: `judge(predict(lab, variant), measure(lab))`.

    `measure` observes, knowing nothing of the theory; `predict` computes what a variant of the theory says, THEORY
    or one of the named wrong `controls`, which the same judge must reject. `experiments` are the runs that
    `measure` reads, so that they can be made beforehand. `limit` says in which limit the statement is exact.
    """

    id: str
    title: str
    source: str
    statement: str
    observable: str
    limit: str
    measure: Callable[[Lab], Any]
    predict: Callable[[Lab, str], Any]
    judge: Callable[[Any, Any], Judgement]
    controls: tuple[str, ...]
    experiments: Callable[[int], tuple[Experiment, ...]] = lambda seed: ()
    hypotheses: tuple[str, ...] = ()
    tier: str = "standard"
    expected_level: str = "numerical"


@dataclass(frozen=True)
class Verdict:
    """What checking a claim found. Levels: "numerical", "refuted", or "inconclusive" if a control was accepted."""

    id: str
    title: str
    source: str
    level: str
    expected_level: str
    observed: str
    expected: str
    rejected: tuple[str, ...]
    accepted: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the level is the expected one."""
        return self.level == self.expected_level

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain values."""
        names = ("id", "title", "source", "level", "expected_level", "holds", "observed", "expected")
        controls = {
            "rejected": len(self.rejected),
            "total": len(self.rejected) + len(self.accepted),
            "accepted": list(self.accepted),
        }
        return {name: getattr(self, name) for name in names} | {"controls": controls, "seconds": self.seconds}


def check(claim: Claim, lab: Lab) -> Verdict:
    """Check one claim and its controls; a claim without controls cannot be checked (ValueError).

    A measurement or a prediction that fails with a ValueError or ArithmeticError makes the claim inconclusive.
    """
    if not claim.controls:
        raise ValueError(f"claim {claim.id} has no control: a check that cannot fail shows nothing")
    begin = time.perf_counter()
    try:
        observation = claim.measure(lab)
        main = claim.judge(claim.predict(lab, THEORY), observation)
        verdicts = {name: claim.judge(claim.predict(lab, name), observation).agrees for name in claim.controls}
    except (ValueError, ArithmeticError) as error:
        main, verdicts = Judgement(True, f"failed: {error}", "a result"), dict.fromkeys(claim.controls, True)
    rejected = tuple(name for name, agrees in verdicts.items() if not agrees)
    accepted = tuple(name for name, agrees in verdicts.items() if agrees)
    level = "refuted" if not main.agrees else "inconclusive" if accepted else "numerical"
    seconds = round(time.perf_counter() - begin, 3)
    known = (claim.id, claim.title, claim.source, level, claim.expected_level)
    return Verdict(*known, main.observed, main.expected, rejected, accepted, seconds)
