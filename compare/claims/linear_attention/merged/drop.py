"""What merged attention learns in its one drop, when, and from where: algorithm, drop time, unbalanced starts."""

import numpy as np

from .....models.attention import Merged
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, objective, predict, sample
from .....task import Task
from .....theory import population
from .....theory.linear_attention.merged import drop_time, half_loss_time
from .....theory.predictors import preconditioned_step
from .....theory.two_layer import two_layer_amplitudes
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import converges_at_order, equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import crossing_times
from ..common.controls import LONGER_CONTEXT, MOMENTS, TRACE_DROPPED, wrong_moments
from ..common.experiments import FOUR, WHITE
from ..common.fixtures import merged_head
from .saddle import crossing

MODEL = Merged(heads=3)
NOISY = Task(
    eigenvalues=[4, 3, 2, 1],
    trace=1.0,
    teacher_covariance=np.diag([0.5, 1.0, 1.5, 2.0]),
    noise_variance=0.1,
    context_length=31,
)
OBLIQUE = Task(
    covariance=[[0.5, 0.2], [0.2, 0.3]],
    teacher_covariance=[[1.0, -0.4], [-0.4, 0.8]],
    noise_variance=0.2,
    context_length=8,
)
TASKS = (WHITE, FOUR, NOISY, OBLIQUE)
"""White, general, with noise and unlike teachers, and with Λ and Ω in different bases."""
FAST = Task(
    covariance=[[10.0, 4.0], [4.0, 6.0]],
    teacher_covariance=[[1.0, -0.4], [-0.4, 0.8]],
    noise_variance=0.2,
    context_length=8,
)
"""The drop is over long before flow time 1."""
HALVES = (0.1, 0.01)
"""Starts whose half-loss times are held against the flow."""
PROMPTS = 500
SCALES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
TIMES = np.linspace(0, 8, 81)
STARTS = ((0.3, 0.05), (0.02, 0.3), (0.3, -0.1))
"""s and u of white starts with more in the value rows, with more in the matrices, and uphill."""


def _outputs(context: RunContext) -> list[FloatArray]:
    """Predictions of fresh prompts by weights that the flow has brought to rest, for every task."""
    return [_output(task, context.seeds(1)[0]) for task in TASKS]


def _output(task: Task, seed: int) -> FloatArray:
    start = initial_weights(MODEL, task, 0.1, seed, "restricted")
    run = flow(MODEL, population_statistics(task, MODEL), start, [0.0, 4_000.0])
    return np.asarray(predict(MODEL, MODEL.heads(run.final), _prompts(task, seed)))


def _prompts(task: Task, seed: int) -> FloatArray:
    return sample(task, PROMPTS, seed, split="test").tokens


def _steps(context: RunContext, control: str) -> list[FloatArray]:
    """One step of gradient descent on the same prompts, with the preconditioner of the theory."""
    return [_step(task, context.seeds(1)[0], control) for task in TASKS]


def _step(task: Task, seed: int, control: str) -> FloatArray:
    tokens = _prompts(task, seed)
    minimum = wrong_moments(
        task, MODEL, control if control in MOMENTS else UNMODIFIED
    ).minimum
    preconditioners = {
        "Newton's step": np.linalg.inv(task.covariance),
        "plain gradient step": np.eye(len(minimum)),
    }
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]
    return preconditioned_step(x, y, query, preconditioners.get(control, minimum))


def _white_flows(context: RunContext) -> list[FloatArray]:
    return [_white_flow(*start) for start in STARTS]


def _white_flow(s0: float, u0: float) -> FloatArray:
    """Loss of the flow of all weights from U_h = v̂_h u₀ I/√D, |v| = s₀."""
    model = Merged(heads=2, divisor="none")
    unit, matrix = np.array([0.6, -0.8]), u0 / 2 * np.eye(4)
    start = {"value": np.zeros((2, 5)), "key_query": np.zeros((2, 5, 5))}
    start["value"][:, -1] = s0 * unit
    start["key_query"][:, :-1, :-1] = unit[:, None, None] * matrix
    shaped = {
        name: start[name][..., : shape[-1]] for name, shape in model.shapes(4).items()
    }
    return flow(model, population_statistics(WHITE, model), shaped, TIMES).loss


def _white_courses(context: RunContext, control: str) -> list[FloatArray]:
    moments = wrong_moments(
        WHITE,
        Merged(heads=2, divisor="none"),
        control if control in MOMENTS else UNMODIFIED,
    )
    alpha, kappa = float(moments.b[0] * 2), float(moments.a[0] * moments.lam[0])
    losses = []
    for s0, u0 in STARTS:
        begin = (s0, s0) if control == "balanced" else (s0, u0)
        s, u = two_layer_amplitudes(TIMES, *begin, alpha, kappa)
        losses.append(moments.aligned_loss((s * u / 2)[:, None] * np.ones(4)))
    return losses


def _drop_times(context: RunContext) -> list[FloatArray]:
    """Flow time at which half the drop is done, times ‖B‖, less ln(1/scale): from starts of one direction."""
    return [np.array([_drop_time(w, context.seeds(1)[0])]) for w in SCALES]


def _drop_time(scale: float, seed: int) -> float:
    moments = population(NOISY, MODEL)
    rate = float(np.linalg.norm(moments.B))
    start = initial_weights(MODEL, NOISY, scale, seed, "restricted")
    last = (np.log(1 / scale) + 6) / rate
    middle = crossing(NOISY, MODEL, start, (moments.c + moments.minimum_loss) / 2, last)
    return middle * rate - float(np.log(1 / scale))


def _constants(context: RunContext, control: str) -> list[FloatArray]:
    """What the drop time leaves once ln(1/scale)/‖B‖ is taken away: the same for every scale, in the limit."""
    moments, seed = population(NOISY, MODEL), context.seeds(1)[0]
    rate, found = float(np.linalg.norm(moments.B)), []
    for scale in SCALES:
        start = initial_weights(MODEL, NOISY, scale, seed, "restricted")
        time = half_loss_time(moments, _mode(start, moments.B, control)) * rate
        factor = 2 if control == "rate 2‖B‖" else 1
        found.append(np.array([time / factor - np.log(1 / scale)]))
    return found


def _mode(start: dict[str, FloatArray], B: FloatArray, control: str) -> float:
    """Size of what grows: (v_h + ⟨U_h, B⟩/‖B‖)/2 over all heads."""
    U, v = start["key_query"][:, :-1, : len(B)], start["value"][:, -1]
    overlap = np.einsum("hij,ij->h", U, B) / np.linalg.norm(B)
    return float(
        np.linalg.norm(v if control == "value rows alone" else (v + overlap) / 2)
    )


def _halves(context: RunContext) -> list[FloatArray]:
    """When the loss is midway between that of no attention and that at rest, along flows of the growing mode."""
    Λ, Ω = FAST.covariance, FAST.teacher_covariance
    mode, model, found = Λ @ Ω @ Λ / np.linalg.norm(Λ @ Ω @ Λ), Merged(heads=1), []
    none, source = merged_head(0.0, 0 * mode), population_statistics(FAST, model)
    for w in HALVES:
        times = np.append(np.linspace(0.0, 0.2, 4001), 5.0)
        losses = flow(model, source, merged_head(w, w * mode), times, rtol=1e-10).loss
        middle = (objective(model, source)(none)[0] + losses[-1]) / 2
        found.append(crossing_times(times, losses, [middle]))
    return found


def _half_loss_times(context: RunContext, control: str) -> list[FloatArray]:
    moments = wrong_moments(
        FAST, Merged(heads=1), control if control in MOMENTS else UNMODIFIED
    )
    time = drop_time if control == "ln(1/w)/‖B‖" else half_loss_time
    return [np.array([time(moments, w)]) for w in HALVES]


CLAIMS = (
    Claim(
        id="one_drop.algorithm",
        title="Merged attention at rest makes one preconditioned gradient step on its prompt",
        paper="zhang2025",
        equation="global minimum",
        origin="Ahn et al. 2023, von Oswald et al. 2023",
        statement=r"\hat y_q = \beta^\top A^{-1} B \Lambda^{-1} x_q",
        observable="predictions of 500 fresh prompts by trained weights; white, general, noisy and oblique tasks",
        limit="none: exact at rest",
        measure=_outputs,
        assumes=POPULATION_MOMENTS,
        predict=_steps,
        judge=equal_within(1e-9, axes=("prompt", "prediction")),
        controls=(*MOMENTS, "Newton's step", "plain gradient step"),
        hypotheses=("at rest, restricted block, unlimited data", "any Λ and Ω, noise"),
        tier="fast",
    ),
    Claim(
        id="one_drop.unbalanced",
        title="The white time course holds for unbalanced starts too",
        paper="zhang2025",
        equation="time course for white covariance",
        statement=r"\dot p = (u^2 + v^2)(\alpha - \kappa p),\quad v^2 - u^2 = C",
        observable="loss of the flow of all weights from three starts: v larger, u larger, and of opposite sign",
        limit="none: exact",
        measure=_white_flows,
        assumes=POPULATION_MOMENTS,
        predict=_white_courses,
        judge=equal_within(1e-9, TIMES, ("flow time", "loss")),
        controls=(TRACE_DROPPED, LONGER_CONTEXT, "balanced"),
        hypotheses=("restricted block, unlimited data", "Λ = λI", "U_h = v̂_h u I/√D"),
        figure="merged_white",
        tier="fast",
    ),
    Claim(
        id="one_drop.time",
        title="The drop comes at ln(1/scale)/‖B‖ and a constant of the start",
        paper="zhang2025",
        equation="duration of the plateau",
        origin="the constant goes beyond",
        statement=r"t_{1/2} = (\ln(1/w) + C)/\Vert B\Vert + O(w)",
        observable="flow time of half the drop × ‖B‖ − ln(1/scale), scales 10^-2 … 10^-4 of one random start",
        limit="initial scale → 0, error O(scale)",
        order=1,
        measure=_drop_times,
        assumes=POPULATION_MOMENTS,
        predict=_constants,
        judge=converges_at_order(SCALES, 1, name="scale"),
        controls=("rate 2‖B‖", "value rows alone"),
        hypotheses=("any Λ and Ω, noise",),
    ),
    Claim(
        id="one_drop.half",
        title="The half-loss time is exact for the growing mode, however large the task's units are",
        paper="zhang2025",
        equation="duration of the plateau",
        origin="the exact time goes beyond",
        statement=r"L(t_{1/2}) = (c + L(M^\star))/2",
        observable="when the loss of the flow is midway, from scales 0.1 and 0.01; oblique, noise, large Λ",
        limit="none: exact",
        measure=_halves,
        assumes=POPULATION_MOMENTS,
        predict=_half_loss_times,
        judge=equal_within(1e-5, axes=("start", "half-loss time")),
        controls=("ln(1/w)/‖B‖", TRACE_DROPPED, LONGER_CONTEXT),
        tier="fast",
    ),
)
