"""The approximate loss of softmax heads, and where it is the limit of the exact one."""

from functools import cache

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import approximate_loss, exact_loss
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence, Fit
from ...evidence.judges import converges_at_order
from .setting import EXACT_LOSSES, noise_share, white_task

CONTEXT_PER_DIMENSION = 8
"""N/D, the same at every size."""

DIMENSIONS = (20, 40, 80, 160)
INVERSE = tuple(1 / D for D in DIMENSIONS)

SCORES = {"small": 0.3, "unit": 1.0}
"""c = ω√D, the standard deviation of the scores."""

LARGE_DIMENSIONS, ALL_SCORES = (160, 320), (0.3, 1.0, 1.5, 2.0)
"""Two sizes of which the second is twice the first, and scores on both sides of 1."""

LEAST_SLOPE = 0.9
"""What counts as order 1 between two sizes: the order at unit scores is .98 there, at 1.5 it is .77."""

NODES_OF_QUERY = 10
"""Nodes over the query where gaps of some percent are measured: off by less than 1e-4 of the loss."""

KEY_DIMENSIONS = (5, 20, 80)
FALLING = 0.5
"""An error that falls as 1/D is a sixteenth at the last of these sizes; one that does not fall at all is larger."""

MATRIX_EXPONENTIAL = "exp of the matrix D ωωᵀ, not of its entries"
NO_NOISE = "κ = 1/N, without the noise of the labels"
LINEAR_OVERLAP = "1 + D ω_h ω_k in place of its exponential"
UP_TO_ONE, NEVER = "up to unit scores", "at no scores"
NEGATIVE, NO_QUERY = "for negative heads", "without the query's token"


def _size(dimension: int) -> Task:
    """The task of this dimension, with the same share of dimensions in tokens."""
    return white_task(dimension, CONTEXT_PER_DIMENSION * dimension)


def _overlap(dimension: int, ω: FloatArray, control: str = UNMODIFIED) -> FloatArray:
    """E (H, H), or what a wrong formula puts in its place."""
    from scipy.linalg import expm

    exponents = dimension * np.outer(ω, ω)
    if control == MATRIX_EXPONENTIAL:
        return np.asarray(expm(exponents))
    linear = control == LINEAR_OVERLAP
    return np.asarray(1 + exponents if linear else np.exp(exponents))


def _heads(dimension: int, score: float) -> list[tuple[FloatArray, FloatArray]]:
    """One head, and two of either sign, whose scores have this deviation, with the μ that is best for L̃."""
    κ = noise_share(_size(dimension))
    pairs = []
    for signs in ([1.0], [1.0, -1.0]):
        ω = np.array(signs) * score / np.sqrt(dimension)
        pairs.append(
            (ω, np.linalg.solve(np.outer(ω, ω) + κ * _overlap(dimension, ω), ω))
        )
    return pairs


def _exact(score: float) -> list[FloatArray]:
    """Losses (2,) of one and two heads at each dimension, by quadrature."""
    return [
        np.array([_exact_loss(D, *heads) for heads in _heads(D, score)])
        for D in DIMENSIONS
    ]


def _exact_loss(dimension: int, ω: FloatArray, μ: FloatArray) -> float:
    return float(exact_loss(_size(dimension), ω, μ))


def _approximate(score: float, control: str) -> list[FloatArray]:
    """The same losses by the approximate loss or a wrong one."""
    return [
        np.array([_approximate_loss(D, *heads, control) for heads in _heads(D, score)])
        for D in DIMENSIONS
    ]


def _approximate_loss(
    dimension: int, ω: FloatArray, μ: FloatArray, control: str = UNMODIFIED
) -> float:
    """L̃, or a wrong variant of it."""
    task = _size(dimension)
    if control == UNMODIFIED:
        return float(approximate_loss(task, ω, μ))
    N, σ2 = max(task.context_lengths), task.noise_variance
    κ = 1 / N if control == NO_NOISE else (1 + σ2) / N
    η = μ @ ω
    E = _overlap(dimension, ω, control)
    return float(1 + σ2 - 2 * η + η**2 + κ * μ @ E @ μ)


def _order_claim(name: str) -> Claim:
    """The claim on the order at one size of the scores."""
    score = SCORES[name]
    return Claim(
        id=f"softmax.approximate_loss_{name}_scores",
        title=f"The approximate loss is the limit D → ∞ up to O(1/D) for {name} scores, ω√D = {score:g}",
        paper="he2025",
        equation="reduced model",
        origin="the order is derived here",
        statement=r"L - \tilde L = O(1/D),\quad E_{hk} = e^{D\omega_h\omega_k},\quad D/N,\ \omega\sqrt D \text{ fixed}",
        observable="exact loss of one head and of two of either sign, with the best μ, by quadrature",
        limit="D → ∞ at fixed D/N and ω√D, error O(1/D)",
        order=1,
        hypotheses=("without the query's own token", "ω√D at most 1"),
        measure=lambda context: _exact(score),
        predict=lambda context, control: _approximate(score, control),
        judge=converges_at_order(INVERSE, 1, name="1/D"),
        controls=(MATRIX_EXPONENTIAL, NO_NOISE, LINEAR_OVERLAP)
        if name == "unit"
        else (MATRIX_EXPONENTIAL, NO_NOISE),
        assumes=EXACT_LOSSES,
        tier="fast",
    )


@cache
def _gap(dimension: int, score: float, query_token: bool = False) -> float:
    """|L − L̃| of one head with scores of this deviation and sign, to some digits."""
    ω, μ = _heads(dimension, score)[0]
    exact = exact_loss(
        _size(dimension), ω, μ, query_token=query_token, nodes=NODES_OF_QUERY
    )
    return abs(float(exact) - _approximate_loss(dimension, ω, μ))


def _slopes(context: RunContext) -> FloatArray:
    """Orders in 1/D of the gap between the two largest sizes, for each size of the scores."""
    slopes = []
    for score in ALL_SCORES:
        gaps = [_gap(D, score) for D in LARGE_DIMENSIONS]
        slopes.append(np.log2(gaps[0] / gaps[1]))
    return np.array(slopes)


def _reaching(context: RunContext, variant: str) -> FloatArray:
    """Which scores reach order 1 at these sizes, as a variant of the statement has it (1 or 0)."""
    scores = np.array(ALL_SCORES)
    limits = {UNMODIFIED: np.inf, UP_TO_ONE: 1.0, NEVER: 0.0}
    return np.where(scores <= limits[variant], 1.0, 0.0)


def _orders_reached(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Exactly the predicted scores have an order of nearly 1."""
    reached = observed >= LEAST_SLOPE
    words = ", ".join(
        f"{slope:.2f} at ω√D = {score:g}"
        for score, slope in zip(ALL_SCORES, observed, strict=True)
    )
    wanted = [
        f"{score:g}"
        for score, is_one in zip(ALL_SCORES, predicted, strict=True)
        if is_one
    ]
    return Evidence(
        agrees=bool(np.array_equal(reached, predicted == 1)),
        observed=f"orders {words}",
        expected=f"{LEAST_SLOPE:g} or more at exactly ω√D = {', '.join(wanted) or 'none'}",
        fit=Fit("ω√D", ALL_SCORES, tuple(observed.tolist()), float(observed[-1]), 1.0),
    )


SIGNS = ("ω > 0 without it", "ω > 0 with it", "ω < 0 with it")


def _remaining_gaps(context: RunContext) -> FloatArray:
    """The gap at the largest size over that at the smallest, for heads without and with the query's token."""
    cases = ((1.0, False), (1.0, True), (-1.0, True))
    return np.array(
        [
            _gap(KEY_DIMENSIONS[-1], *case) / _gap(KEY_DIMENSIONS[0], *case)
            for case in cases
        ]
    )


def _closing(context: RunContext, variant: str) -> FloatArray:
    """Which of the gaps close, as a variant has it (1 or 0)."""
    closing = {
        UNMODIFIED: [1, 1, 1],
        NEGATIVE: [1, 0, 1],
        NO_QUERY: [1, 0, 0],
    }
    return np.array(closing[variant], dtype=float)


def _gaps_close(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Exactly the predicted gaps are at most half of what they were."""
    closes = observed <= FALLING
    words = ", ".join(
        f"{ratio:.2g} for {sign}" for sign, ratio in zip(SIGNS, observed, strict=True)
    )
    wanted = [sign for sign, is_one in zip(SIGNS, predicted, strict=True) if is_one]
    return Evidence(
        agrees=bool(np.array_equal(closes, predicted == 1)),
        observed=f"gaps at D = {KEY_DIMENSIONS[-1]} over those at {KEY_DIMENSIONS[0]}: {words}",
        expected=f"at most {FALLING:g} for exactly {', '.join(wanted)}",
    )


CLAIMS = (
    *(_order_claim(name) for name in SCORES),
    Claim(
        id="softmax.approximate_loss_large_scores",
        title="The error of the approximate loss is of order 1/D up to unit scores, and not yet so for larger ones",
        paper="he2025",
        equation="reduced model",
        origin="refuted here as it stands, for every fixed ω√D at sizes that can be trained",
        statement=r"L - \tilde L = O(1/D) \text{ at every fixed } \omega\sqrt D",
        observable=f"order of the gap between D = {LARGE_DIMENSIONS[0]} and {LARGE_DIMENSIONS[1]} for one head",
        limit="D → ∞ at fixed D/N; the spread of |x_q|² needs (ω√D)⁴ ≪ D, and softmax sums (ω√D)² ≪ log N",
        measure=_slopes,
        predict=_reaching,
        judge=_orders_reached,
        controls=(NEVER,),
        corrected=(UP_TO_ONE,),
        expected_level="refuted",
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.approximate_loss_query_token",
        title="With the query's own token the approximate loss is no limit for ω > 0, and remains one for ω < 0",
        paper="he2025",
        beyond_paper=True,
        equation="reduced model",
        origin="refuted here: the query's token weighs e^(ω|x_q|²), more than all others once ω D > log N",
        statement=r"L_{\text{query token}} - \tilde L \to 0",
        observable="gap of one head at ω√D = ±1, D = 5 and 80, N = 8D",
        limit="D → ∞ at fixed D/N and ω√D",
        measure=_remaining_gaps,
        predict=_closing,
        judge=_gaps_close,
        controls=(NO_QUERY,),
        corrected=(NEGATIVE,),
        expected_level="refuted",
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
)
