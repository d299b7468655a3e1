"""Tasks whose K = D outputs share the eigenvectors of the inputs: one output, one teacher and one input a mode.

W = U diag(l) Uᵀ and Λ = U diag(s) Uᵀ with independent l_α of mean square ω_α. In the coordinates of U one layer of
linear attention ŷ = p β q x_q with diagonal p and q has the loss

    L = Σ ωs + Kσ² − 2ℓ Σ ω s² p q + g Σ ω s³ p² q² + k T_p T_q,    T_p = Σ (ωs + σ²) p²,    T_q = Σ s² q²

For contexts of N tokens and the divisor N, ℓ = 1, g = 1 + 1/N and k = 1/N. Source: the task of Mainali and Teixeira
2025 (arXiv 2504.12916), for ω = 1 and σ = 0; the exact loss is derived here.
"""

from typing import NamedTuple

import numpy as np

from ...models.attention import Merged
from ...models.protocol import Parametrization, is_softmax, refuse_other_outputs
from ...runtime.arrays import FloatArray
from ...runtime.checks import nonnegative_number
from ...task import Task
from ..call_order import require_task_first
from ..moments.context_lengths import length_means
from ..moments.laws_of_outputs import SharedModes, shared_modes


class ModeTask(NamedTuple):
    """A task in the coordinates of its modes, which are ordered by decreasing ω s/√(ωs + σ²).

    `inputs` s, `teachers` ω (D,); `noise` σ² in the context, `zero_loss` the loss of the zero predictor, in units of
    y². `linear` ℓ, `pairs` g and `single` k are means over the context lengths. `basis` (D, D): a mode a column.
    """

    inputs: FloatArray
    teachers: FloatArray
    noise: float
    zero_loss: float
    linear: float
    pairs: float
    single: float
    basis: FloatArray

    @property
    def dimension(self) -> int:
        """D, the number of modes."""
        return len(self.inputs)

    @property
    def labels(self) -> FloatArray:
        """ωs + σ² (D,), the variance of each output in the context."""
        return self.teachers * self.inputs + self.noise

    @property
    def rates(self) -> FloatArray:
        """ℓ ω s² (D,), at which a mode grows from zero in flow time."""
        return self.linear * self.teachers * self.inputs**2

    @property
    def thresholds(self) -> FloatArray:
        """κ = ω s/√(ωs + σ²) (D,), by which the minimum decides whether a mode is learned; 0 where nothing varies."""
        signal = self.teachers * self.inputs
        # ωs/√(ωs) is a root where there is no noise, also at 0.
        safe = np.where(self.labels > 0, self.labels, 1.0)
        return np.asarray(signal / np.sqrt(safe))


def mode_task(task: Task, model: Parametrization | None, what: str) -> ModeTask:
    """The task in the coordinates of its modes; ValueError, which names `what`, where its outputs share no basis.

    Without a model it is one merged head with the divisor N.
    """
    require_task_first(f"{what}(task, …)", task, model)
    layer = one_layer(task, model, what)
    inputs, teachers, basis = _shared_modes(task, what)
    means = length_means(task, layer)
    modes = ModeTask(
        inputs=inputs,
        teachers=teachers,
        noise=task.noise_variance,
        zero_loss=float(np.sum(teachers * inputs))
        + task.outputs * task.query_noise_variance,
        linear=means.linear,
        pairs=means.pairs,
        single=means.single,
        basis=basis,
    )
    # Equal thresholds in the order of the inputs, so that the first mode is the first to be learned.
    order = np.lexsort((-modes.inputs, -modes.thresholds))
    return modes._replace(
        inputs=inputs[order], teachers=teachers[order], basis=basis[:, order]
    )


def one_head(task: Task, model: Parametrization | None, what: str) -> Merged:
    """One merged head of linear attention with the outputs of this task; ValueError for another model."""
    if model is None:
        return Merged(heads=1, outputs=task.outputs)
    if not isinstance(model, Merged) or is_softmax(model):
        raise ValueError(
            f"{what} is known for merged linear attention, not for {model}: choose Merged(heads=1, "
            f"outputs={task.outputs}), or train it"
        )
    refuse_other_outputs(task.outputs, model)
    if model.head_count != 1:
        raise ValueError(
            f"{what} is known for one head of several outputs (heads=1), not for the sum over {model.head_count}: "
            "train it instead"
        )
    return model


def one_layer(task: Task, model: Parametrization | None, what: str) -> Merged:
    """`one_head` where p and q alone move: ValueError for inputs or teachers that move the other blocks as well."""
    layer = one_head(task, model, what)
    if not task.inputs.is_gaussian or np.any(task.input_mean):
        raise ValueError(
            f"{what} is known for Gaussian x of mean zero; theory.population has the loss of other inputs"
        )
    if not task.teachers.symmetric:
        raise ValueError(
            f"{what} is known for teachers where −W has the law of W: Pool(…, signs=True) has the same second moments"
        )
    return layer


def refuse_decay(weight_decay: float) -> None:
    """ValueError for a weight decay, under which nothing is known of several outputs."""
    if nonnegative_number(weight_decay, "weight_decay") > 0:
        raise ValueError(
            "under weight decay the theory knows one output: train several outputs with it, or pass weight_decay=0"
        )


def _shared_modes(task: Task, what: str) -> SharedModes:
    """The modes of a task; ValueError where its teachers and inputs share no basis."""
    modes = shared_modes(task)
    if modes is None:
        K, D = task.outputs, task.dimension
        raise ValueError(
            f"{what} is known for teachers that share the eigenvectors of the inputs, as "
            "Gaussian.shared_basis(variances, basis) does with the eigenvectors of Λ as basis; these teachers have "
            f"K = {K} outputs of D = {D} inputs"
            + (" and another second moment" if K == D else "")
        )
    return modes
