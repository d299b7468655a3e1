"""Spectral measures, against their definitions on one matrix at a time."""

import math
import re

import numpy as np
import pytest

from attndyn.compare.metrics.spectra import (
    Spectrum,
    distances_along,
    effective_rank,
    fourier_power,
    fourier_share,
    matrix_rank,
    overlaps_along,
    spectrum,
    spectrum_of_product,
    subspace_distance,
    subspace_overlap,
)

RNG = np.random.default_rng(5)


def rank_by_definition(matrix, without=0):
    values = np.linalg.svd(matrix, compute_uv=False)[without:]
    shares = [value / values.sum() for value in values]
    return math.exp(-sum(p * math.log(p) for p in shares if p > 0))


def projector(matrix, rank):
    """I − V_kV_kᵀ, from the eigenvectors of MᵀM."""
    vectors = np.linalg.eigh(matrix.T @ matrix)[1][:, ::-1][:, :rank]
    return np.eye(matrix.shape[1]) - vectors @ vectors.T


def best_of_rank(matrix, rank):
    left, values, right = np.linalg.svd(matrix)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@pytest.mark.parametrize("shape", [(4, 4), (7, 3), (3, 7)])
def test_effective_ranks_of_many_are_those_of_each(shape):
    matrices = RNG.normal(size=(2, 3, *shape))
    values = spectrum(matrices).values
    for without in (0, 1, 2):
        found = effective_rank(values, without)
        wanted = [[rank_by_definition(m, without) for m in row] for row in matrices]
        assert np.allclose(found, wanted, rtol=1e-12)
    # First powers: shares of squares give something else.
    assert not np.allclose(effective_rank(values**2), effective_rank(values), rtol=0.01)


def test_the_effective_rank_is_between_one_and_the_rank_whatever_the_scale():
    values = RNG.exponential(size=(200, 6)) ** 3
    values[::2, 4:] = 0
    ranks = effective_rank(values)
    assert np.all((ranks >= 1) & (ranks <= matrix_rank(values) + 1e-12))
    assert np.allclose(effective_rank(1e-200 * values), ranks, rtol=1e-12)
    assert np.allclose(effective_rank(values[:, ::-1]), ranks, rtol=1e-13)


def test_nothing_is_defined_at_zero():
    assert np.isnan(effective_rank(np.zeros(3)))
    assert np.isnan(effective_rank([1.0, 0.0], without=1))
    assert np.isnan(fourier_share(np.ones((7, 2)) / 3, strongest=1))
    assert matrix_rank(np.zeros((2, 3))).tolist() == [0, 0]


@pytest.mark.parametrize("inner", [1, 3, 5, 8])
def test_a_product_has_the_spectrum_of_its_matrix(inner):
    left, right = RNG.normal(size=(2, 5, inner)), RNG.normal(size=(2, inner, 6))
    found, wanted = spectrum_of_product(left, right), spectrum(left @ right)
    count = min(inner, 5)
    assert found.values.shape[-1] == count
    assert np.allclose(found.values, wanted.values[..., :count], atol=1e-12)
    k = min(inner, 2)
    assert np.allclose(subspace_overlap(found, wanted, k), 1, atol=1e-12)
    assert np.allclose(subspace_distance(found, wanted, k), 0, atol=1e-7)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_subspace_distance_and_overlap_are_as_defined(rank):
    now, final = RNG.normal(size=(3, 5, 6)), RNG.normal(size=(3, 5, 6))
    distances = subspace_distance(now, final, rank)
    overlaps = subspace_overlap(now, final, rank)
    for k in range(3):
        best = best_of_rank(final[k], rank)
        outside = np.linalg.norm(best @ projector(now[k], rank))
        assert math.isclose(distances[k], outside / np.linalg.norm(best), rel_tol=1e-9)
        planes = [np.eye(6) - projector(m, rank) for m in (now[k], final[k])]
        assert math.isclose(
            overlaps[k], np.trace(planes[0] @ planes[1]) / rank, rel_tol=1e-9
        )
    # In place of M∞,k all of M∞ would leave more outside.
    whole = np.linalg.norm(final[0] @ projector(now[0], rank))
    assert not math.isclose(
        whole / np.linalg.norm(final[0]), distances[0], rel_tol=1e-3
    )


def test_a_matrix_of_full_row_rank_is_at_distance_zero_without_a_rank():
    """Why k matters: the rows of a square matrix span everything."""
    now, final = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 4))
    assert subspace_distance(now, final, 4) < 1e-14
    assert subspace_distance(now, final, 2) > 0.1


def test_distances_do_not_depend_on_bases():
    now, final = RNG.normal(size=(5, 6)), RNG.normal(size=(5, 6))
    turn = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    mixed = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    plain = subspace_distance(now, final, 2)
    assert math.isclose(plain, subspace_distance(now @ turn, final @ turn, 2))
    assert math.isclose(plain, subspace_distance(mixed @ now, 3 * final, 2))
    small = subspace_distance(now + 1e-9 * final, now, 2)
    assert 1e-11 < small < 1e-7  # 1 − overlap would lose it in rounding


def test_the_scale_of_a_matrix_does_not_matter():
    now, final = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 4))
    distance, share = subspace_distance(now, final, 2), fourier_share(final, 1)
    for scale in (1e-200, 1e200):
        other = subspace_distance(scale * now, scale * final, 2)
        assert math.isclose(other, distance, rel_tol=1e-9)
        assert math.isclose(fourier_share(scale * final, 1), share, rel_tol=1e-9)


def test_series_compare_with_the_last_and_the_next_checkpoint():
    matrices = RNG.normal(size=(4, 2, 3, 3))
    found = spectrum(matrices)
    distances, overlaps = distances_along(found, 2), overlaps_along(found, 2)
    assert distances.shape == (4, 2)
    assert overlaps.shape == (3, 2)
    assert np.allclose(distances[-1], 0)
    assert np.allclose(distances[1], subspace_distance(matrices[1], matrices[3], 2))
    assert np.allclose(overlaps[2], subspace_overlap(matrices[2], matrices[3], 2))
    matrices[0, 1] = 0
    found = spectrum(matrices)
    assert np.isnan(distances_along(found, 2)[0]).tolist() == [False, True]
    assert np.isnan(overlaps_along(found, 2)[:, 1]).tolist() == [True, False, False]


def share_by_definition(embedding, strongest):
    """Power of each frequency by sums over rows, without an FFT."""
    rows = len(embedding)
    power = []
    for frequency in range(1, rows // 2 + 1):
        waves = {frequency, rows - frequency}
        power.append(
            sum(
                np.sum(
                    np.abs(
                        np.exp(2j * np.pi * wave * np.arange(rows) / rows) @ embedding
                    )
                    ** 2
                )
                for wave in waves
            )
        )
    return sum(sorted(power)[-strongest:]) / sum(power)


@pytest.mark.parametrize("rows", [3, 8, 9])
def test_the_fourier_share_is_as_defined(rows):
    embeddings = 1 + RNG.normal(size=(2, rows, 4))
    shares = fourier_share(embeddings, strongest=1)
    wanted = [share_by_definition(embedding, 1) for embedding in embeddings]
    assert np.allclose(shares, wanted, rtol=1e-12)
    assert np.allclose(fourier_power(embeddings).sum(axis=-1), 1)
    assert np.allclose(fourier_share(embeddings, rows // 2), 1)
    # A translation of the rows, and of every column, changes nothing.
    moved = np.roll(embeddings, 2, axis=1) + 7
    assert np.allclose(fourier_share(moved, 1), shares, rtol=1e-12)


def test_what_is_no_measure_is_refused():
    two = np.eye(2)
    cases = [
        (
            lambda: subspace_distance(two, two, 3),
            "needs matrices of at least that rank",
        ),
        (lambda: subspace_distance(np.ones((2, 2)), two, 2), "has rank 1"),
        (lambda: subspace_overlap(two, np.ones((2, 2)), 2), "has rank 1"),
        (lambda: subspace_overlap(two, two, 0), "rank must be a whole number"),
        (lambda: effective_rank([1.0, 2.0], without=2), "leave out 1 at most"),
        (lambda: effective_rank([1.0, -2.0]), "must not be negative"),
        (lambda: effective_rank([np.nan]), "finite"),
        (lambda: effective_rank([]), "at least 1"),
        (lambda: spectrum([1.0, 2.0]), "(…, rows, columns)"),
        (lambda: spectrum(np.zeros((0, 2))), "(…, rows, columns)"),
        (lambda: spectrum([[np.inf]]), "finite"),
        (lambda: spectrum_of_product(two, np.eye(3)), "share their inner axis"),
        (lambda: fourier_share(np.ones((2, 2)), 1), "3 at least"),
        (lambda: fourier_share(RNG.normal(size=(7, 2)), 4), "choose fewer"),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=re.escape(words)):
            call()


def test_half_precision_is_computed_in_doubles():
    matrices = RNG.normal(size=(3, 4, 4)).astype(np.float16)
    found = spectrum(matrices)
    assert isinstance(found, Spectrum)
    assert found.values.dtype == np.float64
    exact = np.linalg.svd(matrices.astype(np.float64), compute_uv=False)
    assert np.allclose(found.values, exact, rtol=1e-14)
