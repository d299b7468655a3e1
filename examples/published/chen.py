"""Chen et al. 2024 (arXiv 2402.19442): three tasks on supports of their own, three labels a prompt, softmax heads.

Labels of the context are noisy, those of the query clean. The number of steps may be given on the command line.
"""

import sys

from attndyn import Factorised, Task
from attndyn.simulate import Adam, evaluate, initial_weights, sample, train
from attndyn.teachers import Gaussian

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
law = Gaussian.on_supports(6, [[0, 1], [2, 3], [4, 5]])
task = Task(
    [1] * 6,
    teachers=law,
    noise_variance=0.1,
    query_noise_variance=0.0,
    context_length=24,
)
model = Factorised(
    heads=4, outputs=3, softmax=True, query_token=False, score_divisor="sqrt_key"
)
start = initial_weights(model, task, scale=0.3)
run = train(model, task, start, optimizer=Adam(5e-3), batch=256, steps=steps)
test = sample(task, 5_000, split="test")
print(f"loss without learning: 3, here {evaluate(model, test, run.final):.3f}")
