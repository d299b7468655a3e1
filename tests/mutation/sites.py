"""Where the formulas of a module can be broken, one syntax node at a time, and the broken module.

Left alone is what is no formula: indices and slices, array axes and shapes, tolerances, default arguments,
thresholds that only choose a branch, messages. A mutation changes one constant, exponent, sign or operator, or
drops one term of a sum.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = ("constant", "exponent", "sign", "factor", "term", "length")

# Calls whose numbers are axes, shapes or counts.
_SHAPES = frozenset(
    {
        "swapaxes",
        "transpose",
        "reshape",
        "tensordot",
        "pad",
        "split",
        "stack",
        "zeros",
        "eye",
        "enumerate",
    }
)
_PARAMETERS = frozenset({"axis", "rtol", "atol", "xtol", "mxstep", "maxsize", "out"})
SYMBOLIC = (
    "dynamics/completeness_proofs",
    "dynamics/conservation_laws",
    "dynamics/fixed_point_formulas",
    "dynamics/invariant_manifolds",
    "dynamics/mode_fixed_points",
    "dynamics/polynomial_equilibria",
    "dynamics/reduction",
    "dynamics/solution_check",
    "dynamics/stability",
    "loss/effective_maps",
    "loss/expectations",
    "loss/gaussian_expectations",
    "loss/population_losses",
    "task",
)
"""Modules of theory/symbolic that derive or prove; the others read, write and decide what is equal."""

_LENGTHS = frozenset({"n", "length", "context_length"})


@dataclass(frozen=True)
class Site:
    """One mutation: `file`, innermost named `function`, statement in one line, what is `before` and `after`.

    `place` is the number of the node in the order of `ast.walk`, `step` the number of the mutation at this node;
    `again` tells mutations apart that read the same.
    """

    file: str
    function: str
    line: str
    before: str
    after: str
    kind: str
    place: int
    step: int
    again: int = 0

    @property
    def key(self) -> str:
        """What a mutation is known by, without a line number."""
        ordinal = f" ({self.again + 1})" if self.again else ""
        return f"{self.file} | {self.function} | {self.line} | {self.before} → {self.after}{ordinal}"


def sites(text: str, file: str) -> list[Site]:
    """Every mutation of a module's text.

    >>> [site.after for site in sites("def f(x):\\n    return 2 * x**2", "f.py")]
    ['3', 'x ** 3', 'x ** 1', '2 / x ** 2']
    """
    tree = ast.parse(text)
    places = {id(node): number for number, node in enumerate(ast.walk(tree))}
    statements = _statements(tree)
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for node, function in _formulas(tree, "module"):
        for step, (kind, new) in enumerate(_mutations(node)):
            parts = (
                function,
                statements[id(node)],
                ast.unparse(node),
                ast.unparse(new),
            )
            found.append(Site(file, *parts, kind, places[id(node)], step, seen[parts]))
            seen[parts] += 1
    return found


def _statements(tree: ast.AST) -> dict[int, str]:
    """Each node's innermost statement, of a block its first line, whatever the formatting."""
    texts: dict[int, str] = {}
    for statement in ast.walk(
        tree
    ):  # outer statements come first, so that inner ones replace them
        if isinstance(statement, ast.stmt):
            line = ast.unparse(statement).split("\n")[0]
            texts |= {id(node): line for node in ast.walk(statement)}
    return texts


def all_sites(root: Path) -> list[Site]:
    """Every mutation of the theory of the package at `root`, of theory/symbolic the modules that are `SYMBOLIC`."""
    engine = root / "theory" / "symbolic"
    derives = {engine / f"{name}.py" for name in SYMBOLIC}
    paths = [
        path
        for path in sorted((root / "theory").rglob("*.py"))
        if engine not in path.parents or path in derives
    ]
    return [
        site
        for path in paths
        for site in sites(
            path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
        )
    ]


def module(file: str) -> str:
    """The name by which a file is imported.

    >>> module("theory/symbolic/loss/population_losses.py")
    'attndyn.theory.symbolic.loss.population_losses'
    """
    return "attndyn." + file.removesuffix(".py").replace("/", ".")


def mutated(text: str, site: Site) -> str:
    """The module's text with this one mutation."""
    tree = copy.deepcopy(ast.parse(text))
    old = list(ast.walk(tree))[site.place]
    new = _mutations(old)[site.step][1]
    return ast.unparse(ast.fix_missing_locations(_Swapped(old, new).visit(tree)))


class _Swapped(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The new node in place of the old one."""
        return self.new if node is self.old else self.generic_visit(node)


def _formulas(node: ast.AST, function: str) -> Iterator[tuple[ast.expr, str]]:
    """Expressions that may be formulas, each with the function that it stands in."""
    if isinstance(
        node,
        (
            ast.Raise,
            ast.JoinedStr,
            ast.arguments,
            ast.Import,
            ast.ImportFrom,
            ast.Slice,
        ),
    ):
        return
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        inner = node.name if function == "module" else f"{function}.{node.name}"
        for child in node.body:
            yield from _formulas(child, inner)
        return
    if isinstance(node, ast.expr):
        yield node, function
    for child in _parts(node):
        yield from _formulas(child, function)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Children without what is no formula."""
    if isinstance(node, ast.Subscript):
        yield node.value
    elif isinstance(node, ast.AnnAssign):
        yield from [node.value] if node.value else []
    elif isinstance(node, ast.keyword):
        yield from [] if node.arg in _PARAMETERS else [node.value]
    elif isinstance(node, ast.Compare):
        yield from (
            side for side in (node.left, *node.comparators) if not _is_number(side)
        )
    elif isinstance(node, ast.Call) and _called(node) in _SHAPES:
        yield node.func
        yield from (
            each
            for each in node.args
            if not any(_is_number(part) for part in ast.walk(each))
        )
    elif (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Pow)
        and _is_number(node.right)
    ):
        yield node.left
    else:
        yield from ast.iter_child_nodes(node)


def _called(node: ast.Call) -> str:
    return (
        node.func.attr
        if isinstance(node.func, ast.Attribute)
        else getattr(node.func, "id", "")
    )


def _is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and node.value is not True
    )


def _mutations(node: ast.AST) -> list[tuple[str, ast.expr]]:
    """Kind and new node of each mutation at a node; that of an exponent is one at its power."""
    if (
        isinstance(node, ast.Constant)
        and _is_number(node)
        and not isinstance(node.value, bool)
    ):
        return [("constant", ast.Constant(_next(node.value)))]
    if (
        isinstance(node, ast.Name)
        and node.id in _LENGTHS
        and isinstance(node.ctx, ast.Load)
    ):
        return [("length", ast.BinOp(node, ast.Add(), ast.Constant(1)))]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return [("sign", node.operand)]
    return _of_operator(node) if isinstance(node, ast.BinOp) else []


def _next(value: float) -> float:
    return 1.0 if value == 0.5 else value + 1


def _of_operator(node: ast.BinOp) -> list[tuple[str, ast.expr]]:
    left, right = node.left, node.right
    if isinstance(node.op, ast.Pow):
        return [
            ("exponent", ast.BinOp(left, ast.Pow(), _shifted(right, by)))
            for by in (1, -1)
        ]
    if isinstance(node.op, (ast.Mult, ast.Div)):
        other = ast.Div() if isinstance(node.op, ast.Mult) else ast.Mult()
        return [("factor", ast.BinOp(left, other, right))]
    if not isinstance(node.op, (ast.Add, ast.Sub)):
        return []
    plus = isinstance(node.op, ast.Add)
    swapped = ast.BinOp(left, ast.Sub() if plus else ast.Add(), right)
    return [
        ("sign", swapped),
        ("term", left),
        ("term", right if plus else ast.UnaryOp(ast.USub(), right)),
    ]


def _shifted(power: ast.expr, by: int) -> ast.expr:
    if isinstance(power, ast.Constant) and isinstance(power.value, int):
        return ast.Constant(power.value + by)
    return ast.BinOp(power, ast.Add() if by > 0 else ast.Sub(), ast.Constant(1))
