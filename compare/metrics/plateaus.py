"""Plateaus of a run, matched to the fixed points of the theory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...models.effective_map import effective_map
from ...models.protocol import Parametrization, Weights
from ...runtime.checks import positive_number
from ...runtime.display import Displayed, Summary
from ...simulate import Trajectory
from ...theory import FixedPoint
from .curves import plateau_heights


@dataclass(frozen=True, eq=False, repr=False)
class PlateauMatch(Displayed):
    """One plateau of a run and the fixed point that it is compared with; made by `match_plateaus`.

    `loss` is the plateau's height, `time` its place in the unit of the run, `weights` the stored ones nearest to
    it, `map_gap` the distance |M − M_S| relative to |M*|, `gradient_norm` the smallest on the plateau.
    """

    point: FixedPoint
    loss: float
    time: float
    weights: Weights
    map_gap: float
    gradient_norm: float

    def summary(self) -> Summary:
        """The directions learned, the loss beside the predicted one, and how near the map is."""
        directions = ", ".join(map(str, self.point.subset)) or "none"
        rows = {
            "directions learned": directions,
            "time": f"{self.time:g}",
            "loss": f"{self.loss:.6g} (fixed point: {self.point.loss:.6g})",
            "|M − M_S| / |M*|": f"{self.map_gap:.2g}",
            "gradient norm": f"{self.gradient_norm:.2g}",
        }
        return Summary("Plateau of a run at a fixed point", rows)

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the match without the weights, as plain Python."""
        return {
            "subset": list(self.point.subset),
            "predicted_loss": float(self.point.loss),
            "loss": self.loss,
            "time": self.time,
            "map_gap": self.map_gap,
            "gradient_norm": self.gradient_norm,
        }


def match_plateaus(
    run: Trajectory, model: Parametrization, points: Sequence[FixedPoint], size: float
) -> tuple[PlateauMatch, ...]:
    """The plateaus of a run that belong to these fixed points, by decreasing loss; skipped ones are left out.

    `size` is |M*|, the scale of the maps. A plateau is where the gradient is smallest between two mid-levels.
    ValueError unless the size is positive.
    """
    size = positive_number(size, "size")
    plateaus = plateau_heights(
        run.loss, run.gradient_norm, [point.loss for point in points]
    )
    return tuple(
        _plateau_match(run, model, point, int(index), size)
        for point, index in zip(points, plateaus.indices, strict=True)
        if index >= 0
    )


def _plateau_match(
    run: Trajectory, model: Parametrization, point: FixedPoint, index: int, size: float
) -> PlateauMatch:
    """The match at one recorded loss of the run; weights are recorded less often than losses."""
    # Losses are recorded at every step, weights at some of them.
    nearest = int(np.argmin(np.abs(run.weight_time - run.time[index])))
    weights = run.stored_weights(nearest)
    # In the Frobenius norm, as |M*| is.
    distance = float(np.linalg.norm(effective_map(model, weights) - point.M))
    return PlateauMatch(
        point=point,
        loss=float(run.loss[index]),
        time=float(run.time[index]),
        weights=weights,
        map_gap=distance / size,
        gradient_norm=float(run.gradient_norm[index]),
    )
