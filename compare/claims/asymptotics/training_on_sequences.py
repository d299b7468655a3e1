"""Merged attention that is trained on drawn prompts of few tasks: its errors over time, and when they are least."""

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import exact_risk, ridge_fit, sample
from ...evidence.claim import Claim, RunContext
from ...training_errors import errors_along_training
from .drawn_data import paired_within_scatter
from .growing_mode import drop_time, task_of, trained_errors
from .stopping_times import least_before_the_end

# -- Along training -----------------------------------------------------------------------------------------------

DIMENSION, TASKS, SEQUENCES, SEEDS = 6, 3, 8000, 24
START = 0.03
MOMENTS = (0.5, 0.8, 1.0, 1.2, 1.5, 2.0)
"""In parts of the drop time: before, within and after the drop."""

SCATTERING = slice(0, 4)
"""Moments until the error on training tasks is near its least, of which data can only be above."""

EXCHANGED = "new tasks and training tasks exchanged"
MORE_TASKS = "twice as many training tasks"
LATER = "a tenth of the drop time later"


def _trained(context: RunContext) -> list[FloatArray]:
    """Errors on new and on training tasks of every seed's tasks, (seeds, T) each."""
    new = task_of(DIMENSION)
    icl, idg = [], []
    for seed in context.seeds(SEEDS):
        own = task_of(DIMENSION, TASKS, seed)
        data = sample(own, SEQUENCES, seed)
        times = np.array(MOMENTS) * drop_time(own, START)
        found = trained_errors(own, new, data, START, times)
        icl.append(found.icl)
        idg.append(found.idg[SCATTERING])
    return [np.array(icl), np.array(idg)]


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """The errors of the same tasks with unlimited sequences, or wrong ones."""
    new = task_of(DIMENSION)
    icl, idg = [], []
    for seed in context.seeds(SEEDS):
        own = task_of(DIMENSION, TASKS, seed)
        shift = 0.1 if control == LATER else 0.0
        times = (np.array(MOMENTS) + shift) * drop_time(own, START)
        if control == MORE_TASKS:
            own = task_of(DIMENSION, 2 * TASKS, seed)
        known = errors_along_training(own, new, times, START)
        is_exchanged = control == EXCHANGED
        icl.append(known.idg if is_exchanged else known.icl)
        idg.append((known.icl if is_exchanged else known.idg)[SCATTERING])
    return [np.array(icl), np.array(idg)]


# -- The best time ------------------------------------------------------------------------------------------------

FEW_DIMENSION, FEW_TASKS = 8, 4
TAUS = (1.25, 4.0)
"""P/(D(D+1))."""
SETS = 30
FEW_START = 1e-3
PLACES = (0.375, 0.75, 1.5, 3.0, 6.0, 12.0, np.inf)
"""Times in units of the drop time, a factor of two apart, and the end, where the map is that of least squares."""

BEST = 1.5
UNLIMITED = "the end, as with unlimited sequences"
EARLIER = "before the drop"
FOUR_TIMES = "four times as late"
WRONG = {UNLIMITED: np.inf, EARLIER: 0.375, FOUR_TIMES: 6.0}


def _errors_of_sets(context: RunContext) -> list[FloatArray]:
    """Errors (sets, T) on new and on training tasks for each number of sequences."""
    D = FEW_DIMENSION
    new = task_of(D)
    curves: list[FloatArray] = []
    for tau in TAUS:
        seeds = context.seeds(SETS)
        found = np.empty((2, len(seeds), len(PLACES)))
        for position, seed in enumerate(seeds):
            own = task_of(D, FEW_TASKS, seed)
            data = sample(own, round(tau * D * (D + 1)), seed)
            times = np.array(PLACES[:-1]) * drop_time(own, FEW_START)
            found[:, position, :-1] = trained_errors(own, new, data, FEW_START, times)
            M = ridge_fit(data)
            found[:, position, -1] = exact_risk(new, M), exact_risk(own, M)
        curves += list(found)
    return curves


def _best_places(context: RunContext, control: str) -> list[int]:
    """Just after the drop, or a wrong time, for each of the curves."""
    place = PLACES.index(WRONG.get(control, BEST))
    return [place] * (2 * len(TAUS))


CLAIMS = (
    Claim(
        id="asymptotics.errors_along_training",
        title="Errors of merged attention along training, on new tasks and on its own, are those of the exact flow",
        paper="lu2025",
        beyond_paper=True,
        origin="the flow of Zhang et al. on the tasks of Lu et al.",
        statement=r"e_{ICL}(t) = L_\Omega(M(t)),\ e_{IDG}(t) = L_{\Omega_k}(M(t)),\quad \dot U = sG,\ "
        r"\dot s = \langle G, U\rangle",
        observable="errors of gradient flow on 8000 prompts of three tasks and their negatives, D = 6, N = 12",
        limit="P → ∞: here below the scatter of data sets",
        measure=_trained,
        predict=_stated,
        judge=paired_within_scatter,
        controls=(EXCHANGED, MORE_TASKS, LATER),
        hypotheses=("white inputs", "tasks on the sphere, each with its negative"),
        figure="training_on_few_tasks",
    ),
    Claim(
        id="asymptotics.early_stopping_of_training",
        title="On P sequences of few tasks the in-context error of merged attention is least just after its drop",
        paper="lu2025",
        beyond_paper=True,
        origin="the training of merged attention is that of Zhang et al.",
        statement=r"\min_t e_{ICL}(t) < e_{ICL}(\infty),\quad t^* \approx 1.5 \ln(1/w_0)/\lVert B\rVert",
        observable="errors of gradient flow on P = 90 and 288 prompts of D/2 tasks, D = 8, up to least squares",
        limit="none: the best of times a factor of two apart",
        measure=_errors_of_sets,
        predict=_best_places,
        judge=least_before_the_end(np.array(PLACES)),
        controls=tuple(WRONG),
        hypotheses=("white inputs", "tasks on the sphere, each with its negative"),
        figure="training_on_few_tasks",
    ),
)
