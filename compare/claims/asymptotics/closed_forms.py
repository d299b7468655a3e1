"""The errors as D → ∞: the authors' values, the digits of the gap, its limits, and the least error of any predictor."""

from collections.abc import Callable

import mpmath
import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....theory.asymptotics import bayes_error, errors
from ....theory.predictors import ridge_loss
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from .textbook_form import (
    MISTAKES,
    published_values,
    textbook_errors,
    textbook_ridge,
)

RIDGELESS_BOUND = 1e-12
"""Rounding of the authors' formulas, which lose some digits."""

RIDGE_BOUND = 2e-6
"""With a ridge the root of the authors' code has six digits."""

DIGITS = 60
"""Digits of the textbook form in which a difference of 1e-30 of its terms keeps more than a double has."""

NAMES = ("tau", "alpha", "kappa", "noise_variance", "ridge")


def _published(with_ridge: bool) -> Callable[[RunContext], list[FloatArray]]:
    """e_ICL of every published row, and e_IDG where it was published."""

    def measure(context: RunContext) -> list[FloatArray]:
        rows = published_values()
        rows = rows[(rows["ridge"] > 0) == with_ridge]
        values = [rows["icl"]] if with_ridge else [rows["icl"], rows["idg"]]
        # Every value is a case of its own, so that each is met to its own digits.
        return list(np.concatenate(values)[:, None])

    return measure


def _stated(with_ridge: bool) -> Callable[[RunContext, str], list[FloatArray]]:
    """The same by the theory, or with a mistake."""

    def predict(context: RunContext, control: str) -> list[FloatArray]:
        rows = published_values()
        rows = rows[(rows["ridge"] > 0) == with_ridge]
        tau, alpha, kappa, noise, ridge = (rows[name] for name in NAMES)
        if control == UNMODIFIED:
            known = errors(tau=tau, alpha=alpha, kappa=kappa, noise=noise, ridge=ridge)
            icl, idg = known.icl, known.idg
        else:
            table = zip(tau, alpha, kappa, noise, ridge, strict=True)
            wrong = [textbook_errors(row, control) for row in table]
            icl = np.array([float(one.icl) for one in wrong])
            idg = np.array([float(one.idg) for one in wrong])
        values = [icl] if with_ridge else [icl, idg]
        return list(np.concatenate(values)[:, None])

    return predict


# -- The gap ------------------------------------------------------------------------------------------------------

GAP_POINTS: tuple[tuple[float, ...], ...] = (
    (np.inf, 1e8, 2.0, 0.01, 0.0),
    (np.inf, 1e6, 1.0, 0.01, 0.0),
    (np.inf, 1e8, 0.5, 0.01, 0.0),
    (1e6, 1e5, 3.0, 1e-4, 0.0),
    (20.0, 1e3, 50.0, 0.1, 0.0),
    (0.5, 100.0, 40.0, 0.1, 0.0),
    (3.0, 1e4, 2.0, 1e-3, 1e-5),
    (0.2, 5.0, 8.0, 0.1, 0.05),
    (0.5, 1e4, 0.5, 0.1, 1e-5),
    (1.0, 4.0, 2.0, 0.1, 1e-6),
    (3.0, 4.0, np.inf, 0.1, 0.05, 2.0),
    (0.7, 5.0, 2.0, 0.2, 0.0, np.inf),
    (2.0, 4.0, 0.5, 0.1, 0.01, 7.0),
    (3.0, np.inf, 1.5, 0.1, 0.0, 5.0),
    (1.000001, 4.0, 2.0, 0.1, 1e-12),
    (0.5, 1e12, 0.5, 0.1, 1e-12),
    (0.02, 1.0, 5.0, 0.5, 0.1),
)
"""τ, α, κ, ρ, λ where the two errors agree to many digits, others next to thresholds, and some with another test α."""

LONGEST_CONTEXT = 1e30
"""What stands for α = ∞ in the paper's formulas, to all digits of a double."""

INFINITE_CONTEXTS = (
    (np.inf, np.inf, 2.0, 0.0, 0.0),
    (np.inf, np.inf, 1.0, 0.0, 0.0),
    (3.0, np.inf, 0.5, 0.0, 0.0),
    (3.0, np.inf, 2.0, 0.1, 0.0),
)
"""Where both errors, the gap, the error on training tasks or none of them is 0."""

VANISHED = 1e-12
"""Errors at the longest context fall at least as its root, 1e-15."""

DIFFERENCE = "the difference of the two errors in doubles"
UNLIMITED = "the gap of unlimited sequences"

GAP_BOUND = 1e-13
"""A few roundings of doubles, several orders below what the difference leaves."""


def _gaps_in_many_digits(context: RunContext) -> list[FloatArray]:
    """e_ICL − e_IDG of every point, by the paper's formulas; in infinite contexts both errors too, and which are 0."""
    gaps: list[FloatArray] = []
    with mpmath.workdps(DIGITS):
        for tau, alpha, *others in GAP_POINTS:
            finite = min(alpha, LONGEST_CONTEXT)
            known = textbook_errors((tau, finite, *others))
            gaps.append(np.array([float(known.icl - known.idg)]))
        for tau, _, *others in INFINITE_CONTEXTS:
            known = textbook_errors((tau, LONGEST_CONTEXT, *others))
            values = (known.icl, known.idg, known.icl - known.idg)
            gaps += _values_and_zeros(*map(float, values))
    return gaps


def _values_and_zeros(*values: float) -> list[FloatArray]:
    """One plus numbers, and for each 2 where it is not 0 and 1 where it is."""
    array = np.where(np.abs(values) < VANISHED, 0.0, values)
    return [1 + array, 1.0 + (array != 0)]


def _stated_gaps(context: RunContext, control: str) -> list[FloatArray]:
    """The same in doubles."""
    gaps = []
    for tau, alpha, kappa, noise, ridge, *test_alpha in GAP_POINTS:
        known = errors(
            tau=np.inf if control == UNLIMITED else tau,
            alpha=alpha,
            kappa=kappa,
            noise=noise,
            ridge=ridge,
            test_alpha=test_alpha[0] if test_alpha else None,
        )
        gap = known.icl - known.idg if control == DIFFERENCE else known.gap
        gaps.append(np.array([gap]))
    for tau, alpha, kappa, noise, ridge in INFINITE_CONTEXTS:
        known = errors(tau=tau, alpha=alpha, kappa=kappa, noise=noise, ridge=ridge)
        values = np.array([known.icl, known.idg, known.gap])
        gaps += [1 + values, 1.0 + (values != 0)]
    return gaps


# -- Its limits in long contexts ----------------------------------------------------------------------------------

NOISE = 0.01
X = 2.0 ** -np.arange(10, 21, 2)
"""x = (1 + ρ)/α: short enough to be in the limit, long enough that sqrt(x) is 1e-3."""

FEW, CRITICAL, MANY = 0.5, 1.0, 2.0
"""κ below, at and above the transition."""


def _scaled_gap(kappa: float, power: float) -> Callable[[RunContext], list[FloatArray]]:
    """g/x^power of unlimited sequences at every x, by the paper's formulas in many digits."""

    def measure(context: RunContext) -> list[FloatArray]:
        scaled = []
        with mpmath.workdps(DIGITS):
            for x in X:
                known = textbook_errors((np.inf, (1 + NOISE) / x, kappa, NOISE, 0.0))
                gap = (known.icl - known.idg) / mpmath.mpf(x) ** power
                scaled.append(np.array([float(gap)]))
        return scaled

    return measure


def _limit(
    value: float, wrong: dict[str, float]
) -> Callable[[RunContext, str], list[FloatArray]]:
    """The limit at every x, or a wrong one."""

    def predict(context: RunContext, control: str) -> list[FloatArray]:
        limit = wrong[control] if control else value
        return [np.array([limit]) for _ in X]

    return predict


def _transition(
    name: str, kappa: float, power: float, order: float, limit: float, **texts: object
) -> Claim:
    """The claim on one side of the transition."""
    wrong = texts["wrong"]
    assert isinstance(wrong, dict)
    return Claim(
        id=f"asymptotics.{name}",
        title=str(texts["title"]),
        paper="lu2025",
        equation="task diversity",
        statement=str(texts["statement"]),
        observable="the gap by the paper's formulas, in 60 digits",
        limit="x = (1 + ρ)/α → 0 at τ = ∞",
        measure=_scaled_gap(kappa, power),
        predict=_limit(limit, wrong),
        judge=converges_at_order(X.tolist(), order, name="x"),
        controls=tuple(wrong),
        tier="fast",
    )


_MANY_LIMIT = (MANY / (MANY - 1)) ** 3 - MANY / (MANY - 1)

# -- A small ridge ------------------------------------------------------------------------------------------------

RIDGES = 2.0 ** -np.arange(6, 17, 2)
"""λ from where the effective ridge bends by a few per cent."""

RIDGE_CASES = ((1.5, 4.0, 2.0, 0.1), (4.0, 2.0, 0.5, 0.1), (2.0, 10.0, 1.0, 0.01))
"""τ > 1, α, κ and ρ: with many tasks, few, and as many as dimensions."""

UNCHANGED = "ξ = λ"
ONE_LESS = "1/(τ − 1) for τ/(τ − 1)"


def _effective_over_ridge(context: RunContext) -> list[FloatArray]:
    """ξ/λ of every case at every λ, by the paper's equation in many digits."""
    with mpmath.workdps(DIGITS):
        return [
            np.array([float(textbook_ridge((*case, λ)) / λ) for case in RIDGE_CASES])
            for λ in RIDGES
        ]


def _slope_of_ridge(context: RunContext, control: str) -> list[FloatArray]:
    """Its limit τ/(τ − 1), or a wrong one."""
    τ = np.array([case[0] for case in RIDGE_CASES])
    slopes = {UNMODIFIED: τ / (τ - 1), UNCHANGED: np.ones_like(τ)}
    slopes[ONE_LESS] = 1 / (τ - 1)
    return [slopes[control] for _ in RIDGES]


# -- The least error of any predictor -----------------------------------------------------------------------------

BAYES_CASES = ((2.0, 0.1), (0.5, 0.3))
"""α = N/D and ρ."""

BAYES_DIMENSIONS = (8, 16, 32, 64)
INVERSE_ALPHA = "1/α for α in M"
UNSCALED = "z = ρ for ρ/α"


def _ridge_regression(context: RunContext) -> list[FloatArray]:
    """The exact error of ridge regression in the context, of every case in every dimension."""
    losses = []
    for D in BAYES_DIMENSIONS:
        of_cases = []
        for alpha, noise in BAYES_CASES:
            N = round(alpha * D)
            task = Task([1 / D] * D, context_length=N, noise_variance=noise)
            of_cases.append(ridge_loss(task).loss)
        losses.append(np.array(of_cases))
    return losses


def _bayes(context: RunContext, control: str) -> list[FloatArray]:
    """The limit of every case, or a wrong one."""
    of_cases = []
    for alpha, noise in BAYES_CASES:
        limit = float(bayes_error(alpha=alpha, noise=noise))
        if control == INVERSE_ALPHA:
            # bayes_error(1/α) with the noise that leaves z as it was.
            z = noise / alpha
            limit = (
                noise + float(bayes_error(alpha=1 / alpha, noise=z / alpha)) - z / alpha
            )
        if control == UNSCALED:
            limit = (
                noise
                + float(bayes_error(alpha=alpha, noise=noise * alpha))
                - noise * alpha
            )
        of_cases.append(limit)
    return [np.array(of_cases) for _ in BAYES_DIMENSIONS]


CLAIMS = (
    Claim(
        id="asymptotics.published_values",
        title="Errors on new and on training tasks without ridge are the published ones, on both sides of τ = 1",
        paper="lu2025",
        equation="errors as D → ∞",
        statement=r"e_{IDG} = \frac{\rho + \nu - \nu^2 M - \xi T_2}{1 - \gamma},\quad "
        r"e_{ICL} = 1 + \rho - 2T_1 + (1 + x)\left(T_2 + e_{IDG} V/\tau\right)",
        observable="values of the authors' own code at 60 random parameters",
        limit="none",
        measure=_published(with_ridge=False),
        predict=_stated(with_ridge=False),
        judge=equal_within(RIDGELESS_BOUND),
        controls=MISTAKES,
        tier="fast",
    ),
    Claim(
        id="asymptotics.published_ridge_values",
        title="Errors on new tasks with a ridge are the published ones",
        paper="lu2025",
        equation="errors as D → ∞",
        statement=r"\xi = \lambda + \frac{\xi}{\tau}\left(1 - \xi M(x + \xi)\right)",
        observable="values of the authors' own code at 20 random parameters",
        limit="none",
        measure=_published(with_ridge=True),
        predict=_stated(with_ridge=True),
        judge=equal_within(RIDGE_BOUND),
        controls=MISTAKES,
        tier="fast",
    ),
    Claim(
        id="asymptotics.small_ridge",
        title="With more sequences than features a small ridge becomes τ/(τ − 1) times as large, and then vanishes",
        paper="lu2025",
        equation="errors as D → ∞",
        statement=r"\xi \to \frac{\tau}{\tau - 1} \lambda,\quad \tau > 1",
        observable="ξ/λ by the paper's equation, in 60 digits",
        limit="λ → 0",
        measure=_effective_over_ridge,
        predict=_slope_of_ridge,
        judge=converges_at_order(RIDGES.tolist(), 1, name="λ"),
        controls=(UNCHANGED, ONE_LESS),
        tier="fast",
    ),
    Claim(
        id="asymptotics.gap",
        title="The gap between new and training tasks keeps its digits where the two errors agree",
        paper="lu2025",
        beyond_paper=True,
        equation="task diversity",
        origin="the form without cancellation is derived here",
        statement=r"g = \frac{1 - s}{\nu M + T_1 s}\left\lbrace (\nu M)^2 (1 + s) + \frac{e_{IDG}}{\tau} M "
        r"(T_1 s + x M - s \xi M)\right\rbrace",
        observable="the difference of the paper's formulas in 60 digits",
        limit="none",
        measure=_gaps_in_many_digits,
        predict=_stated_gaps,
        judge=equal_within(GAP_BOUND),
        controls=(DIFFERENCE, UNLIMITED),
        tier="fast",
    ),
    _transition(
        "few_tasks", FEW, 0, 2, 1 - FEW,
        title="With fewer tasks than dimensions the gap stays, however long the context",
        statement=r"g \to 1 - \kappa,\quad \kappa < 1",
        wrong={"(1 − κ)²": (1 - FEW) ** 2, "0, as for many tasks": 0.0},
    ),
    _transition(
        "as_many_tasks", CRITICAL, 0.5, 1, 0.5,
        title="With as many tasks as dimensions the gap closes as half the root of x",
        statement=r"g \sim \tfrac12 \sqrt{x},\quad \kappa = 1",
        wrong={"√x": 1.0, "√x / 4": 0.25},
    ),
    _transition(
        "many_tasks", MANY, 2, 1, _MANY_LIMIT,
        title="With more tasks than dimensions the gap closes as the square of x",
        statement=r"g \sim x^2 \left[\frac{\kappa^3}{(\kappa-1)^3} - \frac{\kappa}{\kappa-1}\right],\quad \kappa > 1",
        wrong={
            "κ³/(κ−1)³ alone": (MANY / (MANY - 1)) ** 3,
            "κ²/(κ−1)² for κ³/(κ−1)³": (MANY / (MANY - 1)) ** 2 - MANY / (MANY - 1),
        },
    ),
    Claim(
        id="asymptotics.bayes",
        title="No predictor is better on new tasks than ρ + zM(z) at z = ρ/α",
        paper="lu2025",
        beyond_paper=True,
        equation="errors as D → ∞",
        origin="the floor is derived here, from the paper's M with κ replaced by α",
        statement=r"e_{Bayes} = \rho + z M(z),\quad z = \rho/\alpha,\ \kappa \to \alpha",
        observable="exact error of ridge regression in the context, integrated over the Wishart law",
        limit="D → ∞ at fixed α",
        hypotheses=("white Gaussian inputs and tasks",),
        measure=_ridge_regression,
        predict=_bayes,
        judge=converges_at_order([1 / D for D in BAYES_DIMENSIONS], 1, name="1/D"),
        controls=(INVERSE_ALPHA, UNSCALED),
        tier="fast",
    ),
)  # fmt: skip
