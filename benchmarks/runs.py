"""Whole training runs: the package against frameworks, a peer's steps extrapolated from those that were timed."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from attndyn.simulate import prompts_from_tokens, statistics, train

from .problems import LOW_RANK, MERGED, SEPARATE, SOFTMAX, Problem
from .timing import ROUNDS, Times, alternating, seconds

Run = Callable[[int], list[float]]
Peer = Callable[[int], Run]
"""What makes a peer for so many threads."""

OURS, OURS_TOKENS = "attndyn, statistics", "attndyn, tokens"
TORCH = {
    f"PyTorch, {rows} {'rows' if rows == 'all' else 'row'}, {'compiled' if fused else 'eager'}, {precision}": {
        "rows": rows,
        "single": precision == "float32",
        "fused": fused,
    }
    for rows in ("all", "query")
    for fused in (False, True)
    for precision in ("float64", "float32")
}
"""Peers by name, and how they are made."""

JAX = {
    f"JAX jit + scan, query row, {precision}": precision == "float32"
    for precision in ("float64", "float32")
}


def linear(problem: Problem) -> Times:
    """Seconds of a whole run of everything, from the tokens in memory to the last step."""
    tokens, start = problem.tokens, problem.start
    ours = train(
        problem.model,
        prompts_from_tokens(tokens),
        start,
        learning_rate=problem.learning_rate,
        steps=4,
    ).loss
    options: dict[str, Any] = {"learning_rate": problem.learning_rate}

    def whole() -> object:
        return train(
            problem.model,
            statistics(prompts_from_tokens(tokens), problem.model),
            start,
            steps=problem.steps,
            **options,
        )

    def on_tokens(count: int) -> list[float]:
        return train(
            problem.model, prompts_from_tokens(tokens), start, steps=count, **options
        ).loss.tolist()

    peers: dict[str, Peer] = {
        OURS_TOKENS: lambda _: on_tokens,
        **_peers(problem, tokens, start),
    }
    measured: Times = {OURS: {"cold": seconds(whole), "seconds": []}}
    steps = max(1, 20 // ROUNDS)
    for name, make in peers.items():
        if "all rows" in name and problem is LOW_RANK:
            continue  # minutes each, and nothing that the other two problems do not show
        run, cold, threads = _fastest(name, make, ours)
        times = alternating(
            {name: (steps, partial(run, steps)), OURS: (1, whole)}, cold={name: cold}
        )
        whole_runs = [problem.steps * step for step in times[name]["seconds"]]
        measured[name] = {"cold": cold, "threads": threads, "seconds": whole_runs}
        measured[OURS]["seconds"] += times[OURS]["seconds"]
        del run
    return measured


def softmax(sequences: int) -> Times:
    """Seconds of a step on tokens of softmax attention on so many prompts, by problem and peer."""
    problems = {
        title: problem
        for title, problem in SOFTMAX.items()
        if problem.sequences == sequences
    }
    by_problem = {title: _softmax_steps(problem) for title, problem in problems.items()}
    return {
        f"{title}: {name}": peer
        for title, times in by_problem.items()
        for name, peer in times.items()
    }


def _softmax_steps(problem: Problem) -> Times:
    tokens, start, data = (
        problem.tokens,
        problem.start,
        prompts_from_tokens(problem.tokens),
    )
    options: dict[str, Any] = {"learning_rate": problem.learning_rate}
    ours = train(problem.model, data, start, steps=2, **options).loss
    count = max(4, 40_000 // problem.sequences)
    peers = {
        name: _fastest(name, make, ours)
        for name, make in _peers(problem, tokens, start).items()
        if "all rows" not in name
    }
    cold = {name: peer[1] for name, peer in peers.items()}
    cases: dict[str, tuple[int, Callable[[], object]]] = {
        name: (count, partial(peer[0], count)) for name, peer in peers.items()
    }
    cases[OURS_TOKENS] = (
        count,
        lambda: train(problem.model, data, start, steps=count, **options),
    )
    measured = alternating(cases, rounds=7, cold=cold)
    return {
        name: timing | {"threads": peers[name][2]} if name in peers else timing
        for name, timing in measured.items()
    }


def _peers(problem: Problem, tokens: Any, start: Any) -> dict[str, Peer]:
    from . import peers_jax, peers_torch  # the page is written without them

    def torch_peer(options: dict[str, Any]) -> Peer:
        return lambda threads: peers_torch.steps(
            problem, tokens, start, threads=threads, **options
        )

    def jax_peer(single: bool) -> Peer:
        return lambda _: peers_jax.steps(problem, tokens, start, single=single)

    peers = {name: torch_peer(options) for name, options in TORCH.items()}
    return peers | {name: jax_peer(single) for name, single in JAX.items()}


def _fastest(name: str, make: Peer, ours: Any) -> tuple[Run, float, int]:
    """The peer, seconds of its first call, and its threads: all cores, or one where that is faster.

    Threads that wait for each other lose more on a busy machine than they gain, in small steps ten times as much:
    so the slowest of three tries counts.
    """
    tried: dict[int, tuple[float, float]] = {}
    for threads in (os.cpu_count() or 1, 1):
        run = make(threads)
        cold = _checked(name, run, ours)
        tried[threads] = (max(seconds(partial(run, 2)) for _ in range(3)), cold)
    best = min(tried, key=lambda threads: tried[threads][0])
    return make(best), tried[best][1], best


def _checked(name: str, run: Run, ours: Any) -> float:
    """Seconds of the first two steps, which compile; a peer that computes another thing is no peer."""
    begin = time.perf_counter()
    losses = np.array(run(2))
    cold = time.perf_counter() - begin
    gap = float(np.max(np.abs(losses / ours[:2] - 1)))
    if gap > (1e-4 if "float32" in name else 1e-9):
        raise ValueError(
            f"{name} does not train the same thing: its losses are off by {gap:.1e}"
        )
    return cold


GROUPS: dict[str, Callable[[], Times]] = {
    "merged": lambda: linear(MERGED),
    "separate": lambda: linear(SEPARATE),
    "low_rank": lambda: linear(LOW_RANK),
    "softmax": lambda: softmax(5_000),
    "softmax_large": lambda: softmax(80_000),
}
