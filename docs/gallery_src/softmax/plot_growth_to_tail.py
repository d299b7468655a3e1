"""
Two softmax heads, from their growth to a slow tail
===================================================

After a fast drop of the loss the two heads keep moving for a million units of time: their scores
shrink, and their values grow. Training on fresh prompts (solid) shows the first phases. The reduced
flow of four numbers (dashed) goes through all of them, and a law for the tail (dotted) says how the
scores approach their optimum.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Merged, Task
from attndyn.simulate import symmetric_weights, train
from attndyn.theory.softmax_attention import head_scalars, reduced_flow, tail_law

# %%
# Head h attends with the scores ω x·x' and reads the labels with the value μ. The two heads start
# small, with opposite signs, and all entries of their matrices are trained on 300 fresh prompts in
# every step.

D = 5
task = Task(
    [1] * D, teacher_covariance=np.eye(D) / D, noise_variance=0.1, context_length=40
)
model = Merged(heads=2, softmax=True, query_token=False)
start = symmetric_weights(model, task, omega=[0.03, -0.05], mu=[0.06, -0.05])
run = train(model, task, start, learning_rate=0.1, batch=300, steps=140, record=2)
ω, μ = head_scalars(model, run)

# %%
# The theory starts from the same four numbers, and may go on for as long as it likes.

times = np.geomspace(0.5, 1e6, 80)
flow = reduced_flow(task, ω[0], μ[0], times)
late = times[times > 4e3]

fig, ax = plt.subplots()
ax.plot(run.weight_flow_time[1:], np.abs(μ[1:]).mean(axis=1), "C1", label="values |μ|")
ax.plot(run.weight_flow_time[1:], np.abs(ω[1:]).mean(axis=1), "C0", label="scores |ω|")
ax.plot(times, np.abs(flow.mu).mean(axis=1), "k--", linewidth=1.8, label="reduced flow")
ax.plot(times, np.abs(flow.omega).mean(axis=1), "k--", linewidth=1.8)
ax.plot(
    late,
    np.sqrt(tail_law(task, late) / D),
    ":",
    color="C2",
    linewidth=4,
    label="law of the tail",
)
for time, phase in {1.7: "growth", 11: "drop", 3e2: "valley", 6e4: "tail"}.items():
    ax.text(time, 13, phase, ha="center", color="0.4")
ax.set(xscale="log", yscale="log", xlim=(0.5, 1e6), ylim=(4e-3, 20))
ax.set(xlabel="flow time, 2 × learning rate × steps", ylabel="size of a head")
ax.legend(loc="lower right")

# %%
# In the tail the two heads together take the same gradient step: the product of the two sizes
# hardly changes.

step = (flow.omega * flow.mu).sum(axis=1)
print(
    "step taken at the times 100, 1e4, 1e6:",
    np.interp([100, 1e4, 1e6], times, step).round(3),
)
predicted = np.interp(run.weight_flow_time, times, np.abs(flow.omega).mean(axis=1))
difference = np.abs(np.abs(ω).mean(axis=1) - predicted)[run.weight_flow_time > 15]
print(
    f"largest difference of |ω| in run and flow after the drop: {difference.max():.4f}"
)

# %%
# Try heads of one sign next: :doc:`plot_trap` shows what becomes of them. :doc:`/softmax` derives
# the phases in section 6. The functions are :func:`attndyn.theory.softmax_attention.reduced_flow`,
# :func:`attndyn.theory.softmax_attention.head_scalars` and
# :func:`attndyn.theory.softmax_attention.tail_law`.
