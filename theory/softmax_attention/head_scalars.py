"""Two numbers for each softmax head: ω_h of its scores and μ_h of its value, read from weights or given."""

from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array


def checked_head_scalars(
    omega: ArrayLike, mu: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """ω and μ of H ≥ 1 heads, both (H,) or both (points, H); ValueError otherwise."""
    ω = finite_array(omega, "omega", "(H,)", "(points, H)")
    μ = finite_array(mu, "mu", "(H,)", "(points, H)")
    if ω.shape != μ.shape:
        raise ValueError(
            f"omega and mu must have one entry for each head: omega has shape {ω.shape} and mu {μ.shape}"
        )
    return ω, μ
