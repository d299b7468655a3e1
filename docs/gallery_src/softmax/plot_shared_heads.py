"""
Two tasks on three softmax heads: one head serves both
======================================================

Trained on two tasks at once, three heads divide the work so that one of them carries a part of each
task. A bar shows how much of a task the heads carry, in the colours of the heads, after training
from random weights. The dashed lines are the theory's best heads of each number: one or two heads
carry less, and three carry all that can be carried.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Factorised, Task
from attndyn.simulate import Adam, Schedule, initial_weights, train
from attndyn.teachers import Gaussian
from attndyn.theory.softmax_attention import head_loads, least_several_tasks_loss

# %%
# Each task is a regression on four of six inputs, and the two share two inputs. Each has its own
# label and its own output.

supports = Gaussian.on_supports(6, [(0, 1, 2, 3), (2, 3, 4, 5)])
task = Task([1] * 6, teachers=supports, noise_variance=0.1, context_length=48)

# %%
# All four matrices of every head are trained by Adam on fresh prompts. What counts of a trained
# head is the diagonal of its key-query matrix, which says how it attends, and its two values.


def trained_loads(heads):
    model = Factorised(
        heads, outputs=2, softmax=True, query_token=False, score_divisor="sqrt_key"
    )
    start = initial_weights(model, task, scale=0.2, seed=0)
    rate = Schedule({0: 0.02, 250: 0.02, 500: 0.001}, "linear")
    run = train(model, task, start, optimizer=Adam(rate), batch=64, steps=500)
    a, B = model.heads(run.final)
    scores = np.einsum("hdd->hd", B[:, :6]) / np.sqrt(
        8
    )  # divided by the root of a token's size
    values = np.einsum("htt->ht", a[..., 6:])
    return head_loads(task, scores, values)  # (tasks, heads)


# %%
# The theory searches the heads of least loss. The loss is the one of large dimensions; at six
# inputs it is off by some percent.

fig, ax = plt.subplots()
for heads in [1, 2, 3]:
    loads = trained_loads(heads)
    bars = np.array([3 * heads, 3 * heads + 1])  # task 1 and task 2
    for head in range(heads):
        ax.bar(
            bars,
            loads[:, head],
            bottom=loads[:, :head].sum(axis=1),
            color=f"C{head}",
            width=0.9,
        )
    for task_number, bar in enumerate(bars, start=1):
        ax.text(bar, 0.03, f"task {task_number}", rotation=90, ha="center", color="w")
    best = least_several_tasks_loss(task, heads, restarts=1)
    expected = head_loads(task, best.omega, best.mu).sum(axis=1)
    ax.hlines(expected, bars - 0.6, bars + 0.6, "k", linestyle="--", linewidth=1.8)
    print(
        f"{heads} heads carry {loads.sum(axis=1).round(2)} of the tasks, best {expected.round(2)}"
    )
ax.set_xticks([3.5, 6.5, 9.5], ["one head", "two heads", "three heads"])
for bar in bars:
    ax.text(bar, 0.68, "shared", ha="center", color="w", fontsize=11)
ax.set(ylabel="share of the task that is carried", ylim=(0, 1.05))
ax.plot([], [], "k--", linewidth=1.8, label="best heads")
ax.legend(loc="upper left")

print(f"the third of three heads carries {loads[:, 2].round(2)}")
print(
    f"largest difference of three trained heads and the best: {np.max(np.abs(loads.sum(axis=1) - expected)):.3f}"
)

# %%
# Two overlapping tasks need three heads, and four heads share as well from most starts. Try tasks
# that share no input next. :doc:`/softmax` has several tasks in section 9. The functions are
# :func:`attndyn.theory.softmax_attention.head_loads` and
# :func:`attndyn.theory.softmax_attention.least_several_tasks_loss`.
