"""
Modes below a threshold are not worth learning
==============================================

One layer with several outputs learns each mode the less the smaller its variance is, and from some
variance on not at all. Points are the ends of gradient descent, one run for each context length.
The dashed curve is a soft threshold in closed form. The shorter the context is, the more a small
mode would cost in noise of the large ones.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Merged, Task
from attndyn.compare import population_statistics
from attndyn.simulate import initial_weights, train
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import minimum

# %%
# Six directions of the input, each with an output of its own: a mode is a direction and its output.

variances = np.geomspace(1, 0.08, 6)
model = Merged(heads=1, outputs=6)


def task_of(length):
    return Task(
        variances, teachers=Gaussian.shared_basis([1] * 6), context_length=length
    )


# %%
# The runs start from small random weights and take 6,000 steps on unlimited prompts. Entry (k, k)
# of the map is what output k takes from direction k; 1 over the variance would be the whole of it.

fig, ax = plt.subplots()
differences = []
for length in [2, 12, 48]:
    task = task_of(length)
    start = initial_weights(model, task, scale=0.1, seed=0, scheme="restricted")
    run = train(
        model, population_statistics(task, model), start, learning_rate=0.3, steps=6_000
    )
    learned = variances * np.einsum("kkkk->k", run.effective_map(model)[-1])
    predicted = variances * minimum(task).coefficients
    ax.plot(variances, learned, "o", label=f"{length} pairs")
    ax.plot(variances, predicted, "k--", linewidth=1.6)
    differences.append(np.max(np.abs(learned - predicted)))
ax.plot([], [], "k--", linewidth=1.6, label="soft threshold")
ax.set(
    xscale="log",
    xlabel="variance of the mode",
    ylabel="share of the mode that is learned",
)
ax.legend()

print(f"largest difference of run and theory: {max(differences):.1e}")

# %%
# A mode just above the threshold is learned slowly: its difference is that of a run that has not
# ended. Try more steps next, or variances of the teachers. Section 3 of :doc:`/linear-transformer`
# has the formula. The functions are :func:`attndyn.theory.linear_transformer.minimum` and
# :func:`attndyn.compare.population_statistics`.
