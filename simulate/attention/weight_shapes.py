"""What to do with weights of another shape than the model's, where their shape tells what they are."""

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, outputs_of

_LAYERS = (
    ": an axis of layers in front is too many, pass the weights of one layer without it; a model of several layers "
    "is trained elsewhere, bring its run (external_run)"
)


def way_out(
    model: Parametrization, name: str, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> str:
    """What to do where whole value matrices (H, D+K, D+K) or an axis of layers were given; else nothing.

    >>> way_out(Merged(heads=2), "value", (2, 3, 3), (2, 3))
    ': only the last row of W_V reaches the output, pass W_V[:, -1]'
    >>> way_out(Merged(heads=2), "value", (3, 2), (2, 3))
    ''
    """
    is_matrix = len(shape) == 3 and shape[1] == shape[2] and shape[0] == wanted[0]
    if name != "value" or not isinstance(model, Merged | Separate) or not is_matrix:
        return _LAYERS if has_layer_axis(shape, wanted) else ""
    outputs = outputs_of(model)
    if outputs == 1:
        return ": only the last row of W_V reaches the output, pass W_V[:, -1]"
    return f": only the last {outputs} rows of W_V reach the output, pass W_V[:, -{outputs}:]"


def has_layer_axis(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a shape is the wanted one with an axis in front of it."""
    return len(shape) == len(wanted) + 1 and shape[1:] == wanted


def layers_of_heads(a: tuple[int, ...], B: tuple[int, ...], axes: int) -> str:
    """The same for heads a, which should have so many `axes`, and B of 3."""
    return _LAYERS if len(a) == axes + 1 and len(B) == 4 else ""
