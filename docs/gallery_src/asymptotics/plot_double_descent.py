"""
Double descent: more prompts can make it worse
==============================================

The error of a fitted read-out falls with the number of prompts, rises to a peak where there are as
many prompts as features, and falls again. Points are least-squares fits on drawn prompts of
dimension 16, tested on new tasks. The dashed curves are the closed form for large dimension. A
small ridge takes the peak away.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Task
from attndyn.compare import fit_errors
from attndyn.teachers import Sphere
from attndyn.theory.asymptotics import errors

# %%
# Linear attention with one matrix of D(D + 1) coefficients is a regression on as many features of a
# prompt. Every prompt has a task of its own.

D, alpha, noise = 16, 10, 0.01
law = Task(
    [1 / D] * D, teachers=Sphere(D), context_length=alpha * D, noise_variance=noise
)
features = D * (D + 1)
prompts = [80, 140, 190, 230, 310, 380, 490, 680]

# %%
# `fit_errors` draws eight data sets of each size. The ridge λ of the formula is λ/D³ in the units
# of the fit.

fig, ax = plt.subplots()
tau = np.geomspace(0.25, 3, 300)
setting = {"alpha": alpha, "kappa": np.inf, "noise": noise}
for ridge, name in [(1e-5, "almost no ridge"), (0.1, "ridge 0.1")]:
    fits = fit_errors(
        law,
        law,
        prompts,
        ridge=ridge / D**3,
        label_row=True,
        label_weight=D**2,
        repeats=8,
    )
    measured = fits.icl.mean(axis=1)
    ax.plot(np.divide(prompts, features), measured, "o", label=name)
    ax.plot(tau, errors(tau=tau, ridge=ridge, **setting).icl, "k--", linewidth=1.6)
ax.plot([], [], "k--", linewidth=1.6, label="closed form")
ax.set(yscale="log", xlabel="prompts / features", ylabel="error on new tasks")
ax.legend()

# %%
# At dimension 16 the errors are some percent above those of the limit.

limit = errors(tau=np.divide(prompts, features), ridge=ridge, **setting).icl
print("errors with ridge 0.1 over the closed form:", (measured / limit).round(2))
print(f"median relative difference: {np.median(np.abs(measured / limit - 1)):.3f}")

# %%
# Try few training tasks next (`tasks=8` and `kappa=0.5`), or
# :func:`attndyn.theory.asymptotics.deterministic_equivalent`, which knows the dimension.
# :doc:`/asymptotics` has both. The functions are :func:`attndyn.theory.asymptotics.errors` and
# :func:`attndyn.compare.fit_errors`.
