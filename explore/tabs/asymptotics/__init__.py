"""The tab of asymptotics: errors of the ridge read-out on new and on training tasks, with finite data and few tasks."""

import math

from ...controls import Choice, Option, Settings, Slider
from ...tab import Tab
from .parts import POOLS, REPEATS, finite, flow, limit
from .settings_of_readouts import Ratios, Sizes

_LIMIT, _SIZE = "Ratios in the limit D → ∞", "At a finite size"


def in_python(settings: Settings) -> str:
    """The script that computes the same at the ratios of the sliders."""
    ratios = Ratios.of(settings)
    flow_arguments = {
        name: value if math.isfinite(value) else "np.inf"
        for name, value in ratios.without_ridge().items()
    }
    given = ", ".join(f"{name}={value}" for name, value in flow_arguments.items())
    here = f"""limit = errors({given}, ridge={ratios.ridge})
print(limit.icl, limit.idg, limit.gap)
"""
    if ratios.tau == 1 and ratios.ridge == 0:
        here = "# At tau = 1 without ridge the errors have a pole.\n"
    return f"""import numpy as np
from attndyn import Task
from attndyn.compare import fit_errors, overlay
from attndyn.teachers import Sphere
from attndyn.theory.asymptotics import bayes_error, deterministic_equivalent, early_stopping, errors

{here}ridges = np.geomspace(1e-4, 1e2, 121)
over_ridges = errors({given}, ridge=ridges)
print(ridges[np.argmin(over_ridges.icl)], np.min(over_ridges.icl))
stop = early_stopping({given})
print(stop.theta, stop.error, bayes_error(alpha={ratios.alpha}, noise={ratios.noise}))
{_finite_in_python(settings, ratios)}"""


def _finite_in_python(settings: Settings, ratios: Ratios) -> str:
    """The part of the script at a finite size, or why there is none."""
    sizes = Sizes.of(ratios, settings["dimension"])
    begin = f"""
D, N, k, P = {sizes.dimension}, {sizes.context}, {sizes.tasks}, {sizes.sequences}
"""
    if not sizes.has_errors(ratios.ridge):
        return (
            begin
            + "# No fit: fewer prompts than tasks, or as many as features without ridge.\n"
        )
    return (
        begin
        + f"""law = Task([1 / D] * D, teachers=Sphere(D), context_length=N, noise_variance={ratios.noise})
predicted = deterministic_equivalent(law, law, P, ridge={ratios.ridge} / D**3, tasks=k, pools={POOLS})
fits = fit_errors(law, law, [P], ridge={ratios.ridge} / D**3, tasks=k, repeats={REPEATS})
print(predicted.test_loss, predicted.train_loss)
print(overlay([predicted], fits))
"""
    )


TAB = Tab(
    name="asymptotics",
    title="Asymptotics",
    introduction=(
        "A read-out of linear attention is fitted to P prompts of k tasks. Where there are as many prompts as features "
        "the error has a pole, which any ridge and early stopping remove; with fewer tasks than dimensions it learns "
        "the tasks it has seen, and fails on new ones. The page “Finite samples, finite task diversity, high "
        "dimension” derives it."
    ),
    controls=(
        Choice(
            "over",
            "Errors over",
            (
                Option("tau", "sequences"),
                Option("kappa", "tasks"),
                Option("alpha", "context"),
            ),
        ),
        Slider(
            "tau",
            "sequences τ",
            (0.2, 0.5, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0),
            1.25,
            group=_LIMIT,
            help="P/D², prompts for each feature",
        ),
        Slider(
            "alpha",
            "context α",
            (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0),
            4.0,
            group=_LIMIT,
            help="N/D",
        ),
        Slider(
            "kappa",
            "tasks κ",
            (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, math.inf),
            0.5,
            group=_LIMIT,
            help="k/D; ∞ for a fresh task in every prompt",
        ),
        Slider(
            "noise",
            "noise ρ",
            (0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
            0.05,
            group=_LIMIT,
        ),
        Slider(
            "ridge",
            "ridge λ",
            (0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
            0.0,
            group=_LIMIT,
        ),
        Slider(
            "dimension",
            "dimension D",
            (6, 8, 12, 16),
            12,
            group=_SIZE,
            help="of the equivalent and of the fits to drawn data",
        ),
    ),
    parts={"limit": limit, "flow": flow, "finite": finite},
    in_python=in_python,
    stored=(
        {
            "kappa": (0.25, 0.5, 1.0, 2.0),
            "ridge": (0.0, 0.1),
            "over": ("tau", "kappa"),
        },
    ),
)
