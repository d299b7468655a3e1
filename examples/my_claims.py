"""Claims of your own: check them with `attndyn verify my_claims.py`, or run this file."""

import numpy as np

from attndyn import Merged, Task
from attndyn.compare import (
    claim,
    converges_at_order,
    effective_map,
    equal_within,
    population_statistics,
    verify,
)
from attndyn.simulate import flow, initial_weights

MODEL = Merged(heads=2)
LENGTHS = (20, 40, 80, 160)


def learned(context, context_length):
    """Diagonal of the map that gradient flow ends on, for Λ = 1 in three dimensions."""
    task = Task(eigenvalues=[1, 1, 1], context_length=context_length)
    start = initial_weights(
        MODEL, task, scale=0.3, seed=context.seeds(1)[0], scheme="restricted"
    )
    run = flow(MODEL, population_statistics(task, MODEL), start, flow_time=[0, 40])
    return np.diag(effective_map(MODEL, run.final))


@claim(
    "mine.white",
    measure=lambda context: [learned(context, 5)],
    judge=equal_within(1e-6),
    controls=("N / (N + D)",),
)
def white(context, variant):
    """White inputs are learned with the coefficient N / (N + D + 1)."""
    return [np.full(3, 5 / (5 + 3 + (variant != "N / (N + D)")))]


@claim(
    "mine.long_contexts",
    measure=lambda context: [learned(context, length) for length in LENGTHS],
    judge=converges_at_order([1 / length for length in LENGTHS], order=1, name="1/N"),
    controls=("half of it",),
    limit="N → ∞, error O(1/N)",
)
def identity(context, variant):
    """With a long context the coefficients tend to one."""
    return [np.full(3, 0.5 if variant else 1.0) for _ in LENGTHS]


if __name__ == "__main__":
    for verdict in verify(["mine"]).verdicts:
        print(
            f"{verdict.id}: {verdict.level}, {verdict.observed}, rejects {', '.join(verdict.rejected)}"
        )
