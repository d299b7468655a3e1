"""The symmetric family of heads is invariant under gradient descent: shown on data without sampling error."""

import numpy as np

from ....models.attention import Merged
from ....models.factorised import Factorised
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import RecordedPrompts, objective, prompts_from_tokens, sample, train
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from .setting import (
    CONVENTIONS,
    closed_orbit,
    family_weights,
    mean_diagonals,
    softmax_model,
    white_task,
)

PROMPTS, DIMENSION, LENGTH = 3, 3, 4
"""Three prompts, which become 144 under the symmetries of the task."""

HEADS = (np.array([0.3, -0.2]), np.array([1.2, -1.5]))
STEPS, RATE = 20, 0.05
"""Few steps: on a small data set rounding off the family can grow."""

NOT_CLOSED = "the prompts alone, not closed under the symmetries"
ONLY_LABEL_SIGN = "closed under the sign of the labels, not under rotations of x"


def _tokens(context: RunContext) -> FloatArray:
    """Prompts (P, N+1, D+1) of the task, noisy labels in every row."""
    (seed,) = context.seeds(1)[:1]
    return sample(white_task(DIMENSION, LENGTH), PROMPTS, seed).tokens


def _models() -> list[Merged | Factorised]:
    """Merged heads and heads with all four matrices, in both conventions."""
    models: list[Merged | Factorised] = []
    for query_token in CONVENTIONS:
        models.append(softmax_model(2, query_token))
        models.append(
            Factorised(
                2, softmax=True, query_token=query_token, score_divisor="sqrt_key"
            )
        )
    return models


def _start(model: Merged | Factorised) -> Weights:
    """Weights of the family: multiples of 1 on x and numbers on y, none between them."""
    ω, μ = HEADS
    if not isinstance(model, Factorised):
        return family_weights(ω, μ, DIMENSION)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(DIMENSION).items()}
    identity = np.eye(DIMENSION)
    weights["key"][:, :-1, :-1] = np.array([0.8, 0.7])[:, None, None] * identity
    weights["query"][:, :-1, :-1] = np.array([0.9, -0.6])[:, None, None] * identity
    weights["value"][:, -1, -1] = [1.1, 1.2]
    weights["output"][:, 0, -1] = [1.0, -1.3]
    return weights


def _outside(weights: Weights) -> FloatArray:
    """What of each weight lies outside the family, over the largest entry of all."""
    largest = max(float(np.max(np.abs(value))) for value in weights.values())
    parts = [_outside_of(name, value).ravel() for name, value in weights.items()]
    return np.concatenate(parts) / largest


def _outside_of(name: str, value: FloatArray) -> FloatArray:
    """The entries of one weight without its part in the family."""
    rest = value.copy()
    if name == "output" or value.ndim == 2:
        rest[..., -1] = 0.0
    elif name == "value":
        rest[:, -1, -1] = 0.0
    else:
        diagonal = mean_diagonals(value)[:, None, None] * np.eye(value.shape[-1] - 1)
        rest[:, :-1, :-1] -= diagonal
    return rest


def _largest_parts(data: RecordedPrompts) -> list[FloatArray]:
    """For each model the largest parts outside the family: of the gradient, and of the weights after some steps."""
    parts = []
    for model in _models():
        start = _start(model)
        _, gradients = objective(model, data)(start)
        run = train(model, data, start, learning_rate=RATE, steps=STEPS)
        outside = [_outside(gradients), _outside(run.final)]
        largest = [float(np.max(np.abs(part))) for part in outside]
        # One more, since a share of zero has no relative gap.
        parts.append(1 + np.array(largest))
    return parts


def _parts_on_closed_data(context: RunContext) -> list[FloatArray]:
    """The parts outside the family on data that are closed under the symmetries."""
    return _largest_parts(closed_orbit(_tokens(context)))


def _predicted_parts(context: RunContext, control: str) -> list[FloatArray]:
    """None, or those on data that lack a symmetry."""
    if control == UNMODIFIED:
        return [np.ones(2) for _ in _models()]
    tokens = _tokens(context)
    if control == NOT_CLOSED:
        return _largest_parts(prompts_from_tokens(tokens))
    other_labels = tokens * np.append(np.ones(DIMENSION), -1.0)
    return _largest_parts(prompts_from_tokens(np.concatenate([tokens, other_labels])))


CLAIMS = (
    Claim(
        id="softmax.symmetric_family",
        title="Heads (ω 1; 0), (0, μ) stay so under gradient descent, with or without the query's own token",
        paper="he2025",
        equation="diagonal key-query matrices and output-value rows with a last entry only",
        origin="derived here from the symmetries of the task",
        statement=r"\nabla L(\omega_h 1, \mu_h) \in \{(\omega_h 1;\, 0),\ (0,\, \mu_h)\}",
        observable="largest part outside the family of the gradient and of the weights after 20 steps, over their "
        "largest entry, on three prompts and their images under permutations and sign changes of the coordinates",
        limit="none: a symmetry, which the data have exactly",
        hypotheses=(
            "the law of x and w together is invariant under rotations and reflections",
            "merged heads, or query, key, value and output matrices",
        ),
        measure=_parts_on_closed_data,
        predict=_predicted_parts,
        judge=equal_within(1e-12),
        controls=(NOT_CLOSED, ONLY_LABEL_SIGN),
        tier="fast",
    ),
)
