"""
Adam takes another path to the same minimum
===========================================

Adam comes down without a stop where gradient descent pauses on four plateaus, and both end at the
minimum of the theory. The two runs (solid) start from the same weights and see the same prompts.
The dashed curve is the staircase that these weights predict for gradient flow; of Adam the theory
knows only the fixed points.
"""

import matplotlib.pyplot as plt

from attndyn import Separate, Task
from attndyn.compare import match_plateaus
from attndyn.simulate import Adam, initial_weights, sample, statistics, train
from attndyn.theory import fixed_points, population, time_course

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
model = Separate(heads=5)
start = initial_weights(model, task, scale=0.15, seed=1)
data = statistics(sample(task, sequences=80_000, seed=0), model)

# %%
# An optimizer other than gradient descent has steps and no flow time, so that steps are the common
# axis.

descent = train(model, data, start, learning_rate=0.2, steps=7_000)
adam = train(model, data, start, optimizer=Adam(0.003), steps=7_000)
curve = time_course(task, model, descent.flow_time, start)

fig, ax = plt.subplots()
descent.plot(ax, x="steps", label="gradient descent")
adam.plot(ax, x="steps", label="Adam")
ax.plot(descent.steps, curve.loss, "k--", linewidth=1.6, label="theory of the flow")
ax.set(xscale="log", xlim=(10, None), ylim=(0, 1.1))
ax.legend(loc="lower left")

# %%
# `match_plateaus` finds the plateaus of a run and names the fixed point of each.

points = fixed_points(task, model)
print(
    "gradient descent visits",
    [match.subset for match in match_plateaus(points, descent)],
)
print(
    "Adam visits            ", [match.subset for match in match_plateaus(points, adam)]
)
least = population(task, model).minimum_loss
print(f"last loss of Adam above the predicted minimum: {adam.loss[-1] - least:.4f}")

# %%
# Try other rates of Adam next, or momentum, which follows the flow with its time scaled by 1/(1 −
# momentum): :doc:`/training` has all optimizers. The functions are :func:`attndyn.simulate.train`,
# :func:`attndyn.compare.match_plateaus` and :func:`attndyn.theory.fixed_points`.
