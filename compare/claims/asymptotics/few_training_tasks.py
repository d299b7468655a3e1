"""Merged attention that is trained on few tasks and unlimited prompts: its errors on new tasks and on its own."""

import numpy as np

from ....models.attention import Merged
from ....models.effective_map import effective_map
from ....runtime.arrays import FloatArray
from ....simulate import exact_risk, flow, initial_weights
from ....task import Task
from ....teachers import Sphere
from ....theory.asymptotics import errors
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import at_least_order
from ...exact_statistics import POPULATION_MOMENTS, population_statistics

MODEL = Merged(heads=1)
DIMENSIONS = (4, 8, 32)
KAPPAS = (0.25, 8.0)
"""k/D; with k near D the errors of pools scatter by as much as they differ from the limit."""
ALPHA, NOISE = 4, 0.1
POOLS = 8
WITHIN = 0.05
"""How near the last dimension comes: the error on few training tasks is 4 % above the limit at D = 32."""
SCALE = 0.01
"""Of the weights at the start."""

OWN_TASKS = "tested on the training tasks"
TWICE = "κ = 2 k/D"
SHORTER = "α = N/(2 D)"


def _task(dimension: int, tasks: int | None = None, seed: int = 0) -> Task:
    """White inputs; tasks of the sphere, or k with their negatives, whose flow stays in the restricted block."""
    D = dimension
    sphere = Sphere(D)
    return Task(
        [1 / D] * D,
        teachers=sphere if tasks is None else sphere.pool(tasks, seed, signs=True),
        context_length=ALPHA * D,
        noise_variance=NOISE,
    )


def _end_of_training(task: Task, seed: int) -> FloatArray:
    """The map (D, D) that gradient flow from small random weights ends on."""
    start = initial_weights(MODEL, task, SCALE, seed, "restricted")
    # The loss drops at times of order D log(1/scale), and is within 1e-5 of its end then.
    flow_time = [0, 40 * task.dimension**1.5]
    run = flow(MODEL, population_statistics(task, MODEL), start, flow_time)
    return np.asarray(effective_map(MODEL, run)[-1])


def _trained(context: RunContext) -> list[FloatArray]:
    """Errors on new tasks and on the training tasks after training, means over pools, (κ, 2) for each dimension."""
    seeds = context.seeds(POOLS)
    means = []
    for D in DIMENSIONS:
        new = _task(D)
        found = np.empty((len(seeds), len(KAPPAS), 2))
        for s, seed in enumerate(seeds):
            for j, kappa in enumerate(KAPPAS):
                own = _task(D, round(kappa * D), seed)
                M = _end_of_training(own, seed)
                found[s, j] = exact_risk(new, M), exact_risk(own, M)
        means.append(found.mean(axis=0))
    return means


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """The closed form for unlimited sequences, or a wrong one, (κ, 2) for each dimension."""
    kappas = np.array(KAPPAS)
    known = errors(
        tau=np.inf,
        alpha=ALPHA / 2 if control == SHORTER else ALPHA,
        kappa=2 * kappas if control == TWICE else kappas,
        noise=NOISE,
    )
    icl = known.idg if control == OWN_TASKS else known.icl
    return [np.column_stack([icl, known.idg])] * len(DIMENSIONS)


CLAIMS = (
    Claim(
        id="asymptotics.training_on_few_tasks",
        title="Merged attention trained on few tasks ends on the errors of the limit of unlimited sequences",
        paper="lu2025",
        beyond_paper=True,
        equation="unlimited sequences",
        origin="the training of merged attention is that of Zhang et al.",
        statement=r"e_{ICL}, e_{IDG} \to e(\tau = \infty, \alpha, \kappa) + O(1/D)",
        observable="errors on new and on training tasks at the end of gradient flow, k = D/4 and 8D tasks, N = 4D",
        limit="D → ∞",
        order=1,
        measure=_trained,
        predict=_stated,
        judge=at_least_order([1 / D for D in DIMENSIONS], 1, WITHIN, name="1/D"),
        controls=(OWN_TASKS, TWICE, SHORTER),
        hypotheses=("white inputs", "tasks on the sphere, each with its negative"),
        assumes=POPULATION_MOMENTS,
        figure="training_on_few_tasks",
    ),
)
