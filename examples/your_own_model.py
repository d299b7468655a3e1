"""Train attention of your own making on tokens and on statistics, and compare it with a formula of your own.

The query of every head is its key. From balanced heads, |k|² = 2v², each direction then follows the scalar equation
of a rank-one head with α = 2b and γ = 2/m, and M_dd = 2v³.
"""

import numpy as np

from attndyn import Task
from attndyn.simulate import sample, statistics, train
from attndyn.theory import population
from attndyn.theory.linear_attention import rank_one_amplitude


class Tied:
    """Rank-one heads whose query is their key: weights value and key, (H, D+1) each."""

    divisor = "none"

    def __init__(self, heads):
        self.head_count = heads

    def shapes(self, dimension):
        return {
            "value": (self.head_count, dimension + 1),
            "key": (self.head_count, dimension + 1),
        }

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]


task = Task(eigenvalues=[2, 1], trace=1.0, context_length=20)
model = Tied(heads=2)
v0 = np.array([0.1, 0.2])
start = {
    "value": v0[:, None] * [0, 0, 1],
    "key": np.sqrt(2) * np.diag(v0) @ np.eye(2, 3),
}

few = sample(task, sequences=200)
on_tokens = train(model, few, start, learning_rate=0.01, steps=200)
on_statistics = train(
    model, statistics(few, model), start, learning_rate=0.01, steps=200
)
deviation = np.max(np.abs(on_tokens.loss / on_statistics.loss - 1))
print(f"tokens against statistics: {deviation:.1e}")

loss = population(task, model)
for sequences in (1_000, 16_000):
    many = statistics(sample(task, sequences), model)
    run = train(model, many, start, learning_rate=0.005, steps=1_000)
    v = rank_one_amplitude(
        run.flow_time[:, None], v0, 2 * loss.b, 2 / loss.coefficients
    )
    predicted = loss.loss(2 * v[:, None, :] ** 3 * np.eye(2))
    gap = np.max(np.abs(predicted - run.loss))
    print(f"formula against run, P = {sequences:6d}: {gap:.4f}")
