"""Every fixed point of noisy modes in order, at rest in the layer, and the minima over all four blocks."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.effective_map import effective_map
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray, IndexArray
from ....simulate import objective
from ....task import Task
from ....teachers import Gaussian
from ....theory.linear_transformer import (
    FourBlockMinima,
    ModeFixedPoint,
    ModeFixedPoints,
    four_block_minima,
    minimum,
    mode_fixed_points,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...exact_statistics import FEATURE_MOMENTS, population_statistics
from .setting import LOSS, mode_task, one_head

Evaluate = Callable[[Weights], tuple[float, Weights]]
"""Weights to their loss and its gradient."""

BOUND = 1e-10
"""Of sums of some dozens of terms, and of gradients where the loss is about 1."""

TIE = 1e-9
"""A coefficient below is none: no subset of these tasks comes nearer to one that is off."""

FIRST = 30
"""Fixed points of the least losses that are asked for, of 65,536 subsets."""

UNITS = ((100.0, 1.5), (0.01, 4.0))
"""Of the variance of x, and divisors on both sides of the length, so that no power of a number is near another."""

ALL_LEARNED = "2^D of them"
STRONGEST = "the strongest modes alone"
BACKWARDS = "by decreasing loss"
ALL_OFF = "modes that are off, whether they could grow or not"
UNIT_TEACHERS = "teachers of variance 1"
NO_NOISE = "without the noise of the labels"
OTHER_SCALE = "p2 and q1 exchanged"
HALF_EACH = "each mode held by both pairs"


class Layer(NamedTuple):
    """A task with the variances of its modes, and a model of one head."""

    inputs: FloatArray
    teachers: FloatArray
    task: Task
    model: Merged

    def means(self) -> tuple[float, float, float]:
        """ℓ, g and k: means of n/d, n(n + 1)/d² and n/d² over the context lengths n, whose divisor is d."""
        n = np.array(self.task.context_lengths)
        weights = np.array(self.task.context_weights)
        divisor = self._divisors(n)
        each = (n / divisor, n * (n + 1) / divisor**2, n / divisor**2)
        linear, pairs, single = (float(np.average(x, weights=weights)) for x in each)
        return linear, pairs, single

    def _divisors(self, n: IndexArray) -> FloatArray:
        """Of contexts of n tokens (T,)."""
        stated = self.model.divisor
        if stated == "tokens":
            return np.asarray(n + 1, dtype=np.float64)
        if stated == "context":
            return np.asarray(n, dtype=np.float64)
        assert isinstance(stated, float)
        return np.full(len(n), stated)

    def modes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """s, ω and κ (D,) by decreasing κ = ωs/√(ωs + σ²)."""
        s, ω = self.inputs, self.teachers
        κ = ω * s / np.sqrt(ω * s + self.task.noise_variance)
        order = np.argsort(-κ, kind="stable")
        return s[order], ω[order], κ[order]


def _rotated(
    noise: float = 0.4, teachers: tuple[float, ...] = (0.5, 2.0, 0.0, 0.4)
) -> Layer:
    """Four modes in another order than that of their strength, one without a teacher; contexts of 0 and of 4 tokens."""
    s, ω = np.array([0.9, 1.2, 0.6, 0.1]), np.array(teachers)
    U = np.linalg.qr(np.random.default_rng(7).normal(size=(4, 4)))[0]
    task = Task(
        covariance=U * s @ U.T,
        teachers=Gaussian.shared_basis(ω, U),
        context_length={0: 0.2, 4: 0.8},
        noise_variance=noise,
    )
    return Layer(s, ω, task, Merged(heads=1, outputs=4, divisor="tokens"))


def _on_inputs(s: Sequence[float], ω: Sequence[float], N: int, noise: float) -> Layer:
    """Modes that are the inputs, and a head that divides by N."""
    task = mode_task(s, N, ω, noise=noise)
    model = Merged(heads=1, outputs=len(s), divisor="context")
    return Layer(np.array(s), np.array(ω), task, model)


@cache
def _layers() -> tuple[Layer, ...]:
    """Rotated modes; many of which two are equal, and others leave weak ones no room; a tie."""
    s = [2.0, 1.0, 0.5, 0.5, 0.2, 0.1, 0.3, 0.05, 0.02]
    ω = [1.0, 0.5, 1.0, 1.0, 2.0, 1.0, 0.4, 3.0, 2.0]
    return (
        _rotated(),
        _on_inputs(s, ω, 6, 0.05),
        # The second mode is off beside the first by nothing.
        _on_inputs([9.0, 1.0], [1.0, 1.0], 1, 0.0),
    )


@cache
def _long() -> tuple[Layer, ...]:
    """Sixteen modes of like strength, of which few have room together in contexts of 2 tokens; x in two units."""
    number = np.arange(16, dtype=np.float64)
    s, ω = np.power(0.95, number), 1 + 0.5 * np.cos(number)
    layers = []
    for unit, divisor in UNITS:
        task = mode_task(unit * s, 2, ω, noise=0.02 * unit)
        model = Merged(heads=1, outputs=16, divisor=divisor)
        layers.append(Layer(unit * s, ω, task, model))
    return tuple(layers)


# Which subsets, in which order


class Listed(NamedTuple):
    """Fixed points: `coefficients` (P, D) of their modes, `losses` (P,), indices, and how many they are said to be."""

    subsets: list[tuple[int, ...]]
    coefficients: FloatArray
    losses: FloatArray
    indices: list[int]
    number: int


def _solved(context: RunContext) -> list[Listed]:
    """The subsets on which the slope of the least loss at given products vanishes with all products positive.

    Of sixteen modes those of the least losses.
    """
    every = [_solved_for(layer, _all_subsets(layer)) for layer in _layers()]
    first = [_solved_for(layer, _of_least_loss(layer)) for layer in _long()]
    return [*every, *every, *first]


def _all_subsets(layer: Layer) -> list[tuple[int, ...]]:
    """Of the modes from 0."""
    D = len(layer.inputs)
    return [each for size in range(D + 1) for each in combinations(range(D), size)]


def _of_least_loss(layer: Layer) -> list[tuple[int, ...]]:
    """The first subsets by their losses c − ℓ (ℓ Σωs − k Z Σr)/g, out of all 2^D whose products are positive."""
    s, ω, κ = layer.modes()
    linear, pairs, single = layer.means()
    r = ω * s / κ
    R = _subset_sums(r)
    Z = linear * R / (pairs + single * _subset_sums(r / κ))
    # The weakest mode is that of the highest bit.
    weakest = np.frexp(np.arange(len(Z)))[1] - 1
    exists = (weakest < 0) | (linear * κ[weakest] > single * Z)
    drop = linear * _subset_sums(ω * s) - single * Z * R
    chosen = np.argpartition(np.where(exists, -drop, np.inf), FIRST)[:FIRST]
    return [
        tuple(d for d in range(len(s)) if number >> d & 1) for number in chosen.tolist()
    ]


def _subset_sums(values: FloatArray) -> FloatArray:
    """Sums (2^D,) over all subsets of values (D,), by the number whose bits a subset is."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


class _LossOfProducts(NamedTuple):
    """½L(a) = ½c − slope·a + ½ a·curvature·a of products a = p q ≥ 0 (D,), by decreasing κ = ωs/r."""

    zero_loss: float
    slope: FloatArray
    curvature: FloatArray

    def rest(self, learned: IndexArray) -> FloatArray:
        """a (D,), 0 where a mode is not learned, at which its slopes by those that are learned vanish."""
        a = np.zeros(len(self.slope))
        among_learned = self.curvature[np.ix_(learned, learned)]
        a[learned] = np.linalg.solve(among_learned, self.slope[learned])
        return a


def _loss_of_products(layer: Layer) -> _LossOfProducts:
    """Source: L(a) = c − 2ℓ Σ ωs² a + g Σ ωs³ a² + k (Σ s r a)², which the proofs derive."""
    s, ω, _ = layer.modes()
    zero_loss = float(np.sum(ω * s)) + len(s) * layer.task.query_noise_variance
    r = np.sqrt(ω * s + layer.task.noise_variance)
    linear, pairs, single = layer.means()
    curvature = np.diag(pairs * ω * s**3) + single * np.outer(s * r, s * r)
    return _LossOfProducts(zero_loss, linear * ω * s**2, curvature)


def _solved_for(layer: Layer, subsets: list[tuple[int, ...]]) -> Listed:
    """Those of the subsets that are fixed points."""
    loss = _loss_of_products(layer)
    rests = [loss.rest(np.array(subset, dtype=int)) for subset in subsets]
    pairs = zip(subsets, rests, strict=True)
    found = [a for subset, a in pairs if np.all(a[list(subset)] > TIE)]
    a = np.array(found)  # (P, D)
    grows = (loss.slope - a @ loss.curvature > TIE) & (a == 0)
    return Listed(
        [tuple((np.flatnonzero(row) + 1).tolist()) for row in a],
        a,
        loss.zero_loss - a @ loss.slope,
        np.sum(grows, axis=1).tolist(),
        len(a),
    )


def _listed(context: RunContext, control: str) -> list[Listed]:
    """The fixed points as they are listed, from the first and from the last, or what a mistake makes of them."""
    layers = (*_layers(), *_layers(), *_long())
    pairs = zip(_enumerated(), layers, strict=True)
    listed = [_changed(points, layer, control) for points, layer in pairs]
    # The first one is the minimum.
    for each, layer in zip(listed, _layers(), strict=False):
        least = minimum(layer.task, layer.model)
        each.coefficients[0], each.losses[0] = least.coefficients, least.loss
        each.subsets[0] = tuple((np.flatnonzero(least.active) + 1).tolist())
    return listed


@cache
def _enumerated() -> tuple[list[ModeFixedPoint], ...]:
    """The points of every layer from the first and from the last, and the first ones of the long lists."""
    from_first, from_last = [], []
    for layer in _layers():
        points = mode_fixed_points(layer.task, layer.model)
        from_first.append([*points[:-1], points[-1]])
        from_last.append([points[-place] for place in range(points.count, 0, -1)])
    first = [
        list(islice(mode_fixed_points(layer.task, layer.model), FIRST))
        for layer in _long()
    ]
    return (*from_first, *from_last, *first)


def _changed(every: list[ModeFixedPoint], layer: Layer, control: str) -> Listed:
    listed, D = _listed_as(every), len(layer.inputs)
    if control == ALL_LEARNED:
        return listed._replace(number=2**D)
    if control == STRONGEST:
        nested = [tuple(range(1, size + 1)) for size in range(D + 1)]
        return _listed_as([point for point in every if point.subset in nested])
    if control == BACKWARDS:
        return _listed_as(every[::-1])
    if control == ALL_OFF:
        off = [D - len(subset) for subset in listed.subsets]
        return listed._replace(indices=off)
    assert control == UNMODIFIED
    return listed


def _listed_as(points: Sequence[ModeFixedPoint]) -> Listed:
    return Listed(
        [point.subset for point in points],
        np.array([point.coefficients for point in points]),
        np.array([point.loss for point in points]),
        [point.hessian_index for point in points],
        len(points),
    )


def _same_points(predicted: list[Listed], observed: list[Listed]) -> Evidence:
    differences = [_difference(*pair) for pair in zip(predicted, observed, strict=True)]
    words = [each for each in differences if each]
    return Evidence(
        agrees=not words,
        observed=words[0] if words else "the same points in the stated order",
        expected="all of them, by increasing loss",
    )


def _difference(predicted: Listed, observed: Listed) -> str:
    """What tells two lists apart, in words; nothing where they agree."""
    if predicted.number != observed.number:
        return f"{observed.number} points"
    rounding = BOUND * max(1.0, float(observed.losses[-1]))
    if np.any(np.diff(predicted.losses) < -rounding):
        return "another order"
    places = {subset: place for place, subset in enumerate(observed.subsets)}
    if set(predicted.subsets) != set(places):
        return "other subsets"
    at = [places[subset] for subset in predicted.subsets]
    if not np.allclose(predicted.losses, observed.losses[at], rtol=0, atol=rounding):
        return "other losses"
    a = observed.coefficients[at]
    if not np.allclose(predicted.coefficients, a, rtol=0, atol=BOUND):
        return "other coefficients"
    same_indices = predicted.indices == [observed.indices[place] for place in at]
    return "" if same_indices else "other indices"


# Weights at rest


def _at_points(context: RunContext) -> dict[str, float]:
    """How far the layer is from rest and from the stated loss at the weights of fixed points, of the task and others.

    The largest of every point of the task on both of its scales, and of a task without a model.
    """
    layer = _rotated()
    evaluate = objective(layer.model, population_statistics(layer.task, layer.model))
    others = {
        UNMODIFIED: layer,
        UNIT_TEACHERS: _rotated(teachers=(1.0, 1.0, 1.0, 1.0)),
        NO_NOISE: _rotated(noise=0.0),
    }
    unrest = {
        name: _largest_unrest(evaluate, mode_fixed_points(other.task, layer.model))
        for name, other in others.items()
    }
    plain = mode_task([1.0, 0.3], 4)
    points = mode_fixed_points(plain)
    evaluate = objective(one_head(plain), population_statistics(plain, one_head(plain)))
    unrest[UNMODIFIED] += _largest_unrest(evaluate, points)
    return unrest


def _largest_unrest(evaluate: Evaluate, points: ModeFixedPoints) -> float:
    """That of all points, each asked for by its subset."""
    unrest = []
    for listed in points:
        point = points.of(*listed.subset)
        unrest.append(abs(point.loss - listed.loss))
        unrest += [_unrest(evaluate, point, balanced) for balanced in (False, True)]
    return float(np.max(unrest))


def _unrest(evaluate: Evaluate, point: ModeFixedPoint, balanced: bool) -> float:
    """The largest slope of the loss at a point, gap of its loss, of its map, or of |p| and |q| if balanced."""
    weights = point.weights(balanced=balanced)
    M = effective_map(point.model, weights)
    gaps = [_distance_from_rest(evaluate(weights), point.loss)]
    gaps.append(float(np.max(np.abs(M - point.M))))
    if balanced:
        value, key_query = weights["value"], weights["key_query"]
        gaps.append(abs(float(np.sum(value**2) - np.sum(key_query**2))))
    return float(np.max(gaps))


def _distance_from_rest(evaluated: tuple[float, Weights], loss: float) -> float:
    """The largest slope, or gap of the loss."""
    found, slopes = evaluated
    largest = [np.max(np.abs(slope)) for slope in slopes.values()]
    return float(np.max([abs(found - loss), *largest]))


def _rests(variant: str, unrest: dict[str, float]) -> Evidence:
    return Evidence(
        agrees=unrest[variant] <= BOUND,
        observed=f"largest slope or gap {unrest[variant]:.1e}",
        expected=f"at most {BOUND:.0e}",
        residual=unrest[variant],
    )


# Minima over all four blocks


HELD = (True, False)
"""Whether a mode is held by (p2, q1)."""


def _four_blocks() -> Task:
    """Three modes of which the last is off, so that the minima are 4."""
    return mode_task([1.0, 0.6, 0.03], 4, [0.8, 1.5, 1.0], noise=0.2)


def _at_minima(context: RunContext) -> dict[str, float]:
    """How far all four blocks are from rest and from the least loss at the minima of every mask, and beside them."""
    task = _four_blocks()
    layer = Merged(heads=1, outputs=3, query_token=False)
    evaluate = objective(layer, population_statistics(task, layer, block="full"))
    least = four_block_minima(task, layer)
    masks = [[first, second, False] for first in HELD for second in HELD]
    stated = {
        UNMODIFIED: [least.weights(mask) for mask in masks],
        OTHER_SCALE: [_exchanged(least, mask) for mask in masks],
        HALF_EACH: [_halves(least, mask) for mask in masks],
    }
    miscounted = abs(least.count - len(masks))
    return {
        name: miscounted
        + np.max([_distance_from_rest(evaluate(each), least.loss) for each in weights])
        for name, weights in stated.items()
    }


def _exchanged(least: FourBlockMinima, mask: list[bool]) -> Weights:
    """p1 and q2, p2 and q1 exchanged: the same products at another scale of each mode."""
    D = len(mask)
    weights = least.weights(mask)
    value, key_query = weights["value"][0], weights["key_query"][0, :, :D]
    p1, p2 = value[:, :D].copy(), value[:, D:].copy()
    value[:, :D], value[:, D:] = key_query[D:], key_query[:D]
    key_query[D:], key_query[:D] = p1, p2
    return weights


def _halves(least: FourBlockMinima, mask: list[bool]) -> Weights:
    """Half of each product by the pair that holds it, half by the other."""
    pure, other = (least.weights(held) for held in (mask, [not held for held in mask]))
    return {name: (pure[name] + other[name]) / np.sqrt(2) for name in pure}


CLAIMS = (
    Claim(
        id="modes.listed",
        title="Every fixed point of noisy modes is listed once, by increasing loss, with its coefficients and index",
        paper="mainali2025",
        beyond_paper=True,
        equation="fixed points of the modes",
        origin="derived here",
        statement=r"\text{those subsets } A \text{ on which } g \omega s^3 a + k\, s r \sum_A s r a = \ell \omega s^2 "
        r"\text{ has a solution } a > 0",
        observable="solutions of the linear equations of all subsets of three tasks, and of the best of sixteen modes",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_solved,
        predict=_listed,
        judge=_same_points,
        controls=(ALL_LEARNED, STRONGEST, BACKWARDS, ALL_OFF),
        tier="fast",
    ),
    Claim(
        id="modes.rest",
        title="At the weights of a fixed point the whole layer rests at its loss, on every scale of p and q",
        paper="mainali2025",
        beyond_paper=True,
        equation="fixed points of the modes",
        origin="derived here",
        statement=r"\nabla L = 0 \text{ at } p = c\, U \mathrm{diag}\big(\sqrt{a s/r}\big) U^\top,\quad q = \tfrac1c\, "
        r"U \mathrm{diag}\big(\sqrt{a r/s}\big) U^\top",
        observable="loss, gradient and map on the exact moments at all fixed points of rotated modes",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_at_points,
        predict=lambda context, control: control,
        judge=_rests,
        controls=(UNIT_TEACHERS, NO_NOISE),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.block_minima",
        title="Each learned mode may be held by (p2, q1) or by (p1, q2): 2^m points at rest of one loss",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="derived here",
        statement=r"\nabla L = 0,\ L = L_{\min} \text{ where } p_2 = \sqrt{a s/r},\ q_1 = \sqrt{a r/s} \text{ or } p_1 "
        r"= \sqrt{a r},\ q_2 = \sqrt{a/r}",
        observable="loss and gradient on the exact moments of every feature at all minima of three noisy modes",
        limit="none",
        hypotheses=("shared basis", "the query's own token is not read"),
        measure=_at_minima,
        predict=lambda context, control: control,
        judge=_rests,
        controls=(OTHER_SCALE, HALF_EACH),
        assumes=FEATURE_MOMENTS,
        tier="fast",
    ),
)
