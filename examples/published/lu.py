"""Lu et al. 2025 (arXiv 2405.11751): the gap between new and training tasks at d = 10, α = τ = 10, ρ = 0.01, λ = 1e-6.

For a few of their twelve numbers of tasks it prints the published mean over 20 data sets, the mean here, and the
deterministic equivalent over 200 pools of tasks. The number of data sets may be given on the command line.
"""

import sys

import numpy as np

from attndyn import Task
from attndyn.compare import fit_errors, overlay
from attndyn.teachers import Sphere
from attndyn.theory.asymptotics import deterministic_equivalent, errors

repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 20
d, noise, ridge = 10, 0.01, 1e-6
# Tasks → sequences, as many of each task as come nearest to 10 d², and the published gap.
published = {
    2: (1000, 1.4521),
    6: (1002, 0.6761),
    10: (1000, 0.2662),
    20: (1000, 0.0455),
    80: (960, 0.0042),
}
law = Task([1 / d] * d, teachers=Sphere(d), context_length=10 * d, noise_variance=noise)
# The paper's ridge λ on Γ, in this package's units: see attndyn.theory.asymptotics.readout.
fit = {"ridge": ridge / d**3, "label_row": True, "label_weight": float(d**2)}

print("tasks  published   here ± error of the mean   equivalent   d → ∞")
for tasks, (sequences, gap) in published.items():
    predicted = deterministic_equivalent(
        law, law, sequences, tasks=tasks, pools=200, **fit
    )
    fits = fit_errors(law, law, [sequences], tasks=tasks, repeats=repeats, **fit)
    over = overlay([predicted], fits)
    error = fits.gap.std(ddof=1) / np.sqrt(repeats)
    limit = errors(
        tau=sequences / (d * (d + 1)),
        alpha=10,
        kappa=tasks / d,
        noise=noise,
        ridge=ridge,
    )
    print(
        f"{tasks:5}  {gap:9.4f}   {over.fits.gap.mean():.4f} ± {error:.4f}            "
        f"{predicted.gap:10.4f}   {limit.gap:.4f}"
    )
