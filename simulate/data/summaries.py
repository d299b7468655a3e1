"""Context summaries: all that a read-out ŷ = (β, s)ᵀ M x_q sees of a prompt, β = Σ y x / N and s = Σ y² / N.

They are computed from tokens, or drawn from their law given the teacher, with 2D + 2 random numbers a prompt in place
of those of N + 1 tokens. The law is exact for every N ≥ 1, every D and any noise (derived here):

Write x = R z with R Rᵀ = Λ and z ~ N(0, I), and u = Rᵀ w. With g = Zu / |u| (N,), the part of Z (N, D) along u, the
labels are y = |u| g + σ ε. Rotate the two independent normal vectors g and ε: y = √v p with v = |u|² + σ² and
p ~ N(0, I), and q = (σ g − |u| ε) / √v ~ N(0, I) is independent of p, so that |u| g = (|u|² p + |u| σ q) / √v. Hence

    Σ y²  = v c                   with c = |p|² ~ χ²_N,
    uᵀΣ y z = |u|² c + |u| σ √c ξ   with ξ = qᵀp / |p| ~ N(0, 1), independent of c,
    Σ y z across u = √(v c) ζ     with ζ ~ N(0, I) across u, as the part of Z across u is independent of y.

With one normal vector ζ (D,), whose entry along u is ξ, and (σ − √v) u uᵀ / |u|² = −u uᵀ / (σ + √v), these are

    Σ y z = c u + √c (√v ζ − u (uᵀζ) / (σ + √v)),

which divides by nothing that vanishes unless there are neither labels nor noise.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import refuse_wrong_order
from ...runtime.display import Displayed, Summary, array_summary
from ...runtime.machine import refuse_too_large
from ...task import Task
from ...teachers import Pool
from .draws import input_root
from .prompts import SUMMARY_NUMBERS, Data, Prompts, sample, stream

_COPIES = 3
"""Copies of the summaries that are in memory while they are drawn: those of the chunks, and of their parts."""


@dataclass(frozen=True, eq=False, repr=False)
class ContextSummaries(Displayed):
    """β and s of every context with its query and its label; made by `context_summaries` or `sample_summaries`."""

    beta: FloatArray
    """Σ y x / N, (P, D)."""
    mean_squares: FloatArray
    """s = Σ y² / N, (P,)."""
    query: FloatArray
    """x of the query, (P, D)."""
    labels: FloatArray
    """y of the query, (P,)."""
    context_length: int
    """N."""

    @property
    def sequences(self) -> int:
        """P, the number of sequences."""
        return len(self.labels)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return int(self.query.shape[1])

    def summary(self) -> Summary:
        """How many summaries there are, and the range of their numbers."""
        rows: dict[str, object] = {
            "sequences": f"{self.sequences:,}",
            "dimension": self.dimension,
            "context length": self.context_length,
        }
        for name in ("beta", "mean_squares", "query", "labels"):
            rows[name.replace("_", " ")] = array_summary(getattr(self, name))
        return Summary("Context summaries", rows)

    def to_dict(self) -> dict[str, Any]:
        """The arrays as lists, and the context length."""
        return {
            "beta": self.beta.tolist(),
            "mean_squares": self.mean_squares.tolist(),
            "query": self.query.tolist(),
            "labels": self.labels.tolist(),
            "context_length": self.context_length,
        }


def context_summaries(data: Data) -> ContextSummaries:
    """The summaries of data that hold tokens, chunk by chunk.

    ValueError for data of several context lengths, or of several outputs; MemoryError where they do not fit.

    >>> from attndyn.simulate import prompts_from_tokens
    >>> context_summaries(prompts_from_tokens([[[2, 3.0], [4, 1], [5, 7]]])).beta
    array([[5.]])
    """
    length = _checked_length(data.context_lengths)
    _refuse_outputs(data.outputs)
    _refuse_size(data.sequences, data.dimension)
    parts = []
    for tokens, targets in data.chunks():
        x, y = tokens[:, :length, :-1], tokens[:, :length, -1]
        # "p" prompts, "n" tokens of the context, "d" coordinates of x.
        beta = np.einsum("pn,pnd->pd", y, x) / length
        mean_squares = np.einsum("pn,pn->p", y, y) / length
        query = tokens[:, length, :-1].copy()
        labels = targets[:, length, 0].copy()
        parts.append((beta, mean_squares, query, labels))
    return _joined(parts, length)


def sample_summaries(
    task: Task,
    sequences: int,
    seed: int = 0,
    *,
    split: str = "data",
    balanced: bool = False,
) -> ContextSummaries:
    """Summaries of so many prompts of a task, drawn from their law given the teachers, without any token.

    The teachers are those of `sample` with the same arguments; all other numbers are independent of that sample.
    `balanced` takes the teachers of a pool in turn, as there, and all of them.
    ValueError for inputs that are not Gaussian or have a mean, for several context lengths or outputs, fewer
    sequences than a balanced pool has teachers, and as `sample`;
    MemoryError where the summaries do not fit.
    Source: derived here, in the docstring of this module.

    >>> from attndyn import Task
    >>> summaries = sample_summaries(Task([2, 1], context_length=50), sequences=10)
    >>> summaries.beta.shape, summaries.labels.shape
    ((10, 2), (10,))
    """
    in_order = isinstance(task, Task)
    refuse_wrong_order("sample_summaries(task, sequences)", in_order, task, sequences)
    prompts = sample(task, sequences, seed, split=split, balanced=balanced)
    length = _checked_length(task.context_lengths)
    _refuse_outputs(task.outputs)
    _refuse_other_inputs(task)
    _refuse_few_sequences(prompts)
    _refuse_size(prompts.sequences, task.dimension)
    parts = [_drawn(prompts, index, length) for index in prompts.indices]
    return _joined(parts, length)


_Part = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""β, s, queries and labels of a chunk."""


def _drawn(prompts: Prompts, index: int, length: int) -> _Part:
    """β (P, D), s (P,), x_q (P, D) and y_q (P,) of a chunk."""
    task = prompts.task
    w = prompts.teachers(index)[:, 0]  # (P, D)
    R = input_root(task)
    u = w @ R  # (P, D)
    draws = stream(prompts.seed, prompts.split, index, SUMMARY_NUMBERS)
    sums = _context_sums(u, task.noise_variance, length, draws)

    z_q = draws.standard_normal(w.shape)
    labels = np.einsum("pd,pd->p", u, z_q)
    if task.query_noise_variance:
        noise = draws.standard_normal(len(w))
        labels += np.sqrt(task.query_noise_variance) * noise
    return sums.yz @ R.T / length, sums.y_squared / length, z_q @ R.T, labels


class _ContextSums(NamedTuple):
    """Σ y z (P, D) and Σ y² (P,) of contexts of white inputs z."""

    yz: FloatArray
    y_squared: FloatArray


def _context_sums(
    u: FloatArray, noise_variance: float, length: int, draws: np.random.Generator
) -> _ContextSums:
    """Both sums of teachers u (P, D) of white inputs, as the docstring of this module derives them."""
    c = draws.chisquare(length, len(u))
    ζ = draws.standard_normal(u.shape)
    v = np.einsum("pd,pd->p", u, u) + noise_variance
    root = np.sqrt(v)
    # Where both roots are 0, so is u, and there is nothing to divide.
    divisor = np.where(v > 0, np.sqrt(noise_variance) + root, 1.0)
    along = np.einsum("pd,pd->p", u, ζ) / divisor
    spread = root[:, None] * ζ - along[:, None] * u
    yz = c[:, None] * u + np.sqrt(c)[:, None] * spread
    return _ContextSums(yz, v * c)


def _joined(parts: list[_Part], length: int) -> ContextSummaries:
    """The summaries of all chunks."""
    beta, mean_squares, query, labels = zip(*parts, strict=True)
    return ContextSummaries(
        beta=np.concatenate(beta),
        mean_squares=np.concatenate(mean_squares),
        query=np.concatenate(query),
        labels=np.concatenate(labels),
        context_length=length,
    )


def _checked_length(context_lengths: tuple[int, ...]) -> int:
    """N; ValueError unless there is one."""
    if len(context_lengths) > 1:
        raise ValueError(
            f"context summaries need one context length, and there are {len(context_lengths)}"
        )
    return context_lengths[0]


def _refuse_outputs(outputs: int) -> None:
    if outputs > 1:
        raise ValueError(
            f"context summaries are for one label of x, and there are {outputs}"
        )


def _refuse_other_inputs(task: Task) -> None:
    """ValueError unless x ~ N(0, Λ), for which the law of the summaries is known."""
    if task.inputs.is_gaussian and not np.any(task.input_mean):
        return
    raise ValueError(
        "summaries are drawn from their law for Gaussian inputs of mean 0: draw tokens with sample(…), and "
        "pass context_summaries(…) of them"
    )


def _refuse_few_sequences(prompts: Prompts) -> None:
    """ValueError if some teachers of a balanced pool would have no sequence."""
    law = prompts.task.teachers
    if not prompts.balanced or not isinstance(law, Pool):
        return
    if prompts.sequences < len(law.members):
        raise ValueError(
            f"the pool has {len(law.members)} teachers, and {prompts.sequences} sequences leave some of them out: draw "
            "at least one sequence a teacher, or leave balanced out"
        )


def _refuse_size(sequences: int, dimension: int) -> None:
    """MemoryError if the summaries of so many sequences do not fit."""
    size = _COPIES * 8.0 * sequences * 2 * (dimension + 1)
    what = f"the context summaries of {sequences:,} sequences of dimension {dimension}"
    refuse_too_large(what, size, "choose fewer sequences")
