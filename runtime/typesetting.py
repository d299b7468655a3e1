"""Statements in LaTeX as MathML, which browsers typeset by themselves."""

import re

_TAGS = (
    *(
        "math",
        "mrow",
        "mi",
        "mn",
        "mo",
        "mtext",
        "mspace",
        "mstyle",
        "mpadded",
        "mphantom",
        "mfrac",
        "msqrt",
    ),
    *(
        "mroot",
        "msub",
        "msup",
        "msubsup",
        "munder",
        "mover",
        "munderover",
        "mtable",
        "mtr",
        "mtd",
        "menclose",
    ),
)

_ATTRIBUTES = (
    *(
        "xmlns",
        "display",
        "displaystyle",
        "scriptlevel",
        "mathvariant",
        "stretchy",
        "fence",
        "form",
        "accent",
    ),
    *(
        "separator",
        "symmetric",
        "movablelimits",
        "minsize",
        "maxsize",
        "lspace",
        "rspace",
        "width",
        "height",
    ),
    *(
        "depth",
        "linethickness",
        "columnalign",
        "columnspacing",
        "columnlines",
        "rowspacing",
        "rowlines",
        "notation",
    ),
)

_SAFE = re.compile(
    rf"(?:[^<>]|</?(?:{'|'.join(_TAGS)})(?: (?:{'|'.join(_ATTRIBUTES)})=\"[^\"<>]*\")* ?/?>)*",
    re.DOTALL,
)
"""Markup of formulas and nothing else: `\\text` and `\\href` would let through whatever they hold."""

_BARS = re.compile("<mo([^>]*)>(&#x0007C;|&#x02016;|&#x0002F;)</mo>")
"""|, ‖ and /, which browsers take for operators with space around them."""


def mathml(latex: str) -> str:
    r"""The formula as a <math> element in display style; ValueError names what is not understood.

    >>> "<mfrac><mn>1</mn><mn>2</mn></mfrac>" in mathml(r"\tfrac12")
    True
    """
    from latex2mathml.converter import convert

    try:
        found = convert(latex, display="block")
    except (
        Exception
    ) as error:  # the library has no class of its own for what it does not understand
        reason = type(error).__name__
        raise ValueError(
            f"the statement {latex!r} is not LaTeX that can be shown: {reason}; correct it"
        ) from None
    unknown = re.findall(r"\\[A-Za-z]*", found)
    if unknown:
        raise ValueError(
            f"the statement {latex!r} uses {', '.join(unknown)}, which is unknown: use plain LaTeX"
        )
    if not _SAFE.fullmatch(found):
        raise ValueError(
            f"the statement {latex!r} holds links, styles or markup: use plain LaTeX, \\lt for <"
        )
    return _BARS.sub(r'<mo lspace="0" rspace="0"\1>\2</mo>', found)
