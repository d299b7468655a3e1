"""The early flow of softmax heads: growth from small weights, the time of the drop, and the overshoot of ω."""

from functools import partial
from itertools import product

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.softmax_attention import (
    HeadLoss,
    approximate_loss,
    drop_time,
    exact_loss,
    growth_rates,
    reduced_flow,
)
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from .setting import EXACT_LOSSES, OTHER_UNITS, PUBLISHED, noise_share, white_task

HEADS = (2, 4)
TASKS = (PUBLISHED, OTHER_UNITS)
METRICS = ("matrix", "euclidean")
"""Of the flow of the weights B, and of ω as a weight of its own."""

SMALL = 1e-5
"""Size of heads at which the flow is linear: next come cubes."""

STARTS = (1e-4, 1e-6, 1e-8, 1e-10)
DROP_DIMENSIONS = (5, 20)
LONG = 10**9
LONG_CONTEXTS = (
    white_task(5, LONG, 0.0),
    Task(**OTHER_UNITS.arguments() | {"context_length": {0: 1.0, LONG: 3.0}}),
)
"""Without noise as good as: its share is 1e-9."""

PEAK_STEP, PEAK_TIME = 0.02, {"matrix": 40.0, "euclidean": 12.0}
PEAK_DIMENSIONS = (5, 20)
PEAK_START = 0.01

NO_NOISE = "κ = 1/N, without the noise of the labels"
OTHER_METRIC = "the other metric"
ALL_ALIKE = "every mode as fast as those that add up to zero"
ONE_HEAD = "κ for Hκ in the common mode"
NO_SELF = "1 for the factor of a finite context"
OTHER_KEYS = "the factor of the other convention of the query's token"
DIMENSION_RATE, METRIC_RATE = "growth at the rate 1/D", "growth at the rate 1"
TWICE_SIZE = "ln(2/α), as if size were μ + √D ω"


def _metric(task: Task, name: str) -> float:
    """ρ of dω/dt = −(ρ/2) ∂L/∂ω."""
    return {"matrix": 1 / task.dimension, "euclidean": 1.0}[name]


def _cases() -> list[tuple[Task, int, str]]:
    """Every task with every number of heads, in both metrics."""
    return list(product(TASKS, HEADS, METRICS))


def _approximate_rates(context: RunContext) -> list[FloatArray]:
    """Rates (2H,) of the flow on the approximate loss at 0, in increasing order, in every case."""
    rates: list[FloatArray] = []
    for task, H, metric in _cases():
        loss = approximate_loss(task, *_small_heads(H), gradient=True)
        rates.append(_rates_at_zero(loss, _metric(task, metric)))
    return rates


def _exact_rates(query_token: bool, context: RunContext) -> list[FloatArray]:
    """The same on the exact loss, in one convention of the query's token."""
    rates: list[FloatArray] = []
    for task, H in product(TASKS, HEADS):
        loss = exact_loss(
            task, *_small_heads(H), query_token=query_token, gradient=True
        )
        rates.extend(_rates_at_zero(loss, _metric(task, metric)) for metric in METRICS)
    return rates


def _small_heads(heads: int) -> tuple[FloatArray, FloatArray]:
    """ω and μ (4H, H) that are zero but for one, of both signs: what is even in the weights drops out."""
    points = SMALL * np.concatenate([np.eye(2 * heads), -np.eye(2 * heads)])
    return points[:, :heads], points[:, heads:]


def _rates_at_zero(loss: HeadLoss, ρ: float) -> FloatArray:
    """Eigenvalues (2H,) of the linear flow at 0, from the gradients at small heads."""
    assert loss.gradient is not None
    slopes = np.concatenate(loss.gradient, axis=1)  # (4H, 2H)
    count = slopes.shape[1]
    hessian = (slopes[:count] - slopes[count:]) / (2 * SMALL)
    # −½ M ∂²L with M = diag(ρ, 1) has the eigenvalues of the symmetric −½ √M ∂²L √M.
    root = np.sqrt(np.repeat([ρ, 1.0], count // 2))
    return np.linalg.eigvalsh(-0.5 * root[:, None] * hessian * root)


def _predicted_rates(
    query_token: bool | None, context: RunContext, control: str
) -> list[FloatArray]:
    """±√ρ g for H − 1 modes that add up to zero, and the two of the common mode, in every case."""
    if control == UNMODIFIED:
        return _rates_of_theory(query_token)
    rates: list[FloatArray] = []
    for task, H, metric in _cases():
        signal, κ = _at_small_heads(task, query_token, control)
        ρ = _metric(task, metric)
        if control == OTHER_METRIC:
            ρ = 1 / (ρ * task.dimension)
        rates.append(_modes(H, ρ * signal**2, κ, control))
    return rates


# Long because every control changes one number of the same formula.
def _at_small_heads(
    task: Task, query_token: bool | None, control: str
) -> tuple[float, float]:
    """g and κ of ω' = ρgμ, μ' = gω − κ Σμ: means over contexts of λvq and of (v + σ²)/N, q a factor of finite ones."""
    λ = float(np.mean(task.eigenvalues))
    v = λ * float(np.trace(task.teacher_covariance))
    labels = v if control == NO_NOISE else v + task.noise_variance
    convention = query_token
    if control == OTHER_KEYS:
        convention = not query_token
    signal, κ = 0.0, 0.0
    for N, share in zip(task.context_lengths, task.context_weights, strict=True):
        # Nothing is learned of no context.
        if N == 0:
            continue
        factors = {None: 1.0, False: 1 - 1 / N, True: N**2 / (N + 1) ** 2}
        q = 1.0 if control == NO_SELF else factors[convention]
        signal += share * λ * v * q
        κ += share * labels / N * (q if convention else 1.0)
    return signal, κ


def _rates_of_theory(query_token: bool | None) -> list[FloatArray]:
    """All eigenvalues (2H,) of each case: the growing ones, and those that decay, whose product with them is −ρg²."""
    loss = "approximate" if query_token is None else "exact"
    tables = []
    for task, H, metric in _cases():
        zero_sum, common = growth_rates(
            task, H, metric, loss=loss, query_token=bool(query_token)
        )
        pairs = [-zero_sum, zero_sum] * (H - 1)
        tables.append(np.sort([*pairs, common, -(zero_sum**2) / common]))
    return tables


def _modes(heads: int, square: float, κ: float, control: str) -> FloatArray:
    """The rates (2H,) in increasing order, `square` that of a mode whose μ add up to zero."""
    zero_sum = np.sqrt(square)
    drag = κ if control == ONE_HEAD else heads * κ
    root = np.sqrt(drag**2 + 4 * square)
    common = [(-drag - root) / 2, (-drag + root) / 2]
    if control == ALL_ALIKE:
        common = [-zero_sum, zero_sum]
    pairs = [-zero_sum, zero_sum] * (heads - 1)
    return np.sort([*pairs, *common])


def _drop_times(context: RunContext) -> list[FloatArray]:
    """How much later the drop is for each smaller start, per unit of ln(1/α), and when it comes in long contexts."""
    later = [_later_per_decade(white_task(D, 8 * D)) for D in DROP_DIMENSIONS]
    return [*later, *(_time_from_unit_size(task) for task in LONG_CONTEXTS)]


def _later_per_decade(task: Task) -> FloatArray:
    """Differences of the times at which half of the loss is lost, over differences of ln(1/α)."""
    times = [_half_time(task, α) for α in STARTS]
    return np.asarray(np.diff(times) / -np.diff(np.log(STARTS)))


def _half_time(task: Task, α: float) -> float:
    """When half of the loss is lost, of heads of size α along the growing mode, with signs that add up to zero."""
    D = task.dimension
    rate, v, signal = _growth_of_pair(task)
    κ = (v + task.noise_variance) * signal / v / max(task.context_lengths)
    half = v + task.query_noise_variance - signal / (1 + κ * D / signal) / 2
    grid = (np.log(1 / α) + np.linspace(-6, 6, 481)) / rate
    ω = α * np.array([1, -1]) / np.sqrt(D)
    flow = reduced_flow(
        task, ω, np.sqrt(D) * ω, grid, loss="approximate", metric="matrix"
    )
    return _crossing(grid, flow.loss, half)


def _growth_of_pair(task: Task) -> tuple[float, float, float]:
    """The rate λv/√D of two heads of either sign, v, and v times the share of prompts that have a context."""
    λ = float(np.mean(task.eigenvalues))
    v = λ * float(np.trace(task.teacher_covariance))
    has_context = np.array(task.context_lengths) > 0
    signal = v * float(np.sum(task.context_weights[has_context]))
    return λ * signal / np.sqrt(task.dimension), v, signal


def _crossing(times: FloatArray, losses: FloatArray, level: float) -> float:
    """When decreasing losses (T,) are at a level, on the cubic through the four nearest times."""
    place = int(np.searchsorted(-losses, -level))
    near = slice(place - 2, place + 2)
    cubic = np.polyfit(losses[near] - level, times[near] - times[place], 3)
    return float(times[place] + cubic[-1])


def _time_from_unit_size(task: Task) -> FloatArray:
    """When half of the loss is lost without noise, less what it is by the same law for a start of size 1.

    Heads at μ = √D ω remain so, and η = 2λμ²/√D obeys η' = 2rη(1 − η), r of the growth, from 2λα²/√D ≪ 1 on. Half is
    lost at (1 − η)² = 1/2, when the logarithm of η/(1 − η) is ln(√2 − 1).
    """
    rate, _, _ = _growth_of_pair(task)
    λ = float(np.mean(task.eigenvalues))
    of_unit_size = 2 * λ / np.sqrt(task.dimension)
    to_half = np.log((np.sqrt(2) - 1) / of_unit_size) / (2 * rate)
    return np.array([_half_time(task, STARTS[0]) - to_half])


def _predicted_drop_times(context: RunContext, control: str) -> list[FloatArray]:
    """√D, the inverse of the rate, and √D ln(1/α)/(λv)."""
    if control == UNMODIFIED:
        later = [_later_by_law(white_task(D, 8 * D)) for D in DROP_DIMENSIONS]
        whole = [drop_time(task, STARTS[0]) for task in LONG_CONTEXTS]
        return [*later, *(np.array([time]) for time in whole)]
    power = {DIMENSION_RATE: 1.0, METRIC_RATE: 0.0, TWICE_SIZE: 0.5}[control]
    later = [np.full(len(STARTS) - 1, D**power) for D in DROP_DIMENSIONS]
    size = STARTS[0] / 2 if control == TWICE_SIZE else STARTS[0]
    for task in LONG_CONTEXTS:
        rate, _, _ = _growth_of_pair(task)
        unit = task.dimension ** (power - 0.5) / rate
        later.append(np.array([unit * np.log(1 / size)]))
    return later


def _later_by_law(task: Task) -> FloatArray:
    """Differences of the drop times of the theory, over differences of ln(1/α)."""
    times = [drop_time(task, α) for α in STARTS]
    return np.asarray(np.diff(times) / -np.diff(np.log(STARTS)))


def _sizes_of_descent(context: RunContext) -> list[FloatArray]:
    """s = Dω² at each step of a Runge-Kutta integration on the weights, for each metric and dimension."""
    sizes = []
    for metric in METRICS:
        for D in PEAK_DIMENSIONS:
            sizes.append(_integrated_sizes(white_task(D, 8 * D), metric))
    return sizes


def _integrated_sizes(task: Task, metric: str) -> FloatArray:
    """s (T,) of a head, on matrices B_h (D, D) in the one metric, on numbers ω_h in the other."""
    D = task.dimension
    κ = noise_share(task)
    μ = PEAK_START * np.array([1.0, -1.0])
    # A matrix of one entry that counts for D of them is a number ω.
    entries, copies = (D, 1) if metric == "matrix" else (1, D)
    B = PEAK_START * np.array([1.0, -1.0])[:, None, None] * np.eye(entries)
    sizes = []
    for _ in range(round(PEAK_TIME[metric] / PEAK_STEP)):
        sizes.append(copies * np.sum(B[0] ** 2))
        B, μ = _runge_kutta(B, μ, κ, copies)
    return np.array(sizes)


# Long because the four stages stand as in the method.
def _runge_kutta(
    B: FloatArray, μ: FloatArray, κ: float, copies: int
) -> tuple[FloatArray, FloatArray]:
    """One step of the classical method on matrices B (H, D, D) and μ (H,)."""
    h = PEAK_STEP
    k1 = _velocity(B, μ, κ, copies)
    k2 = _velocity(B + h / 2 * k1[0], μ + h / 2 * k1[1], κ, copies)
    k3 = _velocity(B + h / 2 * k2[0], μ + h / 2 * k2[1], κ, copies)
    k4 = _velocity(B + h * k3[0], μ + h * k3[1], κ, copies)
    steps = [
        h / 6 * (a + 2 * b + 2 * c + d)
        for a, b, c, d in zip(k1, k2, k3, k4, strict=True)
    ]
    return B + steps[0], μ + steps[1]


def _velocity(
    B: FloatArray, μ: FloatArray, κ: float, copies: int
) -> tuple[FloatArray, FloatArray]:
    """−½ ∂L̃/∂B and −½ ∂L̃/∂μ for L̃ = |1 − Σ μ_h B_h|²/D + κ Σ μ_h μ_k exp(tr B_hᵀB_k) + a constant.

    Each entry counts for so many `copies`, so that D = copies · rows of B.
    """
    rows = B.shape[-1]
    missing = np.eye(rows) - np.einsum("h,hij->ij", μ, B)
    E = np.exp(copies * np.einsum("hij,kij->hk", B, B))
    weights = E * np.outer(μ, μ)
    by_B = μ[:, None, None] * missing / rows - κ * copies * np.einsum(
        "hk,kij->hij", weights, B
    )
    by_μ = np.einsum("hij,ij->h", B, missing) / rows - κ * E @ μ
    return by_B, by_μ


def _predicted_peaks(context: RunContext, control: str) -> list[FloatArray]:
    """s = Dω² of the reduced flow at the same times."""
    sizes = []
    for metric in METRICS:
        for D in PEAK_DIMENSIONS:
            σ2 = 0.0 if control == NO_NOISE else None
            task = white_task(D, 8 * D) if σ2 is None else white_task(D, 8 * D, σ2)
            taken = metric
            if control == OTHER_METRIC:
                (taken,) = set(METRICS) - {metric}
            start = PEAK_START * np.array([1.0, -1.0])
            steps = round(PEAK_TIME[metric] / PEAK_STEP)
            times = PEAK_STEP * np.arange(steps)
            flow = reduced_flow(
                task, start, start, times, loss="approximate", metric=taken
            )
            sizes.append(D * flow.omega[:, 0] ** 2)
    return sizes


def _growth_claim(
    name: str, loss: str, query_token: bool | None, controls: tuple[str, ...]
) -> Claim:
    """The claim on the growth rates of one loss, in one convention."""
    on_approximate = query_token is None
    factor = {
        None: "",
        False: ", times 1 − 1/N",
        True: ", times N²/(N + 1)², as κ is",
    }[query_token]
    return Claim(
        id=f"softmax.growth_{name}",
        title=f"On {loss} modes with Σμ = 0 grow fastest from 0, at the rate √ρ{factor}",
        paper="he2025",
        beyond_paper=not on_approximate,
        equation="training dynamics of the reduced model",
        origin="the rates are derived here",
        statement=r"r = \pm\sqrt\rho\,\lambda v q,\quad "
        r"r = \tfrac12\bigl(-\kappa H \pm \sqrt{\kappa^2H^2 + 4\rho\lambda^2v^2q^2}\bigr)",
        observable="all eigenvalues of the flow at 0 for 2 and 4 heads, ρ = 1/D and 1; D = 5, N = 40, and "
        "D = 3, N = 20 with other variances of x and y than 1, a quarter of the contexts empty",
        limit="none: the flow at 0 is linear",
        measure=_approximate_rates
        if query_token is None
        else partial(_exact_rates, query_token),
        predict=partial(_predicted_rates, query_token),
        judge=equal_within(1e-12 if on_approximate else 1e-9),
        controls=(OTHER_METRIC, ALL_ALIKE, ONE_HEAD, NO_NOISE, *controls),
        assumes=() if on_approximate else EXACT_LOSSES,
        tier="fast",
    )


CLAIMS = (
    _growth_claim("approximate_loss", "the approximate loss", None, ()),
    _growth_claim("exact_loss", "the exact loss", False, (NO_SELF, OTHER_KEYS)),
    _growth_claim(
        "query_token",
        "the exact loss with the query's own token",
        True,
        (NO_SELF, OTHER_KEYS),
    ),
    Claim(
        id="softmax.drop_time",
        title="The drop of the loss comes √D ln(1/α) after a start of size α, up to a constant",
        paper="he2025",
        equation="training dynamics of the reduced model",
        origin="the time is derived here, for the flow of the weights B",
        statement=r"dT/d\ln(1/\alpha) = \sqrt D,\quad T - \sqrt D\ln(1/\alpha) \to "
        r"\tfrac{\sqrt D}{2}\ln\tfrac{(\sqrt2 - 1)\sqrt D}{2}\text{ as } N \to \infty",
        observable="time until half of the loss is lost, on the approximate loss, α = 10⁻⁴ … 10⁻¹⁰, D = 5, 20; all of "
        "it at N = 10⁹, D = 5, and D = 3 with other variances of x and y than 1, a quarter of the contexts empty",
        limit="α → 0",
        hypotheses=("two heads of either sign", "ρ = 1/D"),
        measure=_drop_times,
        predict=_predicted_drop_times,
        judge=equal_within(1e-6),
        controls=(DIMENSION_RATE, METRIC_RATE, TWICE_SIZE),
        tier="fast",
    ),
    Claim(
        id="softmax.overshoot",
        title="How far Dω² overshoots depends on the metric: to 0.9 at D = 5 where B is trained, to 1.7 where ω is",
        paper="he2025",
        equation="training dynamics of the reduced model",
        origin="the metric ρ = 1/D of the weights B is derived here; the paper's reduced flow has ρ = 1",
        statement=r"\dot\omega = -\tfrac{\rho}{2}\,\partial L/\partial\omega,\quad \rho = 1/D "
        r"\text{ as } |B_h|^2 = D\omega_h^2",
        observable="Dω² along a Runge-Kutta integration, on matrices B_h and on numbers ω_h, D = 5 and 20, N = 8D",
        limit="none: both integrate the same flow",
        hypotheses=("two heads of either sign", "the approximate loss"),
        measure=_sizes_of_descent,
        predict=_predicted_peaks,
        judge=equal_within(1e-6),
        controls=(OTHER_METRIC, NO_NOISE),
        tier="fast",
    ),
)
