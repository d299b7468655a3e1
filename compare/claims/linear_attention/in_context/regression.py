"""Claims on principal component regression in context: attention regresses on one component more after every drop."""

from collections.abc import Iterator
from functools import cache
from itertools import combinations

import numpy as np

from .....models.attention import Separate
from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import (
    Trajectory,
    flow,
    initial_weights,
    network_features,
    predict,
    sample,
)
from .....task import Task
from .....theory import fixed_point, principal_component_regression, ridge
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_at_order, converges_on_average, equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import with_context
from ..common.experiments import FOUR, SEPARATE, separate
from ..separate.plateaus import GREEDY, lasting_plateaus
from ..setting.moment_integrals import NOISES, penalised_squares

Subset = tuple[int, ...]

MODEL = Separate(heads=4, rank=1)
"""Its attention is divided by N, so that weights have a limit as N → ∞."""

LENGTHS = (250, 500, 1000, 2000, 4000)
"""Context lengths of an error of order 1/N, which exact statistics resolve."""

LONG = (250, 1_000, 4_000, 16_000)
"""Context lengths of an error of order N^-1/2 on sampled prompts: a factor of 64."""

PROMPTS = 200
REPEATS = 8

TRAINING_TIME = 2_000.0
"""Flow time after which both heads are at their plateau to rounding."""

SHORT_CONTEXTS = ((2, 1.0), (3, 1.0), (3, 1e-10))
"""Context tokens in four dimensions, and the unit in which Λ is measured."""

COUNTS = (1, 2, 3, 4)
TEACHER_COVARIANCE = np.diag([1.0, 2.0, 0.5, 1.5]) + 0.2

ONE_MORE = "one component more"
SMALLEST_FIRST = "smallest eigenvalues first"
LAST_TWO = "the last two"
SQUARED = "1/λ² for 1/λ"
PENALISED = "ridge with penalty 0.01"
LARGER_PENALTY = "σ² for σ²/N"
NO_TEACHERS = "Ω left out"

COMPONENTS = {UNMODIFIED: (1, 2), ONE_MORE: (1, 2, 3), LAST_TWO: (3, 4)}
SUBSETS = [subset for size in range(5) for subset in combinations((1, 2, 3, 4), size)]

LEAST_PLATEAUS = 24
"""Six runs make four plateaus each beyond M = 0."""


# in_context.components: which regression the model does on each plateau


def _nearest_subsets(context: RunContext) -> list[tuple[int, Subset]]:
    """For every lasting plateau: m, and the subset S whose map M_S predicts fresh prompts most like the model."""
    points = [fixed_point(FOUR, SEPARATE, subset) for subset in SUBSETS]
    maps = np.array([point.M.ravel() for point in points])  # (subsets, D²)
    subsets = []
    for experiment, run in zip(context.experiments, context.trajectories, strict=True):
        prompts = sample(FOUR, 4_000, experiment.seed, split="test")
        features, _ = network_features(prompts, SEPARATE)
        candidates = features @ maps.T  # (prompts, subsets)
        for plateau in lasting_plateaus(run):
            heads = SEPARATE.heads(plateau.weights)
            output = predict(SEPARATE, heads, prompts.tokens)
            m = len(plateau.point.subset)
            subsets.append((m, _nearest_subset(candidates, output)))
    return subsets


def _nearest_subset(candidates: FloatArray, output: FloatArray) -> Subset:
    """The subset whose predictions, a column of `candidates` (prompts, subsets), are closest to `output` (prompts,)."""
    errors = np.mean((candidates - output[:, None]) ** 2, axis=0)
    return SUBSETS[int(np.argmin(errors))]


def _components(context: RunContext, control: str) -> tuple[Subset, ...]:
    """Components that the model regresses on at plateau m = 0 … 4."""
    components = {
        UNMODIFIED: GREEDY,
        SMALLEST_FIRST: tuple(tuple(range(5 - m, 5)) for m in range(5)),
        ONE_MORE: (*GREEDY[1:], GREEDY[-1]),
    }
    return components[control]


def _equal_subsets(
    predicted: tuple[Subset, ...], observed: list[tuple[int, Subset]]
) -> Evidence:
    """Every plateau regresses on the predicted components, and there are enough of them."""
    agreeing = sum(predicted[m] == subset for m, subset in observed)
    listed = "; ".join(",".join(map(str, subset)) for subset in predicted[1:])
    return Evidence(
        agreeing == len(observed) >= LEAST_PLATEAUS,
        f"{agreeing} of {len(observed)} plateaus",
        f"components none; {listed}",
    )


# in_context.coefficients: with which coefficients


def _learned_coefficients(context: RunContext) -> list[FloatArray]:
    """λ_d M_dd after training two heads on the first two components, (4,) for each N."""
    coefficients = []
    for length in LENGTHS:
        task = with_context(FOUR, length)
        M = effective_map(MODEL, _trained(task).final)
        coefficients.append(task.eigenvalues * np.diag(M))
    return coefficients


def _regression_coefficients(context: RunContext, control: str) -> list[FloatArray]:
    """λ_d/λ_d = 1 on the first two components and 0 on the others, (4,) for each N."""
    λ = FOUR.eigenvalues
    inverses = {UNMODIFIED: 1 / λ, SQUARED: 1 / λ**2, PENALISED: 1 / (λ + 0.01)}
    first_two = np.array([1, 1, 0, 0])
    return [λ * inverses[control] * first_two] * len(LENGTHS)


def _trained(task: Task) -> Trajectory:
    """Gradient flow of two heads, on the first two components, to their plateau."""
    amplitudes = np.array([0.5, 0.5, 0.0, 0.0])
    start = initial_weights(MODEL, task, amplitudes, scheme="aligned")
    statistics = population_statistics(task, MODEL)
    return flow(MODEL, statistics, start, [0.0, TRAINING_TIME])


# in_context.in_sample: the same predictions as regression in each prompt


def _outputs(context: RunContext) -> FloatArray:
    """Predictions of the model at the two-component plateau on fresh prompts, (lengths, seeds, prompts)."""
    outputs = []
    for length in LONG:
        task = with_context(FOUR, length)
        heads = MODEL.heads(_trained(task).final)
        samples = [
            sample(task, PROMPTS, seed, split="test") for seed in context.seeds(REPEATS)
        ]
        outputs.append([predict(MODEL, heads, prompts.tokens) for prompts in samples])
    return np.array(outputs)


def _regressions(context: RunContext, control: str) -> FloatArray:
    """In-sample principal component regression on the same prompts, (lengths, seeds, prompts)."""
    repeats = context.seeds(REPEATS)
    predictions = [
        [_regression(length, seed)[control] for seed in repeats] for length in LONG
    ]
    return np.array(predictions)


@cache  # drawing the prompts takes longest, and every control needs the same
def _regression(length: int, seed: int) -> dict[str, FloatArray]:
    """Predictions (prompts,) by each set of components."""
    prompts = sample(with_context(FOUR, length), PROMPTS, seed, split="test")
    x, y, query = _parts(prompts.tokens)
    return {
        name: principal_component_regression(x, y, query, components)
        for name, components in COMPONENTS.items()
    }


def _parts(tokens: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x (P, N, D), y (P, N) and queries (P, D) of tokens (P, N+1, D+1)."""
    return tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]


# in_context.short_contexts: fewer tokens than dimensions


def _short_contexts(
    context: RunContext,
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """x, y and queries of contexts with fewer tokens than dimensions."""
    for length, unit in SHORT_CONTEXTS:
        task = Task(
            unit * FOUR.eigenvalues,
            teacher_covariance=TEACHER_COVARIANCE,
            noise_variance=0.3 * unit,
            context_length=length,
        )
        yield _parts(sample(task, 40, context.seed, split="test").tokens)


def _regressions_by_singular_values(context: RunContext) -> list[FloatArray]:
    """Regression on the first components by singular values of each context, and penalised least squares."""
    predictions = []
    for x, y, query in _short_contexts(context):
        # x = Σ_i s_i l_i r_iᵀ for each prompt p, so that component i predicts (l_iᵀ y)(r_iᵀ x_q)/s_i.
        left, singular_values, right = np.linalg.svd(x, full_matrices=False)
        products = np.einsum("pni,pn,pid,pd->pi", left, y, right, query)
        contributions = products / singular_values
        predictions += [np.sum(contributions[:, :count], axis=1) for count in COUNTS]
        predictions += [
            penalised_squares(x, y, query, noise, TEACHER_COVARIANCE)
            for noise in NOISES
        ]
    return predictions


def _stated_regressions(context: RunContext, control: str) -> list[FloatArray]:
    """The same predictions by the theory's algorithms."""
    Ω = None if control == NO_TEACHERS else TEACHER_COVARIANCE
    extra = 1 if control == ONE_MORE else 0
    predictions = []
    for x, y, query in _short_contexts(context):
        length = x.shape[1]
        factor = length if control == LARGER_PENALTY else 1
        for count in COUNTS:
            components = range(1, min(count + extra, 4) + 1)
            predictions.append(principal_component_regression(x, y, query, components))
        predictions += [ridge(x, y, query, factor * noise, Ω) for noise in NOISES]
    return predictions


CLAIMS = (
    Claim(
        id="in_context.components",
        title="On plateau m attention regresses on the first m principal components",
        paper="zhang2025",
        equation="principal component regression in context",
        statement=r"\hat y_q = \sum_{d \le m} m_d\,(e_d^\top\beta)(e_d^\top x_q)",
        observable="which of all 16 sets of components predicts 4,000 fresh prompts most like the model; six runs",
        limit="initial scale → 0",
        measure=_nearest_subsets,
        predict=_components,
        judge=_equal_subsets,
        controls=(SMALLEST_FIRST, ONE_MORE),
        experiments=lambda context: separate(context.seed),
        hypotheses=(
            "D = 4, N = 31, λ ∝ (4, 3, 2, 1)",
            "all weights trained on 80,000 sequences, scale 0.01",
        ),
        figure="predictor",
    ),
    Claim(
        id="in_context.coefficients",
        title="The learned coefficients converge to those of regression on the population's components",
        paper="zhang2025",
        equation="principal component regression in context",
        statement=r"m_d = 1/\lambda_d + O(1/N)",
        observable="λ_d M_dd after training on two components, exact statistics, N = 250 … 4000",
        limit="N → ∞, error O(1/N)",
        order=-1.0,
        hypotheses=(
            "infinitely many sequences",
            "two heads start, aligned with the first two components",
        ),
        figure="regression",
        measure=_learned_coefficients,
        assumes=POPULATION_MOMENTS,
        predict=_regression_coefficients,
        judge=converges_at_order(LENGTHS, -1, name="N"),
        controls=(SQUARED, PENALISED),
        tier="fast",
    ),
    Claim(
        id="in_context.in_sample",
        title="The predictions of attention converge to those of principal component regression in the sample",
        paper="zhang2025",
        equation="principal component regression in context",
        statement=r"\hat y_q - \hat y_q^{\mathrm{PCR}} = O(N^{-1/2})",
        observable="predictions on fresh prompts at the two-component plateau, N = 250 … 16,000",
        limit="N → ∞, error O(N^-1/2)",
        order=-0.5,
        hypotheses=(
            "infinitely many sequences in training, 200 fresh prompts",
            "no label noise",
        ),
        figure="regression",
        measure=_outputs,
        assumes=POPULATION_MOMENTS,
        predict=_regressions,
        judge=converges_on_average(LONG, -0.5, "N"),
        controls=tuple(COMPONENTS)[1:],
    ),
    Claim(
        id="in_context.short_contexts",
        title="In contexts shorter than D, missing components predict zero and ridge regression follows its prior",
        origin="Jolliffe 1982; Hoerl and Kennard 1970, ridge regression",
        statement=r"\hat y_q = \textstyle\sum_{d \le m} (e_d^\top\beta)(e_d^\top x_q)/\hat\lambda_d",
        observable="singular values and pseudo-inverses of each context; N = 2, 3 in four dimensions, with noise",
        limit="none: exact",
        measure=_regressions_by_singular_values,
        predict=_stated_regressions,
        judge=equal_within(1e-8, axes=("prompt", "prediction")),
        controls=(ONE_MORE, NO_TEACHERS, LARGER_PENALTY),
        tier="fast",
    ),
)
