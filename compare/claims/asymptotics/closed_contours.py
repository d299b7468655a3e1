"""Learning curves as D → ∞ on a closed contour around the spectrum, in the paper's M, and the best time to stop."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import EarlyStopping, early_stopping, errors, learning_curve
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import equal_within

ComplexArray = NDArray[np.complex128]


class Ellipse(NamedTuple):
    """Nodes z and weights ω of Γ(t) = −∮ dz/(2πi) f(z) Γ at λ = −z, f = (1 − e^{−tz})/z."""

    z: ComplexArray
    ω: ComplexArray


def ellipse(largest: float, time: float, nodes: int) -> Ellipse:
    """An ellipse around [0, largest] with these as foci, on which f stays below e³."""
    margin = min(largest / 4, 3 / time)
    half = largest / 2 + margin
    height = np.sqrt(half**2 - (largest / 2) ** 2)
    angle = np.pi + 2 * np.pi * (np.arange(nodes) + 0.5) / nodes
    z = largest / 2 + half * np.cos(angle) - 1j * height * np.sin(angle)
    slope = -half * np.sin(angle) - 1j * height * np.cos(angle)
    # Clockwise, so that λ = −z begins above the axis; dz/(2πi) is slope/(i·nodes), and the sense turns the sign.
    return Ellipse(z, -np.expm1(-time * z) / z * slope / (1j * nodes))


class _Point(NamedTuple):
    """τ, α, κ, ρ and N/D of the prompts with new tasks."""

    tau: float
    alpha: float
    kappa: float
    noise: float
    test_alpha: float

    @property
    def x(self) -> float:
        """(1 + ρ)/α, what finite contexts add to R."""
        return (1 + self.noise) / self.alpha


POINTS = (
    _Point(1.25, 4.0, 0.5, 0.05, 4.0),
    _Point(0.6, 2.0, 1.5, 0.2, 5.0),
    _Point(3.0, 1.0, 0.7, 0.1, 1.0),
)
TIMES = (0.1, 1.0, 5.0)
NODES = 120
BOUND = 1e-8
"""Both quadratures err by less; the roots of quartic equations have ten digits."""

EXCHANGED = "κ and α exchanged"
DESCENT_OF_LOSS = "the flow of L in place of L/2"
OWN_LENGTH = "new tasks with the training contexts' length"


def _resolvents(point: _Point, λ: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """ξ and M at each ridge, followed from the first, which is next to the positive axis."""
    τ, κ, x = point.tau, point.kappa, point.x
    found: list[complex] = []
    before = complex(np.abs(λ[0]) + 1 / τ)
    for ridge in λ:
        # M = q/ξ² from the equation of ξ, in (ν/κ) M² + (ν + 1 − 1/κ) M − 1 = 0.
        q = np.array([1 - τ, τ * ridge])
        quadratic = np.polymul([1 / κ, x / κ], np.polymul(q, q))
        linear = np.polymul([1, x + 1 - 1 / κ], np.polymul(q, [1, 0, 0]))
        polynomial = np.polyadd(np.polyadd(quadratic, linear), [-1, 0, 0, 0, 0])
        roots = np.roots(polynomial)
        before = complex(roots[np.argmin(np.abs(roots - before))])
        found.append(before)
    ξ = np.array(found)
    return ξ, ((1 - τ) * ξ + τ * λ) / ξ**2


class _Pairs(NamedTuple):
    """Traces of pairs of nodes (n, n), and g = 1 − ν(1 − νM) of each, (n,)."""

    S0: ComplexArray
    S1: ComplexArray
    S2: ComplexArray
    S3: ComplexArray
    g: ComplexArray


def _pairs(ν: ComplexArray, M: ComplexArray, κ: float) -> _Pairs:
    """The traces by differences of M, and −M′ on the diagonal."""
    S0 = (M[:, None] - M) / (ν - ν[:, None] + np.eye(NODES))
    np.fill_diagonal(S0, (M**2 / κ + M) / (2 * ν * M / κ + ν + 1 - 1 / κ))
    S1 = M[:, None] - ν * S0
    S2 = 1 - ν[:, None] * S1 - ν * M
    g = 1 - ν * (1 - ν * M)
    return _Pairs(S0, S1, S2, g[:, None] - ν * S2, g)


def _errors_of_pairs(point: _Point, pairs: _Pairs) -> tuple[ComplexArray, ComplexArray]:
    """What pairs of nodes (n, n) add to e_ICL and to e_IDG."""
    S0, S1, S2, S3, g = pairs
    ρ, x = point.noise, point.x
    without_noise = ρ + 1 - g[:, None] - g + S3 + x * S2
    E = without_noise / (1 - (S2 + 2 * x * S1 + x**2 * S0) / point.tau)
    variance = E * (S1 + x * S0) / point.tau
    x_test = (1 + ρ) / point.test_alpha
    return (1 + x_test) * (S2 + variance), E - ρ - 1 + g[:, None] + g


@cache
def _on_ellipse(point: _Point, time: float) -> FloatArray:
    """e_ICL and e_IDG (2,), by the traces as the paper's M gives them."""
    edge = (1 + point.kappa**-0.5) ** 2 + point.x
    z, ω = ellipse(edge * (1 + point.tau**-0.5) ** 2, time, NODES)
    ξ, M = _resolvents(point, -z)
    ν = point.x + ξ
    pairs = _pairs(ν, M, point.kappa)
    new, own = _errors_of_pairs(point, pairs)
    icl = 1 + point.noise - 2 * ω @ (1 - ν * M) + ω @ new @ ω
    idg = 1 + point.noise - 2 * ω @ pairs.g + ω @ own @ ω
    return np.real([icl, idg])


def _curves_on_ellipses(context: RunContext) -> list[FloatArray]:
    """Both errors of every point at every time."""
    found: list[FloatArray] = []
    for point in POINTS:
        curves = np.array([_on_ellipse(point, time) for time in TIMES])
        found += list(curves.T)
    return found


def _stated_curves(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory, or with a mistake."""
    times = np.array(TIMES) * (2 if control == DESCENT_OF_LOSS else 1)
    found: list[FloatArray] = []
    for point in POINTS:
        ratios = point._asdict()
        if control == OWN_LENGTH:
            ratios["test_alpha"] = None
        if control == EXCHANGED:
            ratios |= {"kappa": point.alpha, "alpha": point.kappa}
        curve = learning_curve(times, **ratios)
        found += [curve.icl, curve.idg]
    return found


# -- The best time ------------------------------------------------------------------------------------------------


class _Search(NamedTuple):
    """Where errors on "new tasks" or on "training tasks" are least, and times around it."""

    point: _Point
    on: str
    first: float
    last: float


HARDLY_ANY = _Point(8.0, 4.0, 1e-4, 0.05, 4.0)
"""One task for ten thousand dimensions, which is learnt ten thousand times as fast."""

SEARCHES = (
    _Search(POINTS[0], "new tasks", 0.8, 3.0),
    _Search(POINTS[0], "training tasks", 0.8, 3.0),
    _Search(HARDLY_ANY, "new tasks", 1e-4, 3e-4),
)
FALLING = _Search(_Point(np.inf, 4.0, 0.5, 0.05, 4.0), "training tasks", 0.0, np.inf)
"""With unlimited sequences the error on training tasks is the loss whose flow this is: it falls to the end."""

DEGREE = 14
"""Of the polynomial in log θ through the errors: its last coefficients are rounding."""

TIME_BOUND = 1e-4
"""The error is flat at its least: 1e-9 of it are 1e-5 of the time."""

END = "the end of the flow"
OTHER_TASKS = "the other tasks' best time"
OTHERS = {"new tasks": "training tasks", "training tasks": "new tasks"}


def _least_on_ellipses(search: _Search) -> tuple[float, float]:
    """The best time and its error, by a polynomial through errors on closed contours."""
    first, last = np.log([search.first, search.last])
    node = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    log_time = first + (last - first) * (node + 1) / 2
    curves = np.array([_on_ellipse(search.point, time) for time in np.exp(log_time)])
    curve = curves[:, list(OTHERS).index(search.on)]
    fitted = Chebyshev.fit(log_time, curve, DEGREE, domain=[first, last])
    roots = fitted.deriv().roots()
    inside = np.real(roots[(np.abs(np.imag(roots)) < 1e-6)])
    inside = inside[(inside > first) & (inside < last)]
    best = inside[np.argmin(fitted(inside))]
    return float(np.exp(best)), float(fitted(best))


def _end(search: _Search) -> float:
    """The closed form without ridge."""
    end = errors(**search.point._asdict())
    return float(end.icl if search.on == "new tasks" else end.idg)


def _best_times(context: RunContext) -> list[FloatArray]:
    """One over the best time, its error and that at the end of every search; one plus 0 where the end is best."""
    found: list[FloatArray] = []
    for search in SEARCHES:
        time, least = _least_on_ellipses(search)
        values = (1 / time, least, _end(search))
        found += [np.array([value]) for value in values]
    end = _end(FALLING)
    return found + [np.array([value]) for value in (1.0, end, end)]


@cache
def _stopped(point: _Point, on: str) -> EarlyStopping:
    """The theory, which the controls read too."""
    return early_stopping(**point._asdict(), on=on)


def _stated_best_times(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the theory, or what is wrong."""
    found: list[FloatArray] = []
    for search in (*SEARCHES, FALLING):
        is_other = control == OTHER_TASKS and search.point == POINTS[0]
        stop = _stopped(search.point, OTHERS[search.on] if is_other else search.on)
        error = stop.end if control == END else stop.error
        rate = 1 / stop.theta + (search == FALLING)
        found += [np.array([value]) for value in (rate, error, stop.end)]
    return found


CLAIMS = (
    Claim(
        id="asymptotics.closed_contour",
        title="Errors along gradient flow as D → ∞ are the same on a closed contour around the spectrum",
        paper="lu2025",
        beyond_paper=True,
        equation="ridge errors, continued to gradient flow",
        origin="derived here",
        statement=r"\Gamma(\theta) = -\oint \frac{dz}{2\pi i} \frac{1 - e^{-\theta z}}{z} \Gamma_{\lambda = -z}",
        observable="both errors at three times and three points, in the paper's M, with new tasks of another length",
        limit="D → ∞; none besides: equal to the quadrature",
        hypotheses=("x and tasks white",),
        measure=_curves_on_ellipses,
        predict=_stated_curves,
        judge=equal_within(BOUND),
        controls=(EXCHANGED, DESCENT_OF_LOSS, OWN_LENGTH),
        tier="fast",
    ),
    Claim(
        id="asymptotics.best_time",
        title="The time of the least error and that error are those of the curve, on new and on training tasks",
        paper="lu2025",
        beyond_paper=True,
        equation="ridge errors, continued to gradient flow",
        origin="derived here",
        statement=r"e(\theta^*) = \min_\theta e(\theta)",
        observable="least errors on closed contours and the closed form, also of one that falls to the end",
        limit="D → ∞; none besides",
        hypotheses=("x and tasks white",),
        measure=_best_times,
        predict=_stated_best_times,
        judge=equal_within(TIME_BOUND),
        controls=(END, OTHER_TASKS),
        tier="fast",
    ),
)
