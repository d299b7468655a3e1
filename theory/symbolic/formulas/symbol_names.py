r"""How symbols are written in LaTeX: value_1_2 as v_{1,2}, lambda_1 as \lambda_1, longer names upright."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ..task import Expr

GREEK = frozenset(
    {
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
    }
    | {
        "pi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
    }
    | {"Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"}
)
"""Names of letters that LaTeX has a command for."""

_PARAMETER = re.compile(r"(lambda|omega|Omega|w0)_\d+|sigma|p|N")
_SHORT = {"value": "v", "key": "k", "query": "q", "key_query": "u"}


class Name(NamedTuple):
    r"""A name in LaTeX: `head` is a letter, a command such as \lambda or \mathrm{name}; `indices` stand below."""

    head: str
    indices: tuple[str, ...] = ()

    def __str__(self) -> str:
        below = ",".join(
            index if len(index) == 1 or index.isdigit() else upright(index)
            for index in self.indices
        )
        return self.head + (
            f"_{below}" if len(below) == 1 else f"_{{{below}}}" if below else ""
        )


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
    return {symbol: str(name) for symbol, name in _apart(symbols).items()}


def readings(symbols: Iterable[Expr]) -> dict[Name, Expr]:
    """Every way to write one of these symbols, and no other of them, in LaTeX.

    Besides its name of `latex_names`: the longer forms, and indices of one digit with no comma between them.
    """
    chosen = _apart(symbols)
    found: dict[Name, set[Expr]] = defaultdict(set)
    for symbol in chosen:
        for form in _forms(symbol):
            for indices in (
                form.indices,
                _together(form.indices),
                tuple("".join(form.indices)),
            ):
                found[Name(form.head, indices)].add(symbol)
    names = {name: symbol for symbol, name in chosen.items()}
    return names | {
        name: next(iter(meanings))
        for name, meanings in found.items()
        if len(meanings) == 1 and name not in names
    }


def _apart(symbols: Iterable[Expr]) -> dict[Expr, Name]:
    forms = {symbol: _forms(symbol) for symbol in dict.fromkeys(symbols)}
    for name, count in Counter(map(str, forms)).items():
        if count > 1:
            raise ValueError(f"two symbols have the name {name}: rename one of them")
    place = dict.fromkeys(forms, 0)
    while True:
        groups: dict[Name, list[Expr]] = defaultdict(list)
        for symbol in forms:
            groups[forms[symbol][place[symbol]]].append(symbol)
        meeting = [
            symbol
            for name, group in groups.items()
            if len(group) > 1
            for symbol in group
            if not _own(symbol, name)
        ]
        if not meeting:
            return {group[0]: name for name, group in groups.items()}
        for symbol in meeting:
            place[symbol] += 1


def _forms(symbol: Expr) -> tuple[Name, ...]:
    """The names of a symbol, the shortest first; the last is nobody else's."""
    text = str(symbol)
    if not text.isidentifier():
        raise ValueError(
            f"the symbol {text!r} has no LaTeX name: use letters, digits and underscores"
        )
    first, *rest = re.findall(r"[^\W\d_]+|\d+", text) or [text]
    origin = re.fullmatch(r"(\w*?[^\W\d])((?:_\d+)*)", text)
    forms = [Name(_letter(first), tuple(rest)), Name(upright(first), tuple(rest))]
    if origin and origin[1] in _SHORT:
        indices = tuple(origin[2].split("_")[1:])
        forms = [Name(_SHORT[origin[1]], indices), Name(upright(origin[1]), indices)]
    return (*forms, Name(upright(text)))


def _own(symbol: Expr, name: Name) -> bool:
    """Whether the name spells the symbol letter by letter, so that others give way to it."""
    return str(symbol) in (
        "_".join((name.head.lstrip("\\"), *name.indices)),
        name.head[8:-1].replace(r"\_", "_"),
    )


def _letter(word: str) -> str:
    return "\\" + word if word in GREEK else word if len(word) == 1 else upright(word)


def _together(indices: tuple[str, ...]) -> tuple[str, ...]:
    """Neighbouring digits as one number: 1, 2 as 12."""
    return tuple(re.findall(r"[^\W\d_]+|\d+", "".join(indices)))
