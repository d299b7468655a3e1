"""The posterior mean where the teacher is one of a pool, against Bayes' rule applied to one label after another."""

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import sample
from .....task import Task
from .....teachers import Pool
from .....theory.predictors import pool_posterior
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within

ONE_OUTPUT = Pool([[1.0, 0.5], [-0.5, 1.0], [0.5, -1.5]], weights=[0.2, 0.5, 0.3])
TWO_OUTPUTS = Pool([[[1.0, 0.0], [0.5, 1.0]], [[0.0, -1.0], [1.0, 0.5]]])
ALIKE = Pool([[1.0, 0.5], [1.0, -0.5], [0.3, 0.2]], weights=[0.3, 0.6, 0.1])
"""Two of these teachers have the same labels where x has only its first entry."""

NOISY = Task([1.0, 0.5], teachers=ONE_OUTPUT, noise_variance=0.6, context_length=4)
SEVERAL = Task([1.0, 0.5], teachers=TWO_OUTPUTS, noise_variance=0.8, context_length=3)
LONG = Task([1.0, 0.5], teachers=ONE_OUTPUT, noise_variance=0.6, context_length=3_000)
"""So many labels that every likelihood alone is below the smallest number."""
CLEAN = Task([1.0, 0.5], teachers=ALIKE, context_length=2)
PROMPTS = 30

HALF_THE_NOISE = "σ²/2 for σ²"
EQUAL_WEIGHTS = "equal weights of the teachers"


def _prompts(task: Task, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Contexts x (P, N, D), y (P, N, K), and queries (P, D)."""
    prompts = 2 if task is LONG else PROMPTS
    tokens = sample(task, prompts, seed).tokens
    x, query = tokens[:, :-1, : task.dimension].copy(), tokens[:, -1, : task.dimension]
    y = tokens[:, :-1, task.dimension :]
    if task is CLEAN:
        # The first prompts do not tell two of the teachers apart.
        x[: PROMPTS // 2, :, 1] = 0
        y = (x @ np.array([1.0, 0.5]))[..., None]
    return x, y, query


def _by_bayes_rule(context: RunContext) -> list[FloatArray]:
    """The posterior mean (P·K,) of each task: weights are multiplied with the density of one label after another."""
    return [
        _means(task, *_prompts(task, context.seed)).ravel()
        for task in (NOISY, SEVERAL, LONG, CLEAN)
    ]


def _means(task: Task, x: FloatArray, y: FloatArray, query: FloatArray) -> FloatArray:
    """Means (P, K) of the labels of the queries."""
    pool = task.teachers
    assert isinstance(pool, Pool)
    teachers = pool.teachers.reshape(len(pool.teachers), -1, task.dimension)
    means = []
    for contexts, labels, one_query in zip(x, y, query, strict=True):
        posterior = np.array(pool.weights, dtype=float)
        for token, label in zip(contexts, labels, strict=True):
            squares = np.sum((label - teachers @ token) ** 2, axis=1)
            if task.noise_variance:
                posterior *= np.exp(
                    -(squares - squares.min()) / task.noise_variance / 2
                )
            else:
                posterior *= squares < 1e-20
            posterior /= posterior.sum()
        means.append(posterior @ (teachers @ one_query))
    return np.array(means)


def _posteriors(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's posterior means."""
    means = []
    for task in (NOISY, SEVERAL, LONG, CLEAN):
        x, y, query = _prompts(task, context.seed)
        stated = task
        if control == HALF_THE_NOISE:
            halved = {"noise_variance": task.noise_variance / 2}
            stated = Task(**task.arguments() | halved)
        if control == EQUAL_WEIGHTS:
            assert isinstance(task.teachers, Pool)
            alike = Pool(task.teachers.teachers)
            stated = Task(**task.arguments() | {"teachers": alike})
        labels = y[..., 0] if task.outputs == 1 else y
        means.append(pool_posterior(x, labels, query, stated).ravel())
    return means


CLAIMS = (
    Claim(
        id="formulas.pool",
        title="The posterior mean for a pool of teachers is that of Bayes' rule, one label after another",
        paper="zhang2025",
        beyond_paper=True,
        origin="Raventós et al. 2023, the discrete minimum mean squared error estimator",
        statement=r"\hat y_q = \textstyle\sum_i p_i W_i x_q,\quad "
        r"p_i \propto \pi_i\prod_n \mathcal N(y_n; W_i x_n, \sigma^2)",
        observable="predictions for noisy labels, for two outputs, for long contexts, and for labels without noise",
        limit="none: exact",
        measure=_by_bayes_rule,
        predict=_posteriors,
        judge=equal_within(1e-8, axes=("prompt", "prediction")),
        controls=(HALF_THE_NOISE, EQUAL_WEIGHTS),
        tier="fast",
    ),
)
