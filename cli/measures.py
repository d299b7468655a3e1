"""The command that measures the spectra of a network's checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..runtime.ascii_text import named
from .option_groups import with_grouped_options
from .options import Json
from .output.files import refuse_existing, refuse_one_file
from .whole_numbers import counted, whole_number

if TYPE_CHECKING:
    from ..compare.checkpoints.head_matrices import HeadLayout
    from ..compare.checkpoints.measuring import TensorNames


def _pattern(help_text: str, name: str) -> Any:
    """An option that takes the name of a tensor."""
    return typer.Option(name, help=help_text, metavar="NAME")


@dataclass
class NameOptions:
    """What the tensors of a network are called; {layer} and {head} stand for numbers."""

    query: Annotated[
        str | None, _pattern("Queries, such as layers.{layer}.q.weight.", "--query")
    ] = None
    key: Annotated[str | None, _pattern("Keys.", "--key")] = None
    value: Annotated[str | None, _pattern("Values.", "--value")] = None
    output: Annotated[
        str | None, _pattern("The output matrix of attention.", "--output")
    ] = None
    fused: Annotated[
        str | None, _pattern("Queries, keys and values in one tensor.", "--qkv")
    ] = None
    query_key: Annotated[
        str | None, _pattern("The product W_QᵀW_K, in place of both.", "--query-key")
    ] = None
    output_value: Annotated[
        str | None, _pattern("The product W_O W_V, in place of both.", "--output-value")
    ] = None
    embedding: Annotated[
        str | None, _pattern("The embedding, one row a symbol.", "--embedding")
    ] = None

    def names(self) -> "TensorNames":
        """The names; ValueError where they say nothing, or one thing twice."""
        from ..compare.checkpoints.measuring import TensorNames

        return TensorNames(**vars(self))


@dataclass
class LayoutOptions:
    """How heads lie in tensors."""

    heads: Annotated[int | None, counted("Heads in one matrix.", least=1)] = None
    key_value_heads: Annotated[
        int | None, counted("Heads of keys and values, if fewer.", least=1)
    ] = None
    inputs_first: Annotated[
        bool,
        typer.Option(
            "--inputs-first",
            help="Matrices are (inputs, outputs), not those of torch.nn.Linear.",
        ),
    ] = False
    interleaved: Annotated[
        bool,
        typer.Option(
            "--interleaved", help="--qkv has query, key and value of each head in turn."
        ),
    ] = False

    def layout(self) -> "HeadLayout":
        """The layout; ValueError for numbers of heads that do not fit."""
        from ..compare.checkpoints.head_matrices import HeadLayout

        return HeadLayout(**vars(self))


@dataclass
class SpectrumOptions:
    """What is measured."""

    rank: Annotated[
        str | None,
        typer.Option(
            help="Dimension of the subspaces: 6, or qk=1,ov=6,embedding=10; the effective rank at the end if left out.",
            metavar="K",
        ),
    ] = None
    without: Annotated[
        int,
        counted("Leading singular values that the marginalised rank is without."),
    ] = 1
    symbols: Annotated[
        int | None,
        counted("Rows of the embedding that are numbers modulo so many.", least=3),
    ] = None
    frequencies: Annotated[
        int | None,
        counted("Strongest frequencies of the Fourier share; 5 if left out.", least=1),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The arguments of `measure`; ValueError for a rank that is none."""
        return {
            "rank": None if self.rank is None else ranks_of(self.rank),
            "without": self.without,
            "symbols": self.symbols,
            "strongest": self.frequencies,
        }


@with_grouped_options
def measure(
    files: Annotated[
        list[Path],
        typer.Argument(help="npz or safetensors files, of one checkpoint or of many."),
    ],
    tensors: NameOptions,
    layout: LayoutOptions,
    spectra: SpectrumOptions,
    *,
    steps: Annotated[
        str | None,
        typer.Option(
            help="Field with the steps, or where they stand in file names: step_{step}."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write it here: CSV, JSON, npz, PDF, PNG or SVG."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if it is there.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure the spectra of a network's heads and embedding over its checkpoints.

    Effective ranks of QK and OV, distances of their leading subspaces, and the Fourier share of the embedding.
    """
    from json import dumps

    from ..compare.checkpoints.measuring import measure_files
    from .output.measures import measures_format, print_measures, write_measures

    if out is not None:
        measures_format(out)
        for file in files:
            refuse_one_file(out, {"a file of checkpoints": file})
        refuse_existing(out, force)
    measures = measure_files(
        files, tensors.names(), layout.layout(), steps=steps, **spectra.settings()
    )
    if out is not None:
        write_measures(measures, out)
    if json:
        print(dumps(measures.to_dict()))
    else:
        print_measures(measures)
        if out is not None:
            print(named(out))


def ranks_of(text: str) -> int | dict[str, int]:
    """The ranks of an option: one number, or one a kind; ValueError for anything else.

    >>> ranks_of("6"), ranks_of("qk=1,ov=6")
    (6, {'query_key': 1, 'output_value': 6})
    """
    from ..compare.metrics.measures import KINDS

    kinds = {short.lower(): kind for kind, short in KINDS.items()}
    try:
        if "=" not in text:
            return whole_number(text)
        ranks = {}
        for part in text.split(","):
            name, _, number = part.partition("=")
            kind = kinds[name.strip().lower()]
            if kind in ranks:
                raise ValueError
            ranks[kind] = whole_number(number)
        return ranks
    except (KeyError, ValueError):
        raise ValueError(
            f"--rank must be a whole number, or qk=1,ov=6,embedding=10 or some of these, not {text!r}"
        ) from None
