"""Where gradient flow can rest: fixed points by increasing loss, their stability and weights that realise them."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ...task import Task
from ..moments.population_loss import Population, direction_indices, population
from .subsets import Choice, subsets_by_loss

Kind = Literal["minimum", "strict saddle", "degenerate saddle"]
Packing = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A map M_S at which the population gradient vanishes, in its canonical weights.

    `subset` S holds the learned directions, numbered from 1 by decreasing gain; `gains` (|S|,) are theirs and
    `loss` = c − Σ gains, in units of y². `coefficients` (|S|,) are the m_d of M_S, None where Λ and Ω do not
    commute. `packing` says which directions each active head holds. `hessian_index` counts the negative
    eigenvalues of the Hessian at these weights (other weights of the same M_S can have others); `kind` is "strict
    saddle" with any, else "minimum" if as much is learned as the model can, else "degenerate saddle". `continuum`:
    equal gains make it one of infinitely many.
    """

    subset: tuple[int, ...]
    loss: float
    gains: FloatArray
    coefficients: FloatArray | None
    hessian_index: int
    kind: Kind
    packing: Packing
    continuum: bool
    population: Population = field(repr=False)
    model: Merged | Separate = field(repr=False)

    @property
    def M(self) -> FloatArray:
        """M_S, the restricted map (D, D): the model predicts βᵀ M_S x_q."""
        return self.population.learned(self.subset)

    @property
    def weights(self) -> Weights:
        """Balanced weights of the model's shapes: value rows (0, v), keys (k, 0), queries (q, 0), idle heads zero.

        A head that holds the rank-one maps M_d has v |k_d| |q_d| = |M_d|, |k_d| = |q_d| and v² = Σ_d |k_d|²; the
        one active head of the merged minimum has U = M*/v and v = |U|.
        """
        if isinstance(self.model, Merged):
            return _merged_weights(self.model, self.M)
        return _separate_weights(self.model, self.population, self.packing)


def fixed_points(task: Task, model: Parametrization) -> Iterator[FixedPoint]:
    """The fixed points of gradient flow on the restricted weights by increasing loss, lazily.

    Separate: M_S for every subset S of at most H·R directions. Merged: M* and M = 0. Of points that differ only by
    which of several equal gains they learn, one stands for all. ValueError for softmax, for a mixture with a
    fixed teacher and for a model that is neither.

    Source: Zhang et al. 2025 (arXiv 2501.16265), for Ω = 1, no noise; the stability is derived here.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> points = fixed_points(task, Separate(heads=4))
    >>> [(point.subset, point.hessian_index, point.kind) for _, point in zip(range(3), points)]
    [((1, 2, 3, 4), 0, 'minimum'), ((1, 2, 3), 0, 'degenerate saddle'), ((1, 2, 4), 1, 'strict saddle')]
    """
    known = _built_in(model)
    return _enumerated(population(task, model), known)


def fixed_point(
    task: Task,
    model: Parametrization,
    subset: Iterable[int],
    packing: Iterable[Iterable[int]] | None = None,
) -> FixedPoint:
    """The fixed point at which the directions of `subset` are learned, numbered from 1 by decreasing gain.

    `packing` lists the directions of each active head (separate models only); without it the fewest heads hold
    them in order of gain. ValueError for a subset or packing that the model cannot hold.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> fixed_point(task, Separate(heads=2, rank=2), (1, 2), packing=[(1,), (2,)]).hessian_index
    4
    """
    known = _built_in(model)
    moments = population(task, model)
    chosen = sorted(direction_indices(subset, moments.dimension))
    if len(chosen) > _capacity(known, moments) or (
        isinstance(known, Merged) and 0 < len(chosen) < len(moments.gains)
    ):
        raise ValueError(
            f"{known} has no fixed point with exactly the directions {[d + 1 for d in chosen]} learned"
        )
    loss = math.fsum([moments.c, *-moments.gains[chosen]])
    choice = Choice(
        loss, tuple(d + 1 for d in chosen), _splits_equal_gains(moments.gains, chosen)
    )
    return _point(moments, known, choice, packing)


def _built_in(model: Parametrization) -> Merged | Separate:
    if isinstance(model, (Merged, Separate)):
        return model
    raise ValueError(
        f"fixed points are known for Merged and Separate models, not for {type(model).__name__}"
    )


def _capacity(model: Merged | Separate, moments: Population) -> int:
    """How many directions the model can learn."""
    if isinstance(model, Merged):
        return moments.dimension
    return min(moments.dimension, model.head_count * model.rank)


def _enumerated(moments: Population, model: Merged | Separate) -> Iterator[FixedPoint]:
    if isinstance(model, Merged):
        yield _point(
            moments,
            model,
            Choice(moments.minimum_loss, tuple(range(1, moments.dimension + 1)), False),
        )
        yield _point(moments, model, Choice(moments.c, (), False))
        return
    for choice in subsets_by_loss(moments.c, moments.gains, _capacity(model, moments)):
        yield _point(moments, model, choice)


def _point(
    moments: Population,
    model: Merged | Separate,
    choice: Choice,
    packing: Iterable[Iterable[int]] | None = None,
) -> FixedPoint:
    chosen = [d - 1 for d in choice.subset]
    heads = _packed(model, choice.subset, packing)
    index = (
        _merged_index(model, chosen)
        if isinstance(model, Merged)
        else _separate_index(model, moments, heads)
    )
    complete = len(chosen) == _capacity(model, moments)
    kind: Kind = (
        "strict saddle" if index else "minimum" if complete else "degenerate saddle"
    )
    coefficients = moments.coefficients[chosen] if moments.is_aligned else None
    return FixedPoint(
        choice.subset,
        choice.loss,
        moments.gains[chosen],
        coefficients,
        index,
        kind,
        heads,
        choice.continuum,
        moments,
        model,
    )


def _packed(
    model: Merged | Separate,
    subset: tuple[int, ...],
    packing: Iterable[Iterable[int]] | None,
) -> Packing:
    """Directions of each active head: as given, or the fewest heads filled in order of gain."""
    if isinstance(model, Merged):
        if packing is not None:
            raise ValueError(
                "merged heads take no packing: every active head holds all directions"
            )
        return (subset,) if subset else ()
    if packing is None:
        return tuple(
            subset[start : start + model.rank]
            for start in range(0, len(subset), model.rank)
        )
    heads = tuple(tuple(int(d) for d in head) for head in packing)
    fits = len(heads) <= model.head_count and all(
        1 <= len(head) <= model.rank for head in heads
    )
    if not fits or sorted(d for head in heads for d in head) != list(subset):
        limits = f"at most {model.head_count} heads of 1 to {model.rank} directions"
        raise ValueError(
            f"a packing shares {subset} out over {limits}, each direction once, not {heads}"
        )
    return heads


def _merged_index(model: Merged, chosen: list[int]) -> int:
    """At M = 0 each head has one pair of eigenvalues ±2|B| and otherwise zeros; M* is the minimum."""
    return 0 if chosen else model.head_count


def _separate_index(model: Separate, moments: Population, heads: Packing) -> int:
    """Larger gains that an active head could rotate to, and ways out of the idle pairs of active heads."""
    learned = np.zeros(moments.dimension, dtype=bool)
    learned[[d - 1 for head in heads for d in head]] = True
    missing = -moments.gains[~learned]
    rotations = np.searchsorted(missing, -moments.gains[learned], side="left").sum()
    idle = sum(model.rank - len(head) for head in heads)
    return int(rotations) + idle * len(missing)


def _splits_equal_gains(gains: FloatArray, chosen: list[int]) -> bool:
    rest = np.delete(gains, chosen)
    return bool(np.isin(gains[chosen], rest).any())


def _merged_weights(model: Merged, M: FloatArray) -> Weights:
    weights = _zero_weights(model, len(M))
    norm = float(np.linalg.norm(M))
    if norm:
        weights["value"][0, -1] = math.sqrt(norm)
        weights["key_query"][0, :-1, :-1] = M / math.sqrt(norm)
    return weights


def _separate_weights(model: Separate, moments: Population, heads: Packing) -> Weights:
    weights = _zero_weights(model, moments.dimension)
    keys, queries = moments.factors
    for head, directions in enumerate(heads):
        chosen = [d - 1 for d in directions]
        p, r = keys[:, chosen].T, queries[:, chosen].T
        p_norms, r_norms = (
            np.linalg.norm(rows, axis=1, keepdims=True) for rows in (p, r)
        )
        value = float(np.cbrt(np.sum(p_norms * r_norms)))
        sizes = np.sqrt(p_norms * r_norms / value)
        weights["value"][head, -1] = value
        weights["key"][head, : len(chosen), :-1] = p / p_norms * sizes
        weights["query"][head, : len(chosen), :-1] = r / r_norms * sizes
    return weights


def _zero_weights(model: Merged | Separate, dimension: int) -> Weights:
    return {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
