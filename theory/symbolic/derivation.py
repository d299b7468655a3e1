"""Everything that follows from one model and one task: the loss, its gradient flow, and their consequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...models.protocol import Parametrization
from ...task import Task
from .dynamics.conservation_laws import conserved_quantities
from .dynamics.polynomial_equilibria import equilibria
from .dynamics.reduction import Reduction, reduce
from .loss.population_losses import (
    Block,
    PopulationLoss,
    SymbolArray,
    flow_equations,
    output_loss,
    population_loss,
    weight_symbols,
)
from .task import Expr, N, SymbolicTask, rational_task, require_symbolic_task


@dataclass(frozen=True, eq=False)
class Derivation:
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
        constants = set(getattr(self.loss.polynomial.ring.domain, "symbols", ()))
        return tuple(
            sorted(
                {*self.task.parameters, *constants} - {N},
                key=lambda symbol: str(symbol.name),
            )
        )

    def conserved(self, degree: int = 2) -> tuple[Expr, ...]:
        """Every independent polynomial of the weights up to this degree that the flow conserves."""
        return conserved_quantities(self.flow, degree)

    def reduce(
        self, ansatz: Mapping[Expr, Expr], amplitudes: Sequence[Expr] | None = None
    ) -> Reduction:
        """The equations of motion of the amplitudes of an ansatz {weight: expression}, or what is not invariant."""
        return reduce(self.flow, ansatz, amplitudes)

    def equilibria(self, where: Sequence[Expr] = ()) -> tuple[dict[Expr, Expr], ...]:
        """Every real point at which the flow rests, among weights where the expressions `where` vanish."""
        return equilibria(self.flow, where)


def derive(
    task: SymbolicTask | Task, model: Parametrization, block: Block = "full"
) -> Derivation:
    """The loss and the flow of a model, derived from its `heads` alone; `block` as in `population_loss`.

    A `Task` in numbers is taken exactly, as by `rational_task`. ValueError for softmax and for heads that are not
    polynomial in the weights; TypeError where model and task are exchanged.

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
    if isinstance(task, Task):
        task = rational_task(task)
    require_symbolic_task(task, model, "derive(task, model, block)")
    arrays = weight_symbols(model, task.dimension)
    return Derivation(population_loss(task, model, block), task, arrays, model, block)


def derive_output(
    task: SymbolicTask, output: Expr, weights: Sequence[Expr]
) -> Derivation:
    """The loss and the flow of an output ŷ of the user's own, polynomial in weights and variables of the prompt.

    Each weight is an array of its own, of shape (), under its name. ValueError names what is not polynomial;
    two weights must not share a name. TypeError where output and task are exchanged.

    >>> import sympy as sp
    >>> from attndyn.theory.symbolic import Prompt, average, symbolic_task
    >>> prompt, m = Prompt(1), sp.Symbol("m", real=True)
    >>> derivation = derive_output(symbolic_task(1), m * average(prompt.y * prompt.x[0]) * prompt.query[0], [m])
    >>> derivation.flow
    {m: lambda_1**2 + lambda_1**3*m*(-N - 2)/N}
    """
    require_symbolic_task(task, output, "derive_output(task, output, weights)")
    arrays = {str(weight): np.array(weight, dtype=object) for weight in weights}
    if len(arrays) < len(weights):
        raise ValueError(
            f"the weights {', '.join(map(str, weights))} must have names of their own"
        )
    return Derivation(output_loss(task, output, weights), task, arrays)
