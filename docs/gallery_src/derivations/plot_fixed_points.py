"""
All places where gradient flow can rest
=======================================

Each of the 16 points is a fixed point of separate attention, named by the directions learned there,
and training climbs down one path among them. A grey line joins fixed points that differ by one
direction. Dashed is the path that the theory predicts from small weights, the largest gain first;
circles are the plateaus on which a run of gradient descent stopped.
"""

import matplotlib.pyplot as plt

from attndyn import Separate, Task
from attndyn.compare import match_plateaus
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import fixed_points, population

task = Task(eigenvalues=[5, 3, 2, 1], trace=1.0, context_length=31)
model = Separate(heads=5)
points = fixed_points(task, model)

# %%
# A run from small random weights, and the fixed points that it visits.

start = initial_weights(model, task, scale=0.15, seed=1)
data = statistics(sample(task, sequences=80_000, seed=0), model)
run = train(model, data, start, learning_rate=0.2, steps=7_000)
visits = match_plateaus(points, run)

# %%
# The number of learned directions across, the loss upwards.

fig, ax = plt.subplots()
for point in points:
    for d in set(range(1, 5)) - set(point.subset):
        after = points.of(*point.subset, d)
        ax.plot(
            [len(point.subset), len(after.subset)],
            [point.loss, after.loss],
            "0.85",
            linewidth=1,
        )
    colour = "C1" if point.hessian_index else "C2"
    ax.plot(len(point.subset), point.loss, "o", color=colour, zorder=3)
    name = "{" + ",".join(map(str, point.subset)) + "}"
    ax.annotate(
        name,
        (len(point.subset), point.loss),
        (8, 2),
        textcoords="offset points",
        fontsize=9,
    )

greedy = population(task, model).greedy_losses
ax.plot(range(5), greedy, "k--", linewidth=1.8, label="predicted path")
ax.plot(
    [len(visit.subset) for visit in visits],
    [visit.loss for visit in visits],
    "o",
    markersize=15,
    markerfacecolor="none",
    markeredgewidth=2.2,
    color="C0",
    label="plateaus of a run",
)
ax.plot([], [], "o", color="C1", label="saddle, index above 0")
ax.plot([], [], "o", color="C2", label="index 0")
ax.set(xlabel="directions learned", ylabel="loss", xticks=range(5), xlim=(-0.2, 4.9))
ax.legend()

# %%
# The index counts the directions in which the Hessian is negative. The saddles of the greedy path
# have none: flow leaves them only slowly, and they are what one sees as plateaus.

print(points)
print(
    f"largest map gap of the plateaus of the run: {max(visit.map_gap for visit in visits):.3f}"
)

# %%
# The map gap is the distance of the run's map from that of the fixed point, divided by the norm of
# the map at the minimum. Try equal eigenvalues next: the points of one column then belong to a
# continuum. :doc:`/theory` explains the index in section 4. The functions are
# :func:`attndyn.theory.fixed_points`, :func:`attndyn.theory.population` and
# :func:`attndyn.compare.match_plateaus`.
