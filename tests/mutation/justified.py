"""Why a broken formula may survive: the reasons in justified.toml, matched by text and not by line number."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .sites import Site

FILE = Path(__file__).with_name("justified.toml")
CLASSES = {
    "equivalent": "the result is the same, exactly or to rounding",
    "numerical": "a parameter of a numerical method, no formula: a guess, a choice of branch, a tolerance",
    "unseen": "no claim of the tiers that were checked sees it: a gap",
}


@dataclass(frozen=True)
class Reason:
    """Mutations of a `function` on lines that hold `line`, of which only those in `mutations` if there are any."""

    file: str
    function: str
    kind: str
    reason: str
    line: str = ""
    mutations: tuple[str, ...] = ()

    def covers(self, site: Site) -> bool:
        """Whether this is the reason for a mutation."""
        here = (self.file, self.function) == (
            site.file,
            site.function,
        ) and self.line in site.line
        return here and (
            not self.mutations or f"{site.before} → {site.after}" in self.mutations
        )


@cache
def read(file: Path = FILE) -> list[Reason]:
    """The reasons of a file; ValueError for one without an explanation or of another kind."""
    plain = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    reasons = [
        Reason(**each | {"mutations": tuple(each.get("mutations", ()))})
        for each in plain.get("survivor", ())
    ]
    for each in reasons:
        if each.kind not in CLASSES or not each.reason.strip():
            raise ValueError(
                f"{each.file}, {each.function}: a reason is one of {', '.join(CLASSES)} and says why"
            )
    return reasons


def reason(site: Site, reasons: Iterable[Reason]) -> Reason | None:
    """The first reason that covers a mutation."""
    return next((each for each in reasons if each.covers(site)), None)


def unneeded(survivors: Sequence[Site], reasons: Iterable[Reason]) -> list[Reason]:
    """Reasons that cover no survivor: what they excuse does fall."""
    return [
        each for each in reasons if not any(each.covers(site) for site in survivors)
    ]
