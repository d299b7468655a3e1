"""Ahn et al. 2023 (arXiv 2306.00297): rotated covariance, teachers of the inverse covariance.

One layer of linear attention learns one preconditioned step of gradient descent. Here C is the covariance of the
inputs and its inverse that of the teachers, so that every direction has the same signal.
"""

import numpy as np

from attndyn import Merged, Task
from attndyn.compare import population_statistics
from attndyn.simulate import initial_weights, train
from attndyn.theory import population

rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
C = rotation @ np.diag([1, 1, 0.25, 2.25, 1]) @ rotation.T
task = Task(covariance=C, teacher_covariance=np.linalg.inv(C), context_length=20)
model = Merged(heads=1)

# With ΛΩΛ = Λ, A = (1 + 1/N) Λ + (D/N) Λ and B = Λ: the preconditioner is C⁻¹ over 1 + (D + 1)/N.
published = np.linalg.inv(C) / (1 + 6 / 20)
predicted = population(task, model).minimum
start = initial_weights(model, task, scale=0.1)
stats = population_statistics(task, model)
run = train(model, stats, start, learning_rate=0.1, steps=2_000, compiled=False)
learned = run.effective_map(model)[-1]

print(f"preconditioner, theory: off by {np.abs(predicted - published).max():.1e}")
print(f"preconditioner, trained: off by {np.abs(learned - published).max():.1e}")
