"""
Teachers that vary along other directions than the inputs
=========================================================

Turning the directions of the teachers against those of the inputs changes where a staircase ends
and how long its steps take. The covariances Λ of the inputs and Ω of the teachers have the same
eigenvalues in all three runs (solid); only the angle between their axes differs. At 45° they do not
commute, and the theory (dashed) holds there as well.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import population, time_course

N = 30


def turned(degrees):
    """Inputs of variances 1 and 0.6; teachers of variances 0.7 and 1.6, turned by an angle."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    axes = np.array([[c, -s], [s, c]])
    teachers = axes @ np.diag([0.7, 1.6]) @ axes.T
    return Task([1, 0.6], teacher_covariance=teachers, context_length=N)


# %%
# The heights of the plateaus follow from the eigenvalues μ of ΩΛ alone: learning a direction lowers
# the loss by the gain μ² / ((1 + 1/N) μ + tr(ΩΛ)/N). The times are those of the flow of all heads.

model = Separate(heads=3)
fig, ax = plt.subplots()
ends = []
for degrees in [0, 45, 90]:
    task = turned(degrees)
    start = initial_weights(model, task, scale=0.1, seed=1)
    data = statistics(sample(task, sequences=40_000, seed=0), model)
    run = train(model, data, start, learning_rate=0.05, steps=1_200)
    curve = time_course(task, model, run.flow_time, start)
    run.plot(ax, x="flow_time", label=f"{degrees}°")
    curve.plot(
        ax, color="black", linewidth=1.6, label="theory" if degrees == 90 else ""
    )

    μ = np.linalg.eigvals(task.teacher_covariance @ task.covariance)
    gains = μ**2 / ((1 + 1 / N) * μ + μ.sum() / N)
    ends.append(
        [run.loss[-1], μ.sum() - gains.sum(), population(task, model).minimum_loss]
    )
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="loss", ylim=(0, None))
ax.legend(title="teachers turned by")

# %%
# The last losses of the runs, those of the formula, and those of the package, which does not use
# it.

for run_end, formula, package in ends:
    print(f"run {run_end:.4f}, formula {formula:.6f}, package {package:.6f}")
print(
    f"largest difference of run and formula: {max(abs(e[0] - e[1]) for e in ends):.4f}"
)

# %%
# Try teachers of variances 1 and 4.5 at 0° next: the first direction that is learned is then not
# the one with the larger gain. Sections 4 and 8 of :doc:`/theory` say why. The functions are
# :func:`attndyn.theory.population` and :func:`attndyn.theory.time_course`.
