"""
The trap of one sign
====================

Two softmax heads whose scores have opposite signs reach a loss of 0.24, but two heads of one sign
may stop at 0.40, where a single head does. Solid curves are training on fresh prompts, measured by
the exact loss of its heads. The dashed lines are the least loss of one head and the least loss of
two.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Merged, Task
from attndyn.simulate import symmetric_weights, train
from attndyn.theory.softmax_attention import exact_loss, exact_optimum, head_scalars

D = 5
task = Task(
    [1] * D, teacher_covariance=np.eye(D) / D, noise_variance=0.1, context_length=40
)
model = Merged(heads=2, softmax=True, query_token=False)

# %%
# Head h attends with the scores ω x·x' and reads the labels with the value μ. The third start has
# one sign too, but its heads differ in size: as they grow, the strong one pulls the weak one across
# zero. The signs of a start alone do not decide.

starts = {
    "one sign": ([0.05, 0.08], [0.1, 0.13]),
    "both signs": ([0.08, -0.05], [0.13, -0.1]),
    "one sign, unequal": ([0.08, 0.005], [0.1, 0.01]),
}

# %%
# The loss of heads on unlimited prompts is an integral, and so are the two optima: nothing is
# sampled.

one, two = exact_optimum(task, 1).loss, exact_optimum(task, 2).loss
fig, ax = plt.subplots()
ends = []
for name, (omega, mu) in starts.items():
    start = symmetric_weights(model, task, omega, mu)
    run = train(model, task, start, learning_rate=0.1, batch=200, steps=200, record=10)
    ω, μ = head_scalars(model, run, tolerance=np.inf)
    loss = exact_loss(task, ω, μ, nodes=8).loss
    ax.plot(run.weight_flow_time, loss, label=name)
    print(f"{name}: ω starts at {omega} and ends at {ω[-1].round(2)}")
    ends.append(loss[-1])
ax.axhline(one, color="k", ls="--", lw=1.6, label="least loss of one head, and of two")
ax.axhline(two, color="k", ls="--", lw=1.6)
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="loss", ylim=(0, 1.2))
ax.legend()

print(f"least losses: one head {one:.4f}, two heads {two:.4f}")
print(f"trapped run above the least loss of one head: {ends[0] - one:.4f}")

# %%
# Try random starts next: :func:`attndyn.theory.softmax_attention.trap_probability` says how many of
# them are trapped. :doc:`/softmax` explains the trap in section 7. The functions are
# :func:`attndyn.theory.softmax_attention.exact_loss` and
# :func:`attndyn.theory.softmax_attention.exact_optimum`.
