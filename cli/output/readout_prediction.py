"""Predictions for the linear read-out: a table for the terminal, and files of it."""

import json
from pathlib import Path

from ...compare.readout_predictions import ReadoutPrediction
from ...runtime.ascii_text import named
from ...runtime.files import write_text
from .curve_files import csv_text
from .files import format_named
from .tables import print_rows

_LEFT_OUT = ("test_alpha", "quadrature_error")
"""Columns that a file has and the terminal has no room for: they repeat another, or are said in a sentence."""


def print_readout(prediction: ReadoutPrediction, written: Path | None) -> None:
    """Print a row for each set of parameters, or the name of the file that has them."""
    if written is not None:
        count = len(prediction.icl)
        print(f"{named(written)}: {count} set{'s' if count > 1 else ''} of parameters")
        return
    print("errors as D → ∞: icl on new tasks, idg on training tasks, gap = icl - idg;")
    print("bayes is the least error of any predictor on new tasks")
    if prediction.quadrature_error is not None:
        largest = prediction.quadrature_error.max()
        print(f"icl, idg and gap are accurate to {largest:.0e}, by the quadrature")
    columns = prediction.columns
    same_context = (columns["test_alpha"] == columns["alpha"]).all()
    shown = {
        name: values
        for name, values in columns.items()
        if name not in _LEFT_OUT or (name == "test_alpha" and not same_context)
    }
    rows = [
        [f"{value:.5g}" for value in row] for row in zip(*shown.values(), strict=True)
    ]
    print_rows({name.replace("_", " "): True for name in shown}, rows)


def write_readout(prediction: ReadoutPrediction, path: Path) -> None:
    """Write all columns in the format that the name asks for; OSError if it cannot be written."""
    if format_named(path, ("csv", "json")) == "json":
        write_text(path, json.dumps(prediction.to_dict()))
    else:
        columns = prediction.columns
        write_text(path, csv_text(list(columns), *columns.values()))
