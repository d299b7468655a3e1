"""
In training, attention computes regression on one principal component after another
===================================================================================

On each plateau the outputs of the model are those of regression on the first k principal
components, with k = 0, 1, 2, 3 and 4 in turn. Solid curves show how far gradient descent is from
each of the five regressions on fresh prompts. The dashed ones are predicted from the first weights.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.simulate import initial_weights, predict, sample, statistics, train
from attndyn.theory import population, principal_component_regression, staircase

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=50)
model = Separate(heads=5)
start = initial_weights(model, task, scale=0.15, seed=1)
data = statistics(sample(task, sequences=40_000, seed=0), model)
stored = [*range(0, 2_000, 60), *range(2_000, 6_000, 200)]
run = train(model, data, start, learning_rate=0.2, steps=6_000, record=stored)

# %%
# Fresh prompts go through the stored weights and through the regression.

fresh = sample(task, sequences=10_000, split="test").tokens
x, y, query = fresh[:, :-1, :-1], fresh[:, :-1, -1], fresh[:, -1, :-1]
times = run.weight_flow_time
outputs = [predict(model, run.weights_at(step), fresh) for step in run.weight_steps]

# %%
# The theory needs no prompts: with the coefficients m of the map and 1/λ of the regression the mean
# square of the difference is a weighted sum over the directions.

loss = population(task, model)
m = staircase(task, model, start).coefficients(times)
fig, ax = plt.subplots()
nearest = []
for k in range(5):
    regression = principal_component_regression(
        x, y, query, range(1, k + 1), task.covariance
    )
    observed = np.mean((outputs - regression) ** 2, axis=1)
    goal = np.where(np.arange(4) < k, 1 / loss.lam, 0)
    ax.plot(times, observed, label=f"k = {k}")
    ax.plot(times, (m - goal) ** 2 @ (loss.a * loss.lam), "k--", linewidth=1.6)
    nearest.append(observed.min())
ax.plot([], [], "k--", linewidth=1.6, label="theory")
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="mean squared difference")
ax.set(ylim=(0, 1.5))
ax.legend(ncols=3, loc="upper right")

# %%
# Labels have variance 1. The differences that remain are those of a finite context: at N = 50 the
# coefficients of the map are smaller than 1/λ.

for k, distance in enumerate(nearest):
    print(
        f"least mean squared difference to regression on {k} components: {distance:.5f}"
    )

# %%
# Try the regression on the components of each context next, by leaving out the covariance: its
# difference is larger, by the noise of 50 pairs. Section 10 of :doc:`/theory` has the formulas. The
# functions are :func:`attndyn.theory.principal_component_regression`,
# :func:`attndyn.theory.staircase` and :func:`attndyn.simulate.predict`.
