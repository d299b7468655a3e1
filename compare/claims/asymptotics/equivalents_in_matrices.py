"""Equivalents on all features at once, as matrices of D² rows, and flows on a closed contour around the spectrum."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ....simulate import exact_risk
from ....task import Task
from ....teachers import Gaussian, Pool
from ....theory.asymptotics import (
    TaskLearningCurve,
    deterministic_equivalent,
    learning_curve_of_tasks,
    readout_moments,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within
from .closed_contours import ComplexArray, ellipse

TRAIN = Task(
    covariance=[[1, 0.3, 0], [0.3, 0.6, 0.1], [0, 0.1, 0.2]],
    teachers=Pool([[1.0, 0.0, 0.5], [-1.0, 2.0, 0.0]]),
    context_length=4,
    noise_variance=0.2,
)
TEST = Task(
    covariance=[[0.5, 0, 0.1], [0, 1, 0], [0.1, 0, 0.3]],
    teachers=Gaussian([1, 0, 2]),
    context_length=[2, 9],
    noise_variance=0.1,
    query_noise_variance=0.4,
)
FLAT = Task(
    covariance=[[1, 0.5, 0], [0.5, 0.6, 0], [0, 0, 0]],
    teachers=Gaussian([1, 2, 1]),
    context_length=3,
    noise_variance=0.1,
)
"""Inputs that do not vary along one direction."""

D = 3
POOLS, POOL_SEED = 3, 5


class _Case(NamedTuple):
    """A training law, P, the ridge, the weight of the label row (None without it), and tasks of each pool."""

    train: Task
    sequences: float
    ridge: float
    label_weight: float | None = None
    tasks: int | None = None


CASES = (
    _Case(TRAIN, 5, 0.0),
    _Case(TRAIN, 40, 0.0, 9.0),
    _Case(TRAIN, 9, 0.3),
    _Case(TRAIN, 7.5, 0.02, 9.0),
    _Case(FLAT, 20, 0.1, 4.0),
    _Case(FLAT, 3, 0.0),
    _Case(FLAT, 20, 0.1, tasks=2),
)

ROUNDING = 1e-9
"""Rounding of the inverses of matrices of 12 rows."""

TWICE = "twice the sequences"
OTHER_WEIGHT = "the label row weighs twice as much"
ON_TRAINING = "the training law for the test law"


class _Equivalent(NamedTuple):
    """L_train, L_test, ξ and γ."""

    train_loss: float
    test_loss: float
    ξ: float
    γ: float


def _in_matrices(case: _Case) -> _Equivalent:
    """The equivalent on the covariance Σ of all features, with W the weights of the penalty."""
    has_row = case.label_weight is not None
    own, test = (
        readout_moments(each, label_row=has_row) for each in (case.train, TEST)
    )
    Σ, Σ_test = np.kron(own.A, own.Lambda), np.kron(test.A, test.Lambda)
    rows = np.ones(len(own.A))
    rows[D:] = case.label_weight or 1.0
    W = np.diag(np.repeat(rows, D))
    ξ = _effective_ridge(Σ, W, case)
    Q = np.linalg.inv(Σ + ξ * W)
    M = (Q @ own.B.ravel()).reshape(own.B.shape)
    γ = np.trace(Σ @ Q @ Σ @ Q) / case.sequences
    train_loss = exact_risk(case.train, M) / (1 - γ)
    variance = train_loss * np.trace(Σ_test @ Q @ Σ @ Q) / case.sequences
    return _Equivalent(train_loss, exact_risk(TEST, M) + variance, ξ, γ)


def _effective_ridge(Σ: NDArray[Any], W: NDArray[Any], case: _Case) -> float:
    """The largest root of ξ = λ + (ξ/P) tr Σ(Σ + ξW)⁻¹, by halving a bracket of log ξ."""
    if case.ridge == 0 and np.linalg.matrix_rank(Σ) < case.sequences:
        return 0.0
    low, high = np.log(1e-9), np.log(1e3)
    for _ in range(70):
        ξ = np.exp((low + high) / 2)
        degrees = np.trace(np.linalg.solve(Σ + ξ * W, Σ))
        if 1 - degrees / case.sequences < case.ridge / ξ:
            low = np.log(ξ)
        else:
            high = np.log(ξ)
    return float(np.exp(low))


def _laws_of(case: _Case) -> list[_Case]:
    """The case with each of its pools, or itself."""
    if case.tasks is None:
        return [case]
    law = case.train.teachers
    assert isinstance(law, Gaussian)
    pools = [law.pool(case.tasks, seed) for seed in range(POOL_SEED, POOL_SEED + POOLS)]
    return [
        case._replace(
            train=Task(
                covariance=case.train.covariance,
                teachers=pool,
                context_length=3,
                noise_variance=case.train.noise_variance,
            )
        )
        for pool in pools
    ]


def _equivalents_in_matrices(context: RunContext) -> list[FloatArray]:
    """L_train, L_test, their difference, 1 + ξ, γ, pools and one plus the losses' spreads over them, of every case."""
    found = []
    for case in CASES:
        drawn = np.array([_in_matrices(each) for each in _laws_of(case)])
        values = np.insert(drawn, 2, drawn[:, 1] - drawn[:, 0], axis=1)
        means = values.mean(axis=0)
        found += [means[:3], 1 + means[3:4], means[4:]]
        found += [np.array([float(len(values))]), 1 + _spread(values[:, :3])]
    return found


def _spread(values: FloatArray) -> FloatArray:
    """Standard deviations over pools, the first axis; none of one law."""
    if len(values) == 1:
        return np.zeros_like(values[0])
    return np.asarray(values.std(axis=0, ddof=1))


def _stated(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory, or with a mistake."""
    found = []
    for case in CASES:
        known = deterministic_equivalent(
            case.train,
            case.train if control == ON_TRAINING else TEST,
            case.sequences * (2 if control == TWICE else 1),
            ridge=case.ridge,
            label_row=case.label_weight is not None,
            label_weight=(case.label_weight or 1.0)
            * (2 if control == OTHER_WEIGHT and case.label_weight else 1),
            tasks=case.tasks,
            pools=POOLS,
            seed=POOL_SEED,
        )
        losses = (known.train_loss, known.test_loss, known.gap)
        found += [np.array(losses), np.array([1 + known.xi]), np.array([known.gamma])]
        spreads = (known.train_spread, known.test_spread, known.gap_spread)
        found += [np.array([float(known.pools)]), 1 + np.array(spreads)]
    return found


# -- Flows --------------------------------------------------------------------------------------------------------

TIMES = (0.5, 5.0, 40.0)
FLOWS = (
    _Case(TRAIN, 6, 0.0),
    _Case(TRAIN, 40, 0.0, 9.0),
    _Case(FLAT, 20, 0.0, tasks=2),
)
NODES = 240
CONTOUR_BOUND = 1e-8
"""What roots of polynomials of degree 13 leave; the two quadratures err by less."""

TWICE_THE_TIME = "the flow of L in place of L/2"


class _Features(NamedTuple):
    """Features on the eigenvectors of A and Λ: e (p,), C, the test law's diagonal, and U (E, E), V (D, D)."""

    e: FloatArray
    C: FloatArray
    test: FloatArray
    U: FloatArray
    V: FloatArray
    unit: FloatArray

    @classmethod
    def of(cls, case: _Case) -> "_Features":
        """Those of a case, in units in which the flow has one time scale."""
        has_row = case.label_weight is not None
        own, test = (
            readout_moments(each, label_row=has_row) for each in (case.train, TEST)
        )
        unit = np.ones((len(own.A), 1))
        if case.label_weight is not None:
            unit[-1] = case.label_weight**-0.5
        a, U = np.linalg.eigh(unit * own.A * unit.T)
        l, V = np.linalg.eigh(own.Lambda)
        a_test = np.diag(U.T @ (unit * test.A * unit.T) @ U)
        l_test = np.diag(V.T @ test.Lambda @ V)
        C = U.T @ (unit * own.B) @ V
        return cls(
            np.outer(a, l).ravel(),
            C.ravel(),
            np.outer(a_test, l_test).ravel(),
            U,
            V,
            unit,
        )

    def map(self, modes: FloatArray) -> FloatArray:
        """M (E, D) of the coefficients (p,)."""
        in_units = self.U @ modes.reshape(len(self.U), D) @ self.V.T
        return np.asarray(self.unit * in_units)


def _roots(e: FloatArray, P: float, λ: ComplexArray) -> ComplexArray:
    """ξ of ξ = λ + (ξ/P) Σ e/(e + ξ): the one root of a polynomial on the side of the axis where λ is.

    The ridges λ are those of an ellipse, whose second half are the conjugates of its first.
    """
    e = e[e > 0]
    whole = np.poly(-e)
    others = sum(each * np.poly(-np.delete(e, k)) for k, each in enumerate(e))
    found = []
    for ridge in λ[: len(λ) // 2]:
        polynomial = np.polymul([1, -ridge], whole)
        roots = np.roots(np.polysub(polynomial, np.polymul([1 / P, 0], others)))
        found.append(roots[np.argmax(roots.imag * np.sign(ridge.imag))])
    return np.append(found, np.conj(found[::-1]))


class _OverPools(NamedTuple):
    """Means and standard deviations over pools of L_train and L_test at every time, (2, T)."""

    mean: FloatArray
    spread: FloatArray


@cache  # another claim reads the same curves
def flow_on_ellipse(case: _Case) -> _OverPools:
    """The two curves of a case."""
    drawn = np.array([_flow_of_law(each) for each in _laws_of(case)])
    return _OverPools(drawn.mean(axis=0), _spread(drawn))


def _flow_of_law(case: _Case) -> FloatArray:
    """L_train and L_test at every time, (2, T)."""
    features, P = _Features.of(case), case.sequences
    e = features.e
    losses = np.empty((2, len(TIMES)))
    for position, time in enumerate(TIMES):
        z, ω = ellipse(np.max(e) * (1 + np.sqrt(len(e) / P)) ** 2, time, NODES)
        gains = 1 / (e + _roots(e, P, -z)[:, None])
        M = features.map(np.real(ω @ gains) * features.C)
        m = gains * features.C
        residuals = (
            exact_risk(case.train, 0 * M) - (m @ features.C)[:, None] - m @ features.C
        )
        pairs = (e**2 * gains) @ gains.T / P
        E = (residuals + (e * m) @ m.T) / (1 - pairs)
        tested = (features.test * e * gains) @ gains.T / P
        losses[0, position] = exact_risk(case.train, M) + np.real(ω @ (E * pairs) @ ω)
        losses[1, position] = exact_risk(TEST, M) + np.real(ω @ (E * tested) @ ω)
    return losses


def _flows_on_ellipses(context: RunContext) -> list[FloatArray]:
    """The two curves of every case, their number, and one plus their spreads."""
    found: list[FloatArray] = []
    for case in FLOWS:
        means, spreads = flow_on_ellipse(case)
        found += [*means, *(1 + spreads)]
        found.append(np.array([float(len(_laws_of(case)))]))
    return found


def curve_of_case(
    case: _Case, times: FloatArray, test: Task = TEST, nodes: int = 32
) -> TaskLearningCurve:
    """The curve of a case by the theory."""
    return learning_curve_of_tasks(
        case.train,
        test,
        case.sequences,
        times,
        label_row=case.label_weight is not None,
        label_weight=case.label_weight or 1.0,
        tasks=case.tasks,
        pools=POOLS,
        seed=POOL_SEED,
        nodes=nodes,
    )


def _stated_flows(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory, or with a mistake."""
    found = []
    for case in FLOWS:
        sequences = case.sequences * (2 if control == TWICE else 1)
        curve = curve_of_case(
            case._replace(sequences=sequences),
            np.array(TIMES) * (2 if control == TWICE_THE_TIME else 1),
            case.train if control == ON_TRAINING else TEST,
        )
        found += [curve.train_loss, curve.test_loss]
        found += [1 + curve.train_spread, 1 + curve.test_spread]
        found.append(np.array([float(curve.pools)]))
    return found


CLAIMS = (
    Claim(
        id="asymptotics.equivalent_in_matrices",
        title="The equivalent on modes is that of all features at once, for any laws, ridge and label weight",
        paper="lu2025",
        beyond_paper=True,
        equation="finite samples",
        origin="the equivalent of ridge regression, derived here for these features",
        statement=r"L_{test} = L_{test}(\bar M) + \frac{L_{train}}{P} \operatorname{tr} \Sigma_{test} Q \Sigma Q, "
        r"\quad Q = (\Sigma + \xi W)^{-1}, \quad \Sigma = A \otimes \Lambda",
        observable="losses, gap, effective ridge, γ and spreads over pools, in matrices of D² and D(D + 1) rows",
        limit="none",
        measure=_equivalents_in_matrices,
        predict=_stated,
        judge=equal_within(ROUNDING),
        controls=(TWICE, OTHER_WEIGHT, ON_TRAINING),
        tier="fast",
    ),
    Claim(
        id="asymptotics.closed_contour_of_tasks",
        title="Losses along the flow with the tasks at hand are the same on a closed contour around the spectrum",
        paper="lu2025",
        beyond_paper=True,
        equation="finite samples",
        origin="derived here",
        statement=r"\Gamma(t) = -\oint \frac{dz}{2\pi i} \frac{1 - e^{-tz}}{z} \Gamma_{\lambda = -z}",
        observable="losses at three times and spreads over pools, with and without the label row",
        limit="none",
        measure=_flows_on_ellipses,
        predict=_stated_flows,
        judge=equal_within(CONTOUR_BOUND),
        controls=(TWICE, TWICE_THE_TIME, ON_TRAINING),
        tier="fast",
    ),
)
