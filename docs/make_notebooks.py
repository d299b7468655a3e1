"""Run the notebooks in docs/notebooks anew and write what they show into them; with --check only compare.

`python docs/make_notebooks.py`, after a notebook was edited or what it shows has changed; `make notebooks` does it.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "notebooks"

Cell = dict[str, Any]
"""A cell of a notebook, as its file has it."""

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")
"""A number in an output; digits of names, such as those of k_1, are text."""

CLOSE = 2e-3
"""Relative difference of numbers that are shown: other processors sum in another order, which a long run magnifies."""

PIXEL = 0.5
"""Absolute difference of coordinates in a chart."""


def paths() -> list[Path]:
    """The notebooks by name."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path) -> Any:
    """The notebook with the outputs of a new kernel; an error of a cell is one here."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    # Names of figures' parts and the order of sets are then the same each time.
    os.environ |= {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", record_timing=False
    )
    client.execute(cwd=str(FOLDER))
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    return notebook


def shown(cell: Cell) -> list[str]:
    """What a cell shows as text: printed lines, and of each result its richest form that is no picture."""
    texts = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            texts.append("".join(output["text"]))
            continue
        data = output.get("data", {})
        if "image/png" in data:
            continue
        kinds = ("text/html", "text/latex", "text/plain")
        kind = next(kind for kind in kinds if kind in data)
        texts.append("".join(data[kind]))
    return texts


def differs(stored: str, found: str) -> bool:
    """Whether two outputs differ by more than the rounding of their numbers."""
    if NUMBER.sub("0", stored) != NUMBER.sub("0", found):
        return _without_charts(stored) != _without_charts(found)
    pairs = zip(NUMBER.findall(stored), NUMBER.findall(found), strict=True)
    numbers = [(float(a), float(b)) for a, b in pairs]
    is_chart = "<svg" in stored
    return any(
        abs(a - b) > CLOSE * max(abs(a), abs(b)) + is_chart * PIXEL for a, b in numbers
    )


def _without_charts(text: str) -> str:
    """Text without the lines of charts, of which rounding may keep another point, and with numbers in three digits."""
    text = re.sub(r'<path d="[^"]*"', "<path", text)
    return NUMBER.sub(lambda number: f"{float(number[0]):.2g}", text)


def main(arguments: list[str]) -> int:
    """Write the notebooks, or with --check say which of them show something else than they would now."""
    import nbformat

    wrong = 0
    for path in paths():
        notebook = executed(path)
        if "--check" not in arguments:
            nbformat.write(notebook, path)
            continue
        for old, new in zip(
            nbformat.read(path, as_version=4).cells, notebook.cells, strict=True
        ):
            before, after = shown(old), shown(new)
            same = len(before) == len(after)
            if not same or any(map(differs, before, after)):
                wrong += 1
                print(
                    f"{path.name}: this cell shows something else now:\n{old.source}\n{after}"
                )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
