"""
Weight decay forgets the weakest direction first
================================================

Under growing weight decay a direction is learned less and less, and then suddenly not at all, the
weakest one first. Each point is the end of a run of gradient descent. The dashed curves are the
roots of one polynomial for each direction, and they jump to zero where no head can hold the
direction any longer.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.compare import effective_map, population_statistics
from attndyn.simulate import GradientDescent, initial_weights, train
from attndyn.theory import population
from attndyn.theory.linear_attention import head_roots, largest_decay

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
model = Separate(heads=4)
loss = population(task, model)

# %%
# A head on direction d comes to rest where b v − a λ v⁴ is half the decay. The larger root is
# stable, and m = v³ is what the map has learned of the direction.

γ = 1 / loss.coefficients
decays = np.geomspace(0.004, 0.25, 400)
stable = head_roots(loss.b, γ, decays[:, None]).stable  # (decays, directions)
predicted = np.nan_to_num(stable) ** 3 / loss.coefficients

# %%
# The runs start from heads that are large enough to stay, and take 1,500 steps on unlimited
# prompts.

start = initial_weights(model, task, scale=np.full(4, 1.4), scheme="aligned")
data = population_statistics(task, model)
few = decays[20::40]
learned = []
for decay in few:
    descent = GradientDescent(0.4, weight_decay=decay)
    run = train(model, data, start, optimizer=descent, steps=1_500)
    learned.append(np.diag(effective_map(model, run.final)) / loss.coefficients)

fig, ax = plt.subplots()
points = ax.plot(few, learned, "o")
for colour, curve in enumerate(predicted.T):
    ax.plot(decays, curve, "--", color=f"C{colour}", linewidth=1.8)
ax.set(
    xscale="log", xlabel="weight decay", ylabel="share learned, of that without decay"
)
ax.legend(points, [f"direction {d}" for d in (1, 2, 3, 4)])

# %%
# The theory also says how much decay each direction bears.

print("largest decay of each direction:", largest_decay(loss.b, γ).round(3))
print(
    f"largest difference of the shares: {np.max(np.abs(learned - predicted[20::40])):.1e}"
)

# %%
# Try smaller heads next: below the smaller root of the same polynomial they die under any decay.
# Section 15 of :doc:`/theory` derives both roots. The functions are
# :func:`attndyn.theory.linear_attention.head_roots` and
# :func:`attndyn.theory.linear_attention.largest_decay`.
