"""Measures of a network from the files of its checkpoints."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.files import AnyPath
from ..metrics.measures import (
    FACTORS,
    KINDS,
    MatrixMeasures,
    Measures,
    collected,
    head_names,
    joined,
    measure,
    measured_kinds,
    rank_of_kind,
    refuse_unused_settings,
)
from .head_matrices import PRODUCTS, HeadLayout, fused_part, matrices_of_heads
from .name_patterns import Index, described, fields_of, tensors_named
from .series import Checkpoint, checkpoints_of, tensor_along


@dataclass(frozen=True)
class TensorNames:
    """What the tensors of a network are called: names, or patterns with {layer} and {head}; None of what is not there.

    `fused` is one matrix of queries, keys and values. `query_key` and `output_value` are products W_QᵀW_K and W_O W_V.
    """

    query: str | None = None
    key: str | None = None
    value: str | None = None
    output: str | None = None
    fused: str | None = None
    query_key: str | None = None
    output_value: str | None = None
    embedding: str | None = None

    def __post_init__(self) -> None:
        """ValueError for names that state nothing, or one thing twice."""
        if not any(getattr(self, field.name) for field in fields(self)):
            raise ValueError(
                "say what the tensors are called: --query and --key, --value and --output, --query-key, "
                "--output-value, or --embedding"
            )
        for kind, factors in FACTORS.items():
            self._refuse_conflicts(kind, factors)

    def pattern_of(self, role: str) -> str | None:
        """The pattern of a factor, which may be the fused one."""
        own: str | None = getattr(self, role)
        return own if role == "output" else own or self.fused

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of matrices that the names make: a fused matrix makes QK, and with an output OV."""
        roles = {field.name for field in fields(self) if getattr(self, field.name)}
        if self.fused and not self.query_key:
            roles |= {"query"}
        return measured_kinds(roles)

    def _refuse_conflicts(self, kind: str, factors: tuple[str, str]) -> None:
        own = [factor for factor in factors if getattr(self, factor)]
        if self.fused and [factor for factor in own if factor != "output"]:
            raise ValueError(
                f"--{own[0]} is in the fused matrix of --qkv: leave one of them out"
            )
        if own and getattr(self, kind):
            raise ValueError(
                f"--{own[0]} is a factor of --{_option(kind)}: leave one of them out"
            )
        patterns = [self.pattern_of(factor) for factor in factors]
        if own and not all(patterns):
            missing = factors[patterns.index(None)]
            raise ValueError(f"--{own[0]} alone makes no product: pass --{missing} too")


def _refuse_unused_layout(names: TensorNames, layout: HeadLayout) -> None:
    """ValueError for a layout of matrices that none of the names is of, and a fused matrix that nothing is read of."""
    factors = {role for kind in FACTORS for role in FACTORS[kind]}
    divided = [role for role in (*factors, "fused") if getattr(names, role)]
    if names.fused and names.query_key and not names.output:
        raise ValueError(
            "--query-key is in place of queries and keys, and the values of --qkv need --output: pass it, or leave "
            "--qkv out"
        )
    if layout.heads is not None and not divided:
        raise ValueError(
            "--heads says how many heads are in one matrix of queries, keys, values or outputs, and none is named: a "
            "product has an axis of heads of its own; leave --heads out"
        )
    if layout.inputs_first and not divided and not names.output_value:
        raise ValueError(
            "--inputs-first is for matrices that act from one side, and QK and an embedding do not: leave it out"
        )
    if layout.interleaved and not names.fused:
        raise ValueError(
            "--interleaved says how queries, keys and values lie in one matrix: name it with --qkv, or leave it out"
        )


class _Group(NamedTuple):
    """The tensors of one role in one layer, and the numbers of their heads where each has one of its own."""

    tensors: tuple[str, ...]
    heads: Index | None


Groups = Mapping[Index, _Group]
"""Groups by the number of their layer, of which a pattern without {layer} has none."""


def measure_files(
    paths: AnyPath | Iterable[AnyPath],
    names: TensorNames,
    layout: HeadLayout | None = None,
    *,
    steps: str | None = None,
    rank: int | Mapping[str, int] | None = None,
    without: int = 1,
    symbols: int | None = None,
    strongest: int | None = None,
) -> Measures:
    """Spectral measures of a network from npz and safetensors files of its checkpoints, layer by layer.

    `names` says what its tensors are called, `layout` how heads lie in them, `steps` where the step of a checkpoint
    stands: a field of the file, or a part of its name such as "step_{step}". The other arguments are those of
    `measure`. ValueError for names that are not there (it says which are), shapes that do not fit, numbers that are
    not finite, files that cannot be read, and arguments that nothing here makes use of; OSError if one cannot be
    opened.

    >>> path = next(path for path in reference_checkpoints() if path.stem == "attention_only_1")
    >>> measure_files(path, TensorNames(query_key="qk"), rank=4).query_key.names
    ('head 0', 'head 1')
    """
    if isinstance(paths, (str, bytes, os.PathLike)):
        paths = [paths]
    arrangement = layout or HeadLayout()
    _refuse_unused_layout(names, arrangement)
    refuse_unused_settings(names.kinds, rank, symbols, strongest)
    checkpoints = checkpoints_of(paths, steps)
    times = np.array([checkpoint.step for checkpoint in checkpoints])
    results: dict[str, MatrixMeasures] = {}
    for kind in PRODUCTS:
        parts = []
        for heads, arrays in _layers(checkpoints, names, arrangement, kind):
            found = measure(
                arrays,
                times,
                rank=rank_of_kind(rank, kind),
                without=without,
                names=heads,
            )
            parts.append(found.kinds[KINDS[kind]])
        if parts:
            results[kind] = joined(parts)
    share = None
    if names.embedding is not None:
        found = measure(
            {"embedding": _embedding(checkpoints, names.embedding)},
            times,
            rank=rank_of_kind(rank, "embedding"),
            without=without,
            symbols=symbols,
            strongest=strongest,
        )
        assert found.embedding is not None
        results["embedding"], share = found.embedding, found.fourier_share
    return collected(times, results, share)


def _layers(
    checkpoints: Sequence[Checkpoint],
    names: TensorNames,
    layout: HeadLayout,
    kind: str,
) -> Iterator[tuple[tuple[str, ...] | None, dict[str, FloatArray]]]:
    """Names of the heads and weights (T, …) by role, layer by layer; nothing where the kind has no names."""
    roles = (kind,) if getattr(names, kind) else FACTORS[kind]
    patterns = {role: names.pattern_of(role) for role in roles}
    if not all(patterns.values()):
        return
    groups = {
        role: _groups(str(pattern), checkpoints[0])
        for role, pattern in patterns.items()
    }
    _refuse_other_layers(groups, patterns)
    for layer, group in groups[roles[0]].items():
        arrays = {}
        for role in roles:
            is_fused = role not in PRODUCTS and getattr(names, role) is None
            arrays[role] = _weights(
                checkpoints, groups[role][layer], role, layout, is_fused
            )
        shape = arrays[roles[0]].shape[1:-2]
        yield _names_of_heads(layer, group, shape), arrays


def _groups(pattern: str, checkpoint: Checkpoint) -> Groups:
    """The tensors that a pattern finds, by layer."""
    fields = fields_of(pattern)
    found = tensors_named(pattern, checkpoint.names)
    layers = dict.fromkeys(index[: "layer" in fields] for index in found)
    groups = {}
    for layer in layers:
        own = {
            index: name for index, name in found.items() if index[: len(layer)] == layer
        }
        heads = tuple(index[-1] for index in own) if "head" in fields else None
        groups[layer] = _Group(tuple(own.values()), heads)
    return groups


def _refuse_other_layers(
    groups: Mapping[str, Groups], patterns: Mapping[str, str | None]
) -> None:
    """ValueError where the two factors of a product have not the same layers and heads."""
    (first, own), *others = groups.items()
    for role, group in others:
        numbers = [
            {(layer, one.heads) for layer, one in each.items()} for each in (own, group)
        ]
        if numbers[0] != numbers[1]:
            raise ValueError(
                f"{patterns[first]!r} ({first}) and {patterns[role]!r} ({role}) have different layers or heads: "
                f"{_numbers_in_words(own)}, and {_numbers_in_words(group)}"
            )


def _numbers_in_words(groups: Groups) -> str:
    """The numbers of layers and heads of groups."""
    layers = [str(index[0]) for index in groups if index]
    heads = sorted({head for group in groups.values() for head in group.heads or ()})
    words = []
    if layers:
        words.append(f"layers {', '.join(layers)}")
    if heads:
        words.append(f"heads {', '.join(map(str, heads))}")
    return " and ".join(words) or "no numbers"


def _weights(
    checkpoints: Sequence[Checkpoint],
    group: _Group,
    role: str,
    layout: HeadLayout,
    is_fused: bool,
) -> FloatArray:
    """The matrices (T, …, rows, columns) of one role in one layer."""
    tensors = [tensor_along(checkpoints, name) for name in group.tensors]
    label = group.tensors[0]
    if group.heads is None:
        tensor = tensors[0]
    else:
        shapes = {tensor.shape for tensor in tensors}
        if len(shapes) > 1 or tensors[0].ndim != 3:
            raise ValueError(
                f"{label} must be one matrix a head, of one shape in every head, not of {sorted(shapes)}"
            )
        tensor = np.stack(tensors, axis=1)
    if is_fused:
        return fused_part(tensor, role, layout, label)
    return matrices_of_heads(tensor, role, layout, label)


def _names_of_heads(
    layer: Index, group: _Group, shape: tuple[int, ...]
) -> tuple[str, ...] | None:
    """Names of the heads of a layer; None where the axes of its array say it all."""
    prefix = described(layer, ("layer",)[: len(layer)])
    if group.heads is not None:
        heads: tuple[str, ...] = tuple(f"head {number}" for number in group.heads)
    elif not layer:
        return None
    elif len(shape) > 1:
        raise ValueError(
            f"{group.tensors[0]} has {len(shape)} axes beside its matrices, where {prefix} may have one, of heads"
        )
    else:
        heads = head_names(shape) if shape else ("",)
    return tuple(f"{prefix} {head}".strip() for head in heads)


def _embedding(checkpoints: Sequence[Checkpoint], name: str) -> FloatArray:
    """An embedding (T, n, D); ValueError where it is no matrix, or the pattern has fields."""
    if fields_of(name):
        raise ValueError(
            f"the embedding is one tensor: name it without braces, not {name!r}"
        )
    tensors_named(name, checkpoints[0].names)
    tensor = tensor_along(checkpoints, name)
    if tensor.ndim != 3:
        raise ValueError(
            f"{name} must be a matrix of one row a symbol, not of shape {tensor.shape[1:]}"
        )
    return tensor


def _option(kind: str) -> str:
    return kind.replace("_", "-")


def reference_checkpoints() -> list[Path]:
    """Checkpoints of small trained networks that come with the package, by name.

    >>> [path.stem for path in reference_checkpoints()]
    ['attention_only_1', 'attention_only_2', 'control', 'grokking']
    """
    folder = files("attndyn.compare.checkpoints.reference")
    paths = [Path(str(path)) for path in folder.iterdir()]
    return sorted(path for path in paths if path.suffix == ".npz")
