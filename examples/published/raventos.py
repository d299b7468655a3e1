"""Raventós et al. 2023 (arXiv 2306.15063): a pool of 64 tasks, against ridge and the pool's own posterior mean.

On prompts of the pool the posterior mean over the pool is the better estimator; on fresh Gaussian teachers ridge is.
"""

import numpy as np

from attndyn import Merged, Task
from attndyn.simulate import evaluate, initial_weights, sample, statistics, train
from attndyn.teachers import Gaussian
from attndyn.theory import pool_posterior, ridge

law = Gaussian(np.eye(8))
pool = Task(
    [1] * 8, teachers=law.pool(64, seed=0), noise_variance=0.25, context_length=15
)
fresh = Task([1] * 8, teachers=law, noise_variance=0.25, context_length=15)

model = Merged(heads=1)
start = initial_weights(model, pool, scale=0.1)
stats = statistics(sample(pool, 10_000), model)
run = train(model, stats, start, learning_rate=0.01, steps=2_000)

for name, task in (("pool of 64", pool), ("fresh teachers", fresh)):
    data = sample(task, 4_000, split="test")
    errors = {
        "ridge": ridge(*data.context, noise_variance=0.25),
        "posterior of the pool": pool_posterior(*data.context, pool),
    }
    print(name)
    for estimator, prediction in errors.items():
        print(f"  {estimator}: {np.mean((prediction - data.labels) ** 2):.3f}")
    print(
        f"  linear attention trained on the pool: {evaluate(model, data, run.final):.3f}"
    )
