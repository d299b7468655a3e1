"""What merged attention learns in its one drop, when, and from where: algorithm, drop time, unbalanced starts."""

import numpy as np

from .....models.attention import Merged
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, objective, predict, sample
from .....task import Task
from .....theory import population
from .....theory.linear_attention.merged import drop_time, half_loss_time
from .....theory.predictors import preconditioned_step
from .....theory.two_layer import two_layer_amplitudes
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import converges_at_order, equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import crossing_times
from ..common.controls import LONGER_CONTEXT, MOMENTS, TRACE_DROPPED, changed_moments
from ..common.experiments import FOUR, WHITE
from ..common.fixtures import merged_head
from .saddle import crossing

MODEL = Merged(heads=3)
UNLIKE_TEACHERS = Task(
    eigenvalues=[4, 3, 2, 1],
    trace=1.0,
    teacher_covariance=np.diag([0.5, 1.0, 1.5, 2.0]),
    noise_variance=0.1,
    context_length=31,
)
NON_COMMUTING_NOISY = Task(
    covariance=[[0.5, 0.2], [0.2, 0.3]],
    teacher_covariance=[[1.0, -0.4], [-0.4, 0.8]],
    noise_variance=0.2,
    context_length=8,
)
TASKS = (WHITE, FOUR, UNLIKE_TEACHERS, NON_COMMUTING_NOISY)
"""White, general, with noise and unlike teachers, and with Λ and Ω in different bases."""
LARGE_UNITS = Task(
    covariance=[[10.0, 4.0], [4.0, 6.0]],
    teacher_covariance=[[1.0, -0.4], [-0.4, 0.8]],
    noise_variance=0.2,
    context_length=8,
)
"""The drop is over long before flow time 1."""
HALF_LOSS_STARTS = (0.1, 0.01)
"""Amplitudes of the unstable mode whose half-loss times are compared with the flow."""
PROMPTS = 500
SCALES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
TIMES = np.linspace(0, 8, 81)
UNBALANCED_STARTS = ((0.3, 0.05), (0.02, 0.3), (0.3, -0.1))
"""s and u of white starts with more in the value rows, with more in the matrices, and uphill."""

TWO_HEADS = Merged(heads=2, divisor="none")


# The algorithm that is learned


def _outputs(context: RunContext) -> list[FloatArray]:
    """Predictions of fresh prompts by weights at the end of the flow, for every task."""
    return [_output(task, context.seeds(1)[0]) for task in TASKS]


def _output(task: Task, seed: int) -> FloatArray:
    start = initial_weights(MODEL, task, 0.1, seed, "restricted")
    run = flow(MODEL, population_statistics(task, MODEL), start, [0.0, 4_000.0])
    # All that is left of the weights is their map.
    heads = MODEL.heads(run.final)
    output: FloatArray = predict(MODEL, heads, _prompts(task, seed))
    return output


def _prompts(task: Task, seed: int) -> FloatArray:
    return sample(task, PROMPTS, seed, split="test").tokens


def _gradient_steps(context: RunContext, control: str) -> list[FloatArray]:
    """One step of gradient descent on the same prompts, with the preconditioner of the theory."""
    return [_gradient_step(task, context.seeds(1)[0], control) for task in TASKS]


def _gradient_step(task: Task, seed: int, control: str) -> FloatArray:
    preconditioner: FloatArray = changed_moments(task, MODEL, control).minimum
    if control == "Newton's step":
        preconditioner = np.asarray(np.linalg.inv(task.covariance), dtype=float)
    if control == "plain gradient step":
        preconditioner = np.eye(task.dimension)

    tokens = _prompts(task, seed)
    x, y = tokens[:, :-1, :-1], tokens[:, :-1, -1]
    query = tokens[:, -1, :-1]
    return preconditioned_step(x, y, query, preconditioner)


# White inputs


def _white_flows(context: RunContext) -> list[FloatArray]:
    """Loss of the flow of all weights from each unbalanced start."""
    source = population_statistics(WHITE, TWO_HEADS)
    return [
        flow(TWO_HEADS, source, _white_start(s0, u0), TIMES).loss
        for s0, u0 in UNBALANCED_STARTS
    ]


def _white_start(s0: float, u0: float) -> Weights:
    """U_h = v̂_h u₀ I/√D and v_h = v̂_h s₀, D = 4."""
    shares = np.array([0.6, -0.8])  # a unit vector
    shapes = TWO_HEADS.shapes(4)
    start = {name: np.zeros(shape) for name, shape in shapes.items()}
    start["value"][:, -1] = s0 * shares
    for head, share in enumerate(shares):
        start["key_query"][head, :4, :4] = share * u0 / 2 * np.eye(4)
    return start


def _white_courses(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the closed form for s and u, with α = λ²√D, κ = λ³(1 + (1 + D)/N)."""
    moments = changed_moments(WHITE, TWO_HEADS, control)
    α = float(moments.b[0] * 2)
    κ = float(moments.a[0] * moments.lam[0])
    losses = []
    for s0, u0 in UNBALANCED_STARTS:
        start_of_u = s0 if control == "balanced" else u0
        s, u = two_layer_amplitudes(TIMES, s0, start_of_u, α, κ)
        coefficient = s * u / 2  # the same on each of four directions
        losses.append(moments.aligned_loss(coefficient[:, None] * np.ones(4)))
    return losses


# The time of the drop


def _drop_times(context: RunContext) -> list[FloatArray]:
    """Flow time at which half the drop is done, times ‖B‖, less ln(1/scale): from starts of one direction."""
    seed = context.seeds(1)[0]
    return [np.array([_drop_time(scale, seed)]) for scale in SCALES]


def _drop_time(scale: float, seed: int) -> float:
    task = UNLIKE_TEACHERS
    moments = population(task, MODEL)
    rate = float(np.linalg.norm(moments.B))
    logarithm = float(np.log(1 / scale))
    start = initial_weights(MODEL, task, scale, seed, "restricted")
    half = (moments.c + moments.minimum_loss) / 2
    return crossing(task, MODEL, start, half, (logarithm + 6) / rate) * rate - logarithm


def _constants(context: RunContext, control: str) -> list[FloatArray]:
    """What the drop time leaves once ln(1/scale)/‖B‖ is taken away: the same for every scale, in the limit."""
    task, seed = UNLIKE_TEACHERS, context.seeds(1)[0]
    moments = population(task, MODEL)
    rate = float(np.linalg.norm(moments.B))
    factor = 2 if control == "rate 2‖B‖" else 1
    constants = []
    for scale in SCALES:
        start = initial_weights(MODEL, task, scale, seed, "restricted")
        amplitude = _unstable_amplitude(start, moments.B, control)
        time = half_loss_time(moments, amplitude) * rate / factor
        constants.append(np.array([time - np.log(1 / scale)]))
    return constants


def _unstable_amplitude(start: Weights, B: FloatArray, control: str) -> float:
    """Size of the unstable mode: (v_h + ⟨U_h, B⟩/‖B‖)/2 over all heads."""
    v = start["value"][:, -1]  # (H,)
    if control == "value rows alone":
        return float(np.linalg.norm(v))
    D = len(B)
    U = start["key_query"][:, :D, :D]
    overlap = np.einsum("hij,ij->h", U, B) / np.linalg.norm(B)
    return float(np.linalg.norm((v + overlap) / 2))


def _halves(context: RunContext) -> list[FloatArray]:
    """When the loss is midway between that at M = 0 and that of the minimum, along flows of the unstable mode."""
    model = Merged(heads=1)
    source = population_statistics(LARGE_UNITS, model)
    Λ, Ω = LARGE_UNITS.covariance, LARGE_UNITS.teacher_covariance
    B = Λ @ Ω @ Λ
    mode = B / np.linalg.norm(B)
    no_attention = merged_head(0.0, np.zeros((2, 2)))
    loss_at_zero, _ = objective(model, source)(no_attention)

    halves = []
    for w in HALF_LOSS_STARTS:
        # Dense while the loss falls, and one time long after.
        times = np.append(np.linspace(0.0, 0.2, 4001), 5.0)
        start = merged_head(w, w * mode)
        losses = flow(model, source, start, times, rtol=1e-10).loss
        middle = (loss_at_zero + losses[-1]) / 2
        halves.append(crossing_times(times, losses, [middle]))
    return halves


def _half_loss_times(context: RunContext, control: str) -> list[FloatArray]:
    moments = changed_moments(LARGE_UNITS, Merged(heads=1), control)
    time = drop_time if control == "ln(1/w)/‖B‖" else half_loss_time
    return [np.array([time(moments, w)]) for w in HALF_LOSS_STARTS]


CLAIMS = (
    Claim(
        id="one_drop.algorithm",
        title="Trained merged attention makes one preconditioned gradient step on its prompt",
        paper="zhang2025",
        equation="global minimum",
        origin="Ahn et al. 2023, von Oswald et al. 2023",
        statement=r"\hat y_q = \beta^\top A^{-1} B \Lambda^{-1} x_q",
        observable="predictions of 500 fresh prompts by trained weights; white, general, noisy and "
        "non-commuting tasks",
        limit="t → ∞: exact there",
        measure=_outputs,
        assumes=POPULATION_MOMENTS,
        predict=_gradient_steps,
        judge=equal_within(1e-9, axes=("prompt", "prediction")),
        controls=(*MOMENTS, "Newton's step", "plain gradient step"),
        hypotheses=(
            "after training, restricted block, unlimited data",
            "any Λ and Ω, noise",
        ),
        tier="fast",
    ),
    Claim(
        id="one_drop.unbalanced",
        title="The closed form for white inputs holds for unbalanced starts too",
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
        title="Merged attention drops at (ln(1/scale) + C)/‖B‖ with a constant C of the start's direction",
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
        title="The half-loss time of the unstable mode is exact in any unit of the task",
        paper="zhang2025",
        equation="duration of the plateau",
        origin="the exact time goes beyond",
        statement=r"L(t_{1/2}) = (c + L(M^\star))/2",
        observable="when the loss of the flow is midway, from scales 0.1 and 0.01; non-commuting, noise, large Λ",
        limit="none: exact",
        measure=_halves,
        assumes=POPULATION_MOMENTS,
        predict=_half_loss_times,
        judge=equal_within(1e-5, axes=("start", "half-loss time")),
        controls=("ln(1/w)/‖B‖", TRACE_DROPPED, LONGER_CONTEXT),
        tier="fast",
    ),
)
