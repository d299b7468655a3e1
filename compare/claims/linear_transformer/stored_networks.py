"""The stored checkpoints of small networks: what they have learned, and what is measured of their weights."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import BoolArray, FloatArray
from ....runtime.files import read_arrays
from ....runtime.machine import one_thread
from ...checkpoints.measuring import TensorNames, measure_files, reference_checkpoints
from ...metrics.measures import Measures

ADDITION = ("grokking", "control")
"""Two networks that learn addition modulo 31: the pairs left out of training differ, nothing else."""

ATTENTION = ("attention_only_2", "attention_only_1")
"""Attention alone, of two layers and of one, on periodic sequences of symbols."""

SYMBOLS = 31
OV_RANK = 6
"""Dimension of the subspaces of OV, below its effective rank at the end: 7 to 8 where a network adds, else more."""

_OF_ADDITION = TensorNames(query="Q", key="K", value="V", output="O", embedding="E")
_OF_ATTENTION = TensorNames(query_key="qk", output_value="ov")


class Series(NamedTuple):
    """A quantity at the checkpoints of a network."""

    steps: FloatArray
    values: FloatArray


@cache
def stored(name: str) -> dict[str, NDArray[np.generic]]:
    """The arrays of a stored file by name."""
    (path,) = (path for path in reference_checkpoints() if path.stem == name)
    return read_arrays(path)


@cache
def measures_of(name: str) -> Measures:
    """What is measured of the weights of a stored network."""
    (path,) = (path for path in reference_checkpoints() if path.stem == name)
    if name in ATTENTION:
        return measure_files(path, _OF_ATTENTION, rank={"output_value": OV_RANK})
    return measure_files(
        path, _OF_ADDITION, rank={"output_value": OV_RANK}, symbols=SYMBOLS
    )


@cache
def accuracy_on_left_out_pairs(name: str) -> FloatArray:
    """The share (T,) of the pairs left out of training whose sum a network names, from its weights alone."""
    arrays = stored(name)
    first, second = np.divmod(np.arange(SYMBOLS**2), SYMBOLS)
    is_left_out = ~arrays["train"].astype(bool)
    every_weight = _weights(name)
    shares = []
    for t in range(len(arrays["steps"])):
        weights = {key: array[t] for key, array in every_weight.items()}
        with one_thread():
            answers = np.argmax(_logits(weights, first, second), axis=1)
        is_right: BoolArray = answers == (first + second) % SYMBOLS
        shares.append(np.mean(is_right[is_left_out]))
    return np.array(shares)


def _weights(name: str) -> dict[str, FloatArray]:
    """The weights of a network that adds, in doubles, with a leading axis of checkpoints."""
    names = ("E", "pos", "Q", "K", "V", "O", "W1", "b1", "W2", "b2", "U")
    return {key: stored(name)[key].astype(np.float64) for key in names}


def _logits(
    weights: dict[str, FloatArray],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
) -> FloatArray:
    """Scores (P, 31) of the sums of pairs (P,): one layer of attention and a network of one hidden layer.

    The three tokens are both numbers and the sign =, at whose position the answer is read.
    """
    equals = np.full(len(first), SYMBOLS)
    tokens = np.stack([first, second, equals], axis=1)  # (P, 3)
    x = weights["E"][tokens] + weights["pos"]  # (P, 3, D)
    query = weights["Q"] @ x[0, 2]  # (H, d), the same for every pair
    # h heads, d and e their inner axes, n pairs, t tokens, i and j the axis of D.
    keys = np.einsum("hdi,nti->nthd", weights["K"], x, optimize=True)
    scores = np.einsum("hd,nthd->nht", query, keys, optimize=True) / np.sqrt(
        query.shape[1]
    )
    attention = np.exp(scores - scores.max(axis=2, keepdims=True))
    attention /= attention.sum(axis=2, keepdims=True)
    values = np.einsum("hdi,nti->nthd", weights["V"], x, optimize=True)
    read = np.einsum("nht,nthd->nhd", attention, values, optimize=True)
    residual = x[:, 2] + np.einsum("hid,nhd->ni", weights["O"], read, optimize=True)
    hidden = np.maximum(residual @ weights["W1"].T + weights["b1"], 0)
    residual = residual + hidden @ weights["W2"].T + weights["b2"]
    return np.asarray(residual @ weights["U"].T)
