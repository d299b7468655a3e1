"""Measures of arrays of checkpoints: one matrix a head, and what a reader is told."""

import json
import re

import numpy as np
import pytest

from attndyn.compare import Measures, measure
from attndyn.compare.metrics.measures import head_names, joined
from attndyn.compare.metrics.spectra import (
    effective_rank,
    fourier_share,
    spectrum,
    subspace_distance,
    subspace_overlap,
)

RNG = np.random.default_rng(8)
T, H, R, D, ROWS = 4, 3, 2, 6, 9
WEIGHTS = {
    "query": RNG.normal(size=(T, H, R, D)),
    "key": RNG.normal(size=(T, H, R, D)),
    "value": RNG.normal(size=(T, H, R, D)),
    "output": RNG.normal(size=(T, H, D, R)),
    "embedding": RNG.normal(size=(T, ROWS, D)),
}
STEPS = [0, 10, 20, 40]


def matrix(kind, t, h):
    if kind == "query_key":
        return WEIGHTS["query"][t, h].T @ WEIGHTS["key"][t, h]
    return WEIGHTS["output"][t, h] @ WEIGHTS["value"][t, h]


@pytest.mark.parametrize("kind", ["query_key", "output_value"])
def test_each_head_is_measured_by_its_own_matrix(kind):
    found = getattr(measure(WEIGHTS, STEPS, rank=2), kind)
    for h in range(H):
        for t in range(T):
            now = matrix(kind, t, h)
            values = spectrum(now).values[:R]
            assert np.isclose(found.effective_rank[t, h], effective_rank(values))
            rest = effective_rank(values, 1)
            assert np.isclose(found.marginalised_rank[t, h], rest)
            distance = subspace_distance(now, matrix(kind, T - 1, h), 2)
            assert np.isclose(found.subspace_distance[t, h], distance, atol=1e-12)
        for t in range(T - 1):
            overlap = subspace_overlap(matrix(kind, t, h), matrix(kind, t + 1, h), 2)
            assert np.isclose(found.overlap[t, h], overlap)
    assert found.names == ("head 0", "head 1", "head 2")


def test_products_are_measured_as_their_factors():
    products = {
        kind: np.array([[matrix(kind, t, h) for h in range(H)] for t in range(T)])
        for kind in ("query_key", "output_value")
    }
    factors = measure(WEIGHTS, STEPS, rank=1).to_dict()
    whole = measure(products, STEPS, rank=1).to_dict()
    for kind in products:
        for name in ("effective_rank", "subspace_distance", "overlap"):
            assert np.allclose(factors[kind][name], whole[kind][name], atol=1e-7), name


def test_the_embedding_is_its_first_rows():
    found = measure(WEIGHTS, STEPS, symbols=7, strongest=2)
    rows = WEIGHTS["embedding"][:, :7]
    assert np.allclose(found.fourier_share, fourier_share(rows, 2))
    ranks = effective_rank(spectrum(rows).values)
    assert np.allclose(found.embedding.effective_rank[:, 0], ranks)
    assert measure(WEIGHTS, STEPS).fourier_share is None


def test_the_rank_of_the_subspaces_is_that_of_each_head_at_the_end():
    equal = np.array([np.eye(4), np.diag([5.0, 1, 0, 0]), np.diag([5.0, 5, 5, 1e-3])])
    last = np.stack([np.eye(4), np.diag([9.0, 1e-3, 1e-3, 0]), np.eye(4)])
    found = measure({"query_key": np.stack([equal, last])}).query_key
    # The second head once has rank 2; the first has the whole effective rank 4, up to rounding.
    assert found.rank.tolist() == [4, 1, 4]
    few = np.stack([np.diag([1.0, 1, 0, 0]), np.eye(4)])[:, None]
    assert measure({"query_key": few}).query_key.rank.tolist() == [2]
    chosen = measure(WEIGHTS, rank={"query_key": 2, "embedding": 3})
    assert chosen.query_key.rank.tolist() == [2, 2, 2]
    assert chosen.embedding.rank.tolist() == [3]


def test_a_matrix_of_zeros_is_told():
    matrices = RNG.normal(size=(3, 2, 4, 4))
    matrices[0] = 0
    found = measure({"output_value": matrices}, [0, 5, 9], rank=2)
    assert np.isnan(found.output_value.effective_rank[0]).all()
    assert np.isnan(found.output_value.overlap[0]).all()
    assert np.isfinite(found.output_value.effective_rank[1:]).all()
    assert "OV is 0 at step 0 (head 0, and 1 more)" in found.notes[0]
    assert found.to_dict()["output_value"]["effective_rank"][0] == [None, None]
    json.dumps(found.to_dict(), allow_nan=False)
    nothing = measure({"output_value": np.zeros((2, 1, 3, 3))})
    assert np.isnan(nothing.output_value.subspace_distance).all()
    assert "–" in repr(nothing)


def test_a_rank_above_the_effective_one_is_told():
    final = np.diag([10.0, 0.1, 0.1, 0.1])
    found = measure({"query_key": np.stack([np.eye(4), final])[:, None]}, rank=3)
    assert "rank 3 is above the effective rank" in found.notes[0]
    assert not measure(
        {"query_key": np.stack([final, np.eye(4)])[:, None]}, rank=3
    ).notes


def test_an_embedding_of_equal_rows_is_told():
    rows = np.stack([np.full((7, 2), 0.3), RNG.normal(size=(7, 2))])
    found = measure({"embedding": rows}, [5, 9], symbols=7, strongest=1)
    assert np.isnan(found.fourier_share).tolist() == [True, False]
    assert "one row of the embedding at step 5" in found.notes[0]


def test_a_head_of_one_singular_value_has_no_marginalised_rank():
    found = measure({"query": np.ones((2, 1, 1, 3)), "key": np.ones((2, 1, 1, 3))})
    assert np.isnan(found.query_key.marginalised_rank).all()
    assert "too few singular values" in found.notes[0]


def test_results_show_save_and_plot_themselves(tmp_path):
    found = measure(WEIGHTS, STEPS, symbols=7, strongest=2)
    assert isinstance(found, Measures)
    assert "4, steps 0 to 40" in repr(found)
    assert "head 2" in repr(found.query_key)
    assert "<table>" in found._repr_html_()
    found.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as arrays:
        ranks = arrays["query_key/effective_rank"]
        assert np.array_equal(ranks, found.query_key.effective_rank)
        assert np.array_equal(arrays["fourier_share"], found.fourier_share)
        assert arrays["output_value/names"].tolist() == list(found.output_value.names)
    ax = found.plot(quantity="overlap", color="red")
    assert len(ax.lines) == 2 * H + 1
    assert ax.lines[0].get_xdata().tolist() == STEPS[:-1]
    assert {line.get_color() for line in ax.lines} == {"red"}
    assert ax.get_xlabel() == "steps"
    assert found.plot(ax, quantity="fourier_share") is ax
    with pytest.raises(ValueError, match="quantity must be one of"):
        found.plot(quantity="loss")


def test_groups_of_heads_are_joined():
    found = measure(WEIGHTS, STEPS, rank=1).query_key
    halves = []
    for part in (slice(0, 1), slice(1, 3)):
        own = {name: WEIGHTS[name][:, part] for name in ("query", "key")}
        names = found.names[part]
        halves.append(measure(own, STEPS, rank=1, names=names).query_key)
    whole = joined(halves)
    assert whole.names == found.names
    for name in ("effective_rank", "subspace_distance", "overlap", "rank"):
        assert np.array_equal(getattr(whole, name), getattr(found, name)), name
    zero = measure({"query_key": np.zeros((1, 2, 3, 3))}).query_key
    assert joined([found, zero][1:] * 2).zeros.tolist() == [[0, k] for k in range(4)]


def test_heads_are_named_by_their_axes():
    assert head_names((2, 2))[-1] == "layer 1 head 1"
    assert head_names((1, 1, 2))[-1] == "axis 0 0 axis 1 0 axis 2 1"
    assert measure({"query_key": np.ones((1, 3, 3))}).query_key.names == ("QK",)


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200, 1e300])
def test_measures_are_the_same_in_any_units(unit):
    scaled = {name: unit * array for name, array in WEIGHTS.items()}
    ours = measure(scaled, STEPS, rank=2).to_dict()
    wanted = measure(WEIGHTS, STEPS, rank=2).to_dict()
    for kind in ("query_key", "output_value", "embedding"):
        for name in ("effective_rank", "marginalised_rank", "subspace_distance"):
            np.testing.assert_allclose(
                ours[kind][name], wanted[kind][name], rtol=1e-9, atol=1e-12
            )


REFUSED = {
    "no names": ({}, {}, "one or more of query, key"),
    "other names": (
        {"W_Q": np.ones((1, 2, 2))},
        {},
        "the name of a weight must be one",
    ),
    "half a product": ({"query": np.ones((1, 2, 2))}, {}, "pass key too"),
    "product and factor": (
        {name: np.ones((1, 2, 2)) for name in ("query_key", "query", "key")},
        {},
        "leave one of them out",
    ),
    "unfit factors": (
        {"query": np.ones((1, 2, 3)), "key": np.ones((1, 3, 3))},
        {},
        "(T, …, r, D) both, not (1, 2, 3) and (1, 3, 3)",
    ),
    "output turned": (
        {"output": np.ones((1, 2, 3)), "value": np.ones((1, 2, 3))},
        {},
        "(T, …, D, r) and (T, …, r, D)",
    ),
    "checkpoints": (
        {"query_key": np.ones((1, 2, 2)), "embedding": np.ones((2, 3, 2))},
        {},
        "1 of query_key, 2 of embedding",
    ),
    "a matrix": ({"query_key": np.ones((2, 2))}, {}, "(T, …, rows, columns)"),
    "nothing": ({"query_key": np.ones((0, 2, 2))}, {}, "without an empty axis"),
    "heads of an embedding": (
        {"embedding": np.ones((1, 1, 3, 3))},
        {},
        "(T, n, D)",
    ),
    "nan": ({"query_key": np.full((1, 2, 2), np.nan)}, {}, "query_key must be finite"),
    "steps back": (
        {"query_key": np.ones((2, 2, 2))},
        {"steps": [5, 5]},
        "must increase",
    ),
    "steps": (
        {"query_key": np.ones((2, 2, 2))},
        {"steps": [5]},
        "steps must have shape",
    ),
    "rank": (
        {"query_key": np.stack([np.eye(2), np.ones((2, 2))])},
        {"rank": 2, "steps": [0, 70]},
        "QK has rank 1 at step 70: choose a rank of at most 1",
    ),
    "rank 0": ({"query_key": np.ones((1, 2, 2))}, {"rank": 0}, "rank must be a whole"),
    "rank of what": (
        {"query_key": np.ones((1, 2, 2))},
        {"rank": {"QK": 1}},
        "the name of a rank must be one of query_key",
    ),
    "rank of nothing": (
        {"query_key": np.ones((1, 2, 2))},
        {"rank": {"query_key": 1, "output_value": 1}},
        "there is a rank for OV, and no weights of it",
    ),
    "symbols of nothing": (
        {"query_key": np.ones((1, 2, 2))},
        {"symbols": 5},
        "symbols = 5 says how many rows of the embedding are numbers, and there is none",
    ),
    "frequencies of nothing": (
        {"embedding": np.ones((1, 4, 2))},
        {"strongest": 2},
        "say how many symbols there are",
    ),
    "no frequency": (
        {"embedding": np.ones((1, 4, 2))},
        {"symbols": 4, "strongest": 0},
        "strongest must be a whole number of at least 1, not 0",
    ),
    "symbols": (
        {"embedding": np.ones((1, 4, 2))},
        {"symbols": 5},
        "more than the 4 rows",
    ),
    "frequencies": (
        {"embedding": np.ones((1, 5, 2))},
        {"symbols": 5},
        "5 strongest frequencies are more than the 2",
    ),
    "names": (
        {"query_key": np.ones((1, 2, 2, 2))},
        {"names": ["a"]},
        "2 heads need as many different names",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_measured_is_refused(case):
    weights, options, words = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(words)):
        measure(weights, **options)
