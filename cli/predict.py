"""The commands under predict: what a wing predicts of a task, one command a wing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exit_status import ExitStatus, in_words
from .flow_times import FlowTimeOptions
from .option_groups import with_grouped_options
from .options import Json, ScoreDivisor, TaskOptions, double, doubles
from .output.files import refuse_existing, refuse_one_file
from .whole_numbers import counted

if TYPE_CHECKING:
    from ..compare.softmax_predictions import SoftmaxSetting

predict = typer.Typer(
    help="Predict losses, optima and training of one kind of attention.",
    no_args_is_help=True,
)


@predict.callback()
def _predict() -> None:
    # With a callback the command keeps its name, even if it is the only one.
    pass


@dataclass
class HeadOptions:
    """The heads: how many, and the two numbers of each."""

    heads: Annotated[
        int | None, counted("Number of heads; as many as --omega has, or 2.", least=1)
    ] = None
    omega: Annotated[
        str | None,
        typer.Option(
            help="omega of each head, in scores omega x_n.x_q after their divisor: 0.3,-0.2."
        ),
    ] = None
    mu: Annotated[
        str | None,
        typer.Option(help="mu of each head, the weight of the labels: 1.2,-3/2."),
    ] = None

    def numbers(self) -> tuple[list[float] | None, list[float] | None]:
        """ω and μ, each None where it was left out; ValueError for text that is no numbers."""
        ω = None if self.omega is None else doubles("--omega", self.omega)
        μ = None if self.mu is None else doubles("--mu", self.mu)
        return ω, μ

    def count(self) -> int:
        """H."""
        ω, _ = self.numbers()
        if self.heads is not None:
            return self.heads
        return 2 if ω is None else len(ω)


@dataclass
class SettingOptions:
    """The choices that change the loss of softmax heads, or the speed of their training."""

    loss: Annotated[
        str, typer.Option(help="exact, or approximate: that of large D.")
    ] = "exact"
    query_token: Annotated[
        bool,
        typer.Option(
            "--query-token/--no-query-token",
            help="Whether the query's own token is among the keys.",
        ),
    ] = False
    score_divisor: ScoreDivisor = "1"
    metric: Annotated[
        str,
        typer.Option(
            help="Speed of omega beside mu: matrix (of the weights B), euclidean (1), or a number."
        ),
    ] = "matrix"

    def setting(self) -> "SoftmaxSetting":
        """The setting; ValueError for a choice that there is not."""
        from ..compare.softmax_predictions import SoftmaxSetting

        return SoftmaxSetting(
            self.loss, self.query_token, self.score_divisor, self._rate_of_omega()
        )

    def _rate_of_omega(self) -> float | str:
        """A name of a metric, or a number."""
        if self.metric in ("matrix", "euclidean"):
            return self.metric
        try:
            return double(self.metric)
        except typer.BadParameter:
            raise ValueError(
                f"--metric must be matrix, euclidean or a number such as 1/5, not {self.metric!r}"
            ) from None


@dataclass
class OutputOptions:
    """Where a prediction goes."""

    out: Annotated[
        Path | None,
        typer.Option(help="Write the flow here: CSV, JSON, npz, PDF, PNG or SVG."),
    ] = None
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if it is there.")
    ] = False
    json: Json = False


@predict.command(
    "softmax", epilog=in_words(ExitStatus.AS_EXPECTED, ExitStatus.NOT_DONE)
)
@with_grouped_options
def softmax(
    task: TaskOptions,
    head: HeadOptions,
    choice: SettingOptions,
    flow_time: FlowTimeOptions,
    output: OutputOptions,
) -> None:
    """Predict loss, optimum and training of softmax heads with keys omega x, queries x and values mu y."""
    from json import dumps

    from ..compare.softmax_predictions import softmax_prediction
    from .output.curve_files import curve_format
    from .output.softmax_prediction import print_prediction, write_flow

    if output.out is not None:
        curve_format(output.out)
        if not flow_time.are_given:
            raise ValueError("--out is for a flow: pass --until or --flow-time with it")
        refuse_one_file(output.out, {"--task": task.file})
    ω, μ = head.numbers()
    times = None
    if flow_time.are_given:
        times = flow_time.times(is_written=output.out is not None)
    setting = choice.setting()
    problem = task.task()
    if output.out is not None:
        refuse_existing(output.out, output.force)
    prediction = softmax_prediction(
        problem, head.count(), setting, omega=ω, mu=μ, flow_time=times
    )
    if output.out is not None:
        write_flow(prediction, output.out)
    if output.json:
        print(dumps(prediction.to_dict()))
    else:
        print_prediction(prediction, output.out)
