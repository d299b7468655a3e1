"""The tab of linear attention: a run and its theory, for merged and for separate key and query."""

import numpy as np

from ...models.attention import Separate
from ...simulate import initial_weights, sample, statistics, train
from ...task import Task
from ...theory import time_course
from ..answers import Answer
from ..controls import Settings, Slider, SliderList
from ..tab import Tab


def _run(settings: Settings, moving: bool) -> Answer:
    task = Task(settings["eigenvalues"], trace=1.0, context_length=settings["context"])
    model = Separate(heads=5)
    start = initial_weights(
        model, task, scale=settings["scale"], seed=1, scheme="zhang2025"
    )
    data = statistics(sample(task, 2000, seed=0), model)
    run = train(model, data, start, learning_rate=0.5, steps=4000, record=10)
    return {"flow_time": run.flow_time[::10], "loss": run.loss[::10]}


def _theory(settings: Settings, moving: bool) -> Answer:
    task = Task(settings["eigenvalues"], trace=1.0, context_length=settings["context"])
    model = Separate(heads=5)
    start = initial_weights(
        model, task, scale=settings["scale"], seed=1, scheme="zhang2025"
    )
    course = time_course(task, model, np.arange(400) * 10.0, start)
    return {"predicted": course.loss}


TAB = Tab(
    name="linear_attention",
    title="Linear attention",
    introduction="Gradient descent on linear attention, and the theory of its staircase.",
    controls=(
        SliderList(
            "eigenvalues",
            "eigenvalues of Λ",
            "λ",
            (0.5, 1, 2, 3, 4, 5, 6),
            (4, 3, 2, 1),
            least=1,
            most=8,
            group="Eigenvalues of Λ",
        ),
        Slider(
            "context", "context N", (5, 10, 20, 31, 50, 100), 31, group="Task and run"
        ),
        Slider(
            "scale",
            "initial scale",
            (0.01, 0.02, 0.05, 0.1),
            0.02,
            group="Task and run",
        ),
    ),
    parts={"run": _run, "theory": _theory},
    in_python=lambda settings: "",
    stored=({"scale": (0.01, 0.02, 0.05)},),
)
