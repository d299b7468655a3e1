"""Fixed points: published losses, vanishing forces, and Hessian indices against eigenvalues computed here."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.theory import fixed_point, fixed_points, population

PAPER = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)


def random_task(seed, dimension, commuting=False):
    rng = np.random.default_rng(seed)
    Λ, Ω = (
        root @ root.T / dimension + 0.3 * np.eye(dimension)
        for root in rng.normal(size=(2, dimension, dimension))
    )
    if commuting:
        Λ, Ω = (
            np.diag(rng.uniform(0.5, 3, dimension)),
            np.diag(rng.uniform(0.5, 3, dimension)),
        )
    return Task(
        covariance=Λ,
        teacher_covariance=Ω,
        noise_variance=rng.uniform(0, 1),
        context_length=int(rng.integers(1, 9)),
    )


def restricted(model, weights):
    """The trained blocks, value v (H,) and matrices without the entries that join y to x_q."""
    return {
        name: array[..., -1] if name == "value" else array[..., :-1]
        for name, array in weights.items()
    } | (
        {"key_query": weights["key_query"][:, :-1, :-1]}
        if isinstance(model, Merged)
        else {}
    )


def gradient(task, model, blocks):
    """∂L/∂θ from the chain rule on L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M), holomorphic in the weights."""
    moments, v = population(task, model), blocks["value"]
    U = (
        blocks["key_query"]
        if "key_query" in blocks
        else np.einsum("hri,hrj->hij", blocks["key"], blocks["query"])
    )
    M = np.einsum("h,hij->ij", v, U)
    slope = 2 * (moments.A @ M @ moments.Lambda - moments.B)
    parts = {"value": np.einsum("ij,hij->h", slope, U)}
    if "key_query" in blocks:
        return parts | {"key_query": np.einsum("h,ij->hij", v, slope)}
    parts["key"] = np.einsum("h,ij,hrj->hri", v, slope, blocks["query"])
    parts["query"] = np.einsum("h,ij,hri->hrj", v, slope, blocks["key"])
    return parts


def hessian(task, model, weights):
    """The Hessian by complex step through the gradient: exact to rounding."""
    blocks = restricted(model, weights)
    names, sizes = list(blocks), [array.size for array in blocks.values()]
    flat = np.concatenate([blocks[name].ravel() for name in names]).astype(complex)
    rows = []
    for unit in np.eye(len(flat)):
        pieces = np.split(flat + 1e-30j * unit, np.cumsum(sizes)[:-1])
        moved = {
            name: piece.reshape(blocks[name].shape)
            for name, piece in zip(names, pieces, strict=True)
        }
        slope = gradient(task, model, moved)
        rows.append(
            np.concatenate([slope[name].ravel() for name in names]).imag / 1e-30
        )
    return np.array(rows)


def negative_eigenvalues(task, model, weights):
    values = np.linalg.eigvalsh(hessian(task, model, weights))
    threshold = 1e-9 * np.max(np.abs(values))
    return int(np.sum(values < -threshold))


def packings(subset, heads, rank):
    """Every way to share the subset out over at most `heads` heads of at most `rank` directions."""
    if not subset:
        yield ()
        return
    first, rest = subset[0], subset[1:]
    for size in range(min(rank, len(subset))):
        for others in itertools.combinations(rest, size):
            left = tuple(d for d in rest if d not in others)
            for tail in (
                packings(left, heads - 1, rank) if heads > 1 else [()] * (not left)
            ):
                yield ((first, *others), *tail)


def every_point(task, model):
    for point in fixed_points(task, model):
        for packing in packings(point.subset, model.head_count, model.rank):
            yield fixed_point(task, model, point.subset, packing)


def test_published_losses_and_subsets():
    points = list(fixed_points(PAPER, Separate(heads=4)))
    greedy = [
        point
        for point in points
        if point.subset == tuple(range(1, len(point.subset) + 1))
    ]
    published = [0.13599507, 0.20980460, 0.37737216, 0.64057971, 1]
    assert np.allclose([point.loss for point in greedy], published, atol=5e-9)
    assert [point.kind for point in greedy] == ["minimum"] + ["degenerate saddle"] * 4
    assert len(points) == 16
    assert [point.loss for point in points] == sorted(point.loss for point in points)


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from([(4, 1), (2, 2), (1, 3), (2, 1)]),
)
def test_force_vanishes_and_loss_and_weights_agree(seed, commuting, size):
    task, model = (
        random_task(seed, 3, commuting),
        Separate(heads=size[0], rank=size[1], divisor="tokens"),
    )
    moments = population(task, model)
    for point in every_point(task, model):
        slope = gradient(task, model, restricted(model, point.weights))
        assert max(np.max(np.abs(part)) for part in slope.values()) < 1e-11
        assert np.isclose(moments.loss(point.M), point.loss, rtol=1e-10)
        a, B = model.heads(point.weights)
        assert np.allclose(np.einsum("hi,hjd->ijd", a, B)[-1, :-1], point.M, atol=1e-12)
        assert (point.coefficients is None) == (not commuting)


def test_a_partly_learned_direction_is_no_fixed_point():
    model = Separate(heads=4)
    weights = fixed_point(PAPER, model, (1, 3)).weights
    weights["value"] *= 1.01
    slope = gradient(PAPER, model, restricted(model, weights))
    assert max(np.max(np.abs(part)) for part in slope.values()) > 1e-3


@pytest.mark.parametrize("size", [(4, 1), (2, 2), (3, 3)])
def test_weights_are_balanced_and_full_size(size):
    model = Separate(heads=size[0], rank=size[1])
    for point in every_point(random_task(3, 3), model):
        weights = point.weights
        assert {name: array.shape for name, array in weights.items()} == model.shapes(3)
        assert not np.any(weights["value"][:, :-1])
        assert not np.any(weights["key"][..., -1])
        assert not np.any(weights["query"][..., -1])
        k, q = (np.sum(weights[name] ** 2, axis=-1) for name in ("key", "query"))
        assert np.allclose(k, q, rtol=1e-12)
        assert np.allclose(weights["value"][:, -1] ** 2, k.sum(axis=1), rtol=1e-12)
        assert np.count_nonzero(weights["value"]) == len(point.assignment)


INDEX_CASES = [
    (seed, dimension, commuting, heads, rank)
    for seed, (dimension, heads, rank) in enumerate(
        [(2, 3, 1), (3, 3, 1), (3, 2, 2), (3, 2, 3), (4, 2, 1), (3, 1, 4)]
    )
    for commuting in (False, True)
]


@pytest.mark.parametrize("case", INDEX_CASES, ids=str)
def test_hessian_index_counts_negative_eigenvalues(case):
    seed, dimension, commuting, heads, rank = case
    task, model = (
        random_task(seed, dimension, commuting),
        Separate(heads=heads, rank=rank),
    )
    for point in every_point(task, model):
        assert point.hessian_index == negative_eigenvalues(
            task, model, point.weights
        ), point
        full = len(point.subset) == min(dimension, heads * rank)
        zero = "minimum" if full else "degenerate saddle"
        assert point.kind == ("strict saddle" if point.hessian_index else zero)


def wrong_indices(point, gains, rank):
    """Formulas for the Hessian index with one named mistake each."""
    inside = [d - 1 for d in point.subset]
    outside = [j for j in range(len(gains)) if j not in inside]
    idle = sum(rank - len(head) for head in point.assignment)
    larger = sum(gains[j] > gains[d] for d in inside for j in outside)
    smaller = sum(gains[j] < gains[d] for d in inside for j in outside)
    return {
        "right": larger + idle * len(outside),
        "idle pairs left out": larger,
        "smaller gains": smaller + idle * len(outside),
        "idle pairs counted once": larger + idle,
        "rotations left out": idle * len(outside),
        "idle pairs of empty heads": larger + (2 * rank - len(inside)) * len(outside),
    }


def test_eigenvalues_reject_wrong_index_formulas():
    task, model = random_task(7, 4), Separate(heads=2, rank=2)
    gains = population(task, model).gains
    rejected = set()
    for point in every_point(task, model):
        counted = negative_eigenvalues(task, model, point.weights)
        candidates = wrong_indices(point, gains, rank=2)
        rejected |= {name for name, index in candidates.items() if index != counted}
    assert rejected == set(candidates) - {"right"}


def test_index_belongs_to_the_weights_and_not_to_the_map():
    task, model = random_task(2, 3), Separate(heads=2, rank=1)
    weights = fixed_point(task, model, (1,)).weights
    weights["value"][1, -1] = 0.3  # an idle head that still fixes the map
    assert fixed_point(task, model, (1,)).hessian_index == 0
    assert negative_eigenvalues(task, model, weights) == 2


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("commuting", [False, True])
def test_merged_has_a_minimum_and_a_saddle(heads, commuting):
    task, model = random_task(heads, 3, commuting), Merged(heads=heads)
    minimum, saddle = fixed_points(task, model)
    assert (minimum.kind, saddle.kind) == ("minimum", "strict saddle")
    assert (minimum.subset, saddle.subset) == ((1, 2, 3), ())
    assert saddle.hessian_index == heads
    for point in (minimum, saddle):
        assert negative_eigenvalues(task, model, point.weights) == point.hessian_index
        slope = gradient(task, model, restricted(model, point.weights))
        assert max(np.max(np.abs(part)) for part in slope.values()) < 1e-11
        assert {
            name: array.shape for name, array in point.weights.items()
        } == model.shapes(3)
    values = np.linalg.eigvalsh(hessian(task, model, saddle.weights))
    norm = np.linalg.norm(population(task, model).B)
    assert np.allclose(values[:heads], -2 * norm, rtol=1e-12)
    assert np.allclose(values[-heads:], 2 * norm, rtol=1e-12)
    assert np.isclose(
        minimum.weights["value"][0, -1],
        np.linalg.norm(minimum.weights["key_query"][0]),
        rtol=1e-12,
    )


def test_equal_gains_give_a_continuum_of_fixed_points():
    task, model = Task(eigenvalues=[2, 2, 1], context_length=5), Separate(heads=3)
    points = {point.subset: point for point in fixed_points(task, model)}
    assert sorted(points) == [(), (1,), (1, 2), (1, 2, 3), (1, 3), (3,)]
    assert {subset for subset, point in points.items() if point.continuum} == {
        (1,),
        (1, 3),
    }
    angle = 0.7
    turned = points[1,].M[0, 0] * np.outer(*2 * [[np.cos(angle), np.sin(angle), 0]])
    assert (
        np.max(np.abs(population(task, model).residual_correlation(turned) @ turned.T))
        < 1e-14
    )
    assert np.isclose(population(task, model).loss(turned), points[1,].loss, rtol=1e-14)
    for point in points.values():
        assert negative_eigenvalues(task, model, point.weights) == point.hessian_index
    assert fixed_point(task, model, (2,)).continuum


def test_the_limit_on_rank_makes_the_greedy_map_a_minimum():
    points = list(fixed_points(PAPER, Separate(heads=1, rank=2)))
    assert len(points) == 1 + 4 + 6
    assert points[0].subset == (1, 2)
    assert [point.subset for point in points if point.kind == "minimum"] == [(1, 2)]
    assert [point.subset for point in points if point.kind == "degenerate saddle"] == [
        ()
    ]


def test_long_plateaus_of_full_heads_only():
    task = Task(eigenvalues=range(8, 0, -1), context_length=20)
    for rank, long in (
        (1, range(9)),
        (2, (0, 2, 4, 6, 8)),
        (4, (0, 4, 8)),
        (8, (0, 8)),
    ):
        flat = [
            p
            for p in fixed_points(task, Separate(heads=9, rank=rank))
            if p.hessian_index == 0
        ]
        assert sorted(len(point.subset) for point in flat) == list(long)
        assert all(
            point.subset == tuple(range(1, len(point.subset) + 1)) for point in flat
        )


def test_packing_defaults_to_the_fewest_heads_in_order_of_gain():
    model = Separate(heads=4, rank=2)
    assert fixed_point(PAPER, model, (4, 1, 3)).assignment == ((1, 3), (4,))
    assert fixed_point(PAPER, model, [1, 3], assignment=[[3], [1]]).assignment == (
        (3,),
        (1,),
    )


def test_large_problems_are_lazy():
    started = time.process_time()
    λ = np.random.default_rng(0).uniform(0.1, 1, 200)
    points = list(
        itertools.islice(
            fixed_points(Task(λ, context_length=50), Separate(heads=40, rank=3)), 1000
        )
    )
    assert len({point.subset for point in points}) == 1000
    assert points[0].weights["key"].shape == (40, 3, 201)
    assert time.process_time() - started < 5  # 0.3 s on an idle machine


@pytest.mark.parametrize(
    "packing",
    [[(1,)], [(1, 2, 3)], [(1,), (2,), (3,)], [(1, 2), (3, 3)], [(1, 2), (3,), ()]],
)
def test_refuses_packings_that_do_not_fit(packing):
    with pytest.raises(ValueError, match="each direction once"):
        fixed_point(PAPER, Separate(heads=2, rank=2), (1, 2, 3), packing)


def test_refuses_what_has_no_such_fixed_point():
    with pytest.raises(ValueError, match="no fixed point with exactly"):
        fixed_point(PAPER, Separate(heads=1, rank=2), (1, 2, 3))
    with pytest.raises(ValueError, match="no fixed point with exactly"):
        fixed_point(PAPER, Merged(heads=3), (1, 2))
    with pytest.raises(ValueError, match="merged heads take no assignment"):
        fixed_point(PAPER, Merged(heads=3), (1, 2, 3, 4), assignment=[(1, 2, 3, 4)])
    with pytest.raises(ValueError, match="softmax"):
        fixed_points(PAPER, Merged(heads=3, softmax=True))
    with pytest.raises(ValueError, match="not for Tied"):
        fixed_points(PAPER, Tied())


class Tied:
    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]
