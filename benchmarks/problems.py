"""The settings that are timed: those of the published runs, and softmax."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attndyn import Merged, Separate, Task
from attndyn.models.protocol import Weights
from attndyn.simulate import initial_weights, sample


@dataclass(frozen=True)
class Problem:
    """One training problem; `steps` is the length of the whole run that ratios speak of."""

    dimension: int
    heads: int
    rank: int | None
    sequences: int
    learning_rate: float
    steps: int
    softmax: bool = False
    context_length: int = 31

    @property
    def task(self) -> Task:
        """Trace 1, λ_d ∝ D + 1 − d."""
        return Task(
            range(self.dimension, 0, -1), trace=1.0, context_length=self.context_length
        )

    @property
    def model(self) -> Merged | Separate:
        """Without divisor, as published."""
        options = {"softmax": True} if self.softmax else {"divisor": "none"}
        return (
            Merged(self.heads, **options)
            if self.rank is None
            else Separate(self.heads, self.rank, **options)
        )

    @property
    def tokens(self) -> NDArray[np.float64]:
        """Prompts (P, N+1, D+1) in memory: drawing them is not timed."""
        return sample(self.task, self.sequences).tokens

    @property
    def start(self) -> Weights:
        """Weights outside the restricted block, so that nothing is zero by chance."""
        return initial_weights(self.model, self.task, 0.05, scheme="gaussian")


MERGED = Problem(4, 8, None, 5_000, 1e-3, 6_001)
SEPARATE = Problem(4, 5, 1, 80_000, 0.02, 10_001)
LOW_RANK = Problem(8, 9, 2, 80_000, 0.02, 20_001)
SOFTMAX = {
    "merged, P = 5,000": Problem(4, 8, None, 5_000, 1e-3, 6_001, softmax=True),
    "separate, P = 5,000": Problem(4, 5, 1, 5_000, 0.02, 10_001, softmax=True),
    "merged, P = 80,000": Problem(4, 8, None, 80_000, 1e-3, 6_001, softmax=True),
    "separate, P = 80,000": Problem(4, 5, 1, 80_000, 0.02, 10_001, softmax=True),
}
