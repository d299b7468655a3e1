"""What the settings of the tab ask for: task, model, first weights, and the statistics that a run follows."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from ....compare import population_statistics
from ....models.attention import Merged, Separate
from ....models.protocol import Weights
from ....simulate import Statistics, initial_weights, sample, statistics
from ....task import Task
from ....theory import Population, population
from ...controls import Settings

SEQUENCES_WHILE_MOVING = 2_000
"""Drawing prompts is what takes long, in proportion to their number: so many are drawn in 10 to 60 ms."""

MOST_PAIRS = 4_100_000
"""Pairs (x, y) that are drawn for one answer, some seconds of work: 100,000 sequences of 31, or 20,000 of 200."""

DATA_SEED = 0
"""Of the prompts. The slider `seed` draws the first weights."""


REMEMBERED = 64
"""Statistics that are kept: of some kB each."""

_DRAWN: dict[tuple[object, ...], Statistics] = {}
"""The last statistics, by what they depend on."""


@dataclass(frozen=True)
class Problem:
    """The settings of the tab as values that can be compared and remembered."""

    kind: str
    eigenvalues: tuple[float, ...]
    context_length: int
    noise_variance: float
    heads: int
    rank: int
    scale: float
    seed: int
    learning_rate: float
    sequences: float

    @property
    def task_settings(self) -> tuple[tuple[float, ...], int, float]:
        """Eigenvalues, context length and noise."""
        return self.eigenvalues, self.context_length, self.noise_variance

    @property
    def task(self) -> Task:
        """Teachers N(0, 1), inputs N(0, Λ) with a trace of 1."""
        return _task(self.task_settings)

    @property
    def model(self) -> Merged | Separate:
        """Merged or separate key and query."""
        if self.kind == "merged":
            return Merged(heads=self.heads)
        return Separate(heads=self.heads, rank=self.rank)

    @property
    def start(self) -> Weights:
        """The first weights, by name."""
        return initial_weights(self.model, self.task, scale=self.scale, seed=self.seed)

    @property
    def data(self) -> Statistics:
        """The statistics of the prompts; those of unlimited data where there is no limit."""
        return _statistics(self)

    @property
    def prompts(self) -> tuple[object, ...]:
        """What the statistics depend on: neither on the number of heads nor on their rank."""
        return self.kind, self.task_settings, self.sequences

    @property
    def moments(self) -> Population:
        """The loss on unlimited data."""
        return _moments(self.task_settings, self.kind)

    @property
    def capacity(self) -> int:
        """How many directions the heads can learn."""
        directions = self.moments.direction_count
        if self.kind == "merged":
            return directions
        return min(directions, self.heads * self.rank)

    def at_rate(self, learning_rate: float) -> "Problem":
        """The same with another learning rate."""
        return replace(self, learning_rate=learning_rate)


def problem_of(settings: Settings, moving: bool) -> Problem:
    """The problem of these settings, on fewer prompts while a slider moves; ValueError where it takes too long."""
    sequences = settings["sequences"]
    length = settings["context"]
    if sequences != math.inf and sequences * length > MOST_PAIRS:
        most = MOST_PAIRS // length // 1000 * 1000
        raise ValueError(
            f"{sequences:,} sequences of N = {length} take too long to draw: choose at most {most:,}, or ∞"
        )
    problem = Problem(
        kind=settings["model"],
        eigenvalues=tuple(settings["eigenvalues"]),
        context_length=length,
        noise_variance=settings["noise"],
        heads=settings["heads"],
        rank=settings["rank"],
        scale=settings["scale"],
        seed=settings["seed"],
        learning_rate=settings["rate"],
        sequences=sequences,
    )
    # What is drawn already takes no time: then nothing changes when the slider comes to rest.
    if moving and sequences != math.inf and problem.prompts not in _DRAWN:
        fewer = min(sequences, SEQUENCES_WHILE_MOVING)
        return replace(problem, sequences=fewer)
    return problem


@lru_cache(maxsize=REMEMBERED)
def _task(settings: tuple[tuple[float, ...], int, float]) -> Task:
    eigenvalues, context_length, noise_variance = settings
    return Task(
        list(eigenvalues),
        trace=1.0,
        context_length=context_length,
        noise_variance=noise_variance,
    )


@lru_cache(maxsize=REMEMBERED)
def _moments(settings: tuple[tuple[float, ...], int, float], kind: str) -> Population:
    """The moments of a task, of either model: they depend on neither heads nor rank."""
    model = Merged(heads=1) if kind == "merged" else Separate(heads=1)
    return population(_task(settings), model)


def _statistics(problem: Problem) -> Statistics:
    """The statistics of a problem, drawn anew only if they are not among the last ones."""
    if problem.sequences == math.inf:
        return population_statistics(problem.task, problem.model)
    prompts = problem.prompts
    if prompts not in _DRAWN:
        data = sample(problem.task, int(problem.sequences), seed=DATA_SEED)
        _DRAWN[prompts] = statistics(data, problem.model)
    # Dictionaries keep their order: the oldest goes first.
    for oldest in list(_DRAWN)[:-REMEMBERED]:
        _DRAWN.pop(oldest, None)
    return _DRAWN[prompts]
