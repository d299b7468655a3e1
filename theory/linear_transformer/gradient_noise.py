"""The noise of one prompt's gradient and Hessian at diagonal p and q, exactly, by the moments of β up to the fourth.

All entries of p and q (D, D) are trained; with v = β q x and the residual e = y − p v of the query's x and y,

    ∂(½|e|²)/∂p_iα = −e_i v_α        ∂(½|e|²)/∂q_ac = −Σ_iγ e_i p_iγ β_γa x_c

so that gradient and Hessian are linear in the products y_i φ and φ φ' of φ_αac = β_αa x_c. Their second moments do not
depend on p and q. The noise vanishes along the scale p → cp, q → q/c: the gradient there is 0 for every prompt.
Derived here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...task import Task
from ...teachers import Gaussian
from .layer_losses import LayerMoments
from .mode_tasks import ModeTask, mode_task, one_layer
from .units_of_modes import refuse_extreme_units
from .wick_means import length_powers, mean_of_products

MOST_MODES = 3
"""Beyond, the second moments of products fill the memory: they are about D¹² numbers."""

_LARGEST_POWER = 30
"""Of ten, of variances: moments have four powers of that of x and two of that of y."""


class NoiseMoments(NamedTuple):
    """The `modes`, and second moments of the products y φ (D⁴) and φ φ (D⁶), one after the other, (D⁴+D⁶, D⁴+D⁶)."""

    modes: ModeTask
    products: FloatArray


def sgd_noise(
    task: Task, p: ArrayLike, q: ArrayLike, model: Parametrization | None = None
) -> FloatArray:
    """E g gᵀ (2D², 2D²) of one prompt's gradient g of ½|y_q − ŷ|² by the rows of p and of q, at diagonal p and q (D,).

    Coordinates are those of the modes. The loss has the factor ½ here. ValueError where the outputs share no basis,
    for teachers that are not Gaussian, and for more than 3 modes. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
    >>> sgd_noise(task, [0, 0], [0.5, 0.5]).diagonal().round(4)[:4]
    array([12.9539,  0.3712,  0.4706,  0.2166])
    """
    moments = noise_moments(task, model, "sgd_noise")
    D = moments.modes.dimension
    p_modes = finite_array(p, "p", "(D,)", D=D)
    q_modes = finite_array(q, "q", "(D,)", D=D)
    return noise_at(moments, np.diag(p_modes), np.diag(q_modes))


def noise_moments(task: Task, model: Parametrization | None, what: str) -> NoiseMoments:
    """The second moments of products of the task; ValueError, which names `what`, where they are not known."""
    modes = mode_task(task, model, what)
    if not isinstance(task.teachers, Gaussian):
        raise ValueError(
            f"{what} needs fourth moments of the teachers and knows those of Gaussian ones, not of "
            f"{type(task.teachers).__name__}: train with fresh prompts instead"
        )
    D = modes.dimension
    if D > MOST_MODES:
        raise ValueError(
            f"{what} is computed for up to {MOST_MODES} modes, and here are {D}: simulate.sgd_chains trains them all"
        )
    refuse_extreme_units(modes, what, _LARGEST_POWER)
    layer = one_layer(task, model, what)
    without = _without_labels(modes, length_powers(task, layer, 4))
    one = _one_label(modes, length_powers(task, layer, 3))
    τ = task.query_noise_variance
    two = _two_labels(modes, length_powers(task, layer, 2), τ)
    return NoiseMoments(modes, np.block([[two, one], [one.T, without]]))


def noise_at(moments: NoiseMoments, p: FloatArray, q: FloatArray) -> FloatArray:
    """E g gᵀ (2D², 2D²) at p and q (D, D)."""
    g = _gradient_in_products(p, q)
    return np.asarray(g @ moments.products @ g.T)


def hessian_moments(moments: NoiseMoments, p: FloatArray, q: FloatArray) -> FloatArray:
    """E H_mn H_op (2D², 2D², 2D², 2D²) of one prompt's Hessian H of ½|y_q − ŷ|² at p and q (D, D), by m, n, o, p."""
    count = p.size + q.size
    H = _hessian_in_products(p, q).reshape(count**2, -1)
    return np.asarray(H @ moments.products @ H.T).reshape((count,) * 4)


def moments_of_modes(modes: ModeTask) -> LayerMoments:
    """What the loss of any p and q (D, D) in the coordinates of the modes is made of."""
    s, D = modes.inputs, modes.dimension
    every = np.arange(D)
    A = np.zeros((D, D, D, D))
    A[every[:, None], every, every[:, None], every] = modes.single * np.outer(
        modes.labels, s
    )
    A[every, every, every, every] += modes.pairs * modes.teachers * s**2
    B = np.zeros((D, D, D, D))
    B[every, every, every, every] = modes.rates
    return LayerMoments(modes.zero_loss, A, B, np.diag(s))


def _gradient_in_products(p: FloatArray, q: FloatArray) -> FloatArray:
    """g (2D², D⁴+D⁶) as combinations of the products y_i φ_αac and φ_αac φ_βbd."""
    D = len(p)
    one = np.eye(D)
    # By p_iα: −y_i v_α + Σ p_iγ v_γ v_α, with v_α = Σ q_ac φ_αac.
    label_by_p = -np.einsum("ij,mn,ac->imjnac", one, one, q)
    pair_by_p = np.einsum("ik,ac,mn,bd->imkacnbd", p, q, one, q)
    # By q_ac: −Σ y_i p_iγ φ_γac + Σ (pᵀp)_δγ v_δ φ_γac.
    label_by_q = -np.einsum("jn,ab,cd->acjnbd", p, one, one)
    pair_by_q = np.einsum("kn,bd,ae,cg->ackbdneg", p.T @ p, q, one, one)
    by_p = [each.reshape(D**2, -1) for each in (label_by_p, pair_by_p)]
    by_q = [each.reshape(D**2, -1) for each in (label_by_q, pair_by_q)]
    return np.block([by_p, by_q])


def _hessian_in_products(p: FloatArray, q: FloatArray) -> FloatArray:
    """The derivatives (2D², 2D², D⁴+D⁶) of `_gradient_in_products` by p and q, which is of degree 2 in each."""
    D = len(p)
    count = 2 * D**2
    derivatives = np.empty((count, count, D**4 + D**6))
    for number, unit in enumerate(np.eye(count)):
        dp, dq = unit.reshape(2, D, D)
        # Central differences are exact up to degree 2.
        above = _gradient_in_products(p + dp, q + dq)
        below = _gradient_in_products(p - dp, q - dq)
        derivatives[:, number] = (above - below) / 2
    return derivatives


def _without_labels(modes: ModeTask, lengths: FloatArray) -> FloatArray:
    """E φ φ φ φ (D⁶, D⁶)."""
    β = mean_of_products(modes, lengths, "aA bB cC dD")
    x = _four_inputs(modes)
    moments = np.einsum("aAbBcCdD,ijkl->aAibBjcCkdDl", β, x)
    return np.asarray(moments).reshape(modes.dimension**6, -1)


def _one_label(modes: ModeTask, lengths: FloatArray) -> FloatArray:
    """E y_i φ φ φ (D⁴, D⁶), of y_i = λ_i x_i."""
    β = mean_of_products(modes, lengths, "bB cC dD", "a")  # by bBcCdDa
    x = _four_inputs(modes)
    moments = np.einsum("bBcCdDa,ajkl->abBjcCkdDl", β, x)
    return np.asarray(moments).reshape(modes.dimension**4, -1)


def _two_labels(modes: ModeTask, lengths: FloatArray, query_noise: float) -> FloatArray:
    """E y_i φ y_j φ (D⁴, D⁴), of y = λx and the noise of the query's label."""
    D = modes.dimension
    β = mean_of_products(modes, lengths, "bB dD", "ac")  # by bBdDac
    moments = np.einsum("bBdDac,acjl->abBjcdDl", β, _four_inputs(modes))
    of_noise = mean_of_products(modes, lengths, "bB dD")
    x = np.diag(modes.inputs)
    moments = moments + query_noise * np.einsum(
        "ac,bBdD,jl->abBjcdDl", np.eye(D), of_noise, x
    )
    return np.asarray(moments).reshape(D**4, -1)


def _four_inputs(modes: ModeTask) -> FloatArray:
    """E x_i x_j x_k x_l (D, D, D, D) of the query."""
    Λ = np.diag(modes.inputs)
    pairs = np.multiply.outer(Λ, Λ)
    crossed = pairs.transpose(0, 2, 1, 3) + pairs.transpose(0, 2, 3, 1)
    return np.asarray(pairs + crossed)
