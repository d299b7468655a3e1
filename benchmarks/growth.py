"""How costs grow: fitted exponents beside those expected when the dominant product is all that counts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from attndyn import Merged, Separate
from attndyn.simulate import (
    initial_weights,
    prompts_from_tokens,
    sample,
    statistics,
    train,
    train_many,
)

from .problems import MERGED, SEPARATE
from .steps import task_of
from .timing import Times, alternating

SWEEPS: dict[str, tuple[Sequence[int], float, str]] = {
    "step on tokens, P": ((2_000, 8_000, 32_000), 1, "every prompt once"),
    "step on tokens, N": ((31, 63, 127), 1, "every token once"),
    "step on tokens, H": ((4, 8, 16, 32), 1, "every head once"),
    "step on tokens, R": (
        (2, 4, 8),
        0,
        "heads are H (D+1) × D matrices, whatever their rank",
    ),
    "step on statistics, P": ((2_000, 8_000, 32_000), 0, "S has one size"),
    "step on statistics, D": (
        (8, 10, 12, 14),
        6,
        "S m with K = D (D+1)(D+2)/2 features",
    ),
    "step on statistics, H": (
        (4, 8, 16, 32),
        0,
        "S m is all that counts, until H is about D³",
    ),
    "step on statistics, seeds": ((16, 32, 64, 128), 1, "one column a start"),
    "statistics, P": ((4_096, 16_384, 65_536), 1, "every prompt once"),
    "statistics, N": (
        (63, 127, 255, 511),
        1,
        "X Xᵀ, once it outweighs the K² products of features",
    ),
    "statistics, D": ((6, 8, 10, 12), 6, "K² products of features"),
}
"""What grows → its values, the expected exponent, and why."""


def growth() -> Times:
    """Seconds of every case, under "what: value"."""
    measured: Times = {}
    for title, (values, _, _) in SWEEPS.items():
        what, letter = title.split(", ")
        make = {
            "step on tokens": on_tokens,
            "step on statistics": on_statistics,
            "statistics": accumulated,
        }[what]
        times = alternating(
            {f"{title}: {value}": make(letter, value) for value in values}
        )
        measured |= times
    return measured


def on_tokens(letter: str, value: int) -> tuple[int, Callable[[], object]]:
    """Steps on tokens with one size changed."""
    names = {"P": "sequences", "N": "context_length", "H": "heads", "R": "rank"}
    base = (
        replace(SEPARATE, sequences=2_000, dimension=8)
        if letter == "R"
        else replace(MERGED, sequences=2_000)
    )
    problem = replace(base, **{names[letter]: value})
    data, start = prompts_from_tokens(problem.tokens), problem.start
    return 4, lambda: train(problem.model, data, start, learning_rate=1e-3, steps=4)


def on_statistics(letter: str, value: int) -> tuple[int, Callable[[], object]]:
    """Steps on statistics with one size changed."""
    sizes: dict[str, Any] = {"P": 2_000, "D": 8, "H": 8, "seeds": 1} | {letter: value}
    task, model = task_of(sizes["D"]), Separate(sizes["H"])
    stats = statistics(sample(task, sizes["P"]), model)
    starts = [
        initial_weights(model, task, 0.1, seed=seed, scheme="gaussian")
        for seed in range(sizes["seeds"])
    ]
    count = {"D": 2_000, "seeds": 200}.get(letter, 5_000)
    if letter == "seeds":
        return count, lambda: train_many(
            model, stats, starts, learning_rate=1e-3, steps=count, record=count
        )
    return count, lambda: train(
        model, stats, starts[0], learning_rate=1e-3, steps=count, record=[0]
    )


def accumulated(letter: str, value: int) -> tuple[int, Callable[[], object]]:
    """Statistics of prompts in memory with one size changed."""
    sizes = {"P": 4_096, "N": 31, "D": 4} | {letter: value}
    data = prompts_from_tokens(
        sample(task_of(sizes["D"], sizes["N"]), sizes["P"]).tokens
    )
    return 1, lambda: statistics(data, Merged(1))


GROUPS: dict[str, Callable[[], Times]] = {"growth": growth}
