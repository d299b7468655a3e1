"""What a flow of softmax heads is defined by beside the task: which loss, and the metric ρ."""

from ...runtime.checks import check_choice, positive_number

LOSSES = ("exact", "approximate")
"""Losses whose flow is known."""

METRICS = ("matrix", "euclidean")
"""Metrics that have a name."""


def checked_metric(metric: str | float, dimension: int) -> float:
    """ρ of dω/dt = −(ρ/2) ∂L/∂ω: 1/D for "matrix", 1 for "euclidean", or the number itself; ValueError otherwise.

    >>> checked_metric("matrix", 5)
    0.2
    """
    if isinstance(metric, str):
        check_choice(metric, "metric", METRICS)
        return 1 / dimension if metric == "matrix" else 1.0
    return positive_number(metric, "metric")
