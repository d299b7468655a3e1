"""Measures of a network along training: the spectra of its heads' QK and OV matrices and of its embedding."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import check_choice, finite_array, whole_number
from ...runtime.display import Displayed, Summary
from ...runtime.files import AnyPath, write_atomically
from ...runtime.line_charts import Line, LineChart
from .spectra import (
    Spectrum,
    distances_along,
    effective_rank,
    fourier_share,
    matrix_rank,
    overlaps_along,
    spectrum,
    spectrum_of_product,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = {"query_key": "QK", "output_value": "OV", "embedding": "embedding"}
"""What is measured, and its short name."""

FACTORS = {"query_key": ("query", "key"), "output_value": ("output", "value")}
"""The factors of each product."""

ROLES = ("query", "key", "value", "output", *KINDS)
"""What weights are called."""

QUANTITIES = {
    "effective_rank": "effective rank",
    "marginalised_rank": "marginalised rank",
    "subspace_distance": "subspace distance",
    "overlap": "overlap with the next",
    "fourier_share": "Fourier share",
}
"""What is measured of each matrix, the last of the embedding alone, and how an axis is labelled."""


@dataclass(frozen=True, eq=False, repr=False)
class MatrixMeasures(Displayed):
    """Measures along training of the matrices of one kind, one a head, that `names` (H,) tells apart.

    `effective_rank` and `marginalised_rank` are (T, H), the second without the leading singular values.
    `subspace_distance` (T, H) is that to the last checkpoint and `overlap` (T − 1, H) that with the next one, both of
    the `rank` (H,) leading right singular vectors. nan where a matrix is 0, and has no direction.
    """

    names: tuple[str, ...]
    effective_rank: FloatArray
    marginalised_rank: FloatArray
    subspace_distance: FloatArray
    overlap: FloatArray
    rank: IndexArray
    zeros: IndexArray
    """Checkpoint and head of each matrix that is 0, (K, 2)."""

    def summary(self) -> Summary:
        """Names of the heads, and the measures at both ends."""
        rows: dict[str, object] = {"heads": ", ".join(self.names)}
        for name in ("effective_rank", "marginalised_rank", "subspace_distance"):
            rows[QUANTITIES[name]] = both_ends(getattr(self, name))
        rows["rank of the subspaces"] = _range_of(self.rank)
        return Summary(f"Measures of {len(self.names)} matrices", rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, None in place of nan."""
        result: dict[str, Any] = {"heads": list(self.names), "rank": self.rank.tolist()}
        for name in tuple(QUANTITIES)[:4]:
            result[name] = without_nan(getattr(self, name))
        return result


@dataclass(frozen=True, eq=False, repr=False)
class Measures(Displayed):
    """Measures of a network at its checkpoints, `steps` (T,); None of what there are no weights for.

    `fourier_share` (T,) is the share of the embedding's power in its strongest frequencies. `notes` say what a reader
    of the numbers must know. No measure of these shows by itself what a network has learned: measure a control too.
    """

    steps: FloatArray
    query_key: MatrixMeasures | None = None
    output_value: MatrixMeasures | None = None
    embedding: MatrixMeasures | None = None
    fourier_share: FloatArray | None = None
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[str, MatrixMeasures]:
        """What is measured, by its short name: QK, OV, embedding."""
        pairs = ((KINDS[kind], getattr(self, kind)) for kind in KINDS)
        return {name: measures for name, measures in pairs if measures is not None}

    def summary(self) -> Summary:
        """The measures at both ends of training."""
        rows: dict[str, object] = {
            "checkpoints": f"{len(self.steps)}, steps {self.steps[0]:g} to {self.steps[-1]:g}"
        }
        for name, measures in self.kinds.items():
            rows[f"{name}: matrices"] = len(measures.names)
            for quantity in ("effective_rank", "subspace_distance"):
                rows[f"{name}: {QUANTITIES[quantity]}"] = both_ends(
                    getattr(measures, quantity)
                )
        if self.fourier_share is not None:
            rows[QUANTITIES["fourier_share"]] = both_ends(self.fourier_share)
        return Summary("Measures along training", rows, notes=self.notes)

    def chart(self) -> LineChart | None:
        """The effective rank of each matrix over the steps; None of a network without matrices."""
        curves = self.curves("effective_rank")
        lines = [Line(self.steps, ranks, name) for name, ranks in curves.items()]
        return LineChart(lines, "steps", "effective rank") if lines else None

    def curves(self, quantity: str) -> dict[str, FloatArray]:
        """Values over the steps by name, such as "QK layer 0 head 1"; ValueError for a quantity that there is not.

        Each is (T,), that of "overlap" (T − 1,).
        """
        check_choice(quantity, "quantity", QUANTITIES)
        if quantity == "fourier_share":
            share = self.fourier_share
            return {} if share is None else {"embedding": share}
        result = {}
        for kind, measures in self.kinds.items():
            for name, values in zip(
                measures.names, getattr(measures, quantity).T, strict=True
            ):
                result[kind if name == kind else f"{kind} {name}"] = values
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON; None in place of nan and of what is not measured."""
        result: dict[str, Any] = {"steps": self.steps.tolist()}
        for kind in KINDS:
            measures = getattr(self, kind)
            result[kind] = None if measures is None else measures.to_dict()
        share = self.fourier_share
        result["fourier_share"] = None if share is None else without_nan(share)
        result["notes"] = list(self.notes)
        return result

    def save(self, path: AnyPath) -> None:
        """Write all numbers to an npz file, as "query_key/effective_rank"; OSError if it cannot be written."""
        arrays: dict[str, Any] = {"steps": self.steps}
        for kind in KINDS:
            measures = getattr(self, kind)
            if measures is not None:
                for field in fields(measures):
                    arrays[f"{kind}/{field.name}"] = np.asarray(
                        getattr(measures, field.name)
                    )
        if self.fourier_share is not None:
            arrays["fourier_share"] = self.fourier_share
        write_atomically(path, lambda file: np.savez(file, **arrays))

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        quantity: str = "effective_rank",
        **style: Any,
    ) -> "Axes":
        """Curves of one quantity over the steps, one a matrix; on new axes if none are given.

        `quantity` is "effective_rank", "marginalised_rank", "subspace_distance", "overlap" or "fourier_share".
        """
        curves = self.curves(quantity)
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(layout="constrained").add_subplot()
        for name, values in curves.items():
            ax.plot(self.steps[: len(values)], values, **{"label": name} | style)
        ax.set_xlabel("steps")
        ax.set_ylabel(QUANTITIES[quantity])
        return ax


_ROUNDING = 1e-12
"""Measures below this are printed as 0: a distance of a subspace to itself is some 1e-15."""


STRONGEST = 5
"""How many frequencies are strong if nothing else is said: a network that adds modulo 31 uses three to five of 15."""


class Settings(NamedTuple):
    """How matrices are measured: rank of the subspaces, how many leading values the marginalised rank is without."""

    rank: int | None = None
    without: int = 1
    symbols: int | None = None
    strongest: int = STRONGEST


def measure(
    weights: Mapping[str, ArrayLike],
    steps: ArrayLike | None = None,
    *,
    rank: int | Mapping[str, int] | None = None,
    without: int = 1,
    symbols: int | None = None,
    strongest: int | None = None,
    names: Sequence[str] | None = None,
) -> Measures:
    """Spectral measures of a network at its checkpoints, from arrays that begin with an axis of T checkpoints.

    `weights` has "query" and "key" (T, …, r, D), "value" (T, …, r, D) and "output" (T, …, D, r), of which each head is
    one matrix that acts from the left, as in q = W_Q x; or "query_key" = W_QᵀW_K and "output_value" = W_O W_V
    (T, …, D, D) themselves; and "embedding" (T, n, D), one row a symbol. What is not there is not measured. `steps`
    (T,) increase; 0, 1, … if left out. Everything is computed in doubles.

    The subspaces have the dimension `rank`, one number or one for each of "query_key", "output_value", "embedding"; if
    left out, that of each head is the whole part of its effective rank at the last checkpoint. The marginalised
    effective rank is `without` so many leading singular values. With `symbols` the embedding is its first so many
    rows, and the share of their power in the `strongest` frequencies (5 if left out) is measured, as for numbers modulo
    `symbols`. `names` of the heads are made from their axes if left out.

    ValueError for other names or shapes, numbers that are not finite, a `rank` above that of a matrix, and settings of
    what there are no weights for.

    >>> rng = np.random.default_rng(0)
    >>> found = measure({"query": rng.normal(size=(3, 2, 4, 8)), "key": rng.normal(size=(3, 2, 4, 8))}, rank=2)
    >>> found.query_key.effective_rank.shape, found.query_key.names
    ((3, 2), ('head 0', 'head 1'))
    """
    arrays = _checked(weights)
    count = len(next(iter(arrays.values())))
    times = checked_steps(np.arange(count) if steps is None else steps, count)
    refuse_unused_settings(measured_kinds(arrays), rank, symbols, strongest)
    frequencies = STRONGEST if strongest is None else strongest
    settings = {
        kind: Settings(rank_of_kind(rank, kind), without, symbols, frequencies)
        for kind in KINDS
    }
    results: dict[str, MatrixMeasures] = {}
    for kind, name in KINDS.items():
        found = _spectra(arrays, kind, symbols)
        if found is not None:
            shape = found.values.shape[1:-1]
            own_names = head_names(shape) if shape else (name,)
            if names is not None and kind != "embedding":
                own_names = tuple(names)
            refuse_names(own_names, shape)
            results[kind] = measures_of_spectra(
                _one_head_axis(found), own_names, settings[kind], (name, times)
            )
    return collected(
        times, results, share_of(arrays.get("embedding"), settings["embedding"])
    )


def share_of(embedding: FloatArray | None, settings: Settings) -> FloatArray | None:
    """The Fourier share (T,) of an embedding (T, n, D), None without one or without a number of symbols."""
    if embedding is None or settings.symbols is None:
        return None
    return fourier_share(embedding[:, : settings.symbols], settings.strongest)


def collected(
    steps: FloatArray,
    results: Mapping[str, MatrixMeasures],
    share: FloatArray | None = None,
) -> Measures:
    """`Measures` of all kinds, with the notes that a reader needs."""
    notes: list[str] = []
    for kind, measures in results.items():
        notes += _notes(KINDS[kind], measures, steps)
    if share is not None and np.any(np.isnan(share)):
        step = steps[np.flatnonzero(np.isnan(share))[0]]
        notes.append(
            f"all symbols have one row of the embedding at step {step:g}, which has no Fourier share"
        )
    return Measures(steps, **results, fourier_share=share, notes=tuple(notes))


def measures_of_spectra(
    spectra: Spectrum,
    names: Sequence[str],
    settings: Settings,
    place: tuple[str, FloatArray],
) -> MatrixMeasures:
    """`MatrixMeasures` from the spectra (T, H) of heads with these names; `place` is their kind, and the steps."""
    values = spectra.values  # (T, H, R)
    ranks = matrix_rank(values)  # (T, H)
    kind, steps = place
    if settings.rank is not None:
        _refuse_rank_along(ranks, settings.rank, names, (kind, steps))
    of_all = effective_rank(values)
    of_others = np.full(of_all.shape, np.nan)
    if settings.without < values.shape[-1]:
        of_others = effective_rank(values, settings.without)
    chosen = [
        settings.rank or _default_rank(of_all[-1, h], ranks[:, h])
        for h in range(len(names))
    ]
    distances, overlaps = [], []
    for h, k in enumerate(chosen):
        head = Spectrum(values[:, h], spectra.vectors[:, h])
        distances.append(distances_along(head, k))
        overlaps.append(overlaps_along(head, k))
    return MatrixMeasures(
        names=tuple(names),
        effective_rank=of_all,
        marginalised_rank=of_others,
        subspace_distance=np.stack(distances, axis=1),
        overlap=np.stack(overlaps, axis=1),
        rank=np.array(chosen),
        zeros=np.argwhere(ranks == 0),
    )


def joined(parts: Sequence[MatrixMeasures]) -> MatrixMeasures:
    """The measures of several groups of heads as those of one.

    >>> one = measure({"query_key": np.ones((2, 1, 3, 3))}).query_key
    >>> joined([one, one]).effective_rank.shape
    (2, 2)
    """
    first = np.cumsum([0, *(len(part.names) for part in parts)])
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
        for name in (*tuple(QUANTITIES)[:4], "rank")
    }
    zeros = [
        part.zeros + np.array([0, start])
        for part, start in zip(parts, first[:-1], strict=True)
    ]
    names = [name for part in parts for name in part.names]
    return MatrixMeasures(tuple(names), **arrays, zeros=np.concatenate(zeros))


def head_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the heads of an array whose axes between checkpoints and matrices have this shape, counted from 0.

    >>> head_names((2,)), head_names((1, 2))
    (('head 0', 'head 1'), ('layer 0 head 0', 'layer 0 head 1'))
    """
    axes = ("layer", "head")[-len(shape) :]
    if len(shape) > len(axes):
        axes = tuple(f"axis {k}" for k in range(len(shape)))
    return tuple(
        " ".join(f"{axis} {number}" for axis, number in zip(axes, index, strict=True))
        for index in np.ndindex(*shape)
    )


def checked_steps(steps: ArrayLike, count: int) -> FloatArray:
    """Steps (T,) of so many checkpoints; ValueError unless they increase from 0 or later."""
    times = finite_array(steps, "steps", "(T,)", T=count)
    if np.any(np.diff(times) <= 0) or times[0] < 0:
        raise ValueError(
            "steps must increase, from 0 or later: sort the checkpoints, and keep one of each step"
        )
    return times


def both_ends(values: FloatArray) -> str:
    """The first and last values of a series (T, …), as ranges over the heads.

    >>> both_ends(np.array([[3.0, 4.0], [1.0, 1.5]]))
    '3 … 4 → 1 … 1.5'
    """
    return f"{_range_of(values[0])} → {_range_of(values[-1])}"


def without_nan(values: FloatArray) -> list[Any]:
    """An array as nested lists, with None in place of nan, which JSON does not know.

    >>> without_nan(np.array([1.0, np.nan]))
    [1.0, None]
    """
    objects = values.astype(object)
    objects[np.isnan(values)] = None
    return list(objects.tolist())


def in_words(value: float) -> str:
    """A measure in four digits: all are of order 1, and what is below 1e-12 is rounding; a dash for nan.

    >>> in_words(2.34567), in_words(3e-16), in_words(np.nan)
    ('2.346', '0', '–')
    """
    if np.isnan(value):
        return "–"
    return f"{value if abs(value) > _ROUNDING else 0.0:.4g}"


def _range_of(values: ArrayLike) -> str:
    numbers = np.ravel(values)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return "–"
    low, high = in_words(finite.min()), in_words(finite.max())
    return low if low == high else f"{low} … {high}"


def _checked(weights: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """The weights in doubles; ValueError for names, shapes and numbers that cannot be measured."""
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(
            f"weights must be {{name: array}} with one or more of {', '.join(ROLES)}"
        )
    for name in weights:
        check_choice(name, "the name of a weight", ROLES)
    arrays = {name: finite_array(value, name) for name, value in weights.items()}
    for name, array in arrays.items():
        axes, has_shape = "(T, …, rows, columns)", array.ndim >= 3
        if name == "embedding":
            axes, has_shape = "(T, n, D)", array.ndim == 3
        if not has_shape or 0 in array.shape:
            raise ValueError(
                f"{name} must have shape {axes} without an empty axis, not {array.shape}"
            )
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"all weights must have as many checkpoints, not {_listed(counts)}"
        )
    for kind, factors in FACTORS.items():
        _refuse_unfit_factors(arrays, kind, factors)
    return arrays


def _refuse_unfit_factors(
    arrays: Mapping[str, FloatArray], kind: str, factors: tuple[str, str]
) -> None:
    """ValueError for one factor without the other, for a product beside its factors, and where these do not fit."""
    given = [name for name in factors if name in arrays]
    if not given:
        return
    if kind in arrays:
        raise ValueError(
            f"{given[0]} is a factor of {kind}, which is there: leave one of them out"
        )
    if len(given) == 1:
        (missing,) = set(factors) - set(given)
        raise ValueError(f"{given[0]} alone makes no {kind}: pass {missing} too")
    left, right = (arrays[name].shape for name in factors)
    # QK = W_QᵀW_K contracts rows with rows, OV = W_O W_V columns with rows.
    inner = left[-2] if kind == "query_key" else left[-1]
    if left[:-2] != right[:-2] or inner != right[-2]:
        wanted = "(T, …, r, D) both"
        if kind == "output_value":
            wanted = "(T, …, D, r) and (T, …, r, D)"
        raise ValueError(
            f"{factors[0]} and {factors[1]} must have shapes {wanted}, not {left} and {right}"
        )


def _spectra(
    arrays: Mapping[str, FloatArray], kind: str, symbols: int | None
) -> Spectrum | None:
    """The spectra (T, …) of the matrices of one kind, None if there are no weights for it."""
    if kind in arrays:
        matrices = arrays[kind]
        if kind == "embedding":
            refuse_symbols(matrices.shape[1], symbols)
            matrices = matrices[:, :symbols]
        return spectrum(matrices)
    left, right = (arrays.get(name) for name in FACTORS.get(kind, (kind, kind)))
    if left is None or right is None:
        return None
    # Measures are the same in any units, and in these no product overflows or vanishes.
    first, second = _in_own_units(left), _in_own_units(right)
    return spectrum_of_product(
        np.swapaxes(first, -1, -2) if kind == "query_key" else first, second
    )


def _in_own_units(matrices: FloatArray) -> FloatArray:
    """Matrices (…, rows, columns), each in units of its largest entry."""
    largest = np.max(np.abs(matrices), axis=(-2, -1), keepdims=True)
    return np.asarray(matrices / np.where(largest == 0, 1.0, largest))


def refuse_names(names: Sequence[str], shape: tuple[int, ...]) -> None:
    """ValueError unless there is one name for each head of axes of this shape."""
    count = math.prod(shape)
    if len(names) != count or len(set(names)) < count:
        raise ValueError(
            f"{count} heads need as many different names, not {list(names)}"
        )


def refuse_symbols(rows: int, symbols: int | None) -> None:
    """ValueError for more symbols than an embedding has rows."""
    if symbols is None:
        return
    whole_number(symbols, "symbols", least=3)
    if symbols > rows:
        raise ValueError(
            f"{symbols} symbols are more than the {rows} rows of the embedding"
        )


def _one_head_axis(spectra: Spectrum) -> Spectrum:
    """Spectra (T, H) of spectra (T, …)."""
    values, vectors = spectra
    count = len(values)
    return Spectrum(
        values.reshape(count, -1, values.shape[-1]),
        vectors.reshape(count, -1, *vectors.shape[-2:]),
    )


def measured_kinds(weights: Iterable[str]) -> tuple[str, ...]:
    """The kinds of matrices that weights of these roles make.

    >>> measured_kinds(["query", "key", "embedding"])
    ('query_key', 'embedding')
    """
    roles = set(weights)
    return tuple(kind for kind in KINDS if roles & {kind, *FACTORS.get(kind, ())})


def refuse_unused_settings(
    kinds: Collection[str],
    rank: int | Mapping[str, int] | None,
    symbols: int | None,
    strongest: int | None,
) -> None:
    """ValueError for settings of kinds that are not measured, which would have no effect."""
    for kind in rank if isinstance(rank, Mapping) else ():
        check_choice(kind, "the name of a rank", KINDS)
        if kind not in kinds:
            raise ValueError(
                f"there is a rank for {KINDS[kind]}, and no weights of it: name its tensors, or leave the rank out"
            )
    if symbols is not None and "embedding" not in kinds:
        raise ValueError(
            f"symbols = {symbols} says how many rows of the embedding are numbers, and there is none: name the "
            "embedding, or leave symbols out"
        )
    if strongest is not None and symbols is None:
        raise ValueError(
            f"the {strongest} strongest frequencies are those of the embedding over its symbols: say how many symbols "
            "there are, or leave the number of frequencies out"
        )


def rank_of_kind(rank: int | Mapping[str, int] | None, kind: str) -> int | None:
    """The rank of the subspaces of one kind; ValueError for what is no rank."""
    if isinstance(rank, Mapping):
        for name in rank:
            check_choice(name, "the name of a rank", KINDS)
        rank = rank.get(kind)
    return None if rank is None else whole_number(rank, "rank")


def _default_rank(final: float, ranks: IndexArray) -> int:
    """The whole part of the effective rank of the last checkpoint, and no more than the rank of any that is not 0."""
    if np.isnan(final):
        return 1
    # A matrix of equal singular values has a whole effective rank, up to rounding.
    whole = int(np.floor(final * (1 + 1e-12)))
    return min(whole, int(np.min(ranks[ranks > 0])))


def _refuse_rank_along(
    ranks: IndexArray,
    rank: int,
    names: Sequence[str],
    place: tuple[str, FloatArray],
) -> None:
    """ValueError for a rank above that of any matrix that is not 0, naming it."""
    kind, steps = place
    too_small = np.argwhere((ranks < rank) & (ranks > 0))
    if len(too_small):
        t, h = too_small[0]
        head = "" if names[h] == kind else f" of {names[h]}"
        raise ValueError(
            f"subspaces of rank {rank} need matrices of at least that rank, and {kind}{head} has rank "
            f"{ranks[t, h]} at step {steps[t]:g}: choose a rank of at most {np.min(ranks[ranks > 0])}"
        )


def _notes(kind: str, measures: MatrixMeasures, steps: FloatArray) -> Iterator[str]:
    """What a reader must know of the measures of one kind."""
    if len(measures.zeros):
        t, h = measures.zeros[0]
        more = len(measures.zeros) - 1
        others = f", and {more} more" if more else ""
        yield (
            f"{kind} is 0 at step {steps[t]:g} ({measures.names[h]}{others}), where nothing is defined"
        )
    final = measures.effective_rank[-1]
    above = np.flatnonzero(measures.rank > final * (1 + 1e-12))
    if len(above):
        h = above[0]
        yield (
            f"rank {measures.rank[h]} is above the effective rank {final[h]:.3g} of {kind} ({measures.names[h]}) at "
            "the end: directions beyond it have little weight there"
        )
    if not np.any(np.isfinite(measures.marginalised_rank)):
        yield f"{kind} has too few singular values for a marginalised rank"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in counts.items())
