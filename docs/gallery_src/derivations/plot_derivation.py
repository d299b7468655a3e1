"""
A derivation, proved or refuted
===============================

Two derivations differ by a factor of two: one is proved for all values of its symbols, the other is
refuted by a counterexample, and a run agrees. The model is not in the package: one head whose query
is its key. The solid curve is its training on prompts, the dashed one integrates the equations that
are proved, the dotted one those that are refuted.
"""

import matplotlib.pyplot as plt
import sympy as sp
from scipy.integrate import solve_ivp

from attndyn import Task
from attndyn.simulate import sample, statistics, train
from attndyn.theory.symbolic import (
    N,
    StatedReduction,
    check_statement,
    derive,
    symbolic_task,
)

# %%
# A model declares its weights and its heads. The engine derives the loss and the flow from this
# definition alone.


class Tied:
    """One head of rank one whose query is its key."""

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]


derivation = derive(symbolic_task(2), Tied(), "restricted")
value, key_1, key_2 = derivation.weights
λ_1, λ_2 = derivation.parameters

# %%
# On paper: with a = λ₁²(1 + 1/N) + λ₁(λ₁ + λ₂)/N, a key along the first direction obeys these
# equations. One version forgets that the key acts twice.

z, x = sp.symbols("z x", real=True)
a = λ_1**2 * (1 + 1 / N) + λ_1 * (λ_1 + λ_2) / N
gradient = λ_1**2 * x - λ_1 * a * x**3 * z
versions = {
    "key acts twice": {z: x * gradient, x: 2 * z * gradient},
    "factor 2 forgotten": {z: x * gradient, x: z * gradient},
}
ansatz = {value: z, key_1: x}
levels = {}
for name, equations in versions.items():
    verdict = check_statement(StatedReduction(ansatz, equations), derivation)
    levels[name] = verdict.level
    print(name, "-", verdict)

# %%
# In numbers, beside training on 40,000 prompts.

task = Task(eigenvalues=[2, 1], trace=1.0, context_length=20)
numbers = {λ_1: task.eigenvalues[0], λ_2: task.eigenvalues[1], N: 20}
start = {"value": [[0, 0, 0.1]], "key": [[0.1, 0, 0]]}
data = statistics(sample(task, sequences=40_000, seed=0), Tied())
run = train(Tied(), data, start, learning_rate=0.02, steps=750)
times, keys = run.weight_flow_time, run.weights["key"][:, 0, 0]

fig, ax = plt.subplots()
ax.plot(times, keys, label="gradient descent")
distance = {}
for (name, equations), line in zip(versions.items(), ["k--", "C1:"], strict=True):
    rates = sp.lambdify((z, x), [equations[v].subs(numbers) for v in (z, x)])
    solution = solve_ivp(
        lambda t, w, f: f(*w),
        (0, 30),
        [0.1, 0.1],
        args=(rates,),
        t_eval=times,
        rtol=1e-8,
    )
    ax.plot(times, solution.y[1], line, linewidth=2, label=f"{levels[name]}: {name}")
    distance[name] = abs(solution.y[1] - keys).mean()
ax.set(
    xlabel="flow time, 2 × learning rate × steps",
    ylabel="key along the first direction",
)
ax.legend()

print(
    f"mean distance of the refuted version from the run: {distance['factor 2 forgotten']:.4f}"
)
print(
    f"mean distance of the proved version from the run: {distance['key acts twice']:.4f}"
)

# %%
# Try your own model next: :doc:`/check-your-derivation` goes through conservation laws, equilibria
# and files of statements. The functions are :func:`attndyn.theory.symbolic.derive` and
# :func:`attndyn.theory.symbolic.check_statement`.
