"""Train separate attention from small random weights and compare its loss with the predicted staircase.

Prints predicted and observed exit times and writes theory_over_run.png.
"""

from attndyn import Separate, Task
from attndyn.compare import overlay
from attndyn.simulate import initial_weights, sample, statistics, train
from attndyn.theory import staircase, time_course

task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
model = Separate(heads=5, rank=1, divisor="none")
start = initial_weights(model, task, scale=0.05, seed=1, scheme="zhang2025")

stats = statistics(sample(task, sequences=20_000, seed=0), model)
run = train(model, stats, start, learning_rate=0.02, steps=7_000)
curve = time_course(task, model, run.flow_time, start)
comparison = overlay(curve, run)

predicted, observed = comparison.exit_times(staircase(task, model, start).plateaus)
for m, (theory, descent) in enumerate(zip(predicted, observed, strict=True)):
    print(f"plateau {m} is left at flow time {descent:6.1f}, predicted {theory:6.1f}")

comparison.plot().figure.savefig("theory_over_run.png", dpi=150)
