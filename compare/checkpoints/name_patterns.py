"""Patterns that find tensors by name, such as "blocks.{layer}.attn.W_Q"."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

FIELDS = ("layer", "head")
"""What may stand in braces: a whole number in the name of a tensor."""

MOST_NAMES = 12
"""Names of tensors that an error lists."""

Index = tuple[int, ...]
"""The numbers of the fields of a pattern, in the order of FIELDS."""


def fields_of(pattern: str) -> tuple[str, ...]:
    """The fields of a pattern, layer before head; ValueError for others, and for one that stands twice.

    >>> fields_of("layers.{layer}.q_proj.weight")
    ('layer',)
    """
    found = re.findall(r"\{([^{}]*)\}", pattern)
    for field in found:
        if field not in FIELDS:
            raise ValueError(
                f"the pattern {pattern!r} may have {{layer}} and {{head}} in braces, not {{{field}}}"
            )
        if found.count(field) > 1:
            raise ValueError(f"the pattern {pattern!r} has {{{field}}} twice")
    return tuple(field for field in FIELDS if field in found)


def tensors_named(pattern: str, names: Sequence[str]) -> dict[Index, str]:
    """The tensors whose whole name fits a pattern, by the numbers of its fields in increasing order.

    ValueError if there is none, saying which tensors there are.

    >>> tensors_named("h.{layer}.q", ["h.10.q", "h.2.q", "h.2.k"])
    {(2,): 'h.2.q', (10,): 'h.10.q'}
    """
    fields = fields_of(pattern)
    parts = re.split(r"(\{[^{}]*\})", pattern)
    expression = "".join(
        rf"(?P<{part[1:-1]}>\d+)" if part.startswith("{") else re.escape(part)
        for part in parts
    )
    found: dict[Index, str] = {}
    for name in names:
        match = re.fullmatch(expression, name)
        if match:
            index = tuple(int(match[field]) for field in fields)
            if index in found:
                raise ValueError(
                    f"{found[index]} and {name} are both {pattern!r}: rename one of them"
                )
            found[index] = name
    if not found:
        raise ValueError(
            f"no tensor is called {pattern!r}: there {listed_names(names, pattern)}"
        )
    return dict(sorted(found.items()))


def described(index: Index, fields: Iterable[str]) -> str:
    """The numbers of a pattern's fields in words.

    >>> described((2, 0), ("layer", "head"))
    'layer 2 head 0'
    """
    return " ".join(
        f"{field} {number}" for field, number in zip(fields, index, strict=True)
    )


def listed_names(names: Sequence[str], pattern: str) -> str:
    """The names that there are, after a verb; of many, those most like the pattern.

    >>> listed_names(["W_Q", "W_K"], "query")
    'are W_K, W_Q'
    """
    plain = re.sub(r"[{}]", "", pattern)
    likeness = {name: SequenceMatcher(None, plain, name).ratio() for name in names}
    shown = sorted(names, key=lambda name: (-likeness[name], name))[:MOST_NAMES]
    more = len(names) - len(shown)
    verb = "is" if len(names) == 1 else "are"
    return f"{verb} {', '.join(shown)}" + (f" and {more} more" if more else "")
