"""Results of the symbolic engine on one screen, typeset in a notebook, and as dictionaries."""

import json
from itertools import combinations

import pytest
import sympy as sp

from attndyn import Merged, Separate, Task
from attndyn.theory.symbolic import (
    N,
    StatedInvariant,
    aligned_ansatz,
    check_statement,
    completeness,
    derive,
    effective_map,
    fixed_points,
    moments,
    population_loss,
    rational_task,
    symbolic_task,
    to_numpy,
)

TASK = symbolic_task(2, noise=True)
DERIVED = derive(TASK, Separate(1), "restricted")
VALUE, KEY, *_ = DERIVED.weights
Z = sp.Symbol("z")

MAKERS = {
    "task": lambda: TASK,
    "task in numbers": lambda: rational_task(
        Task(eigenvalues=[2, 1], context_length=5)
    ),
    "mixture": lambda: symbolic_task(20, teachers="general", mixture=True),
    "derivation": lambda: DERIVED,
    "derivation of many weights": lambda: derive(symbolic_task(2), Merged(2)),
    "loss": lambda: DERIVED.loss,
    "effective map": lambda: effective_map(TASK, Separate(1)),
    "moments": lambda: moments(symbolic_task(2)),
    "reduction": lambda: DERIVED.reduce(aligned_ansatz(Separate(1), 2)),
    "no reduction": lambda: DERIVED.reduce({VALUE: Z, KEY: 2 * Z}),
    "fixed points": lambda: fixed_points(TASK, Separate(2)),
    "many fixed points": lambda: fixed_points(symbolic_task(5), Separate(5)),
    "fixed point": lambda: fixed_points(TASK, Separate(2))[1],
    "completeness": lambda: completeness(symbolic_task(2)),
    "proved": lambda: check_statement(
        StatedInvariant(DERIVED.conserved(2)[0]), DERIVED
    ),
    "refuted": lambda: check_statement(StatedInvariant(VALUE**2), DERIVED),
    "undefined": lambda: check_statement(StatedInvariant(VALUE / KEY), DERIVED),
}


@pytest.fixture(scope="module", params=MAKERS)
def result(request):
    return MAKERS[request.param]()


def test_fits_on_one_screen(result):
    lines = repr(result).split("\n")
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 100
    assert not any("object at 0x" in line for line in lines)


def test_is_a_table_in_a_notebook(result):
    html = result._repr_html_()
    assert html is None or html.startswith("<table>")
    assert html is None or len(html) < 60_000


@pytest.mark.parametrize("name", ["task", "loss", "reduction", "fixed points"])
def test_formulas_are_typeset(name):
    assert "<math" in MAKERS[name]()._repr_html_()


def test_a_derivation_gives_a_notebook_latex_or_a_table_and_never_both():
    short, long = (
        MAKERS[name]() for name in ("derivation", "derivation of many weights")
    )
    assert short._repr_html_() is None
    assert long._repr_latex_() is None
    assert "<table>" in long._repr_html_()
    formula = short._repr_latex_()
    # Front ends strip the dollars at both ends, and some know no single ones.
    assert formula.startswith("$$")
    assert formula.endswith("$$")
    assert formula.count("$") == 4
    assert formula.count(r"\dot") == len(DERIVED.weights)
    assert all(rows in formula for rows in short._blocks())


def test_a_derivation_with_one_long_rate_is_a_table(monkeypatch):
    monkeypatch.setattr("attndyn.theory.symbolic.derivation.MAX_TYPESET_PARTS", 5)
    derived = derive(TASK, Separate(1), "restricted")
    assert derived._repr_latex_() is None
    assert "<table>" in derived._repr_html_()


def test_is_a_dictionary_of_plain_values(result):
    plain = result.to_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_a_long_loss_says_how_long_it_is():
    shown = repr(population_loss(symbolic_task(2), Merged(2)))
    assert "a polynomial of degree 4 with 143 terms" in shown


def test_a_derivation_in_latex_has_loss_and_flow():
    blocks = DERIVED.latex().split("\n\n")
    assert [block.count(r"\dot") for block in blocks] == [0, len(DERIVED.weights)]
    assert all(block.startswith(r"\begin{equation}") for block in blocks)


def test_a_model_that_does_not_show_itself_is_named_by_its_class():
    class Own:
        def shapes(self, dimension):
            return Separate(1).shapes(dimension)

        def heads(self, weights):
            return Separate(1).heads(weights)

    derived = derive(symbolic_task(1), Own(), "restricted")
    assert repr(derived).startswith("Derivation of Own at D = 1")
    assert derived.to_dict()["model"] == "Own"


def test_a_right_hand_side_names_its_variables():
    right = to_numpy(DERIVED, dict.fromkeys([*DERIVED.parameters, N], 2))
    assert [line.split()[-1] for line in repr(right).split("\n")[1:]] == [
        str(weight) for weight in DERIVED.weights
    ]


def test_fixed_points_are_a_lazy_sequence():
    points = MAKERS["many fixed points"]()
    numbers = range(1, 6)
    subsets = [s for size in range(5, -1, -1) for s in combinations(numbers, size)]
    assert len(points) == len(subsets) == 2**5
    for index in (0, 1, 20, -1):
        assert points[index].subset == subsets[index]
    for part in (slice(3), slice(10, 20, 3), slice(None, None, -7), slice(5, 5)):
        assert [point.subset for point in points[part]] == subsets[part]
    assert [point.subset for point in points] == subsets
    with pytest.raises(IndexError):
        points[2**5]
