"""Moments of averages over the context, as the engine finds them and as those of chi squared."""

from ....evidence.claim import RunContext
from .identities import Formulas


def derived_powers(context: RunContext) -> Formulas:
    """E of powers of an average of x², and of products of averages of x², x y and y², D = 1, with noise."""
    from .....theory.symbolic import Prompt, average, expectation, symbolic_task

    prompt, task = Prompt(1), symbolic_task(1, noise=True)
    square, product, label = (
        average(z) for z in (prompt.x[0] ** 2, prompt.x[0] * prompt.y, prompt.y**2)
    )
    powers = {f"power {k}": expectation(square**k, task) for k in range(1, 5)}
    return powers | {
        "x² (x y)²": expectation(square * product**2, task),
        "x² x² y²": expectation(square**2 * label, task),
    }


def stated_powers(context: RunContext, control: str) -> Formulas:
    """Moments of chi squared, by which y = w x + noise goes with E w² = 1."""
    import sympy as sp

    from .....theory.symbolic import N

    λ, σ = sp.symbols("lambda_1 sigma", positive=True)
    step = {"1 + j/N for 1 + 2j/N": 1, "averages independent": 0}.get(control, 2)
    chi = [sp.Integer(1)]
    for j in range(4):
        chi.append(chi[j] * λ * (1 + sp.Integer(step * j) / N))
    # Given x, the mean of x y is w times that of x² and Gaussian noise of variance σ² times that of x² over N.
    noisy = 0 if control == "noise left out" else σ**2
    return {f"power {k}": chi[k] for k in range(1, 5)} | {
        "x² (x y)²": chi[3] + noisy * chi[2] / N,
        "x² x² y²": chi[3] + noisy * chi[2],
    }
