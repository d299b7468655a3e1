"""
From remembering tasks to learning in context
=============================================

With fewer training tasks than dimensions the read-out knows its own tasks and fails on new ones;
with a few times more the two errors meet. Points are fits on drawn prompts of dimension 24, on new
tasks and on the training tasks. The dashed curves are the closed form for large dimension.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Task
from attndyn.compare import fit_errors
from attndyn.teachers import Sphere
from attndyn.theory.asymptotics import errors

D, alpha, tau, noise = 24, 10, 10, 0.01
law = Task(
    [1 / D] * D, teachers=Sphere(D), context_length=alpha * D, noise_variance=noise
)

# %%
# Two data sets for each number k of training tasks, with ten prompts for each of the D²
# coefficients.

counts = np.array([3, 6, 12, 18, 24, 36, 60, 120])
fits = [fit_errors(law, law, [tau * D**2], tasks=int(k), repeats=2) for k in counts]
new = np.array([fit.icl.mean() for fit in fits])
own = np.array([fit.idg.mean() for fit in fits])

fig, ax = plt.subplots()
kappa = np.geomspace(0.1, 6, 200)
limit = errors(tau=tau, alpha=alpha, kappa=kappa, noise=noise)
ax.plot(counts / D, new, "o", label="new tasks")
ax.plot(counts / D, own, "o", label="training tasks")
ax.plot(kappa, limit.icl, "k--", linewidth=1.6, label="closed form")
ax.plot(kappa, limit.idg, "k--", linewidth=1.6)
ax.set(xscale="log", xlabel="training tasks / dimension", ylabel="error", ylim=(0, 1))
ax.legend()

# %%
# The transition is where there is one task for each dimension.

predicted = errors(tau=tau, alpha=alpha, kappa=counts / D, noise=noise)
print("error on new tasks, fits:   ", new.round(3))
print("error on new tasks, formula:", predicted.icl.round(3))
print(
    f"largest relative difference on new tasks: {np.max(np.abs(new / predicted.icl - 1)):.3f}"
)

# %%
# Try longer contexts next: the gap between the two errors tends to a corner at one task for each
# dimension. :doc:`/asymptotics` goes through an example in section 8. The functions are
# :func:`attndyn.theory.asymptotics.errors` and :func:`attndyn.compare.fit_errors`.
