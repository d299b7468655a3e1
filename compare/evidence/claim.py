"""A claim of the theory, how it is checked, and what the check found."""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ...simulate import Experiment, Trajectory, load_or_run
from .evidence import Evidence, Judge
from .papers import paper_of_key
from .seeding import seeds
from .verdict import Verdict

TIERS = ("fast", "standard", "long", "paper")

LEVELS = ("proved", "certified", "numerical", "refuted", "inconclusive")

UNMODIFIED = ""
"""The variant of a prediction that is the theory itself; every other name is a control."""


MAX_REPEAT_FACTOR = 16
"""How many times as many seeds as it asks for a claim gets at most, until it is clear whether it holds."""

_SHARED = (
    *(
        "id",
        "title",
        "source",
        "expected_level",
        "statement",
        "hypotheses",
        "observable",
        "limit",
        "order",
        "tier",
    ),
    *("figure", "place"),
)
"""What a verdict repeats of its claim."""


class Trajectories(Sequence[Trajectory]):
    """The finished runs of experiments, in their order; each is read from the folder when it is asked for."""

    def __init__(self, experiments: Sequence[Experiment], folder: Path) -> None:
        self._experiments, self._folder = tuple(experiments), folder

    def __len__(self) -> int:
        return len(self._experiments)

    @overload
    def __getitem__(self, index: int) -> Trajectory: ...
    @overload
    def __getitem__(self, index: slice) -> "Trajectories": ...
    def __getitem__(self, index: int | slice) -> "Trajectory | Trajectories":
        if isinstance(index, slice):
            return Trajectories(self._experiments[index], self._folder)
        return load_or_run(self._experiments[index], self._folder)


@dataclass(frozen=True)
class RunContext:
    """What a claim is checked with: the base seed, the folder of finished runs, and the experiments of the claim.

    A claim repeats what varies between `seeds`. It repeats it `repeat_factor` times as often as it asks for where
    fewer runs did not decide. `experiments` are those that the claim declares, made once for measurement, prediction
    and budget. ValueError for a negative seed.
    """

    folder: Path
    seed: int = 0
    repeat_factor: int = 1
    experiments: tuple[Experiment, ...] = ()

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(
                f"seed must be a whole number of at least 0, not {self.seed!r}"
            )

    def seeds(self, count: int) -> list[int]:
        """Seeds of repeated measurements, `count` or more; different base seeds share none of them."""
        return seeds(self.seed, self.repeat_factor * count)

    @property
    def trajectories(self) -> Trajectories:
        """The runs of the experiments, in their order: each is simulated once, and then read."""
        return Trajectories(self.experiments, self.folder)

    def trajectory(self, experiment: Experiment) -> Trajectory:
        """The trajectory of an experiment that is not among the declared ones, simulated once and then read."""
        return load_or_run(experiment, self.folder)


@dataclass(frozen=True)
class Claim:
    """A statement with its evidence: `judge(predict(context, variant), measure(context))`.

    `measure` observes, knowing nothing of the theory; `predict` computes what a variant of the theory says, UNMODIFIED
    or one of the named wrong `controls`, which the same judge must reject. A statement that does not hold as it
    stands has `expected_level` "refuted" and names `corrected` variants, which the same judge must accept: a check
    that rejects everything shows as little as one that rejects nothing. `reaches` is the level of agreement:
    "proved" for symbolic identities, else "numerical". `experiments` makes the
    runs that measurement, prediction and budget read as `context.experiments` and `context.trajectories`, so that
    they can be simulated beforehand. `limit` says in which limit the statement is
    exact, `order` at which order the error vanishes there. `budget` computes, for an overlay, how large each source
    of error is (name → size) and `figure` names the figure of the package that shows the claim at full size.

    `paper` is the key of the paper that the statement is from, `equation` its place there: a number, a section or
    the subject. `beyond_paper`: the paper does not state it. `origin` says what comes from elsewhere: another
    work, a convention, an extension.
    """

    id: str
    title: str
    statement: str
    observable: str
    limit: str
    measure: Callable[[RunContext], Any]
    predict: Callable[[RunContext, str], Any]
    judge: Judge
    controls: tuple[str, ...] = ()
    paper: str = ""
    equation: str = ""
    beyond_paper: bool = False
    origin: str = ""
    assumes: tuple[str, ...] = ()
    experiments: Callable[[RunContext], tuple[Experiment, ...]] = lambda context: ()
    hypotheses: tuple[str, ...] = ()
    tier: str = "standard"
    expected_level: str = "numerical"
    reaches: str = "numerical"
    corrected: tuple[str, ...] = ()
    order: float | None = None
    budget: Callable[[RunContext], Mapping[str, float]] | None = None
    figure: str | None = None

    def __post_init__(self) -> None:
        """ValueError if tier, levels or paper do not exist, or nothing could make the check fail."""
        _refuse_names(self)
        if self.paper:
            paper_of_key(self.paper)
        for name, allowed in (
            ("tier", TIERS),
            ("expected_level", LEVELS[:4]),
            ("reaches", LEVELS[:3]),
        ):
            if getattr(self, name) not in allowed:
                given = getattr(self, name)
                raise ValueError(
                    f"claim {self.id}: {name} must be one of {', '.join(allowed)}, not {given!r}"
                )
        if self.expected_level == "refuted":
            if not self.corrected:
                raise ValueError(
                    f"claim {self.id} is to be refuted: name a corrected variant that the judge accepts"
                )
        elif not self.controls:
            raise ValueError(
                f"claim {self.id} has no control: a check that cannot fail shows nothing"
            )

    @property
    def source(self) -> str:
        """Paper and place, that it goes beyond the paper, and what comes from elsewhere."""
        parts = [self.origin] if self.origin else []
        if self.paper:
            citation = paper_of_key(self.paper).citation
            intro = (
                f"goes beyond {citation}: " if self.beyond_paper else f"{citation}, "
            )
            parts.insert(0, f"{intro}{self.equation}".rstrip(":, "))
        return "; ".join(parts)

    @property
    def place(self) -> str:
        """File and line of the code that predicts, the file relative to the package where it is part of it."""
        code = inspect.unwrap(getattr(self.predict, "func", self.predict)).__code__
        path, root = Path(code.co_filename), Path(__file__).parents[2]
        shown = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        return f"{shown.as_posix()}:{code.co_firstlineno}"


def check_claim(claim: Claim, context: RunContext) -> Verdict:
    """Check one claim, its controls and its corrected variants.

    A measurement or a prediction that fails with a ValueError or ArithmeticError makes the claim inconclusive.
    """
    begin = time.perf_counter()
    try:
        main, agrees, budget = _examined(claim, with_experiments(claim, context))
        failed = False
    except (ValueError, ArithmeticError) as error:
        main, agrees, budget, failed = (
            Evidence(False, f"failed: {error}", "a result"),
            {},
            (),
            True,
        )
    broken = tuple(
        name for name, agreed in agrees.items() if agreed != (name in claim.corrected)
    )
    as_expected = main.agrees == (claim.expected_level != "refuted")
    unclear = failed or main.undecided or (broken and as_expected)
    level = "inconclusive" if unclear else claim.reaches if main.agrees else "refuted"
    return Verdict(
        level=level,
        rejected=tuple(name for name in claim.controls if not agrees.get(name, True)),
        accepted=tuple(name for name in claim.controls if agrees.get(name, True)),
        broken=broken,
        corrected=tuple((name, agrees.get(name, False)) for name in claim.corrected),
        budget=budget,
        seconds=round(time.perf_counter() - begin, 3),
        seed=context.seed,
        **{
            name: getattr(main, name)
            for name in ("observed", "expected", "fit", "residual", "curves", "axes")
        },
        **{name: getattr(claim, name) for name in _SHARED},
    )


def with_experiments(claim: Claim, context: RunContext) -> RunContext:
    """The context with the experiments of the claim, made now unless it has some."""
    if context.experiments:
        return context
    return replace(context, experiments=tuple(claim.experiments(context)))


def _examined(
    claim: Claim, context: RunContext
) -> tuple[Evidence, dict[str, bool], tuple[tuple[str, float], ...]]:
    """Evidence on the statement itself, which of its variants agree, and the error budget."""
    observation = claim.measure(context)
    if isinstance(observation, Iterator):
        raise TypeError(
            "a measurement must return its values, not an iterator, which can be read once only"
        )
    names = (UNMODIFIED, *claim.controls, *claim.corrected)
    found = {
        name: _judged(claim, claim.predict(context, name), observation, name)
        for name in names
    }
    if (
        any(each.undecided for each in found.values())
        and context.repeat_factor < MAX_REPEAT_FACTOR
    ):
        repeated = replace(
            context, repeat_factor=2 * context.repeat_factor, experiments=()
        )
        return _examined(claim, with_experiments(claim, repeated))
    main = found.pop(UNMODIFIED)
    agrees = {name: each.agrees or each.undecided for name, each in found.items()}
    return (
        main,
        agrees,
        main.budget or tuple((claim.budget(context) if claim.budget else {}).items()),
    )


def _judged(claim: Claim, prediction: Any, observation: Any, name: str) -> Evidence:
    """What the judge says of copies, so that nothing it does to one variant changes the next.

    ValueError for a prediction without a number; TypeError for a judge that does not say whether the two agree.
    """
    numbers = [entries for entries in _entries(prediction) if entries.size]
    if numbers and all(np.all(np.isnan(entries)) for entries in numbers):
        raise ValueError(
            f"the prediction of {repr(name) if name else 'the theory'} is nan, which shows nothing"
        )
    evidence = claim.judge(deepcopy(prediction), deepcopy(observation))
    if not isinstance(evidence, Evidence):
        raise TypeError(
            f"a judge must return an Evidence, not {type(evidence).__name__}"
        )
    for field in ("agrees", "undecided"):
        if not isinstance(getattr(evidence, field), bool | np.bool):
            raise TypeError(
                f"{field} of an Evidence must be True or False, not {getattr(evidence, field)!r}"
            )
    return evidence


def _entries(prediction: Any) -> Iterator[NDArray[Any]]:
    """The floating-point numbers of a prediction: a number, an array, or lists of them."""
    if isinstance(prediction, list | tuple):
        for part in prediction:
            yield from _entries(part)
    elif isinstance(prediction, float | np.ndarray | np.generic):
        array = np.asarray(prediction)
        if array.dtype.kind in "fc":
            yield array


def _refuse_names(claim: Claim) -> None:
    """ValueError unless controls and corrected variants are different names, none of them that of the theory."""
    for field in ("controls", "corrected"):
        if not isinstance(getattr(claim, field), tuple | list):
            raise ValueError(
                f"claim {claim.id}: {field} must be a tuple of names, not {getattr(claim, field)!r}"
            )
    names = [*claim.controls, *claim.corrected]
    for name in names:
        if not isinstance(name, str) or name == UNMODIFIED:
            raise ValueError(
                f"claim {claim.id}: a variant must have a name that is not empty, not {name!r}"
            )
        if names.count(name) > 1:
            raise ValueError(f"claim {claim.id}: the variant {name!r} is named twice")
