"""Losses and their steps from a log: which columns they are, and which rows count."""

import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray, plain_array
from ...runtime.checks import check_shape, real_array
from .log_files import LogTable, Row, flat_row, read_log

STEP_NAMES = frozenset(
    {
        *(
            "step",
            "steps",
            "global_step",
            "global_steps",
            "train_step",
            "training_step",
        ),
        *("iteration", "iterations", "iter", "iters", "it", "update", "updates"),
        *("optimizer_step", "num_step", "num_steps", "step_number"),
    }
)
"""Names of the column of steps, in small letters and with one underscore between words."""

EPOCH_NAMES = frozenset({"epoch", "epochs", "current_epoch"})

LOSS_WORDS = frozenset({"loss", "losses", "mse"})
"""Words one of which the column of losses has in its name."""

HELD_OUT_WORDS = frozenset(
    [
        "val",
        "valid",
        "validation",
        "eval",
        "evaluation",
        "test",
        "dev",
        "holdout",
        "min",
        "max",
        "std",
        "best",
        "log",
        "log10",
        "sqrt",
        "root",
        "smooth",
        "smoothed",
        "ema",
    ]
)
"""Words in the names of other losses than those that the run trained on, or of what was made of them."""

TENSORBOARD = ("Wall time", "Step", "Value")
"""The columns of what TensorBoard exports of one scalar; in JSON they have no names."""

_WALL_TIME = 1e8
"""Seconds since 1970 of any log that TensorBoard wrote."""

_LARGEST_STEP = 2.0**53 - 1
"""Up to here every whole number is a double, and no other number is taken for one."""


class LoggedLosses(NamedTuple):
    """Increasing `steps` (T,), the `loss` (T,) at each, and how many rows of the log had none."""

    steps: FloatArray
    loss: FloatArray
    rows_without_loss: int


class _Series(NamedTuple):
    """Steps (T,) and losses (T,) in the order of the log, nan or inf among the losses where the log has them."""

    steps: FloatArray
    loss: FloatArray
    rows: int
    """Rows of the log, also those without a loss."""


def logged_losses(log: Any, step: Any = None, loss: Any = None) -> LoggedLosses:
    """The losses of a log by increasing step; `log`, `step` and `loss` as `external_run` takes them.

    Rows without a loss are left out. ValueError, which says what to do, where columns cannot be told apart, a cell is
    no number, a step has two losses, or the run diverged.

    >>> logged_losses([{"step": 50, "loss": 0.5}, {"step": 0, "loss": 1.0}, {"step": 50, "eval_loss": 0.7}])
    LoggedLosses(steps=array([ 0., 50.]), loss=array([1. , 0.5]), rows_without_loss=1)
    """
    if not isinstance(log, (str, bytes, os.PathLike)):
        return _in_order(_series(log, step, loss))
    try:
        return _in_order(_series(read_log(log), step, loss))
    except UnicodeDecodeError:
        raise ValueError(f"{os.fsdecode(log)}: it is no UTF-8 text") from None
    except ValueError as error:
        raise ValueError(f"{os.fsdecode(log)}: {error}") from None


def _in_order(series: _Series) -> LoggedLosses:
    """The losses by increasing step; ValueError for none, for two at one step, and for a run that diverged."""
    finite = np.isfinite(series.loss)
    steps = series.steps[finite]
    if not len(steps):
        raise ValueError("the log holds no loss that is a number")
    # A loss that is missing is followed by others; that of a run that diverged is not.
    diverged = series.steps[~finite & (series.steps > steps.max())]
    if len(diverged):
        raise ValueError(
            f"the loss is nan or inf from step {diverged.min():g} on: the run diverged, so cut the log before that step"
        )
    order = np.argsort(steps, kind="stable")
    steps = steps[order]
    loss = series.loss[finite][order]

    is_repeated = np.diff(steps, prepend=-1.0) == 0
    _refuse_losses(steps, loss, is_repeated)
    missing = series.rows - len(steps)
    return LoggedLosses(steps[~is_repeated], loss[~is_repeated], missing)


def _refuse_losses(steps: FloatArray, loss: FloatArray, is_repeated: BoolArray) -> None:
    """ValueError for two losses at one step, and for a loss that is no mean square."""
    (twice,) = np.nonzero(is_repeated & (loss != np.roll(loss, 1)))
    if len(twice):
        second = int(twice[0])
        raise ValueError(
            f"step {steps[second]:g} has two losses, {loss[second - 1]:g} and {loss[second]:g}, as where a run was "
            "restarted or steps count within an epoch: keep one row a step"
        )
    if np.any(loss < 0):
        negative = int(np.argmax(loss < 0))
        raise ValueError(
            f"the loss is {loss[negative]:g} at step {steps[negative]:g}: a mean square is not negative"
        )


# Logs in memory


def _series(log: Any, step: Any, loss: Any) -> _Series:
    """Steps and losses of a log in any of its forms."""
    if log is None:
        if isinstance(loss, str) or loss is None:
            raise ValueError("pass log=, or the losses themselves as loss=")
        return _of_array(loss, step)
    if isinstance(loss, (list, tuple, np.ndarray)):
        raise ValueError(
            "loss= names the column of losses in the log: pass the log, or loss= without one"
        )
    table = _table(log)
    if table is None:
        return _of_array(log, step)
    return _of_table(table, step, loss)


def _table(log: Any) -> LogTable | None:
    """The log as rows under names; None if it is losses, or pairs of a step and a loss, without names."""
    if isinstance(log, LogTable):
        return log
    if isinstance(log, Mapping):
        return _table_of_mapping(log)
    if hasattr(log, "columns"):
        # A data frame of pandas or Polars, in which a missing number is nan.
        return _table_of_columns({str(n): log[n] for n in log.columns}, is_frame=True)
    names = getattr(getattr(log, "dtype", None), "names", None)
    if names:
        return _table_of_columns({name: log[name] for name in names})
    if isinstance(log, (list, tuple)) and any(isinstance(row, Mapping) for row in log):
        return _table_of_rows(log)
    if _is_tensorboard(log):
        return _table_of_rows([dict(zip(TENSORBOARD, row, strict=True)) for row in log])
    return None


def _is_tensorboard(log: Any) -> bool:
    """Whether these are rows of wall time, step and value; other rows of three would be read wrongly."""
    if not isinstance(log, list) or not log:
        return False
    return all(
        isinstance(row, list)
        and len(row) == len(TENSORBOARD)
        and isinstance(row[0], (int, float))
        and row[0] > _WALL_TIME
        for row in log
    )


def _table_of_mapping(log: Mapping[Any, Any]) -> LogTable:
    """The table of a Trainer's state, of {step: loss}, of one row, or of columns by name."""
    history = log.get("log_history")
    if isinstance(history, (list, tuple)):
        return _table_of_rows(history)
    if log and all(_is_step(key) for key in log):
        return _table_of_columns({"step": list(log), "loss": list(log.values())})
    flat = flat_row(log)
    columns = {name: plain_array(value, name) for name, value in flat.items()}
    if all(np.ndim(value) == 0 for value in columns.values()):
        return _table_of_rows([columns])
    return _table_of_columns(columns)


def _table_of_rows(rows: Iterable[Any]) -> LogTable:
    """The table of a list of rows; what a Trainer adds when it has finished is no row of the log."""
    names: dict[str, None] = {}
    flat_rows = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise ValueError(f"row {number} of the log is no mapping, as others are")
        if "train_runtime" not in row:
            flat_rows.append(flat_row(row))
            names.update(dict.fromkeys(flat_rows[-1]))
    return LogTable(tuple(names), lambda: flat_rows)


def _table_of_columns(
    columns: Mapping[str, Any], *, is_frame: bool = False
) -> LogTable:
    """The table of columns of one length; blank where a frame has nan."""
    cells = {}
    for name, column in columns.items():
        cells[str(name)] = list(plain_array(column, str(name)))
    lengths = {name: len(column) for name, column in cells.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of the log have different lengths: {lengths}")

    def rows() -> Iterable[Row]:
        for row in zip(*cells.values(), strict=True):
            shown = [None if is_frame and _is_nan(cell) else cell for cell in row]
            yield dict(zip(cells, shown, strict=True))

    return LogTable(tuple(cells), rows)


def _of_array(values: Any, step: Any) -> _Series:
    """The series of losses (T,), or of steps and losses (T, 2)."""
    given = plain_array(values, "log")
    array = real_array(given, "log")
    if np.asarray(given).dtype.kind == "b":
        raise ValueError("log must hold losses, not truth values")
    if array.ndim == 2 and array.shape[1] == 2 and step is None:
        steps = _checked_steps(array[:, 0])
        return _Series(steps, array[:, 1], len(array))
    if array.ndim != 1:
        raise ValueError(
            f"an array of losses must have shape (T,), or (T, 2) of steps and losses, not {array.shape}"
        )
    return _Series(_given_steps(step, len(array)), array, len(array))


def _given_steps(step: Any, count: int) -> FloatArray:
    """The steps (T,) of so many losses: those that are passed, or 0, 1, 2 …"""
    if step is None:
        return np.arange(float(count))
    if isinstance(step, str):
        raise ValueError(
            f"step={step!r} names a column, and this log has none: pass the steps (T,) themselves"
        )
    steps = real_array(plain_array(step, "step"), "step")
    check_shape(steps, "step", "(T,)", T=count)
    return _checked_steps(steps)


def _checked_steps(steps: FloatArray) -> FloatArray:
    """The steps (T,); ValueError unless all are whole numbers of zero or more."""
    with np.errstate(invalid="ignore"):
        is_step = (steps >= 0) & (steps <= _LARGEST_STEP) & (steps == np.floor(steps))
    if not np.all(is_step):
        row = int(np.argmin(is_step))
        raise ValueError(_no_step(row + 1, steps[row]))
    return steps


def _no_step(row: int, value: object) -> str:
    """Why this is no step."""
    return f"the step of row {row} is {value!s}: steps are whole numbers of zero or more, counted from the first update"


# Columns of a table


# Long because one pass over the rows collects steps, losses and their places.
def _of_table(table: LogTable, step: Any, loss: Any) -> _Series:
    """The series of the two columns of a table that hold steps and losses."""
    loss_name = _loss_column(table.names, loss)
    has_steps = not (step is None or isinstance(step, str))
    step_name = None if has_steps else _step_column(table.names, step, loss_name)
    if step_name == loss_name:
        raise ValueError(
            f"the column {loss_name!r} is named for steps and losses both: step= and loss= must differ"
        )
    steps = []
    losses = []
    places = []  # of the rows that have a loss
    rows = 0
    for rows, row in enumerate(table.rows(), start=1):
        value = _number(row.get(loss_name), loss_name, rows, table.comma_is_decimal)
        if value is None:
            continue
        # In a row without a loss, as of an evaluation, the step does not matter.
        if step_name is not None:
            if table.comma_is_decimal:
                _refuse_dot(row.get(step_name), row.get(loss_name), rows)
            steps.append(_step(row.get(step_name), rows))
        losses.append(value)
        places.append(rows - 1)
    loss_values = np.array(losses, dtype=np.float64)
    if step_name is not None:
        return _Series(np.array(steps, dtype=np.float64), loss_values, rows)
    all_steps = _given_steps(step if has_steps else None, rows)
    return _Series(all_steps[places], loss_values, rows)


def _loss_column(names: tuple[str, ...], wanted: str | None) -> str:
    """The column of losses: the one of that name, or the only one that may be it."""
    if wanted is not None:
        return _present(names, wanted, "loss")
    if names == TENSORBOARD:
        return names[-1]
    candidates = []
    for name in names:
        words = set(_split(_without_run(name)))
        if words & LOSS_WORDS and not words & HELD_OUT_WORDS:
            candidates.append(name)
    return _only(candidates, names, "loss", "training losses")


def _step_column(
    names: tuple[str, ...], wanted: str | None, loss_name: str
) -> str | None:
    """The column of steps; None where losses stand alone, one a step. ValueError for epochs, and for several."""
    if wanted is not None:
        return _present(names, wanted, "step")
    candidates = [name for name in names if "_".join(_words(name)) in STEP_NAMES]
    if not candidates and names == (loss_name,):
        return None
    epochs = [name for name in names if "_".join(_words(name)) in EPOCH_NAMES]
    if not candidates and epochs:
        raise ValueError(
            f"the log counts epochs ({epochs[0]!r}) and not steps: pass step=, the step of each row, "
            "which is the epoch times the steps an epoch"
        )
    return _only(candidates, names, "step", "steps")


def _words(name: str) -> list[str]:
    """The words of a column's own name, in small letters, without the group and the run that it belongs to.

    >>> _words("run 7 - train/global_step"), _words("globalStep")
    (['global', 'step'], ['global', 'step'])
    """
    return _split(_without_run(name).rpartition("/")[2])


def _without_run(name: str) -> str:
    """The name without the run: W&B writes "run - metric" above the columns of an export."""
    return name.rsplit(" - ", 1)[-1]


def _split(text: str) -> list[str]:
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.findall(r"[a-z0-9]+", separated.lower())


def _present(names: tuple[str, ...], wanted: str, argument: str) -> str:
    """The name, if one column has it; ValueError, which lists the columns, otherwise."""
    count = names.count(wanted)
    if count != 1:
        problem = "no column" if not count else f"{count} columns"
        raise ValueError(
            f"{problem} called {argument}={wanted!r}: there are {_listed(names)}"
        )
    return wanted


def _only(
    candidates: list[str], names: tuple[str, ...], argument: str, what: str
) -> str:
    """The only candidate; ValueError, which lists them, where there are several or none."""
    if len(set(candidates)) == 1:
        return _present(names, candidates[0], argument)
    if candidates:
        raise ValueError(
            f"{len(candidates)} columns may hold the {what}, {_listed(candidates)}: choose with {argument}="
        )
    raise ValueError(
        f"no column of {what} among {_listed(names)}: name it with {argument}="
    )


def _listed(names: Iterable[str]) -> str:
    """Names for a message, some of them where they are many."""
    shown = [repr(name) for name in names]
    if len(shown) > 12:
        shown = [*shown[:12], f"and {len(shown) - 12} more"]
    return ", ".join(shown) or "none"


# Cells


def _number(cell: Any, name: str, row: int, comma_is_decimal: bool) -> float | None:
    """The number of a cell, nan and inf included; None for a blank one, ValueError for anything else."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    given = cell
    if isinstance(cell, str):
        text = cell.strip()
        if comma_is_decimal and re.fullmatch(r"[-+]?\d+,\d+", text):
            text = text.replace(",", ".")
        given = text
    else:
        given = plain_array(cell, name)
    try:
        if isinstance(given, (bool, complex, np.bool)):
            raise TypeError
        return float(given)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(_no_number(cell, name, row)) from None


def _no_number(cell: Any, name: str, row: int) -> str:
    text = str(cell).strip()[:40]
    way_out = "write it as a plain number"
    if text.startswith("tensor("):
        way_out = "log loss.item()"
    elif text.startswith("np.float"):
        way_out = "log float(loss)"
    elif text.endswith("%"):
        way_out = "a loss in units of y² has no percent"
    return f"{name!r} of row {row} is {text!r}, which is no number: {way_out}"


def _step(cell: Any, row: int) -> float:
    """The step of a cell; ValueError unless it is a whole number of zero or more."""
    # A comma in a step may separate thousands or decimals: it is never read.
    value = _number(cell, "step", row, comma_is_decimal=False)
    if value is None:
        raise ValueError(f"row {row} has a loss and no step")
    if not (0 <= value <= _LARGEST_STEP and value == math.floor(value)):
        raise ValueError(_no_step(row, cell))
    return value


def _refuse_dot(step: Any, loss: Any, row: int) -> None:
    """ValueError for a step with a dot beside a loss with a comma: there the dot separates thousands."""
    if "." in str(step) and "," in str(loss):
        raise ValueError(
            f"the step of row {row} is {str(step).strip()!r} beside the loss {str(loss).strip()!r}: where a comma is "
            "decimal, a dot may separate thousands, so write steps without it"
        )


def _is_step(key: Any) -> bool:
    """Whether a key of a mapping is the number of a step."""
    if isinstance(key, str):
        return key.isdecimal()
    return isinstance(key, (int, float, np.number)) and not isinstance(key, bool)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, (float, np.floating)) and bool(np.isnan(cell))
