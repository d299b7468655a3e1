"""Runs of several outputs, which no curve and no fixed point of one output describes."""

from ...simulate import Trajectory


def refuse_several_outputs(run: Trajectory, what: str) -> None:
    """ValueError for a run whose value weights (H, K, D+K) are those of K > 1 outputs; `what` is of one output.

    Runs that hold no weights do not tell, and whole value matrices (H, D+1, D+1) are of one output.
    """
    value = run.weights.get("value")
    if value is None or value.ndim != 4:
        return
    outputs, size = value.shape[2:]
    if 1 < outputs < size:
        raise ValueError(
            f"the run is of a model of {outputs} outputs, and {what} are of one: compare its losses with "
            "population(task, model).minimum_loss"
        )
