"""The exact loss of softmax heads by quadrature: against tokens, a closed integral and an identity of its parts."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import approximate_loss, exact_loss
from ....theory.softmax_attention.softmax_moments import (
    score_moments,
    score_moments_and_derivatives,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from ...evidence.seed_judges import within_standard_errors
from .setting import sampled_losses, white_task

ComplexArray = NDArray[np.complex128]
Heads = tuple[FloatArray, FloatArray]
Transform = Callable[[FloatArray], FloatArray]

CASES: tuple[tuple[Task, Heads], ...] = (
    (white_task(1, 4), (np.array([0.6]), np.array([1.0]))),
    (white_task(2, 5), (np.array([0.5, -0.3]), np.array([0.8, -0.7]))),
    (white_task(3, 4), (np.array([0.4, 0.1, -0.3]), np.array([0.5, 0.4, -0.4]))),
)
"""Tasks and heads (ω, μ): short contexts and few dimensions, where wrong formulas are furthest from the right one."""

SAMPLES, PROMPTS = 40, 4_000
"""Sampled data sets of a case, and the prompts in each."""

NODES_OF_QUERY = 16
"""Nodes of the quadrature over the query: off by 1e-5 here, far less than the standard errors."""

ISOTROPIC = "every direction across the query counted, D for D − 1"
FIXED_LENGTH = "|x_q|² replaced by its mean D"
APPROXIMATE = "approximate loss"
OTHER_CONVENTION = "the other convention of the query's token"
ONE_MORE_KEY = "one more token of context in place of the query's"
CLEAN_LABEL = "no noise in the label of the query"
NO_SIGN = "the gradient in ω with the other sign"

NODES = np.array([0.1, 0.35, 0.8, 1.4, -3.0, 6.0])
"""Standard deviations of the scores at which the identity is checked, one head each."""
LENGTHS = (1, 2, 7, 40, 1_000)
WITHOUT_OVERLAP, TOO_FEW = "1 − |s|² replaced by 1", "1 − |s|² replaced by 1 − 1/N"

TWO_HEADS: Heads = (np.array([0.4, -0.25]), np.array([0.9, -0.7]))
LINEAR = "tanh replaced by its argument"
TWO = tuple(white_task(D, 2) for D in (2, 5))


class Groups(NamedTuple):
    """Two groups of directions: how many, and of each group the variance of x, that of w and the entry of A."""

    counts: tuple[int, int]
    inputs: tuple[float, float]
    teachers: tuple[float, float]
    matrix: tuple[float, float]

    def repeated(self, values: tuple[float, float]) -> FloatArray:
        """A value for each direction (D,)."""
        return np.repeat(values, self.counts)


GROUPS = (
    Groups((1, 1), (2.0, 0.5), (0.3, 0.8), (0.6, 1.5)),
    Groups((40, 80), (1.5, 0.5), (0.01, 0.015), (0.4, -0.6)),
    Groups((1, 2), (0.8, 0.8), (0.3, 0.8), (1.0, 1.0)),
    Groups((2, 1), (0.8, 0.5), (0.3, 0.8), (1.0, 1.0)),
)
"""Few directions and many, which the theory averages over in two ways; white inputs of variance 0.8; and A = 1."""
GROUP_NOISE, GROUP_QUERY_NOISE = 0.3, 0.2
NODES_OF_GROUPS = 12
GROUPS_WITH_QUERY = (
    Groups((1, 2), (2.0, 0.5), (0.3, 0.8), (0.5, 2.0)),
    Groups((3, 1), (0.8, 1.7), (0.4, 0.9), (-1.25, 0.0)),
)
"""Matrices with which the query's own token can be among the keys: the inverse of the covariance, and the negative one
on a subspace, across which tokens have no part in the scores."""
OUTER = np.array([[1.0, -0.4, 0.3], [0.2, 0.9, -0.5]])
"""a and b of a matrix A = a bᵀ that is not symmetric."""
OUTER_INPUTS = np.array([[1.5, 0.4, 0.0], [0.4, 0.8, 0.2], [0.0, 0.2, 1.1]])
OUTER_TEACHERS = np.array([[0.5, 0.1, -0.1], [0.1, 0.3, 0.05], [-0.1, 0.05, 0.4]])
"""Λ and Ω, which do not commute."""
OUTER_LENGTHS = {1: 0.25, 2: 0.75}
"""Context lengths and their weights."""
ALIKE_TEACHERS = "every direction of the same variance of w"
TRANSPOSED = "the matrix transposed"
NO_OWN_TOKEN = "the query's own token not among the keys"

FOUR_DEVIATIONS, FOUR_QUERY_SCORES = np.array([0.4, -0.25]), np.array([0.6, -0.3])
"""Standard deviations of the scores of two heads on four tokens, and the scores of the query's own token."""
FOUR_NODES = 18
"""Of Gauss and Hermite for each token: weights are analytic up to differences of scores of iπ, and 16 reach 1e-13."""
COMPLEX_STEP = 1e-20
UNITS = (1.3, 0.7)
"""Derivatives of b and of q by ω."""
NO_PAIRS = "products of one token with itself alone"


def _sampled(query_token: bool, context: RunContext) -> list[FloatArray]:
    """Loss and gradient (samples, 1+2H) of every case on tokens."""
    seeds = context.seeds(SAMPLES)
    return [
        sampled_losses(task, heads, PROMPTS, seeds, query_token)
        for task, heads in CASES
    ]


def _exact(query_token: bool, context: RunContext, control: str) -> list[FloatArray]:
    """Loss and gradient (1+2H,) of every case by quadrature, or with a wrong loss."""
    return [_numbers(task, heads, query_token, control) for task, heads in CASES]


def _loss(task: Task, heads: Heads, query_token: bool = False) -> float:
    """The exact loss."""
    loss = exact_loss(task, *heads, query_token=query_token, nodes=NODES_OF_QUERY)
    return float(loss)


def _numbers(task: Task, heads: Heads, query_token: bool, control: str) -> FloatArray:
    """Loss, ∂L/∂ω and ∂L/∂μ (1+2H,) of one case."""
    result = exact_loss(
        task, *heads, query_token=query_token, nodes=NODES_OF_QUERY, gradient=True
    )
    assert result.gradient is not None
    loss = float(result)
    by_ω, by_μ = result.gradient
    if control == NO_SIGN:
        return np.concatenate([[loss], -by_ω, by_μ])
    if control != UNMODIFIED:
        loss = _wrong_loss(task, heads, query_token, control)
    return np.concatenate([[loss], by_ω, by_μ])


def _wrong_loss(task: Task, heads: Heads, query_token: bool, control: str) -> float:
    """The loss of a wrong formula."""
    D, N = task.dimension, max(task.context_lengths)
    σ2 = task.noise_variance
    if control == ISOTROPIC:
        return _loss(task, heads, query_token) + _overlap(task, heads, query_token) / D
    if control == FIXED_LENGTH:
        return _loss_at_mean_length(task, heads)
    if control == APPROXIMATE:
        return float(approximate_loss(task, *heads))
    if control == ONE_MORE_KEY:
        return _loss(white_task(D, N + 1, σ2), heads)
    if control == OTHER_CONVENTION:
        return _loss(task, heads, not query_token)
    return _loss(task, heads, query_token) - σ2


def _overlap(task: Task, heads: Heads, query_token: bool) -> float:
    """μᵀC μ: the loss is linear in σ² with the slope 1 + μᵀC μ."""
    D, N = task.dimension, max(task.context_lengths)
    noisy = _loss(white_task(D, N, 1.0), heads, query_token)
    noiseless = _loss(white_task(D, N, 0.0), heads, query_token)
    return noisy - noiseless - 1


def _loss_at_mean_length(task: Task, heads: Heads) -> float:
    """The loss with |x_q|² = D, without the query's token."""
    (ω, μ), D, σ2 = heads, task.dimension, task.noise_variance
    moments = score_moments(ω * np.sqrt(D), max(task.context_lengths))
    signal = moments.first / np.sqrt(D)
    products = (1 - 1 / D + σ2) * moments.overlap + moments.second / D
    return float(1 + σ2 - 2 * μ @ signal + μ @ products @ μ)


def _first_moments(context: RunContext) -> list[FloatArray]:
    """E[s·u] (heads,) for each context length, s the softmax of b u."""
    return [score_moments(NODES, N).first + 1 for N in LENGTHS]


def _first_moments_by_parts(context: RunContext, control: str) -> list[FloatArray]:
    """b E[1 − |s|²] (heads,): E[u_n s_n] = E[∂s_n/∂u_n] for Gaussian u."""
    values = []
    for N in LENGTHS:
        lost = {
            UNMODIFIED: 1 - np.diag(score_moments(NODES, N).overlap),
            WITHOUT_OVERLAP: np.ones(len(NODES)),
            TOO_FEW: np.full(len(NODES), 1 - 1 / N),
        }
        # One more, so that a context of one token has a relative gap.
        values.append(NODES * lost[control] + 1)
    return values


def _two_token_losses(context: RunContext) -> list[FloatArray]:
    """The losses on contexts of two tokens by Gauss' rules, in place of the quadrature of softmax sums."""
    losses = [_two_token_loss(task, TWO_HEADS, np.tanh) for task in TWO]
    return [np.array(losses)]


def _two_token_loss(task: Task, heads: Heads, half_difference: Transform) -> float:
    """L with the weights ½(1 ± tanh(b v/2)) of two tokens, v = u₁ − u₂ ~ N(0, 2), and |x_q|² = r ~ χ²_D."""
    (ω, μ), D, σ2 = heads, task.dimension, task.noise_variance
    r, by_r = _squared_lengths(D)
    v, by_v = _differences()
    deviations = np.sqrt(r)[:, None] * ω  # (r, H)
    t = half_difference(0.5 * deviations[..., None] * v)  # (r, H, v)

    # s·u = ū + ½ v t and s·s' = ½ (1 + t t'), where ū has the variance ½.
    signal = np.einsum("r,rhv,v->h", by_r * np.sqrt(r), t, by_v * v) / (2 * D)
    overlap = 0.5 + 0.5 * np.einsum("r,rhv,rkv,v->hk", by_r, t, t, by_v)
    second = 0.5 + 0.25 * np.einsum("r,rhv,rkv,v->hk", by_r, t, t, by_v * v**2)
    products = (1 - 1 / D + σ2) * overlap + second / D
    return float(1 + σ2 - 2 * μ @ signal + μ @ products @ μ)


def _group_losses(context: RunContext) -> list[FloatArray]:
    """Losses (1,) of two heads with a common matrix, averaged over |z|² in both groups of directions.

    On two tokens, and on one and the query's own; at last with a matrix a bᵀ, on one or two tokens.
    """
    on_two = [_group_loss(groups, _gain_of_two_tokens) for groups in GROUPS]
    on_query = [_group_loss(groups, _gain_with_query) for groups in GROUPS_WITH_QUERY]
    return [np.array([loss]) for loss in (*on_two, *on_query, _outer_loss())]


class _QueryForms(NamedTuple):
    """At nodes of x_q: τ and x_qᵀAx_q, and ατ, ρ and tr ΩΛ + σ² − ρ times the weight of the node, each (R,)."""

    deviation: FloatArray
    own_score: FloatArray
    signal: FloatArray
    along: FloatArray
    across: FloatArray


def _group_loss(groups: Groups, gain: Callable[[_QueryForms], float]) -> float:
    """L(0) − 2μᵀE[αg] + μᵀE[ρS + (tr ΩΛ + σ² − ρ)C]μ with scores of deviation ωτ, r_i = |z|² of a group.

    τ² = Σ λ²a²r, ατ = Σ Ωλ²a r and ρτ² = Σ Ωλ³a²r are forms in x_q = Λ^½z, as is x_qᵀAx_q = Σ λa r.
    """
    λ, Ω, a = map(np.array, (groups.inputs, groups.teachers, groups.matrix))
    rules = [_squared_lengths(count) for count in groups.counts]
    r = np.stack(np.meshgrid(rules[0][0], rules[1][0], indexing="ij"), axis=-1)
    by_r = np.multiply.outer(rules[0][1], rules[1][1]).ravel()
    r = r.reshape(-1, 2)
    τ2 = r @ (λ * a) ** 2
    labels = float(Ω * λ @ np.array(groups.counts))
    along = by_r * (r @ (Ω * λ**3 * a**2)) / τ2
    forms = _QueryForms(
        deviation=np.sqrt(τ2),
        own_score=r @ (λ * a),
        signal=by_r * (r @ (Ω * λ**2 * a)),
        along=along,
        across=by_r * (labels + GROUP_NOISE) - along,
    )
    return labels + GROUP_QUERY_NOISE - gain(forms)


def _outer_loss() -> float:
    """The same with A = a bᵀ, where scores are ω aᵀx bᵀx_q and r = (bᵀx_q)²/bᵀΛb ~ χ²_1.

    τ² = aᵀΛa bᵀΛb r, E[ατ|r] = bᵀΛΩΛa r and ρ = aᵀΛΩΛa/aᵀΛa.
    """
    (a, b), Λ, Ω = OUTER, OUTER_INPUTS, OUTER_TEACHERS
    r, by_r = _squared_lengths(1)
    labels = float(np.sum(Ω * Λ))
    along = by_r * (a @ Λ @ Ω @ Λ @ a) / (a @ Λ @ a)
    forms = _QueryForms(
        deviation=np.sqrt(a @ Λ @ a * (b @ Λ @ b) * r),
        own_score=a @ Λ @ b * r,
        signal=by_r * r * (b @ Λ @ Ω @ Λ @ a),
        along=along,
        across=by_r * (labels + GROUP_NOISE) - along,
    )
    # One token has the weight 1, whatever its score is: ŷ = Σμ y.
    of_one = -(np.sum(TWO_HEADS[1]) ** 2) * (labels + GROUP_NOISE)
    gain = OUTER_LENGTHS[1] * of_one + OUTER_LENGTHS[2] * _gain_of_two_tokens(forms)
    return float(labels + GROUP_QUERY_NOISE - gain)


def _gain_of_two_tokens(forms: _QueryForms) -> float:
    """2μᵀE[αg] − μᵀE[ρS + …C]μ on two tokens."""
    ω, μ = TWO_HEADS
    v, by_v = _differences()
    t = np.tanh(0.5 * forms.deviation[:, None, None] * ω[:, None] * v)  # (R, H, v)
    signal = np.einsum("r,rhv,v->h", forms.signal / forms.deviation, t, by_v * v / 2)
    products = 0.5 * np.sum(forms.along + forms.across) * np.ones((2, 2))
    for weight, by_pair in ((forms.along, by_v * v**2 / 4), (forms.across, by_v / 2)):
        weighted = weight[:, None, None] * t * by_pair
        products += np.tensordot(weighted, t, axes=([0, 2], [0, 2]))
    return float(2 * μ @ signal - μ @ products @ μ)


def _gain_with_query(forms: _QueryForms) -> float:
    """The same on one token of score ωτu and the query's own of score ω x_qᵀAx_q, which has no label."""
    ω, μ = TWO_HEADS
    v, by_u = _differences()
    u = v / np.sqrt(2)
    difference = np.subtract.outer(forms.own_score, np.zeros_like(u))  # (R, u)
    difference -= np.multiply.outer(forms.deviation, u)
    s = 1 / (1 + np.exp(ω[:, None] * difference[:, None]))  # (R, H, u)
    signal = np.einsum("r,rhu,u->h", forms.signal / forms.deviation, s, by_u * u)
    products = np.zeros((2, 2))
    for weight, by_pair in ((forms.along, by_u * u**2), (forms.across, by_u)):
        weighted = weight[:, None, None] * s * by_pair
        products += np.tensordot(weighted, s, axes=([0, 2], [0, 2]))
    return float(2 * μ @ signal - μ @ products @ μ)


def _stated_group_losses(context: RunContext, control: str) -> list[FloatArray]:
    """The same by `exact_loss`, for these teachers or others, with the query's own token or without."""
    losses = [_stated_group_loss(groups, False, control) for groups in GROUPS]
    losses += [
        _stated_group_loss(groups, True, control) for groups in GROUPS_WITH_QUERY
    ]
    losses.append(_stated_outer_loss(control))
    return [np.array([loss]) for loss in losses]


def _stated_outer_loss(control: str) -> float:
    """`exact_loss` with the matrix a bᵀ, or its transpose."""
    task = Task(
        covariance=OUTER_INPUTS,
        teacher_covariance=OUTER_TEACHERS,
        noise_variance=GROUP_NOISE,
        query_noise_variance=GROUP_QUERY_NOISE,
        context_length=OUTER_LENGTHS,
    )
    a, b = OUTER[::-1] if control == TRANSPOSED else OUTER
    return float(
        exact_loss(task, *TWO_HEADS, matrix=np.outer(a, b), nodes=NODES_OF_GROUPS)
    )


def _stated_group_loss(groups: Groups, query_token: bool, control: str) -> float:
    """`exact_loss` on two tokens, or on one and the query's own."""
    teachers = (0.1, 0.1) if control == ALIKE_TEACHERS else groups.teachers
    task = Task(
        covariance=np.diag(groups.repeated(groups.inputs)),
        teacher_covariance=np.diag(groups.repeated(teachers)),
        noise_variance=GROUP_NOISE,
        query_noise_variance=GROUP_QUERY_NOISE,
        context_length=1 if query_token else 2,
    )
    A = np.diag(groups.repeated(groups.matrix))
    is_one = groups.matrix == (1.0, 1.0)
    loss = exact_loss(
        task,
        *TWO_HEADS,
        matrix=None if is_one else A,
        query_token=query_token and control != NO_OWN_TOKEN,
        nodes=NODES_OF_GROUPS,
    )
    return float(loss)


def _squared_lengths(dimension: int) -> tuple[FloatArray, FloatArray]:
    """Values of |x_q|² ~ χ²_D and their weights."""
    from scipy.special import roots_genlaguerre

    nodes, weights = roots_genlaguerre(40, dimension / 2 - 1)
    return 2 * nodes, weights / weights.sum()


def _differences() -> tuple[FloatArray, FloatArray]:
    """Values of v ~ N(0, 2) and their weights."""
    from scipy.special import roots_hermitenorm

    nodes, weights = roots_hermitenorm(120)
    return np.sqrt(2) * nodes, weights / weights.sum()


def _two_token_predictions(context: RunContext, control: str) -> list[FloatArray]:
    """The same losses by `exact_loss`, or by a wrong formula."""
    if control == LINEAR:
        losses = [_two_token_loss(task, TWO_HEADS, np.positive) for task in TWO]
    elif control == UNMODIFIED:
        losses = [float(exact_loss(task, *TWO_HEADS)) for task in TWO]
    else:
        losses = [_wrong_loss(task, TWO_HEADS, False, control) for task in TWO]
    return [np.array(losses)]


def _four_tokens(context: RunContext) -> list[FloatArray]:
    """Moments g (2,), C and S (4,) on four tokens, and their derivatives by b and q of the first head, by Gauss' rules.

    Without the query's token, and with it. Derivatives are those of the complex step, at last by an ω that b and q are
    multiples of.
    """
    rows: list[FloatArray] = []
    for query_scores in (None, FOUR_QUERY_SCORES):
        parts = _token_moments(FOUR_DEVIATIONS, query_scores)
        rows += [part.real for part in parts]
        step = 1j * COMPLEX_STEP * np.array([1, 0])
        rows += _first_rows(_token_moments(FOUR_DEVIATIONS + step, query_scores))
        if query_scores is not None:
            rows += _first_rows(_token_moments(FOUR_DEVIATIONS, query_scores + step))
            both = FOUR_DEVIATIONS + UNITS[0] * step, query_scores + UNITS[1] * step
            rows += _first_rows(_token_moments(*both))
    return rows


def _first_rows(parts: list[ComplexArray]) -> list[FloatArray]:
    """Derivatives of g_1 (1,), C_12 and S_12 (1,) from numbers with a complex step."""
    first, overlap, second = (part.imag / COMPLEX_STEP for part in parts)
    return [first[:1], overlap[1:2], second[1:2]]


def _token_moments(
    deviations: ComplexArray | FloatArray,
    query_scores: ComplexArray | FloatArray | None,
) -> list[ComplexArray]:
    """g (2,), C and S (4,) as sums over all products of nodes of the definition."""
    from scipy.special import roots_hermitenorm

    nodes, weights = roots_hermitenorm(FOUR_NODES)
    axes = np.meshgrid(*[nodes] * 4, indexing="ij")
    u = np.stack(axes).reshape(4, -1)
    by_u = np.prod(np.meshgrid(*[weights / np.sum(weights)] * 4), axis=0).ravel()
    exponentials = np.exp(deviations[:, None, None] * u)  # (2, tokens, nodes)
    sums = np.sum(exponentials, axis=1, keepdims=True)
    if query_scores is not None:
        sums = sums + np.exp(query_scores)[:, None, None]
    s = exponentials / sums
    signal = np.sum(s * u, axis=1)  # (2, nodes)
    first = signal @ by_u + 0j
    overlap = np.einsum("htn,ktn,n->hk", s, s, by_u) + 0j
    second = np.einsum("hn,kn,n->hk", signal, signal, by_u) + 0j
    return [first, overlap.ravel(), second.ravel()]


def _stated_four_tokens(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the quadrature over the denominators, or with S = C."""
    rows: list[FloatArray] = []
    for query_scores in (None, FOUR_QUERY_SCORES):
        moments, derivatives = score_moments_and_derivatives(
            FOUR_DEVIATIONS, 4, query_scores
        )
        second = moments.overlap if control == NO_PAIRS else moments.second
        rows += [moments.first, moments.overlap.ravel(), second.ravel()]
        kinds = [derivatives.by_deviation]
        if query_scores is not None:
            kinds.append(derivatives.by_query_score)
            kinds.append(derivatives.by_unit_of_ω(*UNITS))
        for by in kinds:
            signed = -by.first if control == NO_SIGN else by.first
            rows += [signed[:1], by.overlap[0, 1:], by.second[0, 1:]]
    return rows


def _on_tokens(name: str, query_token: bool, controls: tuple[str, ...]) -> Claim:
    """The claim that holds the exact loss against tokens in one convention."""
    keys = "with" if query_token else "without"
    return Claim(
        id=name,
        title=f"The quadrature gives the population loss and gradient of softmax heads {keys} the query's own token",
        paper="he2025",
        beyond_paper=True,
        equation="symmetric family of heads",
        origin="derived here: the Laplace transform of the denominators makes the loss two-dimensional integrals",
        statement=r"L = 1 + \sigma^2 - 2\mu^\top a + \mu^\top(B + \sigma^2 C)\mu",
        observable=f"loss and gradient on {SAMPLES} × {PROMPTS} prompts, token by token, for 1, 2 and 3 heads",
        limit="none: the error is that of the sample",
        hypotheses=("white Gaussian x of mean zero", "heads (ω_h 1; 0), (0, μ_h)"),
        measure=partial(_sampled, query_token),
        predict=partial(_exact, query_token),
        judge=within_standard_errors,
        controls=controls,
        tier="fast",
    )


CLAIMS = (
    _on_tokens(
        "softmax.exact_loss",
        query_token=False,
        controls=(
            ISOTROPIC,
            APPROXIMATE,
            OTHER_CONVENTION,
            ONE_MORE_KEY,
            CLEAN_LABEL,
            NO_SIGN,
        ),
    ),
    _on_tokens(
        "softmax.exact_loss_query_token",
        query_token=True,
        controls=(ISOTROPIC, OTHER_CONVENTION, ONE_MORE_KEY, CLEAN_LABEL, NO_SIGN),
    ),
    Claim(
        id="softmax.stein",
        title="A softmax head correlates with the label as b E[1 − |s|²], for any number of tokens",
        origin="derived here by partial integration, a convention-free identity",
        statement=r"E[s \cdot u] = b\,E[1 - |s|^2],\quad s = \mathrm{softmax}(b u),\ u \sim N(0, 1_N)",
        observable="both sides by quadrature, N from 1 to 1,000",
        limit="none: an identity",
        measure=_first_moments,
        predict=_first_moments_by_parts,
        judge=equal_within(1e-11),
        controls=(WITHOUT_OVERLAP, TOO_FEW),
        tier="fast",
    ),
    Claim(
        id="softmax.two_tokens",
        title="On contexts of two tokens the exact loss is one integral over a hyperbolic tangent",
        paper="he2025",
        beyond_paper=True,
        equation="symmetric family of heads",
        origin="derived here",
        statement=r"s \cdot u = \bar u + \tfrac12 v \tanh(b v/2),\quad v = u_1 - u_2",
        observable="loss of two heads at D = 2 and 5 by Gauss' rules over v and |x_q|²",
        limit="none: both are quadratures",
        measure=_two_token_losses,
        predict=_two_token_predictions,
        judge=equal_within(1e-8),
        controls=(LINEAR, ISOTROPIC, FIXED_LENGTH, APPROXIMATE, OTHER_CONVENTION),
        tier="fast",
    ),
    Claim(
        id="softmax.four_tokens",
        title="Moments of softmax weights and their derivatives are those of the definition on four tokens",
        origin="derived here and convention-free: the Laplace transform of the denominators",
        statement=r"E[s \cdot u],\quad E[s \cdot s'],\quad E[(s \cdot u)(s' \cdot u)]",
        observable="sums over all products of Gauss' nodes for four tokens, derivatives by complex steps; two heads, "
        "without and with the query's own token",
        limit="none: both are quadratures",
        measure=_four_tokens,
        predict=_stated_four_tokens,
        judge=equal_within(1e-10),
        controls=(NO_PAIRS, NO_SIGN),
        tier="fast",
    ),
    Claim(
        id="softmax.oblique_tokens",
        title="Heads with a common matrix on inputs of unequal variances have the loss of their average over the query",
        paper="he2025",
        beyond_paper=True,
        equation="anisotropic covariates",
        origin="derived here",
        statement=r"L = L(0) - 2\mu^\top E[\alpha g] + "
        r"\mu^\top E[\rho S + (\mathrm{tr}\,\Omega\Lambda + \sigma^2 - \rho)\,C]\mu",
        observable="loss of two heads on two tokens, and on one and the query's own, by Gauss' rules over |z|² in two "
        "groups of directions, D = 2 … 120, with other variances of x and w and other entries of A, and over one "
        "direction for A = a bᵀ on one or two tokens",
        limit="none: both are quadratures",
        measure=_group_losses,
        predict=_stated_group_losses,
        judge=equal_within(1e-8),
        controls=(ALIKE_TEACHERS, NO_OWN_TOKEN, TRANSPOSED),
        tier="fast",
    ),
)
