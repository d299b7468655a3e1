"""The notebooks in the documentation show what they would show if they were run now.

Here cells are run without a kernel, which is quick; `make test-notebooks` runs them as Jupyter does.
"""

import ast
import json
import linecache
import re
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
KINDS = {
    "text/html": "_repr_html_",
    "text/latex": "_repr_latex_",
    "text/plain": "__repr__",
}


@pytest.fixture(scope="module")
def script():
    """The script that runs the notebooks in a kernel."""
    sys.path.insert(0, str(DOCS))
    try:
        import make_notebooks
    finally:
        sys.path.remove(str(DOCS))
    return make_notebooks


def cells(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def run():
    """What runs the source of a cell, one after another in one module; its texts, of which no picture."""
    module = ModuleType("notebook")
    sys.modules["notebook"] = module
    yield lambda source, name: shown(source, name, vars(module))
    del sys.modules["notebook"]
    plt.close("all")


def shown(source, name, namespace):
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    tree = ast.parse(source)
    last = tree.body[-1]
    is_silent = source.rstrip().endswith(";")
    result = None
    printed = StringIO()
    with redirect_stdout(printed):
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(tree.body[:-1], []), name, "exec"), namespace)
            result = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
        else:
            exec(compile(tree, name, "exec"), namespace)
    texts = [printed.getvalue()] if printed.getvalue() else []
    if result is not None and not is_silent:
        forms = (
            getattr(result, form)() for form in KINDS.values() if hasattr(result, form)
        )
        texts.append(next(form for form in forms if form is not None))
    return texts


def test_there_are_two_notebooks_of_moderate_size():
    assert [path.stem for path in NOTEBOOKS] == [
        "from-a-derivation-to-a-verdict",
        "from-a-task-to-a-figure",
    ]
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 200_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_would_show_now(script, run, path):
    for number, cell in enumerate(cells(path)):
        found = run("".join(cell["source"]), f"{path.stem}-{number}")
        stored = script.shown(cell)
        assert len(found) == len(stored), cell["source"]
        for old, new in zip(stored, found, strict=True):
            assert not script.differs(old, new), (old, new)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_in_order_and_loads_nothing(path):
    code = cells(path)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert '"error"' not in outputs
    assert not re.search(r"0x[0-9a-f]{6}|<script|<link|/tmp/|src=", outputs)
    addresses = set(re.findall(r"https?://[^\"\\ ]+", outputs))
    assert addresses <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1998/Math/MathML",
    }


@pytest.mark.parametrize(
    ("stored", "found", "differ"),
    [
        ("loss 0.1360", "loss 0.1361", False),
        ("loss 0.1360", "loss 0.1390", True),
        ("proved", "refuted", True),
        ("at k_1 = 2", "at k_2 = 2", True),
        ("3 drops", "4 drops", True),
        ('<svg><path d="M1.0 2.0L3 4"/>', '<svg><path d="M1.1 2.0L3 4"/>', False),
        ('<svg><path d="M1.0 2.0L3 4"/>', '<svg><path d="M1.0 9.0L3 4"/>', True),
        ('<svg><path d="M1 2L3 4"/>1', '<svg><path d="M1 2L3 4L5 6"/>1', False),
        ('<svg><path d="M1 2L3 4"/>1', '<svg><path d="M1 2L3 4L5 6"/>2', True),
    ],
)
def test_rounding_is_told_from_another_result(script, stored, found, differ):
    assert script.differs(stored, found) is differ
