"""Proofs on fixed points where attention divides by all tokens, and on Kronecker teachers."""

from typing import NamedTuple

from ....models.attention import Merged
from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_setting import exact, in_roots, proof, symbols

BY_LENGTH = "the divisor N"
NO_EMPTY = "without the contexts of no tokens"
ONE_OUTPUT = "the noise of one output"
SCORES = 3
"""What scores are divided by where nothing else is."""
SUBSETS = ((1, 2), (1,), (2,), ())


class _Means(NamedTuple):
    """ℓ = E N/d, g = E N(N+1)/d² and k = E N/d² over the context lengths, for the divisor d = N + 1 or a number."""

    linear: Expr
    pairs: Expr
    single: Expr


def _means(lengths: tuple[Expr, ...], control: str, constant: int = 0) -> _Means:
    import sympy as sp

    if control == NO_EMPTY:
        lengths = tuple(N for N in lengths if N != 0)
    count = len(lengths)
    d = 0 if control == BY_LENGTH else 1
    weights = [sp.Integer(0) if N == 0 else 1 / (count * (N + d) ** 2) for N in lengths]
    pairs = list(zip(lengths, weights, strict=True))
    return _Means(
        sum(w * N * (N + d) for N, w in pairs),
        sum(w * N * (N + 1) for N, w in pairs),
        sum(w * N for N, w in pairs),
    )


def _lengths() -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """The symbol N, and contexts of none or two tokens."""
    import sympy as sp

    return (symbols().N,), (sp.Integer(0), sp.Integer(2))


def _gammas() -> tuple[Expr, Expr]:
    import sympy as sp

    one, two = sp.symbols("gamma_1:3", positive=True)
    return one, two


def _model(law: str) -> Merged:
    """One head that divides by N + 1, or for outputs alike its scores alone, by a number."""
    if law == "alike":
        return Merged(heads=1, outputs=2, divisor="none", score_divisor=SCORES)
    return Merged(heads=1, outputs=2, divisor="tokens")


# Long because a task of each law is made beside its fixed points.
def _derived(context: RunContext) -> Formulas:
    """Coefficients and losses by the engine: Γ ⊗ Ω without noise, Γ = γ 1 with noise, and a shared basis with noise."""
    import sympy as sp

    from ....theory.symbolic import SymbolicTask, fixed_points

    λ, ω, _, σ, _ = symbols()
    Λ, Ω = sp.diag(*λ), sp.diag(*ω)
    γ = _gammas()
    modes = sp.diag(ω[0], 0, 0, ω[1])
    alike = sp.kronecker_product(γ[0] * sp.eye(2), Ω)
    laws = {
        "without noise": (sp.kronecker_product(sp.diag(*γ), Ω), 0, _lengths()[0]),
        "alike": (alike, σ**2, _lengths()[1]),
        "modes": (modes, σ**2, _lengths()[1]),
    }
    formulas: dict[str, Expr] = {}
    for name, (T, noise, lengths) in laws.items():
        task = SymbolicTask(Λ, T, sp.sympify(noise), lengths, outputs=2)
        for point in fixed_points(task, _model(name)):
            label = f"{name}, {point.subset}"
            formulas[f"{label}, loss"] = in_roots(point.loss)
            for d, a in zip(point.subset, point.coefficients, strict=True):
                formulas[f"{label}, a_{d}"] = in_roots(a)
    return formulas


def _stated(context: RunContext, control: str) -> Formulas:
    """All or nothing on Γ ⊗ Ω, and the soft threshold of each subset without its bracket."""
    import sympy as sp

    _, _, _, σ, _ = symbols()
    γ = _gammas()
    clean, noisy = _lengths()
    return exact(
        _all_or_nothing("without noise", γ, sp.Integer(0), _means(clean, control), 2)
        | _all_or_nothing(
            "alike",
            (γ[0], γ[0]),
            σ**2,
            _means(noisy, control, SCORES),
            1 if control == ONE_OUTPUT else 2,
        )
        | _subsets(_means(noisy, control))
    )


def _all_or_nothing(
    name: str,
    γ: tuple[Expr, Expr],
    noise: Expr,
    means: _Means,
    outputs: int,
) -> dict[str, Expr]:
    """m = ℓ tr Γ ω/(tr Γ (gωλ + k Σωλ) + K k σ²), L = tr Γ Σωλ + Kσ² − ℓ tr Γ Σ ωλ² m."""
    λ, ω, _, _, _ = symbols()
    trace, total = sum(γ), ω[0] * λ[0] + ω[1] * λ[1]
    zero = trace * total + 2 * noise
    formulas, drop = {}, 0
    for d in range(2):
        curvature = trace * (means.pairs * ω[d] * λ[d] + means.single * total)
        curvature += outputs * means.single * noise
        m = means.linear * trace * ω[d] / curvature
        formulas[f"{name}, (1, 2), a_{d + 1}"] = in_roots(m)
        drop += means.linear * trace * ω[d] * λ[d] ** 2 * m
    formulas[f"{name}, (1, 2), loss"] = in_roots(zero - drop)
    formulas[f"{name}, (), loss"] = in_roots(zero)
    return formulas


def _subsets(means: _Means) -> dict[str, Expr]:
    """a = (ℓ − k r Z/(ωλ))/(gλ), Z = ℓ Σ r/(g + k Σ r²/(ωλ)), L = Σωλ + Kσ² − ℓ Σ ωλ² a."""
    λ, ω, r, σ, _ = symbols()
    formulas = {}
    for subset in SUBSETS:
        modes = [d - 1 for d in subset]
        shares = sum(r[d] ** 2 / (ω[d] * λ[d]) for d in modes)
        Z = means.linear * sum(r[d] for d in modes)
        Z = Z / (means.pairs + means.single * shares)
        loss = sum(ω[d] * λ[d] for d in range(2)) + 2 * σ**2
        for d in modes:
            bracket = means.linear - means.single * r[d] * Z / (ω[d] * λ[d])
            a = bracket / (means.pairs * λ[d])
            formulas[f"modes, {subset}, a_{d + 1}"] = in_roots(a)
            loss -= means.linear * ω[d] * λ[d] ** 2 * a
        formulas[f"modes, {subset}, loss"] = in_roots(loss)
    return formulas


CLAIMS = (
    proof(
        "modes_proof.kronecker_points",
        "Fixed points for any divisor and empty contexts: subsets on a shared basis, all or nothing on Γ ⊗ Ω",
        r"p\,q_d = \frac{\ell\,\mathrm{tr}\,\Gamma\,\omega_d}{\mathrm{tr}\,\Gamma\,(g \omega_d\lambda_d + k \sum "
        r"\omega\lambda) + K k \sigma^2},\quad a = \frac{\ell - k r Z/(\omega\lambda)}{g\lambda}",
        "coefficients and losses of the engine with the divisors N + 1 and 3, D = K = 2, at length N, and at 0 and 2",
        equation="fixed points of the modes",
        measure=_derived,
        predict=_stated,
        controls=(BY_LENGTH, NO_EMPTY, ONE_OUTPUT),
    ),
)
