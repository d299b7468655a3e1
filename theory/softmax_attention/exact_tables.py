"""The exact loss of softmax heads as a function that is made once and then costs microseconds.

The loss is L(0) − 2 Σ_h μ_h g(ω_h) + Σ_hk μ_h μ_k F(ω_h, ω_k): whatever the number of heads, all that has to be
integrated is one function of one ω and one of two. A table holds both as Chebyshev series on −R ≤ ω ≤ R, from the
quadrature of `exact_losses` with so many heads as nodes. Derivatives are those of the series, so that they belong to
one smooth loss: an integrator of stiff equations needs that.

The functions are analytic, with singularities on both sides of ω = 0 at a distance δ that the largest |x_q| sets. The
substitution ω = δ sinh(a z), a = arsinh(R/δ), moves them away from −1 ≤ z ≤ 1 and makes the series short.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...task import Task
from .exact_losses import GRID_ERROR, value_averages
from .losses_of_heads import HeadGradient
from .softmax_moments import LARGEST_DEVIATION
from .softmax_tasks import SoftmaxTask, softmax_task

# Relative to the label's variance: what the averages may be off by for the number of nodes over the query, for the
# last terms of a series.
_NODE_ERROR = 1e-9
_SERIES_ERROR = 1e-10
# Numbers of nodes over the query that are tried until two in a row agree.
_NODES = (10, 13, 17, 22, 28, 36, 46, 60)
# Standard deviations of the scores, at the largest |x_q|, at which the singularities lie: measured at D = 3, 5, 20
# and N = 12 … 1000, where 1.4 and 2 give the shortest series.
_SINGULAR_DEVIATION = 1.6
# e^{−18} = 1.5e-8 is what a series is made for, by the distance of the singularities; it was seen to be better by 10⁴.
_SERIES_EXPONENT, _MORE_TERMS = 18.0, 4
# Of the exponent of an error, for which a series is made that meets it: measured, D = 1 … 20 and N = 5 … 160. The
# weight of the query's own token turns from 0 to 1 within the range of ω.
_SERIES_SHARE, _SERIES_SHARE_WITH_QUERY = 0.9, 1.1
_LONGER = 1.3
_MOST_TERMS = 90
# Standard deviations of the scores, by the first number of nodes, for which a table is made: its cost grows as their
# fifth power or so, and is 10 s at 9.
_LARGEST_OF_TABLE = 11.0
# Terms at the end of a series whose size is that of its error.
_LAST_TERMS = 3


class ExactTable:
    """Chebyshev series of g(ω) (n,) and F(ω, ω′) (n, n) in z, where ω = δ sinh(a z) and a = arsinh(R/δ).

    `bound` is R: beyond it, what stands at ±R is taken. `scale` is δ.
    """

    def __init__(
        self,
        substitution: tuple[float, float],
        signal: FloatArray,
        products: FloatArray,
        zero_loss: float,
    ) -> None:
        self.bound, self.scale = substitution
        self.zero_loss = zero_loss
        self.signal, self.products = signal, products
        # Derivatives by z, and by the first and the second z.
        self.signal_z = _derived(signal)
        self.signal_zz = _derived(self.signal_z)
        self.products_z = _derived(products)
        self.products_zz = _derived(self.products_z)
        self.products_both = _derived(self.products_z.T).T

    def loss(self, ω: FloatArray, μ: FloatArray) -> FloatArray:
        """The loss (…) at ω, μ (…, H)."""
        at = _Basis.of(self, ω)
        F = at.products(self.products)
        quadratic = np.sum(μ * _times(F, μ), axis=-1)
        signal = np.sum(μ * at.series_from_zero(self.signal), axis=-1)
        return np.asarray(self.zero_loss - 2 * signal + quadratic)

    def gradient(self, ω: FloatArray, μ: FloatArray) -> HeadGradient:
        """Its derivatives by ω and μ, at ω, μ (…, H)."""
        at = _Basis.of(self, ω)
        by_first = at.slope[..., None] * at.products(self.products_z)
        g_slope = at.slope * at.series(self.signal_z)
        by_ω = 2 * μ * (_times(by_first, μ) - g_slope)
        F = at.products(self.products)
        by_μ = 2 * (_times(F, μ) - at.series_from_zero(self.signal))
        return HeadGradient(by_ω, by_μ)

    def hessian(self, ω: FloatArray, μ: FloatArray) -> FloatArray:
        """Its second derivatives (2H, 2H) by (ω, μ), at ω, μ (H,)."""
        at = _Basis.of(self, ω)
        by_z = at.products(self.products_z)
        by_z_z = at.products(self.products_zz)
        by_first = at.slope[:, None] * by_z
        by_first_twice = at.slope[:, None] ** 2 * by_z_z + at.bend[:, None] * by_z
        by_both = np.outer(at.slope, at.slope) * at.products(self.products_both)
        g_by_z = at.series(self.signal_z)
        g_slope = at.slope * g_by_z
        g_bend = at.slope**2 * at.series(self.signal_zz)
        g_bend += at.bend * g_by_z

        by_ω_ω = 2 * np.outer(μ, μ) * by_both
        by_ω_ω += np.diag(2 * μ * (by_first_twice @ μ - g_bend))
        by_ω_μ = 2 * μ[:, None] * by_first + np.diag(2 * (by_first @ μ - g_slope))
        by_μ_μ = 2 * at.products(self.products)
        return np.block([[by_ω_ω, by_ω_μ], [by_ω_μ.T, by_μ_μ]])


class _Basis(NamedTuple):
    """Chebyshev polynomials (…, H, n) at z(ω), what each lacks to its value at 0, and dz/dω, d²z/dω² (…, H)."""

    polynomials: FloatArray
    from_zero: FloatArray
    slope: FloatArray
    bend: FloatArray

    @classmethod
    def of(cls, table: ExactTable, ω: FloatArray) -> "_Basis":
        """Those of a table at ω (…, H)."""
        δ = table.scale
        a = math.asinh(table.bound / δ)
        inside = np.clip(ω, -table.bound, table.bound)
        # At the bound the two functions may differ in the last digit, and no angle has a sine above one.
        z = np.clip(np.arcsinh(inside / δ) / a, -1, 1)
        root = np.sqrt(inside**2 + δ**2)
        # With z = sin θ, T_i is (−1)^{i/2} cos iθ for even i and (−1)^{(i−1)/2} sin iθ for odd i: both, and the
        # differences to θ = 0, keep their digits where z is small.
        order = np.arange(len(table.signal))
        is_odd, sign = order % 2 == 1, np.where(order % 4 < 2, 1.0, -1.0)
        θ = np.arcsin(z)[..., None]
        even = -2 * np.sin(order * θ / 2) ** 2
        from_zero = np.asarray(
            sign * np.where(is_odd, np.sin(order * θ), even), dtype=np.float64
        )
        at_zero = np.asarray(np.where(is_odd, 0.0, sign), dtype=np.float64)
        slope, bend = 1 / (a * root), -inside / (a * root**3)
        return cls(from_zero + at_zero, from_zero, slope, bend)

    def series(self, coefficients: FloatArray) -> FloatArray:
        """Σ_i c_i T_i(z_h) (…, H)."""
        return np.asarray(self.polynomials[..., : len(coefficients)] @ coefficients)

    def series_from_zero(self, coefficients: FloatArray) -> FloatArray:
        """Σ_i c_i (T_i(z_h) − T_i(0)) (…, H): g itself, which is 0 at ω = 0, where the series leaves its error."""
        return np.asarray(self.from_zero[..., : len(coefficients)] @ coefficients)

    def products(self, coefficients: FloatArray) -> FloatArray:
        """Σ_ij c_ij T_i(z_h) T_j(z_k) (…, H, H)."""
        rows, columns = coefficients.shape
        first = self.polynomials[..., :rows] @ coefficients
        second = np.swapaxes(self.polynomials[..., :columns], -1, -2)
        return np.asarray(first @ second)


def _derived(coefficients: FloatArray) -> FloatArray:
    """The series of the derivative, by z or by the first z."""
    return np.asarray(chebyshev.chebder(coefficients))


def _times(matrix: FloatArray, μ: FloatArray) -> FloatArray:
    """Σ_k M_hk μ_k (…, H)."""
    return np.asarray(np.sum(matrix * μ[..., None, :], axis=-1))


def exact_table(
    task: Task, bound: float, *, query_token: bool = False, refined: int = 0
) -> ExactTable:
    """The table for |ω| ≤ `bound`, with 8 more nodes and terms for each time that it is `refined`.

    ValueError where the scores are too large for the quadrature; ArithmeticError where they are too large for a table
    at a bearable cost, or the series would be too long.
    """
    heads = softmax_task(task, None, query_token)
    _refuse_large_scores(heads, bound)
    nodes = _enough_nodes(task, heads, bound) + 8 * refined
    substitution = (bound, _singular_distance(heads, nodes))
    terms = _terms(substitution, _SERIES_EXPONENT) + _MORE_TERMS + 8 * refined
    while terms <= _MOST_TERMS:
        table = _table_of(task, heads, substitution, (nodes, terms))
        last = np.max(np.abs(table.products[-_LAST_TERMS:]), initial=0.0)
        last = max(last, np.max(np.abs(table.signal[-_LAST_TERMS:])))
        if last <= _SERIES_ERROR * heads.label_variance:
            return table
        terms = math.ceil(_LONGER * terms)
    raise ArithmeticError(
        f"the exact loss up to |omega| = {bound:.3g} needs a series of more than {_MOST_TERMS} terms: start with "
        "smaller omega"
    )


def _refuse_large_scores(heads: SoftmaxTask, bound: float) -> None:
    """ArithmeticError where the scores at |ω| = R are too large for a table; the quadrature refuses yet larger ones."""
    deviation = bound * float(np.max(heads.queries.rule(_NODES[0]).deviations))
    if _LARGEST_OF_TABLE < deviation <= LARGEST_DEVIATION:
        raise ArithmeticError(
            f"the exact flow leads to |omega| up to {bound:.3g}, with scores of a standard deviation of up to "
            f"{deviation:.3g}, and is followed up to {_LARGEST_OF_TABLE:g}: ask for shorter times or a longer "
            "context, or sample the task"
        )


def _enough_nodes(task: Task, heads: SoftmaxTask, bound: float) -> int:
    """A number of nodes over the query that is enough for heads of ω = ±R."""
    ω = np.array([bound, -bound])
    coarser = value_averages(task, ω, query_token=heads.query_token, nodes=_NODES[0])
    for nodes in _NODES[1:]:
        finer = value_averages(task, ω, query_token=heads.query_token, nodes=nodes)
        difference = np.max(np.abs(finer.products - coarser.products))
        difference = max(difference, np.max(np.abs(finer.signal - coarser.signal)))
        if difference <= _NODE_ERROR * heads.label_variance:
            return nodes
        coarser = finer
    return _NODES[-1]


def table_within(
    task: Task,
    bound: float,
    error: float,
    *,
    nodes: int,
    query_token: bool = False,
    matrix: ArrayLike | None = None,
) -> ExactTable:
    """A table for |ω| ≤ `bound` of an accuracy that is asked for: so many nodes over the query, grids for this error.

    Series and grids are made for about `error`, relative to the label's variance. `matrix` is A of the heads.
    """
    heads = softmax_task(task, matrix, query_token)
    substitution = (bound, _singular_distance(heads, nodes))
    share = _SERIES_SHARE_WITH_QUERY if query_token else _SERIES_SHARE
    terms = _terms(substitution, -share * math.log(error))
    return _table_of(task, heads, substitution, (nodes, terms), _Grids(matrix, error))


class _Grids(NamedTuple):
    """The matrix A of the heads, and what the grids over tokens may be off by."""

    matrix: ArrayLike | None = None
    error: float = GRID_ERROR


def _singular_distance(heads: SoftmaxTask, nodes: int) -> float:
    """δ, the distance from ω = 0 at which the functions are singular."""
    rule = heads.queries.rule(nodes)
    return _SINGULAR_DEVIATION / float(np.max(rule.deviations))


def _terms(substitution: tuple[float, float], exponent: float) -> int:
    """The number of terms of a series that is off by e^{−exponent}, for R and δ."""
    bound, δ = substitution
    a = math.asinh(bound / δ)
    # A strip of half width π/(2a) around −1 … 1 holds an ellipse whose semi-axes add up to e^{arsinh(π/2a)}.
    return math.ceil(exponent / math.asinh(math.pi / (2 * a)))


def _table_of(
    task: Task,
    heads: SoftmaxTask,
    substitution: tuple[float, float],
    sizes: tuple[int, int],
    grids: _Grids | None = None,
) -> ExactTable:
    """The table with so many nodes over the query and terms, for R and δ."""
    bound, δ = substitution
    nodes, terms = sizes
    grids = grids or _Grids()
    z = chebyshev.chebpts1(terms)
    ω = δ * np.sinh(math.asinh(bound / δ) * z)
    averages = value_averages(
        task,
        ω,
        query_token=heads.query_token,
        matrix=grids.matrix,
        nodes=nodes,
        error=grids.error,
    )
    # c_i = (2 − [i = 0])/n Σ_j f(z_j) T_i(z_j)
    transform = chebyshev.chebvander(z, terms - 1).T * 2 / terms
    transform[0] /= 2
    signal = transform @ averages.signal
    products = transform @ averages.products @ transform.T
    products = (products + products.T) / 2
    if not heads.query_token:
        # Without the query's token u → −u makes g odd, and F(−ω, −ω′) = F(ω, ω′).
        order = np.arange(terms)
        signal[order % 2 == 0] = 0
        products[(order[:, None] + order) % 2 == 1] = 0
    return ExactTable((bound, δ), signal, products, heads.zero_loss)
