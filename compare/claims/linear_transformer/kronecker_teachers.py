"""Kronecker teachers, E W_ia W_jb = Γ_ij Ω_ab: one growing mode, one minimum, and a Wiener filter over the outputs."""

from typing import Any, NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import Trajectory, flow, objective
from ....task import Task
from ....teachers import Gaussian
from ....theory import fixed_points, time_course
from ....theory.linear_transformer import (
    kronecker_flow,
    kronecker_minimum,
    wiener_filter,
)
from ....theory.linear_transformer.kronecker_points import KroneckerFixedPoints
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import converges_at_order, equal_within
from ...exact_statistics import population_statistics
from .setting import LOSS, head_weights

# Γ of three outputs and Ω of two inputs. A generic Λ does not commute with Ω.
GAMMA = np.array([[2.0, 0.5, 0.0], [0.5, 0.9, -0.3], [0.0, -0.3, 0.4]])
OMEGA = np.array([[0.7, -0.3], [-0.3, 1.1]])
GENERIC = np.array([[1.3, 0.2], [0.2, 0.4]])
COMMUTING = 1.8 * np.eye(2) - OMEGA
"""Λ with the eigenvectors of Ω, of which only the flow in K + D equations knows."""
CONTEXTS = (4, 7)
NOISE = 0.5

ROUNDS = 10
"""Of the best p beside q and the best q beside p, which are at rest to rounding after five."""
ROUNDS_BOUND = 1e-10

AMPLITUDE = 0.01
"""Of a start in the growing mode."""
TIMES = np.linspace(0.0, 12.0, 25)
"""Flow times through the drop, at 4."""
FLOW_BOUND = 1e-8
"""Of integrated flows, which are accurate to 1e-10."""

SIZES = (1e-2, 1e-3, 1e-4)
"""Of random starts."""

STEP = 1e-4
"""Of differences of the gradient, a cubic, whose error is then 1e-8."""
NEGATIVE = -1e-5
"""Eigenvalues below are negative: the smallest in size that is not zero is above .01."""

NO_FILTER = "p ∝ 1"
NO_NOISE = "without noise"
AS_GAMMA = "p ∝ Γ"
OWN_SCALE = "ν of Γ with another trace"
UNBALANCED = "|p| twice |q|"
ALONG_OMEGA = "q ∝ Ω for q ∝ ΛΩΛ"
OTHER_RATE = "flow time × √K"
BOTH_PARTS = "the sum of the parts of p and q for half of it"
PART_OF_P = "the part of p alone"
STABLE_ZERO = "zero weights are stable"
BY_ENTRY = "one falling direction of zero weights for each direction of x"


def _task(
    covariance: FloatArray,
    gamma: FloatArray = GAMMA,
    omega: FloatArray = OMEGA,
    noise: float = NOISE,
) -> Task:
    return Task(
        covariance=covariance,
        teachers=Gaussian.kronecker(gamma, omega),
        context_length=CONTEXTS,
        noise_variance=noise,
    )


def _model(task: Task) -> Merged:
    """One head that divides by the tokens, the query's own among them, so that its best map is larger by that."""
    return Merged(heads=1, outputs=task.outputs, divisor="tokens")


class _Case(NamedTuple):
    """Γ, Ω and the noise of a task with generic Λ."""

    gamma: FloatArray
    omega: FloatArray
    noise: float

    @property
    def task(self) -> Task:
        """The task."""
        return _task(GENERIC, *self)


CASES = (
    _Case(GAMMA, OMEGA, NOISE),
    # One combination of the outputs, and one of the inputs, has no teachers.
    _Case(
        np.array([[2.0, 1.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.4]]),
        np.array([[100.0, 50.0], [50.0, 25.0]]),
        NOISE,
    ),
    _Case(GAMMA, OMEGA, 0.0),
)


class _Blocks(NamedTuple):
    """p (K, K) and q (D, D), or derivatives by them, and the loss."""

    p: FloatArray
    q: FloatArray
    loss: float


class _Layer:
    """The loss of p and q on unlimited prompts with its derivatives, by the model."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.K, self.D = task.outputs, task.dimension
        model = _model(task)
        self.evaluate = objective(model, population_statistics(task, model))

    def gradient(self, p: FloatArray, q: FloatArray) -> _Blocks:
        """The derivatives by p and q."""
        loss, slopes = self.evaluate(head_weights(self.task, p, q))
        value, key_query = slopes["value"][0], slopes["key_query"][0]
        return _Blocks(value[:, self.D :], key_query[: self.D, : self.D], loss)

    def best_p(self, q: FloatArray) -> FloatArray:
        """The p of least loss beside q."""
        zero, units = np.zeros((self.K, self.K)), np.eye(self.K**2)
        at_zero = self.gradient(zero, q).p.ravel()
        # The loss is a parabola in p.
        slopes = [
            self.gradient(unit.reshape(self.K, -1), q).p.ravel() - at_zero
            for unit in units
        ]
        return self._rest(slopes, at_zero).reshape(self.K, -1)

    @staticmethod
    def _rest(slopes: list[FloatArray], at_zero: FloatArray) -> FloatArray:
        """Where derivatives vanish that are linear, from those at 0 and how each entry changes them."""
        return np.asarray(np.linalg.solve(np.array(slopes), -at_zero))

    def best_q(self, p: FloatArray) -> FloatArray:
        """The q of least loss beside p."""
        zero, units = np.zeros((self.D, self.D)), np.eye(self.D**2)
        at_zero = self.gradient(p, zero).q.ravel()
        slopes = [
            self.gradient(p, unit.reshape(self.D, -1)).q.ravel() - at_zero
            for unit in units
        ]
        return self._rest(slopes, at_zero).reshape(self.D, -1)


# The minimum


def _random_layer(task: Task, context: RunContext) -> tuple[FloatArray, FloatArray]:
    """p (K, K) and q (D, D) of size 1."""
    generator = np.random.default_rng(context.seeds(1)[0])
    K, D = task.outputs, task.dimension
    return generator.normal(size=(K, K)), generator.normal(size=(D, D))


def _reached(context: RunContext) -> list[FloatArray]:
    """What each task is learned to, one after the other."""
    return [values for case in CASES for values in _reached_on(case.task, context)]


def _reached_on(task: Task, context: RunContext) -> list[FloatArray]:
    """Loss, p and q where the best p beside q and the best q beside p end, at |p| = |q|; the best p beside any q."""
    layer = _Layer(task)
    _, any_q = _random_layer(task, context)
    filtered = layer.best_p(any_q)
    q = any_q
    for _ in range(ROUNDS):
        p = layer.best_p(q)
        # Along the line of scales nothing is decided.
        q = layer.best_q(p / np.linalg.norm(p))
    p = layer.best_p(q)
    scale = np.sqrt(np.linalg.norm(q) / np.linalg.norm(p)) * np.sign(np.trace(p))
    p, q = scale * p, q / scale
    return [np.array([layer.gradient(p, q).loss]), p, p, q, filtered]


def _stated_minimum(context: RunContext, control: str) -> list[FloatArray]:
    return [values for case in CASES for values in _stated_of(case, context, control)]


# Long because every control is another filter.
def _stated_of(case: _Case, context: RunContext, control: str) -> list[FloatArray]:
    """The least loss, p, p as the filter of its noise ratio, q, and the filter beside any q; or wrong ones."""
    _, any_q = _random_layer(case.task, context)
    clean = case._replace(noise=0.0)
    task = clean.task if control == NO_NOISE else case.task
    least = kronecker_minimum(task, _model(task))
    K = len(case.gamma)
    # The noise ratio belongs to Γ of trace K.
    trace = 1.0 if control == OWN_SCALE else K
    Γ = trace * case.gamma / np.trace(case.gamma)
    p, q = least.p, least.q
    inverse = np.linalg.pinv(Γ + least.noise_ratio * np.eye(K), hermitian=True)
    filtered = _in_size_of(Γ @ inverse, p)
    if control == NO_FILTER:
        p = _in_size_of(np.eye(K), p)
    elif control == AS_GAMMA:
        p = _in_size_of(case.gamma, p)
    elif control == UNBALANCED:
        p, q = np.sqrt(2) * p, q / np.sqrt(2)
    stated = wiener_filter(case.task, any_q, _model(case.task))
    return [np.array([least.loss]), p, filtered, q, stated]


def _in_size_of(p: FloatArray, other: FloatArray) -> FloatArray:
    return np.asarray(p * np.linalg.norm(other) / np.linalg.norm(p))


# Fixed points


class _Point(NamedTuple):
    """A point of rest: directions that it learns, loss, largest derivative, and how many eigenvalues are negative."""

    subset: tuple[int, ...]
    loss: float
    slope: float
    negative: int


def _stated_of_layer(task: Task) -> KroneckerFixedPoints:
    points = fixed_points(task, _model(task))
    assert isinstance(points, KroneckerFixedPoints)
    return points


def _points(context: RunContext) -> list[_Point]:
    """The stated fixed points of each task as the layer sees them."""
    found = []
    for task in (case.task for case in CASES):
        layer = _Layer(task)
        for point in _stated_of_layer(task):
            blocks = layer.gradient(point.p, point.q)
            slope = max(np.max(np.abs(blocks.p)), np.max(np.abs(blocks.q)))
            index = int(np.sum(_curvatures(layer, point.weights()) < NEGATIVE))
            # In as many directions as the predictor has.
            count = int(np.linalg.matrix_rank(point.q, tol=1e-8))
            subset = tuple(range(1, count + 1))
            found.append(_Point(subset, blocks.loss, float(slope), index))
    return found


def _curvatures(layer: _Layer, weights: Weights) -> FloatArray:
    """Eigenvalues of the Hessian over all p and q, by differences of the gradient."""
    K, D = layer.K, layer.D
    p, q = weights["value"][0, :, D:], weights["key_query"][0, :D, :D]
    point = np.concatenate([p.ravel(), q.ravel()])

    def gradient(x: FloatArray) -> FloatArray:
        blocks = layer.gradient(x[: K * K].reshape(K, K), x[K * K :].reshape(D, D))
        return np.concatenate([blocks.p.ravel(), blocks.q.ravel()])

    steps = STEP * np.eye(len(point))
    differences = [gradient(point + step) - gradient(point - step) for step in steps]
    return np.asarray(np.linalg.eigvalsh(np.array(differences) / (2 * STEP)))


def _stated_points(context: RunContext, control: str) -> list[_Point]:
    """Every direction with index 0 and none with index 1, or what a mistake makes of them."""
    stated = []
    for task in (case.task for case in CASES):
        wrong = {STABLE_ZERO: 0, BY_ENTRY: task.dimension}
        for point in _stated_of_layer(task):
            index = point.hessian_index
            if not point.subset:
                index = wrong.get(control, index)
            stated.append(_Point(point.subset, point.loss, 0.0, index))
    return stated


def _same_points(predicted: list[_Point], observed: list[_Point]) -> Evidence:
    pairs = list(zip(predicted, observed, strict=True))
    gap = max(abs(seen.loss / stated.loss - 1) + seen.slope for stated, seen in pairs)
    indices = [point.negative for point in observed]
    stated = [point.negative for point in predicted]
    same = [point.subset for point in predicted] == [point.subset for point in observed]
    return Evidence(
        agrees=gap <= ROUNDS_BOUND and indices == stated and same,
        observed=f"indices {indices}, losses and slopes off by {gap:.1e}",
        expected=f"indices {stated}, off by {ROUNDS_BOUND:.0e} at most",
        residual=gap,
    )


# The flow


def _run(task: Task, p: FloatArray, q: FloatArray) -> Trajectory:
    """Gradient flow of all weights on unlimited prompts."""
    model = _model(task)
    return flow(
        model, population_statistics(task, model), head_weights(task, p, q), TIMES
    )


def _grown(context: RunContext) -> list[FloatArray]:
    """Losses, p and q along the flow from the growing mode, on commuting and on generic Λ and Ω."""
    curves = []
    for Λ in (COMMUTING, GENERIC):
        p = AMPLITUDE * GAMMA / np.linalg.norm(GAMMA)
        growth = Λ @ OMEGA @ Λ
        q = AMPLITUDE * growth / np.linalg.norm(growth)
        run = _run(_task(Λ), p, q)
        value, key_query = run.weights["value"], run.weights["key_query"]
        p, q = value[:, 0, :, 2:], key_query[:, 0, :2, :2]
        curves += [run.loss, p, q]
    products = np.einsum("tii,tdd->tid", p, q)
    return [*curves, products.reshape(len(TIMES), -1)]


# Long because the two functions that know the course take their starts in different ways.
def _stated_growth(context: RunContext, control: str) -> list[FloatArray]:
    """The K + D equations where Λ and Ω commute, and the time course from the amplitude; or wrong ones."""
    times = np.sqrt(3) * TIMES if control == OTHER_RATE else TIMES
    gamma = np.trace(GAMMA) / 3 * np.eye(3) if control == NO_FILTER else GAMMA
    task = _task(COMMUTING, gamma)
    if control == NO_NOISE:
        task = Task.from_dict(task.to_dict() | {"noise_variance": 0.0})
    growth = OMEGA if control == ALONG_OMEGA else COMMUTING @ OMEGA @ COMMUTING
    p = AMPLITUDE * gamma / np.linalg.norm(gamma)
    q = AMPLITUDE * growth / np.linalg.norm(growth)
    course = kronecker_flow(task, p, q, times, _model(task))
    generic = _task(GENERIC)
    other = time_course(generic, _model(generic), TIMES, AMPLITUDE)
    of_p, of_q = np.split(other.amplitudes, [9], axis=1)
    blocks = [of_p.reshape(-1, 3, 3), of_q.reshape(-1, 2, 2)]
    return [course.loss, course.p, course.q, other.loss, *blocks, other.coefficients]


def _around_mode(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """p and q of size 1 with every entry random, of which a part is in the growing mode."""
    p, q = _random_layer(_task(COMMUTING), context)
    growth = COMMUTING @ OMEGA @ COMMUTING
    along_p = GAMMA / np.linalg.norm(GAMMA)
    along_q = growth / np.linalg.norm(growth)
    # More of it in q than in p, as only their sum grows.
    return along_p + p / 3, 2 * along_q + q / 3


def _dropped(context: RunContext) -> list[FloatArray]:
    """Losses along the flow from random weights of each size."""
    p, q = _around_mode(context)
    return [_run(_task(COMMUTING), size * p, size * q).loss for size in SIZES]


def _stated_drop(context: RunContext, control: str) -> list[FloatArray]:
    """The course of what these weights have in the growing mode, or of another part."""
    p, q = _around_mode(context)
    factor = 2.0 if control == BOTH_PARTS else 1.0
    if control == PART_OF_P:
        # As much in q as in p.
        growth = COMMUTING @ OMEGA @ COMMUTING
        along = growth / np.linalg.norm(growth)
        q = np.sum(p * GAMMA) / np.linalg.norm(GAMMA) * along
    task = _task(COMMUTING)
    starts = [(factor * size * p, factor * size * q) for size in SIZES]
    return [kronecker_flow(task, *start, TIMES, _model(task)).loss for start in starts]


def _claim(**fields: Any) -> Claim:
    """A fast claim on Kronecker teachers that is derived here; `fields` are further ones or replace these."""
    common: dict[str, Any] = {
        "paper": "mainali2025",
        "beyond_paper": True,
        "origin": "derived here",
        "hypotheses": ("E W_ia W_jb = Γ_ij Ω_ab", "null blocks 0"),
        "limit": "none",
        "assumes": LOSS,
        "tier": "fast",
    }
    return Claim(**common | fields)


CLAIMS = (
    _claim(
        id="modes.kronecker_minimum",
        title="Without a shared basis the best p is a Wiener filter over the outputs",
        equation="fixed point of the modes",
        statement=r"p \propto \Gamma \left(h\, \Gamma + \tfrac{\sigma^2}{N} \mathrm{tr}(Q\Lambda)\, 1\right)^{-1}, "
        r"\quad h = \mathrm{tr}(\Omega E_Q)",
        observable="loss, p and q where the best p beside q and the best q beside p rest; the best p beside a random q",
        measure=_reached,
        predict=_stated_minimum,
        judge=equal_within(ROUNDS_BOUND),
        controls=(NO_FILTER, NO_NOISE, AS_GAMMA, OWN_SCALE, UNBALANCED),
    ),
    _claim(
        id="modes.kronecker_points",
        title="Without a shared basis there are two fixed points: every direction is learned, or none",
        equation="stability of the fixed points",
        statement=r"\mathrm{index}(0) = 1, \quad \mathrm{index}(p^*, q^*) = 0",
        observable="loss, derivatives and negative eigenvalues of the Hessian over all p and q at both",
        measure=_points,
        predict=_stated_points,
        judge=_same_points,
        controls=(STABLE_ZERO, BY_ENTRY),
    ),
    _claim(
        id="modes.kronecker_flow",
        title="From the growing mode of Kronecker teachers p and q follow K + D equations where Λ and Ω commute",
        equation="mode-wise dynamics",
        statement=r"\dot p = \ell\gamma \textstyle\sum \omega s^2 q - (\gamma h + n)\, p, \quad "
        r"\dot q = \ell \textstyle\sum \gamma p\; \omega s^2 - \partial_q (\ldots)",
        observable="loss, p and q along gradient flow on the exact moments, of commuting and of generic Λ and Ω",
        measure=_grown,
        predict=_stated_growth,
        judge=equal_within(FLOW_BOUND),
        controls=(NO_FILTER, NO_NOISE, ALONG_OMEGA, OTHER_RATE),
    ),
    _claim(
        id="modes.kronecker_drop",
        title="Small weights on Kronecker teachers follow the mean of the parts of p and of q in the growing mode",
        equation="mode-wise dynamics",
        statement=r"L(t) = L(t; w_0 \Gamma/|\Gamma|, w_0 \Lambda\Omega\Lambda/|\Lambda\Omega\Lambda|) + O(w_0), "
        r"\quad 2 w_0 = \langle p, \Gamma\rangle/|\Gamma| + \langle q, \Lambda\Omega\Lambda\rangle/"
        r"|\Lambda\Omega\Lambda|",
        observable="loss along gradient flow on the exact moments from random weights of three sizes",
        limit="size of the start → 0, error O(w)",
        order=1,
        measure=_dropped,
        predict=_stated_drop,
        judge=converges_at_order(SIZES, 1, name="w"),
        controls=(BOTH_PARTS, PART_OF_P),
    ),
)
