"""The pages say what there is: claims, functions, links, and examples that run."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import attndyn
from attndyn.compare import Claim
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.claim import LEVELS
from attndyn.compare.evidence.papers import all_papers
from attndyn.compare.figures.catalogue import all_figures

pytestmark = pytest.mark.checkout

ROOT = Path(attndyn.__file__).parent
DOCS = ROOT / "docs"
PAPERS = sorted((DOCS / "papers").glob("*.md"))
"""One page for each paper: what it claims, where that is, and what does not hold."""

PAGES = sorted(DOCS.glob("*.md")) + PAPERS
THEORY = ("theory.md", "softmax.md", "linear-transformer.md", "asymptotics.md")
"""The pages of the mathematics, one for each wing."""

SECTION = "|".join(sorted({claim.id.split(".")[0] for claim in all_claims()}))


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def listed(page: str) -> dict[str, tuple[str, ...]]:
    """Id → controls of every row of the tables of claims."""
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in page.split("\n")
        if line.startswith("| `")
    ]
    plain = [[cell.strip().replace("\\", "") for cell in row] for row in rows]
    return {row[0].strip("`"): tuple(row[4].split("; ")) for row in plain}


def variants(claim: Claim) -> tuple[str, ...]:
    return claim.controls + tuple(f"corrected: {name}" for name in claim.corrected)


def test_the_page_lists_exactly_the_claims_and_their_controls():
    assert listed(text("claims.md")) == {
        claim.id: variants(claim) for claim in all_claims()
    }


def test_a_claim_or_a_control_left_out_would_be_found():
    page, known = (
        text("claims.md"),
        {claim.id: variants(claim) for claim in all_claims()},
    )
    shorter = "\n".join(
        line for line in page.split("\n") if "`merged.one_drop`" not in line
    )
    assert listed(shorter).keys() == known.keys() - {"merged.one_drop"}
    assert (
        listed(page.replace("; exponent 4 for 5", ""))["separate.aligned"]
        == known["separate.aligned"][:-1]
    )


def test_the_page_of_claims_is_what_its_script_writes():
    shown = subprocess.run(
        [sys.executable, "-c", "import make_claims; print(make_claims.page(), end='')"],
        cwd=DOCS,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert shown.stdout.decode() == text("claims.md"), "run python docs/make_claims.py"


def named_claims(page: str) -> set[str]:
    return set(re.findall(rf"`((?:{SECTION})\.\w+)`", page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_claims_that_a_page_names_exist(page):
    assert named_claims(page.read_text(encoding="utf-8")) <= {
        claim.id for claim in all_claims()
    }


def test_the_theory_names_every_claim_but_some_recordings():
    named = set().union(*(named_claims(text(page)) for page in THEORY))
    missing = {claim.id for claim in all_claims()} - named
    recordings = ("replay.",)
    assert all(name.startswith(recordings) for name in missing), missing


def functions(page: str) -> list[str]:
    """Dotted names of the package that stand in backticks, such as theory.merged.two_layer_amplitudes."""
    return re.findall(r"`((?:theory|simulate|compare)(?:\.\w+)+)", page)


def exists(name: str) -> bool:
    """Whether a dotted name leads from the package through attributes, or to a field of a dataclass."""
    first, *rest = name.split(".")
    owner = importlib.import_module(f"attndyn.{first}")
    for part in rest:
        if part in getattr(owner, "__dataclass_fields__", {}):
            return True
        if not hasattr(owner, part):
            return False
        owner = getattr(owner, part)
    return True


def figures_named(page: str) -> set[str]:
    """The last cells of the tables of statements, functions, claims and figures."""
    rows = [line for line in page.split("\n") if line.startswith("| ")]
    cells = [row.rstrip(" |").split(" | ")[3] for row in rows if row.count(" | ") == 3]
    return set(re.findall(r"`(\w+)`", " ".join(cells)))


@pytest.mark.parametrize("page", PAPERS, ids=lambda page: page.name)
def test_the_page_of_a_paper_names_functions_and_figures_that_exist(page):
    words = page.read_text(encoding="utf-8")
    assert len(functions(words)) >= 5
    assert [name for name in functions(words) if not exists(name)] == []
    assert figures_named(words)
    assert figures_named(words) <= set(all_figures())
    assert figures_named("| a | b | c | `no_such_figure` |") == {"no_such_figure"}


def test_every_paper_has_a_page_with_what_does_not_hold():
    keys = {paper.key for paper in all_papers()}
    assert {page.stem for page in PAPERS} == keys
    for page in PAPERS:
        assert "## What does not hold as stated" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", THEORY)
def test_functions_that_the_theory_names_exist(page):
    names = functions(text(page))
    assert len(names) >= 15
    assert [name for name in names if not exists(name)] == []
    assert not exists("theory.merged.no_such_function")
    assert not exists("theory.FixedPoint.no_such_field")


def links(page: Path) -> list[Path]:
    found = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return [(page.parent / target).resolve() for target in found]


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"],
    ids=lambda page: page.name,
)
def test_links_lead_somewhere(page):
    assert [target for target in links(page) if not target.exists()] == []


def in_toctrees(page: Path) -> set[Path]:
    """The pages in this folder that a page's tables of contents name."""
    blocks = re.findall(
        r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )
    lines = [line.strip() for block in blocks for line in block.split("\n")]
    names = [re.sub(r".*<(.+)>$", r"\1", line) for line in lines if line]
    files = [page.parent / f"{name}.md" for name in names if not name.startswith(":")]
    return {file.resolve() for file in files if file.is_file()}


def test_tables_of_contents_lead_to_every_page():
    reached = {(DOCS / "index.md").resolve()}
    for _ in range(3):
        reached |= set().union(*(in_toctrees(page) for page in reached))
    assert {page.resolve() for page in PAGES} - reached == set()


def swallowed(page: str) -> list[str]:
    """Backslashes before punctuation in mathematics: Markdown takes them away before it is typeset."""
    maths = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", page, flags=re.DOTALL)
    return [formula for formula in maths if re.search(r"\\[^A-Za-z\s]", formula)]


def test_formulas_survive_markdown():
    assert [name for name in THEORY if swallowed(text(name))] == []
    assert swallowed(r"$a\,b$ and $\alpha$") == [r"$a\,b$"]


@pytest.mark.parametrize(
    "script", sorted((ROOT / "examples").glob("*.py")), ids=lambda script: script.stem
)
def test_an_example_runs(script, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_page_of_ones_own_run_shows_the_script_that_made_it():
    folder = ROOT / "examples" / "own_run"
    script = (folder / "train_in_pytorch.py").read_text(encoding="utf-8")
    assert f"```python\n{script}```" in text("compare-your-own-run.md")
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    assert sum(sizes) < 1_000_000


def test_the_pages_speak_only_of_levels_that_claims_reach():
    reached = {claim.evidence_level for claim in all_claims()} | {
        claim.expected_level for claim in all_claims()
    }
    words = " ".join(
        page.read_text(encoding="utf-8") for page in [*PAGES, ROOT / "README.md"]
    ).lower()
    assert {"proved", "numerical", "refuted"} <= reached
    assert [
        level for level in LEVELS[:-1] if level in words and level not in reached
    ] == []
