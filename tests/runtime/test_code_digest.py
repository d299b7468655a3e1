"""Which files a module depends on: names count with their owners, installed packages do not."""

import pytest

from attndyn.runtime.code_digest import ROOT, source_digest, sources

PACKAGE = {
    "kit/__init__.py": "from .small import add\nfrom .large import multiply as times\nfrom . import plain\nTWO = 2",
    "kit/small.py": "def add(): ...",
    "kit/large.py": "from .deep import power",
    "kit/deep/__init__.py": "from ..small import add",
    "kit/plain.py": "import json",
    "kit/json.py": "",
    "numpy.py": "",
    "kit/use.py": "",
}


def found(folder, text, name="kit/use.py"):
    for path, content in (PACKAGE | {name: text}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    files = sources(folder / name)
    return {path.relative_to(folder).as_posix() for path in files} - {name}


ALL = {
    "kit/__init__.py",
    "kit/small.py",
    "kit/large.py",
    "kit/deep/__init__.py",
    "kit/plain.py",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from . import add", {"kit/small.py"}),
        ("from .small import add", {"kit/small.py"}),
        (
            "def f():\n    from . import times",
            {"kit/large.py", "kit/deep/__init__.py", "kit/small.py"},
        ),
        ("from .deep import add", {"kit/small.py"}),
        ("from . import plain", {"kit/plain.py"}),
        ("from kit import add", {"kit/small.py"}),
        ("from . import deep", {"kit/deep/__init__.py", "kit/small.py"}),
        ("from . import TWO", ALL),
        ("from . import *", ALL),
        ("import kit", ALL),
        ("import kit.small", {"kit/small.py"}),
        ("from . import __version__", set()),
        ("import json, numpy", set()),
    ],
)
def test_a_name_counts_with_the_module_that_owns_it(tmp_path, text, expected):
    assert found(tmp_path, text) == expected


def test_a_script_depends_on_what_lies_beside_it_and_on_the_package(tmp_path):
    assert found(tmp_path, "import kit.small, scipy", "script.py") == {"kit/small.py"}
    assert found(tmp_path, "import json, numpy", "script.py") == {
        "numpy.py"
    }  # as for Python itself
    (tmp_path / "script.py").write_text(
        "from attndyn.theory.linear_attention import unstable_mode_amplitude\nfrom attndyn import Task"
    )
    names = {
        path.relative_to(ROOT).as_posix()
        for path in sources(tmp_path / "script.py")
        if path.is_relative_to(ROOT)
    }
    assert {
        "theory/linear_attention/merged.py",
        "task.py",
        "runtime/serialisation.py",
    } <= names
    assert not {"theory/__init__.py", "theory/linear_attention/rank_one.py"} & names


def test_data_of_a_package_that_is_named_belong_to_it():
    files = sources(ROOT / "compare" / "replays" / "recordings.py")
    assert (
        ROOT
        / "compare"
        / "replays"
        / "reference"
        / "linear_attention"
        / "merged_h8.npz"
        in files
    )


def test_one_changed_letter_is_another_digest(tmp_path):
    paths = [tmp_path / "a.py", tmp_path / "b.py"]
    for path in paths:
        path.write_text("x = 1")
    before = source_digest(paths)
    assert source_digest(reversed(paths)) == before
    paths[1].write_text("x = 2")
    assert source_digest(paths) != before


def test_a_module_that_is_imported_by_another_or_in_a_function_counts(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.py").write_text(
        "from .step import take\nfrom ..task import Task\nimport json"
    )
    (tmp_path / "sub" / "step.py").write_text("def take():\n    from . import fast")
    for name in ("sub/fast.py", "sub/idle.py", "task.py", "sub/json.py"):
        (tmp_path / name).write_text(
            "from .run import x" if name == "sub/fast.py" else ""
        )
    found = sources(tmp_path / "sub" / "run.py")
    assert {path.relative_to(tmp_path).as_posix() for path in found} == {
        "sub/run.py",
        "sub/step.py",
        "task.py",
        "sub/fast.py",
    }
