"""Fixed points of gradient flow in symbols, of one output and of several."""

from ....models.protocol import Parametrization, outputs_of
from ..task import SymbolicTask, require_symbolic_task
from .fixed_point_formulas import SymbolicFixedPoints, fixed_points_of_one_output
from .mode_fixed_points import fixed_points_of_outputs


def fixed_points(task: SymbolicTask, model: Parametrization) -> SymbolicFixedPoints:
    """The fixed points of gradient flow on the restricted weights by how many directions are learned, most first.

    Separate: one for every subset of at most H·R directions. Merged: everything or nothing. The loss is derived
    from the definition, and its stationarity solved on diagonal maps. One merged head with K outputs: one for every
    subset of the modes of a shared basis, under its `conditions`; everything or nothing on Γ ⊗ Ω. ValueError for other
    models and laws of K outputs, for softmax, for a fixed teacher, and where the gradient leads off the diagonal (Λ or
    Ω not diagonal) or vanishes on it; TypeError where model and task are exchanged.

    >>> from attndyn import Separate
    >>> from attndyn.theory.symbolic import fixed_points, symbolic_task
    >>> points = fixed_points(symbolic_task(2), Separate(heads=2))
    >>> len(points), points[1].subset, points[1].coefficients
    (4, (1,), (N/(N*lambda_1 + 2*lambda_1 + lambda_2),))
    >>> from attndyn import Merged
    >>> modes = fixed_points(symbolic_task(2, shared_basis=True), Merged(heads=1, outputs=2))
    >>> modes[1].coefficients, modes[0].conditions[1]
    ((N*(1 - 1/(N + 2))/(lambda_1*(N + 1)),), sqrt(lambda_2)*(N + 3) > sqrt(lambda_1) + sqrt(lambda_2))
    """
    require_symbolic_task(task, model, "fixed_points(task, model)")
    if task.outputs > 1 or outputs_of(model) > 1:
        return fixed_points_of_outputs(task, model)
    return fixed_points_of_one_output(task, model)
