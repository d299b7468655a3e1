"""The scripts of the gallery and the pictures of pages, without running them: `make test-gallery` does that."""

import ast
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

DOCS = Path(__file__).parents[2] / "docs"
PICTURED = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]

FROM_COMMANDS = {"spectral_measures.png"}
"""Pictures that `attndyn figures` draws."""


@pytest.fixture(scope="module", autouse=True)
def modules_of_docs():
    """The modules beside the pages can be imported."""
    sys.path.insert(0, str(DOCS))
    yield
    sys.path.remove(str(DOCS))


@pytest.fixture(scope="module")
def images():
    """The script that writes the pictures."""
    import make_images

    return make_images


def faults_of_text(text: str) -> list[str]:
    """What is wrong with the words of a script: title, first sentence, what to try next, links, imports."""
    module = ast.parse(text)
    title, line, _, *story = (ast.get_docstring(module) or "\n\n\n").split("\n")
    blocks = text.split("# %%")
    last_block = blocks[-1]
    # The gallery takes a figure at the end of the block that opens it.
    drawing = [block for block in blocks if re.search(r"\bax\.|plt\.subplots", block)]
    imports = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    deep = [
        node
        for node in imports
        if (getattr(node, "module", "") or "").startswith("attndyn")
        and any(alias.name.startswith("_") for alias in node.names)
    ]
    wrong = {
        "its title is not underlined": line != "=" * len(title) or not title,
        "its first sentence does not end": "." not in " ".join(story),
        "it does not say what to try next": "Try " not in last_block,
        "it draws in more than one block": len(drawing) > 1,
        "it links no function": ":func:`attndyn." not in last_block,
        "it ends in no number": not re.search(
            r'print\(\s*f"[^"]*: \{[^"]*\}"\s*\)', text
        ),
        "it imports what is private": bool(deep),
        "it draws without a seed": "default_rng()" in text,
    }
    return [fault for fault, is_wrong in wrong.items() if is_wrong]


def test_every_script_is_a_story_with_a_title_and_an_end(images):
    scripts = images.scripts()
    assert len(scripts) >= 20
    found = {
        name: faults_of_text((images.GALLERY / name).read_text(encoding="utf-8"))
        for name in scripts
    }
    assert {name: faults for name, faults in found.items() if faults} == {}


def test_a_script_without_words_is_found():
    text = "import numpy\nnumpy.random.default_rng()\nax.plot()\n# %%\nax.legend()\n"
    assert len(faults_of_text(text)) == 7


def test_every_script_has_its_place_in_the_order(images):
    from gallery_order import SECTIONS, StoryOrder

    placed = [
        f"{section}/{name}.py" for section, names in SECTIONS.items() for name in names
    ]
    assert sorted(placed) == images.scripts()
    assert StoryOrder("gallery_src/separate")("plot_ranks.py") == 1


def test_every_section_has_a_heading_and_no_data(images):
    sections = {script.split("/")[0] for script in images.scripts()}
    for folder in [".", *sections]:
        header = images.GALLERY / folder / "GALLERY_HEADER.rst"
        assert header.is_file(), header
    kinds = {path.suffix for path in images.GALLERY.rglob("*") if path.is_file()}
    assert kinds - {".pyc"} == {".py", ".rst"}


def test_functions_that_scripts_link_exist(images):
    for name in images.scripts():
        text = (images.GALLERY / name).read_text(encoding="utf-8")
        for module, function in re.findall(r":func:`(attndyn[\w.]*)\.(\w+)`", text):
            __import__(module)
            assert callable(getattr(sys.modules[module], function)), (name, function)
        for page in re.findall(r":doc:`/([\w-]+)`", text):
            assert (DOCS / f"{page}.md").is_file(), (name, page)


def test_every_picture_of_a_page_is_drawn_by_a_script(images):
    used = set()
    for page in PICTURED:
        text = page.read_text(encoding="utf-8")
        used |= set(re.findall(r"!\[[^]]*\]\([^)]*images/([\w.-]+)\)", text))
    assert used - FROM_COMMANDS == set(images.IMAGES)
    assert set(images.IMAGES.values()) <= set(images.scripts())
    stored = {path.name for path in (DOCS / "images").iterdir()}
    assert stored == used
