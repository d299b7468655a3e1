"""Everything that follows from one model and one task: the loss, its gradient flow, and their consequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from ...models.protocol import Parametrization
from ...runtime.display import Summary
from ...task import Task
from .dynamics.conservation_laws import conserved_quantities
from .dynamics.polynomial_equilibria import equilibria
from .dynamics.reduction import Reduction, reduce
from .formulas.latex_printer import as_equation, latex_equations
from .formulas.typeset_results import (
    MAX_FORMULAS,
    MAX_TYPESET_PARTS,
    TypesetResult,
    as_text,
    has_at_most,
    short_text,
    typeset,
)
from .loss.population_losses import (
    CONVENTION,
    Block,
    PopulationLoss,
    SymbolArray,
    flow_equations,
    output_loss,
    population_loss,
    weight_symbols,
)
from .task import Expr, N, SymbolicTask, by_name, rational_task, require_symbolic_task


@dataclass(frozen=True, eq=False, repr=False)
class Derivation(TypesetResult):
    """The population loss of a model on a task and its gradient flow, in flow time; `derive` makes it.

    `arrays` holds the symbols of every weight, name → array of the model's shapes, also of weights that do not
    stand in the output and hence never move. `model` is None for an output of the user's own.
    """

    loss: PopulationLoss
    task: SymbolicTask
    arrays: Mapping[str, SymbolArray]
    model: Parametrization | None = None
    block: Block = "full"

    @cached_property
    def flow(self) -> dict[Expr, Expr]:
        """Weight → dθ/dt = −½ ∂L/∂θ, for the weights that stand in the output."""
        return flow_equations(self.loss)

    @property
    def weights(self) -> tuple[Expr, ...]:
        """The weights that stand in the output."""
        return self.loss.weights

    @property
    def parameters(self) -> tuple[Expr, ...]:
        """Every symbol of the task, and constants of an output of the user's own, but N; by name."""
        # A domain without symbols is one of numbers, which lists none.
        constants = getattr(self.loss.polynomial.ring.domain, "symbols", ())
        symbols = {*self.task.parameters, *constants} - {N}
        return tuple(by_name(symbols))

    def conserved(self, degree: int = 2) -> tuple[Expr, ...]:
        """Every independent polynomial of the weights up to this degree that the flow conserves."""
        return conserved_quantities(self.flow, degree)

    def reduce(
        self, ansatz: Mapping[Expr, Expr], amplitudes: Sequence[Expr] | None = None
    ) -> Reduction:
        """The equations of motion of the amplitudes of an ansatz {weight: expression}, or what is not invariant."""
        return reduce(self.flow, ansatz, amplitudes)

    def equilibria(self, where: Sequence[Expr] = ()) -> tuple[dict[Expr, Expr], ...]:
        """Every real equilibrium of the flow, among weights where the expressions `where` vanish."""
        return equilibria(self.flow, where)

    def summary(self) -> Summary:
        """The model, the task, the loss and the flow."""
        rows = {
            "block": self.block,
            "parameters": ", ".join(map(str, self.parameters)) or "none",
            "loss": self.loss.text(),
        }
        if self.task.outputs > 1:
            rows["convention"] = CONVENTION
        if self.loss.is_long:
            rows["flow"] = f"{len(self.weights)} equations"
            return Summary(self._title(), rows)
        for weight, rate in self.flow.items():
            rows[f"d {weight}/dt"] = short_text(rate)
        return Summary(self._title(), rows)

    def formulas(self) -> dict[str, str]:
        """Loss and flow in LaTeX, as far as they are short."""
        formulas = self.loss.formulas()
        if not formulas:
            return {}
        rates = {f"d {weight}/dt": rate for weight, rate in self.flow.items()}
        return formulas | typeset(rates, self.weights)

    def _repr_html_(self) -> str | None:
        """Of long formulas the table that says how long they are; else nothing, as `_repr_latex_` has them."""
        return super()._repr_html_() if self._is_long else None

    def _repr_latex_(self) -> str | None:
        """Loss and flow in LaTeX; a front end shows HTML where it is given both, so it is given one of the two."""
        if self._is_long:
            return None
        loss, flow = self._blocks()
        return f"$$\\begin{{gathered}}\n{loss} \\\\[1ex]\n{flow}\n\\end{{gathered}}$$"

    @cached_property
    def _is_long(self) -> bool:
        """Whether some formula is too long to be typeset, or there are too many."""
        if self.loss.is_long or len(self.weights) > MAX_FORMULAS:
            return True
        formulas = [self.loss.expression, *self.flow.values()]
        return not all(has_at_most(each, MAX_TYPESET_PARTS) for each in formulas)

    def _blocks(self) -> tuple[str, str]:
        """The loss and the flow, an aligned block each."""
        loss = {sp.Symbol("L"): self.loss.expression}
        return (
            latex_equations(loss, self.weights, rates=False),
            latex_equations(self.flow, self.weights),
        )

    def latex(self) -> str:
        r"""Loss and flow as aligned blocks (amsmath), each an equation of its own.

        >>> from attndyn import Separate
        >>> from attndyn.theory.symbolic import symbolic_task
        >>> print(derive(symbolic_task(1), Separate(1), "restricted").latex()[:34])
        \begin{equation}
        \begin{aligned}
        L
        """
        return "\n\n".join(as_equation(block) for block in self._blocks())

    def to_dict(self) -> dict[str, object]:
        """Model, block, weights, parameters, loss and flow, expressions as text."""
        return {
            "model": None if self.model is None else self._model_in_words(),
            "block": self.block,
            "weights": [str(weight) for weight in self.weights],
            "parameters": [str(symbol) for symbol in self.parameters],
            "loss": str(self.loss.expression),
            "flow": as_text(self.flow),
        }

    def _title(self) -> str:
        subject = "an output" if self.model is None else self._model_in_words()
        return f"Derivation of {subject} at D = {self.task.dimension}"

    def _model_in_words(self) -> str:
        """The model as it shows itself; one of the user's own, which may not, by the name of its class."""
        # The address in memory, which Python shows else, is another one each time.
        shows_itself = type(self.model).__repr__ is not object.__repr__
        return str(self.model) if shows_itself else type(self.model).__name__


def derive(
    task: SymbolicTask | Task, model: Parametrization, block: Block = "full"
) -> Derivation:
    """The loss and the flow of a model, derived from its `heads` alone; `block` as in `population_loss`.

    With K outputs, task and model have as many, and L = E |y_q − ŷ|² has no factor ½ either: it is twice that of
    Mainali and Teixeira 2025 (arXiv 2504.12916), whose flow is this one. A `Task` in numbers is taken exactly, as by
    `rational_task`. ValueError for softmax and for heads that are not polynomial in the weights; TypeError where model
    and task are exchanged.

    >>> import sympy as sp
    >>> from attndyn.theory.symbolic import symbolic_task
    >>> class Tied:  # key = query, one head of rank one
    ...     def shapes(self, dimension):
    ...         return {"value": (1, dimension + 1), "key": (1, dimension + 1)}
    ...     def heads(self, weights):
    ...         key = weights["key"]
    ...         return weights["value"], key[:, :, None] * key[:, None, :-1]
    >>> derivation = derive(symbolic_task(1), Tied(), "restricted")
    >>> derivation.weights, derivation.parameters
    ((value_1_2, key_1_1), (lambda_1,))
    >>> sp.factor(derivation.flow[derivation.weights[0]].subs(N, 2))
    -key_1_1**2*lambda_1**2*(2*key_1_1**2*lambda_1*value_1_2 - 1)
    """
    # Decimals and fractions as they were written, not as floats.
    if isinstance(task, Task):
        task = rational_task(task)
    require_symbolic_task(task, model, "derive(task, model, block)")
    arrays = weight_symbols(model, task.dimension)
    return Derivation(population_loss(task, model, block), task, arrays, model, block)


def derive_output(
    task: SymbolicTask, output: Expr | Sequence[Expr], weights: Sequence[Expr]
) -> Derivation:
    """The loss and the flow of an output ŷ of the user's own, polynomial in weights and variables of the prompt.

    With K outputs it is a list of them. Each weight is an array of its own, of shape (), under its name. ValueError
    names what is not polynomial; two weights must not share a name. TypeError where output and task are exchanged.

    >>> import sympy as sp
    >>> from attndyn.theory.symbolic import Prompt, average, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m", real=True)
    >>> derivation = derive_output(symbolic_task(1), m * average(prompt.y * prompt.x[0]) * prompt.query[0], [m])
    >>> derivation.flow
    {m: lambda_1**2 + lambda_1**3*m*(-N - 2)/N}
    """
    require_symbolic_task(task, output, "derive_output(task, output, weights)")
    # Each weight is an array without dimensions, so that weights by name work as for models.
    arrays = {str(weight): np.array(weight, dtype=object) for weight in weights}
    if len(arrays) < len(weights):
        names = ", ".join(map(str, weights))
        raise ValueError(f"the weights {names} must have names of their own")
    return Derivation(output_loss(task, output, weights), task, arrays)
