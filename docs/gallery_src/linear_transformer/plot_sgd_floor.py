"""
Online SGD stays above the minimum by a known amount
====================================================

Started exactly at the minimum, SGD on fresh prompts climbs at once to a floor above it, the higher
the larger its steps are, and stays there. Solid curves are means over 50 runs; they jump, since
prompts have heavy tails. The dashed lines are the stationary excess that the theory computes from
the noise of the gradients.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Task
from attndyn.simulate import sgd_chains
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import layer_loss, minimum, sgd_floor

# %%
# One layer with two modes, prompts of eight pairs, 64 fresh prompts in every step.

task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=8)
steps = np.arange(0, 401, 5)

# %%
# `sgd_chains` takes the steps of many runs at once. `layer_loss` is the exact loss of their
# weights, so that the curves show the noise of the weights and not that of a batch.

fig, ax = plt.subplots()
for number, rate in enumerate([0.02, 0.04, 0.08]):
    floor = sgd_floor(task, learning_rate=rate, batch=64)
    p, q = np.diag(floor.p), np.diag(floor.q)
    runs = sgd_chains(
        task, p, q, steps, learning_rate=rate, batch=64, chains=50, seed=number
    )
    excess = layer_loss(task, runs.p, runs.q) - minimum(task).loss  # (runs, steps)
    ax.plot(steps, excess.mean(axis=0), label=f"learning rate {rate}", linewidth=1.6)
    ax.axhline(floor.excess, color="k", linestyle="--", linewidth=1.6)
    late = excess[:, steps >= 100].mean(axis=1)
    error = late.std(ddof=1) / np.sqrt(len(late))
    print(f"rate {rate}: {late.mean():.5f} ± {error:.5f}, predicted {floor.excess:.5f}")
ax.plot([], [], "k--", linewidth=1.6, label="theory")
ax.set(xlabel="steps", ylabel="loss above the minimum", ylim=(0, 0.055))
ax.legend(ncols=2)
print(
    f"relative difference at the largest rate: {abs(late.mean() / floor.excess - 1):.3f}"
)

# %%
# Try larger batches next: the floor falls as 1/batch. Section 10 of :doc:`/linear-transformer`
# derives it. The functions are :func:`attndyn.theory.linear_transformer.sgd_floor` and
# :func:`attndyn.simulate.sgd_chains`.
