"""The verdicts of one run of verify, together."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ...runtime.display import Displayed, Summary
from ...runtime.files import AnyPath, as_path, write_text
from ...runtime.versions import versions
from ..evidence.verdict import Verdict
from .verdict_rows import verdict_table

_FEW = 12  # verdicts that fit one screen


@dataclass(frozen=True, repr=False)
class Ledger(Displayed):
    """The verdicts on the claims that were checked, in the order of the claims, and the versions that they had.

    >>> Ledger((), seed=3, versions={"numpy": "2.0"})
    0 of 0 claims are as expected
      seed      3
      versions  numpy 2.0
    """

    verdicts: tuple[Verdict, ...]
    seed: int
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def holds(self) -> bool:
        """Whether every verdict is the expected one."""
        return all(verdict.holds for verdict in self.verdicts)

    @cached_property
    def failed_assumptions(self) -> dict[str, tuple[str, ...]]:
        """Id of a claim → ids of the claims that it builds on, itself or through others, and that do not hold.

        A claim of which all that it builds on holds, or was not checked, is not among them.
        """
        verdicts = {verdict.id: verdict for verdict in self.verdicts}
        failed = {}
        for name in verdicts:
            assumed = _assumed_by(name, verdicts)
            failing = tuple(part for part in assumed if not verdicts[part].holds)
            if failing:
                failed[name] = failing
        return failed

    def summary(self) -> Summary:
        """The ledger on one screen: a few verdicts, or of many those not as expected, and what rests on them."""
        expected = sum(verdict.holds for verdict in self.verdicts)
        rows: dict[str, object] = {"seed": self.seed}
        for verdict in self.verdicts:
            if not verdict.holds:
                rows[verdict.id] = f"{verdict.level}, expected {verdict.expected_level}"
            elif len(self.verdicts) <= _FEW:
                rows[verdict.id] = verdict.level
        for name, assumed in self.failed_assumptions.items():
            level = f"{rows[name]}; " if name in rows else ""
            rows[name] = f"{level}rests on {', '.join(assumed)}"
        rows["versions"] = ", ".join(
            f"{name} {version}" for name, version in self.versions.items()
        )
        return Summary(
            f"{expected} of {len(self.verdicts)} claims are as expected", rows
        )

    def _repr_html_(self) -> str:
        return verdict_table(self.verdicts, self.failed_assumptions)

    def to_dict(self) -> dict[str, Any]:
        """The ledger as plain values; each verdict also names the claims that it builds on and that do not hold."""
        verdicts = []
        for verdict in self.verdicts:
            failed = self.failed_assumptions.get(verdict.id, ())
            verdicts.append(verdict.to_dict() | {"failed_assumptions": failed})
        return {
            "holds": self.holds,
            "verdicts": verdicts,
            "versions": dict(self.versions),
            "seed": self.seed,
        }

    def to_json(self) -> str:
        """The ledger as strict JSON: holds, verdicts, versions, seed; null for a number that is not finite."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Ledger":
        """The ledger that `to_json` wrote; ValueError for anything else.

        >>> Ledger.from_json(Ledger((), seed=3).to_json()) == Ledger((), seed=3)
        True
        """
        try:
            plain = json.loads(text)
            verdicts = tuple(Verdict.from_dict(fields) for fields in plain["verdicts"])
            return cls(verdicts, plain["seed"], plain["versions"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"this is no ledger as verify writes it: {type(error).__name__}: {error}"
            ) from None

    def save(self, path: AnyPath) -> Path:
        """Write the ledger as JSON, whole or not at all, and return the path; OSError if it cannot be written."""
        return write_text(as_path(path), self.to_json())

    @classmethod
    def load(cls, path: AnyPath) -> "Ledger":
        """The ledger that `save` wrote; ValueError for something else, OSError if it cannot be read.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Ledger.load(Ledger((), seed=3).save(f"{folder}/ledger.json")).seed
        3
        """
        return cls.from_json(as_path(path).read_text(encoding="utf-8"))


def _assumed_by(name: str, verdicts: Mapping[str, Verdict]) -> list[str]:
    """The checked claims that a claim builds on, itself or through others, each once."""
    assumptions: list[str] = []
    waiting = [name]
    while waiting:
        for assumed in verdicts[waiting.pop()].claim.assumes:
            # What was not checked shows nothing, and says not what it assumes itself.
            if assumed in verdicts and assumed not in (*assumptions, name):
                assumptions.append(assumed)
                waiting.append(assumed)
    return assumptions
