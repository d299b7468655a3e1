"""Two numbers for each softmax head, ω_h of its scores and μ_h of its value, read from weights or a run.

Heads of the family are B_h = (ω_h A; 0), a_h = (0, μ_h) with one matrix A for all of them, the identity in the
symmetric family of He et al. 2025 (arXiv 2503.12734).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.attention import DIVISORS
from ...models.built_in import BuiltIn
from ...models.divisors import output_divisor, score_divisor
from ...models.effective_map import heads_with_leading_axes
from ...models.protocol import Parametrization, is_softmax, outputs_of
from ...models.stated_models import model_differences, stated_model
from ...runtime.arrays import FloatArray, numbers_as_doubles
from ...runtime.checks import finite_array, nonnegative_number, refuse_wrong_order

DISTANCE = 0.15
"""Heads trained on some thousand prompts are at 0.02 to 0.11 of the family; at 0.2 exact losses were off by a fifth."""


class HeadScalars(NamedTuple):
    """ω and μ of softmax heads, (H,), or (T, H) of the weights that a run stored."""

    omega: FloatArray
    mu: FloatArray


@runtime_checkable
class RunWithWeights(Protocol):
    """A run: it has stored some of its weights, name → (T, …)."""

    @property
    def weights(self) -> Mapping[str, NDArray[Any]]:
        """The stored weights by name."""


def head_scalars(
    model: Parametrization,
    weights: Mapping[str, ArrayLike] | RunWithWeights,
    *,
    tolerance: float = DISTANCE,
) -> HeadScalars:
    """ω_h, the mean diagonal of B_h over the score divisor, and μ_h, the last entry of a_h: (H,), or (T, H) of a run.

    They are the ω and μ of `exact_loss`, where A has the mean diagonal 1 (`common_matrix`). Weights go by name, with
    any leading axes; any model with `heads` will do. The `tolerance` bounds the distance from heads (ω_h A; 0) and
    (0, μ_h): the root of the share of Σ |a_h|² |B_h|², and of Σ |a_h|², that lies outside of these. ValueError past
    the tolerance, for attention without softmax, for several outputs, for a softmax whose output is divided by a
    number of tokens, and for a run that states another model; infinity reads the two numbers off any heads.
    Source: the read-out of He et al. 2025 (arXiv 2503.12734), without bias.

    >>> from attndyn import Merged
    >>> model = Merged(heads=2, softmax=True, query_token=False, score_divisor=2)
    >>> key_query = np.multiply.outer([0.6, -0.4], np.diag([1.0, 1.0, 0.0]))
    >>> weights = {"value": np.array([[0, 0, 1.2], [0, 0, -1.5]]), "key_query": key_query}
    >>> head_scalars(model, weights)
    HeadScalars(omega=array([ 0.3, -0.2]), mu=array([ 1.2, -1.5]))
    """
    heads = _heads("head_scalars(model, weights)", model, weights)
    _refuse_foreign_heads(heads, tolerance)
    return HeadScalars(heads.omega, heads.mu)


def common_matrix(
    model: Parametrization,
    weights: Mapping[str, ArrayLike] | RunWithWeights,
    *,
    tolerance: float = DISTANCE,
) -> FloatArray:
    """A of heads B_h = (ω_h A; 0), with the mean diagonal 1: (D, D), or (T, D, D) of the weights that a run stored.

    It is the `matrix` of `exact_loss` for the ω of `head_scalars`, which has the same arguments and refusals: the A
    of the least Σ |a_h|² |B_h − (ω_h A; 0)|². It is nan where every ω is 0.
    Source: derived here; the family of He et al. 2025 (arXiv 2503.12734).

    >>> from attndyn import Merged
    >>> key_query = np.multiply.outer([0.6, -0.4], np.diag([1.5, 0.5, 0.0]))
    >>> weights = {"value": np.array([[0, 0, 1.2], [0, 0, -1.5]]), "key_query": key_query}
    >>> common_matrix(Merged(heads=2, softmax=True), weights)
    array([[1.5, 0. ],
           [0. , 0.5]])
    """
    heads = _heads("common_matrix(model, weights)", model, weights)
    _refuse_foreign_heads(heads, tolerance)
    return heads.matrix()


def family_distance(
    model: Parametrization, weights: Mapping[str, ArrayLike] | RunWithWeights
) -> FloatArray:
    """How far heads are from the symmetric family, B_h = (ω_h 1; 0), a_h = (0, μ_h): (), or (T,) of a run's weights.

    The larger of two numbers from 0 to 1: the roots of the shares of Σ |a_h|² |B_h|² and of Σ |a_h|² that lie outside
    of it. Heads of small values have small parts in the first. ValueError as `head_scalars` for other models.
    Source: derived here; the family of He et al. 2025 (arXiv 2503.12734).

    >>> from attndyn import Merged
    >>> key_query = np.multiply.outer([0.6, -0.6], np.diag([1.0, 1.0, 0.0]))
    >>> weights = {"value": np.array([[0, 0, 0.8], [0, 0.6, -0.8]]), "key_query": key_query}
    >>> family_distance(Merged(heads=2, softmax=True), weights).round(3)
    np.float64(0.469)
    """
    heads = _heads("family_distance(model, weights)", model, weights)
    D = heads.B.shape[-1]
    scores = heads.distance_of_scores(np.eye(D))
    return np.maximum(scores, heads.distance_of_values())


class _Heads(NamedTuple):
    """a (…, H, D+1) over the output's divisor, and B (…, H, D+1, D) over that of the scores."""

    a: FloatArray
    B: FloatArray

    @property
    def omega(self) -> FloatArray:
        """ω_h, the mean diagonal of B_h, (…, H)."""
        D = self.B.shape[-1]
        return np.asarray(np.einsum("...hdd->...h", self.B[..., :-1, :]) / D)

    @property
    def mu(self) -> FloatArray:
        """μ_h, the last entry of a_h, (…, H)."""
        return np.array(self.a[..., -1])

    def matrix(self) -> FloatArray:
        """A (…, D, D)."""
        ω = self.omega
        share = np.sum(self.a**2, axis=-1)  # |a_h|², (…, H)
        products = np.einsum("...h,...hde->...de", share * ω, self.B[..., :-1, :])
        with np.errstate(invalid="ignore"):
            return np.asarray(products / np.sum(share * ω**2, axis=-1)[..., None, None])

    def distance_of_scores(self, A: FloatArray) -> FloatArray:
        """√(Σ |a_h|² |B_h − (ω_h A; 0)|² / Σ |a_h|² |B_h|²) (…): heads of small values have small parts.

        A is one matrix (D, D), or one for each of the weights (…, D, D).
        """
        family = np.zeros_like(self.B)
        family[..., :-1, :] = self.omega[..., None, None] * A[..., None, :, :]
        share = np.sum(self.a**2, axis=-1)
        outside = share * np.sum((self.B - family) ** 2, axis=(-2, -1))
        return _root_of_share(outside, share * np.sum(self.B**2, axis=(-2, -1)))

    def distance_of_values(self) -> FloatArray:
        """√(Σ |a_h − (0, μ_h)|² / Σ |a_h|²) (…)."""
        outside = np.sum(self.a[..., :-1] ** 2, axis=-1)
        return _root_of_share(outside, np.sum(self.a**2, axis=-1))


def _root_of_share(parts: FloatArray, wholes: FloatArray) -> FloatArray:
    """√(Σ_h parts / Σ_h wholes) (…), and 0 where there is nothing."""
    part, whole = np.sum(parts, axis=-1), np.sum(wholes, axis=-1)
    share = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.asarray(np.sqrt(share))


def _heads(
    call: str,
    model: Parametrization,
    weights: Mapping[str, ArrayLike] | RunWithWeights,
) -> _Heads:
    """The heads of weights or of a run; ValueError where the model has none that are known by two numbers each."""
    is_run = isinstance(weights, RunWithWeights) and not isinstance(weights, Mapping)
    are_weights = is_run or isinstance(weights, Mapping)
    in_order = isinstance(model, Parametrization) and are_weights
    refuse_wrong_order(call, in_order, model, weights)
    _refuse_other_models(model)
    by_name = weights.weights if isinstance(weights, RunWithWeights) else weights
    if not by_name:
        raise ValueError(
            "this run stored no weights, of which its heads could be read: record some"
        )
    arrays = {name: finite_array(value, name) for name, value in by_name.items()}
    if is_run:
        _refuse_model_of_another_run(model, getattr(weights, "settings", {}), arrays)
    D = _dimension(model, {name: array.shape for name, array in arrays.items()})
    a, B = heads_with_leading_axes(model, arrays)
    divided_a = numbers_as_doubles(a) / output_divisor(model, 1)
    return _Heads(divided_a, numbers_as_doubles(B) / score_divisor(model, D))


def _refuse_model_of_another_run(
    model: Parametrization,
    settings: Mapping[str, object],
    arrays: Mapping[str, FloatArray],
) -> None:
    """ValueError where a run states a model that differs from the one which is to read its weights."""
    trained = stated_model(settings)
    if trained is None or not isinstance(model, BuiltIn) or "value" not in arrays:
        return
    D = arrays["value"].shape[-1] - trained.outputs
    differences = model_differences(model, trained, D)
    if differences:
        words = differences[0].in_words("the model", "the run")
        raise ValueError(
            f"{words}: pass the model of this run, {trained!r}, or its weights alone for another reading"
        )


def _dimension(model: Parametrization, given: Mapping[str, tuple[int, ...]]) -> int:
    """D of weights of these shapes, with any leading axes; ValueError where the model has no such weights."""
    largest = max((axis for shape in given.values() for axis in shape), default=0)
    for D in range(1, largest + 1):
        shapes = model.shapes(D)
        if set(shapes) == set(given) and _leading_axes(given, shapes) is not None:
            return D
    expected = ", ".join(f"{name} {shape}" for name, shape in model.shapes(1).items())
    raise ValueError(
        f"weights of {type(model).__name__} must have the shapes {expected} for D = 1, and so on, with the same "
        f"leading axes, not {dict(given)}"
    )


def _leading_axes(
    given: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...] | None:
    """The axes before those of the model, which all weights share; None where they do not fit it."""
    leading = set()
    for name, shape in shapes.items():
        axes = len(given[name]) - len(shape)
        if axes < 0 or given[name][axes:] != shape:
            return None
        leading.add(given[name][:axes])
    return leading.pop() if len(leading) == 1 else None


def _refuse_other_models(model: Parametrization) -> None:
    """ValueError for linear attention, for several outputs, and for a divisor that depends on the context."""
    if not is_softmax(model):
        raise ValueError(
            "head_scalars are the two numbers of a softmax head, and this model has no softmax: "
            "use effective_map(model, weights) for linear attention"
        )
    outputs = outputs_of(model)
    if outputs != 1:
        raise ValueError(
            f"head_scalars are known for one output, not for {outputs}, whose heads have a value for each: "
            "read a and B from model.heads(weights)"
        )
    divisor = getattr(model, "divisor", None)
    if divisor in DIVISORS and divisor != "none":
        raise ValueError(
            f"the output of this softmax is divided by the divisor {divisor!r}, so that μ depends on the context "
            'length: use divisor="none"'
        )


def _refuse_foreign_heads(heads: _Heads, tolerance: float) -> None:
    """ValueError, with the largest distance, for heads that are further from the family than the tolerance."""
    if tolerance == np.inf:
        return
    largest = nonnegative_number(tolerance, "tolerance")
    A = np.nan_to_num(heads.matrix())  # all ω are 0 where it is nan
    distances = heads.distance_of_scores(A)
    if not np.max(distances) <= largest:
        raise ValueError(
            "the heads' B are no multiples of one matrix: their distance from these is "
            f"{_largest(distances)}, and the tolerance {largest:g}; pass tolerance=inf to read the mean diagonals "
            "nevertheless"
        )
    distances = heads.distance_of_values()
    if not np.max(distances) <= largest:
        raise ValueError(
            f"the heads' values read x: that part is {_largest(distances)}, and the tolerance {largest:g}; pass "
            "tolerance=inf to read their last entries nevertheless"
        )


def _largest(distances: FloatArray) -> str:
    """The largest distance, and which of the stored weights has it where there are several."""
    text = f"{np.max(distances):.3g} of their size"
    if distances.ndim == 0:
        return text
    where = np.unravel_index(np.argmax(distances), distances.shape)
    return f"{text} at weights {', '.join(map(str, where))} of {distances.shape[0]}"
