"""Read-outs in both conventions: they predict the same, and pay the same penalty."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.simulate import ridge_fit, sample_summaries
from attndyn.theory.asymptotics import readout

D, P = 3, 50


def paper_objective(Γ, λ, x, y, query, target):
    """(1/P) Σ (y − x_qᵀ Γ h)² + (λ/D) ‖Γ‖² with h = (D β, s), of contexts x (P, N, D) and y (P, N)."""
    h = np.column_stack(
        [D * np.einsum("pn,pnd->pd", y, x) / y.shape[1], np.mean(y**2, axis=1)]
    )
    residual = target - np.einsum("pi,ij,pj->p", query, Γ, h)
    return np.mean(residual**2) + λ / D * np.sum(Γ**2)


def objective(both, x, y, query, target):
    """The same in this package's convention."""
    h = np.column_stack(
        [np.einsum("pn,pnd->pd", y, x) / y.shape[1], np.mean(y**2, axis=1)]
    )
    M = np.zeros((D + 1, D))
    M[: len(both.map)] = both.map
    residual = target - np.einsum("pj,ji,pi->p", h, M, query)
    row = both.label_weight * np.sum(M[D] ** 2)
    return np.mean(residual**2) + both.ridge * (np.sum(M[:D] ** 2) + row)


def test_both_conventions_have_one_objective():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(P, 4, D)), generator.normal(size=(P, 4))
    query, target = generator.normal(size=(P, D)), generator.normal(size=P)
    numbers = (x, y, query, target)
    for Γ in (generator.normal(size=(D, D + 1)), np.eye(D, D + 1)):
        both = readout(gamma=Γ, ridge=0.7)
        assert both.paper_ridge == 0.7
        known = paper_objective(Γ, 0.7, *numbers)
        assert objective(both, *numbers) == pytest.approx(known, rel=1e-13)


@pytest.mark.parametrize("rows", [D, D + 1])
def test_the_way_there_and_back_leads_to_the_same(rows):
    M = np.random.default_rng(1).normal(size=(rows, D))
    there = readout(map=M, ridge=0.2)
    back = readout(gamma=there.gamma, ridge=there.paper_ridge)
    np.testing.assert_allclose(back.map[:rows], M, rtol=1e-15)
    np.testing.assert_array_equal(back.map[rows:], 0)
    assert back.ridge == pytest.approx(there.ridge, rel=1e-15)
    assert there.label_weight == back.label_weight == D**2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass map or gamma, one of the two: neither given"),
        ({"map": np.eye(2), "gamma": np.eye(2, 3)}, "one of the two: both given"),
        ({"gamma": np.eye(2)}, r"gamma must have shape \(D, D\+1\), not \(2, 2\)"),
        ({"map": np.eye(2, 3)}, r"map must have shape"),
        ({"map": [[np.nan]]}, "map must be finite"),
        ({"map": [[1.0]], "ridge": -1}, "ridge must be zero or more"),
    ],
)
def test_what_is_no_read_out_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        readout(**arguments)


def test_the_options_of_a_fit_are_those_of_its_convention():
    data = sample_summaries(Task([0.5, 0.5], context_length=6, noise_variance=0.1), 50)
    paper = readout(gamma=np.zeros((2, 3)), ridge=0.8)
    M = ridge_fit(data, **paper.fit_options)
    assert M.shape == (3, 2)
    assert np.array_equal(M, ridge_fit(data, ridge=0.1, label_row=True, label_weight=4))
    ours = readout(map=np.zeros((2, 2)), ridge=0.8)
    assert ours.fit_options == {"ridge": 0.8}
