"""Many runs of online SGD of one layer with p and q alone, each on fresh prompts of its own."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged
from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization, is_softmax, refuse_other_outputs
from ...runtime.arrays import BoolArray, FloatArray, IndexArray
from ...runtime.checks import finite_array, positive_number, real_array, whole_number
from ...runtime.display import Displayed, Summary
from ...task import Task
from ...teachers import Gaussian
from ..data.draws import input_root

# Random numbers that are drawn at once: half a megabyte, which stays in the cache.
_BLOCK = 2**16
# Directions of the teachers' covariance that count as rounding, relative to the largest.
_ROUNDING = 1e-13


@dataclass(frozen=True, eq=False, repr=False)
class SgdChains(Displayed):
    """Runs of online SGD: p (chains, T, K, K) and q (chains, T, D, D) before `steps` (T,), at this rate on L.

    A run that has diverged has nan from there on; `diverged` (chains,) says which have.
    """

    steps: FloatArray
    p: FloatArray
    q: FloatArray
    learning_rate: float
    batch: int

    @property
    def diverged(self) -> BoolArray:
        """Which runs end without finite weights, (chains,)."""
        return np.asarray(~np.all(np.isfinite(self.p), axis=(1, 2, 3)))

    @property
    def difference(self) -> FloatArray:
        """|p|² − |q|² (chains, T), Frobenius norms."""
        return np.asarray(
            np.sum(self.p**2, axis=(2, 3)) - np.sum(self.q**2, axis=(2, 3))
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings and the weights as plain numbers and lists."""
        return {
            "learning_rate": self.learning_rate,
            "batch": self.batch,
            "steps": self.steps.tolist(),
            "p": self.p.tolist(),
            "q": self.q.tolist(),
        }

    def summary(self) -> Summary:
        """The settings, and how many runs diverged, on one screen."""
        rows = {
            "chains": f"{len(self.p)}, {int(np.sum(self.diverged))} of them diverged",
            "steps": f"{self.steps[-1]:g}",
            "prompts a step": self.batch,
            "learning rate": f"{self.learning_rate:g}",
        }
        return Summary("Online SGD of one layer", rows)


def sgd_chains(
    task: Task,
    p: ArrayLike,
    q: ArrayLike,
    steps: ArrayLike,
    model: Parametrization | None = None,
    *,
    learning_rate: float,
    batch: int,
    chains: int = 1,
    seed: int = 0,
) -> SgdChains:
    """Runs of SGD on L of ŷ = p β q x_q with `batch` fresh prompts a step, recorded before each of `steps` (T,).

    They start at p (K, K) and q (D, D), or at each run's own (chains, …); the other blocks of the head stay zero. Runs
    draw by the seed and their number alone. ValueError for other models than one merged head of linear attention, for
    inputs or teachers that are not Gaussian of mean zero, and for several context lengths.

    >>> from attndyn import Task
    >>> from attndyn.teachers import Gaussian
    >>> task = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
    >>> half = 0.5 * np.eye(2)
    >>> runs = sgd_chains(task, half, half, [0, 100], learning_rate=0.01, batch=32, chains=3)
    >>> runs.p.shape, runs.diverged
    ((3, 2, 2, 2), array([False, False, False]))
    """
    K, D = task.outputs, task.dimension
    rate = positive_number(learning_rate, "learning_rate")
    batch = whole_number(batch, "batch")
    count = whole_number(chains, "chains")
    whole_number(seed, "seed", least=0)
    arguments = _law_arguments(task, model)
    at = _recorded_steps(steps)
    p_start = _starts(p, "p", "(K, K)", count, K)
    q_start = _starts(q, "q", "(D, D)", count, D)

    records = (np.empty((count, len(at), K, K)), np.empty((count, len(at), D, D)))
    streams = np.random.SeedSequence(seed).spawn(count)
    for chain, stream in enumerate(streams):
        weights = (p_start[chain].copy(), q_start[chain].copy())
        run = _Run(np.random.default_rng(stream), rate, batch, at)
        run.fill(arguments, weights, (records[0][chain], records[1][chain]))
    _mark_diverged(*records)
    return SgdChains(at.astype(float), *records, rate, batch)


class _Run(NamedTuple):
    """One run: its random numbers, the learning rate, the prompts of a step, and the steps (T,) to record."""

    generator: np.random.Generator
    rate: float
    batch: int
    at: IndexArray

    def fill(
        self,
        arguments: tuple[FloatArray, FloatArray, float, float, int, float],
        weights: tuple[FloatArray, FloatArray],
        records: tuple[FloatArray, FloatArray],
    ) -> None:
        """Stores p and q, which change in place, in the records (T, …)."""
        # Lazily: numba is slow to import.
        from .chain_kernels import PromptLaw, sgd_steps

        law = PromptLaw(*arguments)
        last = int(self.at[-1]) + 1  # one more, so that the last weights are stored
        block = max(1, _BLOCK // (self.batch * law.numbers))
        for first in range(0, last, block):
            count = min(block, last - first)
            numbers = self.generator.standard_normal((count, law.numbers, self.batch))
            path = tuple(np.empty((count, *value.shape)) for value in weights)
            sgd_steps(law, self.rate, numbers, weights, (path[0], path[1]))
            here = (self.at >= first) & (self.at < first + count)
            for record, values in zip(records, path, strict=True):
                record[here] = values[self.at[here] - first]


def _starts(
    value: ArrayLike, name: str, shape: str, count: int, size: int
) -> FloatArray:
    """The start of each run, (chains, size, size), from one for all of them or from one for each."""
    of_runs = f"(chains, {shape[1:]}"
    letter = shape[1]
    start = finite_array(value, name, shape, of_runs, **{letter: size})
    if start.ndim == 3 and len(start) != count:
        raise ValueError(
            f"{name} has starts of {len(start)} runs, and chains = {count} are asked for"
        )
    return np.broadcast_to(start, (count, size, size))


def _law_arguments(
    task: Task, model: Parametrization | None
) -> tuple[FloatArray, FloatArray, float, float, int, float]:
    """What a `PromptLaw` holds; ValueError for tasks and models that it does not cover."""
    layer = Merged(heads=1, outputs=task.outputs) if model is None else model
    if not isinstance(layer, Merged) or is_softmax(layer) or layer.head_count != 1:
        raise ValueError(
            f"sgd_chains is for one merged head of linear attention, not for {layer}: train takes every model"
        )
    refuse_other_outputs(task.outputs, layer)
    teachers = task.teachers
    if not isinstance(teachers, Gaussian) or not teachers.symmetric:
        raise ValueError(
            "sgd_chains draws Gaussian teachers of mean zero; train(model, task, …, batch=B) takes every law"
        )
    if not task.inputs.is_gaussian or np.any(task.input_mean):
        raise ValueError(
            "sgd_chains draws Gaussian x of mean zero; train(model, task, …, batch=B) takes every law"
        )
    if len(task.context_lengths) != 1:
        raise ValueError(
            f"sgd_chains draws one context length, not {len(task.context_lengths)}: train(model, task, …, batch=B) "
            "averages over several"
        )
    N = task.context_lengths[0]
    return (
        np.ascontiguousarray(input_root(task)),
        _teacher_root(teachers),
        float(np.sqrt(task.noise_variance)),
        float(np.sqrt(task.query_noise_variance)),
        N,
        float(attention_divisor(layer, N, task.dimension)),
    )


def _teacher_root(teachers: Gaussian) -> FloatArray:
    """R (K·D, rank) with vec W = R z for as few normal numbers z as the covariance has directions."""
    K, D = teachers.outputs, teachers.dimension
    variances, directions = np.linalg.eigh(teachers.covariance.reshape(K * D, K * D))
    vary = variances > _ROUNDING * max(float(variances[-1]), 0.0)
    root = directions[:, vary] * np.sqrt(variances[vary])
    return np.ascontiguousarray(root)


def _recorded_steps(steps: ArrayLike) -> IndexArray:
    """Steps (T,) to record as whole numbers; ValueError unless they increase from 0 or more."""
    counts = real_array(steps, "steps", "()", "(T,)").reshape(-1)
    is_whole = np.all(np.isfinite(counts)) and np.all(counts == np.round(counts))
    if not is_whole or counts[0] < 0 or np.any(np.diff(counts) <= 0):
        raise ValueError("steps must be whole numbers of zero or more that increase")
    return counts.astype(np.intp)


def _mark_diverged(p: FloatArray, q: FloatArray) -> None:
    """Sets p (chains, T, K, K) and q (chains, T, D, D) to nan from the first record that is not finite."""
    is_finite = np.all(np.isfinite(p), axis=(2, 3)) & np.all(
        np.isfinite(q), axis=(2, 3)
    )
    is_lost = ~np.logical_and.accumulate(is_finite, axis=1)
    p[is_lost] = np.nan
    q[is_lost] = np.nan
