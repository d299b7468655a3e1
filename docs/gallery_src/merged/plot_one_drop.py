"""
One drop at three scales, with its closed form
==============================================

The loss of merged attention falls in a single drop, the later the smaller its first weights are,
and a formula says when. Gradient descent (solid) starts from random weights of three sizes. The
theory (dashed) takes one number from each start, the size of the mode that grows, and nothing is
fitted.
"""

import matplotlib.pyplot as plt

from attndyn import Merged, Task
from attndyn.compare import overlay
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import population, time_course

# %%
# All four directions of x have the same variance. A prompt has 31 pairs (x, y), and the run trains
# on 20,000 prompts. Their sufficient statistics give the same steps as the prompts themselves.

task = Task(eigenvalues=[1, 1, 1, 1], trace=1.0, context_length=31)
model = Merged(heads=8)
data = statistics(sample(task, sequences=20_000, seed=0), model)

# %%
# While the weights are small, one mode of each head grows and everything else stays. Two amplitudes
# are left, and their equations have a solution in closed form.

fig, ax = plt.subplots()
for scale in [1e-2, 1e-3, 1e-4]:
    start = initial_weights(model, task, scale=scale, seed=0)
    run = train(model, data, start, learning_rate=0.02, steps=2_500)
    curve = time_course(task, model, run.flow_time, start)
    run.plot(ax, x="flow_time", label=f"first weights {scale:g}")
    curve.plot(
        ax, color="black", linewidth=1.6, label="theory" if scale == 1e-4 else ""
    )
ax.set(ylabel="loss", xlabel="flow time, 2 × learning rate × steps", ylim=(0, 1.05))
ax.legend()

# %%
# Ten times smaller weights move the drop by the same amount of time: ln 10, divided by the rate of
# growth.

both = overlay(curve, run)
(predicted,), (observed,) = both.exit_times([1, population(task, model).minimum_loss])
print(
    f"half of the last drop: predicted at {predicted:.2f}, observed at {observed:.2f}"
)
print(f"relative difference: {abs(observed / predicted - 1):.4f}")

# %%
# Try unequal eigenvalues next: the curve is then a reduced equation instead of a closed form.
# :doc:`/one-drop` derives the formula step by step. The functions are
# :func:`attndyn.theory.time_course` and :func:`attndyn.compare.overlay`.
