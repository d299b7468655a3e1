"""Gradient flow of the blocks of one layer at any N, with noise and teachers of any variance."""

from typing import NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import flow
from ....task import Task
from ....teachers import Gaussian
from ....theory.linear_transformer import FourBlockFlow, four_block_flow, mode_flow
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.judges import equal_within
from ...exact_statistics import FEATURE_MOMENTS, population_statistics
from .setting import LOSS, head_weights, mode_task, one_head

BOUND = 1e-8
"""Of two integrations, each accurate to 1e-10 of the largest value."""

MANY = 8
"""Starts from which they are integrated together, by other steps than a few."""

UNIT_TEACHERS = "teachers of variance 1"
NO_NOISE = "without the noise of the labels"
NO_COUPLING = "each mode alone"
NO_NULL_BLOCKS = "p1 = q2 = 0"
WITH_QUERY = "with the query's own token"

# Two diagonal blocks

INPUTS, TEACHERS, NOISE = (0.7, 1.3, 0.3), (0.5, 2.0, 1.6), 0.3
"""In another order than that of the modes, by decreasing ωs."""
ORDER = [1, 2, 0]
LENGTHS = {2: 0.25, 5: 0.75}
MODEL = Merged(heads=1, outputs=3, divisor="tokens")
"""A head that divides by N + 1."""
TIMES = np.array([0.0, 0.1, 0.3])
"""Flow times in which every term moves the weights by 1e-3 and more; that flows go on as stated, others show."""
SIZE = 0.4
"""Of starts that are large enough for every term to count from the first moment on."""


def _basis() -> FloatArray:
    """A rotation (3, 3), so that no mode is an input."""
    return np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]


def _rotated_task(teachers: FloatArray, noise: float) -> Task:
    U = _basis()
    return Task(
        covariance=U * INPUTS @ U.T,
        teachers=Gaussian.shared_basis(teachers, U),
        context_length=LENGTHS,
        noise_variance=noise,
    )


def _starts(context: RunContext) -> FloatArray:
    """p and q (2, MANY, 3) in the order of the inputs."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return SIZE * generator.normal(size=(2, MANY, len(INPUTS)))


def _measured_blocks(context: RunContext) -> list[FloatArray]:
    """Losses (T,) and products p q (T, 3) by mode from two starts, of gradient flow of all weights."""
    task, U = _rotated_task(np.array(TEACHERS), NOISE), _basis()
    statistics = population_statistics(task, MODEL)
    found = []
    for p, q in np.swapaxes(_starts(context)[:, :2], 0, 1):
        weights = head_weights(task, U * p @ U.T, U * q @ U.T)
        run = flow(MODEL, statistics, weights, TIMES)
        p_t = run.weights["value"][:, 0, :, 3:]
        products = p_t @ run.weights["key_query"][:, 0, :3, :3]
        found += [run.loss, np.einsum("im,tij,jm->tm", U, products, U)]
    return found


def _stated_blocks(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the flow of diagonal p and q: the first start among many, the second alone; or of a wrong task."""
    teachers = np.ones(3) if control == UNIT_TEACHERS else np.array(TEACHERS)
    task = _rotated_task(teachers, 0.0 if control == NO_NOISE else NOISE)
    law = "decoupled" if control == NO_COUPLING else "exact"
    p, q = _starts(context)[:, :, ORDER]
    together = mode_flow(task, p, q, TIMES, MODEL, law=law)
    losses, products = together.loss, together.coefficients
    if control == UNMODIFIED:
        alone = mode_flow(task, p[1], q[1], TIMES, MODEL)
        losses[:, 1], products[:, 1] = alone.loss, alone.coefficients
    products = products[:, :, np.argsort(ORDER)]
    return [losses[:, 0], products[:, 0], losses[:, 1], products[:, 1]]


# A slow mode, one that is off, and one whose input does not vary

SLOW_INPUTS, SLOW_TEACHERS = (1.0, 0.03, 0.002, 0.0), (1.0, 2.0, 1.0, 1.0)
SLOW_NOISE, SLOW_LENGTH = 0.1, 50
SLOW_START = ((0.01, 0.02, 0.01, 0.01), (0.03, 0.01, 0.01, 0.01))
"""p and q."""
SLOW_TIMES = (0.0, 5.0, 2e3, 4e3, 5e3, 1e4, 1e6)
"""Flow times: the second mode, of a rate of 1/555 of the first, is half learned at 5,000; p of the third has shrunk
to a thousandth then."""


def _measured_slow_mode(context: RunContext) -> list[FloatArray]:
    """Products p q (T,) of every mode along gradient flow of all weights."""
    task = mode_task(SLOW_INPUTS, SLOW_LENGTH, SLOW_TEACHERS, noise=SLOW_NOISE)
    model = one_head(task)
    start = head_weights(task, *SLOW_START)
    run = flow(model, population_statistics(task, model), start, SLOW_TIMES)
    p = np.einsum("tii->ti", run.weights["value"][:, 0, :, 4:])
    q = np.einsum("tii->ti", run.weights["key_query"][:, 0, :4, :4])
    return list((p * q).T)


def _stated_slow_mode(context: RunContext, control: str) -> list[FloatArray]:
    noise = 0.0 if control == NO_NOISE else SLOW_NOISE
    task = mode_task(SLOW_INPUTS, SLOW_LENGTH, SLOW_TEACHERS, noise=noise)
    law = "decoupled" if control == NO_COUPLING else "exact"
    return list(mode_flow(task, *SLOW_START, SLOW_TIMES, law=law).coefficients.T)


# Equal modes

EQUAL_INPUT, EQUAL_TEACHER, EQUAL_NOISE, EQUAL_LENGTH = 0.7, 1.5, 0.4, 5
EARLY, LATE = (0.0, 1.0, 3.0, 6.0, 12.0), (0.0, 380.0, 390.0)
"""Flow times: a start of 1e-120 grows for 376."""


class EqualStart(NamedTuple):
    """p and q of all modes at the start, and flow times through what is learned."""

    p: float
    q: float
    times: tuple[float, ...]


EQUAL_STARTS = (
    EqualStart(0.01, 0.01, EARLY),
    EqualStart(0.02, -0.3, EARLY),
    EqualStart(1.5, 1.2, EARLY),
    EqualStart(-0.4, -0.1, EARLY),
    EqualStart(1e-120, 2e-120, EARLY),
    EqualStart(1e-120, 2e-120, LATE),
)
"""Small, of two signs, above what is learned, negative, and with squares below all numbers."""


def _equal_task() -> Task:
    return mode_task(
        [EQUAL_INPUT] * 2, EQUAL_LENGTH, [EQUAL_TEACHER] * 2, noise=EQUAL_NOISE
    )


def _measured_equal_modes(context: RunContext) -> list[FloatArray]:
    """p and q (T, 2) of the first of two equal modes along gradient flow of all weights, from every start."""
    task = _equal_task()
    model, statistics = one_head(task), population_statistics(task, one_head(task))
    found = []
    for p, q, times in EQUAL_STARTS:
        weights = head_weights(task, [p] * 2, [q] * 2)
        run = flow(model, statistics, weights, times)
        value, key_query = run.weights["value"], run.weights["key_query"]
        found.append(np.stack([value[:, 0, 0, 2], key_query[:, 0, 0, 0]], axis=1))
    return found


def _stated_equal_modes(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the closed form of each mode alone, or of another task."""
    noise = 0.0 if control == NO_NOISE else EQUAL_NOISE
    ω = 1.0 if control == UNIT_TEACHERS else EQUAL_TEACHER
    task = mode_task([EQUAL_INPUT] * 2, EQUAL_LENGTH, [ω] * 2, noise=noise)
    found = []
    for p, q, times in EQUAL_STARTS:
        course = mode_flow(task, [p] * 2, [q] * 2, times, law="decoupled")
        found.append(np.stack([course.p[:, 0], course.q[:, 0]], axis=1))
    return found


# Four diagonal blocks

BLOCK_INPUTS, BLOCK_TEACHERS = (0.6, 1.3), (0.7, 1.9)
BLOCK_LENGTH, BLOCK_NOISE = 5, 0.3


def _block_task(teachers: tuple[float, ...], noise: float) -> Task:
    return mode_task(BLOCK_INPUTS, BLOCK_LENGTH, teachers, noise=noise)


def _layer(*, reads_query: bool = False) -> Merged:
    """One head that divides by 4, not by the 5 tokens of a context."""
    return Merged(heads=1, outputs=2, divisor=4.0, query_token=reads_query)


def _block_starts(context: RunContext) -> FloatArray:
    """p1, p2, q1 and q2 (4, MANY, 2) in the order of the inputs, which is not that of the modes."""
    generator = np.random.default_rng(context.seeds(1)[0])
    return SIZE * generator.normal(size=(4, MANY, 2))


def _flow_of_blocks(
    context: RunContext, start: int, *, reads_query: bool = False
) -> list[FloatArray]:
    """The loss (T,), blocks and what they predict (T, 10) from one of the starts, of gradient flow of all weights."""
    layer = _layer(reads_query=reads_query)
    task = _block_task(BLOCK_TEACHERS, BLOCK_NOISE)
    statistics = population_statistics(task, layer, block="full")
    p1, p2, q1, q2 = (np.diag(block) for block in _block_starts(context)[:, start])
    weights = {name: np.zeros(shape) for name, shape in layer.shapes(2).items()}
    weights["value"][0] = np.hstack([p1, p2])
    weights["key_query"][0, :, :2] = np.vstack([q1, q2])
    run = flow(layer, statistics, weights, TIMES)
    return [run.loss, _diagonals(run.weights)]


def _diagonals(weights: Weights) -> FloatArray:
    """p1, p2, q1, q2 and p1q2 + p2q1 (T, 10) along a run."""
    value, key_query = weights["value"][:, 0], weights["key_query"][:, 0, :, :2]
    blocks = (value[:, :, :2], value[:, :, 2:], key_query[:, :2], key_query[:, 2:])
    p1, p2, q1, q2 = (np.einsum("tii->ti", block) for block in blocks)
    return np.concatenate([p1, p2, q1, q2, p1 * q2 + p2 * q1], axis=1)


def _measured_four_blocks(context: RunContext) -> list[FloatArray]:
    return _flow_of_blocks(context, 0) + _flow_of_blocks(context, 1)


def _stated_four_blocks(context: RunContext, control: str) -> list[FloatArray]:
    """The same by the flow of four diagonal blocks: the first start among many, the second alone; or a wrong one."""
    if control == WITH_QUERY:
        starts = (0, 1)
        runs = [_flow_of_blocks(context, k, reads_query=True) for k in starts]
        return runs[0] + runs[1]
    teachers = (1.0, 1.0) if control == UNIT_TEACHERS else BLOCK_TEACHERS
    task = _block_task(teachers, 0.0 if control == NO_NOISE else BLOCK_NOISE)
    blocks = _block_starts(context)[:, :, ::-1].copy()
    if control == NO_NULL_BLOCKS:
        blocks[[0, 3]] = 0.0
    together = four_block_flow(task, blocks, TIMES, _layer())
    losses, at_times = together.loss, _blocks_of(together)
    if control == UNMODIFIED:
        alone = four_block_flow(task, blocks[:, 1], TIMES, _layer())
        losses[:, 1], at_times[:, 1] = alone.loss, _blocks_of(alone)
    return [losses[:, 0], at_times[:, 0], losses[:, 1], at_times[:, 1]]


def _blocks_of(course: FourBlockFlow) -> FloatArray:
    """p1, p2, q1, q2 and coefficients (T, …, 10), each in the order of the inputs."""
    each = (course.p1, course.p2, course.q1, course.q2, course.coefficients)
    return np.concatenate([values[..., ::-1] for values in each], axis=-1)


CLAIMS = (
    Claim(
        id="modes.exact_flow",
        title="Diagonal p and q of noisy modes follow two equations each, with one coupling of all",
        paper="mainali2025",
        beyond_paper=True,
        equation="mode-wise dynamics",
        origin="the paper's equations are the limit N → ∞; those at finite N are derived here",
        statement=r"\dot p = \omega s^2 q - (1 + \tfrac1N) \omega s^3 p q^2 - \tfrac1N (\omega s + \sigma^2)\, p\, T_q,"
        r"\quad \dot q = \omega s^2 p - (1 + \tfrac1N) \omega s^3 p^2 q - \tfrac1N s^2 q\, T_p",
        observable="loss and products p q along gradient flow of all weights on the exact moments, rotated modes, "
        "contexts of 2 and of 5 tokens",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_measured_blocks,
        predict=_stated_blocks,
        judge=equal_within(BOUND),
        controls=(UNIT_TEACHERS, NO_NOISE, NO_COUPLING),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.slow_mode",
        title="A mode of a rate of a five-hundredth is learned as stated, long after the others have come to rest",
        paper="mainali2025",
        beyond_paper=True,
        equation="mode-wise dynamics",
        origin="derived here",
        statement=r"p_\alpha q_\alpha(t) \text{ of the coupled equations, up to } t = 10^6",
        observable="products p q of four noisy modes along gradient flow of all weights on the exact moments",
        limit="none",
        hypotheses=("shared basis", "null blocks 0"),
        measure=_measured_slow_mode,
        predict=_stated_slow_mode,
        judge=equal_within(BOUND),
        controls=(NO_NOISE, NO_COUPLING),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.equal_modes",
        title="Equal modes from equal starts follow the closed form of one mode at every N, from any start",
        paper="mainali2025",
        beyond_paper=True,
        equation="mode-wise dynamics",
        origin="the paper's closed form is that of a balanced start in the limit N → ∞",
        statement=r"\dot p = \omega s^2 q\, (1 - p q\, s_\infty),\quad \dot q = \omega s^2 p\, (1 - p q\, s_\infty),"
        r"\quad s_\infty = (1 + \tfrac1N) s + \tfrac1{N\omega} \sum (\omega s + \sigma^2)",
        observable="p and q along gradient flow of all weights on the exact moments, from six starts",
        limit="none",
        hypotheses=(
            "equal variances of inputs and teachers",
            "equal starts",
            "null blocks 0",
        ),
        measure=_measured_equal_modes,
        predict=_stated_equal_modes,
        judge=equal_within(BOUND),
        controls=(UNIT_TEACHERS, NO_NOISE),
        assumes=LOSS,
        tier="fast",
    ),
    Claim(
        id="modes.four_blocks",
        title="All four diagonal blocks of noisy modes have a known loss and flow without the query's own token",
        paper="mainali2025",
        beyond_paper=True,
        equation="null blocks",
        origin="the paper sets p1 and q2 to zero; derived here",
        statement=r"L = \sum \omega s + K\sigma^2 - 2 \sum \omega s^2 b + (1 + \tfrac1N) \sum s\, E[c^2] + \tfrac1N "
        r"\sum u \sum s v + \tfrac1N \sum s (w - uv)",
        observable="loss and all blocks along gradient flow of all weights on the exact moments of every feature",
        limit="none",
        hypotheses=(
            "shared basis",
            "normal teachers",
            "the query's own token is not read",
        ),
        measure=_measured_four_blocks,
        predict=_stated_four_blocks,
        judge=equal_within(BOUND),
        controls=(UNIT_TEACHERS, NO_NOISE, NO_NULL_BLOCKS, WITH_QUERY),
        assumes=FEATURE_MOMENTS,
        tier="fast",
    ),
)
