"""What checking a claim found, as a record that can be written and read."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .evidence import Curve, Fit


@dataclass(frozen=True)
class Verdict:
    """What checking a claim found, by itself a record: the claim in words, its evidence, its controls.

    Levels: "proved", "numerical", "refuted", or "inconclusive" if the measurement failed or a variant
    was judged wrongly: `rejected` and `accepted` are the controls by how the judge took them, `broken` the controls
    and corrected variants that it took wrongly. `corrected` says of each corrected variant whether the judge
    accepted it. `seconds` is wall time, `digest` that of all that it depends on.
    """

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
    statement: str = ""
    hypotheses: tuple[str, ...] = ()
    observable: str = ""
    limit: str = ""
    order: float | None = None
    tier: str = "standard"
    figure: str | None = None
    place: str = ""
    seed: int = 0
    broken: tuple[str, ...] = ()
    fit: Fit | None = None
    budget: tuple[tuple[str, float], ...] = ()
    residual: float | None = None
    curves: tuple[Curve, ...] = ()
    axes: tuple[str, str] = ("", "")
    digest: str = ""
    corrected: tuple[tuple[str, bool], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the level is the expected one."""
        return self.level == self.expected_level

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain values; `from_dict` reads them back. Numbers that are not finite become None."""
        plain = {name: _finite(value) for name, value in asdict(self).items()}
        names = (
            "id",
            "title",
            "source",
            "level",
            "expected_level",
            "holds",
            "observed",
            "expected",
        )
        rejected, accepted = plain.pop("rejected"), plain.pop("accepted")
        controls = {
            "rejected": len(rejected),
            "total": len(rejected) + len(accepted),
            "accepted": accepted,
            "names": rejected,
        }
        head = {name: plain.pop(name, self.holds) for name in names}
        seconds = plain.pop("seconds")
        return head | {"controls": controls, "seconds": seconds} | plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Verdict":
        """The verdict that `to_dict` wrote, NaN for what was not finite; KeyError or TypeError for anything else.

        A residual that was not finite is None.
        """
        values = {
            name: _tuples(value)
            for name, value in plain.items()
            if name not in ("holds", "controls")
        }
        values |= {
            "rejected": tuple(plain["controls"]["names"]),
            "accepted": tuple(plain["controls"]["accepted"]),
        }
        curves = tuple(
            Curve(**{name: _numbers(v) for name, v in curve.items()})
            for curve in plain["curves"]
        )
        return cls(
            **values
            | {
                "fit": _fit(plain["fit"]),
                "curves": curves,
                "budget": _numbers(plain["budget"]),
            }
        )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _finite(value: Any) -> Any:
    """The value in plain numbers, with None for every one that JSON has no word for."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_finite, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_numbers, value))
    return math.nan if value is None else value


def _fit(plain: Mapping[str, Any] | None) -> Fit | None:
    if plain is None:
        return None
    interval = None if plain["interval"] is None else _numbers(plain["interval"])
    return Fit(
        **{name: _numbers(value) for name, value in plain.items()}
        | {"interval": interval}
    )
