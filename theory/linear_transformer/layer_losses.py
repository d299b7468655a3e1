"""The loss of one layer ŷ = p β q x_q with any p (K, K) and q (D, D), for any law of the teachers, and its derivatives.

Of the law only T_{ia,jb} = E W_ia W_jb matters. With 𝓐 = E β ⊗ β, 𝓑_ij = E y_i β_j x_qᵀ and Q = q Λ qᵀ:

    L = c − 2 Σ_ij p_ij ⟨𝓑_ij, q⟩ + Σ_jl (pᵀp)_jl Σ_ab 𝓐_{ja,lb} Q_ab

Source: the layer of Mainali and Teixeira 2025 (arXiv 2504.12916); the loss of any law is derived here.
"""

from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...task import Task
from ..call_order import require_task_first
from ..moments.population_loss import population
from .mode_tasks import one_head


class LayerGradient(NamedTuple):
    """L (…), and its derivatives by p (…, K, K) and by q (…, D, D)."""

    loss: FloatArray
    by_p: FloatArray
    by_q: FloatArray


class LayerMoments(NamedTuple):
    """What the loss of one layer is made of: `c`, 𝓐 (K, D, K, D), 𝓑 (K, K, D, D) by output and β_j, and E x xᵀ."""

    c: float
    A: FloatArray
    B: FloatArray
    Lambda: FloatArray

    @property
    def outputs(self) -> int:
        """K, the number of outputs."""
        return len(self.A)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return len(self.Lambda)


@overload
def layer_loss(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    model: Parametrization | None = None,
    *,
    gradient: Literal[False] = False,
) -> FloatArray:
    """L (…) alone."""


@overload
def layer_loss(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    model: Parametrization | None = None,
    *,
    gradient: Literal[True],
) -> LayerGradient:
    """L (…) and its derivatives."""


def layer_loss(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    model: Parametrization | None = None,
    *,
    gradient: bool = False,
) -> FloatArray | LayerGradient:
    """L (…) of p (…, K, K) and q (…, D, D) in units of y², for any law of teachers; with its `gradient` if wanted.

    The other blocks of the layer are zero. Without a model it is one merged head with the divisor N. ValueError for
    another model, for inputs whose fourth moments are unknown, or p or q of another shape. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1], teachers=Gaussian.kronecker([[1, 0], [0, 3]], [[1, 0], [0, 1]]), context_length=20)
    >>> layer_loss(task, np.zeros((2, 2)), np.eye(2))
    array(12.)
    >>> layer_loss(task, np.eye(2), 0.4 * np.eye(2), gradient=True).by_p.round(3)
    array([[-0.736,  0.   ],
           [ 0.   , -2.208]])
    """
    moments = layer_moments(task, model, "layer_loss")
    K, D = moments.outputs, moments.dimension
    outputs = finite_array(p, "p", "(..., K, K)", K=K)
    inputs = finite_array(q, "q", "(..., D, D)", D=D)
    if gradient:
        return gradient_of_layer(moments, outputs, inputs)
    return loss_of_layer(moments, outputs, inputs)


def layer_moments(task: Task, model: Parametrization | None, what: str) -> LayerMoments:
    """The moments of one layer on the task; ValueError, which names `what`, for another model."""
    require_task_first(f"{what}(task, …)", task, model)
    loss = population(task, one_head(task, model, what))
    K, D = task.outputs, task.dimension
    A = loss.A.reshape(K, D, K, D)
    return LayerMoments(loss.c, A, loss.B.reshape(K, K, D, D), loss.Lambda)


def loss_of_layer(moments: LayerMoments, p: FloatArray, q: FloatArray) -> FloatArray:
    """L (…) of p (…, K, K) and q (…, D, D)."""
    overlaps = np.einsum("ijab,...ab->...ij", moments.B, q)
    quadratic = _outputs_curvature(moments, q)
    terms = (p @ quadratic - 2 * overlaps) * p  # (…, K, K)
    return np.asarray(moments.c + np.sum(terms, axis=(-2, -1)))


def gradient_of_layer(
    moments: LayerMoments, p: FloatArray, q: FloatArray
) -> LayerGradient:
    """L (…) with ∂L/∂p = 2 (p R − ⟨𝓑, q⟩) and ∂L/∂q = 2 (G q Λ − Σ p_ij 𝓑_ij)."""
    overlaps = np.einsum("ijab,...ab->...ij", moments.B, q)
    R = _outputs_curvature(moments, q)
    by_p = 2 * (p @ R - overlaps)
    signal = np.einsum("ijab,...ij->...ab", moments.B, p)
    by_q = 2 * (_inputs_curvature(moments, p) @ q @ moments.Lambda - signal)
    loss = moments.c + np.sum((p @ R - 2 * overlaps) * p, axis=(-2, -1))
    return LayerGradient(np.asarray(loss), np.asarray(by_p), np.asarray(by_q))


def half_hessian_of_layer(
    moments: LayerMoments, p: FloatArray, q: FloatArray
) -> FloatArray:
    """The Hessian of ½L (K² + D², K² + D²) at p (K, K) and q (D, D), by the rows of p and then those of q.

    It holds the curvatures of the flow dθ/dt = −½∂L/∂θ.
    """
    K, D = moments.outputs, moments.dimension
    R = _outputs_curvature(moments, q)
    G = _inputs_curvature(moments, p)
    # ∂²(½L)/∂p_ij ∂q_ac = 2 Σ_lb p_il 𝓐_{la,jb} (q Λ)_bc, symmetric in the pairs of 𝓐, less 𝓑_{ij,ac}.
    qΛ = q @ moments.Lambda
    pairs = moments.A + moments.A.transpose(2, 1, 0, 3)
    mixed = np.einsum("il,lajb,bc->ijac", p, pairs, qΛ, optimize=True) - moments.B
    mixed = mixed.reshape(K * K, D * D)
    by_p = np.kron(np.eye(K), R)
    by_q = np.kron(G, moments.Lambda)
    return np.block([[by_p, mixed], [mixed.T, by_q]])


def _outputs_curvature(moments: LayerMoments, q: FloatArray) -> FloatArray:
    """R_jl = Σ_ab 𝓐_{ja,lb} Q_ab with Q = q Λ qᵀ, (…, K, K)."""
    Q = q @ moments.Lambda @ np.swapaxes(q, -1, -2)
    return np.asarray(np.einsum("jalb,...ab->...jl", moments.A, Q))


def _inputs_curvature(moments: LayerMoments, p: FloatArray) -> FloatArray:
    """G_ab = Σ_jl (pᵀp)_jl 𝓐_{ja,lb}, (…, D, D)."""
    pᵀp = np.swapaxes(p, -1, -2) @ p
    return np.asarray(np.einsum("jalb,...jl->...ab", moments.A, pᵀp))
