"""
Learning in weight comes first, and learning in context overtakes it
====================================================================

Where half of the prompts share one teacher, attention first learns this teacher by heart, and
forgets it while it learns to use the context. The orange curve is the test loss on prompts of the
fixed teacher whose context labels are random, so that only the memory helps: it dips and rises
again. The blue curve is the test loss on prompts of new teachers, where only the context helps.
"""

import matplotlib.pyplot as plt
import numpy as np

from attndyn import Merged, Task
from attndyn.compare import population_statistics
from attndyn.simulate import (
    evaluate,
    flow,
    initial_weights,
    sample,
    statistics,
    train,
)

# %%
# Three laws of prompts with the same inputs: the mixture, on which we train, and its two parts, on
# which we test.


def mixture(new_teachers):
    return Task(
        [1] * 4,
        trace=1.0,
        context_length=31,
        fixed_teacher=np.ones(4),
        in_context_fraction=new_teachers,
    )


model = Merged(heads=8)
training = mixture(0.5)
tests = {
    "new teachers": population_statistics(mixture(1.0), model, block="full"),
    "fixed teacher": population_statistics(mixture(0.0), model, random_labels=True),
}

# %%
# The run takes 5,000 prompts (solid). The theory is gradient flow from the same weights on the
# exact moments of unlimited prompts (dashed).

start = initial_weights(model, training, scale=1e-3, seed=0)
data = statistics(sample(training, sequences=5_000, seed=0), model)
run = train(model, data, start, learning_rate=0.02, steps=4_000, record=20)
theory = flow(
    model, population_statistics(training, model), start, run.weight_flow_time
)

# %%
# `evaluate` gives the loss on other prompts at every stored weight.

fig, ax = plt.subplots()
for (name, test), colour in zip(tests.items(), ["C0", "C1"], strict=True):
    ax.plot(run.weight_flow_time, evaluate(model, test, run), colour, label=name)
    ax.plot(theory.flow_time, evaluate(model, test, theory), "k--", linewidth=1.6)
ax.plot([], [], "k--", linewidth=1.6, label="theory")
ax.axhline(1, color="0.6", linewidth=1)
ax.text(
    run.weight_flow_time[-1],
    0.93,
    "cost of always answering 0",
    ha="right",
    color="0.4",
)
ax.set(
    xlabel="flow time, 2 × learning rate × steps", ylabel="test loss", ylim=(0, None)
)
ax.legend(loc=(0.62, 0.35))

# %%
# The memory is never complete: it is best early, and at the end it costs more than always answering
# 0.

dip, expected = (
    evaluate(model, tests["fixed teacher"], each).min() for each in (run, theory)
)
print(f"least loss on the fixed teacher: run {dip:.3f}, theory {expected:.3f}")
print(f"difference: {abs(dip - expected):.4f}")

# %%
# Try other fractions of new teachers next, or let the flow run to its end. Section 11 of
# :doc:`/theory` explains why the memory is lost. The functions are
# :func:`attndyn.compare.population_statistics`, :func:`attndyn.simulate.flow` and
# :func:`attndyn.simulate.evaluate`.
