"""Moments of averages over the context, as the engine finds them and as those of chi squared."""

from ....evidence.claim import RunContext
from ....evidence.identities import Formulas


def derived_powers(context: RunContext) -> Formulas:
    """E of powers of an average of x², and of products of averages of x², x y and y², D = 1, with noise."""
    from .....theory.symbolic import Prompt, average, expectation, symbolic_task

    prompt = Prompt(1)
    task = symbolic_task(1, noise=True)
    x, y = prompt.x[0], prompt.y
    mean_xx, mean_xy, mean_yy = average(x**2), average(x * y), average(y**2)

    powers = {f"power {k}": expectation(mean_xx**k, task) for k in range(1, 5)}
    return {
        **powers,
        "x² (x y)²": expectation(mean_xx * mean_xy**2, task),
        "x² x² y²": expectation(mean_xx**2 * mean_yy, task),
    }


def stated_powers(context: RunContext, control: str) -> Formulas:
    """Moments of chi squared, by which y = w x + noise goes with E w² = 1."""
    import sympy as sp

    from .....theory.symbolic import N

    λ, σ = sp.symbols("lambda_1 sigma", positive=True)
    step = 2
    if control == "1 + j/N for 1 + 2j/N":
        step = 1
    if control == "averages independent":
        step = 0

    # E λ̂^k = λ^k Π_{j < k} (1 + 2j/N)
    chi = [sp.Integer(1)]
    for j in range(4):
        chi.append(chi[j] * λ * (1 + sp.Integer(step * j) / N))

    # Given x, the mean of x y is w times that of x² and Gaussian noise of variance σ² times that of x² over N.
    noise = 0 if control == "noise left out" else σ**2
    powers = {f"power {k}": chi[k] for k in range(1, 5)}
    return {
        **powers,
        "x² (x y)²": chi[3] + noise * chi[2] / N,
        "x² x² y²": chi[3] + noise * chi[2],
    }
