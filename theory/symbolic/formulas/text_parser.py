"""The grammar of formulas in text: sums, products, rational powers, brackets and a few functions of known names."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

import sympy as sp

from ..algebra.domains import meaning
from ..task import Expr
from .ambiguities import refuse_open_roots
from .size_limits import MAX_NUMBER, added, function, inverse, multiplied, power
from .tokens import FUNCTIONS, OPEN, Token, clipped, mistake

MAX_DEPTH = 50
"""How deep brackets and exponents may be nested: each level takes a few calls of the interpreter's stack."""


class LeftSide(NamedTuple):
    """The left side of an equation: a known symbol, and whether its rate stands there, as in dv/dt or v'."""

    symbol: Expr
    is_rate: bool


class TextGrammar:
    """Reads the tokens of one text from left to right; `names` has the meaning of every name.

    Each method reads the longest piece of its kind and returns its expression; ValueError says what is wrong where.
    """

    def __init__(self, tokens: list[Token], names: Mapping[Any, Expr]) -> None:
        self.tokens = tokens
        self.names = names
        self.index = 0  # of the token that is to be read next
        self.depth = 0  # of brackets and exponents

    @property
    def next(self) -> Token:
        """The token that is to be read next."""
        return self.tokens[self.index]

    def take(self) -> Token:
        """The next token, which is read by this."""
        token = self.next
        if token.kind != "end":
            self.index += 1
        return token

    def accept(self, *texts: str) -> Token | None:
        """The next token if it is one of these operators."""
        if self.next.kind == "op" and self.next.text in texts:
            return self.take()
        return None

    def expect(self, text: str) -> Token:
        """The next token, which must be this."""
        if self.next.text != text:
            raise self.unexpected(f'"{text}" is missing')
        return self.take()

    def whole(self) -> Expr:
        """The expression that all tokens are."""
        if self.next.kind == "end" and not self.index:
            raise mistake("the formula is empty", self.next)
        self.refuse_two_readings()
        value = self.sum()
        if self.next.kind != "end":
            raise self.unexpected()
        return value

    def constant(self) -> Expr:
        """The product that all tokens are, which stands before a rate."""
        self.refuse_two_readings()
        value = self.product()
        if self.next.text in ("+", "-"):
            raise mistake(
                "only a product may stand before a rate: write brackets around a sum",
                self.next,
            )
        if self.next.kind != "end":
            raise self.unexpected()
        return value

    def refuse_two_readings(self) -> None:
        """ValueError where what is still to be read has two readings."""
        refuse_open_roots(self.tokens[self.index :])

    def sum(self) -> Expr:
        """Terms joined by + and −."""
        start = self.next
        terms = [self.product()]
        while sign := self.accept("+", "-"):
            term = self.product()
            terms.append(term if sign.text == "+" else -term)
        return self.made(start, added, terms)

    def product(self) -> Expr:
        """Factors joined by * and /, in this order."""
        start = self.next
        factors = [self.factor()]
        while sign := self.accept("*", "/"):
            factor = self.factor()
            if sign.text == "/":
                factor = self.made(sign, inverse, factor)
            factors.append(factor)
        return self.made(start, multiplied, factors)

    def factor(self) -> Expr:
        """A power with signs before it."""
        sign = 1
        while token := self.accept("+", "-"):
            if token.text == "-":
                sign = -sign
        return sign * self.power()

    def power(self) -> Expr:
        """An atom, or an atom to an exponent."""
        base = self.atom()
        sign = self.accept("^", "**")
        if sign is None:
            return base
        return self.made(sign, power, base, self.nested(self.factor))

    def atom(self) -> Expr:
        """A number, a known name, a function of something or something in brackets."""
        token = self.take()
        if token.kind == "number":
            return number(token)
        if token.kind == "name":
            if self.next.text == "(" and token.text not in self.names:
                return self.call(token)
            return self.known(token.text, token)
        if token.text == "(":
            return self.bracketed(token)
        raise self.unexpected_again(token)

    def unexpected_again(self, token: Token) -> ValueError:
        """The error for a token that was taken already."""
        if token.kind != "end":
            self.index -= 1
        return self.unexpected()

    def call(self, name: Token) -> Expr:
        """The function of this name, of what its brackets hold."""
        if name.text not in FUNCTIONS:
            if self.looks_known(name.text):
                raise self.unknown(name.text, name)
            raise mistake(
                f'unknown function "{clipped(name.text)}": known are {", ".join(FUNCTIONS)}',
                name,
            )
        return self.made(name, function, name.text, self.bracketed(self.take()))

    def bracketed(self, opening: Token) -> Expr:
        """What stands up to the bracket that closes this one."""
        return self.closed(opening, self.nested(self.sum))

    def closed(self, opening: Token, value: Expr) -> Expr:
        """What was read since a bracket that the next token must close."""
        closing = OPEN[opening.text]
        if self.next.kind == "end":
            raise mistake(f'"{opening.text}" is never closed', opening)
        if self.next.text != closing:
            raise self.unexpected(
                f'"{closing}" is missing for "{opening.text}" of position {opening.position}'
            )
        self.take()
        return value

    def nested(self, read: Callable[[], Expr]) -> Expr:
        """What `read` reads, one level deeper."""
        # Counted, so that deep nesting is an error here and no overflow of the stack.
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise mistake(
                f"brackets and exponents may be nested {MAX_DEPTH} deep", self.next
            )
        value = read()
        self.depth -= 1
        return value

    def made(self, token: Token, make: Callable[..., Expr], *parts: object) -> Expr:
        """What `make` makes of the parts; its errors get the position of the token."""
        try:
            return make(*parts)
        except ValueError as error:
            raise mistake(str(error), token) from None

    def known(self, name: object, token: Token) -> Expr:
        """The meaning of a name."""
        if name not in self.names:
            raise self.unknown(name, token)
        return meaning(self.names[name])

    def unknown(self, name: object, token: Token) -> ValueError:
        """The error for an unknown name, with those that are spelled nearly so."""
        matches = get_close_matches(str(name), list(map(str, self.names)), n=3)
        if matches:
            hint = f"did you mean {' or '.join(matches)}?"
        else:
            hint = f"known are {', '.join(self.first_names()) or 'none'}"
        return mistake(f'unknown symbol "{clipped(name)}" ({hint})', token)

    def first_names(self) -> list[str]:
        """The first dozen of known names, of each meaning the one that comes first."""
        name_of = {meaning: name for name, meaning in reversed([*self.names.items()])}
        names = list(map(str, reversed(name_of.values())))
        return names[:12]

    def looks_known(self, name: str) -> bool:
        """Whether a known name is spelled nearly so."""
        return bool(get_close_matches(name, list(map(str, self.names)), n=1))

    def unexpected(self, missing: str = "") -> ValueError:
        """The error for the next token, where something else should stand."""
        token = self.next
        if token.kind == "end":
            return mistake(missing or "the formula is not complete", token)
        # 1,5 and 1,000: a decimal comma or a thousands separator.
        if token.text == "," and self._is_between_digits():
            return mistake(
                "a comma between digits has two readings: write 0.5, or 1000 without it",
                token,
            )
        if token.text in OPEN.values():
            return mistake(f'unbalanced bracket "{token.text}"', token)
        if token.kind in ("number", "name") or token.text in OPEN:
            message = f'an operator is missing before "{clipped(token.text)}"'
            return mistake(missing or message, token)
        message = f'unexpected "{token.text}"'
        return mistake(f"{message}: {missing}" if missing else message, token)

    def _is_between_digits(self) -> bool:
        """Whether numbers stand on both sides of the next token."""
        before = self.tokens[self.index - 1]
        after = self.tokens[self.index + 1]
        return before.kind == after.kind == "number"

    def left(self) -> LeftSide:
        """The left side of an equation: a symbol v, dv/dt, d(v)/dt or v'."""
        token = self.take()
        if token.kind != "name":
            raise mistake(
                "an equation must have a known symbol or its rate dv/dt on its left",
                token,
            )
        is_d = token.text == "d"
        if is_d and self.next.kind == "name":
            return self._rate_of(self.take())
        if is_d and self.accept("("):
            name = self.take()
            self.expect(")")
            return self._rate_of(name)
        if self.next.text == "/":
            if not token.text.startswith("d"):
                raise mistake(
                    f"a rate must be written d{token.text}/dt or {token.text}'", token
                )
            # dv is one name in text: the symbol is v.
            without_d = token.text.removeprefix("d")
            return self._rate_of(Token("name", without_d, token.position + 1))
        symbol = self.known(token.text, token)
        return LeftSide(symbol, is_rate=bool(self.accept("'")))

    def _rate_of(self, name: Token) -> LeftSide:
        """The left side d name/dt, of which /dt is still to be read."""
        self.expect("/")
        self.expect("dt")
        return LeftSide(self.known(name.text, name), is_rate=True)


def number(token: Token) -> Expr:
    """The rational number that a token spells exactly."""
    if len(token.text) > MAX_NUMBER:
        raise mistake(
            f"a number may have {MAX_NUMBER} digits, not {len(token.text)}", token
        )
    digits, _, exponent = token.text.lower().partition("e")
    whole, _, decimals = digits.partition(".")
    # 0.5 is 5 · 10⁻¹: exact, unlike a float.
    power_of_ten = int(exponent or "0") - len(decimals)
    if abs(power_of_ten) > MAX_NUMBER:
        raise mistake(
            f"a number may have {MAX_NUMBER} digits, not {clipped(token.text)}", token
        )
    return sp.Integer(int(whole + decimals or "0")) * sp.Integer(10) ** power_of_ten
