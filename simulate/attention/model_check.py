"""Whether a model of the user's own can be trained: its shapes, its heads, and how its weights reach the output.

Gradients come from a complex step through `heads`, which is right if and only if `heads` is analytic: real finite
differences say whether it is. Both are taken along one random direction of every weight, at random weights.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.exceptions import ComplexWarning
from numpy.typing import NDArray

from ...models.attention import Merged, Separate
from ...models.divisors import output_divisor
from ...models.factorised import Factorised
from ...models.protocol import (
    Heads,
    Parametrization,
    Weights,
    is_softmax,
    outputs_of,
    reads_query_token,
)
from ...runtime.arrays import BoolArray, FloatArray
from .forward import predict
from .heads import checked_heads, heads_of

STEP = 1e-100
"""A complex step has no cancellation, so that it can be this small."""

# Widths of differences, relative to the weights: heads are wrong if none agrees.
_WIDTHS = (1e-6, 1e-5, 1e-4, 1e-7)
_AGREEING = 1e-4  # relative: differences of a smooth function have six digits at the best of these widths
_ROUNDING = 1e-6  # of an entry itself, what its differences lose to rounding
_FLOOR = 1e-9  # of the largest entry: rounding in entries that should vanish
_CORNER = (
    1e-3  # relative gap of the differences to both sides, where there is no derivative
)
_CANCELLED = (
    1e-9  # relative: what two ways to the output leave of each other when they cancel
)
_PULLBACK = 1e-8  # relative: a complex step is exact to rounding
_LOOKS = 16  # at the weights of a run, evenly over it, the last ones included
# Sizes of random weights: a weight that acts at some size only has more than one chance.
_SIZES = (1.0, 3.0, 10.0, 0.1)


def refuse_unfit(model: Parametrization, dimension: int) -> None:
    """ValueError, naming the culprit, unless a model of the user's own can be trained by gradients.

    `heads` must give a pair (a, B) of the right shapes, the same for the same weights and without changing them,
    and be analytic in every weight; every weight must reach the output. The built-in models do.

    >>> class Loud:
    ...     def shapes(self, dimension):
    ...         return {"value": (1, dimension + 1), "key_query": (1, dimension + 1, dimension)}
    ...     def heads(self, weights):
    ...         return np.abs(weights["value"]), weights["key_query"]
    >>> refuse_unfit(Loud(), 2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: heads is not analytic in 'value': complex step says 0, differences ...
    """
    if isinstance(model, Merged | Separate | Factorised):
        return
    # ValueError for a value that does not exist.
    output_divisor(model, context_length=1)
    outputs_of(model)
    reads_query_token(model)
    is_softmax(model)
    shapes = checked_shapes(model, dimension)
    with _quiet():
        weights = _first_weights(model, shapes, dimension)
        _refuse_careless(model, weights, dimension)
        for name in shapes:
            _refuse_not_analytic(model, weights, name)
        _refuse_unused(model, shapes, dimension)
        _refuse_wrong_pullback(model, weights)


def refuse_unfit_at(model: Parametrization, weights: Weights, dimension: int) -> None:
    """ValueError if heads of the user's own are not analytic at these weights, where a run is to begin.

    Corners, such as that of max(w, 0) at w = 0, are let through: there is no derivative to be wrong about.
    """
    if isinstance(model, Merged | Separate | Factorised):
        return
    with _quiet():
        _refuse_careless(model, weights, dimension)
        for name in weights:
            _refuse_not_analytic(model, weights, name, corners=True)


def refuse_unfit_on_the_way(
    model: Parametrization, weights: Weights, dimension: int
) -> None:
    """ValueError if heads of the user's own are not analytic at some of the weights (K, …) that a run came to."""
    if isinstance(model, Merged | Separate | Factorised):
        return
    count = min(len(value) for value in weights.values())
    places = np.linspace(0, count - 1, min(count, _LOOKS)).astype(int)
    for index in np.unique(places):
        stored = {name: value[index] for name, value in weights.items()}
        try:
            refuse_unfit_at(model, stored, dimension)
        except ValueError as error:
            raise ValueError(
                f"the run came to weights where its gradient is wrong: {error}"
            ) from None


def checked_shapes(
    model: Parametrization, dimension: int
) -> dict[str, tuple[int, ...]]:
    """Name → shape of every weight; ValueError unless they are whole numbers of at least 1 by name."""
    shapes = model.shapes(dimension)
    if not isinstance(shapes, Mapping) or not shapes:
        raise ValueError(
            f"shapes must return a dictionary name → shape of every weight, not {shapes!r}"
        )
    for name, shape in shapes.items():
        whole = isinstance(shape, tuple) and all(_is_count(size) for size in shape)
        if not isinstance(name, str) or not whole:
            raise ValueError(
                f"shapes must give {name!r} as a tuple of whole numbers of at least 1, not {shape!r}"
            )
    return {name: tuple(int(size) for size in shape) for name, shape in shapes.items()}


def _is_count(size: object) -> bool:
    return (
        isinstance(size, int | np.integer)
        and not isinstance(size, bool)
        and int(size) >= 1
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Neither NumPy's warnings about numbers nor those about lost imaginary parts, which are looked for here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ComplexWarning)
        yield


def _random_weights(
    shapes: Mapping[str, tuple[int, ...]], size: float, seed: int
) -> Weights:
    draws = np.random.default_rng(seed)
    weights = {}
    for name, shape in shapes.items():
        weights[name] = size * draws.standard_normal(shape)
    return weights


def _candidates(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Weights]:
    """Random weights of several sizes, and positive ones, for heads that take roots or logarithms."""
    for seed, size in enumerate(_SIZES):
        weights = _random_weights(shapes, size, seed)
        yield weights
        yield {name: np.abs(value) for name, value in weights.items()}


def _first_weights(
    model: Parametrization, shapes: Mapping[str, tuple[int, ...]], dimension: int
) -> Weights:
    """The first random weights with finite heads; ValueError if the heads are not a pair, or never finite."""
    for weights in _candidates(shapes):
        a, B = _returned(model, weights, dimension)
        if np.all(np.isfinite(a)) and np.all(np.isfinite(B)):
            return weights
    raise ValueError(
        "heads gives nan or inf at random weights of every size: it has no gradient to follow"
    )


def _returned(model: Parametrization, weights: Weights, dimension: int) -> Heads:
    """The heads at real weights, given as copies; ValueError if they are not what they must be."""
    copies = {name: value.copy() for name, value in weights.items()}
    heads = checked_heads(model.heads(copies), dimension, outputs_of(model))
    for name, array in zip("aB", heads, strict=True):
        real_of_other_size = array.dtype.kind == "f" and array.dtype != np.float64
        if array.dtype.kind == "c" or real_of_other_size:
            raise ValueError(
                f"heads must return float64 for weights in float64, and {name} is {array.dtype}"
            )
    return heads


def _refuse_careless(model: Parametrization, weights: Weights, dimension: int) -> None:
    """ValueError if heads changes the weights that it is given, or gives two answers for the same ones."""
    copies = {name: value.copy() for name, value in weights.items()}
    heads = checked_heads(model.heads(copies), dimension, outputs_of(model))
    first = [array.copy() for array in heads]
    if set(copies) != set(weights):
        raise ValueError(
            "heads adds or removes weights of the dictionary that it is given: it must only read it"
        )
    for name, value in weights.items():
        if not np.array_equal(copies[name], value, equal_nan=True):
            raise ValueError(
                f"heads changes {name!r} in place: it must work on a copy of the weights"
            )
    second = _returned(model, weights, dimension)
    for before, after in zip(first, second, strict=True):
        if not np.array_equal(before, after, equal_nan=True):
            raise ValueError(
                "heads gives two answers for the same weights: it must hold nothing random"
            )


class Slopes(NamedTuple):
    """Derivatives of all heads along a direction, from differences over one width to both sides."""

    slope: FloatArray
    forward: FloatArray
    backward: FloatArray


def _refuse_not_analytic(
    model: Parametrization, weights: Weights, name: str, corners: bool = False
) -> None:
    """ValueError if the complex step of heads along a random direction of one weight is not its derivative."""
    direction = _direction(weights[name])
    step = _by_complex_step(model, weights, name, direction)
    centre = _flat(heads_of(model, weights))
    if not np.all(np.isfinite(step)) or not np.all(np.isfinite(centre)):
        return  # no derivative here: a run that begins here diverges, and says so

    # Heads are right if differences over one of the widths agree: the best width depends on their curvature.
    slopes = []
    for width in _WIDTHS:
        slopes.append(_by_differences(model, weights, name, width * direction, width))
        wrong = _wrong_entries(step, slopes[-1], centre, corners)
        if not np.any(wrong):
            return

    place = _furthest(step, slopes[-1].slope, wrong)
    raise ValueError(
        f"heads is not analytic in {name!r}: complex step says {step[place]:.4g}, "
        f"differences {slopes[0].slope[place]:.4g}: no abs, norm, real, conj or rounding of weights"
    )


def _furthest(step: FloatArray, slope: FloatArray, wrong: BoolArray) -> int:
    """The entry whose two derivatives are furthest apart, among those that are wrong."""
    gap = np.abs(step - slope)
    wrong_gap = np.where(wrong, gap, -1.0)  # no gap is negative
    return int(np.argmax(wrong_gap))


def _by_differences(
    model: Parametrization, weights: Weights, name: str, by: FloatArray, width: float
) -> Slopes:
    """Derivative of all heads when one weight moves by so much to both sides."""
    centre = _flat(heads_of(model, weights))
    above = _flat(heads_of(model, _moved(weights, name, by)))
    below = _flat(heads_of(model, _moved(weights, name, -by)))
    return Slopes(
        slope=(above - below) / (2 * width),
        forward=above - centre,
        backward=centre - below,
    )


def _wrong_entries(
    step: FloatArray, slopes: Slopes, centre: FloatArray, corners: bool
) -> BoolArray:
    """Where the complex step of heads is not the slope of differences, except at corners if there may be `corners`."""
    wrong = _disagrees(step, slopes.slope, centre)
    if corners:
        wrong &= ~_is_corner(slopes.forward, slopes.backward)
    return wrong


def _disagrees(step: FloatArray, slope: FloatArray, centre: FloatArray) -> BoolArray:
    """Where two derivatives of heads differ by more than differences and rounding account for."""
    derivative = np.maximum(np.abs(step), np.abs(slope))
    heads = np.abs(centre)
    bound = _AGREEING * derivative
    bound += _ROUNDING * heads
    bound += _FLOOR * np.max(heads)
    gap = np.abs(step - slope)
    # Not "gap > bound": nan is not within the bound.
    wrong: BoolArray = ~(gap <= bound)
    return wrong


def _is_corner(forward: FloatArray, backward: FloatArray) -> BoolArray:
    """Where differences to both sides disagree: a corner, which has no derivative to be wrong about."""
    size = np.maximum(np.abs(forward), np.abs(backward))
    gap = np.abs(forward - backward)
    corners: BoolArray = gap > _CORNER * size
    return corners


def _by_complex_step(
    model: Parametrization, weights: Weights, name: str, direction: FloatArray
) -> FloatArray:
    """Derivative of all heads by a complex step; ValueError if heads cannot take complex weights."""
    try:
        return _flat(_shifted(model, weights, name, direction)).imag / STEP
    except TypeError as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"heads must take complex weights, for its gradient, and does not: {reason}"
        ) from error


def _shifted(
    model: Parametrization, weights: Weights, name: str, direction: FloatArray
) -> Heads:
    """Heads at weights in complex numbers, one of them moved by a complex step."""
    shifted = {}
    for weight, value in weights.items():
        shifted[weight] = value.astype(np.complex128)
    shifted[name] += 1j * STEP * direction
    return heads_of(model, shifted)


def _refuse_unused(
    model: Parametrization, shapes: Mapping[str, tuple[int, ...]], dimension: int
) -> None:
    """ValueError names a weight that the output of no random weights depends on, or depends on by steps only."""
    size = dimension + outputs_of(model)
    tokens = np.random.default_rng(len(shapes)).standard_normal((3, 5, size))
    for name in shapes:
        if any(_reaches(model, w, name, tokens) for w in _candidates(shapes)):
            continue
        if any(_jumps(model, w, name, tokens) for w in _candidates(shapes)):
            raise ValueError(
                f"heads depends on {name!r} by steps only, as comparisons, signs and rounding do: its gradient is 0"
            )
        raise ValueError(
            f"weight {name!r} does not reach the output: leave it out of shapes, or use it in heads"
        )


def _refuse_wrong_pullback(model: Parametrization, weights: Weights) -> None:
    """ValueError, naming the weight, if a model's own `pullback` is not the derivative of its heads."""
    own = _own_pullback(model)
    if own is None:
        return
    gradient_of_heads = _random_like(heads_of(model, weights), seed=len(weights))
    gradients = _pulled_back(own, weights, gradient_of_heads)
    for name, weight in weights.items():
        gradient = _checked_gradient(gradients[name], name, weight.shape)
        # ⟨gradient, direction⟩ is the derivative of ⟨grad_a, a⟩ + ⟨grad_B, B⟩ along the direction.
        direction = _direction(weight)
        heads = _shifted(model, weights, name, direction)
        expected = _imaginary_product(gradient_of_heads, heads) / STEP
        given = float(np.vdot(gradient, direction))
        terms = float(np.sum(np.abs(gradient * direction)))
        if not abs(given - expected) <= _PULLBACK * max(abs(expected), terms):
            raise ValueError(
                f"pullback is wrong in {name!r}: along one direction it says {given:.6g}, and heads {expected:.6g}"
            )


def _own_pullback(model: Parametrization) -> Callable[..., object] | None:
    """The `pullback` of a model, None where it has none; ValueError if it is no function."""
    own: Callable[..., object] | None = getattr(model, "pullback", None)
    if own is not None and not callable(own):
        raise ValueError(
            f"pullback must be a method (weights, grad_a, grad_B), not {own!r:.80}"
        )
    return own


def _random_like(heads: Heads, seed: int) -> Heads:
    """Normal numbers of the shapes of heads (a, B)."""
    draws = np.random.default_rng(seed)
    a, B = heads
    return draws.standard_normal(a.shape), draws.standard_normal(B.shape)


def _imaginary_product(gradient: Heads, heads: Heads) -> float:
    """⟨grad_a, Im a⟩ + ⟨grad_B, Im B⟩."""
    grad_a, grad_B = gradient
    a, B = heads
    return float(np.vdot(grad_a, a.imag) + np.vdot(grad_B, B.imag))


def _pulled_back(
    own: Callable[..., object],
    weights: Weights,
    gradient_of_heads: Heads,
) -> Mapping[str, object]:
    """What a model's own `pullback` gives, by name; ValueError if it changes the weights or misses one."""
    copies = {name: value.copy() for name, value in weights.items()}
    grad_a, grad_B = gradient_of_heads
    gradients = own(copies, grad_a.copy(), grad_B.copy())
    for name, value in weights.items():
        if not np.array_equal(copies.get(name, np.nan), value):
            raise ValueError(
                f"pullback changes {name!r} in place: it must work on a copy of the weights"
            )
    if not isinstance(gradients, Mapping) or set(gradients) != set(weights):
        raise ValueError(
            f"pullback must return the gradients of {', '.join(weights)} by name, not {gradients!r:.80}"
        )
    return gradients


def _checked_gradient(
    gradient: object, name: str, shape: tuple[int, ...]
) -> FloatArray:
    """The gradient that a `pullback` gives for one weight; ValueError unless it is real and of the weight's shape."""
    if not isinstance(gradient, np.ndarray | np.floating):
        raise ValueError(
            f"pullback must give arrays, and {name!r} is {type(gradient).__name__}"
        )
    array = np.asarray(gradient)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise ValueError(
            f"pullback must give real numbers of shape {shape} for {name!r}, not {array.dtype} of {array.shape}"
        )
    return np.asarray(array, dtype=np.float64)


def _reaches(
    model: Parametrization, weights: Weights, name: str, tokens: FloatArray
) -> bool:
    """Whether the outputs change with one weight, in more than what a and B take back from each other."""
    direction = _direction(weights[name])
    a, B = _shifted(model, weights, name, direction)
    through_a = predict(model, (a, B.real), tokens).imag / STEP
    through_B = predict(model, (a.real, B), tokens).imag / STEP

    change = np.abs(through_a + through_B)
    size = np.abs(through_a) + np.abs(through_B)
    changes = change > _CANCELLED * size
    # Heads that overflow at these weights say nothing of the weight.
    return bool(np.any(np.isfinite(change) & changes))


def _jumps(
    model: Parametrization, weights: Weights, name: str, tokens: FloatArray
) -> bool:
    """Whether the outputs are others for another value of one weight."""
    direction = _direction(weights[name])
    outputs = []
    # Small and large moves to both sides: a step may lie anywhere.
    for size in (0.0, 1.0, -1.0, 9.0, -9.0):
        moved = _moved(weights, name, size * direction)
        heads = heads_of(model, moved)
        outputs.append(predict(model, heads, tokens))
    rounding = _CANCELLED * np.max(np.abs(outputs))
    change = np.abs(np.subtract(outputs[1:], outputs[0]))
    return bool(np.any(change > rounding))


def _direction(weight: FloatArray) -> FloatArray:
    """A random direction, as large as the weight."""
    largest = float(np.max(np.abs(weight), initial=0.0)) or 1.0
    draws = np.random.default_rng(weight.size)
    direction: FloatArray = largest * draws.standard_normal(weight.shape)
    return direction


def _moved(weights: Weights, name: str, by: FloatArray) -> Weights:
    """Copies of the weights, one of them moved."""
    moved = {weight: value.copy() for weight, value in weights.items()}
    moved[name] = moved[name] + by
    return moved


def _flat(heads: Any) -> NDArray[Any]:
    a, B = heads
    arrays = [np.ravel(a), np.ravel(B)]
    return np.concatenate(arrays)
