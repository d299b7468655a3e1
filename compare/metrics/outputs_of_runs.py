"""Runs of several outputs, which no curve and no fixed point of one output describes."""

from ...simulate import Trajectory


def outputs_of_run(run: Trajectory) -> int | None:
    """K of a run whose value weights (H, K, D+K) are those of K outputs; None for runs that hold no weights.

    Whole value matrices (H, D+1, D+1) are of one output.
    """
    value = run.weights.get("value")
    if value is None:
        return None
    if value.ndim != 4:
        return 1
    outputs, size = value.shape[2:]
    return int(outputs) if 1 < outputs < size else 1


def refuse_other_outputs(run: Trajectory, outputs: int, what: str) -> None:
    """ValueError for a run of another number of outputs than `what` is of, such as "time courses"."""
    of_run = outputs_of_run(run)
    if of_run is not None and of_run != outputs:
        raise ValueError(
            f"the run is of a model of {_counted(of_run)}, and {what} of {_counted(outputs)}: pass those of the run's "
            "own task and model"
        )


def _counted(outputs: int) -> str:
    return "1 output" if outputs == 1 else f"{outputs} outputs"
