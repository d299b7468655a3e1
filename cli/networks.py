"""The commands under train-network: small networks in PyTorch, an extra, one command a network."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..runtime.ascii_text import named
from .exit_status import ExitStatus, in_words
from .option_groups import with_grouped_options
from .options import measured
from .output.files import refuse_existing
from .whole_numbers import counted, whole_number

if TYPE_CHECKING:
    from ..simulate.torch_models.protocol import TorchNetwork

train_network = typer.Typer(
    help="Train a small network with PyTorch (the extra torch), and write its checkpoints.",
    no_args_is_help=True,
)

_EPILOG = in_words(
    ExitStatus.AS_EXPECTED, ExitStatus.OTHER_THAN_EXPECTED, ExitStatus.NOT_DONE
)


@dataclass
class RunOptions:
    """How long a network is trained, and where its checkpoints go."""

    out: Annotated[
        Path,
        typer.Option(
            help="The npz file to write; a run that it holds already goes on."
        ),
    ]
    steps: Annotated[
        int, counted("Number of steps, those in the file included.", least=1)
    ]
    checkpoints: Annotated[
        str | None,
        typer.Option(
            help="Steps of the checkpoints, such as 0,100,1000; a usual choice if left out."
        ),
    ] = None
    seed: Annotated[int, counted("Seed of weights, data and batches.")] = 0
    force: Annotated[
        bool, typer.Option("--force", help="Begin anew if the file is there.")
    ] = False

    def train(self, network: "TorchNetwork") -> None:
        """Train the network, and print what has become of it."""
        from ..simulate.torch_models import train_torch_network

        refuse_existing(self.out, force=True)
        try:
            run = train_torch_network(
                network,
                steps=self.steps,
                out=self.out,
                checkpoints=self._checkpoints(),
                seed=self.seed,
                anew=self.force,
            )
        except KeyboardInterrupt:
            print(f"attndyn: {self._state_after_interrupt()}", file=sys.stderr)
            raise
        numbers = ", ".join(
            f"{name} {value:.4g}"
            for name, value in zip(run.log_columns[1:], run.log[-1, 1:], strict=True)
        )
        print(f"{named(self.out)}: {run.last_step} steps, {numbers}")

    def _checkpoints(self) -> list[int] | None:
        """The steps of the option; ValueError for text that is no whole numbers."""
        if self.checkpoints is None:
            return None
        try:
            return [whole_number(part) for part in self.checkpoints.split(",")]
        except ValueError as error:
            raise ValueError(f"--checkpoints: {error}") from None

    def _state_after_interrupt(self) -> str:
        """The message of an interrupted run."""
        if not self.out.exists():
            return "the run had not begun"
        return f"the run so far is in {named(self.out)}: the same command goes on from there"


@train_network.command("modular-addition", epilog=_EPILOG)
@with_grouped_options
def modular_addition(
    run: RunOptions,
    *,
    prime: Annotated[int, counted("The prime p.", least=2)] = 31,
    split: Annotated[
        str,
        typer.Option(
            help="ordered: (a, b) and (b, a) are drawn apart; unordered: together."
        ),
    ] = "ordered",
    fraction: Annotated[
        Any, measured("The part of the pairs that is trained on.")
    ] = 0.5,
    dimension: Annotated[int, counted("D, the size of the residual.", least=1)] = 48,
    heads: Annotated[int, counted("Heads, of rank D / heads.", least=1)] = 2,
    hidden: Annotated[int, counted("Hidden units of the MLP.", least=1)] = 96,
    learning_rate: Annotated[Any, measured("Learning rate of AdamW.")] = 5e-3,
    weight_decay: Annotated[Any, measured("Decoupled weight decay.")] = 1.0,
) -> None:
    """Train one layer of attention with an MLP on a + b modulo a prime, on full batches."""
    from ..simulate.torch_models import ModularAddition

    network = ModularAddition(
        prime=prime,
        dimension=dimension,
        heads=heads,
        hidden=hidden,
        split=split,
        fraction=fraction,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    run.train(network)


@train_network.command("attention-only", epilog=_EPILOG)
@with_grouped_options
def attention_only(
    run: RunOptions,
    *,
    layers: Annotated[int, counted("Layers of attention.", least=1)] = 2,
    symbols: Annotated[int, counted("Different symbols.", least=2)] = 16,
    length: Annotated[int, counted("Symbols of a sequence.", least=8)] = 24,
    shortest: Annotated[int, counted("The shortest period.", least=1)] = 5,
    longest: Annotated[int, counted("The longest period.", least=1)] = 12,
    dimension: Annotated[int, counted("D, the size of the residual.", least=1)] = 48,
    heads: Annotated[int, counted("Heads of a layer, of rank D / heads.", least=1)] = 2,
    batch: Annotated[int, counted("Fresh sequences of a step.", least=1)] = 48,
    learning_rate: Annotated[Any, measured("Learning rate of Adam.")] = 3e-3,
    embedding_scale: Annotated[
        Any, measured("Standard deviation of symbols and positions at the start.")
    ] = 0.4,
) -> None:
    """Train attention without an MLP to continue periodic random sequences of different periods."""
    from ..simulate.torch_models import AttentionOnly

    network = AttentionOnly(
        symbols=symbols,
        length=length,
        shortest=shortest,
        longest=longest,
        layers=layers,
        dimension=dimension,
        heads=heads,
        learning_rate=learning_rate,
        batch=batch,
        embedding_scale=embedding_scale,
    )
    run.train(network)
