"""Stored copies of the tabs: the same bytes each time, and answers that are those of `respond`."""

import base64
import gzip
import json
import re

import numpy as np

from attndyn.explore import Choice, Option, Slider, Tab, all_tabs
from attndyn.explore.stored import (
    combinations,
    stored_answer,
    stored_page,
    write_stored,
)


def example():
    """A tab whose script is that of a real one, with answers that cost nothing."""
    return Tab(
        name=all_tabs()[0].name,
        title="Example </script>",
        introduction="<b>",
        controls=(
            Choice("model", "model", (Option("one", "one"), Option("two", "two"))),
            Slider("size", "size", (1, 2, 3), 2),
            Slider("seed", "seed", (0, 1), 0),
        ),
        parts={
            "run": lambda settings, moving: {
                "square": np.array([settings["size"] ** 2 / 3])
            },
            "theory": lambda settings, moving: {"moving": moving},
        },
        in_python=lambda settings: f"print({settings['size']} ** 2 / 3)",
        stored=(
            {"model": ("one",), "size": (1, 3), "seed": (0, 1)},
            {"model": ("two",)},
        ),
    )


def answers_in(text):
    """The answers that a page holds."""
    (packed,) = re.findall(r'id="stored-answers">([^<]*)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_a_page_holds_the_answers_of_every_combination():
    tab = example()
    first, second = answers_in(stored_page(tab, (tab,)))
    assert [answer["run"]["square"] for answer in first] == [[0.3333333]] * 2 + [
        [3.0]
    ] * 2
    assert first[2] == {
        "run": {"square": [3.0], "python": "print(3 ** 2 / 3)"},
        "theory": {"moving": False},
    }
    assert len(second) == 1


def test_a_stored_answer_is_that_of_respond():
    # The test in a browser compares ten of each tab.
    tab = all_tabs()[0]
    *_, given = combinations(tab.stored[-1])
    stored = json.loads(json.dumps(stored_answer(tab, given)))
    for part in tab.parts:
        stored[part].pop("python", None)
        assert stored[part] == tab.respond(given, part)


def test_pages_are_the_same_each_time_and_need_nothing_else(tmp_path):
    tab = example()
    paths = write_stored(tmp_path / "first", (tab,))
    again = write_stored(tmp_path / "second", (tab,))
    assert [path.name for path in paths] == [f"{tab.name}.html", "index.html"]
    for first, second in zip(paths, again, strict=True):
        assert first.read_bytes() == second.read_bytes()
        text = first.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="([^"]*)"', text)
        assert loaded == []
        # Titles cannot end a script.
        assert "Example </script>" not in text


def test_every_module_of_the_page_is_in_it_under_its_bare_name():
    tab = example()
    text = stored_page(tab, (tab,))
    (table,) = re.findall(r'<script type="importmap">(.*)</script>', text)
    modules = json.loads(table)["imports"]
    assert {"explorer", "stored", "charts", tab.name} <= set(modules)
    for address in modules.values():
        content = base64.b64decode(address.partition(",")[2]).decode()
        imported = re.findall(r'\bfrom "([^"]+)"', content)
        assert set(imported) <= set(modules)
        assert "import './" not in content
