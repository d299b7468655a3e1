"""The tab of modes: a layer with several outputs learns one mode after another, and some not at all."""

import math

from ...controls import Choice, Option, Settings, Slider, SliderList
from ...tab import Tab
from .parts import floor, record_of, run, theory
from .settings_of_layers import Layer, horizon

_TASK, _RUN = "Task", "Run"


def in_python(settings: Settings) -> str:
    """The script that computes the same."""
    layer = Layer.of(settings)
    steps = horizon(layer, settings, moving=False).steps
    inputs = settings["inputs"]
    rate = settings["rate"]
    begin = f"""import numpy as np
from attndyn import Merged, Task
from attndyn.compare import overlay
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import initial_weights, sample, sgd_chains, statistics, train
from attndyn.teachers import Gaussian
from attndyn.theory import fixed_points, linear_transformer, time_course

K, N = {len(inputs)}, {settings["context"]}
task = Task({inputs}, teachers=Gaussian.shared_basis([1] * K), noise_variance={settings["noise"]}, context_length=N)
model = Merged(heads=1, outputs=K)
start = initial_weights(model, task, scale={settings["scale"]}, seed={settings["seed"]}, scheme="restricted")
print(linear_transformer.minimum(task))
print([(point.subset, round(point.loss, 4)) for point in fixed_points(task, model)])
"""
    blocks = (
        'p, q = start["value"][0, ..., K:].reshape(K, K), start["key_query"][0, :K, :K]'
    )
    if settings["training"] == "sgd":
        return (
            begin
            + f"""
{blocks}
steps = np.unique(np.linspace(0, {steps}, 301).astype(int))
options = dict(learning_rate={rate}, batch={settings["batch"]}, seed={settings["seed"]})
chains = sgd_chains(task, p, q, steps, model, **options)
loss = linear_transformer.layer_loss(task, chains.p[0], chains.q[0], model)
flow = linear_transformer.layer_flow(task, p, q, 2 * {rate} * steps, model)
print(loss[-1], flow.loss[-1])
"""
        )
    sequences = settings["sequences"]
    data = f"statistics(sample(task, {sequences}), model, block='restricted')"
    if sequences == math.inf:
        data = "population_statistics(task, model)"
    curve = """curve = time_course(task, model, run.flow_time, start)
print(overlay(curve, run))"""
    if len(inputs) == 1:
        # Of one output `time_course` follows the growing mode, and the tab all weights.
        curve = f"""{blocks}
flow = linear_transformer.layer_flow(task, p, q, run.flow_time, model)
print(run.loss[-1], flow.loss[-1])"""
    return (
        begin
        + f"""
data = {data}
run = train(model, data, start, learning_rate={rate}, steps={steps}, record={record_of(steps)})
{curve}
"""
    )


TAB = Tab(
    name="linear_transformer",
    title="Modes of a layer",
    introduction=(
        "A layer whose outputs share the eigenvectors of the inputs learns one mode after another, at times as 1/s². "
        "In short contexts modes disturb each other: each learns less than 1/s, and a weak one nothing at all, however "
        "long one trains. The page “One layer with several outputs” derives it."
    ),
    controls=(
        Choice(
            "training",
            "Training",
            (
                Option("full", "full batch"),
                Option("sgd", "online SGD", sets={"rate": 0.005}),
            ),
            help="all prompts in every step, or fresh ones",
        ),
        SliderList(
            "inputs",
            "variances of the modes",
            "s",
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0),
            (2.0, 1.0, 0.5),
            least=1,
            most=6,
            group="Variances of the modes",
        ),
        Slider(
            "context",
            "context N",
            (1, 2, 3, 5, 7, 10, 15, 20, 31, 50, 100, 200, 500, 1000),
            20,
            group=_TASK,
        ),
        Slider(
            "noise",
            "noise σ²",
            (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
            0.0,
            group=_TASK,
        ),
        Slider(
            "scale",
            "initial scale",
            (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2),
            0.01,
            group=_RUN,
            help="standard deviation of the entries of p and q at the start",
        ),
        Slider("seed", "seed", tuple(range(21)), 0, group=_RUN),
        Slider(
            "rate",
            "learning rate",
            (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
            0.02,
            group=_RUN,
        ),
        Slider(
            "sequences",
            "sequences",
            (200, 500, 1000, 2000, 5000, 20_000, 50_000, math.inf),
            20_000,
            group=_RUN,
            shown_with={"training": ("full",)},
        ),
        Slider(
            "batch",
            "batch",
            (1, 2, 4, 8, 16, 32, 64, 128),
            32,
            group=_RUN,
            help="fresh prompts of each step",
            shown_with={"training": ("sgd",)},
        ),
    ),
    parts={"run": run, "theory": theory, "floor": floor},
    in_python=in_python,
    stored=(
        {
            "training": ("full",),
            "context": (3, 5, 10, 20, 50, 200),
            "noise": (0.0, 0.1, 0.5),
        },
    ),
)
