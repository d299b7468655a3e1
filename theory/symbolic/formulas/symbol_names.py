r"""How symbols are written in LaTeX: value_1_2 as v_{1,2}, lambda_1 as \lambda_1, longer names upright."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ..task import Expr

_LETTERS = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
"""

GREEK = frozenset(_LETTERS.split())
"""Names of letters that LaTeX has a command for."""

_PARAMETER = re.compile(r"(lambda|omega|Omega|w0)_\d+|sigma|p|N")
_SHORT = {"value": "v", "key": "k", "query": "q", "key_query": "u"}


class Name(NamedTuple):
    r"""A name in LaTeX: `head` is a letter, a command such as \lambda or \mathrm{name}; `indices` stand below."""

    head: str
    indices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.indices:
            return self.head
        below = ",".join(
            index if len(index) == 1 or index.isdigit() else upright(index)
            for index in self.indices
        )
        if len(below) == 1:
            return f"{self.head}_{below}"
        return f"{self.head}_{{{below}}}"


def upright(word: str) -> str:
    """A word in upright letters."""
    return r"\mathrm{" + word.replace("_", r"\_") + "}"


def is_parameter(symbol: Expr) -> bool:
    """Whether a symbol has the name of a task's number, such as lambda_1, or of the context length N."""
    return bool(_PARAMETER.fullmatch(str(symbol)))


def latex_name(symbol: Expr) -> str:
    r"""The LaTeX name of a symbol on its own; `latex_names` also keeps symbols of one text apart.

    ValueError for names that are not made of letters, digits and underscores.

    >>> import sympy as sp
    >>> print(*map(latex_name, sp.symbols("key_1_1_2 lambda_1 Omega_12 x_q1 gate_1")))
    k_{1,1,2} \lambda_1 \Omega_{12} x_{q,1} \mathrm{gate}_1
    """
    return str(_forms(symbol)[0])


def latex_names(symbols: Iterable[Expr]) -> dict[Expr, str]:
    r"""A LaTeX name for each symbol, no two alike: where short names meet, a longer one that tells its origin.

    ValueError where two symbols have the same name.

    >>> import sympy as sp
    >>> print(*latex_names(sp.symbols("value_1_2 v_1_2 v_1")).values())
    \mathrm{value}_{1,2} v_{1,2} v_1
    """
    return {symbol: str(name) for symbol, name in _distinct_names(symbols).items()}


def readings(symbols: Iterable[Expr]) -> dict[Name, Expr]:
    """Every way to write one of these symbols, and no other of them, in LaTeX.

    Besides its name of `latex_names`: the longer forms, and indices of one digit with no comma between them.
    """
    chosen = _distinct_names(symbols)
    symbols_of: dict[Name, set[Expr]] = defaultdict(set)
    for symbol in chosen:
        for form in _forms(symbol):
            # v_{12} for v_{1,2}: understood where no other symbol is written so.
            digits = tuple("".join(form.indices))
            for indices in (form.indices, _together(form.indices), digits):
                symbols_of[Name(form.head, indices)].add(symbol)

    # The names that are printed come first, and mean one symbol each.
    names = {name: symbol for symbol, name in chosen.items()}
    others = {}
    for name, candidates in symbols_of.items():
        if len(candidates) == 1 and name not in names:
            (others[name],) = candidates
    return names | others


def _distinct_names(symbols: Iterable[Expr]) -> dict[Expr, Name]:
    """A name for each symbol, no two alike: the shortest form that no other symbol takes."""
    forms = {symbol: _forms(symbol) for symbol in dict.fromkeys(symbols)}
    for name, count in Counter(map(str, forms)).items():
        if count > 1:
            raise ValueError(f"two symbols have the name {name}: rename one of them")

    # All start with their shortest form. Symbols that meet take the next one, until none meet: the last forms differ.
    position = dict.fromkeys(forms, 0)
    while True:
        groups: dict[Name, list[Expr]] = defaultdict(list)
        for symbol in forms:
            groups[forms[symbol][position[symbol]]].append(symbol)
        meeting = _meeting(groups)
        if not meeting:
            return {group[0]: name for name, group in groups.items()}
        for symbol in meeting:
            position[symbol] += 1


def _meeting(groups: dict[Name, list[Expr]]) -> list[Expr]:
    """The symbols that share a name and do not spell it."""
    return [
        symbol
        for name, group in groups.items()
        if len(group) > 1
        for symbol in group
        if not _spells(symbol, name)
    ]


def _forms(symbol: Expr) -> tuple[Name, ...]:
    """The names of a symbol, the shortest first; the last is nobody else's."""
    text = str(symbol)
    if not text.isidentifier():
        raise ValueError(
            f"the symbol {text!r} has no LaTeX name: use letters, digits and underscores"
        )
    # x_q1 as letters and numbers: x, q, 1. Weights as name and indices: key_query_1_1_2.
    head, *indices = re.findall(r"[^\W\d_]+|\d+", text) or [text]
    weight = re.fullmatch(r"(?P<name>\w*?[^\W\d])(?P<indices>(?:_\d+)*)", text)
    if weight and weight["name"] in _SHORT:
        weight_indices = tuple(weight["indices"].split("_")[1:])
        return (
            Name(_SHORT[weight["name"]], weight_indices),
            Name(upright(weight["name"]), weight_indices),
            Name(upright(text)),
        )
    return (
        Name(_letter(head), tuple(indices)),
        Name(upright(head), tuple(indices)),
        Name(upright(text)),
    )


def _spells(symbol: Expr, name: Name) -> bool:
    """Whether the name spells the symbol letter by letter, so that others give way to it."""
    with_indices = "_".join((name.head.lstrip("\\"), *name.indices))
    in_upright_letters = name.head[len(r"\mathrm{") : -1].replace(r"\_", "_")
    return str(symbol) in (with_indices, in_upright_letters)


def _letter(word: str) -> str:
    """A letter as it is, Greek ones by their command, and words upright."""
    if word in GREEK:
        return "\\" + word
    if len(word) == 1:
        return word
    return upright(word)


def _together(indices: tuple[str, ...]) -> tuple[str, ...]:
    """Neighbouring digits as one number: 1, 2 as 12."""
    return tuple(re.findall(r"[^\W\d_]+|\d+", "".join(indices)))
