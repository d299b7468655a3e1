"""When to stop gradient flow of the read-out on drawn data sets."""

from collections.abc import Sequence

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import errors, learning_curve
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Curve, Evidence, Judge
from ...evidence.judges import CONFIDENCE, curve, student_quantile
from .readout_runs import Ratios, Setting, flow_errors

SETS = 24
SETTINGS = tuple(
    Setting.of_ratios(16, Ratios(tau, 4, 0.5, 0.05)) for tau in (0.6, 1.25, 4)
)
END = 1e9
"""θ of a read-out that has converged, in all these data sets."""

THETA = np.append(2.0 ** np.arange(-3, 8), END)
"""Times a factor of two apart, and the end."""

NEIGHBOURS = 1
"""How many places beside the best time may be as good as it: the error is flat there."""

UNLIMITED = "unlimited sequences"
MANY = "64 sequences a feature"
OTHER_UNIT = "θ = t/D²"


def _measured_errors(context: RunContext) -> list[FloatArray]:
    """Errors (sets, T) on new and on training tasks in each setting."""
    curves: list[FloatArray] = []
    for setting in SETTINGS:
        drawn = flow_errors(setting, THETA, context.seeds(SETS))
        curves += [drawn.icl, drawn.idg]
    return curves


def _best_places(context: RunContext, control: str) -> list[int]:
    """Which of the times is best as D → ∞ on new and on training tasks in each setting, or wrong ones."""
    places = []
    for setting in SETTINGS:
        ratios = setting.ratios
        if control in (UNLIMITED, MANY):
            ratios = ratios._replace(tau=np.inf if control == UNLIMITED else 64)
        times = THETA[:-1]
        if control == OTHER_UNIT:
            times = times * setting.dimension
        flow = learning_curve(times, **ratios._asdict())
        end = errors(**ratios._asdict())
        places.append(int(np.argmin(np.append(flow.icl, end.icl))))
        places.append(int(np.argmin(np.append(flow.idg, end.idg))))
    return places


def least_before_the_end(times: FloatArray) -> Judge:
    """The error at the predicted place is below that at every other time and at the end, beyond scatter.

    Observed are errors (sets, T) at `times` (T,), of which the last is the end, for each predicted place. Times next to
    the predicted one are not compared. The evidence is undecided where means are in this order, but scatter might be
    the reason.
    """

    def judge(predicted: Sequence[int], observed: Sequence[FloatArray]) -> Evidence:
        scores: list[float] = []
        savings: list[float] = []
        curves: list[Curve] = []
        for place, values in zip(predicted, observed, strict=True):
            scores.append(_score_of_others(place, values))
            mean = values.mean(axis=0)
            savings.append(1 - mean[place] / mean[-1])
            name = f"case {len(curves) + 1}"
            least = np.full(len(mean), mean[place])
            curves.append(curve(name, least[:-1], mean[:-1], times[:-1]))
        quantile = student_quantile(len(observed[0]) - 1)
        return Evidence(
            agrees=min(scores) > quantile,
            observed=(
                f"other times are worse by {min(scores):.1f} standard errors or more, "
                f"the end by {100 * min(savings):.0f} to {100 * max(savings):.0f} % of its error"
            ),
            expected=f"more than {quantile:.1f} standard errors, {CONFIDENCE:g} of Student's t",
            residual=-min(scores),
            curves=tuple(curves),
            axes=("time", "error"),
            undecided=0 < min(scores) <= quantile,
        )

    return judge


def _score_of_others(place: int, values: FloatArray) -> float:
    """The least excess of errors (sets, T) at other times over that at a place, in standard errors."""
    distance = np.abs(np.arange(values.shape[1]) - place)
    others = np.flatnonzero(distance > NEIGHBOURS)
    # Errors of one data set at two times scatter together: pairs tell them apart.
    excess = values[:, others] - values[:, [place]]
    standard_error = excess.std(axis=0, ddof=1) / np.sqrt(len(values))
    return float(np.min(excess.mean(axis=0) / standard_error))


CLAIMS = (
    Claim(
        id="asymptotics.early_stopping",
        title="Stopping early beats convergence, at the time that the limit D → ∞ says",
        paper="lu2025",
        beyond_paper=True,
        origin="errors along gradient flow are derived here",
        statement=r"\min_\theta e(\theta) < e(\infty)",
        observable="errors of the flow on data sets at D = 16, α = 4, κ = 1/2, τ = 0.6, 1.25 and 4, up to the end",
        limit="D → ∞; the best of times a factor of two apart is the same at D = 16",
        measure=_measured_errors,
        predict=_best_places,
        judge=least_before_the_end(THETA),
        controls=(UNLIMITED, MANY, OTHER_UNIT),
        hypotheses=("x ~ N(0, I/D)", "tasks uniform on the sphere, equally often"),
        figure="readout_learning_curves",
    ),
)
