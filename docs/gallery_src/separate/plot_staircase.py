"""
A staircase from random weights
===============================

The loss of separate attention falls in steps, and on every plateau the model has learned a named
set of directions. Gradient descent (solid) starts from small random weights. The dashed curve
follows from these weights alone: the height of each plateau, and the time at which it is left.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.compare import overlay
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import staircase, time_course

# %%
# Four directions with variances 4 : 3 : 2 : 1, prompts of 31 pairs (x, y), five heads with a key
# and a query of rank one.

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
model = Separate(heads=5, rank=1)
start = initial_weights(model, task, scale=0.15, seed=1)

# %%
# The theory reads the first weights and says what will happen. The run trains on 80,000 prompts.

steps = staircase(task, model, start)
data = statistics(sample(task, sequences=80_000, seed=0), model)
run = train(model, data, start, learning_rate=0.2, steps=7_000)
curve = time_course(task, model, run.flow_time, start)

# %%
# The directions are numbered by what learning them is worth: {1, 2} is the plateau on which the
# first two are learned.

fig, ax = plt.subplots()
run.plot(ax, x="flow_time", label="gradient descent")
curve.plot(ax, color="black", linewidth=1.6, label="theory, nothing fitted")
for loss, learned in zip(steps.plateaus, steps.subsets, strict=True):
    name = "{" + ", ".join(map(str, learned)) + "}" if learned else "nothing"
    ax.axhline(loss, color="0.85", linewidth=1, zorder=0)
    ax.text(1.01, loss, name, transform=ax.get_yaxis_transform(), va="center")
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="loss", ylim=(0, 1.1))
ax.legend()

# %%
# The last head to grow is the one that 80,000 prompts disturb most: on infinitely many prompts all
# times agree to half a percent.

both = overlay(curve, run)
predicted, observed = both.exit_times(steps.plateaus)
for number, (theory, descent) in enumerate(zip(predicted, observed, strict=True)):
    print(f"plateau {number} is left at {descent:6.1f}, predicted {theory:6.1f}")
heights = both.plateau_heights(steps.plateaus)
print(f"largest difference of heights: {np.max(np.abs(heights - steps.plateaus)):.4f}")

# %%
# Try half the scale next: all waiting times nearly double. :doc:`/one-staircase` tells where the
# heights and the times come from. The functions are :func:`attndyn.theory.staircase` and
# :func:`attndyn.theory.time_course`.
