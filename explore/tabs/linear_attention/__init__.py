"""The tab of linear attention: a run and its theory, for merged and for separate key and query."""

import math

import numpy as np

from ....runtime.arrays import FloatArray
from ...answers import Answer
from ...controls import Choice, Option, Settings, Slider, SliderList
from ...tab import Tab
from .descents import RATES, Descent, descent
from .predictions import compared, prediction
from .problems import problem_of
from .script import script

MAP_DIGITS = 4
"""Decimals of a map, in units of its largest entry, which are shown as colours."""

_TASK = "Task"
_MODEL = "Model and run"
_SEPARATE = {"model": ("separate",)}

CONTROLS = (
    Choice(
        "model",
        "Key and query",
        (
            Option("separate", "separate", sets={"rate": 0.2, "scale": 0.1}),
            Option("merged", "merged", sets={"rate": 0.05, "scale": 0.002}),
        ),
    ),
    SliderList(
        "eigenvalues",
        "eigenvalues of Λ",
        "λ",
        (0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0),
        (4.0, 3.0, 2.0, 1.0),
        least=1,
        most=8,
        group="Eigenvalues of Λ, of trace 1",
        help="Only their ratios count: Λ is divided by its trace.",
    ),
    Slider(
        "context",
        "context N",
        (1, 2, 3, 5, 8, 10, 15, 20, 31, 50, 80, 100, 150, 200),
        31,
        group=_TASK,
        help="Pairs (x, y) of a prompt.",
    ),
    Slider(
        "noise",
        "noise σ²",
        (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
        0.0,
        group=_TASK,
        help="Variance of the noise of y in the context.",
    ),
    Slider(
        "sequences",
        "sequences",
        (500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, math.inf),
        20_000,
        group=_TASK,
        help="Training prompts; ∞ trains on the population loss. At most 2,000 while a slider moves.",
    ),
    Slider("heads", "heads H", (1, 2, 3, 4, 5, 6, 7, 8), 5, group=_MODEL),
    Slider("rank", "rank R", (1, 2, 3, 4), 1, group=_MODEL, shown_with=_SEPARATE),
    Slider(
        "scale",
        "initial scale",
        (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        0.1,
        group=_MODEL,
        help="Size of the first weights. Plateaus of separate heads last ∝ 1/scale, of merged ones ∝ ln(1/scale).",
    ),
    Slider(
        "seed", "seed", tuple(range(31)), 1, group=_MODEL, help="Of the first weights."
    ),
    Slider(
        "rate",
        "learning rate",
        RATES,
        0.2,
        group=_MODEL,
        help="The theory is that of gradient flow: a large rate is what it leaves out.",
    ),
)


def _run(settings: Settings, moving: bool) -> Answer:
    """The run: its loss, coefficients and maps, and the map of the minimum."""
    problem = problem_of(settings, moving)
    run = descent(problem)
    directions = problem.moments.directions  # (D, r)
    coefficients = np.einsum(
        "id,tij,jd->dt", directions, run.maps, directions, optimize=True
    )
    times = _times(run)
    missing = len(times) - len(run.flow_time)
    maps = run.maps[:: run.spacing]
    return {
        "flow_time": times,
        "loss": np.pad(run.loss, (0, missing), constant_values=np.nan),
        "coefficients": np.pad(
            coefficients, ((0, 0), (0, missing)), constant_values=np.nan
        ),
        "maps": _for_colours(maps),
        "map_spacing": run.spacing,
        "minimum": _for_colours(problem.moments.minimum),
        "steps": run.steps,
        "sequences": problem.sequences,
        "is_stable": run.is_stable,
        "stable_rate": run.stable_rate,
    }


def _theory(settings: Settings, moving: bool) -> Answer:
    """The theory at the times of the run, and what it says of plateaus and exits."""
    problem = problem_of(settings, moving)
    run = descent(problem)
    theory = prediction(problem, _times(run), is_final=not moving)
    return {
        "source": theory.source,
        "predicted_loss": theory.loss,
        "predicted_coefficients": theory.coefficients.T,
        "predicted_maps": _for_colours(theory.maps[:: run.spacing]),
        "reservation": theory.reservation,
        **compared(problem, run, theory),
    }


def _times(run: Descent) -> FloatArray:
    """Flow times of the run, and on to the end that is shown where it has become unstable before."""
    if run.flow_time[-1] >= run.end or run.is_stable:
        return run.flow_time
    rest = np.linspace(run.flow_time[-1], run.end, 200)[1:]
    return np.concatenate([run.flow_time, rest])


def _for_colours(maps: FloatArray) -> FloatArray:
    """Maps to so many digits as colours can show."""
    largest = float(np.max(np.abs(maps), initial=1e-300))
    decimals = MAP_DIGITS - 1 - int(np.floor(np.log10(largest)))
    return np.round(maps, decimals)


_SEEDS = (0, 1, 2, 3)

TAB = Tab(
    name="linear_attention",
    title="Linear attention",
    introduction=(
        "Gradient descent on one layer of linear attention that learns regression in context, "
        "and what the theory says of it: which plateaus it visits, and when it leaves them."
    ),
    controls=CONTROLS,
    parts={"run": _run, "theory": _theory},
    in_python=script,
    stored=(
        {"model": ("separate",), "scale": (0.02, 0.05, 0.1, 0.2), "seed": _SEEDS},
        {"model": ("merged",), "scale": (0.001, 0.002, 0.005, 0.01), "seed": _SEEDS},
    ),
)
