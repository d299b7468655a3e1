"""The error of the ridge read-out on P sequences at finite size: its deterministic equivalent with the tasks at hand.

Features h x_qᵀ have the covariance A ⊗ Λ, with eigenvalues e_ij = a_i l_j on u_i ⊗ v_j. Finite data make of the ridge
the root ξ of

    ξ = ridge + (ξ/P) Σ e/(e + ξ),

the mean map M̄ = U [UᵀBV/(e + ξ)] Vᵀ, and its errors on the training law and on any other one

    L_train = L(M̄)/(1 − γ),   γ = (1/P) Σ e²/(e + ξ)²,
    L_test = L_test(M̄) + (L_train/P) Σ (UᵀA_test U)_ii (VᵀΛ_test V)_jj e_ij/(e_ij + ξ)².

They hold for features like normal ones with independent residuals, up to O(1/D). To first order in γ their heavy tails
multiply the second terms, of variance, by the ratio ρ_s of the sandwich.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import (
    nonnegative_number,
    positive_number,
    refuse_wrong_order,
    true_or_false,
    whole_number,
)
from ...runtime.covariances import eigenvalue_rounding, is_diagonal
from ...runtime.display import Displayed, Summary
from ...runtime.machine import one_thread
from ...task import Task
from ...teachers import Pool
from .losses_of_readouts import ReadoutMoments, readout_moments
from .sandwiches import best_map, weighted_residual

_LARGEST, _SMALLEST = 1e100, 1e-100
"""Bounds of the largest eigenvalue: squares of the others, down to 1e-31 of it, and of their inverses are numbers."""

_RESOLVED = 1e-4
"""Share of e + ξ that an eigensolver's bound on the error of e may be: errors themselves are hundreds of times less."""

_UNRESOLVED = (
    "features of this task vary so differently that doubles do not resolve the least of them: pass a ridge, a shorter "
    "context, more tasks, or a label_weight nearer to 1"
)

_NORMAL_ARGUMENTS = ("teacher_covariance", "fixed_teacher", "in_context_fraction")
"""Arguments of a task that describe its law of teachers, besides `teachers`."""


@dataclass(frozen=True, eq=False, repr=False)
class Equivalent(Displayed):
    """Expected losses of the ridge read-out of P sequences, in units of y², and what they are made of.

    `train_loss` is that on fresh prompts of the training law (in distribution), `test_loss` that on the test law, `gap`
    = test_loss − train_loss; `xi` is the effective ridge and `gamma` the share γ of the loss that is variance. Over
    several drawn pools of tasks all are means, and `…_spread` standard deviations over the pools: those of data sets
    are larger by the scatter of the sequences. `map` is the mean map M̄ (E, D), None for several pools, `sequences` P,
    and `label_row` whether the read-out has the row that meets Σ y²/N.
    """

    train_loss: float
    test_loss: float
    gap: float
    xi: float
    gamma: float
    sequences: float
    train_spread: float
    test_spread: float
    gap_spread: float
    pools: int
    map: FloatArray | None
    label_row: bool

    def to_dict(self) -> dict[str, Any]:
        """All numbers, and the map as lists."""
        names = ("train_loss", "test_loss", "gap", "xi", "gamma", "sequences")
        spreads = ("train_spread", "test_spread", "gap_spread", "pools", "label_row")
        numbers = {name: getattr(self, name) for name in (*names, *spreads)}
        return numbers | {"map": None if self.map is None else self.map.tolist()}

    def summary(self) -> Summary:
        """The losses on one screen."""
        rows: dict[str, object] = {"sequences": f"{self.sequences:g}"}
        for name in ("train", "test", "gap"):
            value = self.gap if name == "gap" else getattr(self, f"{name}_loss")
            spread = getattr(self, f"{name}_spread")
            is_mean = self.pools > 1
            rows[name] = f"{value:.6g} ± {spread:.2g}" if is_mean else f"{value:.6g}"
        rows["effective ridge"] = f"{self.xi:.6g}"
        rows["share of variance"] = f"{self.gamma:.6g}"
        rows["pools of tasks"] = self.pools
        rows["label row"] = "fitted" if self.label_row else "none, unlike the paper's"
        formulas = {"train": r"L(\bar M)/(1 - \gamma)"}
        return Summary("Deterministic equivalent of the ridge read-out", rows, formulas)


class Fit(NamedTuple):
    """What is fitted: P sequences, the ridge, the label row and its weight in the penalty, and whether to repair."""

    P: float
    ridge: float
    label_row: bool
    label_weight: float
    repaired: bool


def deterministic_equivalent(
    train_task: Task,
    test_task: Task,
    sequences: float,
    *,
    ridge: float = 0.0,
    label_row: bool = False,
    label_weight: float = 1.0,
    repaired: bool = False,
    tasks: int | None = None,
    pools: int = 100,
    seed: int = 0,
) -> Equivalent:
    """Losses on the training law and on a test law of the ridge read-out of P = `sequences` prompts of the former.

    The read-out minimises the mean of (y_q − ŷ)² plus ridge (‖M‖² + label_weight |m|²), at ridge 0 with the least norm;
    `label_row` adds the row m that meets Σ y²/N. The paper's read-out has it, with the ridge λ/D³ and label_weight D²:
    `readout(gamma=…, ridge=λ).fit_options` are all three, and without the row losses are others at every finite D.
    The training tasks are those of a `Pool`, or a fresh one for each sequence where the law is another. With
    `tasks` k the losses are averaged over `pools` pools of k tasks that the seeds from `seed` on draw from that law.
    `repaired` multiplies the variance by what heavy tails make of it to first order in γ without ridge; it needs
    invertible moments, and is too much where a ridge suppresses features.
    The two tasks may differ in everything but D. ValueError for less than one sequence, for fewer sequences than tasks,
    for as many sequences as features without ridge (the pole), and as `readout_moments` and `sandwich`.
    Source: Lu et al. 2025 (arXiv 2405.11751) for white inputs as D → ∞; any Λ, laws and size derived here.

    >>> from attndyn.teachers import Sphere
    >>> def task(law):
    ...     return Task([1 / 16] * 16, teachers=law, context_length=32, noise_variance=0.1)
    >>> sphere = Sphere(16)
    >>> few = deterministic_equivalent(task(sphere.pool(8)), task(sphere), 4 * 256)
    >>> round(few.train_loss, 4), round(few.test_loss, 4)
    (0.4149, 1.0002)
    """
    in_order = isinstance(train_task, Task) and isinstance(test_task, Task)
    call = "deterministic_equivalent(train_task, test_task, sequences)"
    refuse_wrong_order(call, in_order, train_task, test_task, sequences)
    refuse_other_dimension(train_task, test_task)
    fit = checked_fit(sequences, ridge, label_row, label_weight, repaired)
    test = readout_moments(test_task, label_row=fit.label_row)
    laws = training_laws(train_task, tasks, pools, seed)
    with one_thread():
        return _mean_equivalent([_equivalent(law, test, fit) for law in laws])


def training_laws(
    task: Task, tasks: int | None, pools: int, seed: int
) -> Iterator[Task]:
    """The training task itself, or with `tasks` k it on each of the pools of k tasks that the seeds from `seed` draw.

    ValueError for numbers that are not whole or too small.

    >>> [len(law.teachers.members) for law in training_laws(Task([1, 1], context_length=5), 3, 2, 0)]
    [3, 3]
    """
    if tasks is None:
        yield task
        return
    k, count = whole_number(tasks, "tasks"), whole_number(pools, "pools")
    first = whole_number(seed, "seed", least=0)
    for each in range(first, first + count):
        yield with_teachers(task, Pool.from_recipe(task.teachers, k, each))


def with_teachers(task: Task, teachers: Pool) -> Task:
    """The task with these teachers in place of its own.

    >>> with_teachers(Task([2, 1], context_length=5), Pool([[1, 0]])).teachers
    Pool(teachers=[[1.0, 0.0]])
    """
    arguments = task.arguments()
    kept = {k: value for k, value in arguments.items() if k not in _NORMAL_ARGUMENTS}
    return Task(**(kept | {"teachers": teachers}))


def checked_fit(
    sequences: float,
    ridge: float,
    label_row: bool,
    label_weight: float,
    repaired: bool,
) -> Fit:
    """The settings; ValueError for one that is none."""
    P = positive_number(sequences, "sequences")
    if P < 1:
        raise ValueError(f"sequences must be at least 1, not {sequences!r}")
    has_row = true_or_false(label_row, "label_row")
    weight = positive_number(label_weight, "label_weight")
    if weight != 1 and not has_row:
        raise ValueError(
            f"label_weight {label_weight!r} weighs the label row: pass label_row=True, or leave it out"
        )
    repairs = true_or_false(repaired, "repaired")
    if repairs and has_row:
        raise ValueError(
            "the repair for heavy tails is known without the label row: pass repaired=False, or label_row=False"
        )
    return Fit(P, nonnegative_number(ridge, "ridge"), has_row, weight, repairs)


def refuse_other_dimension(train_task: Task, test_task: Task) -> None:
    """ValueError unless both tasks have one D."""
    if train_task.dimension != test_task.dimension:
        raise ValueError(
            f"both tasks must have one dimension: the training task has D = {train_task.dimension}, the test task "
            f"D = {test_task.dimension}"
        )


def refuse_few_sequences(task: Task, P: float) -> None:
    """ValueError for fewer sequences than tasks of a pool."""
    pool = task.teachers
    if isinstance(pool, Pool) and len(pool.members) > P:
        raise ValueError(
            f"{len(pool.members)} tasks need at least as many sequences, and there are {P:g}: pass more sequences, or "
            "fewer tasks"
        )


class Modes(NamedTuple):
    """Eigenvalues e (E, D) of the features' covariance, their error, and its eigenvectors U (E, E) and V (D, D)."""

    e: FloatArray
    error: FloatArray
    """Bound on what rounding makes of e, (E, D)."""
    U: FloatArray
    V: FloatArray
    varies: BoolArray
    """Where features vary: elsewhere e is 0, as x or h does not vary there."""


class _MeanFit(NamedTuple):
    """The mean map M̄ (E, D) of the fits, ξ, γ, 1 − γ, and 1/(e + ξ) (E, D) on the modes."""

    M: FloatArray
    ξ: float
    γ: float
    remaining: float
    gains: FloatArray
    modes: Modes


def _equivalent(task: Task, test: ReadoutMoments, fit: Fit) -> Equivalent:
    """That of one training law."""
    refuse_few_sequences(task, fit.P)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused
        return _finite_equivalent(task, test, fit)


def _finite_equivalent(task: Task, test: ReadoutMoments, fit: Fit) -> Equivalent:
    """The same; ValueError where the losses overflow."""
    moments = readout_moments(task, label_row=fit.label_row)
    unit = row_units(fit, len(moments.A))
    train, test = in_units(moments, unit), in_units(test, unit)

    mean = _mean_fit(train, fit)
    bias = float(train.loss(mean.M))
    tails = _heavy_tails(task, train, test) if fit.repaired else _Tails(1.0, 1.0)
    train_variance = bias * mean.γ / mean.remaining
    train_loss = bias + tails.train * train_variance
    test_variance = bias / mean.remaining * _test_weight(mean, test, fit.P)
    test_loss = float(test.loss(mean.M)) + tails.test * test_variance
    if not np.isfinite(train_loss) or not np.isfinite(test_loss):
        raise ValueError(
            "the losses are too large for doubles: rescale Λ, for instance by trace=1, or the teachers"
        )
    return Equivalent(
        train_loss=train_loss,
        test_loss=test_loss,
        gap=test_loss - train_loss,
        xi=mean.ξ,
        gamma=mean.γ,
        sequences=fit.P,
        train_spread=0.0,
        test_spread=0.0,
        gap_spread=0.0,
        pools=1,
        map=unit[:, None] * mean.M,
        label_row=fit.label_row,
    )


def _mean_fit(train: ReadoutMoments, fit: Fit) -> _MeanFit:
    """M̄ = U [UᵀBV/(e + ξ)] Vᵀ and what the losses need besides."""
    modes = modes_of(train)
    ξ = _effective_ridge(modes.e[modes.varies], fit)
    refuse_unresolved(modes, ξ)
    gains = np.zeros_like(modes.e)
    gains[modes.varies] = 1 / (modes.e[modes.varies] + ξ)
    M = modes.U @ (modes.U.T @ train.B @ modes.V * gains) @ modes.V.T
    γ = float(np.sum((modes.e * gains) ** 2)) / fit.P
    # 1 − γ in forms that lose no digits: without ξ all p features count in full, and else its equation holds.
    remaining = (fit.P - int(np.sum(modes.varies))) / fit.P
    if ξ > 0:
        remaining = fit.ridge / ξ + ξ / fit.P * float(np.sum(modes.e * gains**2))
        _refuse_undetermined(
            ξ / fit.P * float(np.sum(modes.error * gains**2)) / remaining
        )
    return _MeanFit(M, ξ, γ, remaining, gains, modes)


def _test_weight(mean: _MeanFit, test: ReadoutMoments, P: float) -> float:
    """(1/P) Σ (UᵀA_test U)_ii (VᵀΛ_test V)_jj e_ij/(e_ij + ξ)²."""
    weights = weights_on(mean.modes, test)
    return float(np.sum(weights * mean.modes.e * mean.gains**2)) / P


def weights_on(modes: Modes, test: ReadoutMoments) -> FloatArray:
    """(UᵀA_test U)_ii (VᵀΛ_test V)_jj (E, D): how much the test law has of each mode of the training law."""
    a = np.diag(modes.U.T @ test.A @ modes.U)
    l = np.diag(modes.V.T @ test.Lambda @ modes.V)
    return np.outer(a, l)


def row_units(fit: Fit, rows: int) -> FloatArray:
    """The units (E,) of h in which the penalty weighs all rows alike: those of the features (β, s/√weight)."""
    unit = np.ones(rows)
    if fit.label_row:
        unit[-1] = 1 / np.sqrt(fit.label_weight)
    return unit


def in_units(moments: ReadoutMoments, unit: FloatArray) -> ReadoutMoments:
    """The moments of unit · h (E,)."""
    return ReadoutMoments(
        c=moments.c,
        B=unit[:, None] * moments.B,
        A=unit[:, None] * moments.A * unit,
        Lambda=moments.Lambda,
    )


def modes_of(moments: ReadoutMoments) -> Modes:
    """The modes of A ⊗ Λ; ValueError where they are no numbers of the range of doubles."""
    a, U = np.linalg.eigh(moments.A)
    l, V = np.linalg.eigh(moments.Lambda)
    x_varies = l > _rounding(moments.Lambda, l)
    # h varies along β where x does, and along s, however little. Eigenvalues increase.
    count = int(np.sum(x_varies)) + len(a) - len(l)
    h_varies = np.arange(len(a)) >= len(a) - count
    if not np.any(moments.A):
        h_varies = np.zeros(len(a), dtype=bool)
    varies = np.outer(h_varies, x_varies)
    a = np.maximum(a, 0.0)
    error = _rounding(moments.A, a) * l + np.outer(
        a, np.full(len(l), _rounding(moments.Lambda, l))
    )
    e = np.where(varies, np.outer(a, l), 0.0)
    if np.any(varies) and not _SMALLEST < np.max(e) < _LARGEST:
        raise ValueError(
            "the moments of this task are too large or too small for doubles: rescale Λ, for instance by trace=1, or "
            "the teachers"
        )
    return Modes(e, error, U, V, varies)


def _rounding(matrix: FloatArray, values: FloatArray) -> float:
    """What an eigensolver may make of an eigenvalue 0: nothing of a diagonal matrix."""
    return 0.0 if is_diagonal(matrix) else eigenvalue_rounding(values)


def refuse_unresolved(modes: Modes, ξ: float) -> None:
    """ValueError where rounding decides eigenvalues that count beside ξ."""
    unresolved = modes.varies & (modes.error > _RESOLVED * (modes.e + ξ))
    if np.any(unresolved):
        raise ValueError(_UNRESOLVED)


def _refuse_undetermined(change: float) -> None:
    """ValueError where rounding of the eigenvalues decides ξ, by its relative change (ξ/P) Σ δe/(e + ξ)²/(1 − γ).

    It does at as many sequences as features that vary more than rounding does: next to such a pole ξ is made of the
    others, beside which each of them may be resolved.
    """
    if not change <= _RESOLVED:
        raise ValueError(_UNRESOLVED)


def _effective_ridge(e: FloatArray, fit: Fit) -> float:
    """The largest root ξ of ξ = ridge + (ξ/P) Σ e/(e + ξ) for the eigenvalues e (p,) of all features that vary."""
    from scipy.optimize import brentq

    P, λ, p = fit.P, fit.ridge, len(e)
    if λ == 0 and p == P:
        raise ValueError(
            f"the loss has a pole at as many sequences as features, {p}, without ridge: pass a ridge above 0, or "
            "another number of sequences"
        )
    if λ == 0 and p < P:
        return 0.0

    def excess(log_ξ: float) -> float:
        ξ = np.exp(log_ξ)
        # P − Σ e/(e + ξ) in the form that keeps its digits at a small ξ.
        remaining = P - p + np.sum(ξ / (e + ξ))
        return float(remaining / P - λ / ξ)

    # e/(e + ξ) is at most e/ξ, and at least that of the smallest e.
    high = λ + np.sum(e) / P
    low = max(λ, np.min(e) * (p - P) / P) if p > P else λ
    # Twice as far as these bounds, for their rounding.
    ends = np.log([low, high]) + np.log([0.5, 2])
    with np.errstate(over="ignore"):  # at most twice the largest ridge
        root = brentq(excess, *ends, xtol=1e-15, rtol=1e-15)
    return float(np.exp(root))


class _Tails(NamedTuple):
    """What heavy tails multiply the variance of the loss by, on the training law and on the test law."""

    train: float
    test: float


def _heavy_tails(task: Task, train: ReadoutMoments, test: ReadoutMoments) -> _Tails:
    """E[r² Fᵀ S⁻¹ S_test S⁻¹ F]/(L* tr S⁻¹ S_test) of the best map, for each of the two laws."""
    best = best_map(train)
    ratios = []
    for law in (train, test):
        P = best.inverse_A @ law.A @ best.inverse_A
        Q = best.inverse_Λ @ law.Lambda @ best.inverse_Λ
        dependent = weighted_residual(task, best.M, P, Q)
        features = np.sum(best.inverse_A * law.A) * np.sum(best.inverse_Λ * law.Lambda)
        ratios.append(dependent / (best.loss * float(features)))
    return _Tails(*ratios)


def _mean_equivalent(drawn: list[Equivalent]) -> Equivalent:
    """Means and standard deviations over several pools; the one itself if there is no other."""
    if len(drawn) == 1:
        return drawn[0]
    train = _over_pools([one.train_loss for one in drawn])
    test = _over_pools([one.test_loss for one in drawn])
    gap = _over_pools([one.gap for one in drawn])
    return Equivalent(
        train_loss=train.mean,
        test_loss=test.mean,
        gap=gap.mean,
        xi=_over_pools([one.xi for one in drawn]).mean,
        gamma=_over_pools([one.gamma for one in drawn]).mean,
        sequences=drawn[0].sequences,
        train_spread=train.spread,
        test_spread=test.spread,
        gap_spread=gap.spread,
        pools=len(drawn),
        map=None,
        label_row=drawn[0].label_row,
    )


class _OverPools(NamedTuple):
    """Mean and standard deviation over pools."""

    mean: float
    spread: float


def _over_pools(values: list[float]) -> _OverPools:
    return _OverPools(float(np.mean(values)), float(np.std(values, ddof=1)))
