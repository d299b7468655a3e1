"""How a claim is checked: prediction and observation of every variant come before the same judge."""

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .claim import UNMODIFIED, Claim, RunContext
from .evidence import Evidence
from .verdict import VariantOutcomes, Verdict

MAX_REPEAT_FACTOR = 16
"""How many times as many seeds as it asks for a claim gets at most, until it is clear whether it holds.

The scatter of a mean falls as the root of the number of seeds: 16 times as many make it a quarter.
"""


class Judgement(NamedTuple):
    """Evidence on the statement itself, and which of its variants agree (name → whether)."""

    evidence: Evidence
    agrees: dict[str, bool]


def check_claim(claim: Claim, context: RunContext) -> Verdict:
    """Check one claim, its controls and its corrected variants.

    A measurement or a prediction that fails with a ValueError or ArithmeticError makes the claim inconclusive.
    """
    begin = time.perf_counter()
    try:
        judgement = _judgement(claim, claim.context_of(context))
        failed = False
    except (ValueError, ArithmeticError) as error:
        judgement = Judgement(Evidence(False, f"failed: {error}", "a result"), {})
        failed = True
    variants = _outcomes(claim, judgement.agrees)
    return Verdict(
        claim=claim.record,
        level="inconclusive" if failed else _level(claim, judgement.evidence, variants),
        evidence=judgement.evidence,
        variants=variants,
        seconds=round(time.perf_counter() - begin, 3),
        seed=context.seed,
    )


def _judgement(claim: Claim, context: RunContext) -> Judgement:
    """What the judge says, with more and more seeds while it is undecided."""
    while True:
        evidence = _evidence_on_variants(claim, context)
        undecided = any(part.undecided for part in evidence.values())
        # More seeds narrow no enclosure: it has no scatter.
        is_final = claim.evidence_level == "certified"
        if not undecided or is_final or context.repeat_factor >= MAX_REPEAT_FACTOR:
            break
        repeated = replace(
            context, repeat_factor=2 * context.repeat_factor, experiments=()
        )
        context = claim.context_of(repeated)

    main = evidence.pop(UNMODIFIED)
    # A variant that scatter does not tell from the theory counts as accepted: it was not rejected.
    agrees = {name: part.agrees or part.undecided for name, part in evidence.items()}
    if not main.budget and claim.budget is not None:
        main = replace(main, budget=tuple(claim.budget(context).items()))
    return Judgement(main, agrees)


def _evidence_on_variants(claim: Claim, context: RunContext) -> dict[str, Evidence]:
    """Evidence on the statement itself (UNMODIFIED) and on each of its variants, from one measurement."""
    # Measured once: every variant is held against the same observation.
    observation = claim.measure(context)
    if isinstance(observation, Iterator):
        raise TypeError(
            "a measurement must return its values, not an iterator, which can be read once only"
        )
    return {
        name: _judged(claim, claim.predict(context, name), observation, name)
        for name in (UNMODIFIED, *claim.controls, *claim.corrected)
    }


def _outcomes(claim: Claim, agrees: dict[str, bool]) -> VariantOutcomes:
    """How the judge took each variant; one that was not tried counts as wrongly taken, but not as misjudged."""
    rejected = [name for name in claim.controls if not agrees.get(name, True)]
    accepted = [name for name in claim.controls if name not in rejected]
    corrected = [(name, agrees.get(name, False)) for name in claim.corrected]
    # A corrected variant is to agree, a control is not.
    misjudged = [
        name for name, agreed in agrees.items() if agreed != (name in claim.corrected)
    ]
    return VariantOutcomes(
        rejected=tuple(rejected),
        accepted=tuple(accepted),
        misjudged=tuple(misjudged),
        corrected=tuple(corrected),
    )


def _level(claim: Claim, evidence: Evidence, variants: VariantOutcomes) -> str:
    """The level that evidence and variants make.

    A judge that misjudges a variant shows nothing where it says what was expected; where it does not, the statement
    is refuted all the same.
    """
    as_expected = evidence.agrees == (claim.expected_level != "refuted")
    if evidence.undecided or (variants.misjudged and as_expected):
        return "inconclusive"
    return claim.evidence_level if evidence.agrees else "refuted"


def _judged(claim: Claim, prediction: Any, observation: Any, name: str) -> Evidence:
    """What the judge says of copies, so that nothing it does to one variant changes the next.

    ValueError for a prediction without a number; TypeError for a judge that does not say whether the two agree.
    """
    # A judge that compares with nan rejects every control, and would seem to be sharp.
    numbers = [array for array in _floating_arrays(prediction) if array.size]
    if numbers and all(np.all(np.isnan(array)) for array in numbers):
        variant = repr(name) if name else "the theory"
        raise ValueError(f"the prediction of {variant} is nan, which shows nothing")
    evidence = claim.judge(deepcopy(prediction), deepcopy(observation))
    if not isinstance(evidence, Evidence):
        raise TypeError(
            f"a judge must return an Evidence, not {type(evidence).__name__}"
        )
    for field in ("agrees", "undecided"):
        value = getattr(evidence, field)
        if not isinstance(value, bool | np.bool):
            raise TypeError(
                f"{field} of an Evidence must be True or False, not {value!r}"
            )
    return evidence


def _floating_arrays(prediction: Any) -> Iterator[NDArray[Any]]:
    """The floating-point numbers of a prediction: a number, an array, or lists of them."""
    if isinstance(prediction, list | tuple):
        for part in prediction:
            yield from _floating_arrays(part)
    elif isinstance(prediction, float | np.ndarray | np.generic):
        array = np.asarray(prediction)
        if array.dtype.kind in "fc":
            yield array
