"""The minimum and the fixed points of one layer on modes: soft threshold, count, losses and stability."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.linear_transformer import (
    layer_loss,
    minimum,
    mode_fixed_points,
    mode_loss,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import equal_within
from .setting import LOSS, STAIRCASE, mode_task

BOUND = 1e-8
"""A search ends within this of the least loss, whose curvature along the line of scales is 0."""

NO_THRESHOLD = "every mode learned"
LIMIT = "1/s∞, the limit N → ∞"
NO_NOISE = "without the noise of the labels"
EVERY_SUBSET = "2^D fixed points"
UNLESS_OFF = "subsets that leave none of their own modes off"
ONE_EACH = "one negative eigenvalue for each mode that is off"
ALL_OFF = "modes that are off, whether they could grow or not"

TASKS = (
    mode_task(STAIRCASE, 20),
    mode_task([1, 0.5, 0.2, 0.05], 5),
    mode_task(STAIRCASE, 8, [0.2, 1, 3, 0.5], noise=0.1),
)
"""Every mode learned; one switched off; variances of teachers and noise."""

COUNTED = (
    mode_task([1, 0.01], 1),
    mode_task([1, 0.3, 0.02, 0.01], 3),
    mode_task([1, 0.5, 0.2, 0.05], 5),
)
"""Tasks with fewer fixed points than subsets: 3 of 4, 8 of 16 and 15 of 16."""

STEP = 1e-5
"""Of differences of the gradient, whose error is then 1e-10."""
NEGATIVE = -1e-6
"""Eigenvalues below are negative: the smallest in size that is not zero is above 1e-3."""

_STARTS = 2


# The minimum


def _searched(context: RunContext) -> list[FloatArray]:
    """The least loss over all entries of p and q that descents from random starts find, for each task."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return [np.array([_least_found(task, generator) for task in TASKS])]


def _least_found(task: Task, generator: np.random.Generator) -> float:
    from scipy.optimize import minimize

    D = task.dimension

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        p, q = weights.reshape(2, D, D)
        result = layer_loss(task, p, q, gradient=True)
        gradient = np.concatenate([result.by_p.ravel(), result.by_q.ravel()])
        return float(result.loss), gradient

    starts = generator.normal(size=(_STARTS, 2 * D * D))
    options = {"gtol": 1e-10, "ftol": 1e-15, "maxiter": 3000}
    found = [
        minimize(loss, start, jac=True, method="L-BFGS-B", options=options).fun
        for start in starts
    ]
    return float(min(found))


def _stated_minima(context: RunContext, control: str) -> list[FloatArray]:
    return [np.array([_stated_minimum(task, control) for task in TASKS])]


def _stated_minimum(task: Task, control: str) -> float:
    """The loss at the soft threshold, or at what a mistake puts in its place."""
    if control == NO_NOISE:
        clean = Task.from_dict(task.to_dict() | {"noise_variance": 0.0})
        noise = task.outputs * task.query_noise_variance
        return minimum(clean).loss + noise
    least = minimum(task)
    if control == UNMODIFIED:
        return least.loss
    s, ω, N = least.modes.inputs, least.modes.teachers, max(task.context_lengths)
    r = np.sqrt(least.modes.labels)
    if control == LIMIT:
        a = N / ((N + 1) * s + np.sum(s))
    else:
        Z = np.sum(r) / (1 + 1 / N + np.sum(r**2 / (ω * s)) / N)
        a = (1 - r * Z / (N * ω * s)) * N / ((N + 1) * s)
    p = np.sqrt(np.abs(a) * s / r)
    q = a / p
    return float(mode_loss(task, p, q))


# The number of fixed points


def _counted(context: RunContext) -> list[int]:
    """How many subsets of modes are learned at a point where all p and q rest, for each task."""
    return [
        sum(
            _rests_with(task, subset)
            for size in range(task.dimension + 1)
            for subset in combinations(range(task.dimension), size)
        )
        for task in COUNTED
    ]


def _rests_with(task: Task, subset: Sequence[int]) -> bool:
    """Whether a descent on these modes alone, from equal weights, ends with all of them learned."""
    from scipy.optimize import minimize

    if not subset:
        return True
    D, learned = task.dimension, list(subset)

    def loss(logarithms: FloatArray) -> tuple[float, FloatArray]:
        p, q = np.zeros((2, D))
        p[learned], q[learned] = np.exp(logarithms.reshape(2, -1))
        result = layer_loss(task, np.diag(p), np.diag(q), gradient=True)
        by_p = np.diag(result.by_p)[learned] * p[learned]
        by_q = np.diag(result.by_q)[learned] * q[learned]
        return float(result.loss), np.concatenate([by_p, by_q])

    options = {"gtol": 1e-13, "ftol": 1e-16, "maxiter": 5000}
    start = np.zeros(2 * len(learned))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    p, q = np.exp(found.x.reshape(2, -1))
    # A mode that cannot be learned beside the others goes to zero, as slowly as a search goes on.
    return bool(np.min(p * q) > 1e-2 * np.max(p * q))


def _numbers(context: RunContext, control: str) -> list[int]:
    """How many fixed points there are, or how many subsets."""
    if control == UNLESS_OFF:
        return [mode_fixed_points(task).count for task in COUNTED]
    # The statement as it stands.
    return [2**task.dimension for task in COUNTED]


def _same_numbers(predicted: list[int], observed: list[int]) -> Evidence:
    return Evidence(
        agrees=predicted == observed,
        observed=f"{', '.join(map(str, observed))} fixed points",
        expected=", ".join(map(str, predicted)),
    )


def _same_indices(predicted: list[int], observed: list[int]) -> Evidence:
    wrong = sum(p != o for p, o in zip(predicted, observed, strict=True))
    return Evidence(
        agrees=wrong == 0,
        observed=f"{len(observed) - wrong} of {len(observed)} indices as stated",
        expected="all",
    )


# Their stability


@cache
def _points() -> tuple[tuple[Task, FloatArray, FloatArray], ...]:
    """Each fixed point of two tasks: the task, and its diagonal p and q."""
    return tuple(
        (task, *point.amplitudes())
        for task in TASKS[:2]
        for point in mode_fixed_points(task)
    )


def _on_basis(
    task: Task, p: FloatArray, q: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """p and q (D, D) in the coordinates of x."""
    U = minimum(task).modes.basis
    return U @ np.diag(p) @ U.T, U @ np.diag(q) @ U.T


def _negative_eigenvalues(context: RunContext) -> list[int]:
    """How many eigenvalues of the Hessian over all entries of p and q are negative, at each point."""
    counts = []
    for task, p, q in _points():
        eigenvalues = np.linalg.eigvalsh(_hessian(task, p, q))
        counts.append(int(np.sum(eigenvalues < NEGATIVE)))
    return counts


def _hessian(task: Task, p: FloatArray, q: FloatArray) -> FloatArray:
    """Second derivatives (2D², 2D²) by differences of the gradient."""
    D = task.dimension
    point = np.stack(_on_basis(task, p, q)).ravel()
    steps = STEP * np.eye(len(point))

    def gradients(weights: FloatArray) -> FloatArray:
        blocks = weights.reshape(-1, 2, D, D)
        result = layer_loss(task, blocks[:, 0], blocks[:, 1], gradient=True)
        flat = [each.reshape(len(blocks), -1) for each in (result.by_p, result.by_q)]
        return np.concatenate(flat, axis=1)

    differences = gradients(point + steps) - gradients(point - steps)
    return np.asarray((differences + differences.T) / (4 * STEP))


def _indices(context: RunContext, control: str) -> list[int]:
    """The index of each point, or what a mistake makes of it."""
    indices = []
    for task in TASKS[:2]:
        for point in mode_fixed_points(task):
            off = task.dimension - len(point.subset)
            wrong = {ONE_EACH: 2 * off, ALL_OFF: off}
            indices.append(wrong.get(control, point.hessian_index))
    return indices


CLAIMS = (
    Claim(
        id="modes.minimum",
        title="The least loss over all p and q is that of a soft threshold, which switches weak modes off",
        paper="mainali2025",
        beyond_paper=True,
        equation="fixed point of the modes",
        origin="the paper's 1/s∞ is the limit N → ∞; the minimum at finite N is derived here",
        statement=r"a_\alpha = \frac{N}{(N+1)s_\alpha}\left[1 - \frac{r_\alpha Z}{N\omega_\alpha s_\alpha}\right]_+",
        observable="least loss of searches over all entries of p and q from random starts",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_searched,
        predict=_stated_minima,
        judge=equal_within(BOUND),
        controls=(NO_THRESHOLD, LIMIT, NO_NOISE),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.count",
        title="There are fewer fixed points than subsets of modes: one for each subset that leaves none of its own off",
        paper="mainali2025",
        equation="fixed points of the modes",
        origin="2^D is refuted here at finite N",
        statement=r"\#\{\text{fixed points}\} = 2^D",
        observable="subsets of modes of which a descent on these alone ends with all learned",
        limit="none",
        hypotheses=("shared basis",),
        measure=_counted,
        predict=_numbers,
        judge=_same_numbers,
        corrected=(UNLESS_OFF,),
        expected_level="refuted",
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.index",
        title="An off mode of a fixed point grows exactly where its threshold is above that of the learned ones",
        paper="mainali2025",
        beyond_paper=True,
        equation="stability of the fixed points",
        origin="derived here, for all entries of p and q",
        statement=r"\mathrm{index}(A) = \#\{\alpha \notin A:\ \kappa_\alpha > Z_A / N\}",
        observable="negative eigenvalues of the Hessian over all p and q, at 31 fixed points of two tasks",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_negative_eigenvalues,
        predict=_indices,
        judge=_same_indices,
        controls=(ONE_EACH, ALL_OFF),
        assumes=LOSS,
        tier="fast",
    ),
)
