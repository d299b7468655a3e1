"""
When to stop: learning curves of a read-out
===========================================

Trained on few prompts, the error on new tasks falls and rises again, and the best time to stop can
be computed. Solid curves are gradient flow on three drawn data sets of dimension 16, dashed ones
the theory for large dimension. Circles are where it says that one should stop.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Task
from attndyn.simulate import exact_risk, readout_flow, sample_summaries
from attndyn.teachers import Sphere
from attndyn.theory.asymptotics import early_stopping, learning_curve

D, alpha, kappa, noise = 16, 4, 0.5, 0.05
inputs = {
    "eigenvalues": [1 / D] * D,
    "context_length": alpha * D,
    "noise_variance": noise,
}
new = Task(teachers=Sphere(D), **inputs)
theta = np.geomspace(0.05, 300, 40)

# %%
# A data set has half as many tasks as dimensions, and 0.6, 1.25 or 4 prompts for each coefficient.
# `readout_flow` gives the maps at all times at once, `exact_risk` their errors without test
# prompts.


def errors_of_data(prompts, seed):
    training = Task(teachers=Sphere(D).pool(D // 2, seed=seed), **inputs)
    maps = readout_flow(sample_summaries(training, prompts, seed=seed), theta * D**3)
    return exact_risk(new, maps)


fig, ax = plt.subplots()
for tau in [0.6, 1.25, 4]:
    observed = np.mean(
        [errors_of_data(round(tau * D**2), seed) for seed in range(3)], axis=0
    )
    setting = {"tau": tau, "alpha": alpha, "kappa": kappa, "noise": noise}
    best = early_stopping(**setting)
    (line,) = ax.plot(theta, observed, label=f"{tau} prompts per coefficient")
    ax.plot(theta, learning_curve(theta, **setting).icl, "k--", linewidth=1.6)
    ax.plot(
        best.theta,
        best.error,
        "o",
        color=line.get_color(),
        markersize=11,
        markeredgecolor="k",
    )
    at_stop = np.interp(np.log(best.theta), np.log(theta), observed)
    print(
        f"{tau}: stop at {best.theta:.2f}, error {best.error:.3f} (data {at_stop:.3f}), at the end {best.end:.3f}"
    )
ax.plot([], [], "k--", linewidth=1.6, label="theory")
ax.set(
    xscale="log", xlabel="flow time / D³", ylabel="error on new tasks", ylim=(0.5, 2.8)
)
ax.legend()

print(f"relative difference at the last stop: {abs(at_stop / best.error - 1):.3f}")

# %%
# Try the error on the training tasks next: it is least at another time. Section 5 of
# :doc:`/asymptotics` derives the curves. The functions are
# :func:`attndyn.theory.asymptotics.learning_curve`,
# :func:`attndyn.theory.asymptotics.early_stopping` and :func:`attndyn.simulate.readout_flow`.
