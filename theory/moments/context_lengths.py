"""How context lengths and the divisor of linear attention enter the moments of β = Σ_n y_n x_n / divisor."""

from typing import NamedTuple

from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization
from ...task import Task
from .laws import weighted_mean


class LengthMeans(NamedTuple):
    """Weighted means over the context lengths n, with s = n/divisor: of s, s² (1 + 1/n), s²/n and s² (1 − 1/n).

    E[β x_qᵀ y_q] is `linear` M₂ΩM₂. Of E[β βᵀ] the pairs of different tokens give `distinct` M₂ΩM₂, and each token with
    itself `single` (E[(xᵀΩx) x xᵀ] + σ² M₂). For Gaussian x that is `pairs` ΛΩΛ + `single` (tr(ΩΛ) + σ²) Λ.
    """

    linear: float
    pairs: float
    single: float
    distinct: float


def length_means(task: Task, model: Parametrization) -> LengthMeans:
    """The means over the context lengths of a task, with the divisor of a model of linear attention."""
    lengths = task.context_lengths
    linear = []
    pairs = []
    single = []
    distinct = []
    for n in lengths:
        divisor = attention_divisor(model, n, task.dimension)
        s = n / divisor
        linear.append(s)
        pairs.append(s * (n + 1) / divisor)
        single.append(s / divisor)
        distinct.append(s * (n - 1) / divisor)
    means = [
        weighted_mean(values, task.context_weights)
        for values in (linear, pairs, single, distinct)
    ]
    return LengthMeans(*means)
