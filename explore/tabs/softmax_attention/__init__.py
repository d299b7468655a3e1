"""The tab of softmax heads: the exact loss over (ω, μ), the heads on it, and the loss over the logarithm of time."""

from ...controls import Choice, Option, Settings, Slider
from ...tab import Tab
from .parts import RECORDS, flow_in_full, limits, quick_picture, run
from .settings_of_heads import FIRST_TIME, POINTS, Heads, steps_of

_HEADS, _TASK, _RUN = "Heads at the start", "Task", "Flow and run"


def in_python(settings: Settings) -> str:
    """The script that computes the same, the flow to two more digits."""
    heads = Heads.of(settings)
    steps = steps_of(settings)
    divisor = ""
    if settings["metric"] == "euclidean":
        divisor = ", score_divisor=1 / D**0.5"
    return f"""import numpy as np
from attndyn import Merged, Task
from attndyn.compare import overlay
from attndyn.simulate import symmetric_weights, train
from attndyn.theory.softmax_attention import exact_optimum, reduced_flow

D, N = {settings["dimension"]}, {settings["context"]}
task = Task([1] * D, teacher_covariance=np.eye(D) / D, noise_variance={settings["noise"]}, context_length=N)
omega, mu = {heads.omega.tolist()}, {heads.mu.tolist()}

times = np.concatenate([[0], np.geomspace({FIRST_TIME}, {settings["until"]:g}, {POINTS})])
flow = reduced_flow(task, omega, mu, times, metric="{settings["metric"]}")
print(flow.loss[-1], flow.phases.in_words())
best = exact_optimum(task, {min(2, settings["heads"])})
print(best.loss, best.omega, best.mu)

model = Merged({settings["heads"]}, softmax=True, query_token=False{divisor})
start = symmetric_weights(model, task, omega, mu)
options = dict(learning_rate={settings["rate"]}, batch={settings["batch"]}, steps={steps})
run = train(model, task, start, record={max(1, steps // RECORDS)}, **options)
curve = reduced_flow(task, omega, mu, run.weight_flow_time, metric="{settings["metric"]}")
print(overlay(curve, run))
"""


TAB = Tab(
    name="softmax_attention",
    title="Softmax heads",
    introduction=(
        "A softmax head is two numbers here, ω and μ. Small heads grow, take most of the loss in one drop, and then "
        "slide along a valley a thousand times as long: heads of opposite sign become one debiased gradient step, and "
        "heads of one sign are trapped. The page “Softmax attention with several heads” derives it."
    ),
    controls=(
        Choice(
            "start",
            "Signs of the heads",
            (
                Option("both", "both"),
                Option("one", "one"),
                Option("random", "random"),
            ),
            group=_HEADS,
            help="whether the heads start with alternating signs, with one, or at random",
        ),
        Slider("heads", "heads H", (1, 2, 3, 4), 2, group=_HEADS),
        Slider(
            "size",
            "size α",
            (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3),
            0.01,
            group=_HEADS,
            help="ω/√ρ and μ of the largest head at the start, or their standard deviation",
        ),
        Slider(
            "seed",
            "seed",
            tuple(range(21)),
            0,
            group=_HEADS,
            shown_with={"start": ("random",)},
        ),
        Slider(
            "dimension", "dimension D", (2, 3, 4, 5, 6, 8, 10, 15, 20), 5, group=_TASK
        ),
        Slider(
            "context",
            "context N",
            (20, 30, 40, 60, 80, 120, 160, 320),
            40,
            group=_TASK,
        ),
        Slider(
            "noise",
            "noise σ²",
            (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
            0.1,
            group=_TASK,
            help="variance of the noise of labels, of the query's label too",
        ),
        Choice(
            "metric",
            "Metric ρ",
            (Option("matrix", "1/D"), Option("euclidean", "1")),
            group=_RUN,
            help="1/D: the flow of the weights; 1: that of He et al., of scores divided by 1/√D",
        ),
        Slider(
            "until",
            "until time",
            (100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6),
            1e4,
            group=_RUN,
            help="flow time 2η·steps at which the curves of the theory end",
        ),
        Slider(
            "rate",
            "learning rate",
            (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
            0.1,
            group=_RUN,
        ),
        Slider(
            "batch",
            "batch",
            (10, 20, 50, 100, 200, 500),
            100,
            group=_RUN,
            help="fresh prompts of each step",
        ),
    ),
    parts={"plane": quick_picture, "run": run, "flow": flow_in_full, "limits": limits},
    in_python=in_python,
    stored=(
        {
            "size": (1e-3, 0.01, 0.1),
            "context": (20, 40, 80),
            "start": ("both", "one"),
        },
    ),
)
