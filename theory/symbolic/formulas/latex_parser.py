r"""The grammar of formulas in LaTeX: \frac, \sqrt, subscripts, products without a sign, \langle … \rangle."""

import sympy as sp

from ..task import Expr, is_variable
from .ambiguities import OTHER_FUNCTIONS, refuse_two_readings
from .size_limits import function, inverse, multiplied, power
from .symbol_names import Name
from .text_parser import LeftSide, TextGrammar, number
from .tokens import FUNCTIONS, OPEN, Token, after_script, clipped, mistake

_FUNCTIONS = {r"\exp", r"\log", r"\ln", r"\sinh", r"\cosh", r"\tanh", r"\arctan"}
_STARTS = {r"\frac", r"\sqrt", r"\overline", r"\langle", *_FUNCTIONS}


class LatexGrammar(TextGrammar):
    """Reads the tokens of one formula in LaTeX; `names` has the meaning of every `Name`.

    Where TeX takes one token, as in x^2, more than one digit is an error: x^12 is not x^{12}.
    """

    def refuse_two_readings(self) -> None:
        """ValueError where what is still to be read has two readings."""
        refuse_two_readings(self.tokens[self.index :], self.names)

    def product(self) -> Expr:
        """Factors, with or without a sign between them, but with one after a/b: a/bc has two readings."""
        start = self.next
        factors = [self.factor()]
        is_divided = False
        while True:
            if sign := self.accept("*", "/"):
                is_divided = sign.text == "/"
                factor = self.factor()
                if is_divided:
                    factor = self.made(sign, inverse, factor)
                factors.append(factor)
            elif not self.starts():
                return self.made(start, multiplied, factors)
            elif is_divided:
                raise mistake(
                    r"a/bc has two readings: write \frac or brackets", self.next
                )
            else:
                factors.append(self.power())

    def starts(self) -> bool:
        """Whether the next token can begin a factor."""
        token = self.next
        is_bracket = token.kind == "op" and token.text in OPEN
        return token.kind == "name" or token.text in _STARTS or is_bracket

    def power(self) -> Expr:
        """An atom, or an atom to an exponent, which is one token or stands in braces."""
        base = self.atom()
        sign = self.accept("^")
        if sign is None:
            return base
        return self.made(sign, power, base, self.script())

    def atom(self) -> Expr:
        r"""A number, a known name, \frac, \sqrt, a function, an average or something in brackets."""
        token = self.take()
        if token.kind == "number":
            return self.number(token)
        if token.kind == "name":
            return self.named(token)
        if token.text in _FUNCTIONS:
            return self.function_of(token, token.text[1:])
        match token.text:
            case r"\frac":
                top = self.argument()
                return self.made(token, _quotient, top, self.argument())
            case r"\sqrt":
                return self.root(token)
            case r"\overline":
                return self.average(token, self.argument())
            case "{":
                return self.group(token)
            case r"\langle":
                return self.average(token, self.bracketed(token))
        if token.kind == "op" and token.text in OPEN:
            return self.bracketed(token)
        raise self.unexpected_again(token)

    def number(self, token: Token) -> Expr:
        """A number; 1e-3 is 10^{-3} unless e is a symbol."""
        letters = {Name("e"), Name("E")} & self.names.keys()
        e_is_symbol = any(self.names[letter] != sp.E for letter in letters)
        if e_is_symbol and "e" in token.text.lower():
            raise mistake(
                f"{token.text} has two readings: write 10^{{…}}, or a space before the symbol",
                token,
            )
        return number(token)

    def average(self, token: Token, inside: Expr) -> Expr:
        """The mean over the context, of something that varies over it."""
        if not any(map(is_variable, inside.free_symbols)):
            raise mistake(
                f"only x and y of the context are averaged, and {clipped(inside)} has neither",
                token,
            )
        return self.made(token, function, "average", inside)

    def group(self, opening: Token) -> Expr:
        r"""What stands in braces: a name whose index follows, as in {g}_{k}, {a \over b} or an expression."""
        # The formula may end sooner: the opening brace stands for what is missing.
        name, closing, below = (self.tokens[self.index :] + [opening] * 2)[:3]
        if name.kind == "name" and closing.text == "}" and below.text == "_":
            self.index += 2
            return self.named(name)
        return self.inside(opening)

    def inside(self, opening: Token) -> Expr:
        r"""The expression up to the brace that closes this one, which may be {a \over b}."""
        top = self.nested(self.sum)
        if self.next.text != r"\over":
            return self.closed(opening, top)
        over = self.take()
        quotient = self.made(over, _quotient, top, self.nested(self.sum))
        return self.closed(opening, quotient)

    def taken(self) -> Expr:
        r"""What a command takes: a group in braces, which ends there, or one atom. \sqrt{v}_1 is not \sqrt{v_1}."""
        if not (opening := self.accept("{")):
            return self.atom()
        value = self.inside(opening)
        if self.next.text == "_":
            raise mistake(
                "what stands below a name must stand inside of the braces", self.next
            )
        return value

    def named(self, token: Token) -> Expr:
        """A known name with what stands below it, also where its exponent comes first: x^2_1."""
        word = _upright_word(token)
        is_symbol = Name(token.text) in self.names
        # \operatorname{tanh}, unless the user has a symbol of that name.
        if word in FUNCTIONS and not is_symbol:
            return self.function_of(token, word)
        self.exchange_scripts()
        if word in OTHER_FUNCTIONS and not is_symbol and self.next.text != "_":
            ways = r"a trace as the sum of its eigenvalues, \lambda_1 + \lambda_2, and others by their terms"
            raise mistake(
                f'no formula may have the function "{word}": write {ways}', token
            )
        return self.known(Name(token.text, self.indices()), token)

    def exchange_scripts(self) -> None:
        """Put what stands below a name before its exponent, where that comes first."""
        if self.next.text != "^":
            return
        start = self.index
        middle = after_script(self.tokens, start)
        if self.tokens[middle].text != "_":
            return
        end = after_script(self.tokens, middle)
        raised = self.tokens[start:middle]
        below = self.tokens[middle:end]
        self.tokens[start:end] = below + raised

    def indices(self) -> tuple[str, ...]:
        """What stands below a name: letters, numbers, commas."""
        if not self.accept("_"):
            return ()
        if not (opening := self.accept("{")):
            return (_index(self.single(self.take())),)
        indices = []
        while not self.accept("}"):
            token = self.take()
            if token.kind == "end":
                raise mistake('"{" is never closed', opening)
            if token.text != ",":
                indices.append(_index(token))
        return tuple(indices)

    def script(self) -> Expr:
        """The exponent after ^: a group in braces, or one token."""
        if self.next.text in ("{", r"\frac"):
            return self.nested(self.taken)
        # x^2: the exponent is one token.
        token = self.single(self.take())
        if token.kind == "number":
            return number(token)
        if token.kind != "name":
            raise mistake("an exponent must stand in braces: ^{…}", token)
        return self.known(Name(token.text), token)

    def single(self, token: Token) -> Token:
        """The token, unless TeX would take a part of it only."""
        if token.kind == "number" and len(token.text) > 1:
            raise mistake(
                f'write braces around "{token.text}": TeX takes its first digit only',
                token,
            )
        return token

    def argument(self) -> Expr:
        r"""An argument of a command: a group in braces or one token, as in \frac12."""
        token = self.next
        if token.kind == "number" and len(token.text) > 1:
            self.split_number(token)
        return self.nested(self.taken)

    def split_number(self, token: Token) -> None:
        """Cut the first digit off the next token, a number: TeX takes it alone."""
        if not token.text.isdigit():
            raise mistake(
                f'write braces around "{token.text}": TeX takes its first character only',
                token,
            )
        first = token._replace(text=token.text[0])
        others = token._replace(text=token.text[1:], position=token.position + 1)
        self.tokens[self.index : self.index + 1] = [first, others]

    def root(self, token: Token) -> Expr:
        """A square root, or another one with its order in square brackets."""
        # A square root where no order is written.
        order = sp.Integer(2)
        if opening := self.accept("["):
            order = self.bracketed(opening)
        if not order.is_Integer or order < 2:
            raise mistake(
                f"the order of a root must be a whole number of at least 2, not {order}",
                token,
            )
        self.single(self.next)
        return self.made(token, power, self.nested(self.taken), 1 / order)

    def function_of(self, token: Token, name: str) -> Expr:
        r"""A function of what stands in brackets, or of one atom and nothing after it; \cosh^2 x is its square."""
        exponent = sp.Integer(1)
        if sign := self.accept("^"):
            exponent = self.script()
            if not (exponent.is_Integer and exponent > 0):
                raise mistake(
                    f"{token.text}^{{{exponent}}} has two readings: write the power outside of brackets",
                    sign,
                )
        if self.next.text in OPEN:
            value = self.made(token, function, name, self.nested(self.atom))
        else:
            value = self.function_without_brackets(token, name)
        return self.made(token, power, value, exponent)

    def function_without_brackets(self, token: Token, name: str) -> Expr:
        r"""A function of one atom, maybe with an exponent, after which nothing may go on: \ln a b has two readings."""
        mistaken = f"write brackets around what {token.text} is of"
        if self.next.text in ("+", "-", "_"):
            raise mistake(mistaken, self.next)
        value = self.made(token, function, name, self.nested(self.power))
        if self.starts() or self.next.text in ("*", "/"):
            raise mistake(mistaken, self.next)
        return value

    def left(self) -> LeftSide:
        r"""The left side of an equation: a symbol v, its rate \dot v or \frac{dv}{dt}."""
        if self.next.text == r"\dot":
            self.take()
            is_braced = bool(self.accept("{"))
            return LeftSide(self.named_left(is_braced), is_rate=True)
        if self.next.text == r"\frac":
            self.take()
            return LeftSide(self.derivative(), is_rate=True)
        return LeftSide(self.named_left(), is_rate=False)

    def derivative(self) -> Expr:
        r"""The v of {dv}{dt} or {d}{dt} v."""
        self.expect("{")
        self.differential()
        is_inside = self.next.text != "}"
        symbol = self.named_left() if is_inside else None
        self.expect("}")
        self.expect("{")
        self.differential()
        self.expect("t")
        self.expect("}")
        if is_inside:
            return symbol
        return self.named_left()

    def differential(self) -> None:
        """Read the d of a derivative."""
        if self.next.text not in ("d", r"\mathrm{d}"):
            raise self.unexpected(r"a rate must be written \dot v or \frac{dv}{dt}")
        self.take()

    def named_left(self, braced: bool = False) -> Expr:
        """The symbol that stands on the left; a brace may end after or before what stands below its letter."""
        token = self.take()
        if token.kind != "name":
            raise mistake(
                r"an equation must have a known symbol or its rate \dot v on its left",
                token,
            )
        below = self.indices()
        if braced:
            self.expect("}")
        return self.known(Name(token.text, below or self.indices()), token)


def _quotient(top: Expr, bottom: Expr) -> Expr:
    return multiplied([top, inverse(bottom)])


def _upright_word(token: Token) -> str:
    r"""The word of \mathrm{word}; of any other name nothing that is a word."""
    return token.text[len(r"\mathrm{") : -1]


def _index(token: Token) -> str:
    if token.kind not in ("number", "name"):
        raise mistake(
            f'only letters, numbers and commas may stand below a name, not "{token.text}"',
            token,
        )
    is_upright = token.text.startswith(r"\mathrm")
    if is_upright:
        return _upright_word(token)
    return token.text
