"""Error budget of the plateau heights of separate heads."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import Experiment, Trajectory
from .....theory import population
from ....error_budget import START, flow_budget
from ....metrics.curves import plateau_heights

MODES = "modes not learned yet"


def height_budget(
    experiment: Experiment,
    run: Trajectory,
    plateaus: Sequence[int],
    times: FloatArray,
    *,
    method: str = "DOP853",
) -> dict[str, float]:
    """`flow_budget` of the heights of the greedy plateaus m of a separate run, in the unit of the loss.

    On the last flow the directions that a plateau has not learned are taken out of the map first; what remains
    is how far the learned ones are from their fixed point. Both vanish with the initial scale. ValueError as in
    `flow_budget`.
    """
    loss = population(experiment.task, experiment.model)
    chosen = list(plateaus)

    def heights(trajectory: Trajectory) -> FloatArray:
        visited = plateau_heights(
            trajectory.loss, trajectory.gradient_norm, loss.greedy_losses
        )
        return visited.heights[chosen]

    def predictions(last: Trajectory) -> dict[str, ArrayLike]:
        return {
            MODES: _heights_of_learned_modes(experiment, last, chosen),
            START: loss.greedy_losses[chosen],
        }

    return flow_budget(
        experiment, heights(run), heights, predictions, times, method=method
    )


def _heights_of_learned_modes(
    experiment: Experiment, run: Trajectory, plateaus: Sequence[int]
) -> FloatArray:
    """L(P M P) on each greedy plateau m of the run, P projecting on the m directions that it has learned."""
    model = experiment.model
    loss = population(experiment.task, model)
    visited = plateau_heights(run.loss, run.gradient_norm, loss.greedy_losses)
    losses = []
    for m in plateaus:
        weights = run.stored_weights(int(visited.indices[m]))
        learned = loss.directions[:, :m]  # (D, m), orthonormal
        projector = learned @ learned.T  # (D, D)
        M = effective_map(model, weights)
        losses.append(loss.loss(projector @ M @ projector))
    return np.array(losses)
