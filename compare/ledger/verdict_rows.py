"""The table of verdicts, as the page and a notebook show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..evidence.verdict import Verdict
from .formatting import anchor, number

if TYPE_CHECKING:
    from jinja2 import Environment


class JudgedControl(NamedTuple):
    """A control or corrected variant: whether the judge took it rightly, and how."""

    name: str
    rightly: bool
    how: str


@dataclass(frozen=True)
class VerdictRow:
    """What a row of the table says of a verdict."""

    verdict: Verdict

    @property
    def section(self) -> str:
        """What precedes the dot in the id."""
        section, _, _ = self.verdict.id.partition(".")
        return section

    @property
    def order(self) -> str:
        """The measured order over the expected one, or what there is of the two."""
        fit = self.verdict.evidence.fit
        if fit is not None:
            return f"{number(fit.slope, '.2f')} for {number(fit.expected)}"
        order = self.verdict.claim.order
        return "" if order is None else number(order)

    @property
    def controls(self) -> tuple[JudgedControl, ...]:
        """Every control with how the judge took it, those that it took wrongly first."""
        variants = self.verdict.variants
        controls = []
        for name in variants.misjudged:
            how = "accepted" if name in variants.accepted else "rejected"
            truth = "wrong" if name in variants.accepted else "right"
            controls.append(JudgedControl(name, False, f"{how}, and is {truth}"))
        # Controls that count as accepted and are not misjudged were never tried: the measurement failed before.
        for name in variants.accepted:
            if name not in variants.misjudged:
                controls.append(JudgedControl(name, False, "not tried"))
        for name in variants.rejected:
            controls.append(JudgedControl(name, True, "rejected"))
        return tuple(controls)

    @property
    def words(self) -> str:
        """What the text filter of the page looks through."""
        claim = self.verdict.claim
        texts = [claim.id, claim.title, claim.source, claim.observable, claim.limit]
        texts += [control.name for control in self.controls]
        texts += [name for name, _ in self.verdict.variants.corrected]
        return " ".join(texts)


def verdict_table(
    verdicts: Sequence[Verdict], failed_assumptions: Mapping[str, tuple[str, ...]]
) -> str:
    """The table of verdicts as an element of HTML; `failed_assumptions` are those of a ledger.

    >>> verdict_table((), {}).split()[0]
    '<table'
    """
    rows = [VerdictRow(verdict) for verdict in verdicts]
    template = template_engine().get_template("verdicts.html")
    text = template.render(rows=rows, failed_assumptions=failed_assumptions)
    return text.strip()


def template_engine(*folders: Path) -> "Environment":
    """Jinja with the templates of this folder and others; a name that a template does not know is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(
        loader=FileSystemLoader([Path(__file__).parent, *folders]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    engine.filters["number"] = number
    engine.filters["anchor"] = anchor
    return engine
