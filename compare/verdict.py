"""What checking a claim found, as a record that can be written and read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .evidence import Curve, Fit


@dataclass(frozen=True)
class Verdict:
    """What checking a claim found, by itself a record: the claim in words, its evidence, its controls.

    Levels: "proved", "certified", "numerical", "refuted", or "inconclusive" if the measurement failed or a variant
    was judged wrongly: `rejected` and `accepted` are the controls by how the judge took them, `broken` the controls
    and corrected variants that it took wrongly. `seconds` is wall time, `digest` that of all that it depends on.
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

    @property
    def holds(self) -> bool:
        """Whether the level is the expected one."""
        return self.level == self.expected_level

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain values; `from_dict` reads them back."""
        plain = asdict(self)
        names = ("id", "title", "source", "level", "expected_level", "holds", "observed", "expected")
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
        """The verdict that `to_dict` wrote; KeyError or TypeError for anything else."""
        values = {name: _tuples(value) for name, value in plain.items() if name not in ("holds", "controls")}
        values |= {"rejected": tuple(plain["controls"]["names"]), "accepted": tuple(plain["controls"]["accepted"])}
        fit = values["fit"] and Fit(**{name: _tuples(value) for name, value in plain["fit"].items()})
        curves = tuple(Curve(**{name: _tuples(v) for name, v in curve.items()}) for curve in plain["curves"])
        return cls(**values | {"fit": fit, "curves": curves})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
