"""What attention divides by: its output by the context length, its scores by a number or a root."""

from fractions import Fraction

from ..runtime.decimals import number
from .attention import DIVISORS, Separate
from .factorised import Factorised
from .protocol import is_softmax, outputs_of, reads_query_token
from .score_divisor import SQRT_KEY, checked, exact_square, in_numbers, resolved


def attention_divisor(
    model: object, context_length: int, dimension: int | None = None
) -> float:
    """What XXᵀ B x_q is divided by in linear attention: `output_divisor` times `score_divisor`.

    The dimension D is needed for the score divisor "sqrt_key" only. ValueError for softmax.

    >>> from attndyn import Merged
    >>> attention_divisor(Merged(heads=2, divisor="tokens"), 31)
    32.0
    >>> attention_divisor(Merged(heads=2, score_divisor="sqrt_key"), 31, dimension=3)
    62.0
    """
    if is_softmax(model):
        raise ValueError(
            "softmax attention has no divisor: it normalises its scores itself"
        )
    return output_divisor(model, context_length) * score_divisor(model, dimension)


def score_divisor(model: object, dimension: int | None = None) -> float:
    """What the scores of a model are divided by, 1 unless it says otherwise, as a double.

    >>> from attndyn import Merged
    >>> score_divisor(Merged(heads=2, score_divisor="sqrt_key"), dimension=3)
    2.0
    """
    divisor = checked_score_divisor(model)
    # Only "sqrt_key" asks for the size of a key, and through it for the dimension.
    key_size = _key_size(model, dimension) if divisor == SQRT_KEY else 1
    return in_numbers(divisor, key_size)


def score_divisor_square(model: object, dimension: int) -> Fraction:
    """The square of a model's score divisor, exactly; ValueError for a double that is no short decimal.

    >>> score_divisor_square(Separate(heads=2, rank=3, score_divisor="sqrt_key"), dimension=5)
    Fraction(3, 1)
    """
    return exact_square(checked_score_divisor(model), _key_size(model, dimension))


def checked_score_divisor(model: object) -> float | str:
    """A model's score divisor in the form that the built-in models keep; ValueError where it has none."""
    value = getattr(model, "score_divisor", None)
    return 1.0 if value is None else checked(value)


def divisor_name(model: object, dimension: int) -> str:
    """The name of everything that a linear model's XXᵀ is divided by, by which statistics are told apart.

    >>> from attndyn import Merged
    >>> divisor_name(Merged(heads=2), 4), divisor_name(Merged(heads=2, score_divisor="sqrt_key"), 4)
    ('context', 'context, scores by sqrt(5)')
    """
    name = str(getattr(model, "divisor", "context"))
    divisor = resolved(checked_score_divisor(model), _key_size(model, dimension))
    return name if divisor == 1.0 else f"{name}, scores by {divisor}"


def _key_size(model: object, dimension: int | None) -> int:
    """R of separate and factorised attention, D + K of any other model."""
    if isinstance(model, Separate):
        return model.rank
    if isinstance(model, Factorised) and model.rank is not None:
        return model.rank
    if dimension is None:
        raise ValueError(
            'the score divisor "sqrt_key" depends on the dimension: pass it'
        )
    return dimension + outputs_of(model)


def output_divisor(model: object, context_length: int) -> float:
    """What a head's output is divided by: `attention_divisor`, or for softmax 1 unless the model names a divisor.

    "context" is N, and 1 where N = 0; "tokens" the number of tokens that attention reads, N + 1 with the query's own
    token and N without; "none" 1. ValueError for what is neither one of these nor a positive number.

    >>> from attndyn import Merged
    >>> output_divisor(Merged(heads=2, softmax=True), 31), output_divisor(Merged(heads=2), 31)
    (1.0, 31.0)
    """
    divisor = getattr(model, "divisor", None)
    if divisor is None:
        divisor = "none" if is_softmax(model) else "context"
    if isinstance(divisor, str) and divisor in DIVISORS:
        # An empty context gives the output 0, whatever it is divided by.
        tokens = context_length + reads_query_token(model)
        divisors = {"context": context_length, "tokens": tokens, "none": 1}
        return float(max(divisors[divisor], 1))
    value = number(divisor)
    if value is None or not value > 0:
        raise ValueError(
            f"divisor must be one of {', '.join(DIVISORS)}, or a positive number, not {divisor!r}"
        )
    return float(value)
