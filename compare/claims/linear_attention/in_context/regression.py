"""What is learned in context: principal component regression, with one component more at every drop."""

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

AVERAGED = Separate(heads=4, rank=1)  # divided by N, so that weights have a limit
LENGTHS = (250, 500, 1000, 2000, 4000)
LONG = (250, 1_000, 4_000, 16_000)
FEW = ((2, 1.0), (3, 1.0), (3, 1e-10))
"""Context tokens in four dimensions, and units of Λ."""
COUNTS = (1, 2, 3, 4)
TEACHERS = np.diag([1.0, 2.0, 0.5, 1.5]) + 0.2
ONE_MORE = "one component more"
LARGER_PENALTY = "σ² for σ²/N"
NO_TEACHERS = "Ω left out"
PROMPTS = 200
REPEATS = 8
COMPONENTS = {UNMODIFIED: (1, 2), ONE_MORE: (1, 2, 3), "the last two": (3, 4)}
SUBSETS = [subset for size in range(5) for subset in combinations((1, 2, 3, 4), size)]


def _identified(context: RunContext) -> list[tuple[int, Subset]]:
    """m, and the subset whose M_S predicts fresh prompts most like the model, where runs rest on plateau m ≥ 1."""
    maps = np.array(
        [fixed_point(FOUR, SEPARATE, subset).M.ravel() for subset in SUBSETS]
    )
    found = []
    for each, run in zip(context.experiments, context.trajectories, strict=True):
        data = sample(FOUR, 4_000, each.seed, split="test")
        candidates = network_features(data, SEPARATE)[0] @ maps.T
        for landing in lasting_plateaus(run):
            output = predict(SEPARATE, SEPARATE.heads(landing.weights), data.tokens)
            nearest = int(
                np.argmin(np.mean((candidates - output[:, None]) ** 2, axis=0))
            )
            found.append((len(landing.point.subset), SUBSETS[nearest]))
    return found


def _components(context: RunContext, control: str) -> tuple[Subset, ...]:
    """Components that the model regresses on at plateau m = 0 … 4."""
    return {
        UNMODIFIED: GREEDY,
        "smallest eigenvalues first": tuple(tuple(range(5 - m, 5)) for m in range(5)),
        ONE_MORE: (*GREEDY[1:], GREEDY[-1]),
    }[control]


def _equal_subsets(
    predicted: tuple[Subset, ...], observed: list[tuple[int, Subset]]
) -> Evidence:
    agree = sum(predicted[m] == subset for m, subset in observed)
    said = "; ".join(",".join(map(str, subset)) for subset in predicted[1:])
    shown = f"{agree} of {len(observed)} plateaus"
    return Evidence(agree == len(observed) >= 24, shown, f"components none; {said}")


def _learned_coefficients(context: RunContext) -> list[FloatArray]:
    """λ_d M_dd after training two heads on the first two components, for each N."""
    tasks = [with_context(FOUR, length) for length in LENGTHS]
    return [
        task.eigenvalues * np.diag(effective_map(AVERAGED, _trained(task).final))
        for task in tasks
    ]


def _regression_coefficients(context: RunContext, control: str) -> list[FloatArray]:
    λ = FOUR.eigenvalues
    ideal = {
        UNMODIFIED: 1 / λ,
        "1/λ² for 1/λ": 1 / λ**2,
        "ridge with penalty 0.01": 1 / (λ + 0.01),
    }[control]
    return [λ * ideal * np.array([1, 1, 0, 0])] * len(LENGTHS)


def _outputs(context: RunContext) -> FloatArray:
    """Predictions of the model at the two-component plateau on fresh prompts, (lengths, seeds, prompts)."""
    found = []
    for length in LONG:
        task = with_context(FOUR, length)
        heads = AVERAGED.heads(_trained(task).final)
        prompts = [
            sample(task, PROMPTS, seed, split="test").tokens
            for seed in context.seeds(REPEATS)
        ]
        found.append([predict(AVERAGED, heads, tokens) for tokens in prompts])
    return np.array(found)


def _trained(task: Task) -> Trajectory:
    """Gradient flow of two heads, on the first two components, to their plateau."""
    start = initial_weights(
        AVERAGED, task, np.array([0.5, 0.5, 0.0, 0.0]), scheme="aligned"
    )
    return flow(AVERAGED, population_statistics(task, AVERAGED), start, [0.0, 2_000.0])


def _regressions(context: RunContext, control: str) -> FloatArray:
    """In-sample principal component regression on the same prompts."""
    return np.array(
        [
            [_regression(length, seed)[control] for seed in context.seeds(REPEATS)]
            for length in LONG
        ]
    )


@cache
def _regression(length: int, seed: int) -> dict[str, FloatArray]:
    """Predictions by each set of components: drawing the prompts takes longest."""
    tokens = sample(with_context(FOUR, length), PROMPTS, seed, split="test").tokens
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]
    return {
        name: principal_component_regression(x, y, query, chosen)
        for name, chosen in COMPONENTS.items()
    }


def _short_contexts(
    context: RunContext,
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
    """x, y and queries of contexts with fewer tokens than dimensions."""
    for length, unit in FEW:
        task = Task(
            unit * FOUR.eigenvalues,
            teacher_covariance=TEACHERS,
            noise_variance=0.3 * unit,
            context_length=length,
        )
        tokens = sample(task, 40, context.seed, split="test").tokens
        yield tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]


def _least_squares(context: RunContext) -> list[FloatArray]:
    """By singular values of each context: on its first components, and of penalised equations."""
    found = []
    for x, y, query in _short_contexts(context):
        left, sizes, right = np.linalg.svd(x, full_matrices=False)
        shares = np.einsum("pnd,pn,pdi,pi->pd", left, y, right, query) / sizes
        found += [np.sum(shares[:, :count], axis=1) for count in COUNTS]
        found += [penalised_squares(x, y, query, noise, TEACHERS) for noise in NOISES]
    return found


def _stated_regressions(context: RunContext, control: str) -> list[FloatArray]:
    Ω = None if control == NO_TEACHERS else TEACHERS
    found = []
    for x, y, query in _short_contexts(context):
        times = x.shape[1] if control == LARGER_PENALTY else 1
        for count in COUNTS:
            last = min(count + (control == ONE_MORE), 4)
            found.append(
                principal_component_regression(x, y, query, range(1, last + 1))
            )
        found += [ridge(x, y, query, times * noise, Ω) for noise in NOISES]
    return found


CLAIMS = (
    Claim(
        id="in_context.components",
        title="At plateau m the model regresses on the first m principal components",
        paper="zhang2025",
        equation="principal component regression in context",
        statement=r"\hat y_q = \sum_{d \le m} m_d\,(e_d^\top\beta)(e_d^\top x_q)",
        observable="which of all 16 sets of components predicts 4,000 fresh prompts most alike; six runs",
        limit="initial scale → 0",
        measure=_identified,
        predict=_components,
        judge=_equal_subsets,
        controls=("smallest eigenvalues first", ONE_MORE),
        experiments=lambda context: separate(context.seed),
        hypotheses=(
            "D = 4, N = 31, λ ∝ (4, 3, 2, 1)",
            "all weights trained on 80,000 sequences, scale 0.01",
        ),
        figure="predictor",
    ),
    Claim(
        id="in_context.coefficients",
        title="The learned coefficients tend to those of regression on population components",
        paper="zhang2025",
        equation="principal component regression in context",
        statement=r"m_d = 1/\lambda_d + O(1/N)",
        observable="λ_d M_dd after training on two components, exact statistics, N = 250 … 4000",
        limit="N → ∞, error O(1/N)",
        order=-1.0,
        hypotheses=(
            "unlimited sequences",
            "two heads start, aligned with the first two components",
        ),
        figure="regression",
        measure=_learned_coefficients,
        assumes=POPULATION_MOMENTS,
        predict=_regression_coefficients,
        judge=converges_at_order(LENGTHS, -1, name="N"),
        controls=("1/λ² for 1/λ", "ridge with penalty 0.01"),
        tier="fast",
    ),
    Claim(
        id="in_context.in_sample",
        title="Predictions tend to those of principal component regression in the sample",
        paper="zhang2025",
        equation="principal component regression in context",
        statement=r"\hat y_q - \hat y_q^{\mathrm{PCR}} = O(N^{-1/2})",
        observable="predictions on fresh prompts at the two-component plateau, N = 250 … 16,000",
        limit="N → ∞, error O(N^-1/2)",
        order=-0.5,
        hypotheses=(
            "unlimited sequences in training, 200 fresh prompts",
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
        title="In contexts too short for least squares, absent components count nothing and the prior decides",
        origin="Jolliffe 1982; Hoerl and Kennard 1970, ridge regression",
        statement=r"\hat y_q = \textstyle\sum_{d \le m} (e_d^\top\beta)(e_d^\top x_q)/\hat\lambda_d",
        observable="singular values and pseudo-inverses of each context; N = 2, 3 in four dimensions, with noise",
        limit="none: exact",
        measure=_least_squares,
        predict=_stated_regressions,
        judge=equal_within(1e-8, axes=("prompt", "prediction")),
        controls=(ONE_MORE, NO_TEACHERS, LARGER_PENALTY),
        tier="fast",
    ),
)
