"""Gradient descent on modes step by step, its modified flow within one step, and the curvature that bounds a step."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ....models.attention import Merged
from ....runtime.arrays import FloatArray
from ....simulate import objective, train
from ....theory.linear_transformer import (
    largest_step,
    minimum,
    mode_descent,
    mode_flow,
    modified_flow,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from ...exact_statistics import population_statistics
from .setting import LOSS, head_weights, mode_task

INPUTS, TEACHERS, LENGTH, NOISE = (0.3, 0.8, 1.3), (4.0, 1.0, 0.5), 6, 0.2
"""Modes that are named in the order of their thresholds."""
TASK = mode_task(INPUTS, LENGTH, TEACHERS, NOISE)
MODEL = Merged(heads=1, outputs=len(INPUTS), divisor="tokens")
"""It divides by the tokens, the query's own among them."""

P, Q = np.array([0.3, -0.2, 0.5]), np.array([0.4, 0.6, -0.1])
"""A start of both signs."""
STEPS = (0, 1, 2, 40)
STEP = 0.1
"""Flow time of a step."""
BOUND = 1e-11
"""Rounding along 40 steps."""

RATES = (0.1, 0.05, 0.025)
"""Flow times of the one step that the modified flow is compared with."""

STEEP_TEACHERS = (40.0, 1.0, 0.5)
STEEP = mode_task(INPUTS, LENGTH, STEEP_TEACHERS, NOISE)
"""One mode has strong teachers, and another the largest inputs."""
ONE_INPUT = (0.3,)
ONE = mode_task(ONE_INPUT, LENGTH)
"""A mode that nothing is off."""
SCALES = (0.5, 1.0, 4.0)
"""Of the minimum: at the first p is steepest, at the last an entry of q off the modes."""
DIFFERENCE = 1e-4
"""Of weights, for second derivatives of a polynomial of degree 4, whose error is then 1e-8."""
EDGE_BOUND = 1e-7

FLOW = "the flow itself"
TWICE = "2h for h"
OTHER_LAW = "the other law"
OTHER_SCALE = "p² + q² of the point at |p| = |q|"


class _Pair(NamedTuple):
    """α and κ (D,) of ṗ = q (α − κpq), q̇ = p (α − κpq): each mode alone, with s∞ = ((N+1)s + Σ(ωs+σ²)/ω)/N."""

    α: FloatArray
    κ: FloatArray

    def after(self, p: FloatArray, q: FloatArray, h: float) -> list[FloatArray]:
        """p² − q² → (p² − q²)(1 − f²) and pq → pq(1 + f²) + f(p² + q²) with f = h(α − κpq)."""
        f = h * (self.α - self.κ * p * q)
        difference = (p**2 - q**2) * (1 - f**2)
        return [difference, p * q * (1 + f**2) + f * (p**2 + q**2)]


def _pair(teachers: Sequence[float] = TEACHERS) -> _Pair:
    s, ω, N = np.array(INPUTS), np.array(teachers), LENGTH
    share = N / (N + 1)  # of the divisor
    s_inf = ((N + 1) * s + np.sum(ω * s + NOISE) / ω) / N
    return _Pair(share * ω * s**2, share**2 * ω * s**2 * s_inf)


def _run(steps: int, h: float) -> list[FloatArray]:
    """p and q (steps + 1, D) and losses of descent on the exact moments."""
    moments = population_statistics(TASK, MODEL)
    start = head_weights(TASK, P, Q)
    run = train(MODEL, moments, start, learning_rate=h / 2, steps=steps + 1, record=1)
    D = len(INPUTS)
    p = np.einsum("tii->ti", run.weights["value"][:, 0, :, D:])
    q = np.einsum("tii->ti", run.weights["key_query"][:, 0, :D, :D])
    return [p[: steps + 1], q[: steps + 1], run.loss[: steps + 1]]


# Descent


def _descended(context: RunContext) -> list[FloatArray]:
    """p, q and losses of descent, and p² − q² and pq of descent with each mode alone."""
    exact = [values[list(STEPS)] for values in _run(STEPS[-1], STEP)]
    times = STEP * np.array(STEPS)
    p, q = P, Q
    alone = []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            alone.append([p**2 - q**2, p * q])
        p, q = _stepped(p, q)
    return [*exact, np.array(alone), times]


def _stepped(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """p and q after one step with each mode alone, from p² − q² and pq, at the signs of the first order."""
    difference, product = _pair().after(p, q, STEP)
    # p and q are the legs of which these are known: p² + q² follows, and then p + q and p − q.
    total = np.sqrt(difference**2 + 4 * product**2)
    plus = np.sqrt(total + 2 * product) * np.sign(p + q)
    minus = np.sqrt(total - 2 * product) * np.sign(p - q)
    return (plus + minus) / 2, (plus - minus) / 2


def _stated_descent(context: RunContext, control: str) -> list[FloatArray]:
    """The same by `mode_descent` under both laws, or by something else."""
    rate = STEP if control == TWICE else STEP / 2
    laws = ("decoupled", "exact") if control == OTHER_LAW else ("exact", "decoupled")
    if control == FLOW:
        times = STEP * np.array(STEPS)
        exact, alone = (mode_flow(TASK, P, Q, times, MODEL, law=law) for law in laws)
    else:
        exact, alone = (
            mode_descent(TASK, P, Q, STEPS, learning_rate=rate, model=MODEL, law=law)
            for law in laws
        )
    differences = alone.p**2 - alone.q**2
    pairs = np.stack([differences, alone.coefficients], axis=1)
    return [exact.p, exact.q, exact.loss, pairs, exact.flow_time]


# Its modified flow


def _one_step(context: RunContext) -> list[FloatArray]:
    """p and q after one step, and p² − q² and pq with each mode alone, for each step (4, D)."""
    steps = []
    for h in RATES:
        p, q, _ = _run(1, h)
        steps.append(np.array([p[1], q[1], *_pair().after(P, Q, h)]))
    return steps


def _stated_step(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the modified flow for the time of one step, or by another flow."""
    return [_modified(h, control) for h in RATES]


def _modified(h: float, control: str) -> FloatArray:
    factor = {TWICE: 2.0, FLOW: 1e-9}.get(control, 1.0)
    exact, alone = (
        modified_flow(
            TASK, P, Q, [h], learning_rate=factor * h / 2, model=MODEL, law=law
        )
        for law in ("exact", "decoupled")
    )
    p, q = alone.p[0], alone.q[0]
    return np.array([exact.p[0], exact.q[0], p**2 - q**2, p * q])


# The curvature at the minimum


def _curvatures(context: RunContext) -> list[FloatArray]:
    """2/λ_max at each scale and where |p| = |q|, by differences of the gradient; and of each mode alone."""
    α, κ = _pair(STEEP_TEACHERS)
    a, alone = minimum(STEEP, MODEL).coefficients, α / κ
    p, q = _canonical(a)
    balance = np.sqrt(np.linalg.norm(q) / np.linalg.norm(p))
    exact = [_edge(c * p, q / c) for c in (*SCALES, balance)]
    p, q = _canonical(alone)
    pairs = [_edge_of_pairs(c * p, q / c, α, κ) for c in SCALES]
    pairs.append(_edge_of_pairs(np.sqrt(alone), np.sqrt(alone), α, κ))
    # One mode is a pair alone.
    s = np.array(ONE_INPUT)
    α, κ = s**2, s**2 * ((LENGTH + 1) * s + s) / LENGTH
    one = _edge_of_pairs(np.sqrt(α / κ), np.sqrt(α / κ), α, κ)
    return [np.array(exact), np.array(pairs), np.array([one])]


def _canonical(a: FloatArray) -> tuple[FloatArray, FloatArray]:
    """p and q (D,) with products a where (ωs + σ²) p² = s² q²."""
    s, r = np.array(INPUTS), np.sqrt(np.multiply(INPUTS, STEEP_TEACHERS) + NOISE)
    return np.sqrt(a * s / r), np.sqrt(a * r / s)


def _edge(p: FloatArray, q: FloatArray) -> float:
    """2 over the largest eigenvalue of the Hessian of ½L over all entries of p and q."""
    evaluate = objective(MODEL, population_statistics(STEEP, MODEL))
    D = len(p)
    point = np.stack([np.diag(p), np.diag(q)])

    def gradient(blocks: FloatArray) -> FloatArray:
        _, slopes = evaluate(head_weights(STEEP, *blocks))
        by_p, by_q = slopes["value"][0, :, D:], slopes["key_query"][0, :D, :D]
        return np.concatenate([by_p.ravel(), by_q.ravel()]) / 2

    moves = DIFFERENCE * np.eye(point.size).reshape(-1, *point.shape)
    differences = [gradient(point + move) - gradient(point - move) for move in moves]
    hessian = np.array(differences) / (2 * DIFFERENCE)
    return float(2 / np.linalg.eigvalsh(hessian)[-1])


def _edge_of_pairs(p: FloatArray, q: FloatArray, α: FloatArray, κ: FloatArray) -> float:
    """2 over the largest curvature of ½ Σ (κ p²q²/2 − α pq) over the pairs, by differences of its slopes."""
    largest = 0.0
    for each in zip(p, q, α, κ, strict=True):
        x, (growth, curvature) = np.array(each[:2]), each[2:]

        def slope(x: FloatArray, α: float = growth, κ: float = curvature) -> FloatArray:
            return np.asarray(-(α - κ * x[0] * x[1]) * x[::-1])

        moves = DIFFERENCE * np.eye(2)
        hessian = [(slope(x + m) - slope(x - m)) / (2 * DIFFERENCE) for m in moves]
        largest = max(largest, float(np.linalg.eigvalsh(np.array(hessian))[-1]))
    return 2 / largest


def _stated_edges(context: RunContext, control: str) -> list[FloatArray]:
    """The largest steps at each scale and the balanced one under both laws, or wrong ones."""
    laws = ("decoupled", "exact") if control == OTHER_LAW else ("exact", "decoupled")
    edges = []
    for law in laws:
        at_scales = largest_step(STEEP, SCALES, MODEL, law=law)
        balanced = largest_step(STEEP, "balanced", MODEL, law=law)
        if control == OTHER_SCALE:
            at_scales = np.full(len(SCALES), balanced)
        edges.append(np.append(at_scales, balanced))
    return [*edges, np.atleast_1d(largest_step(ONE, "balanced"))]


def _claim(**fields: Any) -> Claim:
    """A fast claim on discrete steps, derived here; `fields` are further ones or replace these."""
    common: dict[str, Any] = {
        "paper": "mainali2025",
        "beyond_paper": True,
        "equation": "discrete steps",
        "origin": "derived here",
        "hypotheses": ("shared basis", "null blocks 0"),
        "limit": "none",
        "assumes": LOSS,
        "tier": "fast",
    }
    return Claim(**common | fields)


CLAIMS = (
    _claim(
        id="modes.descent",
        title="Descent on modes, and on each mode alone, where p² − q² shrinks by 1 − f² in a step",
        statement=r"\theta \to \theta - \tfrac h2 \nabla L;\quad p^2 - q^2 \to (p^2 - q^2)(1 - f^2),\quad "
        r"pq \to pq\,(1 + f^2) + f (p^2 + q^2),\quad f = h(\alpha - \kappa pq)",
        observable="p, q and loss of descent on the exact moments, and the two products of each mode by their own map",
        measure=_descended,
        predict=_stated_descent,
        judge=equal_within(BOUND),
        controls=(FLOW, TWICE, OTHER_LAW),
    ),
    _claim(
        id="modes.modified_step",
        title="One step of descent on modes is the modified flow for the time of a step, up to its cube",
        statement=r"\dot\theta = -\tfrac12\nabla L - \tfrac h2 H \tfrac12\nabla L,\quad \theta(h) = \theta_1 + O(h^3)",
        observable="p and q after one step on the exact moments, and p² − q² and pq of each mode alone",
        limit="h → 0, error O(h³)",
        order=3,
        measure=_one_step,
        predict=_stated_step,
        judge=converges_at_order(RATES, 3),
        controls=(FLOW, TWICE),
    ),
    _claim(
        id="modes.edge_curvature",
        title="The largest step is 2 over the largest curvature over all entries of p and q, on the modes or off them",
        statement=r"2/\lambda_{\max}(H),\quad H = \tfrac12 \nabla^2 L;\quad 2/\max \kappa (p^2 + q^2) \text{ of each "
        r"mode alone}",
        observable="largest eigenvalue of differences of the gradient at three scales and where |p| = |q|",
        measure=_curvatures,
        predict=_stated_edges,
        judge=equal_within(EDGE_BOUND),
        controls=(OTHER_LAW, OTHER_SCALE),
    ),
)
