"""What the approximate loss of softmax heads says of itself: where it can be relied on, and what it is off by there."""

from itertools import product
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import ApproximateLoss, approximate_loss, exact_loss
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from .setting import NOISE

DIMENSIONS = (5, 20, 80)
VARIANCES = (1.0, 4.0)
"""Of x: scores are ω times it."""

SCORES = (0.3, 0.9, 1.0, 1.0 + 1e-6, 1.5)
"""c = λ|ω|√D, on both sides of 1 and next to it."""

VALUE = 0.4
"""μ/√D of each head, about that of the optimum."""

WIDEST = 3.0
"""No stated error may be so many times the largest that is found: 2/D for .84/D."""

THIRD, TWICE = "a third of the stated error", "twice the stated error"
WITHOUT_SIZE, WITHOUT_VARIANCE = "|ω| ≤ 1 for λ|ω|√D ≤ 1", "|ω|√D ≤ 1 for λ|ω|√D ≤ 1"


class _Case(NamedTuple):
    """A pair of heads ±(ω, μ) with λω√D = `score`."""

    dimension: int
    variance: float
    score: float

    @property
    def omega(self) -> float:
        """ω of the positive head."""
        return float(self.score / np.sqrt(self.dimension) / self.variance)

    def loss(self) -> ApproximateLoss:
        """The approximate loss of the pair."""
        return approximate_loss(self._task(), *self._heads())

    def exact(self) -> float:
        """The exact loss of the pair."""
        return float(exact_loss(self._task(), *self._heads()))

    def _task(self) -> Task:
        """Labels of variance 1 without the noise, and eight tokens a dimension."""
        D = self.dimension
        Ω = np.eye(D) / D / self.variance
        return Task(
            [self.variance] * D,
            teacher_covariance=Ω,
            noise_variance=NOISE,
            context_length=8 * D,
        )

    def _heads(self) -> tuple[list[float], list[float]]:
        μ = VALUE * np.sqrt(self.dimension)
        return [self.omega, -self.omega], [μ, -μ]


CASES = tuple(_Case(*each) for each in product(DIMENSIONS, VARIANCES, SCORES))


def _found(context: RunContext) -> list[FloatArray]:
    """For each case whether c ≤ 1, what the approximate loss is off by there, and c (3,)."""
    rows = []
    for case in CASES:
        is_within = case.score <= 1
        exact = case.exact() if is_within else 1.0
        off = abs(float(case.loss()) / exact - 1) if is_within else 0.0
        rows.append(np.array([is_within, off, case.score]))
    return rows


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """For each case what the loss says: reliable or not, its error, and the c that its note gives (3,)."""
    factor = {THIRD: 1 / 3, TWICE: 2.0}.get(control, 1.0)
    rows = []
    for case in CASES:
        loss = case.loss()
        reliable = bool(np.all(loss.reliable))
        if control == WITHOUT_SIZE:
            reliable = case.omega <= 1
        if control == WITHOUT_VARIANCE:
            reliable = case.omega * np.sqrt(case.dimension) <= 1
        # The number that a note gives after "up to".
        words = loss.note.replace(",", "").split()
        score = float(words[words.index("up") + 2]) if words else case.score
        rows.append(np.array([reliable, factor * loss.relative_error, score]))
    return rows


def _says_what_is_found(
    predicted: list[FloatArray], observed: list[FloatArray]
) -> Evidence:
    """Flags are right, errors cover what is found without being more than `WIDEST` times that, and notes name c."""
    said, found = np.stack(predicted), np.stack(observed)
    D = np.array([case.dimension for case in CASES])
    flags = said[:, 0] == found[:, 0]
    within = found[:, 0] == 1
    covers = said[:, 1] >= found[:, 1]
    largest = np.max((found[:, 1] * D)[within])
    narrow = said[:, 1] * D <= WIDEST * largest
    names = np.isclose(said[:, 2], found[:, 2], rtol=5e-3)
    return Evidence(
        agrees=bool(np.all(flags & covers & narrow & names)),
        observed=f"{flags.sum()} flags, {(covers & narrow).sum()} errors and {names.sum()} notes are right",
        expected=f"{len(CASES)} each",
        residual=float(largest),
    )


CLAIMS = (
    Claim(
        id="softmax.approximate_loss_stated",
        title="The approximate loss says where it can be relied on, and by how much it is off there at most",
        paper="he2025",
        beyond_paper=True,
        equation="approximate loss",
        origin="derived here",
        statement=r"\lambda|\omega|\sqrt D \le 1 \Rightarrow |\tilde L/L - 1| \le 2/D",
        observable="exact and approximate loss of pairs at three dimensions, two variances of x and five scores",
        limit="none: a bound at finite D",
        measure=_found,
        predict=_stated,
        judge=_says_what_is_found,
        controls=(THIRD, TWICE, WITHOUT_SIZE, WITHOUT_VARIANCE),
        tier="fast",
    ),
)
