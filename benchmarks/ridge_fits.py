"""Ridge solutions at the size of a published figure, beside plain NumPy that draws every token.

d = 32, α = τ = 10, ρ = 0.01, λ = 1e-6, twelve numbers of tasks: one data set each, drawn, fitted and evaluated. The two
ways share nothing but the task: the other one draws tokens in pieces that fit in the cache, forms the features of all
sequences, and solves the normal equations. Each evaluates the risk exactly, from a formula of its own.
"""

import numpy as np

from attndyn import Task
from attndyn.simulate import exact_risk, ridge_fit, sample_summaries
from attndyn.teachers import Sphere

from .timing import PROCESSOR, Times, alternating, fastest, ratio

D, N, NOISE, RIDGE = 32, 320, 0.01, 1e-6
SEQUENCES = 10 * D**2
TASKS = (6, 12, 19, 25, 32, 38, 51, 64, 128, 256, 512, 1024)
REPEATS = 10
PIECE = 128
"""Sequences whose tokens are drawn at once: 10 MB, which was faster than more or fewer."""

OURS, PLAIN = "attndyn", "plain NumPy, every token"
DEVIATION = "rms z"
"""Under which name the deviation of the two means is kept, in place of seconds."""
AIM = 10.0
"""How many times as fast it should be, at least."""


def ridge_fits() -> Times:
    """Seconds of the twelve fits of one repeat in either way, and how far apart their errors are."""
    errors: dict[str, list[list[tuple[float, float]]]] = {OURS: [], PLAIN: []}

    def repeat(name: str) -> None:
        fit = {OURS: ours, PLAIN: plain}[name]
        seed = len(errors[name])
        errors[name].append([fit(tasks, seed) for tasks in TASKS])

    cases = {name: (1, lambda name=name: repeat(name)) for name in errors}
    # The first call is one of the repeats.
    measured = alternating(cases, REPEATS - 1, clock=PROCESSOR)
    deviation = rms_deviation(np.array(errors[OURS]), np.array(errors[PLAIN]))
    measured[DEVIATION] = {"cold": 0.0, "seconds": [deviation]}
    return measured


def rms_deviation(one: np.ndarray, other: np.ndarray) -> float:
    """The root mean square, over κ and both errors, of differences of means in their standard errors: about 1.1.

    Errors are (repeats, κ, 2). With ten repeats a difference has Student's law of 18 degrees of freedom.
    """
    variance = (one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / len(one)
    z = (one.mean(axis=0) - other.mean(axis=0)) / np.sqrt(variance)
    return float(np.sqrt(np.mean(z**2)))


def sequences_of(tasks: int) -> int:
    """n, the same number for each task."""
    return tasks * round(SEQUENCES / tasks)


def ours(tasks: int, seed: int) -> tuple[float, float]:
    """e_ICL and e_IDG of one data set, from drawn summaries."""
    pool = Sphere(D).pool(tasks, seed=seed)
    settings = {"context_length": N, "noise_variance": NOISE}
    training = Task([1 / D] * D, teachers=pool, **settings)
    fresh = Task([1 / D] * D, teachers=Sphere(D), **settings)
    data = sample_summaries(training, sequences_of(tasks), seed=seed, balanced=True)
    M = ridge_fit(data, ridge=RIDGE / D**3, label_row=True, label_weight=D**2)
    return exact_risk(fresh, M), exact_risk(training, M)


def plain(tasks: int, seed: int) -> tuple[float, float]:
    """The same of tokens, in plain NumPy and in the paper's units."""
    generator = np.random.default_rng([tasks, seed])
    w = generator.standard_normal((tasks, D))
    w *= np.sqrt(D) / np.linalg.norm(w, axis=1, keepdims=True)
    n = sequences_of(tasks)
    of_sequence = w[np.arange(n) % tasks]
    features, labels = np.empty((n, D * (D + 1))), np.empty(n)
    for first in range(0, n, PIECE):
        piece = slice(first, first + PIECE)
        features[piece], labels[piece] = plain_features(generator, of_sequence[piece])
    matrix = features.T @ features
    matrix[np.diag_indices(len(matrix))] += n * RIDGE / D
    solution = np.linalg.solve(matrix, features.T @ labels)
    Γ = solution.reshape(D, D + 1)
    return plain_risk(Γ, np.eye(D), np.zeros(D)), plain_risk(
        Γ, w.T @ w / tasks, w.mean(axis=0)
    )


def plain_features(
    generator: np.random.Generator, w: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x_q hᵀ (n, D (D+1)) and the labels (n,) of sequences with these teachers."""
    n = len(w)
    x = generator.standard_normal((n, N + 1, D))
    x /= np.sqrt(D)
    y = np.matmul(x, w[:, :, None])[..., 0]
    y += np.sqrt(NOISE) * generator.standard_normal((n, N + 1))
    h = np.empty((n, D + 1))
    h[:, :D] = D / N * np.matmul(y[:, None, :-1], x[:, :-1])[:, 0]
    h[:, D] = np.mean(y[:, :-1] ** 2, axis=1)
    features = x[:, -1, :, None] * h[:, None, :]
    return features.reshape(n, -1), y[:, -1]


def plain_risk(Γ: np.ndarray, ww: np.ndarray, mean: np.ndarray) -> float:
    """v − (2/d) tr ΓA + (1/d) tr ΓBΓᵀ on the sphere, from E wwᵀ and E w."""
    v = 1 + NOISE
    A = np.vstack([ww, v * mean])
    B = np.empty((D + 1, D + 1))
    B[:D, :D] = D / N * v * np.eye(D) + (1 + 1 / N) * ww
    B[:D, D] = B[D, :D] = (1 + 2 / N) * v * mean
    B[D, D] = (1 + 2 / N) * v**2
    return float(v - 2 / D * np.trace(Γ @ A) + np.sum((Γ @ B) * Γ) / D)


def gain(times: Times) -> float:
    """How many times as long plain NumPy takes, in medians."""
    return ratio(times, PLAIN, OURS)


def seconds_of_all(times: Times, name: str) -> float:
    """Least seconds of all repeats."""
    return REPEATS * fastest(times, name)


GROUPS = {"ridge_fits": ridge_fits}
