"""The exact loss of softmax heads by quadrature, beside averages over sampled prompts at equal time."""

from collections.abc import Callable

import numpy as np

from attndyn import Task
from attndyn.theory.softmax_attention import exact_loss

from .timing import Times, alternating

D, N, NOISE = 5, 40, 0.1
OMEGA, MU = np.array([0.3, -0.2]), np.array([1.2, -1.5])
PROMPTS = 10_000
"""Prompts of one average: enough that drawing them outweighs the calls."""
ROUNDS = 60
"""More than usual: the calls are short, and other work shares the machine."""


def task_of(context_length: int) -> Task:
    """White x, labels of variance 1 without their noise."""
    Ω = np.eye(D) / D
    return Task(
        [1] * D,
        teacher_covariance=Ω,
        noise_variance=NOISE,
        context_length=context_length,
    )


TASK = task_of(N)

LOSS, GRADIENT, QUERY_TOKEN = "loss", "loss and gradient", "loss, query's token a key"
SHORT, LONG = "loss, N = 5", "loss, N = 10,000"
SAMPLED = f"average over {PROMPTS:,} prompts"
ERROR = {LOSS: "error", SAMPLED: "standard error"}
"""Case → under which name its error is kept, in place of seconds."""


def softmax_losses() -> Times:
    """Seconds of a loss and of an average over prompts, and the relative error of each."""
    generator = np.random.default_rng(0)
    cases: dict[str, tuple[int, Callable[[], object]]] = {
        LOSS: (1, lambda: exact_loss(TASK, OMEGA, MU)),
        GRADIENT: (1, lambda: exact_loss(TASK, OMEGA, MU, gradient=True)),
        QUERY_TOKEN: (1, lambda: exact_loss(TASK, OMEGA, MU, query_token=True)),
        SAMPLED: (1, lambda: squared_errors(generator, PROMPTS).mean()),
    }
    for name, length in ((SHORT, 5), (LONG, 10_000)):
        cases[name] = 1, _loss_at(length)
    measured = alternating(cases, ROUNDS)

    exact = exact_loss(TASK, OMEGA, MU)
    # One average of a million, so that its own scatter is known to a per cent.
    errors = np.concatenate([squared_errors(generator, PROMPTS) for _ in range(100)])
    standard_error = float(errors.std() / np.sqrt(PROMPTS))
    assert abs(errors.mean() - float(exact)) < standard_error, "another loss"
    for name, error in ((LOSS, float(exact.error)), (SAMPLED, standard_error)):
        measured[ERROR[name]] = {"cold": 0.0, "seconds": [error / float(exact)]}
    return measured


def _loss_at(context_length: int) -> Callable[[], object]:
    """The exact loss of the same heads at another context length."""
    task = task_of(context_length)
    return lambda: exact_loss(task, OMEGA, MU)


def squared_errors(generator: np.random.Generator, prompts: int) -> np.ndarray:
    """(y_q − ŷ_q)² (P,) on fresh prompts, in plain NumPy."""
    x = generator.standard_normal((prompts, N + 1, D))
    w = generator.standard_normal((prompts, D)) / np.sqrt(D)
    noise = np.sqrt(NOISE) * generator.standard_normal((prompts, N + 1))
    y = np.einsum("pnd,pd->pn", x, w) + noise
    products = np.einsum("pnd,pd->pn", x[:, :-1], x[:, -1])  # x_nᵀx_q
    prediction = np.zeros(prompts)
    for ω, μ in zip(OMEGA, MU, strict=True):
        scores = ω * products
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        attended = (weights * y[:, :-1]).sum(axis=1) / weights.sum(axis=1)
        prediction += μ * attended
    return (y[:, -1] - prediction) ** 2


def prompts_at_equal_time(times: Times) -> float:
    """How many prompts are drawn and averaged in the time of one exact loss."""
    from .timing import ratio

    return PROMPTS * ratio(times, LOSS, SAMPLED)


def ratio_of_errors(times: Times) -> float:
    """The standard error of that many prompts over the error of the exact loss."""
    (error,) = times[ERROR[LOSS]]["seconds"]
    (standard_error,) = times[ERROR[SAMPLED]]["seconds"]
    at_equal_time = standard_error * (PROMPTS / prompts_at_equal_time(times)) ** 0.5
    return float(at_equal_time / error)


GROUPS = {"softmax_losses": softmax_losses}
