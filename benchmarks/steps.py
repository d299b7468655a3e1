"""Steps on statistics and on moments, beside the products and copies that they cannot do without."""

import resource
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    from_moments,
    initial_weights,
    prompts_from_tokens,
    sample,
    statistics,
    train,
    train_many,
)
from attndyn.simulate.sufficient_statistics.kinds import feature_count
from attndyn.teachers import Gaussian

from .timing import PROCESSOR, Times, alternating

STARTS, WIDE = 64, 256
SHAPES = {
    "D = 4, H = 8, merged": (4, 8, None),
    "D = 4, H = 5, rank 1": (4, 5, 1),
    "D = 8, H = 9, merged": (8, 9, None),
}
SHAPES |= {f"D = 8, H = 9, rank {rank}": (8, 9, rank) for rank in (1, 2)}


def task_of(dimension: int, context_length: int = 31) -> Task:
    """Trace 1, λ_d ∝ D + 1 − d."""
    return Task(range(dimension, 0, -1), trace=1.0, context_length=context_length)


def model_of(heads: int, rank: int | None) -> Merged | Separate:
    """Merged if there is no rank."""
    return Merged(heads) if rank is None else Separate(heads, rank)


def aligned(matrix: NDArray[np.float64], order: str = "C") -> NDArray[np.float64]:
    """A copy that begins at a cache line, as the package's own does: the product gets the same chance."""
    room = np.zeros(matrix.size + 8)
    first = (-room.ctypes.data // 8) % 8
    copy = room[first : first + matrix.size].reshape(matrix.shape, order=order)
    copy[...] = matrix
    return copy


def full_block() -> Times:
    """A step on full statistics and one symmetric matrix-vector product of that size."""
    measured: Times = {}
    for title, (dimension, heads, rank) in SHAPES.items():
        task, model = task_of(dimension), model_of(heads, rank)
        stats, start = (
            statistics(sample(task, 1_000), model),
            initial_weights(model, task, 0.1, scheme="gaussian"),
        )
        S, m = (
            aligned(stats.S, "F"),
            aligned(np.random.default_rng(0).standard_normal(len(stats.b))),
        )
        y = aligned(np.zeros(len(m)))

        count = (
            20_000 if dimension == 4 else 2_000
        )  # longer than another process keeps the core

        def products(
            S: object = S, m: object = m, y: object = y, count: int = count
        ) -> None:
            for _ in range(count):
                blas.dsymv(1.0, S, m, 0.0, y, overwrite_y=1)

        step = _training(model, stats, start, count)
        times = alternating(
            {"step": (count, step), "product": (count, products)}, rounds=11
        )
        measured |= {f"{title}: {name}": timing for name, timing in times.items()}
    return measured


def many_starts() -> Times:
    """A step of 64 starts on one data set and the product with 64 columns."""
    measured: Times = {}
    for title, (dimension, heads, rank) in SHAPES.items():
        task, model = task_of(dimension), model_of(heads, rank)
        stats = statistics(sample(task, 1_000), model)
        starts = [
            initial_weights(model, task, 0.1, seed=seed, scheme="gaussian")
            for seed in range(STARTS)
        ]
        X = np.random.default_rng(0).standard_normal((len(stats.b), STARTS))
        Y, count = np.empty_like(X), 2_000 if dimension == 4 else 100

        def products(
            S: object = stats.S, X: object = X, Y: object = Y, count: int = count
        ) -> None:
            for _ in range(count):
                np.dot(S, X, out=Y)

        def step(
            model: object = model,
            stats: object = stats,
            starts: object = starts,
            count: int = count,
        ) -> None:
            train_many(
                model, stats, starts, learning_rate=1e-3, steps=count, record=count
            )

        times = alternating(
            {"step": (count, step), "product": (count, products)}, rounds=9
        )
        measured |= {f"{title}: {name}": timing for name, timing in times.items()}
    return measured


def population_steps() -> Times:
    """Steps on the moments of the restricted block at D = H = 256, and at D = 16 and 32."""
    measured: Times = {}
    for size, heads, kind in (
        (WIDE, WIDE, 1),
        (WIDE, WIDE, None),
        *((d, d, r) for d in (16, 32) for r in (1, None)),
    ):
        model, rng = model_of(heads, kind), np.random.default_rng(0)
        X = rng.standard_normal((size, size)) / np.sqrt(size)
        L = X @ X.T / size + np.eye(size) / size
        source = from_moments(1.0, 1.1 * L @ L + L / 31, L @ L, L, model, (31,))
        start = {
            name: 0.01 * rng.standard_normal(shape)
            for name, shape in model.shapes(size).items()
        }
        _restrict(start)
        count = 200 if size == WIDE else 2_000
        title = f"D = H = {size}, {'rank 1' if kind else 'merged'}"
        cases: dict[str, tuple[int, Callable[[], object]]] = {
            "step": (count, _training(model, source, start, count))
        }
        if kind is None and size == WIDE:
            weights, room = start["key_query"], np.empty_like(start["key_query"])
            cases["copy"] = (
                20,
                lambda weights=weights, room=room: [
                    np.copyto(room, weights) for _ in range(20)
                ],
            )
        measured |= {
            f"{title}: {name}": timing
            for name, timing in alternating(cases, rounds=9).items()
        }
    return measured


def _restrict(start: dict[str, NDArray[np.float64]]) -> None:
    """Zero blocks: value rows onto x, keys onto y."""
    start["value"][:, :-1] = 0
    if "key" in start:
        start["key"][..., -1] = 0
    else:
        start["key_query"][:, -1, :-1] = 0


def _training(
    model: object, source: object, start: object, count: int
) -> Callable[[], object]:
    return lambda: train(
        model, source, start, learning_rate=1e-3, steps=count, record=[0]
    )


def accumulation() -> Times:
    """Statistics of prompts in memory, and the matrix products of that size: general and symmetric."""
    measured: Times = {}
    for dimension, outputs, sequences in (
        (4, 1, 81_920),
        (8, 1, 16_384),
        (8, 8, 8_192),
    ):
        task, model = task_of(dimension), Merged(1, outputs=outputs)
        name = f"D = {dimension}"
        if outputs > 1:
            task = Task(
                task.eigenvalues,
                context_length=20,
                teachers=Gaussian.shared_basis(np.ones(dimension)),
            )
            name = f"D = K = {dimension}, N = 20"
        tokens = sample(task, sequences).tokens
        data = prompts_from_tokens(tokens, outputs=outputs)
        rows = feature_count(dimension, "full", outputs) + outputs
        F = np.random.default_rng(0).standard_normal((4_096, rows))
        G, blocks = F.copy(), sequences // 4_096

        def repeated(
            work: Callable[[], object], blocks: int = blocks
        ) -> Callable[[], object]:
            return lambda: [work() for _ in range(blocks)]

        cases = {
            "statistics": (1, lambda data=data, model=model: statistics(data, model)),
            "general product": (1, repeated(lambda F=F, G=G: F.T @ G)),
            "symmetric product": (1, repeated(lambda F=F: F.T @ F)),
        }
        title = f"{name}, P = {sequences:,}"
        measured |= {
            f"{title}: {case}": timing
            for case, timing in alternating(cases, rounds=7, clock=PROCESSOR).items()
        }
    return measured


def restricted() -> Times:
    """Statistics of the restricted block at D = 40, and the MB by which they make a process grow."""
    model, task = Merged(4), Task(1 / np.arange(1, 41), context_length=80)

    def work() -> None:
        statistics(sample(task, 20_000), model, block="restricted")

    statistics(sample(task, 50), model, block="restricted")  # loads and compiles
    before = _peak_memory()
    work()
    growth = _peak_memory() - before
    times = alternating({"statistics": (1, work)}, clock=PROCESSOR)
    return times | {"MB": {"cold": 0.0, "seconds": [growth]}}


def _peak_memory() -> float:
    """The most memory that this process has held, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


GROUPS: dict[str, Callable[[], Times]] = {
    "full_block": full_block,
    "many_starts": many_starts,
    "population_steps": population_steps,
    "accumulation": accumulation,
    "restricted": restricted,
}
