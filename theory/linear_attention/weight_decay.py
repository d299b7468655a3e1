"""L2 weight decay: where gradient flow with decay rests, and how far decay may go before a direction is lost.

Descent on the gradient plus wd·θ follows, in flow time (2η a step of rate η), with δ = wd/2,

    dθ/dt = −½ ∂L/∂θ − δ θ

which is the flow of L + δ|θ|². Every quadratic quantity that the flow conserves without decay shrinks as e^{−wd·t},
so the weights end balanced. Derived here; the loss L is always the one without the decay.

**Separate, rank one.** A balanced head on direction d (v = |k| = |q|) obeys dv/dt = b v² − aλ v⁵ − δ v and rests where

    b v − aλ v⁴ = δ

With wd below (3/2) b (b/(4aλ))^{1/3} this has two positive roots, on both sides of v³ = b/(4aλ). Along the head the
Hessian of L + δ|θ|² is 2 (4aλ v⁴ − b v), so the larger root is stable and the smaller one is not: it is the threshold
below which a head dies. M = 0 is stable.

**Merged.** With balanced heads |θ|² = 2|M| (Frobenius), so that the flow descends L(M) + wd·|M|, which is convex: it
has one minimum, which is not M = 0 just where wd < 2|B|, and there A M Λ + (δ/|M|) M = B.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Parametrization, outputs_of
from ...runtime.arrays import BoolArray, FloatArray, IndexArray
from ...runtime.checks import nonnegative_number
from ..moments.population_loss import Population, direction_indices
from .subsets import Choice, count_subsets, subsets_by_loss, subsets_from_the_last

# Of y − y⁴ at y = 4^{−1/3}: the largest decay, in units of b (b/(aλ))^{1/3}, at which a head can rest.
_LARGEST_SHARE = 0.75 / np.cbrt(4.0)
# Newton's steps halve the distance to the double root at the bound, and square it elsewhere: doubles need no more.
_MOST_STEPS = 80
# By which a bracket of a logarithm grows.
_WIDENING = 0.1
# Relative difference up to which equal gains have equal λ: what an eigensolver makes of them.
_SAME_EIGENVALUE = 1e-10


class HeadRoots(NamedTuple):
    """The two amplitudes (…) at which a rank-one head rests under decay; nan where it cannot rest.

    A head dies below `threshold`, and above it tends to `stable`. Without decay the threshold is 0.
    """

    threshold: FloatArray
    stable: FloatArray


def head_roots(
    alpha: ArrayLike, gamma: ArrayLike, weight_decay: ArrayLike
) -> HeadRoots:
    """The roots v of α v − αγ v⁴ = wd/2, for α = b_d and γ = 1/m_d as in `rank_one_amplitude`; all broadcast.

    nan from the bound of `largest_decay` on. ValueError unless α and γ are positive, the decay zero or more, and all
    finite. Derived here, from the scalar equation of Zhang et al. 2025 (arXiv 2501.16265) with decay.

    >>> roots = head_roots(alpha=1.0, gamma=1.0, weight_decay=[0.0, 0.5, 2.0])
    >>> roots.threshold.round(4), roots.stable.round(4)
    (array([0.    , 0.2542,    nan]), array([1.    , 0.8968,    nan]))
    """
    α, γ = _positive(alpha, "alpha"), _positive(gamma, "gamma")
    δ = _decays(weight_decay) / 2
    size = 1 / np.cbrt(γ)  # of v at the fixed point without decay
    # y − y⁴ = share, for y in units of that size.
    share = δ / (α * size)
    exists = share < _LARGEST_SHARE

    safe_share = np.where(exists, share, 0.0)
    y_threshold = _newton(np.zeros_like(safe_share), safe_share)
    y_stable = _newton(np.ones_like(safe_share), safe_share)
    return HeadRoots(
        np.where(exists, size * y_threshold, np.nan),
        np.where(exists, size * y_stable, np.nan),
    )


def largest_decay(alpha: ArrayLike, gamma: ArrayLike) -> FloatArray:
    """The weight decay (3/2) α (4γ)^{−1/3} below which a rank-one head can hold a direction, for α = b_d, γ = 1/m_d.

    ValueError unless both are positive and finite.

    >>> float(largest_decay(alpha=1.0, gamma=2.0).round(6))
    0.75
    """
    α, γ = _positive(alpha, "alpha"), _positive(gamma, "gamma")
    return np.asarray(2 * _LARGEST_SHARE * (α / np.cbrt(γ)))


def merged_map(population: Population, weight_decay: float) -> FloatArray:
    """M* (D, D) of merged heads under weight decay: A M Λ + (wd/2) M/|M| = B, and 0 from wd = 2|B| on.

    On an aligned task M* has the coefficients m_d = b_d/(a_d λ_d + (wd/2)/|M*|). Derived here, for any Λ and Ω.

    >>> from attndyn import Merged, Task
    >>> from attndyn.theory import population
    >>> loss = population(Task([1.0, 1.0], context_length=10), Merged(1))
    >>> np.diag(merged_map(loss, 0.5)).round(6), np.diag(merged_map(loss, 2.9)).round(6)
    (array([0.633249, 0.633249]), array([0., 0.]))
    """
    decay = nonnegative_number(weight_decay, "weight_decay")
    if decay == 0:
        return population.minimum
    if population.spectrum is not None:
        e = population.directions
        m = _shrunk(population.b, population.a * population.lam, decay / 2)
        return np.asarray((e * m) @ e.T)
    A = np.linalg.eigh(population.A)
    Λ = np.linalg.eigh(population.Lambda)
    B = A.eigenvectors.T @ population.B @ Λ.eigenvectors  # (D, D) on both eigenbases
    curvature = np.outer(A.eigenvalues, Λ.eigenvalues)
    M = _shrunk(B, curvature, decay / 2)
    return np.asarray(A.eigenvectors @ M @ Λ.eigenvectors.T)


def _shrunk(b: FloatArray, curvature: FloatArray, δ: float) -> FloatArray:
    """The m of b's shape with curvature·m + δ m/|m| = b, entry by entry; 0 where δ is at least |b|."""
    is_moved = b != 0
    b_moved = b[is_moved]
    p = curvature[is_moved]
    m = np.zeros_like(b)
    if δ < np.linalg.norm(b_moved):
        m[is_moved] = b_moved / (p + _multiplier(b_moved, p, δ))
    return m


def _multiplier(b: FloatArray, p: FloatArray, δ: float) -> float:
    """The μ > 0 with μ|m| = δ for m = b/(p + μ), where b ≠ 0 and δ < |b|."""
    from scipy.optimize import brentq

    norm = float(np.linalg.norm(b))

    def excess(log_μ: float) -> float:
        """μ|m(μ)| − δ for m = b/(p + μ): it increases from −δ to |b| − δ."""
        μ = np.exp(log_μ)
        return float(np.linalg.norm(b / (p / μ + 1))) - δ

    # μ|m| is at most μ|b/p| and at least μ|b|/(max p + μ).
    lowest = np.log(δ) - np.log(float(np.linalg.norm(b / p)))
    highest = np.log(δ) + np.log(float(np.max(p))) - np.log(norm - δ)
    # Where these bounds are the root itself, rounding may put them on its wrong side.
    while excess(lowest) > 0:
        lowest -= _WIDENING
    while excess(highest) < 0:
        highest += _WIDENING
    log_μ = brentq(excess, lowest, highest, xtol=1e-15, rtol=1e-15)
    return float(np.exp(log_μ))


@dataclass(frozen=True, eq=False)
class DecayedMerged:
    """What merged heads learn under a positive weight decay: M*, or nothing where decay is at least 2|B|."""

    population: Population
    weight_decay: float
    formula: ClassVar[str] = r"A M \Lambda + \frac{wd}{2 |M|} M = B"

    def __post_init__(self) -> None:
        loss = self.population
        if not loss.is_aligned and loss.direction_count < loss.dimension:
            raise ValueError(
                "Λ or Ω is singular and they do not commute: what is learned under weight decay is known where they "
                "commute or both are regular, so simulate it, or pass weight_decay=0"
            )

    @cached_property
    def map(self) -> FloatArray:
        """M* (D, D), zero where nothing is learned."""
        return merged_map(self.population, self.weight_decay)

    @cached_property
    def is_learned(self) -> bool:
        """Whether M* is not zero: the other fixed point M = 0 is then unstable."""
        return bool(np.any(self.map))

    @cached_property
    def coefficients(self) -> FloatArray:
        """e_dᵀ M* e_d (D,) by decreasing gain; ValueError where not aligned."""
        e = self.population.directions
        return np.asarray(np.einsum("id,ij,jd->d", e, self.map, e))

    @cached_property
    def drops(self) -> FloatArray:
        """How much each direction of decreasing gain lowers the loss at M* (D,); their sum is c − L(M*).

        On T = A^{-1/2} B Λ^{-1/2} = Σ_d s_d u_d t_dᵀ and M̃ = A^{1/2} M Λ^{1/2}: 2 s_d u_dᵀ M̃ t_d − |u_dᵀ M̃|².
        """
        loss = self.population
        if loss.is_aligned:
            m = self.coefficients
            return np.asarray(m * (2 * loss.b - loss.a * loss.lam * m))
        scaled = _root(loss.A) @ self.map @ _root(loss.Lambda)  # M̃
        rows = loss.left.T @ scaled  # u_dᵀ M̃
        overlaps = np.sum(rows * loss.right.T, axis=1)
        return np.asarray(2 * np.sqrt(loss.gains) * overlaps - np.sum(rows**2, axis=1))

    def choices(self) -> Iterator[Choice]:
        """What is learned at each fixed point, by increasing loss."""
        if self.is_learned:
            yield self.chosen(list(range(self.population.direction_count)))
        yield self.chosen([])

    def chosen(self, subset: list[int]) -> Choice:
        """The choice of all directions, from 0, or of none; ValueError where none can be learned."""
        if subset and not self.is_learned:
            largest = 2 * float(np.linalg.norm(self.population.B))
            raise ValueError(
                f"weight_decay={self.weight_decay:g} leaves no fixed point but M = 0: "
                f"that takes a decay below 2|B| = {largest:.4g}"
            )
        loss = _remaining(self.population.c, self.drops[subset])
        return Choice(loss, tuple(d + 1 for d in subset), False)

    def learned(self, subset: tuple[int, ...]) -> FloatArray:
        """M* (D, D) where directions are learned, else 0."""
        return self.map if subset else np.zeros_like(self.map)


@dataclass(frozen=True, eq=False)
class DecayedRankOne:
    """What rank-one heads learn under a positive weight decay, each on a direction of its own at the larger root.

    All arrays (D,) are by decreasing gain (without decay). ValueError where Λ and Ω do not commute.
    """

    population: Population
    weight_decay: float
    formula: ClassVar[str] = (
        r"M_S = \sum_{d \in S} v_d^3 e_d e_d^\top,\ b_d v_d - a_d \lambda_d v_d^4 = wd/2"
    )

    def __post_init__(self) -> None:
        if not self.population.is_aligned:
            raise ValueError(
                "Λ and Ω do not commute: what rank-one heads learn under weight decay is known only where they do, "
                "so simulate it, or pass weight_decay=0"
            )

    @cached_property
    def bounds(self) -> FloatArray:
        """The decay from which on a direction cannot be learned, 0 for one of no gain, (D,)."""
        loss = self.population
        bounds = np.zeros(loss.direction_count)
        is_rewarded = loss.b > 0
        m = loss.coefficients[is_rewarded]
        bounds[is_rewarded] = largest_decay(loss.b[is_rewarded], 1 / m)
        return bounds

    @cached_property
    def amplitudes(self) -> FloatArray:
        """v_d = |k_d| = |q_d| of a head on direction d, 0 where it cannot be learned, (D,)."""
        loss = self.population
        is_rewarded = loss.b > 0
        v = np.zeros(loss.direction_count)
        m = loss.coefficients[is_rewarded]
        roots = head_roots(loss.b[is_rewarded], 1 / m, self.weight_decay)
        v[is_rewarded] = np.nan_to_num(roots.stable)
        # What an eigensolver makes of equal directions is made equal, so that they tie in all that follows.
        return np.asarray(v[self._first_of_equals])

    @cached_property
    def coefficients(self) -> FloatArray:
        """m_d = v_d³, (D,)."""
        return np.asarray(self.amplitudes**3)

    @cached_property
    def drops(self) -> FloatArray:
        """How much a learned direction lowers the loss, m_d (2 b_d − a_d λ_d m_d), (D,): its gain without decay."""
        drops = self._exact_drops.copy()
        first = self._first_of_equals
        for previous, d in pairwise(self._order):
            if first[d] != first[previous]:
                # Drops that are equal by chance belong to different directions: they are set one double apart.
                drops[d] = min(drops[d], np.nextafter(drops[previous], 0))
            else:
                drops[d] = drops[previous]
        return drops

    @cached_property
    def _exact_drops(self) -> FloatArray:
        loss = self.population
        m = self.coefficients
        drops = m * (2 * loss.b - loss.a * loss.lam * m)
        return np.asarray(drops[self._first_of_equals])

    @cached_property
    def _order(self) -> IndexArray:
        """The directions that can be learned, from 0, by decreasing drop."""
        alive = np.flatnonzero(self.exists)
        by_drop = np.argsort(-self._exact_drops[alive], kind="stable")
        return np.asarray(alive[by_drop])

    @cached_property
    def exists(self) -> BoolArray:
        """Whether a head can hold the direction, (D,)."""
        return np.asarray(self.amplitudes > 0)

    @cached_property
    def _first_of_equals(self) -> IndexArray:
        """The index of the first direction with this gain and this λ, (D,): equal ones turn into each other freely."""
        loss = self.population
        begins = np.ones(loss.direction_count, dtype=bool)
        same_gain = np.diff(loss.gains) == 0
        same_λ = np.abs(np.diff(loss.lam)) <= _SAME_EIGENVALUE * loss.lam[1:]
        begins[1:] = ~(same_gain & same_λ)
        indices = np.where(begins, np.arange(loss.direction_count), 0)
        return np.asarray(np.maximum.accumulate(indices))

    @cached_property
    def factors(self) -> tuple[FloatArray, FloatArray]:
        """Columns p_d and r_d, both (D, D), of the rank-one maps p_d r_dᵀ that are learned one by one."""
        e = self.population.directions
        return e * self.coefficients, e

    def choices(self, limit: int, *, from_the_last: bool = False) -> Iterator[Choice]:
        """Every choice of at most `limit` directions that can be learned, by increasing loss, or from the last."""
        order = self._order
        most = min(limit, len(order))
        enumerated = subsets_from_the_last if from_the_last else subsets_by_loss
        for choice in enumerated(self.population.c, self.drops[order], most):
            chosen = (int(order[number - 1]) for number in choice.subset)
            directions = tuple(sorted(d + 1 for d in chosen))
            yield Choice(choice.loss, directions, choice.continuum)

    def count(self, limit: int) -> int:
        """How many choices there are."""
        most = min(limit, len(self._order))
        return count_subsets(self.drops[self._order], most)

    def chosen(self, subset: list[int]) -> Choice:
        """The choice of these directions, from 0; ValueError where one of them cannot be learned."""
        lost = [d + 1 for d in subset if not self.exists[d]]
        if lost:
            bounds = ", ".join(f"{self.bounds[d - 1]:.4g}" for d in lost)
            raise ValueError(
                f"weight_decay={self.weight_decay:g} leaves no fixed point with directions {lost} learned: "
                f"that takes a decay below {bounds}"
            )
        unlearned = np.setdiff1d(np.arange(self.population.direction_count), subset)
        splits = np.isin(
            self._first_of_equals[subset], self._first_of_equals[unlearned]
        )
        loss = _remaining(self.population.c, self.drops[subset])
        return Choice(loss, tuple(d + 1 for d in subset), bool(splits.any()))

    def learned(self, subset: tuple[int, ...]) -> FloatArray:
        """M_S (D, D), in which the directions of `subset`, numbered from 1, are learned."""
        indices = direction_indices(subset, self.population.direction_count)
        p, r = self.factors
        return np.asarray(p[:, indices] @ r[:, indices].T)

    # Long because each entry of the Hessian stands as in the formula.
    def hessian_index(self, learned: list[int]) -> int:
        """Negative eigenvalues of the Hessian of L + (wd/2)|θ|², one head on each of these directions, from 0.

        Only a head that turns from its direction d to one j that no head holds can lower it: there the Hessian is

            [[a_j λ_d v_d⁴ + δ, −b_j v_d], [−b_j v_d, a_d λ_j v_d⁴ + δ]]

        on the entries of key and query along j. Along the head it is positive at the larger root, for two heads that
        turn to each other's direction it is never negative there, and idle heads have δ > 0 on their diagonal.
        """
        loss = self.population
        δ = self.weight_decay / 2
        unlearned = np.setdiff1d(np.arange(loss.direction_count), learned)
        d, j = np.meshgrid(learned, unlearned, indexing="ij")  # (|S|, D − |S|)
        d, j = d.astype(int), j.astype(int)

        v = self.amplitudes[d]
        # In units of δ, so that no product leaves the range of numbers.
        key_curvature = loss.a[j] * loss.lam[d] * (v**4 / δ) + 1
        query_curvature = loss.a[d] * loss.lam[j] * (v**4 / δ) + 1
        coupling = loss.b[j] * v / δ
        turns = key_curvature * query_curvature < coupling**2
        # To an equal direction the loss is flat.
        equal = self._first_of_equals[d] == self._first_of_equals[j]
        return int(np.sum(turns & ~equal))


def checked_decay(weight_decay: object) -> float:
    """A weight decay of zero or more; ValueError for anything else, which names an optimiser that is passed instead.

    >>> checked_decay("adamw")
    Traceback (most recent call last):
    ValueError: no statement about adamw: the theory knows the decay of gradient descent, wd·θ added to the gradient
    """
    if isinstance(weight_decay, str) or hasattr(weight_decay, "update"):
        _refuse_optimiser(weight_decay)
    return nonnegative_number(weight_decay, "weight_decay")


def refuse_several_outputs(model: Parametrization) -> None:
    """ValueError for a model of more than one output."""
    outputs = outputs_of(model)
    if outputs > 1:
        raise ValueError(
            f"weight decay is known for models of one output, not {outputs}: simulate it, or pass weight_decay=0"
        )


def _refuse_optimiser(value: object) -> NoReturn:
    """ValueError for an optimiser, its class or its name in the place of a decay."""
    class_name = getattr(value, "__name__", type(value).__name__)
    name = value if isinstance(value, str) else class_name
    if name.lower().startswith("adam"):
        raise ValueError(
            f"no statement about {name}: the theory knows the decay of gradient descent, wd·θ added to the gradient"
        )
    raise ValueError(
        f"weight_decay must be a number, such as 0.01, not {value!r}: of an optimiser pass its weight_decay"
    )


def _remaining(c: float, drops: FloatArray) -> float:
    """c less all drops, without rounding on the way."""
    return math.fsum([c, *-drops])


def _newton(y: FloatArray, share: FloatArray) -> FloatArray:
    """The root of y − y⁴ = share that Newton's steps reach from y, monotonically: the difference is concave."""
    for _ in range(_MOST_STEPS):
        slope = 1 - 4 * y**3
        residual = y - y**4 - share
        step = np.divide(residual, slope, out=np.zeros_like(y), where=slope != 0)
        moved = y - step
        if np.array_equal(moved, y):
            break
        y = moved
    return y


def _positive(value: ArrayLike, name: str) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array)) or np.any(array <= 0):
        raise ValueError(f"{name} must be positive and finite")
    return array


def _decays(value: ArrayLike) -> FloatArray:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array)) or np.any(array < 0):
        raise ValueError("weight_decay must be zero or more and finite")
    return array


def _root(matrix: FloatArray) -> FloatArray:
    """The symmetric root of a positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)
