r"""The grammar of formulas in LaTeX: \frac, \sqrt, subscripts, products without a sign, \langle … \rangle."""

import sympy as sp

from ..task import Expr, is_variable
from .ambiguities import OTHER_FUNCTIONS, refuse_two_readings
from .size_limits import function, inverse, multiplied, power
from .symbol_names import Name
from .text_parser import TextGrammar, number
from .tokens import FUNCTIONS, OPEN, Token, clipped, mistake

_FUNCTIONS = {r"\exp", r"\log", r"\ln", r"\sinh", r"\cosh", r"\tanh", r"\arctan"}
_STARTS = {r"\frac", r"\sqrt", r"\overline", r"\langle", *_FUNCTIONS}


class LatexGrammar(TextGrammar):
    """Reads the tokens of one formula in LaTeX; `names` has the meaning of every `Name`.

    Where TeX takes one token, as in x^2, more than one digit is an error: x^12 is not x^{12}.
    """

    def refuse_two_readings(self) -> None:
        """ValueError where what is left to read has two readings."""
        refuse_two_readings(self.tokens[self.place :], self.names)

    def product(self) -> Expr:
        """Factors, with or without a sign between them, but with one after a/b: a/bc has two readings."""
        start, factors, divided = self.next, [self.factor()], False
        while True:
            if sign := self.accept("*", "/"):
                divided = sign.text == "/"
                factor = self.factor()
                factors.append(self.made(sign, inverse, factor) if divided else factor)
            elif self.starts():
                if divided:
                    raise mistake(
                        r"a/bc has two readings: write \frac or brackets", self.next
                    )
                factors.append(self.power())
            else:
                return self.made(start, multiplied, factors)

    def starts(self) -> bool:
        """Whether the next token can begin a factor."""
        token = self.next
        return (
            token.kind == "name"
            or token.text in _STARTS
            or (token.kind == "op" and token.text in OPEN)
        )

    def power(self) -> Expr:
        """An atom, or an atom to an exponent, which is one token or stands in braces."""
        base = self.atom()
        token = self.accept("^")
        return self.made(token, power, base, self.script()) if token else base

    def atom(self) -> Expr:
        r"""A number, a known name, \frac, \sqrt, a function, an average or something in brackets."""
        token = self.take()
        if token.kind == "number":
            return self.number(token)
        if token.kind == "name":
            return self.named(token)
        if token.text == r"\frac":
            top = self.argument()
            return self.made(token, _quotient, top, self.argument())
        if token.text == r"\sqrt":
            return self.root(token)
        if token.text in _FUNCTIONS:
            return self.function_of(token, token.text[1:])
        if token.text == r"\overline":
            return self.average(token, self.argument())
        if token.text == "{":
            return self.group(token)
        if token.kind == "op" and token.text in OPEN:
            inside = self.bracketed(token)
            return self.average(token, inside) if token.text == r"\langle" else inside
        self.place -= token.kind != "end"
        raise self.unexpected()

    def number(self, token: Token) -> Expr:
        """A number; 1e-3 is 10^{-3} unless e is a symbol."""
        letters = {Name("e"), Name("E")} & self.names.keys()
        if "e" in token.text.lower() and any(
            self.names[letter] != sp.E for letter in letters
        ):
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
        name, closing, below = (self.tokens[self.place :] + [opening] * 2)[:3]
        if name.kind == "name" and closing.text == "}" and below.text == "_":
            self.place += 2
            return self.named(name)
        return self.inside(opening)

    def inside(self, opening: Token) -> Expr:
        r"""The expression up to the brace that closes this one, which may be {a \over b}."""
        top = self.nested(self.sum)
        if self.next.text != r"\over":
            return self.closed(opening, top)
        over = self.take()
        return self.closed(
            opening, self.made(over, _quotient, top, self.nested(self.sum))
        )

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
        word = token.text[8:-1]
        if word in FUNCTIONS and Name(token.text) not in self.names:
            return self.function_of(token, word)
        if (
            self.next.text == "^"
            and self.tokens[after := self.after_script()].text == "_"
        ):
            raised = self.tokens[self.place : after]
            below = self.tokens[after : self.after_script(after)]
            self.tokens[self.place : self.place + len(raised) + len(below)] = (
                below + raised
            )
        if (
            word in OTHER_FUNCTIONS
            and Name(token.text) not in self.names
            and self.next.text != "_"
        ):
            ways = r"a trace as the sum of its eigenvalues, \lambda_1 + \lambda_2, and others by their terms"
            raise mistake(
                f'no formula may have the function "{word}": write {ways}', token
            )
        name = Name(token.text, self.indices())
        return self.known(name, token)

    def indices(self) -> tuple[str, ...]:
        """What stands below a name: letters, numbers, commas."""
        if not self.accept("_"):
            return ()
        if not (opening := self.accept("{")):
            return (_index(self.single(self.take())),)
        found = []
        while not self.accept("}"):
            token = self.take()
            if token.kind == "end":
                raise mistake('"{" is never closed', opening)
            if token.text != ",":
                found.append(_index(token))
        return tuple(found)

    def script(self) -> Expr:
        """The exponent after ^: a group in braces, or one token."""
        if self.next.text in ("{", r"\frac"):
            return self.nested(self.taken)
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
            if not token.text.isdigit():
                raise mistake(
                    f'write braces around "{token.text}": TeX takes its first character only',
                    token,
                )
            head = Token("number", token.text[0], token.position)
            self.tokens[self.place : self.place + 1] = [
                head,
                Token("number", token.text[1:], token.position + 1),
            ]
        return self.nested(self.taken)

    def root(self, token: Token) -> Expr:
        """A square root, or another one with its order in square brackets."""
        order = (
            self.bracketed(opening) if (opening := self.accept("[")) else sp.Integer(2)
        )
        if not order.is_Integer or order < 2:
            raise mistake(
                f"the order of a root must be a whole number of at least 2, not {order}",
                token,
            )
        self.single(self.next)
        return self.made(token, power, self.nested(self.taken), 1 / order)

    def function_of(self, token: Token, name: str) -> Expr:
        r"""A function of what stands in brackets, or of one atom and nothing after it; \cosh^2 x is its square."""
        exponent = self.script() if (raised := self.accept("^")) else sp.Integer(1)
        if raised and not (exponent.is_Integer and exponent > 0):
            raise mistake(
                f"{token.text}^{{{exponent}}} has two readings: write the power outside of brackets",
                raised,
            )
        bare = self.next.text not in OPEN
        if bare and self.next.text in ("+", "-", "_"):
            raise mistake(f"write brackets around what {token.text} is of", self.next)
        value = self.made(
            token, function, name, self.nested(self.power if bare else self.atom)
        )
        if bare and (self.starts() or self.next.text in ("*", "/")):
            raise mistake(f"write brackets around what {token.text} is of", self.next)
        return self.made(token, power, value, exponent)

    def after_script(self, place: int | None = None) -> int:
        """The index of the token after ^ or _ and its argument."""
        place = (self.place if place is None else place) + 1
        depth = 0
        while self.tokens[place].kind != "end":
            depth += {"{": 1, "}": -1}.get(self.tokens[place].text, 0)
            place += 1
            if depth <= 0:
                break
        return place

    def left(self) -> tuple[Expr, bool]:
        r"""The left side of an equation: a known symbol, and whether it is a rate, \dot v or \frac{dv}{dt}."""
        token = self.next
        if token.text in (r"\dot", r"\frac"):
            self.take()
        if token.text == r"\dot":
            return self.named_left(braced=bool(self.accept("{"))), True
        if token.text == r"\frac":
            return self.derivative(), True
        return self.named_left(), False

    def derivative(self) -> Expr:
        r"""The v of {dv}{dt} or {d}{dt} v."""
        self.expect("{")
        self.differential()
        inside = self.next.text != "}"
        symbol = self.named_left() if inside else None
        for text in ("}", "{"):
            self.expect(text)
        self.differential()
        self.expect("t")
        self.expect("}")
        return symbol if inside else self.named_left()

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


def _index(token: Token) -> str:
    if token.kind not in ("number", "name"):
        raise mistake(
            f'only letters, numbers and commas may stand below a name, not "{token.text}"',
            token,
        )
    return token.text[8:-1] if token.text.startswith(r"\mathrm") else token.text
