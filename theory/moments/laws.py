"""Moments of the laws that a task may hold: of the inputs about the origin, and of the teachers.

They are written here once, from the formulas of the laws; how the laws are drawn plays no part.
"""

import itertools
import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from ...inputs import Inputs
from ...runtime.arrays import FloatArray
from ...runtime.covariances import symmetric_root
from ...task import Task
from ...teachers import Gaussian, Mixture, Pool, Sphere, TeacherLaw
from ...teachers.checking import stated_moment

# E z_i^k of one entry, for laws with independent entries.
_ENTRY_MOMENTS = {
    "gaussian": {4: 3.0, 6: 15.0},
    "uniform": {4: 9 / 5, 6: 27 / 7},  # of (−√3, √3): 3^(k/2)/(k+1)
    "rademacher": {4: 1.0, 6: 1.0},
}


# -- Teachers -----------------------------------------------------------------------------------------------------


def _mean_over_parts(
    law: Mixture, moments: Callable[[TeacherLaw], FloatArray]
) -> FloatArray:
    """Moments of a mixture: the mean of those of its laws, weighted by their shares."""
    total = np.zeros(())
    for share, part in zip(law.shares, law.laws, strict=True):
        if share > 0:
            total = total + share * moments(part)
    return total


def teacher_second_moments(law: TeacherLaw) -> FloatArray:
    """E W_ia W_jb, (K, D, K, D); ValueError for a law of the user's own that does not state it.

    >>> teacher_second_moments(Sphere(2))[0, :, 0, :]
    array([[1., 0.],
           [0., 1.]])
    """
    shape = (law.outputs, law.dimension) * 2
    if isinstance(law, Gaussian):
        return np.asarray(law.covariance + np.multiply.outer(law.mean, law.mean))
    if isinstance(law, Sphere):
        variance = np.square(law.radius) / law.dimension
        return np.asarray(variance * np.eye(law.dimension).reshape(shape))
    if isinstance(law, Pool):
        W = law.teachers
        return np.asarray(
            np.einsum("k,kia,kjb->iajb", law.weights, W, W, optimize=True)
        )
    if isinstance(law, Mixture):
        return _mean_over_parts(law, teacher_second_moments)
    return _own_moment(law, "second", shape)


def teacher_fourth_moments(law: TeacherLaw) -> FloatArray:
    """E ω⊗ω⊗ω⊗ω of ω = (W, 1) with the entries of W in one row, (KD+1)⁴: it holds the lower moments, too.

    ValueError for a law of the user's own that does not state `fourth`, (KD,) * 4, or is not symmetric.
    """
    size = law.outputs * law.dimension
    if isinstance(law, Gaussian):
        mean = np.append(law.mean.ravel(), 1.0)
        covariance = np.pad(law.covariance.reshape(size, size), (0, 1))
        return gaussian_fourth_moments(mean, covariance)
    if isinstance(law, Sphere):
        return _isotropic_fourth_moments(law)
    if isinstance(law, Pool):
        return _pool_fourth_moments(law)
    if isinstance(law, Mixture):
        return _mean_over_parts(law, teacher_fourth_moments)
    if not law.symmetric:
        raise ValueError(
            "the theory of all features knows laws of your own only where −W has the law of W: use a Pool of draws"
        )
    second = teacher_second_moments(law).reshape(size, size)
    fourth = _own_moment(law, "fourth", (size,) * 4)
    return _with_one(second, fourth)


def gaussian_fourth_moments(mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """E w⊗w⊗w⊗w of N(mean, covariance): the pairings of E w⊗w count the mean alone three times instead of once."""
    outer = np.multiply.outer(mean, mean)
    return np.asarray(
        pairings(covariance + outer) - 2 * np.multiply.outer(outer, outer)
    )


def pairings(C: FloatArray) -> FloatArray:
    """Σ over the three pairings of four indices of C C: the fourth moments of N(0, C)."""
    pair = np.multiply.outer(C, C)
    return np.asarray(pair + pair.transpose(0, 2, 1, 3) + pair.transpose(0, 2, 3, 1))


def _isotropic_fourth_moments(law: Sphere) -> FloatArray:
    """Those of (w, 1) for w uniform on a sphere: E w_a w_b w_c w_d is r⁴/(D(D+2)) times the pairings."""
    # Squares of NumPy are infinite beyond doubles, which is refused by name.
    D, r = law.dimension, law.radius
    second = np.square(r) / D * np.eye(D)
    fourth = np.square(np.square(r)) / (D * (D + 2)) * pairings(np.eye(D))
    return _with_one(second, fourth)


def _with_one(second: FloatArray, fourth: FloatArray) -> FloatArray:
    """Fourth moments of (w, 1) from those of w, whose odd moments vanish."""
    size = len(second)
    moments = np.zeros((size + 1,) * 4)
    moments[:size, :size, :size, :size] = fourth
    # Two of the four indices stand for the 1.
    for places in itertools.combinations(range(4), 2):
        index = [slice(None, size) if axis in places else size for axis in range(4)]
        moments[tuple(index)] = second
    moments[size, size, size, size] = 1.0
    return moments


def _own_moment(law: TeacherLaw, name: str, shape: tuple[int, ...]) -> FloatArray:
    """A moment that a law of the user's own states, in this shape; ValueError if it does not."""
    moment = stated_moment(law, name)
    if moment is None:
        raise ValueError(
            f"the theory needs `{name}` of shape {shape} of {type(law).__name__}, a law of teachers of your own"
        )
    return moment.reshape(shape)


# -- Inputs -------------------------------------------------------------------------------------------------------


def input_second_moments(task: Task) -> FloatArray:
    """E x xᵀ = Λ + E x E xᵀ, (D, D)."""
    if not np.any(task.input_mean):
        return task.covariance
    return np.asarray(task.covariance + np.outer(task.input_mean, task.input_mean))


# Long because the formula has six terms.
def contracted_fourth_moments(task: Task, T: FloatArray) -> FloatArray:
    """E[(xᵀ T x) x xᵀ] about the origin, (D, D), for any T (D, D).

    With x = μ + y, S the symmetric part of T, and Q = E[(yᵀSy) y yᵀ]:

        Q + (μᵀSμ)(μμᵀ + Λ) + tr(SΛ) μμᵀ + 2 (μ (ΛSμ)ᵀ + ΛSμ μᵀ) + E[2 (μᵀSy) y yᵀ + (yᵀSy)(μ yᵀ + y μᵀ)]

    ValueError for inputs of the user's own that do not state the fourth moment.
    """
    S = (T + T.T) / 2
    Λ = task.covariance
    total = central_contraction(task, S)
    μ = task.input_mean
    if not np.any(μ):
        return total

    ΛSμ = Λ @ S @ μ
    total = total + μ @ S @ μ * (np.outer(μ, μ) + Λ)
    total += np.sum(S * Λ) * np.outer(μ, μ)
    total += 2 * (np.outer(μ, ΛSμ) + np.outer(ΛSμ, μ))
    third = _central_third(task)
    if third is not None:
        total += 2 * np.einsum("a,aij->ij", S @ μ, third)
        yᵀSy_y = np.einsum("ab,abi->i", S, third)
        total += np.outer(μ, yᵀSy_y) + np.outer(yᵀSy_y, μ)
    return np.asarray(total)


def _pool_fourth_moments(pool: Pool) -> FloatArray:
    """Σ_k p_k ω_k⊗ω_k⊗ω_k⊗ω_k of ω = (W, 1), (KD+1)⁴, as one product of matrices over pairs of entries."""
    size = pool.outputs * pool.dimension + 1
    W = pool.members.reshape(len(pool.members), -1)
    ω = np.concatenate([W, np.ones((len(W), 1))], axis=1)  # (k, KD+1)
    pairs = np.einsum("ka,kb->kab", ω, ω).reshape(len(ω), -1)
    fourth = (pairs * pool.member_weights[:, None]).T @ pairs
    return np.asarray(fourth.reshape((size,) * 4))


# Long because each kind of law has its formula.
def central_contraction(task: Task, S: FloatArray) -> FloatArray:
    """E[(yᵀSy) y yᵀ] of y = Λ^½ z, S symmetric: (2 ΛSΛ + tr(SΛ) Λ) for Gaussian y."""
    Λ = task.covariance
    inputs = task.inputs
    gaussian = 2 * Λ @ S @ Λ + np.sum(S * Λ) * Λ
    if inputs.is_gaussian:
        return np.asarray(gaussian)
    D = task.dimension
    if inputs.name == "sphere":
        return np.asarray(D / (D + 2) * gaussian)
    fourth = _stated_moment(inputs, 4)
    if fourth.ndim == 0 and inputs.elliptical:
        return np.asarray(fourth / (D * (D + 2)) * gaussian)
    R = symmetric_root(Λ)
    RSR = R @ S @ R
    if fourth.ndim == 0:
        # Independent entries: the fourth cumulant acts on each z_i alone.
        cumulant = float(fourth) - 3
        return np.asarray(gaussian + cumulant * (R * np.diag(RSR)) @ R)
    _refuse_other_size(fourth, D)
    return np.asarray(R @ np.einsum("ab,abij->ij", RSR, fourth) @ R)


def _central_third(task: Task) -> FloatArray | None:
    """E y⊗y⊗y of y = Λ^½ z, or None where it is 0."""
    moment = task.inputs.moments.get(3)
    if task.inputs.name is not None or moment is None or task.inputs.elliptical:
        return None
    R = symmetric_root(task.covariance)
    if moment.ndim == 0:
        third = float(moment) * np.einsum("ai,bi,ci->abc", R, R, R)
        return np.asarray(third)
    _refuse_other_size(moment, task.dimension)
    return np.asarray(np.einsum("ijk,ai,bj,ck->abc", moment, R, R, R, optimize=True))


def _stated_moment(inputs: Inputs, order: int) -> FloatArray:
    """The moment of this order; ValueError if inputs of the user's own do not state it."""
    if inputs.name is not None:
        return np.asarray(_ENTRY_MOMENTS[inputs.name][order])
    if order not in inputs.moments:
        needs = {4: "E[(xᵀΩx)xxᵀ]", 6: "the sixth moments of x"}[order]
        raise ValueError(
            f"the theory needs {needs}: Inputs(draw, moments={{{order}: …}})"
        )
    return inputs.moments[order]


def _refuse_other_size(moment: FloatArray, dimension: int) -> None:
    if moment.shape[0] != dimension:
        raise ValueError(
            f"moments of the inputs are for D = {moment.shape[0]}, and the task has D = {dimension}"
        )


def input_moments(task: Task, order: int) -> FloatArray:
    """E x⊗…⊗x about the origin, (D,) * order, for an order up to 6; ValueError as `contracted_fourth_moments`."""
    D = task.dimension
    μ = task.input_mean
    total = np.zeros((D,) * order)
    # (μ + y)⊗…⊗(μ + y): each factor is μ or y, and `places` are those of y.
    for count in range(order + 1):
        if count < order and not np.any(μ):
            continue
        central = central_moments(task, count)
        if not np.any(central):
            continue
        for places in itertools.combinations(range(order), count):
            total += _spread(central, places, μ, order)
    return total


def _spread(
    central: FloatArray, places: tuple[int, ...], μ: FloatArray, order: int
) -> FloatArray:
    """The tensor whose axes `places` are those of `central`, and whose other axes are μ."""
    means = order - len(places)
    product = reduce(np.multiply.outer, [μ] * means, central)
    other = [axis for axis in range(order) if axis not in places]
    return np.moveaxis(product, range(order), [*places, *other])


def central_moments(task: Task, order: int) -> FloatArray:
    """E y⊗…⊗y of y = Λ^½ z, (D,) * order, for an order up to 6."""
    if order == 0:
        return np.array(1.0)
    if order == 1:
        return np.zeros(task.dimension)
    if order == 2:
        return task.covariance
    R = symmetric_root(task.covariance)
    moment = _z_moments(task, order)
    for axis in range(order):
        moment = np.moveaxis(np.tensordot(R, moment, (1, axis)), 0, axis)
    return moment


def _z_moments(task: Task, order: int) -> FloatArray:
    """E z⊗…⊗z, (D,) * order."""
    inputs, D = task.inputs, task.dimension
    if order % 2:
        return _odd_z_moments(task, order)
    if inputs.name == "sphere":
        return _isotropic(D, order) * _sphere_factor(D, order)
    if inputs.name == "gaussian":
        return _isotropic(D, order)
    moment = _stated_moment(inputs, order)
    if moment.ndim > 0:
        _refuse_other_size(moment, D)
        return moment
    if inputs.elliptical:
        # E|z|^k over that of N(0, I), D (D+2) … (D+k−2), times the pairings.
        gaussian = np.prod([D + 2 * j for j in range(order // 2)])
        return np.asarray(moment / gaussian) * _isotropic(D, order)
    return _independent_moments(inputs, D, order)


def _odd_z_moments(task: Task, order: int) -> FloatArray:
    """The same of an odd order: 0, unless a law of the user's own states another moment."""
    inputs, D = task.inputs, task.dimension
    moment = inputs.moments.get(order)
    if inputs.name is not None or moment is None:
        return np.zeros((D,) * order)
    if moment.ndim > 0:
        _refuse_other_size(moment, D)
        return moment
    if inputs.elliptical:
        return np.zeros((D,) * order)
    return _independent_moments(inputs, D, order)


def _sphere_factor(D: int, order: int) -> float:
    """E|z|^k of the sphere of radius √D over that of N(0, I)."""
    gaussian = np.prod([D + 2 * j for j in range(order // 2)])
    return float(D ** (order // 2) / gaussian)


def _isotropic(D: int, order: int) -> FloatArray:
    """Σ over all pairings of `order` indices of products of δ: the moments of N(0, I)."""
    total = np.zeros((D,) * order)
    product = reduce(np.multiply.outer, [np.eye(D)] * (order // 2))
    for pairing in _all_pairings(tuple(range(order))):
        axes = [axis for pair in pairing for axis in pair]
        total += np.moveaxis(product, range(order), axes)
    return total


def _all_pairings(places: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    """All ways to put an even number of places into pairs."""
    if not places:
        return [[]]
    first, others = places[0], places[1:]
    pairings_of_places = []
    for index, partner in enumerate(others):
        remaining = others[:index] + others[index + 1 :]
        for pairing in _all_pairings(remaining):
            pairings_of_places.append([(first, partner), *pairing])
    return pairings_of_places


def _independent_moments(inputs: Inputs, D: int, order: int) -> FloatArray:
    """Moments of independent entries: products of E z_i^m over the groups of equal indices."""
    entry = np.array(_moments_of_entry(inputs, order))
    moments = np.ones((D,) * order)
    for d in range(D):
        # How many of the indices are d, (D,) * order.
        count = np.zeros((D,) * order, dtype=np.int8)
        for axis in range(order):
            places = [slice(None)] * order
            places[axis] = slice(d, d + 1)
            count[tuple(places)] += 1
        moments *= entry[count]
    return moments


def _moments_of_entry(inputs: Inputs, order: int) -> list[float]:
    """E z^m of one entry for m = 0 … order; odd ones are 0 if left out."""
    entry = [1.0, 0.0, 1.0]
    for m in range(3, order + 1):
        if inputs.name is not None:
            entry.append(_ENTRY_MOMENTS[inputs.name].get(m, 0.0))
        elif m % 2:
            entry.append(float(inputs.moments.get(m, np.array(0.0))))
        else:
            entry.append(float(_stated_moment(inputs, m)))
    return entry


# -- Context lengths ----------------------------------------------------------------------------------------------


def weighted_mean(values: list[float], weights: FloatArray) -> float:
    """Σ of weights times values; the plain mean where the weights are equal."""
    if np.ptp(weights) == 0:
        return math.fsum(values) / len(values)
    products = [float(w) * value for w, value in zip(weights, values, strict=True)]
    return math.fsum(products)
