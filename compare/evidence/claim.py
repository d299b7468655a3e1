"""A claim of the theory, and the context in which it is checked."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from ...runtime.display import Displayed, Summary
from ...simulate import Experiment, Trajectory, load_or_run
from .evidence import Judge
from .papers import paper_of_key
from .seeding import seeds
from .verdict import ClaimRecord

TIERS = ("fast", "standard", "long", "paper")

EVIDENCE_LEVELS = ("proved", "certified", "numerical")
"""What agreement can show: a symbolic identity, a rigorous enclosure, or equality within an error budget."""

LEVELS = (*EVIDENCE_LEVELS, "refuted", "inconclusive")

UNMODIFIED = ""
"""The variant of a prediction that is the theory itself; every other name is a control."""


class Trajectories(Sequence[Trajectory]):
    """The finished runs of experiments, in their order; each is read from the folder when it is asked for."""

    def __init__(self, experiments: Sequence[Experiment], folder: Path) -> None:
        self._experiments = tuple(experiments)
        self._folder = folder

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
    experiments: tuple[Experiment, ...] = field(default=(), repr=False)

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


@dataclass(frozen=True, repr=False)
class Claim(Displayed):
    """A statement with its evidence: `judge(predict(context, variant), measure(context))`.

    `measure` observes simulations, knowing nothing of the theory; where it trains on the theory's moments (unlimited
    data) `assumes` names the claims that check these. `predict` computes what a variant of the theory says:
    UNMODIFIED, or one of the named wrong `controls`, which the same judge must reject. A statement that does not hold
    as it stands has `expected_level` "refuted" and names `corrected` variants, which the same judge must accept: a
    check that rejects everything shows as little as one that rejects nothing. `evidence_level` is what agreement
    shows: "proved" for symbolic identities, "certified" for enclosures, else "numerical".

    `experiments` makes the runs that measurement, prediction and budget read as `context.experiments` and
    `context.trajectories`, so that they can be simulated beforehand. `limit` says in which limit the statement is
    exact, `order` at which order the error vanishes there. `budget` computes, for an overlay, how large each source
    of error is (name → size) and `figure` names the figure of the package that shows the claim at full size.

    `paper` is the key of the paper that the statement is from, `equation` its place there: a number, a section or
    the subject. `beyond_paper`: the paper does not state it. `origin` says what comes from elsewhere: another
    work, a convention, an extension.

    ValueError if tier, levels or paper do not exist, or nothing could make the check fail.
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
    evidence_level: str = "numerical"
    corrected: tuple[str, ...] = ()
    order: float | None = None
    budget: Callable[[RunContext], Mapping[str, float]] | None = None
    figure: str | None = None

    def __post_init__(self) -> None:
        self._check_variants()
        self._check_choice("tier", TIERS)
        self._check_choice("expected_level", (*EVIDENCE_LEVELS, "refuted"))
        self._check_choice("evidence_level", EVIDENCE_LEVELS)
        if self.paper:
            paper_of_key(self.paper)
        if self.expected_level == "refuted" and not self.corrected:
            raise ValueError(
                f"claim {self.id} is to be refuted: name a corrected variant that the judge accepts"
            )
        if self.expected_level != "refuted" and not self.controls:
            raise ValueError(
                f"claim {self.id} has no control: a check that cannot fail shows nothing"
            )

    def _check_choice(self, field: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, field)
        if value not in choices:
            raise ValueError(
                f"claim {self.id}: {field} must be one of {', '.join(choices)}, not {value!r}"
            )

    def _check_variants(self) -> None:
        """ValueError unless controls and corrected variants are different names, none of them that of the theory."""
        for kind in ("controls", "corrected"):
            names = getattr(self, kind)
            if not isinstance(names, tuple | list):
                raise ValueError(
                    f"claim {self.id}: {kind} must be a tuple of names, not {names!r}"
                )
        variants = [*self.controls, *self.corrected]
        for name in variants:
            if not isinstance(name, str) or name == UNMODIFIED:
                raise ValueError(
                    f"claim {self.id}: a variant must have a name that is not empty, not {name!r}"
                )
            if variants.count(name) > 1:
                raise ValueError(
                    f"claim {self.id}: the variant {name!r} is named twice"
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
            # Without a place in the paper the citation stands alone.
            parts.insert(0, f"{intro}{self.equation}".rstrip(":, "))
        return "; ".join(parts)

    @property
    def code_location(self) -> str:
        """File and line of the code that predicts, the file relative to the package where it is part of it."""
        # A partial function has its code in `func`, a decorated one in what it wraps.
        function = inspect.unwrap(getattr(self.predict, "func", self.predict))
        code = function.__code__
        path = Path(code.co_filename)
        package = Path(__file__).parents[2]
        inside = path.is_relative_to(package)
        file = path.relative_to(package).as_posix() if inside else path.name
        return f"{file}:{code.co_firstlineno}"

    @property
    def record(self) -> ClaimRecord:
        """The claim in words, without its functions."""
        return ClaimRecord(
            id=self.id,
            title=self.title,
            source=self.source,
            expected_level=self.expected_level,
            statement=self.statement,
            hypotheses=tuple(self.hypotheses),
            observable=self.observable,
            limit=self.limit,
            order=self.order,
            tier=self.tier,
            figure=self.figure,
            code_location=self.code_location,
            assumes=tuple(self.assumes),
        )

    def summary(self) -> Summary:
        """The claim on one screen."""
        rows = {
            "source": self.source,
            "observable": self.observable,
            "hypotheses": "; ".join(self.hypotheses),
            "limit": self.limit,
            "controls": "; ".join(self.controls),
            "corrected": "; ".join(self.corrected),
            "assumes": ", ".join(self.assumes),
            "expected": self.expected_level,
            "tier": self.tier,
            "code": self.code_location,
        }
        filled = {label: text for label, text in rows.items() if text}
        return Summary(
            f"{self.id}: {self.title}", filled, {"statement": self.statement}
        )

    def context_of(self, context: RunContext) -> RunContext:
        """The context with the experiments of this claim, made now unless it has some."""
        # A ledger has made them already, to simulate them before the claim is checked.
        if context.experiments:
            return context
        return replace(context, experiments=tuple(self.experiments(context)))
