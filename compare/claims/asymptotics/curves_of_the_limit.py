"""Learning curves of the limit D → ∞: where they end, and how those of finite size approach them."""

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Sphere
from ....theory.asymptotics import errors, learning_curve, learning_curve_of_tasks
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import converges_on_average, equal_within

# -- The end ------------------------------------------------------------------------------------------------------

END_POINTS = 60
END = 1e12
"""θ at which the flow has converged: the smallest eigenvalue of G is above 1e-5 for τ at this distance from 1."""

EXCHANGED = "α and κ exchanged"
WITH_RIDGE = "a ridge of 0.01"
EARLIER = "θ = 3"


def _ratios(context: RunContext) -> dict[str, FloatArray]:
    """Random τ on both sides of 1, α, κ and ρ, (END_POINTS,) each; a few with infinitely many tasks or sequences."""
    rng = np.random.default_rng(context.seeds(1)[0])
    size = END_POINTS // 2
    tau = np.append(rng.uniform(0.2, 0.9, size), rng.uniform(1.1, 6, size))
    alpha = np.exp(rng.uniform(-1, 3, END_POINTS))
    kappa = np.exp(rng.uniform(-1, 2, END_POINTS))
    tau[-1] = np.inf
    kappa[::10] = np.inf
    return {
        "tau": tau,
        "alpha": alpha,
        "kappa": kappa,
        "noise": rng.uniform(0, 0.5, END_POINTS),
    }


def _closed_forms(context: RunContext) -> list[FloatArray]:
    """Ridgeless errors on new and on training tasks, each in parts of itself."""
    known = errors(**_ratios(context))
    return [np.ones_like(known.icl), np.ones_like(known.idg)]


def _ends(context: RunContext, control: str) -> list[FloatArray]:
    """Ends of learning curves in parts of the closed form, or what is wrong."""
    ratios = _ratios(context)
    known = errors(**ratios)
    if control == WITH_RIDGE:
        ridged = errors(**ratios, ridge=0.01)
        return [ridged.icl / known.icl, ridged.idg / known.idg]
    theta = 3.0 if control == EARLIER else END
    is_exchanged = control == EXCHANGED
    curve = learning_curve(
        theta,
        tau=ratios["tau"],
        alpha=ratios["kappa" if is_exchanged else "alpha"],
        kappa=ratios["alpha" if is_exchanged else "kappa"],
        noise=ratios["noise"],
        test_alpha=ratios["alpha"],
    )
    return [curve.icl / known.icl, curve.idg / known.idg]


# -- Finite size --------------------------------------------------------------------------------------------------

DIMENSIONS = (8, 16, 32)
POOLS = 8
TAU, ALPHA, KAPPA, NOISE = 1.25, 4, 0.5, 0.05
THETA = np.array([15.0, 25.0])
"""Late enough that the distance from the limit is many times the scatter over pools."""

OTHER_TASKS = "κ = 1"
ALL_NEW = "training tasks as new ones"
TWICE_THE_SEQUENCES = "τ = 2 P/(D(D+1))"


def _curves_of_tasks(context: RunContext) -> FloatArray:
    """Errors on new and on training tasks at finite size, (dimensions, pools, 2, T)."""
    seeds = context.seeds(POOLS)
    curves = np.empty((len(DIMENSIONS), len(seeds), 2, len(THETA)))
    for d, D in enumerate(DIMENSIONS):
        law = Task(
            [1 / D] * D,
            teachers=Sphere(D),
            context_length=ALPHA * D,
            noise_variance=NOISE,
        )
        for s, seed in enumerate(seeds):
            curve = learning_curve_of_tasks(
                law,
                law,
                TAU * D * (D + 1),
                THETA * D**3,
                label_row=True,
                label_weight=float(D**2),
                tasks=round(KAPPA * D),
                pools=1,
                seed=seed,
            )
            curves[d, s] = curve.test_loss, curve.train_loss
    return curves


def _curves_of_the_limit(context: RunContext, control: str) -> FloatArray:
    """The errors as D → ∞, or wrong ones, of the same shape."""
    curve = learning_curve(
        THETA,
        tau=2 * TAU if control == TWICE_THE_SEQUENCES else TAU,
        alpha=ALPHA,
        kappa=1.0 if control == OTHER_TASKS else KAPPA,
        noise=NOISE,
    )
    idg = curve.icl if control == ALL_NEW else curve.idg
    pair = np.array([curve.icl, idg])
    shape = (len(DIMENSIONS), len(context.seeds(POOLS)), *pair.shape)
    return np.broadcast_to(pair, shape)


INVERSE_DIMENSIONS = [1 / D for D in DIMENSIONS]

CLAIMS = (
    Claim(
        id="asymptotics.end_of_flow",
        title="Learning curves as D → ∞ end on the ridgeless closed form, on both sides of τ = 1",
        paper="lu2025",
        beyond_paper=True,
        equation="closed form without ridge",
        origin="the curve is derived here as an integral over complex ridges",
        statement=r"\sum_{ij} \omega_i \omega_j E_{ij} \to e_{IDG}, \quad \theta \to \infty",
        observable="both errors at 60 random (τ, α, κ, ρ), κ = ∞ and τ = ∞ among them",
        limit="θ = 1e12, where the flow has converged to rounding",
        measure=_closed_forms,
        predict=_ends,
        judge=equal_within(1e-8, axes=("point", "end in parts of the closed form")),
        controls=(EXCHANGED, WITH_RIDGE, EARLIER),
        tier="fast",
        figure="readout_learning_curves",
    ),
    Claim(
        id="asymptotics.curve_of_limit",
        title="Learning curves with the tasks at hand approach those of the limit as 1/D",
        paper="lu2025",
        beyond_paper=True,
        origin="both curves are derived here",
        statement=r"L(t) = e(\theta) + O(1/D), \quad \theta = t/D^3",
        observable="errors on new and on training tasks at finite size, at θ = 15 and 25, over pools of κ D tasks",
        limit="D → ∞",
        order=1,
        measure=_curves_of_tasks,
        predict=_curves_of_the_limit,
        judge=converges_on_average(INVERSE_DIMENSIONS, 1, name="1/D"),
        controls=(OTHER_TASKS, ALL_NEW, TWICE_THE_SEQUENCES),
        hypotheses=("white inputs", "tasks uniform on the sphere"),
        figure="readout_learning_curves",
    ),
)
