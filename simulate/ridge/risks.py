"""The exact risk of a linear read-out on a task, without test data: a polynomial of moments of the teachers.

For x ~ N(0, Λ) and one teacher w, with b = Λ w, v = wᵀΛw + σ², β = Σ y x / N and s = Σ y² / N (Wick's theorem on
E[y² x xᵀ] = v Λ + 2 b bᵀ, E[y³ x] = 3 v b, E y⁴ = 3 v², between N independent tokens):

    E β = b,    E ββᵀ = (v Λ + (N + 1) b bᵀ) / N,
    E s = v,    E βs = (1 + 2/N) v b,    E s² = (1 + 2/N) v².

With h = β, or (β, s), the risk E (y_q − hᵀ M x_q)² is v_q − 2 tr(Mᵀ E[h bᵀ]) + tr(Mᵀ E[hhᵀ] M Λ), whose means over w
are E wwᵀ and, with the label row, E v w and E v². Source: Lu et al. 2024 (arXiv 2405.11751) for Λ = I / D and teachers
on a sphere; any Λ and any law of teachers derived here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, refuse_wrong_order
from ...task import Task
from ...teachers import Gaussian, Mixture, Pool, Sphere, TeacherLaw
from ...teachers.checking import stated_moment


def exact_risk(task: Task, M: ArrayLike) -> float | FloatArray:
    """E (y_q − ŷ)² of ŷ = βᵀ M x_q on fresh prompts of a task, one number, or (…) of maps with leading axes.

    M is (…, D, D), or (…, D+1, D) with the row that meets s = Σ y² / N, as `ridge_fit` gives it. Its training tasks
    are those of the risk if the task's teachers are their pool (the in-distribution error), fresh ones if they are the
    law that the pool was drawn from (the in-context error). The risk holds the noise of the query's label, and is the
    mean over context lengths if the task has several.
    ValueError for another shape of M, what is not finite, inputs that are not Gaussian of mean 0, several outputs, and
    a law of teachers of your own that does not state the moments that are needed.

    >>> exact_risk(Task([2, 1], context_length=5, noise_variance=0.5), np.zeros((2, 2)))
    3.5
    """
    in_order = isinstance(task, Task) and not isinstance(M, Task)
    refuse_wrong_order("exact_risk(task, M)", in_order, task, M)
    _refuse_other_tasks(task)
    D = task.dimension
    maps = finite_array(M, "M", "(..., D, D)", "(..., E, D)", D=D, E=D + 1)
    has_row = maps.shape[-2] == D + 1
    moments = _teacher_moments(task.teachers, task, has_row)

    # "i", "j" entries of h, "k", "l" of x.
    signal = np.einsum("...ik,ik->...", maps, _signal(task, moments))
    v_q = moments.v - task.noise_variance + task.query_noise_variance
    risk = np.asarray(v_q - 2 * signal)
    weighted_lengths = zip(task.context_lengths, task.context_weights, strict=True)
    for length, weight in weighted_lengths:
        if length == 0:
            # Nothing is summed: the output is 0, and neither term of M is there.
            risk = risk + 2 * weight * signal
            continue
        second = _summary_moments(task, moments, length)
        second_M = second @ maps
        M_Λ = maps @ task.covariance
        risk = risk + weight * np.einsum("...ik,...ik->...", second_M, M_Λ)
    if not np.all(np.isfinite(risk)):
        raise OverflowError(
            "the risk is too large for doubles: give x and y in other units"
        )
    return float(risk) if risk.ndim == 0 else risk


class _TeacherMoments(NamedTuple):
    """Means over teachers w of one output, with v = wᵀΛw + σ²; the last two are 0 where no label row asks for them."""

    ww: FloatArray
    """E wwᵀ, (D, D)."""
    v: float
    vw: FloatArray
    """E v w, (D,)."""
    vv: float
    """E v²."""
    has_row: bool


def _signal(task: Task, moments: _TeacherMoments) -> FloatArray:
    """E[h y_q x_qᵀ] = E[h bᵀ], (D, D) or (D+1, D)."""
    Λ = task.covariance
    of_beta = Λ @ moments.ww @ Λ
    if not moments.has_row:
        return of_beta
    of_s = Λ @ moments.vw
    return np.vstack([of_beta, of_s])


def _summary_moments(task: Task, moments: _TeacherMoments, length: int) -> FloatArray:
    """E hhᵀ, (D, D) or (D+1, D+1), at one context length N."""
    Λ, N = task.covariance, length
    of_beta = (moments.v * Λ + (N + 1) * Λ @ moments.ww @ Λ) / N
    if not moments.has_row:
        return np.asarray(of_beta)
    E = len(Λ) + 1
    second = np.empty((E, E))
    second[:-1, :-1] = of_beta
    second[-1, :-1] = second[:-1, -1] = (1 + 2 / N) * Λ @ moments.vw
    second[-1, -1] = (1 + 2 / N) * moments.vv
    return second


def _teacher_moments(law: TeacherLaw, task: Task, has_row: bool) -> _TeacherMoments:
    """The moments of a law on the inputs and the noise of a task."""
    Λ, σ2 = task.covariance, task.noise_variance
    ww = _mean(law, _second)
    q = float(np.sum(Λ * ww))  # E wᵀΛw
    vw, vv = np.zeros(len(Λ)), 0.0
    if has_row:
        w = _mean(law, _first)
        qw = _mean(law, lambda part: _third(part, Λ))
        qq = float(_mean(law, lambda part: _fourth(part, Λ)))
        vw = qw + σ2 * w
        vv = qq + 2 * σ2 * q + σ2**2
    return _TeacherMoments(ww, q + σ2, vw, vv, has_row)


def _mean(law: TeacherLaw, moment: Callable[[TeacherLaw], FloatArray]) -> FloatArray:
    """A moment of a law, of a mixture the mean of those of its laws with their shares."""
    if not isinstance(law, Mixture):
        return moment(law)
    total = np.zeros(())
    for share, part in zip(law.shares, law.laws, strict=True):
        if share > 0:
            total = total + share * moment(part)
    return total


def _first(law: TeacherLaw) -> FloatArray:
    """E w (D,)."""
    if isinstance(law, Gaussian):
        return np.asarray(law.mean[0])
    if isinstance(law, Pool):
        return np.asarray(law.member_weights @ law.members[:, 0])
    _refuse_lopsided(law)
    return np.zeros(law.dimension)


def _second(law: TeacherLaw) -> FloatArray:
    """E wwᵀ (D, D)."""
    D = law.dimension
    if isinstance(law, Gaussian):
        return law.second.reshape(D, D)
    if isinstance(law, Sphere):
        return np.asarray(law.radius**2 / D * np.eye(D))
    if isinstance(law, Pool):
        w = law.members[:, 0]
        weighted = law.member_weights[:, None] * w
        return np.asarray(weighted.T @ w)
    return _stated(law, "second").reshape(D, D)


def _third(law: TeacherLaw, Λ: FloatArray) -> FloatArray:
    """E (wᵀΛw) w (D,)."""
    if isinstance(law, Gaussian):
        # With w = μ + g: the mean of g squared beside μ, and twice that of g in the square.
        C, μ = law.covariance.reshape(Λ.shape), law.mean[0]
        return np.asarray((μ @ Λ @ μ + np.sum(Λ * C)) * μ + 2 * C @ Λ @ μ)
    if isinstance(law, Pool):
        w, q = law.members[:, 0], _squares(law, Λ)
        return np.asarray((law.member_weights * q) @ w)
    _refuse_lopsided(law)
    return np.zeros(law.dimension)


def _fourth(law: TeacherLaw, Λ: FloatArray) -> FloatArray:
    """E (wᵀΛw)², a number."""
    D = law.dimension
    if isinstance(law, Gaussian):
        C, μ = law.covariance.reshape(D, D), law.mean[0]
        ΛC = Λ @ C
        Λμ = Λ @ μ
        mean = μ @ Λμ + np.trace(ΛC)
        variance = 2 * np.sum(ΛC * ΛC.T) + 4 * Λμ @ C @ Λμ
        return np.asarray(mean**2 + variance)
    if isinstance(law, Sphere):
        # E w_a w_b w_c w_d is r⁴ / (D (D + 2)) times the three pairings of the indices.
        pairings = np.trace(Λ) ** 2 + 2 * np.sum(Λ**2)
        return np.asarray(law.radius**4 / (D * (D + 2)) * pairings)
    if isinstance(law, Pool):
        return np.asarray(law.member_weights @ _squares(law, Λ) ** 2)
    fourth = _stated(law, "fourth").reshape((D,) * 4)
    return np.asarray(np.einsum("abcd,ab,cd->", fourth, Λ, Λ))


def _squares(law: Pool, Λ: FloatArray) -> FloatArray:
    """wᵀΛw of each teacher of a pool, (k,)."""
    w = law.members[:, 0]
    return np.asarray(np.einsum("ka,ka->k", w @ Λ, w))


def _stated(law: TeacherLaw, name: str) -> FloatArray:
    """A moment that a law of the user's own states; ValueError if it does not."""
    moment = stated_moment(law, name)
    if moment is None:
        raise ValueError(
            f"the exact risk needs `{name}` of {type(law).__name__}, a law of teachers of your own: state it, or use "
            "a Pool of draws"
        )
    return moment


def _refuse_lopsided(law: TeacherLaw) -> None:
    """ValueError for a law of the user's own with odd moments, which no law states."""
    if not law.symmetric:
        raise ValueError(
            "with the label row the exact risk knows laws of your own only where −w has the law of w: use a Pool of "
            "draws"
        )


def _refuse_other_tasks(task: Task) -> None:
    """ValueError unless x ~ N(0, Λ) and x has one label."""
    if task.outputs > 1:
        raise ValueError(
            f"the exact risk is for one label of x, and the task has {task.outputs} outputs"
        )
    if not task.inputs.is_gaussian or np.any(task.input_mean):
        raise ValueError(
            "the exact risk is for Gaussian inputs of mean 0: average the squared error over sampled prompts instead"
        )
