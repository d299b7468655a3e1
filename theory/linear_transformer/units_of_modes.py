"""In which units of x and y powers of variances stay numbers of a double."""

import numpy as np

from .mode_tasks import ModeTask


def refuse_extreme_units(modes: ModeTask, what: str, power: int) -> None:
    """ValueError, which names `what`, where the largest variance of x or y is not within 10 to the ± `power`.

    Where all are 0 nothing is learned, which is said elsewhere.
    """
    largest = {"x": float(np.max(modes.inputs)), "y": float(np.max(modes.labels))}
    for name, variance in largest.items():
        if variance > 0 and not abs(np.log10(variance)) <= power:
            raise ValueError(
                f"{what} needs powers of the variances that leave the numbers of a double where that of {name} is "
                f"{variance:.3g}: take units in which it is between 1e-{power} and 1e{power}"
            )
