"""The same as the tab in Python."""

import math

from ...controls import Settings
from .descents import descent
from .problems import Problem, problem_of


def script(settings: Settings) -> str:
    """A script that trains the run, computes its theory, prints how far they are apart and draws them."""
    problem = problem_of(settings, moving=False)
    run = descent(problem)
    lines = [
        f"from attndyn import {_class(problem)}, Task",
        _import_from_compare(problem),
        _import_from_simulate(problem),
        "from attndyn.theory import time_course",
        "",
        f"task = Task({_task_arguments(problem)})",
        f"model = {_model(problem)}",
        f"start = initial_weights(model, task, scale={problem.scale}, seed={problem.seed})",
        f"data = {_data(problem)}",
        *_warning(problem, run.stable_rate, run.is_stable),
        f"run = train(model, data, start, learning_rate={problem.learning_rate}, steps={run.steps})",
        "curve = time_course(task, model, run.flow_time, start)",
        "both = overlay(curve, run)",
        "print(both)",
        'both.plot().figure.savefig("overlay.png")',
    ]
    return "\n".join(lines) + "\n"


def _class(problem: Problem) -> str:
    return "Merged" if problem.kind == "merged" else "Separate"


def _import_from_compare(problem: Problem) -> str:
    names = "overlay"
    if problem.sequences == math.inf:
        names += ", population_statistics"
    return f"from attndyn.compare import {names}"


def _import_from_simulate(problem: Problem) -> str:
    names = "initial_weights, sample, statistics, train"
    if problem.sequences == math.inf:
        names = "initial_weights, train"
    return f"from attndyn.simulate import {names}"


def _task_arguments(problem: Problem) -> str:
    arguments = [
        f"[{', '.join(_written(value) for value in problem.eigenvalues)}]",
        "trace=1.0",
        f"context_length={problem.context_length}",
    ]
    if problem.noise_variance:
        arguments.append(f"noise_variance={problem.noise_variance}")
    return ", ".join(arguments)


def _written(value: float) -> str:
    """A number with all of its digits, whole ones without a point."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _model(problem: Problem) -> str:
    if problem.kind == "merged":
        return f"Merged(heads={problem.heads})"
    return f"Separate(heads={problem.heads}, rank={problem.rank})"


def _data(problem: Problem) -> str:
    if problem.sequences == math.inf:
        return "population_statistics(task, model)"
    return f"statistics(sample(task, {int(problem.sequences):_}, seed=0), model)"


def _warning(problem: Problem, stable_rate: float | None, is_stable: bool) -> list[str]:
    if is_stable:
        return []
    advice = "" if stable_rate is None else f" learning_rate={stable_rate} is stable."
    return [
        f"# At learning_rate={problem.learning_rate} descent becomes unstable after these steps.{advice}"
    ]
