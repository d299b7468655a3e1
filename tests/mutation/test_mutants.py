"""Broken formulas: what counts as one, that each is one change, and that claims fall over a sample of them."""

import ast
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutation():
    """The tool: it stands beside the tests, not in the package."""
    sys.path.insert(0, str(ROOT))
    try:
        from tests.mutation import __main__ as main
        from tests.mutation import justified, page, sample, sites, structural, trial
    finally:
        sys.path.remove(str(ROOT))
    tools = (main, justified, page, sample, sites, structural, trial)
    return {tool.__name__.rpartition(".")[2]: tool for tool in tools}


@pytest.fixture(scope="module")
def all_sites(mutation):
    """Where formulas can be broken."""
    return mutation["sites"].all_sites(ROOT)


FORMULA = '''
_TINY = 1
def rate(x, n, scale=3.0):
    """2 + 2 stays."""
    if x[0] > 1:
        raise ValueError(f"{x + 1} is more than {1 + 1}")
    return 0.5 * x[1:] ** 2 - n / np.sum(x, axis=1)
'''


def test_a_formula_has_the_mutants_that_its_operators_and_numbers_make(mutation):
    found = {
        (site.kind, site.after) for site in mutation["sites"].sites(FORMULA, "f.py")
    }
    assert found == {
        ("constant", "2"),  # _TINY
        ("constant", "1.0"),
        ("sign", "0.5 * x[1:] ** 2 + n / np.sum(x, axis=1)"),
        ("term", "0.5 * x[1:] ** 2"),
        ("term", "-(n / np.sum(x, axis=1))"),
        ("factor", "0.5 / x[1:] ** 2"),
        ("factor", "n * np.sum(x, axis=1)"),
        ("exponent", "x[1:] ** 3"),
        ("exponent", "x[1:] ** 1"),
        ("length", "n + 1"),
    }


def test_a_mutant_differs_from_the_module_at_exactly_its_node(mutation):
    text = (ROOT / "theory" / "linear_attention" / "low_rank.py").read_text(
        encoding="utf-8"
    )
    whole = ast.unparse(ast.parse(text))
    found = mutation["sites"].sites(text, "theory/linear_attention/low_rank.py")
    broken = [mutation["sites"].mutated(text, site) for site in found]
    assert len(found) > 30
    assert len({whole, *broken}) == len(found) + 1
    for site, mutant in zip(found, broken, strict=True):
        old, new = whole.splitlines(), mutant.splitlines()
        assert len(old) == len(new)
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1, site.key


def test_no_two_mutations_have_one_key(all_sites):
    assert len({site.key for site in all_sites}) == len(all_sites) > 1000
    # Modules of the symbolic engine that read, write and decide.
    of_symbols = {site.file for site in all_sites if "symbolic" in site.file}
    assert not any("latex" in file or "exact" in file for file in of_symbols)


def test_reasons_are_of_a_known_kind_and_stand_at_lines_that_exist(mutation, all_sites):
    reasons = mutation["justified"].read()
    assert reasons
    assert mutation["justified"].unneeded(all_sites, reasons) == []


def test_a_reason_must_say_why(mutation, tmp_path):
    file = tmp_path / "justified.toml"
    file.write_text(
        '[[survivor]]\nfile = "a.py"\nfunction = "f"\nkind = "equivalent"\nreason = " "\n'
    )
    with pytest.raises(ValueError, match="says why"):
        mutation["justified"].read(file)


def test_modules_with_machine_code_are_told_by_their_text(mutation):
    """Theirs is compiled into a folder of its own."""
    holds = mutation["trial"].holds_compiled_functions
    files = (ROOT / "theory").rglob("*.py")
    found = {file.stem for file in files if holds(file.read_text(encoding="utf-8"))}
    users = {
        file.stem
        for file in (ROOT / "theory").rglob("*.py")
        if re.search(r"\bcompile_function\b", file.read_text(encoding="utf-8"))
    }
    assert found == users > {"drop_flow", "escape_flow"}


def test_a_process_that_computes_without_end_is_ended_as_a_timeout(mutation):
    """The processor's time counts, which a busy machine does not lengthen."""
    trial = mutation["trial"]

    def work():
        yield {"how": "holds"}
        trial._allow(0.1)
        while True:
            pass

    ends = [line["how"] for line in trial._forked(work, [60.0, 60.0])]
    assert ends == ["holds", "timeout"]


def test_a_process_that_waits_without_end_is_ended_as_a_timeout(mutation):
    def work():
        yield {"how": "holds"}
        time.sleep(600)

    ends = [line["how"] for line in mutation["trial"]._forked(work, [60.0, 0.1])]
    assert ends == ["holds", "timeout"]


def test_the_claim_that_fell_last_is_tried_first(mutation, monkeypatch, tmp_path):
    main, Cost = mutation["__main__"], mutation["trial"].Cost
    monkeypatch.setattr(main, "BUILD", tmp_path)
    first, second = mutation["sites"].sites(
        "def f(x):\n    return x * 2", "theory/none.py"
    )
    known = [Cost(name, 1.0, True, frozenset()) for name in ("a.a", "a.b", "a.c")]

    def tried(site):
        return [cost.claim for cost in main._last_fallen_first(site, known)]

    assert tried(first) == ["a.a", "a.b", "a.c"]
    fell = mutation["trial"].Outcome
    main._remember(first, fell("claim", "a.c", 3), known)
    assert tried(second) == ["a.c", "a.a", "a.b"], "the same function's"
    main._remember(second, fell("claim", "a.b", 3), known)
    assert tried(first) == ["a.c", "a.b", "a.a"], "its own, then the function's"
    assert main._kept(first, known) == fell("claim", "a.c", 3)


def test_a_survivor_without_a_reason_is_listed(mutation):
    site = mutation["sites"].sites("def f(x):\n    return x + 1", "theory/none.py")[0]
    survived = mutation["trial"].Outcome("survived")
    fell = mutation["trial"].Outcome("claim", "a.claim", 1)
    assert mutation["page"].unexplained([(site, survived)]) == [site]
    assert mutation["page"].unexplained([(site, fell)]) == []
    assert "x + 1 → x - 1" in mutation["page"].text([(site, survived)])


@pytest.mark.slow
def test_claims_fall_over_a_sample_of_broken_formulas_and_hold_over_the_unbroken(
    tmp_path,
):
    command = [sys.executable, "-m", "tests.mutation.sample", str(tmp_path)]
    shown = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300
    ).stdout
    found = json.loads(shown)
    unbroken = [each for each in found if not each["key"]]
    broken = [each for each in found if each["key"] and each["how"] != "gone"]
    assert len(broken) >= 15, (
        "most of the sample has changed: draw another one with `make mutants`"
    )
    assert len({each["key"].split(" | ")[0] for each in broken}) >= 8
    assert [each for each in broken if each["how"] == "survived"] == []
    assert {each["how"] for each in unbroken} == {"survived"}


# Mutations that no change of a number, sign or term reaches


def test_every_room_that_claims_import_is_copied_before_it_is_broken():
    """A room that is missing would be imported from the tree that others work on."""
    code = "from tests.mutation.__main__ import ROOMS; print(*ROOMS)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    rooms = {
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if path.parent.name not in ("cli", "explore", "benchmarks")
    }
    assert rooms == set(shown.stdout.split())


def test_every_structural_mutation_changes_its_module_and_is_listed_once(mutation):
    mutants = mutation["structural"].read()
    assert len(mutants) >= 40
    assert len({(each.file, each.new, each.old) for each in mutants}) == len(mutants)
    assert len({each.file for each in mutants}) >= 20
    for each in mutants:
        whole = (ROOT / each.file).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(each.mutated())) != ast.dump(ast.parse(whole)), (
            each.what
        )


def test_a_structural_mutation_of_text_that_is_not_there_is_refused(mutation):
    gone = mutation["structural"].Structural(
        "theory/linear_attention/merged.py",
        "nothing",
        "no such text",
        "",
        "merged.aligned",
    )
    with pytest.raises(ValueError, match=r"holds 'no such text' 0 times, not once"):
        gone.mutated()


def test_the_page_lists_the_structural_mutations(mutation):
    shown = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")
    part = "\n".join(mutation["page"].structural_part())
    assert part in shown, "run python -m tests.mutation.page"
    assert part in mutation["page"].text([])


def test_writing_that_part_anew_leaves_the_others(mutation, tmp_path):
    page = tmp_path / "docs" / "mutants.md"
    page.parent.mkdir()
    shown = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")
    page.write_text(
        shown.replace(mutation["structural"].read()[0].what, "something else"),
        encoding="utf-8",
    )
    mutation["page"].update(tmp_path)
    assert page.read_text(encoding="utf-8") == shown


@pytest.mark.slow
def test_claims_fall_over_every_structural_mutation(tmp_path):
    command = [sys.executable, "-m", "tests.mutation.structural", str(tmp_path)]
    shown = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=900
    ).stdout
    *broken, unbroken = json.loads(shown)
    assert unbroken["how"] == "survived", unbroken
    assert [each for each in broken if each["how"] not in ("claim", "exception")] == []
