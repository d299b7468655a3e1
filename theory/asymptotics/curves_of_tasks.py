"""Losses along gradient flow of the linear read-out at finite size, with the tasks at hand: pairs of equivalents.

On the modes e_ij = a_i l_j of the features' covariance, C = UᵀBV and m = C/(e + ξ) the mean map at a ridge, ridges
i and j of the contour have

    E_ij = [c − ⟨C, m_i + m_j⟩ + ⟨e m_i, m_j⟩]/[1 − (1/P) Σ e²/((e + ξ_i)(e + ξ_j))],
    L_train(t) = L_train(M̄(t)) + (1/P) Σ_ij ω_i ω_j E_ij Σ e²/((e + ξ_i)(e + ξ_j)),
    L_test(t) = L_test(M̄(t)) + (1/P) Σ_ij ω_i ω_j E_ij Σ (UᵀA_test U)_ii (VᵀΛ_test V)_jj e/((e + ξ_i)(e + ξ_j)).

Source: derived here, from the equivalent of one ridge; `contours` has the rule.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import refuse_wrong_order
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.line_charts import Line, LineChart
from ...runtime.machine import one_thread
from ...task import Task
from ..ode import flow_times
from .contours import (
    FEWER,
    NODES,
    ComplexArray,
    Contour,
    Path,
    checked_nodes,
    roots_on,
)
from .equivalents import (
    Fit,
    Modes,
    checked_fit,
    in_units,
    modes_of,
    refuse_few_sequences,
    refuse_other_dimension,
    refuse_unresolved,
    row_units,
    training_laws,
    weights_on,
)
from .losses_of_readouts import ReadoutMoments, readout_moments

_SMALLEST_TIME = 1e-100
"""In units of one over the largest eigenvalue; before it nothing is learnt to rounding."""

_RESIDUAL = 1e-9
"""Newton's method ends at rounding, 1e-14 of ξ, or nowhere."""


@dataclass(frozen=True, eq=False, repr=False)
class TaskLearningCurve(Displayed):
    """Expected losses (T,) at `flow_time` (T,) along gradient flow of the read-out of P sequences, in units of y².

    `train_loss` is that on fresh prompts of the training law (in distribution), `test_loss` that on the test law, and
    `error` by how much they may be wrong through the number of nodes. Over several drawn pools of tasks all are means,
    and `train_spread` and `test_spread` (T,) standard deviations over the pools. `sequences` is P. `train_task` and
    `test_task` have the two laws; over several pools there is no one training task.
    """

    flow_time: FloatArray
    train_loss: FloatArray
    test_loss: FloatArray
    error: FloatArray
    train_spread: FloatArray
    test_spread: FloatArray
    pools: int
    sequences: float
    train_task: Task | None
    test_task: Task

    def to_dict(self) -> dict[str, Any]:
        """The series as lists, and the two numbers."""
        names = ("flow_time", "train_loss", "test_loss", "error")
        spreads = ("train_spread", "test_spread")
        lists = {name: getattr(self, name).tolist() for name in (*names, *spreads)}
        return lists | {"pools": self.pools, "sequences": self.sequences}

    def summary(self) -> Summary:
        """The first, the least and the last losses on one screen."""
        rows: dict[str, object] = {
            "flow time": array_summary(self.flow_time),
            "sequences": f"{self.sequences:g}",
            "pools of tasks": self.pools,
        }
        by_time = np.argsort(self.flow_time, kind="stable")
        for name, losses in (("train", self.train_loss), ("test", self.test_loss)):
            values = losses[by_time]
            rows[f"{name} loss"] = (
                f"{values[0]:.6g} → {values[-1]:.6g}, least {values.min():.6g}"
            )
        rows["error of the quadrature"] = f"at most {np.max(self.error):.1e}"
        return Summary("Losses along gradient flow of the read-out", rows)

    def chart(self) -> LineChart:
        """Both losses against flow time."""
        lines = (
            Line(self.flow_time, self.test_loss, "test law", "dashed"),
            Line(self.flow_time, self.train_loss, "training law", "dotted"),
        )
        return LineChart(lines, "flow time", "loss", f"sequences {self.sequences:g}")


def learning_curve_of_tasks(
    train_task: Task,
    test_task: Task,
    sequences: float,
    flow_time: ArrayLike,
    *,
    label_row: bool = False,
    label_weight: float = 1.0,
    tasks: int | None = None,
    pools: int = 100,
    seed: int = 0,
    nodes: int = NODES,
) -> TaskLearningCurve:
    """Losses on the training law and on a test law along gradient flow of the read-out of P prompts of the former.

    The flow is dM/dt = −½ ∂L/∂M from M = 0, with L the mean of (y_q − ŷ)² over P = `sequences` prompts and `flow_time`
    (T,) = 2·learning rate·steps; with `label_row` its time scale is that of (M; √label_weight m). The other arguments
    are those of `deterministic_equivalent`, whose losses without ridge are the limit of long times; as many sequences
    as features are no pole at finite times. `nodes` is an even number from 16: `.error` compares with 8 nodes less.
    The two tasks may differ in everything but D. ValueError for less than one sequence, for fewer sequences than tasks,
    for times that are negative or not finite, and as `readout_moments`.
    Source: derived here; for white inputs as D → ∞ it becomes `learning_curve` at θ = t/D³, label_weight D².

    >>> from attndyn.teachers import Sphere
    >>> def task(law):
    ...     return Task([1 / 16] * 16, teachers=law, context_length=32, noise_variance=0.1)
    >>> sphere = Sphere(16)
    >>> curve = learning_curve_of_tasks(task(sphere.pool(8)), task(sphere), 512, [0, 1e4, 1e9])
    >>> curve.test_loss.round(3)
    array([1.1  , 0.985, 1.388])
    """
    in_order = isinstance(train_task, Task) and isinstance(test_task, Task)
    call = "learning_curve_of_tasks(train_task, test_task, sequences, flow_time)"
    refuse_wrong_order(call, in_order, train_task, test_task, sequences)
    refuse_other_dimension(train_task, test_task)
    fit = checked_fit(sequences, 0.0, label_row, label_weight, False)
    times = flow_times(flow_time)
    checked_nodes(nodes)
    test = readout_moments(test_task, label_row=fit.label_row)
    with one_thread():
        laws = [
            _on_modes(law, test, fit)
            for law in training_laws(train_task, tasks, pools, seed)
        ]
        # (pools, 2, T) by both rules.
        fine, coarse = (
            np.array([_losses(law, times, count) for law in laws])
            for count in (nodes, nodes - FEWER)
        )
    train, tested = fine.mean(axis=0)
    spread = np.zeros_like(fine[0])
    if len(laws) > 1:
        spread = fine.std(axis=0, ddof=1)
    return TaskLearningCurve(
        flow_time=times,
        train_loss=train,
        test_loss=tested,
        error=np.max(np.abs(fine.mean(axis=0) - coarse.mean(axis=0)), axis=0),
        train_spread=spread[0],
        test_spread=spread[1],
        pools=len(laws),
        sequences=fit.P,
        train_task=train_task if tasks is None else None,
        test_task=test_task,
    )


class _Law(NamedTuple):
    """The training law on its modes, all (p,): e, C, the test law's C and diagonal a_te l_te, and the moments."""

    e: FloatArray
    C: FloatArray
    test_weight: FloatArray
    modes: Modes
    train: ReadoutMoments
    test: ReadoutMoments
    P: float


def _losses(law: _Law, times: FloatArray, nodes: int) -> FloatArray:
    """The two losses (2, T) of one training law."""
    losses = np.empty((2, len(times)))
    scale = np.max(law.e, initial=0.0)
    if scale == 0:  # nothing varies, so nothing is learnt
        losses[:] = [[law.train.c], [law.test.c]]
        return losses
    contour = Contour.with_nodes(nodes)
    for position, time in enumerate(times):
        # One time after another: pairs of nodes on all modes are large.
        t = np.array([max(time, _SMALLEST_TIME / scale)])
        losses[:, position] = _losses_after(law, t, contour)
    return losses


def _on_modes(task: Task, test: ReadoutMoments, fit: Fit) -> _Law:
    """The law in units in which the penalty weighs all rows alike."""
    refuse_few_sequences(task, fit.P)
    moments = readout_moments(task, label_row=fit.label_row)
    unit = row_units(fit, len(moments.A))
    train, tested = in_units(moments, unit), in_units(test, unit)
    modes = modes_of(train)
    C = modes.U.T @ train.B @ modes.V
    varies = modes.varies
    return _Law(
        e=modes.e[varies],
        C=C[varies],
        test_weight=weights_on(modes, tested)[varies],
        modes=modes,
        train=train,
        test=tested,
        P=fit.P,
    )


def _losses_after(law: _Law, time: FloatArray, contour: Contour) -> FloatArray:
    """L_train and L_test at one time (1,)."""
    ξ = _effective_ridges(law, time, contour)
    refuse_unresolved(law.modes, float(np.min(np.abs(ξ))))
    ω = contour.weights
    gains = 1 / (law.e[:, None] + ξ)  # (p, nodes)
    m = law.C[:, None] * gains
    M = _map(law, 2 * np.real(m @ ω))
    losses = np.array([law.train.loss(M), law.test.loss(M)])
    # Upper nodes with upper and with lower ones; the pairs of lower nodes are the conjugates of these.
    for conjugated, weights in ((False, ω), (True, np.conj(ω))):
        others = np.conj(gains) if conjugated else gains
        pairs = (law.e**2 * gains.T) @ others / law.P
        E = _residuals_of_pairs(law, m, np.conj(m) if conjugated else m) / (1 - pairs)
        tested = (law.test_weight * law.e * gains.T) @ others / law.P
        for row, values in enumerate((pairs, tested)):
            losses[row] += 2 * np.real(ω @ (E * values) @ weights)
    return losses


def _residuals_of_pairs(
    law: _Law, m: ComplexArray, others: ComplexArray
) -> ComplexArray:
    """c − ⟨C, m_i + m_j⟩ + ⟨e m_i, m_j⟩ (nodes, nodes) for the mean maps (p, nodes) of both."""
    return np.asarray(
        law.train.c
        - (law.C @ m)[:, None]
        - (law.C @ others)[None, :]
        + (law.e[:, None] * m).T @ others
    )


def _map(law: _Law, m: FloatArray) -> FloatArray:
    """U m Vᵀ for the coefficients (p,) of the modes that vary."""
    coefficients = np.zeros_like(law.modes.e)
    coefficients[law.modes.varies] = m
    return np.asarray(law.modes.U @ coefficients @ law.modes.V.T)


def _effective_ridges(law: _Law, time: FloatArray, contour: Contour) -> ComplexArray:
    """ξ (nodes,) of ξ = λ + (ξ/P) Σ e/(e + ξ) at the nodes; ArithmeticError where a root is not found."""
    # White inputs have each eigenvalue D times: one that repeats is summed once.
    e, count = np.unique(law.e, return_counts=True)
    weight = count / law.P
    vertex = np.real(contour.ridges(0.0, time))
    total = np.sum(law.e) / law.P
    first = 1e3 * np.maximum(vertex, np.max(law.e) + total)

    def residual(λ: ComplexArray, ξ: ComplexArray) -> ComplexArray:
        return np.asarray(ξ - λ - ξ * ((e / (e + ξ[..., None])) @ weight))

    def newton(λ: ComplexArray, root: ComplexArray) -> ComplexArray:
        ξ = root[0]
        for _ in range(4):
            shares = e / (e + ξ[..., None])
            slope = 1 - shares**2 @ weight
            ξ = ξ - residual(λ, ξ) / slope
        return np.asarray(ξ[None])

    def is_root(λ: ComplexArray, root: ComplexArray) -> NDArray[np.bool_]:
        ξ = root[0]
        holds = np.abs(residual(λ, ξ)) < _RESIDUAL * np.abs(ξ)
        # As a resolvent's, ξ lies above the axis where λ does.
        return np.asarray(holds & (ξ.imag > -_RESIDUAL * np.abs(ξ)))

    start = np.asarray(first + total, dtype=np.complex128)
    path = Path(first, start[None], newton, is_root)
    return np.asarray(roots_on(contour, time, path)[0, 0])
