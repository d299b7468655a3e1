"""Contexts of other lengths than in training: softmax heads, and linear attention with and without a divisor."""

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.predictors import best_plain_step, plain_step_loss
from ....theory.softmax_attention import exact_loss
from ....theory.softmax_attention.length_generalisation import (
    linear_losses_at_lengths,
    losses_at_lengths,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order
from ...evidence.seed_judges import within_standard_errors
from .predictors import drawn_contexts
from .setting import (
    EXACT_LOSSES,
    sampled_losses,
    white_task,
)

LONGER = "longer contexts"

TRAINED = white_task(3, 20)
"""The task at the length of training, N₀ = 20."""
HEADS = (np.array([0.15, -0.15]), np.array([2.7, -2.7]))
"""Near the optimum of two heads at that length."""
SINGLE = (np.array([0.6]), np.array([1.2]))
SMALL_SINGLE = (np.array([0.3]), np.array([2.0]))
"""One head whose scores are small enough that all of a long context counts: large ones pick single tokens."""
LENGTHS = (5, 20, 80)
SAMPLES, PROMPTS = 20, 500

OBLIQUE = Task(
    covariance=0.7 ** np.abs(np.subtract.outer(np.arange(3), np.arange(3))),
    input_mean=[0.4, -0.2, 0.3],
    teacher_covariance=np.diag([0.5, 0.2, 0.4]),
    noise_variance=0.4,
    context_length=8,
)
"""Inputs with a mean and correlations, on which linear attention takes a preconditioned step."""
PRECONDITIONER = np.array([[0.5, -0.2, 0.1], [0.1, 0.4, -0.3], [-0.1, 0.2, 0.6]])

LONG = (4_000, 16_000, 64_000)
INVERSE_LENGTHS = tuple(1 / N for N in LONG)

FIXED_LENGTH = "the loss of the trained length"
OTHER_DIVISOR = "divisors of linear attention exchanged"
BY_NORMALISATION = "generalisation decided by the normalisation"
ONE_HEAD_STEP = "η = 1"
WITHOUT_MEAN = "Λ for E[x xᵀ]"


def _at(length: int) -> Task:
    return white_task(3, length)


def _step() -> float:
    """The step of least loss at the length of training."""
    return best_plain_step(TRAINED).step


def _measured_lengths(context: RunContext) -> list[FloatArray]:
    """Losses (samples, 4) of two heads and of one on tokens, and of both linear normalisations, for each length."""
    rows = []
    for N in LENGTHS:
        task, seeds = _at(N), context.seeds(SAMPLES)
        columns = [
            sampled_losses(task, heads, PROMPTS, seeds, False)[:, 0]
            for heads in (HEADS, SINGLE)
        ]
        # Weights without a divisor take a step that grows with the context.
        for step in (_step(), _step() * N / 20):
            losses = [
                np.mean(drawn_contexts(task, seed).step_loss(step, debiased=False))
                for seed in seeds
            ]
            columns.append(np.array(losses))
        rows.append(np.stack(columns, axis=1))
    return rows


def _stated_lengths(context: RunContext, control: str) -> list[FloatArray]:
    """Losses (4,) of the same weights by quadrature and in closed form, for each length."""
    lengths = (20,) * len(LENGTHS) if control == FIXED_LENGTH else LENGTHS
    two = losses_at_lengths(TRAINED, *HEADS, lengths)
    one = losses_at_lengths(TRAINED, *SINGLE, lengths)
    divided = linear_losses_at_lengths(TRAINED, _step(), lengths, divisor="context")
    summed = linear_losses_at_lengths(TRAINED, _step(), lengths, divisor="none")
    if control == OTHER_DIVISOR:
        divided, summed = summed, divided
    columns = np.stack([two, one, divided, summed], axis=1)
    return list(columns)


def _longer_is_better(context: RunContext) -> tuple[bool, ...]:
    """Whether four times the context lowers the mean loss of softmax, linear with and linear without a divisor."""
    seeds = context.seeds(SAMPLES)
    changes = []
    for N in (20, 80):
        softmax = sampled_losses(_at(N), HEADS, PROMPTS, seeds, False)[:, 0]
        contexts = [drawn_contexts(_at(N), seed) for seed in seeds]
        means = [float(np.mean(softmax))]
        for step in (_step(), _step() * N / 20):
            losses = [
                np.mean(each.step_loss(step, debiased=False)) for each in contexts
            ]
            means.append(float(np.mean(losses)))
        changes.append(means)
    return tuple(after < before for before, after in zip(*changes, strict=True))


def _stated_comparison(context: RunContext, control: str) -> tuple[bool, ...]:
    """Softmax alone; or softmax and linear attention that divides by the length; or all."""
    stated = {
        UNMODIFIED: (True, False, False),
        BY_NORMALISATION: (True, True, False),
        "both divisors generalise": (True, True, True),
    }
    return stated[control]


def _same_answers(predicted: tuple[bool, ...], observed: tuple[bool, ...]) -> Evidence:
    """The same models profit from a longer context."""
    names = ("softmax", "linear, divided by N", "linear, not divided")
    profits = [name for name, better in zip(names, observed, strict=True) if better]
    stated = [name for name, better in zip(names, predicted, strict=True) if better]
    return Evidence(
        predicted == observed,
        f"better on longer contexts: {'; '.join(profits)}",
        "; ".join(stated),
    )


def _long_losses(context: RunContext) -> list[FloatArray]:
    """Losses (3,) of two heads, one, and a linear step divided by N, and 1/√L without a divisor, for each long N."""
    losses = []
    for N in LONG:
        heads = [float(exact_loss(_at(N), *each)) for each in (HEADS, SMALL_SINGLE)]
        longer = Task(**OBLIQUE.arguments() | {"context_length": N})
        # Weights without a divisor take a step that grows with the context.
        steps = [1.0, N / max(OBLIQUE.context_lengths)]
        divided, summed = plain_step_loss(longer, steps, preconditioner=PRECONDITIONER)
        losses.append(np.array([*heads, divided, summed**-0.5]))
    return losses


def _limits(context: RunContext, control: str) -> list[FloatArray]:
    """σ² + (1 − η)² with η = Σ μω for heads, and the limits of the linear step (4,), the same for every length."""
    heads = [
        losses_at_lengths(TRAINED, *each, [np.inf])[0] for each in (HEADS, SMALL_SINGLE)
    ]
    if control == ONE_HEAD_STEP:
        heads = [TRAINED.noise_variance] * 2
    task = OBLIQUE
    if control == WITHOUT_MEAN:
        task = Task(**OBLIQUE.arguments() | {"input_mean": None})
    divided, summed = (
        linear_losses_at_lengths(
            task, 1.0, [np.inf], divisor=divisor, preconditioner=PRECONDITIONER
        )[0]
        for divisor in ("context", "none")
    )
    return [np.array([*heads, divided, summed**-0.5])] * len(LONG)


CLAIMS = (
    Claim(
        id="softmax.lengths",
        title="Softmax heads and linear attention with fixed weights have predicted losses on other contexts",
        paper="he2025",
        equation=LONGER,
        statement=r"L(N;\ \omega, \mu)\quad\text{and}\quad L(N;\ \eta\ \text{or}\ \eta N/N_0)",
        observable="losses on tokens of two heads and one, and of linear steps given X, N = 5, 20, 80; 20 samples",
        limit="prompts → ∞",
        measure=_measured_lengths,
        predict=_stated_lengths,
        judge=within_standard_errors,
        controls=(FIXED_LENGTH, OTHER_DIVISOR),
        tier="fast",
    ),
    Claim(
        id="softmax.longer_contexts",
        title="Longer contexts help softmax and linear attention alike if it divides by their length",
        paper="he2025",
        equation=LONGER,
        statement=r"L(4N_0) < L(N_0):\ \text{softmax alone}",
        observable="mean losses of fixed weights at N₀ = 20 and at 80: softmax, linear with and without a divisor",
        limit="none",
        measure=_longer_is_better,
        predict=_stated_comparison,
        judge=_same_answers,
        expected_level="refuted",
        controls=("both divisors generalise",),
        corrected=(BY_NORMALISATION,),
        tier="fast",
    ),
    Claim(
        id="softmax.infinite_context",
        title="On long contexts softmax heads predict η w·x_q, as a linear step does that is divided by their length",
        paper="he2025",
        equation=LONGER,
        beyond_paper=True,
        statement=r"L \to \sigma^2 + (1 - \eta)^2,\quad \eta = \textstyle\sum_h \mu_h\omega_h",
        observable="exact losses of two heads, of one and of linear steps, with and without a divisor, N up to 64,000",
        limit="N → ∞, error O(1/N)",
        order=1.0,
        measure=_long_losses,
        predict=_limits,
        judge=converges_at_order(INVERSE_LENGTHS, 1, name="1/N"),
        controls=(ONE_HEAD_STEP, WITHOUT_MEAN),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
)
