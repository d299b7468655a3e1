"""
Heads of higher rank skip the long waits
========================================

Heads of rank one wait before every step, heads of rank two before every second step, and heads of
rank four only once. A head that has learned one direction is large already, so that its other
directions grow quickly. Gradient descent is solid, and the theory from the same first weights is
dashed.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.compare import overlay
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import population, time_course

# %%
# The task and the prompts are the same for all: only the rank of key and query differs.

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
data = statistics(sample(task, sequences=40_000, seed=0), Separate(heads=4))
plateaus = population(task, Separate(heads=4)).greedy_losses

# %%
# `time_course` follows the flow of all heads from the first weights of each run.

fig, ax = plt.subplots()
errors = []
for rank in [1, 2, 4]:
    model = Separate(heads=4, rank=rank)
    start = initial_weights(model, task, scale=0.1, seed=11)
    run = train(model, data, start, learning_rate=0.2, steps=6_000)
    curve = time_course(task, model, run.flow_time, start)
    run.plot(ax, x="flow_time", label=f"rank {rank}")
    curve.plot(ax, color="black", linewidth=1.6, label="theory" if rank == 4 else "")
    predicted, observed = overlay(curve, run).exit_times(plateaus)
    errors.extend(abs(observed / predicted - 1))
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="loss", ylim=(0, 1.1))
ax.legend()

# %%
# The rank-one run is still waiting for its last direction at the end of the figure.

errors = np.array(errors)[np.isfinite(errors)]
print(
    f"{len(errors)} exits from plateaus, median relative difference: {np.median(errors):.4f}"
)

# %%
# Try smaller first weights next: the long waits grow as 1/scale, the short ones as ln(1/scale).
# Section 9 of :doc:`/theory` has the formulas. The functions are :func:`attndyn.theory.time_course`
# and :func:`attndyn.theory.population`.
