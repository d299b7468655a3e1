"""
The theory over a run of your own
=================================

A training loop that knows nothing of this package follows the dashed curve, which is computed from
its task and its first weights. The loop is plain NumPy with fresh prompts in every step, and its
loss has a factor ½, as many have. Its log and its first weights are all that the theory gets.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.compare import overlay
from attndyn.simulate import external_run
from attndyn.theory import time_course

# %%
# **Your script**: linear attention with three heads on prompts of ten pairs (x, y), where x has two
# entries.

rng = np.random.default_rng(29)
D, N, P, rate = 2, 10, 1_000, 0.2
value = 0.1 * rng.normal(size=3)
key, query = 0.2 * rng.normal(size=(2, 3, D))
first = value.copy(), key.copy(), query.copy()

log = []
for step in range(1_000):
    x = rng.normal(size=(P, N + 1, D)) * [0.8, 0.6]
    y = np.einsum("pnd,pd->pn", x, rng.normal(size=(P, D)))
    context, asked = np.einsum("pn,pnd->pd", y[:, :N], x[:, :N]) / N, x[:, N]
    k, q = context @ key.T, asked @ query.T
    error = (k * q) @ value - y[:, N]
    log.append({"step": step, "loss": 0.5 * np.mean(error**2)})
    slope = error[:, None] / P
    step_value = (slope * k * q).sum(axis=0)
    step_key = (slope * q * value).T @ context
    step_query = (slope * k * value).T @ asked
    value, key, query = (
        value - rate * step_value,
        key - rate * step_key,
        query - rate * step_query,
    )

# %%
# **The comparison.** In the model of the package a token is (x, y): the value of a head meets the
# label alone, its key and query meet x alone, and the other entries are zero.

task, model = Task([0.64, 0.36], context_length=N), Separate(heads=3)
start = {
    "value": np.pad(first[0][:, None], [(0, 0), (D, 0)]),
    "key": np.pad(first[1][:, None], [(0, 0), (0, 0), (0, 1)]),
    "query": np.pad(first[2][:, None], [(0, 0), (0, 0), (0, 1)]),
}
run = external_run(log, learning_rate=rate, loss_scale=0.5)
curve = time_course(task, model, run.flow_time, start)

fig, ax = plt.subplots()
run.plot(ax, x="flow_time", label="your log", linewidth=1.2)
curve.plot(ax, color="black", linewidth=1.8, label="theory, nothing fitted")
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="loss", ylim=(0, None))
ax.legend()

# %%
# Single batches of 1,000 prompts scatter by some percent. The mean over the last 300 steps does
# not.

print(overlay(curve, run))
ratio = run.loss[-300:].mean() / curve.loss[-300:].mean()
print(f"relative difference of the mean loss, last 300 steps: {abs(ratio - 1):.4f}")

# %%
# Try your own log next: a CSV file of steps and losses is enough, and :doc:`/compare-your-own-run`
# says what to do about weights, other optimizers and other conventions. The functions are
# :func:`attndyn.simulate.external_run` and :func:`attndyn.compare.overlay`.
