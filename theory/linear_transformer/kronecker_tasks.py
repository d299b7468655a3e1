"""Tasks whose teachers have a covariance of outputs and one of inputs, E W_ia W_jb = Γ_ij Ω_ab: one drop, no staircase.

With h = tr(Ω E_Q) and n = k σ² tr(QΛ) the loss of p and q is

    L = tr Γ tr ΩΛ + Kσ² − 2ℓ tr(pΓ) tr(ΩΛqᵀΛ) + h tr(pΓpᵀ) + n |p|²

so that the best p is a Wiener filter over the outputs, ∝ Γ (Γ + (n/h) 1)⁻¹: the identity without noise. Small weights
grow along Γ and ΛΩΛ alone, at the rate ℓ |Γ| |ΛΩΛ|, and then follow K + D equations. Where Γ = γ 1 these are merged
attention of one output (Zhang et al. 2025, arXiv 2501.16265), K times its loss and √K times as fast. Derived here.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...runtime.display import Displayed, Summary, array_summary, change
from ...runtime.line_charts import Line, LineChart
from ...task import Task
from ..call_order import require_task_first
from ..moments.context_lengths import length_means
from ..moments.laws_of_outputs import (
    ROUNDING,
    KroneckerFactors,
    kronecker_factors,
)
from ..moments.population_loss import common_eigenvectors
from ..ode import flow_times, in_units, integrate
from .mode_points import layer_weights
from .mode_tasks import one_layer

# Ratios n/h between which stationary ones are sought: filters change over a factor of ten.
_RATIOS = 400


class KroneckerTask(NamedTuple):
    """A task of Kronecker teachers on eigenvectors of Γ and of Λ^½ΩΛ^½.

    `gamma` (K,) are the eigenvalues of Γ, with trace K where that is scaled so, `outputs` (K, K) its eigenvectors as
    columns; `signal` (D,) the eigenvalues w of Λ^½ΩΛ^½ and `inputs` (D, D) their eigenvectors. `root` is Λ^½. ℓ, g, k
    and σ² as for modes; `zero_loss` is that of the zero predictor.
    """

    gamma: FloatArray
    outputs: FloatArray
    signal: FloatArray
    inputs: FloatArray
    root: FloatArray
    Omega: FloatArray
    noise: float
    zero_loss: float
    linear: float
    pairs: float
    single: float

    @property
    def curvature(self) -> FloatArray:
        """g w + k Σ w (D,), what h weighs the squares of each direction of Λ^½ q Λ^½ with."""
        return self.pairs * self.signal + self.single * float(np.sum(self.signal))


@dataclass(frozen=True, eq=False, repr=False)
class KroneckerMinimum(Displayed):
    """The least loss over p (K, K) and q (D, D), at the scale |p| = |q|; `loss` in units of y².

    `noise_ratio` ν makes p ∝ Γ (Γ + ν 1)⁻¹, a Wiener filter over the outputs, where Γ is taken in units in which its
    trace is K; it is 0 without noise in the context.
    """

    p: FloatArray
    q: FloatArray
    loss: float
    noise_ratio: float
    model: Parametrization

    def weights(self) -> Weights:
        """Weights of the model's shapes with these p and q and all other blocks zero."""
        return layer_weights(self.model, self.p, self.q)

    def to_dict(self) -> dict[str, Any]:
        """The blocks and numbers as plain numbers and lists."""
        return {
            "p": self.p.tolist(),
            "q": self.q.tolist(),
            "loss": self.loss,
            "noise_ratio": self.noise_ratio,
        }

    def summary(self) -> Summary:
        """The loss and the filter on one screen."""
        rows = {
            "loss": f"{self.loss:.8g}",
            "filter of outputs": array_summary(np.linalg.eigvalsh(self.p)),
            "noise ratio": f"{self.noise_ratio:.6g}",
        }
        formulas = {"filter": r"p \propto \Gamma (\Gamma + \nu 1)^{-1}"}
        return Summary("Least loss of one layer on Kronecker teachers", rows, formulas)


@dataclass(frozen=True, eq=False, repr=False)
class KroneckerFlow(Displayed):
    """The course of p (T, K, K), q (T, D, D) and the loss (T,) from small weights; `flow_time` (T,) is 2·rate·steps.

    `amplitude` w₀ is that of the growing mode of the start: p = w₀ Γ/|Γ|, q = w₀ ΛΩΛ/|ΛΩΛ| is followed exactly.
    """

    flow_time: FloatArray
    p: FloatArray
    q: FloatArray
    loss: FloatArray
    amplitude: float

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and the amplitude."""
        names = ("flow_time", "p", "q", "loss")
        arrays = {name: getattr(self, name).tolist() for name in names}
        return arrays | {"amplitude": self.amplitude}

    def summary(self) -> Summary:
        """The loss and the start on one screen."""
        rows = {
            "flow time": array_summary(self.flow_time),
            "loss": array_summary(self.loss),
            "amplitude of the start": f"{self.amplitude:.6g}",
        }
        return Summary("Flow of one layer on Kronecker teachers", rows)

    def chart(self) -> LineChart:
        """The loss, dashed, against flow time."""
        line = Line(self.flow_time, self.loss, style="dashed")
        return LineChart((line,), "flow time", "loss", change(self.loss))


class MergedEquivalent(NamedTuple):
    """One output that merged attention learns as a layer learns K of them: L(t) = `loss` · L_Z(`time` · t).

    `task` has one output. With M = p̄ q, p = p̄ 1: √K p̄ = `weights` · v_Z and q = `weights` · U_Z.
    """

    task: Task
    loss: float
    time: float
    weights: float


def kronecker_task(
    task: Task, model: Parametrization | None, what: str
) -> KroneckerTask:
    """The task on its eigenvectors; ValueError, which names `what`, where T is not Γ ⊗ Ω."""
    require_task_first(f"{what}(task, …)", task, model or one_layer(task, None, what))
    means = length_means(task, one_layer(task, model, what))
    Γ, Ω = factors_of_teachers(task, what)
    values, vectors = np.linalg.eigh(task.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    gamma, outputs = np.linalg.eigh(Γ)
    signal, inputs = np.linalg.eigh(root @ Ω @ root)
    gamma, signal = _nonnegative(gamma), _nonnegative(signal)
    zero_loss = float(np.sum(gamma)) * float(np.sum(signal))
    return KroneckerTask(
        gamma=gamma,
        outputs=outputs,
        signal=signal,
        inputs=inputs,
        root=root,
        Omega=Ω,
        noise=task.noise_variance,
        zero_loss=zero_loss + task.outputs * task.query_noise_variance,
        linear=means.linear,
        pairs=means.pairs,
        single=means.single,
    )


def factors_of_teachers(task: Task, what: str) -> KroneckerFactors:
    """Γ (K, K) of trace K and Ω (D, D) with E W_ia W_jb = Γ_ij Ω_ab; ValueError where there are none."""
    factors = kronecker_factors(task)
    if factors is None:
        raise ValueError(
            f"{what} is known for teachers with E W_ia W_jb = Γ_ij Ω_ab, as Gaussian.kronecker(outputs, inputs) makes "
            "them, and these have another second moment: mode_fixed_points is for a shared basis, layer_flow for any"
        )
    return factors


def _nonnegative(eigenvalues: FloatArray) -> FloatArray:
    """Eigenvalues (n,) with 0 for those that are rounding of the largest."""
    rounding = 4 * len(eigenvalues) * np.finfo(float).eps * np.max(np.abs(eigenvalues))
    return np.where(eigenvalues > rounding, eigenvalues, 0.0)


def wiener_filter(
    task: Task, q: ArrayLike, model: Parametrization | None = None
) -> FloatArray:
    """The p (K, K) of least loss beside a given q (D, D): ℓ tr(ΩΛqᵀΛ) Γ (h Γ + k σ² tr(QΛ) 1)⁻¹.

    0 where q predicts nothing. ValueError for teachers without Kronecker moments, and q of another shape. Derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.kronecker([[3, 0], [0, 1]], [[1, 0], [0, 1]])
    >>> task = Task([1, 1], teachers=teachers, context_length=10, noise_variance=0.5)
    >>> wiener_filter(task, np.eye(2)).round(4)
    array([[0.7595, 0.    ],
           [0.    , 0.7407]])
    """
    law = kronecker_task(task, model, "wiener_filter")
    D = task.dimension
    inputs = finite_array(q, "q", "(D, D)", D=D)
    X = law.root @ inputs @ law.root
    XX = X @ X.T
    W = (law.inputs * law.signal) @ law.inputs.T
    size = float(np.trace(XX))
    h = law.pairs * float(np.sum(W * XX)) + law.single * float(np.trace(W)) * size
    noise = law.single * law.noise * size
    overlap = law.linear * float(np.sum(W * X))
    scale = h * law.gamma + noise
    values = np.divide(
        overlap * law.gamma, scale, out=np.zeros_like(scale), where=scale > 0
    )
    return np.asarray(law.outputs * values @ law.outputs.T)


def kronecker_minimum(
    task: Task, model: Parametrization | None = None
) -> KroneckerMinimum:
    """The least loss of one merged head on teachers of Γ ⊗ Ω, over all p and q with the other blocks zero.

    The best p of any q is a Wiener filter, the best q of any p has as simple a form, so that one number, the noise
    ratio of the filter, is sought. ValueError for other teachers, inputs or models. Source: derived here.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.kronecker([[3, 0], [0, 1]], [[1, 0], [0, 1]])
    >>> task = Task([1, 1], teachers=teachers, context_length=10, noise_variance=0.5)
    >>> round(kronecker_minimum(task).loss, 6)
    2.961556
    """
    law = kronecker_task(task, model, "kronecker_minimum")
    layer = one_layer(task, model, "kronecker_minimum")
    ν = _best_noise_ratio(law)
    filter_values = _filter(law, np.array([ν]))[0]  # (K,)
    x = _best_inputs(law, filter_values[None])[0]  # (D,) of Λ^½ q Λ^½
    loss = law.zero_loss - float(_drop(law, np.array([ν]))[0])
    p = (law.outputs * filter_values) @ law.outputs.T
    inverse = np.linalg.pinv(law.root, rcond=1e-12, hermitian=True)
    q = inverse @ (law.inputs * x) @ law.inputs.T @ inverse
    scale = math.sqrt(np.linalg.norm(q) / np.linalg.norm(p)) if np.any(q) else 0.0
    balanced_q = q / scale if scale else q
    return KroneckerMinimum(scale * p, balanced_q, loss, ν, layer)


def _filter(law: KroneckerTask, ν: FloatArray) -> FloatArray:
    """γ/(γ + ν) (n, K), 1 where both are 0."""
    total = law.gamma + ν[:, None]
    p = np.ones_like(total)
    np.divide(law.gamma, total, out=p, where=total > 0)
    return p


def _best_inputs(law: KroneckerTask, p: FloatArray) -> FloatArray:
    """x (n, D) of least loss, the diagonal of Λ^½ q Λ^½ on its eigenvectors, beside the filters p (n, K)."""
    signal = law.linear * np.sum(p * law.gamma, axis=1)
    square = np.sum(p**2 * law.gamma, axis=1)
    noise = law.single * law.noise * np.sum(p**2, axis=1)
    curvature = square[:, None] * law.curvature + noise[:, None]
    numerator = signal[:, None] * law.signal
    x = np.zeros_like(curvature)
    np.divide(numerator, curvature, out=x, where=law.signal > 0)
    return np.asarray(x)


def _drop(law: KroneckerTask, ν: FloatArray) -> FloatArray:
    """By how much the filters of these noise ratios (n,) lower the loss, (n,)."""
    p = _filter(law, ν)
    signal = law.linear * np.sum(p * law.gamma, axis=1)
    return np.asarray(signal * np.sum(law.signal * _best_inputs(law, p), axis=1))


def _best_noise_ratio(law: KroneckerTask) -> float:
    """The stationary ν of the least loss."""
    ratios = stationary_noise_ratios(law)
    drops = _drop(law, np.array(ratios))
    return ratios[int(np.argmax(drops))]


def stationary_noise_ratios(law: KroneckerTask) -> tuple[float, ...]:
    """Every ν = kσ² tr(QΛ)/h of the best q beside its own filter, by size: where p and q both rest.

    There is one, except for tens of outputs and inputs of which one varies thousands of times as much as the others.
    """
    from scipy.optimize import brentq

    varies = law.signal > 0
    if law.noise == 0 or not np.any(varies) or law.linear == 0:
        return (0.0,)

    def gap(u: FloatArray) -> FloatArray:
        return np.log(_next_noise_ratio(law, np.exp(u))) - u

    # h lies between the least and the largest curvature times tr(QΛ): beyond, the gap has a sign.
    bounds = np.log(law.single * law.noise / law.curvature[varies])
    grid = np.linspace(np.min(bounds) - 1, np.max(bounds) + 1, _RATIOS)
    falls = gap(grid) > 0
    crossings = np.flatnonzero(falls[:-1] != falls[1:])
    roots = [
        brentq(lambda u: gap(np.array([u]))[0], *grid[place : place + 2], xtol=1e-15)
        for place in crossings
    ]
    return tuple(float(np.exp(root)) for root in roots)


def _next_noise_ratio(law: KroneckerTask, ν: FloatArray) -> FloatArray:
    """kσ² Σ x²/Σ c x² (n,) of the best inputs x beside the filters of ν (n,)."""
    x = _best_inputs(law, _filter(law, ν))  # (n, D)
    h = np.sum(law.curvature * x**2, axis=1)
    return np.asarray(law.single * law.noise * np.sum(x**2, axis=1) / h)


def kronecker_flow(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    flow_time: ArrayLike,
    model: Parametrization | None = None,
) -> KroneckerFlow:
    """The course of one layer on Γ ⊗ Ω from small p (K, K) and q (D, D): K + D equations from their growing mode.

    Γ's and Λ's eigenvectors keep p and q diagonal; the error is O(w₀). Flow times are (T,). ValueError where Λ and Ω do
    not commute, whose q has no fixed basis (`layer_flow` follows it), for other teachers, and for a start without a
    growing mode.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([2, 1], teachers=Gaussian.kronecker([[1, 0], [0, 1]], [[1, 0], [0, 1]]), context_length=20)
    >>> flow = kronecker_flow(task, 1e-3 * np.eye(2), 1e-3 * np.eye(2), [0, 100])
    >>> flow.loss.round(4)
    array([6.    , 0.7778])
    """
    scalars = _reduced(task, kronecker_task(task, model, "kronecker_flow"))
    K, D = task.outputs, task.dimension
    start_p = finite_array(p, "p", "(K, K)", K=K)
    start_q = finite_array(q, "q", "(D, D)", D=D)
    times = flow_times(flow_time)
    mode = scalars.growing_mode()
    w0 = float(mode @ scalars.diagonals(start_p, start_q))
    if w0 == 0:
        raise ValueError(
            "this start has nothing in the mode that grows, p ∝ Γ with q ∝ ΛΩΛ: start from random weights"
        )
    start = 2 * w0 * mode
    rate = scalars.fastest_rate(start)
    values = integrate(
        lambda x: scalars.velocity(x) / rate,
        start,
        in_units(times, rate),
        lambda x: scalars.jacobian(x) / rate,
    )
    p_t, q_t = scalars.matrices(values)
    return KroneckerFlow(times, p_t, q_t, scalars.loss(values), w0)


class _Scalars(NamedTuple):
    """The K + D equations of p_i on Γ's and q_d on the common eigenvectors of Λ and Ω."""

    law: KroneckerTask
    s: FloatArray
    w: FloatArray
    basis: FloatArray

    def growing_mode(self) -> FloatArray:
        """Half of (Γ/|Γ|, ΛΩΛ/|ΛΩΛ|), (K + D,): what grows from zero has these parts in p and q."""
        of_p = self.law.gamma / np.linalg.norm(self.law.gamma)
        of_q = self.rates_of_q / np.linalg.norm(self.rates_of_q)
        return np.asarray(np.concatenate([of_p, of_q]) / 2)

    def diagonals(self, p: FloatArray, q: FloatArray) -> FloatArray:
        """The diagonals (K + D,) of p (K, K) and q (D, D) on the eigenvectors."""
        V, U = self.law.outputs, self.basis
        of_p = np.einsum("ik,ij,jk->k", V, p, V)
        of_q = np.einsum("ad,ab,bd->d", U, q, U)
        return np.concatenate([of_p, of_q])

    def matrices(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """p (T, K, K) and q (T, D, D) of states (T, K + D)."""
        K = len(self.law.gamma)
        V, U = self.law.outputs, self.basis
        p = np.einsum("ik,tk,jk->tij", V, x[:, :K], V)
        return p, np.einsum("ad,td,bd->tab", U, x[:, K:], U)

    @property
    def rates_of_q(self) -> FloatArray:
        """ω s² = w s (D,), by which q grows."""
        return self.w * self.s

    @property
    def curvature(self) -> FloatArray:
        """What h weighs s² q² with (D,)."""
        return self.law.pairs * self.w + self.law.single * float(np.sum(self.w))

    @property
    def noise(self) -> float:
        """k σ²."""
        return self.law.single * self.law.noise

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (K + D,)."""
        K = len(self.law.gamma)
        p, q = x[:K], x[K:]
        γ, ℓ = self.law.gamma, self.law.linear
        sq = self.s**2 * q
        h = np.sum(self.curvature * sq * q)
        n = self.noise * np.sum(sq * q)
        by_p = ℓ * γ * np.sum(self.rates_of_q * q) - (γ * h + n) * p
        square = np.sum(γ * p**2) * self.curvature + self.noise * np.sum(p**2)
        by_q = ℓ * np.sum(γ * p) * self.rates_of_q - square * sq
        return np.concatenate([by_p, by_q])

    def jacobian(self, x: FloatArray) -> FloatArray:
        """Derivatives (K + D, K + D) of the velocity, which are symmetric."""
        K = len(self.law.gamma)
        p, q = x[:K], x[K:]
        γ, sq = self.law.gamma, self.s**2 * q
        by_p = -np.diag(
            γ * np.sum(self.curvature * sq * q) + self.noise * np.sum(sq * q)
        )
        square = np.sum(γ * p**2) * self.curvature + self.noise * np.sum(p**2)
        by_q = -np.diag(square * self.s**2)
        mixed = self.law.linear * np.outer(γ, self.rates_of_q)
        mixed -= 2 * np.outer(γ * p, self.curvature * sq)
        mixed -= 2 * self.noise * np.outer(p, sq)
        return np.block([[by_p, mixed], [mixed.T, by_q]])

    def fastest_rate(self, x: FloatArray) -> float:
        """The largest rate at the origin or at x."""
        at_zero = np.linalg.norm(self.jacobian(np.zeros_like(x)), 2)
        return float(max(at_zero, np.linalg.norm(self.jacobian(x), 2))) or 1.0

    def loss(self, x: FloatArray) -> FloatArray:
        """L (T,) of states (T, K + D)."""
        K = len(self.law.gamma)
        p, q = x[:, :K], x[:, K:]
        γ = self.law.gamma
        squares = self.s**2 * q**2
        h, size = squares @ self.curvature, np.sum(squares, axis=1)
        signal = -2 * self.law.linear * (p @ γ) * (q @ self.rates_of_q)
        quadratic = (p**2 @ γ) * h + self.noise * np.sum(p**2, axis=1) * size
        return np.asarray(self.law.zero_loss + signal + quadratic)


def _reduced(task: Task, law: KroneckerTask) -> _Scalars:
    """The equations of p and q on eigenvectors; ValueError where Λ and Ω have none in common."""
    basis = common_eigenvectors(task.covariance, law.Omega)
    if basis is None:
        raise ValueError(
            "kronecker_flow is known where Λ and Ω commute, so that q stays diagonal; layer_flow follows the others"
        )
    s = _nonnegative(np.einsum("ad,ab,bd->d", basis, task.covariance, basis))
    ω = _nonnegative(np.einsum("ad,ab,bd->d", basis, law.Omega, basis))
    if not np.any(s * ω):
        raise ValueError("kronecker_flow has nothing to learn: ΛΩΛ = 0 on this task")
    return _Scalars(law, s, ω * s, basis)


def merged_equivalent(
    task: Task, model: Parametrization | None = None
) -> MergedEquivalent:
    """The task of one output that merged attention learns in the same way where Γ = γ 1, at 1/√K of the speed.

    L(t) = K L_Z(√K t), with the same M = p̄ q: so the staircase of a shared basis comes from that basis.
    ValueError where the outputs are correlated or vary differently. Source: derived here, with Zhang et al. 2025
    (arXiv 2501.16265) for one output.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> teachers = Gaussian.kronecker(3 * np.eye(4), np.diag([1, 2]))
    >>> one = merged_equivalent(Task([2, 1], teachers=teachers, context_length=20))
    >>> one.task.teacher_covariance, one.time, one.loss
    (array([[3., 0.],
           [0., 6.]]), 2.0, 4.0)
    """
    law = kronecker_task(task, model, "merged_equivalent")
    K = task.outputs
    if np.ptp(law.gamma) > ROUNDING * np.max(law.gamma):
        raise ValueError(
            "merged_equivalent is known for outputs that vary alike and independently, Γ = γ 1: kronecker_flow has the "
            "K + D equations of the others"
        )
    one = Task(
        covariance=task.covariance,
        teacher_covariance=float(np.mean(law.gamma)) * law.Omega,
        noise_variance=task.noise_variance,
        query_noise_variance=task.query_noise_variance,
        context_length=task.context_length,
    )
    return MergedEquivalent(one, float(K), math.sqrt(K), K**0.25)
