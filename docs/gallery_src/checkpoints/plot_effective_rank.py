"""
The rank of a head collapses to one and climbs with every direction learned
===========================================================================

Read from stored checkpoints, the effective rank of a head falls to one when it learns its first
direction, and rises with every further direction. Solid is what the measures find in files of
weights, of whose training they know nothing. Dashed is what the theory predicts from the first
weights, once the head has grown.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Separate, Task
from attndyn.compare import HeadLayout, TensorNames, measure_files
from attndyn.compare.metrics.spectra import effective_rank
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import time_course

# %%
# A network in training: here one head with keys and queries of rank four, from small random
# weights.

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
model = Separate(heads=1, rank=4)
start = initial_weights(model, task, scale=0.02, seed=3)
data = statistics(sample(task, sequences=40_000, seed=0), model)
run = train(model, data, start, learning_rate=0.2, steps=5_000, record=25)

# %%
# One file for each checkpoint, as a training script would save them. The measures are told the
# names of the tensors and how many heads are in one, and no more.

with TemporaryDirectory() as folder:
    for step in run.weight_steps:
        weights = run.weights_at(step)
        np.savez(
            f"{folder}/step_{step}.npz", W_Q=weights["query"][0], W_K=weights["key"][0]
        )
    names = TensorNames(query="W_Q", key="W_K")
    found = measure_files(
        Path(folder).glob("*.npz"), names, HeadLayout(heads=1), rank=4
    )
measured = found.query_key.effective_rank[:, 0]

# %%
# QK of the trained head is a multiple of its map, whose coefficients the theory knows.

curve = time_course(task, model, run.weight_flow_time, start)
grown = curve.loss < 0.98
predicted = effective_rank(np.abs(curve.coefficients[grown]))

fig, ax = plt.subplots()
ax.plot(found.steps, measured, label="measured in files")
ax.plot(run.weight_steps[grown], predicted, "k--", linewidth=1.6, label="theory")
ax.set(
    xlabel="steps", ylabel="effective rank of QK", ylim=(0.8, 4.2), xlim=(1_500, None)
)
ax.legend(loc="lower right")

print(
    f"least effective rank: measured {measured.min():.2f}, predicted {predicted.min():.2f}"
)
print(f"difference of the last ones: {abs(measured[-1] - predicted[-1]):.4f}")

# %%
# Such a collapse does not show that a network generalises: networks that only remember have it too.
# Try your own checkpoints next, with a control beside them, as :doc:`/measure-your-own-checkpoints`
# does with stored ones. The functions are :func:`attndyn.compare.measure_files` and
# :func:`attndyn.compare.metrics.spectra.effective_rank`.
