"""The two-layer linear network on cubic features, to which merged linear attention is equivalent.

With z = vec(β x_qᵀ), β = Σ_n y_n x_n / divisor, its output is Σ_h v_h ⟨U_h, z⟩: hidden weights U (H, D²), output
weights v (H,). Source: Zhang et al. 2025, Section 3.1.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model import Weights, attention_divisor
from .descent import descend
from .log import Descent
from .objective import Objective
from .prompts import Data
from .trajectory import Trajectory

FloatArray = NDArray[np.float64]


def network_features(data: Data, model: object) -> tuple[FloatArray, FloatArray]:
    """Features z (P, D²) of every prompt, with the divisor of `model`, and the query's labels (P,).

    ValueError if the loss averages over several context lengths: the network has one input a sequence.

    >>> from attndyn import Merged
    >>> from attndyn.simulate import given
    >>> network_features(given([[[2, 3.0], [5, 7]]]), Merged(heads=1))
    (array([[30.]]), array([7.]))
    """
    if len(data.context_lengths) > 1:
        raise ValueError("cubic features need one context length, not an average over several")
    length = data.context_lengths[0]
    z, labels = [], []
    for tokens in data.chunks():
        beta = np.einsum("pn,pni->pi", tokens[:, :length, -1], tokens[:, :length, :-1])
        query = tokens[:, length, :-1] / attention_divisor(model, length)
        z.append(np.einsum("pi,pj->pij", beta, query).reshape(len(tokens), -1))
        labels.append(tokens[:, length, -1])
    return np.concatenate(z), np.concatenate(labels)


def network_weights(weights: Weights) -> Weights:
    """The network that merged attention with these weights is, on the restricted block.

    >>> network_weights({"value": np.ones((2, 3)), "key_query": np.ones((2, 3, 3))})["hidden"].shape
    (2, 4)
    """
    U = weights["key_query"][..., :-1, :-1]
    return {"hidden": U.reshape(*U.shape[:-2], -1), "output": weights["value"][..., -1]}


def train_network(
    features: ArrayLike,
    labels: ArrayLike,
    start: Mapping[str, ArrayLike],
    *,
    learning_rate: float,
    steps: int,
    record: int | Sequence[int] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trajectory:
    """Gradient descent on the network, from `start` with hidden (H, K) and output (H,); arguments as in `train`.

    >>> start = {"hidden": [[0.1, 0.0]], "output": [0.1]}
    >>> run = train_network([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], start, learning_rate=0.1, steps=200)
    >>> bool(run.loss[-1] < 0.01)
    True
    """
    z, y = np.asarray(features, dtype=float), np.asarray(labels, dtype=float)
    if z.ndim != 2 or y.shape != (len(z),):
        raise ValueError(f"features must be (P, K) and labels (P,), not {z.shape} and {y.shape}")
    if set(start) != {"hidden", "output"}:
        raise ValueError(f"start must hold hidden and output, not {', '.join(start)}")
    begin = {name: np.array(start[name], dtype=float) for name in ("hidden", "output")}
    if begin["hidden"].shape != (*begin["output"].shape, z.shape[1]):
        shapes = f"{begin['hidden'].shape} and {begin['output'].shape}"
        raise ValueError(f"hidden must be (H, {z.shape[1]}) and output (H,), not {shapes}")
    source = hashlib.sha256(z.tobytes() + y.tobytes() + repr(z.shape).encode()).hexdigest()
    rule = Descent(learning_rate, steps, record, checkpoint)
    return descend(_objective(z, y), begin, rule, {"model": "network", "source": source})


def _objective(z: FloatArray, y: FloatArray) -> Objective:
    def evaluate(weights: Weights) -> tuple[float, Weights]:
        hidden, output = weights["hidden"], weights["output"]
        activity = z @ hidden.T
        residual = activity @ output - y
        pull = 2 * (residual @ z) / len(y)
        loss = float(residual @ residual) / len(y)
        return loss, {"hidden": np.outer(output, pull), "output": hidden @ pull}

    return evaluate
