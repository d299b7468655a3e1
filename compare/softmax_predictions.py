"""All that the theory predicts of softmax heads on one task, in one result for the command line and for notebooks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..models.attention import Merged
from ..models.divisors import score_divisor as divisor_in_numbers
from ..models.protocol import Parametrization, reads_query_token
from ..runtime.arrays import FloatArray
from ..runtime.checks import (
    check_choice,
    finite_array,
    nonnegative_number,
    positive_number,
    true_or_false,
    whole_number,
)
from ..runtime.display import Displayed, Summary, array_summary
from ..simulate import Trajectory
from ..task import Task
from ..theory.predictors import best_debiased_step, best_plain_step
from ..theory.softmax_attention import (
    ExactLoss,
    GrowthRates,
    HeadLoss,
    HeadOptimum,
    ReducedFlow,
    approximate_loss,
    exact_loss,
    exact_optimum,
    family_distance,
    growth_rates,
    head_scalars,
    infimum,
    reduced_flow,
    same_sign_bound,
    single_head_optimum,
)

OFF_FAMILY = 1e-6
"""A start off the symmetric family by more is another start, of which the reduced flow has no place for a part."""

METRICS = ("matrix", "euclidean")
LOSSES = ("exact", "approximate")
_IN_WORDS = {
    "growth": "growth",
    "optimum": "optimum",
    "infimum": "infimum of the approximate loss",
    "same_sign": "approximate loss, μ of one sign",
    "plain_step": "best gradient step",
    "debiased_step": "best debiased step",
}
# Each costs as much as a loss, some milliseconds; more are not seen in a figure.
_MOST_TIMES = 401
_RESULTS = ("exact", "approximate", "flow", "optimum")
_BOUNDS = ("infimum", "same_sign", "plain_step", "debiased_step")


@dataclass(frozen=True)
class SoftmaxSetting:
    """How softmax heads are trained, in the choices that change their loss or their clock.

    `loss`: "exact" or "approximate". `query_token`: whether the query's own token is among the keys. `score_divisor`:
    as of models, "sqrt_key" for √(D+1). `metric`: "matrix", the flow of the weights B and a themselves, "euclidean"
    with ρ = 1, or ρ. ω is always that of the scores ω_h x_nᵀx_q: what the weights have, over the divisor.
    """

    loss: str = "exact"
    query_token: bool = False
    score_divisor: float | str = 1.0
    metric: float | str = "matrix"

    def __post_init__(self) -> None:
        check_choice(self.loss, "loss", LOSSES)
        true_or_false(self.query_token, "query_token")
        # Its own error for a divisor that is none.
        Merged(1, softmax=True, score_divisor=self.score_divisor)
        if isinstance(self.metric, str):
            check_choice(self.metric, "metric", METRICS)
        else:
            positive_number(self.metric, "metric")
        if self.loss == "approximate" and self.query_token:
            raise ValueError(
                "the approximate loss holds without the query's token: leave query_token out, or use loss='exact'"
            )

    def divisor(self, task: Task) -> float:
        """The score divisor in numbers."""
        model = Merged(1, softmax=True, score_divisor=self.score_divisor)
        return divisor_in_numbers(model, task.dimension)

    def rate_of_omega(self, task: Task) -> float:
        """ρ of dω/dt = −(ρ/2) ∂L/∂ω: 1/(D s²) for weights B whose scores are divided by s."""
        if self.metric == "euclidean":
            return 1.0
        if self.metric == "matrix":
            return 1 / (task.dimension * self.divisor(task) ** 2)
        return float(self.metric)


@dataclass(frozen=True, eq=False, repr=False)
class SoftmaxPrediction(Displayed):
    """What the theory predicts of softmax heads on a task; made by `softmax_prediction`.

    `score_divisor` s and `metric` ρ in numbers. `exact` and `approximate` are the losses at `omega` and `mu` (H,) with
    their gradients, and `flow` the reduced flow from there. `growth` holds the rates from small weights, and without
    `omega` the `optimum` of these heads, the `infimum` of the approximate loss, the bound `same_sign` of values of one
    sign, and the best losses of a `plain_step` and a `debiased_step`. None where they were not asked for or are not
    known, of which `notes` says why.
    """

    setting: SoftmaxSetting
    heads: int
    score_divisor: float
    metric: float
    omega: FloatArray | None = None
    mu: FloatArray | None = None
    exact: ExactLoss | None = None
    approximate: HeadLoss | None = None
    flow: ReducedFlow | None = None
    optimum: HeadOptimum | None = None
    growth: GrowthRates | None = None
    infimum: float | None = None
    same_sign: float | None = None
    plain_step: float | None = None
    debiased_step: float | None = None
    notes: tuple[str, ...] = ()

    # Long because every field is named once, in the order of the result.
    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers and lists; None for what was not asked for or is not known."""
        settings = {
            "heads": self.heads,
            "loss": self.setting.loss,
            "query_token": self.setting.query_token,
            "score_divisor": self.score_divisor,
            "metric": self.metric,
        }
        arrays = {"omega": self.omega, "mu": self.mu}
        numbers = {
            name: None if a is None else a.tolist() for name, a in arrays.items()
        }
        results = {name: getattr(self, name) for name in _RESULTS}
        contents = {
            name: None if result is None else result.to_dict()
            for name, result in results.items()
        }
        bounds = {name: getattr(self, name) for name in _BOUNDS}
        growth = None
        if self.growth is not None:
            # Of one head there is no zero-sum mode, and JSON has no nan.
            rates = self.growth._asdict().items()
            growth = {name: None if isnan(rate) else rate for name, rate in rates}
        others = {"growth": growth, "notes": list(self.notes)}
        return settings | numbers | contents | bounds | others

    # Long because every row is named once, in the order of the screen.
    def summary(self) -> Summary:
        """The heads, their losses and the end of their flow."""
        rows = {
            "heads": str(self.heads),
            "query's own token": "a key" if self.setting.query_token else "no key",
            "scores divided by": f"{self.score_divisor:.6g}",
            "metric ρ": f"{self.metric:.6g}",
        }
        if self.omega is not None and self.mu is not None:
            rows["ω"] = array_summary(self.omega)
            rows["μ"] = array_summary(self.mu)
        if self.exact is not None:
            error = float(self.exact.error)
            rows["exact loss"] = f"{float(self.exact):.10g} ± {error:.1g}"
        if self.approximate is not None:
            rows["approximate loss"] = f"{float(self.approximate):.10g}"
        if self.optimum is not None:
            rows["best ω"] = array_summary(self.optimum.omega)
            rows["best μ"] = array_summary(self.optimum.mu)
            rows |= self.optimum.merged_rows()
            kind = "infimum of the" if self.optimum.merged else "least"
            rows[f"{kind} {self.setting.loss} loss"] = f"{self.optimum.loss:.9g}"
        for name in _BOUNDS:
            if getattr(self, name) is not None:
                rows[_IN_WORDS[name]] = f"{getattr(self, name):.9g}"
        if self.growth is not None:
            rows["growth from 0, Σμ = 0"] = f"{self.growth.zero_sum:.6g}"
            rows["growth from 0, common mode"] = f"{self.growth.common:.6g}"
        if self.flow is not None:
            rows |= _end_of(self.flow)
        notes = self.notes
        if self.optimum is not None and self.optimum.note:
            notes = (*notes, self.optimum.note)
        return Summary("Prediction for softmax heads", rows, notes=notes)


def _end_of(flow: ReducedFlow) -> Mapping[str, str]:
    """The loss and the heads at the last time of a flow."""
    by_time = np.argsort(flow.flow_time, kind="stable")
    first, last = by_time[0], by_time[-1]
    return {
        "flow time": f"{flow.flow_time[first]:g} to {flow.flow_time[last]:g}",
        "loss along the flow": f"{flow.loss[first]:.6g} → {flow.loss[last]:.6g}",
        "ω at its end": array_summary(flow.omega[last]),
        "μ at its end": array_summary(flow.mu[last]),
    } | flow.phases.rows()


# Long because what is asked for is checked, and then added part by part.
def softmax_prediction(
    task: Task,
    heads: int,
    setting: SoftmaxSetting | None = None,
    *,
    omega: ArrayLike | None = None,
    mu: ArrayLike | None = None,
    flow_time: ArrayLike | None = None,
) -> SoftmaxPrediction:
    """Everything that is predicted of `heads` softmax heads, trained as the `SoftmaxSetting` says.

    With `omega` and `mu` (H,) their losses too, and with `flow_time` (T,) the flow from there. ValueError where one
    of the three is missing, for another number of heads, and as `exact_loss` and `reduced_flow`.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> prediction = softmax_prediction(task, 2, omega=[0.3, -0.2], mu=[1.2, -1.5])
    >>> round(float(prediction.exact), 6), round(float(prediction.approximate), 6)
    (0.306264, 0.279938)
    """
    whole_number(heads, "heads")
    chosen = setting or SoftmaxSetting()
    if (omega is None) != (mu is None):
        raise ValueError("omega and mu belong together: pass both, or neither")
    if flow_time is not None and omega is None:
        raise ValueError("a flow needs a start: pass omega and mu with flow_time")
    prediction = SoftmaxPrediction(
        chosen, heads, chosen.divisor(task), chosen.rate_of_omega(task)
    )
    prediction = _with_known(
        prediction,
        growth=lambda: growth_rates(
            task,
            heads,
            prediction.metric,
            loss=chosen.loss,
            query_token=chosen.query_token,
        ),
    )
    if omega is None or mu is None:
        return _with_optimum(prediction, task)
    prediction = _with_losses(prediction, task, omega, mu)
    if flow_time is None:
        return prediction
    flow = reduced_flow(
        task,
        omega,
        mu,
        flow_time,
        loss=chosen.loss,
        metric=prediction.metric,
        query_token=chosen.query_token,
    )
    return replace(prediction, flow=flow)


def _with_optimum(prediction: SoftmaxPrediction, task: Task) -> SoftmaxPrediction:
    """The prediction with the best heads, and with what they are compared with."""
    heads, query_token = prediction.heads, prediction.setting.query_token

    def optimum() -> HeadOptimum:
        if prediction.setting.loss == "exact":
            return exact_optimum(task, heads, query_token=query_token)
        if heads == 1:
            return single_head_optimum(task)
        raise ValueError(
            "the approximate loss of two heads or more has no minimum: it falls to its infimum as ω → 0"
        )

    parts: dict[str, Callable[[], object]] = {
        "optimum": optimum,
        "plain_step": lambda: best_plain_step(task).loss,
        "debiased_step": lambda: best_debiased_step(task).loss,
    }
    if not query_token:
        parts["infimum"] = lambda: infimum(task, heads)
        parts["same_sign"] = lambda: same_sign_bound(task)
    return _with_known(prediction, **parts)


def _with_known(
    prediction: SoftmaxPrediction, **parts: Callable[[], object]
) -> SoftmaxPrediction:
    """The prediction with these parts, as far as they are known; a note says why one is not."""
    known: dict[str, Any] = {}
    notes = list(prediction.notes)
    for name, part in parts.items():
        try:
            known[name] = part()
        except (ValueError, ArithmeticError) as error:
            notes.append(f"{_IN_WORDS[name]}: {error}")
    return replace(prediction, **known, notes=tuple(notes))


def _with_losses(
    prediction: SoftmaxPrediction, task: Task, omega: ArrayLike, mu: ArrayLike
) -> SoftmaxPrediction:
    """The prediction with the losses at ω and μ."""
    ω = finite_array(omega, "omega", "(H,)", H=prediction.heads)
    μ = finite_array(mu, "mu", "(H,)", H=prediction.heads)
    query_token = prediction.setting.query_token
    exact = exact_loss(task, ω, μ, query_token=query_token, gradient=True)
    approximate, notes = None, prediction.notes
    if query_token:
        notes = (*notes, "the approximate loss holds without the query's token")
    else:
        try:
            approximate = approximate_loss(task, ω, μ, gradient=True)
        except ValueError as error:
            notes = (*notes, str(error))
    return replace(
        prediction, omega=ω, mu=μ, exact=exact, approximate=approximate, notes=notes
    )


def flow_under_run(
    task: Task,
    model: Parametrization,
    run: Trajectory,
    *,
    loss: str = "exact",
    family_tolerance: float = OFF_FAMILY,
) -> ReducedFlow:
    """The reduced flow from the first weights of a run of merged softmax heads, to lay over that run.

    At all flow times of the run, or, where these are more than 401, at 401 of them. Heads off the symmetric family by
    `family_tolerance` (`family_distance`) or less have the flow of their ω and μ alone. ValueError for heads further
    away, for another model, whose metric depends on its weights, and as `reduced_flow`.

    >>> from attndyn.simulate import sample, symmetric_weights, train
    >>> task = Task([1] * 3, teacher_covariance=np.eye(3) / 3, context_length=12)
    >>> model = Merged(2, softmax=True, query_token=False)
    >>> start = symmetric_weights(model, task, [0.1, -0.12], [0.1, -0.08])
    >>> run = train(model, sample(task, 50), start, learning_rate=0.1, steps=5)
    >>> flow_under_run(task, model, run, loss="approximate").omega[0]
    array([ 0.1 , -0.12])
    """
    if not isinstance(model, Merged):
        raise ValueError(
            f"the reduced flow is known for merged key and query, not for {type(model).__name__}, whose ω moves at a "
            "speed that depends on key and query themselves"
        )
    _refuse_foreign_start(model, run, family_tolerance)
    ω, μ = head_scalars(model, run.initial, tolerance=np.inf)
    times = run.flow_time
    if len(times) > _MOST_TIMES:
        places = np.linspace(0, len(times) - 1, _MOST_TIMES).round().astype(int)
        times = times[places]
    setting = SoftmaxSetting(loss, reads_query_token(model), model.score_divisor)
    return reduced_flow(
        task,
        ω,
        μ,
        times,
        loss=loss,
        metric=setting.rate_of_omega(task),
        query_token=setting.query_token,
    )


def _refuse_foreign_start(model: Merged, run: Trajectory, tolerance: float) -> None:
    """ValueError, which says what to do, for first weights that are further from the symmetric family."""
    allowed = nonnegative_number(tolerance, "family_tolerance")
    distance = float(family_distance(model, run.initial))
    if distance > allowed:
        raise ValueError(
            f"the first heads of this run are off the symmetric family by {distance:.3g} of 1, and the reduced flow "
            "has no place for that part: start from symmetric_weights (simulate --omega … --mu …), or pass "
            "family_tolerance=1 (--family-tolerance 1) for the flow of their ω and μ alone"
        )


def distances_of_run(model: Parametrization, run: Trajectory) -> FloatArray:
    """How far the stored weights of a run are from the symmetric family, (K,): what its reduced flow leaves out.

    ValueError for a model without such heads, and for a run that was trained with another one.
    """
    return family_distance(model, run)
