"""Statements in LaTeX as MathML, which browsers typeset by themselves."""

import re

_TAGS = (
    "math|mrow|mi|mn|mo|mtext|mspace|mstyle|mpadded|mphantom|mfrac|msqrt|mroot|msub|msup|msubsup|munder|mover|"
    "munderover|mtable|mtr|mtd|menclose"
)
"""Elements of MathML that formulas are made of."""

_ATTRIBUTES = (
    "xmlns|display|displaystyle|scriptlevel|mathvariant|stretchy|fence|form|accent|separator|symmetric|movablelimits|"
    "minsize|maxsize|lspace|rspace|width|height|depth|linethickness|columnalign|columnspacing|columnlines|rowspacing|"
    "rowlines|notation"
)
"""Attributes that only say how a formula looks."""

_SAFE = re.compile(
    rf"(?:[^<>]|</?(?:{_TAGS})(?: (?:{_ATTRIBUTES})=\"[^\"<>]*\")* ?/?>)*",
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
        markup = convert(latex, display="block")
    # The library has no class of its own for what it does not understand.
    except Exception as error:
        reason = type(error).__name__
        raise ValueError(
            f"the statement {latex!r} is not LaTeX that can be shown: {reason}; correct it"
        ) from None
    unknown = re.findall(r"\\[A-Za-z]*", markup)
    if unknown:
        raise ValueError(
            f"the statement {latex!r} uses {', '.join(unknown)}, which is unknown: use plain LaTeX"
        )
    if not _SAFE.fullmatch(markup):
        raise ValueError(
            f"the statement {latex!r} holds links, styles or markup: use plain LaTeX, \\lt for <"
        )
    return _BARS.sub(r'<mo lspace="0" rspace="0"\1>\2</mo>', markup)
