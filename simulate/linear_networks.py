"""The linear networks on cubic features to which attention is equivalent on the restricted block.

With β = Σ_n y_n x_n / divisor and z = vec(β x_qᵀ), merged attention is a two-layer network Σ_h v_h ⟨U_h, z⟩:
hidden weights U (H, D²), output weights v (H,). Separate rank-one attention is a sum of three-layer convolutional
networks: a filter k_h (D,) runs over the D columns of β x_qᵀ, q_h (D,) weighs the columns, v_h their sum. Source:
Zhang et al. 2025, Section 3.1 and the equivalence for separate attention.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..models.divisors import attention_divisor
from ..models.protocol import Weights
from ..runtime.arrays import FloatArray
from ..runtime.files import AnyPath
from .attention.objectives import Objective
from .data.prompts import Data
from .descent.gradient_descent import descend
from .descent.options import DescentOptions
from .trajectory import Trajectory


def network_features(data: Data, model: object) -> tuple[FloatArray, FloatArray]:
    """Features z (P, D²) of every prompt, with the divisor of `model`, and the query's labels (P,).

    ValueError if the loss averages over several context lengths: the network has one input a sequence.

    >>> from attndyn import Merged
    >>> from attndyn.simulate import prompts_from_tokens
    >>> network_features(prompts_from_tokens([[[2, 3.0], [5, 7]]]), Merged(heads=1))
    (array([[30.]]), array([7.]))
    """
    if len(data.context_lengths) > 1:
        raise ValueError(
            "cubic features need one context length, not an average over several"
        )
    if data.outputs > 1:
        raise ValueError(
            f"cubic features are for one label of x, and these data have {data.outputs}"
        )
    length = data.context_lengths[0]
    divisor = attention_divisor(model, length, data.dimension)
    features, labels = [], []
    for tokens, targets in data.chunks():
        # "p" prompts, "n" tokens of the context, "i" and "j" coordinates of x.
        context_x = tokens[:, :length, :-1]
        context_y = tokens[:, :length, -1]
        x_q = tokens[:, length, :-1] / divisor
        beta = np.einsum("pn,pni->pi", context_y, context_x)
        z = np.einsum("pi,pj->pij", beta, x_q)
        features.append(z.reshape(len(tokens), -1))
        labels.append(targets[:, length, 0])
    return np.concatenate(features), np.concatenate(labels)


def network_weights(weights: Weights) -> Weights:
    """The network that merged attention with these weights is, on the restricted block.

    >>> network_weights({"value": np.ones((2, 3)), "key_query": np.ones((2, 3, 3))})["hidden"].shape
    (2, 4)
    """
    U = weights["key_query"][..., :-1, :-1]
    leading = U.shape[:-2]
    return {
        "hidden": U.reshape(*leading, -1),
        "output": weights["value"][..., -1],
    }


def train_network(
    features: ArrayLike,
    labels: ArrayLike,
    start: Mapping[str, ArrayLike],
    *,
    learning_rate: float,
    steps: int,
    record: int | Sequence[int] | None = None,
    checkpoint: AnyPath | None = None,
) -> Trajectory:
    """Gradient descent on the network, from `start` with hidden (H, K) and output (H,); arguments as in `train`.

    >>> start = {"hidden": [[0.1, 0.0]], "output": [0.1]}
    >>> run = train_network([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], start, learning_rate=0.1, steps=200)
    >>> bool(run.loss[-1] < 0.01)
    True
    """
    z = np.asarray(features, dtype=float)
    y = np.asarray(labels, dtype=float)
    if z.ndim != 2 or y.shape != (len(z),):
        raise ValueError(
            f"features must be (P, K) and labels (P,), not {z.shape} and {y.shape}"
        )
    begin = _checked_layers(start, z.shape[1])
    options = DescentOptions(learning_rate, steps, record, checkpoint)
    settings = {"model": "network", "source": _source_digest(z, y)}
    return descend(_network(z, y), begin, options, settings)


def _checked_layers(start: Mapping[str, ArrayLike], inputs: int) -> Weights:
    """The weights to start from; ValueError unless they are there and their shapes fit."""
    if set(start) != {"hidden", "output"}:
        raise ValueError(f"start must hold hidden and output, not {', '.join(start)}")
    hidden = np.array(start["hidden"], dtype=float)
    output = np.array(start["output"], dtype=float)
    if hidden.shape != (*output.shape, inputs):
        raise ValueError(
            f"hidden must be (H, {inputs}) and output (H,), not {hidden.shape} and {output.shape}"
        )
    return {"hidden": hidden, "output": output}


def _network(z: FloatArray, y: FloatArray) -> Objective:
    """The objective mean (Σ_h v_h ⟨U_h, z⟩ − y)² of a two-layer network."""

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        U, v = weights["hidden"], weights["output"]
        activity = z @ U.T  # (P, H)
        residual = activity @ v - y  # (P,)
        loss = float(residual @ residual) / len(y)
        # The derivative with respect to the map Σ_h v_h U_h: the mean of 2 r z, (K,).
        slope = 2 * (residual @ z) / len(y)
        gradients = {"hidden": np.outer(v, slope), "output": U @ slope}
        return loss, gradients

    return evaluate


def _source_digest(z: FloatArray, y: FloatArray) -> str:
    """A name of the features and labels, which a checkpoint must agree with."""
    digest = hashlib.sha256(z.tobytes())
    digest.update(y.tobytes())
    # The shape besides, since other shapes may have the same bytes.
    digest.update(repr(z.shape).encode())
    return digest.hexdigest()


def convolutional_weights(weights: Weights) -> Weights:
    """The convolutional networks that separate rank-one attention with these weights is, on the restricted block.

    >>> weights = {"value": np.ones((2, 3)), "key": np.ones((2, 3)), "query": np.ones((2, 3))}
    >>> convolutional_weights(weights)["filter"].shape
    (2, 2)
    """
    heads = len(weights["value"])
    return {
        "filter": weights["key"].reshape(heads, -1)[:, :-1],
        "columns": weights["query"].reshape(heads, -1)[:, :-1],
        "output": weights["value"][..., -1],
    }


def train_convolutional(
    features: ArrayLike,
    labels: ArrayLike,
    start: Mapping[str, ArrayLike],
    *,
    learning_rate: float,
    steps: int,
    record: int | Sequence[int] | None = None,
) -> Trajectory:
    """Gradient descent on a sum of three-layer convolutional linear networks; arguments as in `train_network`.

    `features` (P, D²) are D columns of length D each, `start` holds filter and columns, (H, D), and output (H,).
    ValueError if shapes do not fit.

    >>> start = {"filter": [[0.5]], "columns": [[0.5]], "output": [0.5]}
    >>> run = train_convolutional([[1.0], [2.0]], [1.0, 2.0], start, learning_rate=0.05, steps=200)
    >>> bool(run.loss[-1] < 0.01)
    True
    """
    z = np.asarray(features, dtype=float)
    y = np.asarray(labels, dtype=float)
    size = round(np.sqrt(z.shape[-1])) if z.ndim == 2 else 0
    if z.ndim != 2 or size**2 != z.shape[1] or y.shape != (len(z),):
        raise ValueError(
            f"features must be (P, D²) and labels (P,), not {z.shape} and {y.shape}"
        )
    begin = _checked_convolution(start, size)
    options = DescentOptions(learning_rate, steps, record)
    settings = {"model": "convolutional network", "source": _source_digest(z, y)}
    images = z.reshape(-1, size, size)
    return descend(_convolution(images, y), begin, options, settings)


def _checked_convolution(start: Mapping[str, ArrayLike], size: int) -> Weights:
    """The weights to start from; ValueError unless they are there and their shapes fit."""
    names = ("filter", "columns", "output")
    begin = {
        name: np.array(start[name], dtype=float) for name in names if name in start
    }
    heads = begin["output"].shape if "output" in begin else ()
    shapes = [value.shape for value in begin.values()]
    if len(heads) != 1 or shapes != [(*heads, size), (*heads, size), heads]:
        raise ValueError(
            f"start must hold filter and columns, (H, {size}), and output (H,)"
        )
    return begin


def _convolution(images: FloatArray, y: FloatArray) -> Objective:
    """Layer by layer, forward and back: what a filter gives on every column, what the columns add up to.

    Letters: "p" prompts, "h" heads, "i" rows and "j" columns of an image.
    """

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        f, columns, output = weights["filter"], weights["columns"], weights["output"]
        # Forward: (P, H, D), (P, H), (P,).
        filtered = np.einsum("pij,hi->phj", images, f)
        summed = np.einsum("phj,hj->ph", filtered, columns)
        residual = summed @ output - y
        loss = float(residual @ residual) / len(y)

        # Back, by the chain rule.
        dL_dsummed = 2 * residual[:, None] * output / len(y)
        dL_df = np.einsum("ph,hj,pij->hi", dL_dsummed, columns, images, optimize=True)
        dL_dcolumns = np.einsum("ph,phj->hj", dL_dsummed, filtered)
        dL_doutput = 2 * residual @ summed / len(y)
        gradients = {"filter": dL_df, "columns": dL_dcolumns, "output": dL_doutput}
        return loss, gradients

    return evaluate
