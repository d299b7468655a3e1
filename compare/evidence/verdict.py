"""What checking a claim found, as a record that can be written, read and shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...runtime.display import Displayed, Summary
from .evidence import Curve, Evidence, Fit


@dataclass(frozen=True)
class ClaimRecord:
    """A claim in words: what a verdict repeats of it, without the functions that check it.

    `code_location` is file and line of the code that predicts, `assumes` the ids of the claims that it builds on;
    the other fields are those of `Claim`.
    """

    id: str
    title: str
    source: str = ""
    expected_level: str = "numerical"
    statement: str = ""
    hypotheses: tuple[str, ...] = ()
    observable: str = ""
    limit: str = ""
    order: float | None = None
    tier: str = "standard"
    figure: str | None = None
    code_location: str = ""
    assumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VariantOutcomes:
    """How the judge took the variants of a claim.

    `rejected` and `accepted` are the controls, `corrected` says of each corrected variant whether it was accepted,
    and `misjudged` names those of both that the judge took wrongly.
    """

    rejected: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    misjudged: tuple[str, ...] = ()
    corrected: tuple[tuple[str, bool], ...] = ()

    @property
    def control_count(self) -> int:
        """How many controls there are."""
        return len(self.rejected) + len(self.accepted)

    @property
    def corrected_accepted(self) -> int:
        """How many corrected variants the judge accepted."""
        return sum(accepted for _, accepted in self.corrected)


@dataclass(frozen=True, repr=False)
class Verdict(Displayed):
    """What checking a claim found: the claim in words, the level, the evidence, and how the judge took the variants.

    Levels: "proved", "certified", "numerical", "refuted", or "inconclusive" if the measurement failed or a variant
    was misjudged. `seconds` is wall time, `seed` the base seed, `digest` that of all that the verdict depends on.

    >>> claim = ClaimRecord("one.two", "Two times one is two")
    >>> Verdict(claim, "numerical", Evidence(True, "2.0", "2"), VariantOutcomes(rejected=("three",)))
    one.two: numerical
      claim     Two times one is two
      observed  2.0
      expected  2
      controls  rejects 1/1
      seconds   0.0
    """

    claim: ClaimRecord
    level: str
    evidence: Evidence
    variants: VariantOutcomes = VariantOutcomes()
    seconds: float = 0.0
    seed: int = 0
    digest: str = ""

    @property
    def holds(self) -> bool:
        """Whether the level is the expected one."""
        return self.level == self.claim.expected_level

    # What most readers of a verdict ask for.

    @property
    def id(self) -> str:
        """The id of the claim."""
        return self.claim.id

    @property
    def title(self) -> str:
        """The title of the claim."""
        return self.claim.title

    @property
    def source(self) -> str:
        """Paper and place that the claim is from."""
        return self.claim.source

    @property
    def expected_level(self) -> str:
        """The level that the claim is expected to reach."""
        return self.claim.expected_level

    @property
    def observed(self) -> str:
        """The observation in words."""
        return self.evidence.observed

    @property
    def expected(self) -> str:
        """The prediction in words."""
        return self.evidence.expected

    @property
    def rejected(self) -> tuple[str, ...]:
        """The controls that the judge rejected."""
        return self.variants.rejected

    @property
    def accepted(self) -> tuple[str, ...]:
        """The controls that the judge accepted."""
        return self.variants.accepted

    def summary(self) -> Summary:
        """The verdict on one screen."""
        expectation = "" if self.holds else f", expected {self.expected_level}"
        rows = {
            "claim": self.title,
            "source": self.source,
            "observed": self.observed,
            "expected": self.expected,
            "width": width_in_words(self.evidence),
            "controls": controls_in_words(self.variants),
            "assumes": ", ".join(self.claim.assumes),
            "seconds": f"{self.seconds:.1f}",
        }
        filled = {label: text for label, text in rows.items() if text}
        formulas = {"statement": self.claim.statement} if self.claim.statement else {}
        return Summary(f"{self.id}: {self.level}{expectation}", filled, formulas)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as plain values; `from_dict` reads them back. Numbers that are not finite become None."""
        head = {
            "id": self.id,
            "title": self.title,
            "source": self.source,
            "level": self.level,
            "expected_level": self.expected_level,
            "holds": self.holds,
            "observed": self.observed,
            "expected": self.expected,
            "controls": _plain_controls(self.variants),
            "seconds": self.seconds,
        }
        check = {"seed": self.seed, "digest": self.digest}
        plain = (
            head
            | _plain_claim(self.claim)
            | check
            | _plain_evidence(self.evidence)
            | _plain_variants(self.variants)
        )
        return {name: _finite(value) for name, value in plain.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Verdict":
        """The verdict that `to_dict` wrote, NaN for what was not finite; KeyError or TypeError for anything else.

        A residual that was not finite is None. Ledgers of earlier versions lack what claims assume, corrected
        variants, and what the judge said of the statement itself; the level says that but for inconclusive verdicts.
        """
        younger: dict[str, Any] = {
            "corrected": (),
            "assumes": (),
            "agrees": plain["level"] not in ("refuted", "inconclusive"),
            "undecided": False,
            "width": None,
        }
        values = younger | dict(plain)
        return cls(
            claim=_claim_record(values),
            level=values["level"],
            evidence=_evidence(values),
            variants=_variant_outcomes(values),
            seconds=values["seconds"],
            seed=values["seed"],
            digest=values["digest"],
        )


def width_in_words(evidence: Evidence) -> str:
    """How wide the widest enclosure is, empty where there is none.

    >>> width_in_words(Evidence(True, "1.0", "1", width=2.4e-13))
    '2.4e-13'
    """
    return "" if evidence.width is None else f"{evidence.width:.1e}"


def controls_in_words(variants: VariantOutcomes) -> str:
    """How the judge took the controls and the corrected variants, in one line.

    >>> controls_in_words(VariantOutcomes(rejected=("half",), accepted=("twice",)))
    'rejects 1/2, accepts twice'
    """
    words = [f"rejects {len(variants.rejected)}/{variants.control_count}"]
    if variants.accepted:
        words.append(f"accepts {', '.join(variants.accepted)}")
    if variants.corrected:
        accepted = variants.corrected_accepted
        words.append(f"accepts {accepted}/{len(variants.corrected)} corrected")
    return ", ".join(words)


# The plain values of each part, and the parts from plain values.


def _plain_controls(variants: VariantOutcomes) -> dict[str, Any]:
    return {
        "rejected": len(variants.rejected),
        "total": variants.control_count,
        "accepted": variants.accepted,
        "names": variants.rejected,
    }


def _plain_claim(claim: ClaimRecord) -> dict[str, Any]:
    return {
        "statement": claim.statement,
        "hypotheses": claim.hypotheses,
        "observable": claim.observable,
        "limit": claim.limit,
        "order": claim.order,
        "tier": claim.tier,
        "figure": claim.figure,
        "place": claim.code_location,
        "assumes": claim.assumes,
    }


def _plain_evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "agrees": evidence.agrees,
        "undecided": evidence.undecided,
        "fit": None if evidence.fit is None else asdict(evidence.fit),
        "budget": evidence.budget,
        "residual": evidence.residual,
        "curves": tuple(asdict(curve) for curve in evidence.curves),
        "axes": evidence.axes,
        "width": evidence.width,
    }


def _plain_variants(variants: VariantOutcomes) -> dict[str, Any]:
    return {"broken": variants.misjudged, "corrected": variants.corrected}


def _claim_record(plain: Mapping[str, Any]) -> ClaimRecord:
    return ClaimRecord(
        id=plain["id"],
        title=plain["title"],
        source=plain["source"],
        expected_level=plain["expected_level"],
        statement=plain["statement"],
        hypotheses=_tuples(plain["hypotheses"]),
        observable=plain["observable"],
        limit=plain["limit"],
        order=plain["order"],
        tier=plain["tier"],
        figure=plain["figure"],
        code_location=plain["place"],
        assumes=_tuples(plain["assumes"]),
    )


def _evidence(plain: Mapping[str, Any]) -> Evidence:
    return Evidence(
        agrees=plain["agrees"],
        observed=plain["observed"],
        expected=plain["expected"],
        fit=_fit(plain["fit"]),
        budget=_numbers(plain["budget"]),
        residual=plain["residual"],
        curves=_curves(plain["curves"]),
        axes=_tuples(plain["axes"]),
        undecided=plain["undecided"],
        width=plain["width"],
    )


def _variant_outcomes(plain: Mapping[str, Any]) -> VariantOutcomes:
    controls = plain["controls"]
    return VariantOutcomes(
        rejected=_tuples(controls["names"]),
        accepted=_tuples(controls["accepted"]),
        misjudged=_tuples(plain["broken"]),
        corrected=_tuples(plain["corrected"]),
    )


def _tuples(value: Any) -> Any:
    """The value with tuples for lists, at every depth."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _finite(value: Any) -> Any:
    """The value in plain numbers, with None for every one that JSON has no word for."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_finite, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    """The value with tuples for lists and nan for None, at every depth."""
    if isinstance(value, list | tuple):
        return tuple(map(_numbers, value))
    return math.nan if value is None else value


def _fit(plain: Mapping[str, Any] | None) -> Fit | None:
    if plain is None:
        return None
    fields = {name: _numbers(value) for name, value in plain.items()}
    # An absent interval is no missing number: the errors have no scatter.
    if plain["interval"] is None:
        fields["interval"] = None
    return Fit(**fields)


def _curves(plain: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    return tuple(
        Curve(**{name: _numbers(value) for name, value in curve.items()})
        for curve in plain
    )
