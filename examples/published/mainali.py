"""Mainali & Teixeira 2025 (arXiv 2504.12916): vector labels y = W x with W in the eigenbasis of Λ, one drop a mode.

Descent on the exact loss of one head with three outputs ends at the closed minimum for Λ = (1, 0.6, 0.3), N = 20.
"""

from attndyn import Merged, Task
from attndyn.compare import population_statistics
from attndyn.simulate import initial_weights, train
from attndyn.teachers import Gaussian

task = Task([1, 0.6, 0.3], teachers=Gaussian.shared_basis([1, 1, 1]), context_length=20)
model = Merged(heads=1, outputs=3)
start = initial_weights(model, task, scale=0.05, scheme="restricted")
stats = population_statistics(task, model)
run = train(model, stats, start, learning_rate=0.1, steps=8_000, record=[])
print(f"least loss: published .3044907377, here {run.loss[-1]:.10f}")
