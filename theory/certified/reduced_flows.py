"""Equations of the flow of the population loss, dθ/dt = −½ ∂L/∂θ, stated afresh for validated integration.

With G = B − A M Λ every head of M = Σ_h v_h k_h q_hᵀ follows dv = kᵀG q, dk = v G q, dq = v Gᵀk; merged attention, of
which M = s U, follows ds = ⟨U, G⟩ and dU = s G. On a diagonal task G stays diagonal where M is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...runtime.display import Displayed, Summary
from ...task import Task
from .balls import Ball, as_balls, ball, fmpq, rational, total
from .rational_moments import (
    AlignedDirection,
    RationalMoments,
    aligned_directions,
    exact_moments,
)
from .taylor_steps import Rate, State

MOST_NUMBERS = 200
"""Most coordinates of a flow: the series of more take minutes a step."""


@dataclass(frozen=True, repr=False)
class ReducedFlow(Displayed):
    """A flow dx/dt = f(x) with rational coefficients, its start and its loss, which never rises.

    `name` says which equations these are; `start` holds exact numbers.
    """

    name: str
    start: tuple[Fraction, ...]
    rate: Rate = field(repr=False)
    loss: Callable[[State], Ball] = field(repr=False)
    balanced_value: bool = False
    """Whether coordinate 0 is √Σ x_r² of the others, which is irrational and enters as a ball."""

    def initial_box(self) -> State:
        """The start as balls at the precision of the moment."""
        box = [ball(number) for number in self.start]
        if self.balanced_value:
            return [total([x * x for x in box]).sqrt(), *box]
        return box

    def summary(self) -> Summary:
        """The flow on one screen."""
        count = len(self.start) + int(self.balanced_value)
        return Summary(
            self.name, {"equations": count, "start": ", ".join(map(str, self.start))}
        )


def merged_flow(
    task: Task, model: Parametrization, s0: object, u0: Sequence[object]
) -> ReducedFlow:
    """Merged attention on a diagonal task, M = s diag(u): du_d/dt = s (b_d − a_d λ_d s u_d), ds/dt = Σ_d u_d (…).

    `u0` (D,) by decreasing gain. ValueError for a task that is not diagonal, or another model.

    >>> from attndyn import Merged, Task
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> len(merged_flow(task, Merged(heads=8), "1/100", ["9/1000", "4/1000"]).start)
    3
    """
    if not isinstance(model, Merged):
        raise ValueError("merged_flow is that of merged attention: pass Merged(heads)")
    c, directions = aligned_directions(task, model)
    along = _checked_start("u0", u0, len(directions))
    growth, curvature = _coefficients(directions)

    def rate(x: list[Any]) -> list[Any]:
        s, u = x[0], x[1:]
        residuals = [
            b - a * (s * along)
            for b, a, along in zip(growth, curvature, u, strict=True)
        ]
        shared = total([y * g for y, g in zip(u, residuals, strict=True)])
        return [shared, *(s * g for g in residuals)]

    def loss(x: State) -> Ball:
        return _aligned_loss(c, directions, [x[0] * along for along in x[1:]])

    return ReducedFlow(
        "Merged attention along common eigenvectors",
        (rational("s0", s0), *along),
        rate,
        loss,
    )


def head_flow(
    task: Task, model: Parametrization, kappa0: Sequence[object]
) -> ReducedFlow:
    """One balanced head of rank R on the R directions of largest gain, from `kappa0` (R,), with v = √Σ κ_r².

    dκ_r/dt = v κ_r (b_r − a_r λ_r v κ_r²) and dv/dt = Σ_r κ_r² (b_r − a_r λ_r v κ_r²): κ_r is the size of key and query
    along direction r. ValueError for a task that is not diagonal, or more starts than the rank.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> head_flow(task, Separate(heads=1, rank=2), ["1/50", "1/50"])
    One head along common eigenvectors
      equations  3
      start      1/50, 1/50
    """
    rank = model.rank if isinstance(model, Separate) else 0
    c, directions = aligned_directions(task, model)
    if not 1 <= len(kappa0) <= min(rank, len(directions)):
        raise ValueError(
            f"kappa0 must have 1 to R starts, of a head Separate(heads, rank=R) with R ≤ D, not {len(kappa0)}"
        )
    learned = directions[: len(kappa0)]
    growth, curvature = _coefficients(learned)

    def rate(x: list[Any]) -> list[Any]:
        v, κ = x[0], x[1:]
        squares = [y * y for y in κ]
        residuals = [
            b - a * (v * square)
            for b, a, square in zip(growth, curvature, squares, strict=True)
        ]
        shared = total([y * g for y, g in zip(squares, residuals, strict=True)])
        return [shared, *(v * y * g for y, g in zip(κ, residuals, strict=True))]

    def loss(x: State) -> Ball:
        return _aligned_loss(c, learned, [x[0] * y * y for y in x[1:]])

    return ReducedFlow(
        "One head along common eigenvectors",
        _checked_start("kappa0", kappa0, len(learned)),
        rate,
        loss,
        balanced_value=True,
    )


def heads_flow(
    task: Task, model: Parametrization, weights: Mapping[str, Any]
) -> ReducedFlow:
    """All weights of separate heads of rank one on any task, from full-size weights on the restricted block.

    dv = kᵀG q, dk = v G q, dq = v Gᵀk with G = B − A M Λ. The first drop alone can be certified: while heads idle on
    later plateaus, boxes grow without bound. ValueError for another model, other shapes, or weights off the block.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    >>> weights = {"value": [["0", "0", "1/20"]], "key": [[["1/30", "0", "0"]]], "query": [[["1/40", "1/50", "0"]]]}
    >>> len(heads_flow(task, Separate(heads=1), weights).start)
    5
    """
    if not isinstance(model, Separate) or model.rank != 1:
        raise ValueError(
            "heads_flow is that of separate heads of rank one: pass Separate(heads)"
        )
    moments = exact_moments(task, model)
    start = _restricted_weights(model, weights, moments.dimension)
    if len(start) > MOST_NUMBERS:
        raise ValueError(
            f"a flow of {len(start)} numbers takes too long: {MOST_NUMBERS} are the most"
        )
    size = _Size(model.head_count, moments.dimension)

    def rate(x: list[Any]) -> list[Any]:
        heads = _heads(x, size)
        G = _residual(moments, _map(heads))  # (D, D)
        columns = [list(column) for column in zip(*G, strict=True)]
        values, keys, queries = [], [], []
        for v, k, q in heads:
            moved = [_dot(row, q) for row in G]  # G q
            pulled = [_dot(column, k) for column in columns]  # Gᵀ k
            values.append(_dot(k, moved))
            keys += [v * entry for entry in moved]
            queries += [v * entry for entry in pulled]
        return [*values, *keys, *queries]

    def loss(x: State) -> Ball:
        M = _map(_heads(x, size))
        G = _residual(moments, M)
        B = as_balls(moments.B)
        D = size.dimension
        # c − 2 tr(BᵀM) + tr(Λ MᵀA M) with A M Λ = B − G.
        learned = [(B[i, j] + G[i][j]) * M[i][j] for i in range(D) for j in range(D)]
        return ball(moments.c) - total(learned)

    return ReducedFlow("Separate heads of rank one", start, rate, loss)


class _Size(NamedTuple):
    """H and D."""

    heads: int
    dimension: int


class _Head(NamedTuple):
    """v, k (D,) and q (D,), as balls or as series."""

    v: Any
    k: list[Any]
    q: list[Any]


def _heads(x: list[Any], size: _Size) -> list[_Head]:
    """The heads of a state, in which all v stand first, then all k, then all q."""
    H, D = size
    heads = []
    for h in range(H):
        key = H + h * D
        query = key + H * D
        heads.append(_Head(x[h], x[key : key + D], x[query : query + D]))
    return heads


def _map(heads: list[_Head]) -> list[list[Any]]:
    """M = Σ_h v_h k_h q_hᵀ, (D, D)."""
    D = len(heads[0].k)
    valued = [[head.v * entry for entry in head.k] for head in heads]
    return [
        [
            total([k[i] * head.q[j] for k, head in zip(valued, heads, strict=True)])
            for j in range(D)
        ]
        for i in range(D)
    ]


def _residual(moments: RationalMoments, M: list[list[Any]]) -> list[list[Any]]:
    """G = B − A M Λ, (D, D)."""
    A, B = as_balls(moments.A), as_balls(moments.B)
    Lambda = as_balls(moments.Lambda)
    axes = range(moments.dimension)
    left = [
        [total([A[i, k] * M[k][j] for k in axes if A[i, k] != 0]) for j in axes]
        for i in axes
    ]
    return [
        [
            B[i, j]
            - total([left[i][k] * Lambda[k, j] for k in axes if Lambda[k, j] != 0])
            for j in axes
        ]
        for i in axes
    ]


def _restricted_weights(
    model: Separate, weights: Mapping[str, Any], dimension: int
) -> tuple[Fraction, ...]:
    """The weights that move, exactly: all v, all k, all q; ValueError for other shapes, or weights off the block."""
    shapes = model.shapes(dimension)
    if set(weights) != set(shapes):
        raise ValueError(
            f"weights must be {', '.join(shapes)}, not {', '.join(weights)}"
        )
    on_block: list[Fraction] = []
    for name, shape in shapes.items():
        values = np.array(weights[name], dtype=object)
        if values.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {values.shape}")
        exact = [rational(name, value) for value in values.ravel()]
        numbers = np.array(exact, dtype=object).reshape(shape)
        # The block of the value is its last entry, that of key and query all but theirs.
        inside, outside = numbers[..., :-1], numbers[..., -1:]
        if name == "value":
            inside, outside = outside, inside
        if any(entry != 0 for entry in outside.ravel()):
            raise ValueError(
                f"{name} must be zero off the restricted block: the flow of the whole weights is another"
            )
        on_block += inside.ravel().tolist()
    return tuple(on_block)


def _coefficients(
    directions: list[AlignedDirection],
) -> tuple[list[Any], list[Any]]:
    """b_d and a_d λ_d as exact rationals, which become balls of the precision where they are multiplied."""
    growth = [fmpq(direction.b) for direction in directions]
    curvature = [fmpq(direction.curvature) for direction in directions]
    return growth, curvature


def _aligned_loss(
    c: Fraction, directions: list[AlignedDirection], coefficients: list[Ball]
) -> Ball:
    """c − Σ_d (2 b_d x_d − a_d λ_d x_d²) of the map Σ_d x_d e_d e_dᵀ."""
    learned = [
        (2 * fmpq(direction.b) - fmpq(direction.curvature) * x) * x
        for direction, x in zip(directions, coefficients, strict=True)
    ]
    return ball(c) - total(learned)


def _checked_start(
    name: str, values: Sequence[object], count: int
) -> tuple[Fraction, ...]:
    """The start as fractions; ValueError unless there are so many numbers."""
    if len(values) != count:
        raise ValueError(f"{name} must have {count} numbers, not {len(values)}")
    return tuple(rational(name, value) for value in values)


def _dot(first: list[Any], second: list[Any]) -> Any:
    return total([x * y for x, y in zip(first, second, strict=True)])
