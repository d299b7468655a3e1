"""A derivation for the terminal and for papers: loss, equations of motion, invariants, reduced equations."""

from collections.abc import Mapping

import sympy as sp

from ...compare.user.symbol_names import real_symbols, symbols_of
from ...theory.symbolic import (
    Derivation,
    Reduction,
    aligned_ansatz,
    latex_equations,
    latex_invariants,
    read_equations,
)
from ...theory.symbolic.task import Expr

_LOSS = sp.Symbol("L")


def print_derivation(
    derivation: Derivation, degree: int, reduction: Reduction | None
) -> None:
    """Print the loss, the flow, its invariants up to `degree` (none for 0), and the reduced flow."""
    print(f"L = {derivation.loss.expression}")
    _print_rates(derivation.flow)
    for number, quantity in enumerate(
        derivation.conserved(degree) if degree else (), start=1
    ):
        print(f"I_{number} = {quantity} is conserved")
    if reduction is not None:
        print(
            "where "
            + ", ".join(
                f"{weight} = {form}"
                for weight, form in reduction.ansatz.items()
                if form != 0
            )
        )
        _print_rates(reduction.equations)


def print_latex(
    derivation: Derivation, degree: int, reduction: Reduction | None
) -> None:
    """Print the same as aligned blocks (amsmath), each an equation of its own."""
    symbols = derivation.weights
    blocks = [
        latex_equations({_LOSS: derivation.loss.expression}, symbols, rates=False),
        latex_equations(derivation.flow, symbols),
    ]
    if degree and (invariants := derivation.conserved(degree)):
        blocks.append(latex_invariants(invariants, symbols))
    if reduction is not None:
        shown = {weight: form for weight, form in reduction.ansatz.items() if form != 0}
        blocks.append(latex_equations(shown, symbols, rates=False))
        blocks.append(latex_equations(reduction.equations, symbols))
    print(
        "\n\n".join(
            f"\\begin{{equation}}\n{block}\n\\end{{equation}}" for block in blocks
        )
    )


def reduction_on(
    derivation: Derivation, ansatz: str, amplitudes: list[str]
) -> Reduction:
    """The flow on an ansatz in text, such as "value_1_2 = v, key_1_1_1 = v" with the amplitude v, or "aligned".

    ValueError for what cannot be read, and where the flow leaves the ansatz, with the first residual.
    """
    if ansatz.strip() == "aligned":
        if derivation.model is None:
            raise ValueError(
                "an output of your own has no aligned weights: write the ansatz"
            )
        reduction = derivation.reduce(
            aligned_ansatz(derivation.model, derivation.task.dimension)
        )
    else:
        symbols = [*symbols_of(derivation), *real_symbols(amplitudes)]
        try:
            reduction = derivation.reduce(
                read_equations(ansatz.replace(",", "\n"), symbols)
            )
        except ValueError as error:
            raise ValueError(
                f"in the ansatz, whose amplitudes are {amplitudes or 'none'}: {error}"
            ) from None
    for weight, rest in reduction.residual.items():
        raise ValueError(
            f"the flow leaves this ansatz at {len(reduction.residual)} weights, the first of them {weight}: "
            f"its rate has {rest} beyond what the amplitudes can follow"
        )
    return reduction


def _print_rates(equations: Mapping[Expr, Expr]) -> None:
    for symbol, rate in equations.items():
        print(f"d {symbol}/dt = {rate}")
