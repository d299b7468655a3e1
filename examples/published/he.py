"""He et al. 2025 (arXiv 2503.12734): two softmax heads, Adam, a fresh batch of prompts each step.

The two heads take opposite signs; by 4,000 steps of 2e-3 the mean loss is about 0.247. The number of steps may be
given on the command line.
"""

import sys

import numpy as np

from attndyn import Factorised, Task
from attndyn.simulate import Adam, initial_weights, train
from attndyn.teachers import Gaussian

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000
task = Task(
    [1] * 5, teachers=Gaussian(np.eye(5) / 5), noise_variance=0.1, context_length=40
)
model = Factorised(heads=2, softmax=True, query_token=False, score_divisor="sqrt_key")

# Heads of opposite signs: key and query agree in one and disagree in the other, as their values do.
start = initial_weights(model, task, scale=0.1)
for head, sign in enumerate((1.0, -1.0)):
    start["key"][head, :5, :5] += 0.3 * np.eye(5)
    start["query"][head, :5, :5] += 0.3 * sign * np.eye(5)
    start["value"][head, 5, 5] += 0.5
    start["output"][head, 0, 5] += 0.5 * sign

run = train(model, task, start, optimizer=Adam(2e-3), batch=256, steps=steps)
last = run.loss[-steps // 8 :].mean()
a, B = model.heads(run.final)
omega = [np.trace(B_h[:5, :5]) / 5 / np.sqrt(6) for B_h in B]
print(
    f"mean loss: published about 0.247 (4,000 steps), here {last:.4f} ({steps:,} steps)"
)
print(f"key-query scalars {np.round(omega, 3)}, value scalars {np.round(a[:, -1], 2)}")
