"""Derivations for the terminal and for papers: loss, gradient flow, invariants, reduced equations."""

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
from ...theory.symbolic.loss.population_losses import (
    CONVENTION,
    LATEX_CONVENTION,
)
from ...theory.symbolic.task import Expr

_LOSS = sp.Symbol("L")


def print_derivation(
    derivation: Derivation, degree: int, reduction: Reduction | None
) -> None:
    """Print the loss, the flow, its invariants up to `degree` (none for 0), and the reduced flow."""
    if derivation.task.outputs > 1:
        print(f"convention: {CONVENTION}")
    print(f"L = {derivation.loss.expression}")
    _print_rates(derivation.flow)
    # Degree 0 asks for none: the search may take minutes.
    invariants = derivation.conserved(degree) if degree else ()
    for number, quantity in enumerate(invariants, start=1):
        print(f"I_{number} = {quantity} is conserved")
    if reduction is not None:
        weights = [
            f"{weight} = {form}" for weight, form in _nonzero_weights(reduction).items()
        ]
        print(f"where {', '.join(weights)}")
        _print_rates(reduction.equations)


def print_latex(
    derivation: Derivation, degree: int, reduction: Reduction | None
) -> None:
    """Print loss, flow, invariants and reduced flow as aligned blocks (amsmath), each an equation of its own."""
    symbols = derivation.weights
    blocks = [
        latex_equations({_LOSS: derivation.loss.expression}, symbols, rates=False),
        latex_equations(derivation.flow, symbols),
    ]
    if degree and (invariants := derivation.conserved(degree)):
        blocks.append(latex_invariants(invariants, symbols))
    if reduction is not None:
        weights = _nonzero_weights(reduction)
        blocks.append(latex_equations(weights, symbols, rates=False))
        blocks.append(latex_equations(reduction.equations, symbols))
    # A comment of LaTeX: papers define the loss with and without ½.
    if derivation.task.outputs > 1:
        print(f"% {LATEX_CONVENTION}")
    equations = [f"\\begin{{equation}}\n{block}\n\\end{{equation}}" for block in blocks]
    print("\n\n".join(equations))


def _nonzero_weights(reduction: Reduction) -> dict[Expr, Expr]:
    """The weights of the ansatz that are not zero, in terms of the amplitudes."""
    return {weight: form for weight, form in reduction.ansatz.items() if form != 0}


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
        # An ansatz may use the parameters of the task, and the amplitudes that it brings along.
        symbols = [*symbols_of(derivation), *real_symbols(amplitudes)]
        try:
            equations = read_equations(ansatz.replace(",", "\n"), symbols)
            reduction = derivation.reduce(equations)
        except ValueError as error:
            raise ValueError(
                f"in the ansatz, whose amplitudes are {amplitudes or 'none'}: {error}"
            ) from None
    if reduction.residual:
        weight, residual = next(iter(reduction.residual.items()))
        raise ValueError(
            f"the flow leaves this ansatz at {len(reduction.residual)} weights, the first of them {weight}: "
            f"its rate has {residual} beyond what the amplitudes can follow"
        )
    return reduction


def _print_rates(equations: Mapping[Expr, Expr]) -> None:
    for symbol, rate in equations.items():
        print(f"d {symbol}/dt = {rate}")
