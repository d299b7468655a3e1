"""Results of the symbolic engine that show their formulas: as text in a terminal, typeset in a notebook."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, islice

import sympy as sp

from ....runtime.display import Displayed
from ..task import Expr
from .latex_printer import latex

# Parts of an expression. A line of a terminal holds about 50 of them, and a longer text
# is cut; typeset, a formula of 300 parts takes a few lines of a notebook.
MAX_TEXT_PARTS = 1000
MAX_TYPESET_PARTS = 300

MAX_FORMULAS = 12
"""Formulas that are typeset of one result: LaTeX of many takes seconds, and more than a screen."""


class TypesetResult(Displayed):
    """Base of results with formulas: `formulas` has those of the rows of `summary` that are typeset in a notebook.

    A terminal asks for the summary alone, so that no LaTeX is made for it.
    """

    def formulas(self) -> dict[str, str]:
        """Row of the summary → LaTeX."""
        return {}

    def _repr_html_(self) -> str | None:
        return replace(self.summary(), formulas=self.formulas()).as_html()


def short_text(expression: Expr) -> str:
    """An expression or a matrix as text, or how large it is where it is too long to be read.

    >>> x = sp.Symbol("x")
    >>> short_text(x**2 + 1), short_text(sp.Add(*(x**k for k in range(500))))
    ('x**2 + 1', 'a sum of 500 terms')
    >>> short_text(sp.Matrix([[x, 0], [0, 1]]))
    '[[x, 0], [0, 1]]'
    """
    if has_at_most(expression, MAX_TEXT_PARTS):
        is_matrix = isinstance(expression, sp.MatrixBase)
        return str(expression.tolist() if is_matrix else expression)
    if isinstance(expression, sp.MatrixBase):
        return f"a matrix of shape {expression.shape}"
    if expression.is_Add:
        return f"a sum of {len(expression.args)} terms"
    return "an expression of more than a page"


def nested_text(value: Expr) -> object:
    """An expression as text, a matrix as a list of rows of text."""
    if isinstance(value, sp.MatrixBase):
        return [[str(entry) for entry in row] for row in value.tolist()]
    return str(value)


def as_text(formulas: Mapping[Expr, Expr]) -> dict[str, str]:
    """Symbol → expression, both as text."""
    return {str(symbol): str(expression) for symbol, expression in formulas.items()}


def typeset(
    formulas: Mapping[str, Expr], symbols: Iterable[Expr] = ()
) -> dict[str, str]:
    """Label → LaTeX of the first formulas, without those that are too long; `symbols` as in `latex`."""
    names = list(symbols)
    return {
        label: _latex(expression, names)
        for label, expression in islice(formulas.items(), MAX_FORMULAS)
        if has_at_most(expression, MAX_TYPESET_PARTS)
    }


def _latex(value: Expr, symbols: list[Expr]) -> str:
    """An expression in LaTeX, or a matrix of such entries."""
    if not isinstance(value, sp.MatrixBase):
        return latex(value, symbols)
    rows = [
        " & ".join(latex(entry, symbols) for entry in row) for row in value.tolist()
    ]
    body = r" \\ ".join(rows)
    return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"


def has_at_most(expression: Expr, parts: int) -> bool:
    """Whether an expression has at most so many parts, without looking at more of them."""
    entries = expression if isinstance(expression, sp.MatrixBase) else [expression]
    nodes = chain.from_iterable(sp.preorder_traversal(entry) for entry in entries)
    return sum(1 for _ in islice(nodes, parts + 1)) <= parts
