"""Online SGD without chains: what it averages over prompts, by sums over all prompts at the nodes of a quadrature.

Gradients and Hessians of one prompt are polynomials in Gaussian numbers, so that these sums are exact.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ....models.attention import Merged
from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Gaussian
from ....theory.linear_transformer import (
    minimum,
    sgd_balance,
    sgd_floor,
    sgd_means,
    sgd_noise,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from .setting import product_rule

LENGTHS = (0, 1, 2)
"""Of contexts, as likely as each other: powers of N count."""
INPUTS, TEACHERS = (1.3, 0.4), (1.0, 0.6)
"""Variances s and ω of the modes."""
TASK = Task(
    list(INPUTS), teachers=Gaussian.shared_basis(list(TEACHERS)), context_length=LENGTHS
)
NOISY = Task(
    list(INPUTS),
    teachers=Gaussian.shared_basis(list(TEACHERS)),
    context_length=1,
    noise_variance=0.3,
    query_noise_variance=0.2,
)
"""In whose short context the second mode is off."""
MODES = len(INPUTS)

MODEL = Merged(heads=1, outputs=MODES, divisor="tokens")
"""It divides by the tokens, the query's own among them."""

P, Q = np.array([0.7, -0.4]), np.array([0.5, 0.9])
"""Of the diagonals of p and q where no gradient is zero."""

STEP, BATCH = 0.05, 64
"""Flow time of a step, and prompts of it, for which the noise of the Hessian makes a third of the floor."""
FLOORS = ((TASK, None), (NOISY, 1.3))
"""Tasks, one at c* and one at another scale."""

BALANCE_STEPS = np.array([0.0, 300.0, 3_000.0, 20_000.0])
START_SCALES = (1.6, 0.6)
"""Above and below c*."""

CLOSURE_STEPS = (0, 1, 4)

BOUND = 1e-10
"""Rounding of sums of 5·10⁴ terms, of which some cancel."""
BALANCE_BOUND = 1e-8
"""Of an integrated equation."""

LONGER = "N + 1 for N"
NO_NOISE = "without the noise of the labels in the context"
NO_QUERY_NOISE = "without the noise of the query's label"
ADDITIVE = "without the noise of the Hessian"
NO_HALF = "without the factor ½"
OTHER_STEP = "h for 2h"
NO_LIMIT = "c* = 1"
ONE_STEP = "h for h²"
WITHOUT_NOISE = "descent without noise"


# Prompts


class _Prompts(NamedTuple):
    """β (P, D, D), the query x (P, D) and its label y (P, D) of one layer, and weights (P,) that add up to 1."""

    β: FloatArray
    x: FloatArray
    y: FloatArray
    weights: FloatArray

    def gradients(self, θ: FloatArray) -> FloatArray:
        """Of ½|y − pβqx|² by p and q (P, 2D²), at θ = (p, q) (2, D, D)."""
        p, q = θ
        v = np.einsum("nab,bc,nc->na", self.β, q, self.x, optimize=True)
        e = self.y - v @ p.T
        back = np.einsum("nab,na->nb", self.β, e @ p)
        by_p = -e[:, :, None] * v[:, None, :]
        by_q = -back[:, :, None] * self.x[:, None, :]
        return np.concatenate([by_p, by_q], axis=1).reshape(len(e), -1)

    def hessians(self, θ: FloatArray) -> FloatArray:
        """Their derivatives (P, 2D², 2D²), by differences: gradients are of degree 2 in every single entry."""
        columns = [
            (self.gradients(θ + unit) - self.gradients(θ - unit)) / 2
            for unit in np.eye(θ.size).reshape(-1, *θ.shape)
        ]
        return np.stack(columns, axis=2)

    def gradient(self, θ: FloatArray) -> FloatArray:
        """The mean gradient (2D²,)."""
        return np.asarray(self.weights @ self.gradients(θ))

    def noise(self, θ: FloatArray) -> FloatArray:
        """E g gᵀ (2D², 2D²)."""
        g = self.gradients(θ)
        return np.asarray((self.weights * g.T) @ g)

    def hessian(self, θ: FloatArray) -> FloatArray:
        """The Hessian (2D², 2D²) of ½L."""
        units = np.eye(θ.size).reshape(-1, *θ.shape)
        columns = [self.gradient(θ + unit) - self.gradient(θ - unit) for unit in units]
        return np.array(columns).T / 2


@cache
def _prompts(task: Task) -> _Prompts:
    """Every prompt of the task at nodes that make moments up to the fourth of β exact."""
    parts = [_of_length(task, N) for N in task.context_lengths]
    shares = task.context_weights
    weights = [share * part.weights for share, part in zip(shares, parts, strict=True)]
    return _Prompts(
        np.concatenate([part.β for part in parts]),
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate(weights),
    )


class _Numbers(NamedTuple):
    """Normal numbers: of teachers (P, D), tokens (P, N, D), query (P, D), and noise of the context and of the query."""

    teacher: FloatArray
    context: FloatArray
    query: FloatArray
    noise: FloatArray
    query_noise: FloatArray
    weights: FloatArray


def _numbers(task: Task, N: int) -> _Numbers:
    """Nodes that are exact for products of two gradients; noise that is not there has the number 0."""
    D = MODES
    noise = N * D if task.noise_variance else 0
    query_noise = D if task.query_noise_variance else 0
    # β has degree 2 in each x, and 1 in teachers and noise; the query is there four times.
    counts = [3] * D + [5] * (N * D) + [3] * (D + noise) + [2] * query_noise
    # Products are even in each of: the teachers, every token, and the query.
    halved = [0, *range(D, D + N * D + 1, D)]
    z, weights = product_rule(counts, halved)
    l, x, x_q, ε, τ = np.split(z, np.cumsum([D, N * D, D, noise]), axis=1)
    return _Numbers(
        l,
        x.reshape(len(z), N, D),
        x_q,
        ε.reshape(len(z), N, D) if noise else np.zeros((len(z), N, D)),
        τ if query_noise else np.zeros((len(z), D)),
        weights,
    )


def _of_length(task: Task, N: int) -> _Prompts:
    """The prompts of one context length."""
    numbers = _numbers(task, N)
    l = np.sqrt(TEACHERS) * numbers.teacher
    x = np.sqrt(INPUTS) * numbers.context
    x_q = np.sqrt(INPUTS) * numbers.query
    y = l[:, None] * x + np.sqrt(task.noise_variance) * numbers.noise
    y_q = l * x_q + np.sqrt(task.query_noise_variance) * numbers.query_noise
    β = np.einsum("nka,nkb->nab", y, x) / (N + 1)
    return _Prompts(β, x_q, y_q, numbers.weights)


# The noise of a gradient


def _summed_noise(context: RunContext) -> list[FloatArray]:
    """E g gᵀ (2D², 2D²) of both tasks at diagonal p and q."""
    θ = np.stack([np.diag(P), np.diag(Q)])
    return [_prompts(task).noise(θ) for task in (TASK, NOISY)]


def _stated_noise(context: RunContext, control: str) -> list[FloatArray]:
    """The same by pairings of Gaussian numbers, or of another task."""
    changes: dict[str, dict[str, Any]] = {
        UNMODIFIED: {},
        LONGER: {"context_length": 2},
        NO_NOISE: {"noise_variance": 0.0},
        NO_QUERY_NOISE: {"query_noise_variance": 0.0},
    }
    noisy = Task.from_dict(NOISY.to_dict() | changes[control])
    return [sgd_noise(task, P, Q, MODEL) for task in (TASK, noisy)]


# The floor


class _Canonical(NamedTuple):
    """Diagonals p and q (D,) of the minimum where (ωs + σ²) p² = s² q²."""

    p: FloatArray
    q: FloatArray

    def at(self, scale: float) -> FloatArray:
        """The weights (2, D, D) of the minimum at another scale."""
        return np.stack([np.diag(scale * self.p), np.diag(self.q / scale)])


def _canonical(task: Task) -> _Canonical:
    a, s = minimum(task, MODEL).coefficients, np.array(INPUTS)
    r = np.sqrt(s * TEACHERS + task.noise_variance)
    return _Canonical(np.sqrt(a * s / r), np.sqrt(a * r / s))


@cache
def _noise_of_blocks() -> tuple[float, float]:
    """C_p = E|g_p|² and C_q = E|g_q|² at the canonical minimum."""
    noise = np.diag(_prompts(TASK).noise(_canonical(TASK).at(1.0)))
    return float(np.sum(noise[: MODES**2])), float(np.sum(noise[MODES**2 :]))


def _stable_scale() -> float:
    """The scale c at which C_p/c² + C_q c² is least."""
    C_p, C_q = _noise_of_blocks()
    return float((C_p / C_q) ** 0.25)


@cache
def _summed_floors() -> list[FloatArray]:
    """At each scale the floor, without the Hessian's noise, to leading order, c; Σ across the scale; curvatures."""
    values = []
    for task, scale in FLOORS:
        prompts, c = _prompts(task), scale or _stable_scale()
        θ = _canonical(task).at(c)
        H, C = prompts.hessian(θ), prompts.noise(θ)
        each = prompts.hessians(θ).reshape(-1, H.size)
        fourth = (prompts.weights * each.T) @ each  # by pairs of entries
        pairs = fourth.reshape(*H.shape, *H.shape)
        along = np.concatenate([θ[0].ravel(), -θ[1].ravel()])
        Σ = _stationary(H, C, pairs, along)
        additive = _stationary(H, C, np.multiply.outer(H, H), along)
        leading = STEP / (2 * BATCH) * np.trace(C)
        floors = [np.sum(H * Σ), np.sum(H * additive), leading, c]
        values += [np.array(floors), Σ, np.linalg.eigvalsh(H)]
    return values


def _stationary(
    H: FloatArray, C: FloatArray, pairs: FloatArray, along: FloatArray
) -> FloatArray:
    """Σ = (1 − hH)Σ(1 − hH) + (h²/B)(C + E[HΣH] − HΣH) across the direction `along`, solved for its entries."""
    n, one = len(H), np.eye(len(H))
    # E[HΣH]_im = Σ E[H_ij H_lm] Σ_jl.
    of_hessian = pairs.transpose(0, 3, 1, 2).reshape(n * n, n * n) - np.kron(H, H)
    stays = np.kron(one - STEP * H, one - STEP * H) + STEP**2 / BATCH * of_hessian
    across = one - np.outer(along, along) / np.sum(along**2)
    # The noise of the Hessian moves weights along the line as well, where nothing is stationary.
    sides = np.kron(across, across)
    moves = sides @ (np.eye(n * n) - stays) @ sides
    Σ = np.linalg.lstsq(moves, STEP**2 / BATCH * C.ravel(), rcond=1e-12)[0]
    return np.asarray(Σ.reshape(n, n))


def _stated_floors(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory, or a wrong floor."""
    values = []
    step = 2 * STEP if control == OTHER_STEP else STEP
    for task, scale in FLOORS:
        stated = 1.0 if control == NO_LIMIT and scale is None else scale
        floor = sgd_floor(task, step / 2, BATCH, MODEL, scale=stated)
        excess = floor.additive if control == ADDITIVE else floor.excess
        factor = 2 if control == NO_HALF else 1
        floors = [factor * excess, floor.additive, floor.leading, floor.scale]
        values += [np.array(floors), floor.covariance, floor.curvatures]
    return values


# The law of balance


@cache
def _integrated_balance() -> tuple[FloatArray, ...]:
    """|p|² − |q|² (T,) by integration of its law from both scales."""
    from scipy.integrate import solve_ivp

    C_p, C_q = _noise_of_blocks()
    canonical = _canonical(TASK)
    P2, Q2 = np.sum(canonical.p**2), np.sum(canonical.q**2)

    def speed(step: float, K: FloatArray) -> FloatArray:
        # K = P c² − Q/c² is solved for c².
        squared = (K + np.sqrt(K**2 + 4 * P2 * Q2)) / (2 * P2)
        return STEP**2 / BATCH * (C_p / squared - C_q * squared)

    courses = []
    for c in START_SCALES:
        start = [P2 * c**2 - Q2 / c**2]
        found = solve_ivp(
            speed,
            (0, BALANCE_STEPS[-1]),
            start,
            method="LSODA",
            t_eval=BALANCE_STEPS,
            rtol=1e-11,
            atol=1e-12,
        )
        courses.append(found.y[0])
    return tuple(courses)


def _measured_balance(context: RunContext) -> list[FloatArray]:
    """Courses from both scales, and the limit."""
    canonical, c = _canonical(TASK), _stable_scale()
    limit = np.sum(canonical.p**2) * c**2 - np.sum(canonical.q**2) / c**2
    return [*_integrated_balance(), np.array([limit, *_noise_of_blocks()])]


def _stated_balance(context: RunContext, control: str) -> list[FloatArray]:
    """The same in closed form, or of another law."""
    steps = BALANCE_STEPS
    if control == ONE_STEP:
        steps = BALANCE_STEPS / STEP
    courses = [
        sgd_balance(TASK, STEP / 2, BATCH, steps, MODEL, scale=c) for c in START_SCALES
    ]
    first = courses[0]
    limit = first.limit
    if control == NO_LIMIT:
        canonical = _canonical(TASK)
        limit = float(np.sum(canonical.p**2) - np.sum(canonical.q**2))
    summary = np.array([limit, first.noise_p, first.noise_q])
    return [*(course.difference for course in courses), summary]


# Moments


class _State(NamedTuple):
    """The mean (2, D, D) and the covariance (2D², 2D²)."""

    m: FloatArray
    Σ: FloatArray

    def later(self) -> "_State":
        """One step later."""
        prompts, n = _prompts(TASK), len(self.Σ)
        drift = prompts.gradient(self.m)
        keeps = np.eye(n) - STEP * prompts.hessian(self.m)
        noise = prompts.noise(self.m) - np.outer(drift, drift)
        m = self.m - STEP * self._mean_gradient().reshape(self.m.shape)
        return _State(m, keeps @ self.Σ @ keeps + STEP**2 / BATCH * noise)

    def _mean_gradient(self) -> FloatArray:
        """E ∇½L of Gaussian weights, at points that make it exact for a cubic: ± √n times the columns of a root."""
        n = len(self.Σ)
        variances, vectors = np.linalg.eigh(self.Σ)
        roots = vectors * np.sqrt(n * np.maximum(variances, 0))
        shifts = np.concatenate([roots.T, -roots.T]).reshape(-1, *self.m.shape)
        gradients = [_prompts(TASK).gradient(self.m + shift) for shift in shifts]
        return np.asarray(np.mean(gradients, axis=0))

    def means(self) -> FloatArray:
        """a = E pq (D,) of the modes, and E L to second order."""
        prompts, D = _prompts(TASK), MODES
        p, q = self.m
        diagonal = np.arange(D) * (D + 1)
        a = np.diag(p) * np.diag(q) + self.Σ[diagonal, D**2 + diagonal]
        v = np.einsum("nab,bc,nc->na", prompts.β, q, prompts.x, optimize=True)
        loss = prompts.weights @ np.sum((prompts.y - v @ p.T) ** 2, axis=1)
        spread = np.sum(prompts.hessian(self.m) * self.Σ)
        return np.append(a, loss + spread)


@cache
def _summed_moments() -> list[FloatArray]:
    """a and L (D + 1,), p and q (2, D) and the covariance after some steps."""
    state = _State(np.stack([np.diag(P), np.diag(Q)]), np.zeros((2 * MODES**2,) * 2))
    values = []
    for step in range(CLOSURE_STEPS[-1] + 1):
        if step in CLOSURE_STEPS:
            diagonals = np.array([np.diag(block) for block in state.m])
            values += [state.means(), diagonals, state.Σ]
        state = state.later()
    # The covariance at the start is 0.
    del values[2]
    return values


def _stated_moments(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory, or wrong ones."""
    rate = STEP if control == OTHER_STEP else STEP / 2
    batch = 10**9 if control == WITHOUT_NOISE else BATCH
    moments = sgd_means(
        TASK, P, Q, CLOSURE_STEPS, MODEL, learning_rate=rate, batch=batch
    )
    values = []
    for place in range(len(CLOSURE_STEPS)):
        means = np.append(moments.coefficients[place], moments.loss[place])
        diagonals = np.array([moments.p[place], moments.q[place]])
        values += [means, diagonals, moments.covariance[place]]
    del values[2]
    return values


def _claim(**fields: Any) -> Claim:
    """A fast claim on what SGD averages over prompts, derived here; `fields` are further ones or replace these."""
    common: dict[str, Any] = {
        "paper": "mainali2025",
        "equation": "online SGD",
        "beyond_paper": True,
        "limit": "none",
        "hypotheses": ("shared basis", "x, teachers and noise Gaussian"),
        "judge": equal_within(BOUND),
        "tier": "fast",
    }
    return Claim(**common | fields)


CLAIMS = (
    _claim(
        id="sgd.noise",
        title="The second moments of one prompt's gradient are sums over pairings of Gaussian numbers",
        statement=r"E[g g^\top],\quad g = \nabla \tfrac12 |y_q - p \beta q x_q|^2",
        observable="sums over prompts at the nodes of Gauss–Hermite rules, exact for these polynomials",
        measure=_summed_noise,
        predict=_stated_noise,
        controls=(LONGER, NO_NOISE, NO_QUERY_NOISE),
    ),
    _claim(
        id="sgd.covariance",
        title="The floor of online SGD solves the equation of its covariance, noise of the Hessian included",
        statement=r"\Sigma = (1 - hH)\Sigma(1 - hH) + \tfrac{h^2}{B}(C + E[\Delta H \Sigma \Delta H]),\quad "
        r"L - L_{\min} = \operatorname{tr} H\Sigma",
        observable="the equation with sums over prompts for H, C and E[HΣH], solved across the line of scales",
        measure=lambda context: _summed_floors(),
        predict=_stated_floors,
        controls=(ADDITIVE, NO_HALF, OTHER_STEP, NO_LIMIT),
    ),
    _claim(
        id="sgd.balance_law",
        title="The time at which online SGD passes each scale has a closed form",
        statement=r"\frac{d(|p|^2 - |q|^2)}{dn} = \frac{h^2}{B}\left(\frac{C_p}{c^2} - C_q c^2\right)",
        observable="the law integrated from above and below c*, with sums over prompts for C_p and C_q",
        measure=_measured_balance,
        predict=_stated_balance,
        judge=equal_within(BALANCE_BOUND),
        controls=(NO_LIMIT, ONE_STEP),
    ),
    _claim(
        id="sgd.moments",
        title="Mean and covariance of online SGD follow from step to step as sums over prompts move them",
        statement=r"m \to m - h[\nabla + \tfrac12 \nabla^3 : \Sigma],\quad "
        r"\Sigma \to (1-hH)\Sigma(1-hH) + \tfrac{h^2}{B}(C(m) - \nabla\nabla^\top)",
        observable="a, L, p, q and the covariance after up to four steps, with sums over prompts for ∇, H and C",
        measure=lambda context: _summed_moments(),
        predict=_stated_moments,
        controls=(WITHOUT_NOISE, OTHER_STEP),
    ),
)
