"""ω and μ are read from weights of the family, and from no others."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Factorised, Merged, Separate, Task
from attndyn.simulate import Trajectory, predict, sample, train
from attndyn.theory.softmax_attention import (
    common_matrix,
    exact_loss,
    family_distance,
    head_scalars,
)

D, H = 3, 2
OMEGA, MU = np.array([0.3, -0.2]), np.array([1.2, -1.5])
CONVENTIONS = {"softmax": True, "query_token": False, "score_divisor": "sqrt_key"}
MATRIX = np.array([[1.2, 0.3, 0.0], [0.1, 0.8, 0.2], [0.0, 0.4, 1.0]])


def merged_weights(model, omega=OMEGA, mu=MU, matrix=None):
    """Weights whose scores, the divisor included, are ω x_nᵀ A x_q."""
    A = np.eye(D) if matrix is None else matrix
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    weights["value"][:, -1] = mu
    weights["key_query"][:, :D, :D] = np.multiply.outer(omega, A) * np.sqrt(D + 1)
    return weights


def factorised_weights(model, omega=OMEGA, mu=MU):
    """The same heads by four matrices, with signs in the query and in the value."""
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    size = np.sqrt(np.abs(omega)) * (D + 1) ** 0.25
    diagonal = np.diag([1.0] * D + [0.0])
    weights["key"] += np.multiply.outer(size, diagonal)
    weights["query"] += np.multiply.outer(size * np.sign(omega), diagonal)
    weights["output"][:, 0, -1] = np.sqrt(np.abs(mu))
    weights["value"][:, -1, -1] = np.sign(mu) * np.sqrt(np.abs(mu))
    return weights


def test_they_are_those_of_the_family():
    merged = Merged(H, **CONVENTIONS)
    factorised = Factorised(H, **CONVENTIONS)
    for model, weights in [
        (merged, merged_weights(merged)),
        (factorised, factorised_weights(factorised)),
    ]:
        ω, μ = head_scalars(model, weights, tolerance=1e-12)
        assert_allclose(ω, OMEGA, rtol=1e-14)
        assert_allclose(μ, MU, rtol=1e-14)
        assert_allclose(
            common_matrix(model, weights, tolerance=1e-12), np.eye(D), atol=1e-14
        )


def test_separate_heads_have_scores_over_the_root_of_their_rank():
    model = Separate(H, rank=D, **CONVENTIONS)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    weights["value"][:, -1] = MU
    weights["key"][:, :, :D] = np.eye(D)
    weights["query"][:, :, :D] = np.multiply.outer(OMEGA, np.eye(D)) * np.sqrt(D)
    ω, μ = head_scalars(model, weights)
    assert_allclose(ω, OMEGA, rtol=1e-14)
    assert np.array_equal(μ, MU)


def test_a_number_that_divides_the_output_divides_mu():
    model = Merged(H, divisor=4, **CONVENTIONS)
    assert_allclose(head_scalars(model, merged_weights(model)).mu, MU / 4, rtol=1e-14)


def test_the_common_matrix_has_mean_diagonal_one_and_gives_the_loss_back():
    model = Merged(H, **CONVENTIONS)
    weights = merged_weights(model, matrix=2 * MATRIX)
    A = common_matrix(model, weights)
    ω, μ = head_scalars(model, weights)
    assert_allclose(A, MATRIX, rtol=1e-14)
    assert_allclose(ω, 2 * OMEGA, rtol=1e-14)
    task = Task([1] * D, noise_variance=0.1, context_length=5)
    expected = exact_loss(task, OMEGA, MU, matrix=2 * MATRIX, nodes=8)
    assert_allclose(exact_loss(task, ω, μ, matrix=A, nodes=8).loss, expected.loss)


def test_a_run_gives_a_row_for_each_of_its_stored_weights():
    model = Merged(H, **CONVENTIONS)
    task = Task([1] * D, noise_variance=0.1, context_length=6)
    start = merged_weights(model)
    run = train(
        model, task, start, batch=400, learning_rate=0.1, steps=6, record=[0, 2, 4]
    )
    ω, μ = head_scalars(model, run, tolerance=0.3)
    assert ω.shape == μ.shape == (len(run.weight_time), H)
    for step, time in enumerate(run.weight_time):
        one = head_scalars(model, run.weights_at(int(time)), tolerance=0.3)
        assert np.array_equal(one.omega, ω[step])
        assert np.array_equal(one.mu, μ[step])
    assert_allclose(ω[0], OMEGA, rtol=1e-14)
    assert np.max(np.abs(ω[-1] - OMEGA)) > 1e-3
    assert common_matrix(model, run, tolerance=0.3).shape == (len(ω), D, D)


def test_a_model_of_the_users_own_has_them_too():
    class Tied:
        softmax = True

        def shapes(self, dimension):
            return {"scale": (H,), "mu": (H,), "shape": (dimension,)}

        def heads(self, weights):
            size = len(weights["shape"])
            a = np.zeros((H, size + 1))
            a[:, -1] = weights["mu"]
            B = np.zeros((H, size + 1, size))
            B[:, :size] = np.multiply.outer(weights["scale"], np.eye(size))
            return a, B

    weights = {"scale": OMEGA, "mu": MU, "shape": np.zeros(D)}
    ω, μ = head_scalars(Tied(), weights)
    assert_allclose(ω, OMEGA)
    assert np.array_equal(μ, MU)


def test_the_distance_is_that_of_the_part_outside():
    model = Merged(H, **CONVENTIONS)
    weights = merged_weights(model)
    antisymmetric = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0.0]])
    # Added to one head alone, it cannot be a part of the common matrix and of its share only.
    weights["key_query"][:, :D, :D] += 0.4 * antisymmetric
    alike = np.sqrt(D + 1) * np.multiply.outer(OMEGA, np.eye(D))
    share = MU**2
    B = weights["key_query"][:, :D, :D]
    A = np.einsum("h,h,hij->ij", share, OMEGA, B) / np.sum(share * OMEGA**2)
    outside = np.sum((B - np.multiply.outer(OMEGA, A)) ** 2, axis=(1, 2))
    whole = np.sum(B**2, axis=(1, 2))
    expected = np.sqrt(np.sum(share * outside) / np.sum(share * whole))
    assert 0.2 < expected < 1
    assert not np.allclose(B, alike)
    assert head_scalars(model, weights, tolerance=expected * 1.0001)
    with pytest.raises(ValueError, match=f"distance from these is {expected:.3g} of"):
        head_scalars(model, weights, tolerance=expected * 0.9999)
    with pytest.raises(ValueError, match="no multiples of one matrix"):
        common_matrix(model, weights, tolerance=expected * 0.9999)
    ω, _ = head_scalars(model, weights, tolerance=np.inf)
    assert_allclose(ω, OMEGA, rtol=1e-14)


def test_a_head_of_no_value_has_any_matrix():
    model = Merged(3, **CONVENTIONS)
    weights = merged_weights(model, np.append(OMEGA, 0.1), np.append(MU, 0.0))
    weights["key_query"][2, :D, :D] += np.triu(np.ones((D, D)), 1)
    assert_allclose(head_scalars(model, weights).omega, [0.3, -0.2, 0.1])
    weights["value"][2, -1] = 5.0
    with pytest.raises(ValueError, match="no multiples of one matrix"):
        head_scalars(model, weights)


def test_heads_that_are_none_of_the_family_are_refused():
    model = Merged(H, **CONVENTIONS)
    draws = np.random.default_rng(3)
    unrelated = merged_weights(model)
    unrelated["key_query"] = draws.normal(size=unrelated["key_query"].shape)
    traceless = merged_weights(model, matrix=np.diag([1.0, -1.0, 0.0]))
    of_labels = merged_weights(model)
    of_labels["key_query"][:, D, :D] = 1.0
    for weights in (unrelated, traceless, of_labels):
        with pytest.raises(ValueError, match="no multiples of one matrix"):
            head_scalars(model, weights)
    of_inputs = merged_weights(model)
    of_inputs["value"][:, 0] = 2.0
    share = np.sqrt(8 / (8 + np.sum(MU**2)))
    with pytest.raises(ValueError, match=f"values read x: that part is {share:.3g}"):
        head_scalars(model, of_inputs)


def test_heads_of_zeros_are_at_no_distance():
    model = Merged(H, **CONVENTIONS)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    ω, μ = head_scalars(model, weights)
    assert not np.any(ω)
    assert not np.any(μ)
    assert np.all(np.isnan(common_matrix(model, weights)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Merged(H), "this model has no softmax"),
        (Merged(H, softmax=True, outputs=2), "known for one output, not for 2"),
        (Merged(H, softmax=True, divisor="tokens"), "μ depends on the context"),
        (Merged(H, softmax=True, divisor="context"), "μ depends on the context"),
    ],
)
def test_models_without_the_two_numbers_are_refused(model, message):
    weights = {name: np.ones(shape) for name, shape in model.shapes(D).items()}
    with pytest.raises(ValueError, match=message):
        head_scalars(model, weights)


def test_weights_that_are_none_are_refused():
    model = Merged(H, **CONVENTIONS)
    weights = merged_weights(model)
    wrong = [
        {"value": weights["value"]},
        weights | {"other": np.ones(2)},
        weights | {"value": weights["value"][:, :-1]},
        weights | {"value": np.stack([weights["value"]] * 2)},
        weights | {"value": weights["value"][:1]},
    ]
    for given in wrong:
        with pytest.raises(ValueError, match="weights of Merged must have the shapes"):
            head_scalars(model, given)
    with pytest.raises(ValueError, match="must be finite"):
        head_scalars(model, weights | {"value": weights["value"] * np.nan})
    with pytest.raises(ValueError, match="tolerance must be zero or more"):
        head_scalars(model, weights, tolerance=-1)
    with pytest.raises(TypeError, match=r"call head_scalars\(model, weights\)"):
        head_scalars(weights, model)
    with pytest.raises(TypeError, match="got Merged, then float"):
        head_scalars(model, 3.0)
    times = np.arange(3.0)
    run = Trajectory(times, times + 1, times, np.empty(0), {}, learning_rate=0.1)
    with pytest.raises(ValueError, match="stored no weights"):
        head_scalars(model, run)


def test_the_scalars_predict_what_the_weights_do():
    model = Factorised(H, **CONVENTIONS)
    weights = factorised_weights(model)
    tokens = np.random.default_rng(0).normal(size=(4, 6, D + 1))
    ω, μ = head_scalars(model, weights)
    x, y, query = tokens[:, :-1, :D], tokens[:, :-1, D], tokens[:, -1, :D]
    scores = np.exp(np.einsum("h,pnd,pd->phn", ω, x, query))
    heads = np.einsum("phn,pn->ph", scores, y) / np.sum(scores, axis=-1)
    assert_allclose(predict(model, weights, tokens), heads @ μ, rtol=1e-12)


def test_heads_of_two_diagonals_are_told_apart_from_multiples_of_one():
    """Their exact loss would be .3033, and is .373: a fifth."""
    key_query = np.zeros((2, 6, 6))
    key_query[0, :5, :5] = 0.4 * np.eye(5)
    key_query[1, :5, :5] = -0.4 * np.diag([1, 2, 3, 4, 5]) / 3
    weights = {"value": np.outer([1.4, -1.4], np.eye(6)[5]), "key_query": key_query}
    model = Merged(heads=2, softmax=True, query_token=False)
    with pytest.raises(ValueError, match=r"0\.224 of their size"):
        head_scalars(model, weights)


def test_a_run_of_another_model_is_refused():
    """A divisor or a token that the run was not trained with would give other numbers, or another loss."""
    task = Task([1] * D, context_length=6)
    model = Merged(H, **CONVENTIONS)
    start = merged_weights(model)
    data = sample(task, 10)
    run = train(model, data, start, learning_rate=0.01, steps=2)
    assert_allclose(head_scalars(model, run).omega[0], OMEGA, rtol=1e-12)
    # The same divisor in a number is the same model.
    assert_allclose(
        head_scalars(Merged(H, **CONVENTIONS | {"score_divisor": 2}), run).omega[0],
        OMEGA,
        rtol=1e-12,
    )
    others = {
        r"the model has score_divisor = 1\.0 and the run score_divisor = 2\.0": {
            "score_divisor": 1
        },
        "the model has query_token = True and the run query_token = False": {
            "query_token": True
        },
    }
    for message, change in others.items():
        other = Merged(H, **CONVENTIONS | change)
        for read in (head_scalars, common_matrix, family_distance):
            with pytest.raises(ValueError, match=message):
                read(other, run)
        # The weights alone may be read in any way.
        assert len(head_scalars(other, run.initial).omega) == H
    with pytest.raises(ValueError, match="heads = 3 and the run heads = 2"):
        head_scalars(Merged(3, **CONVENTIONS), run)


def test_the_distance_from_the_family_counts_both_parts():
    model = Merged(H, **CONVENTIONS)
    weights = merged_weights(model)
    assert family_distance(model, weights) < 1e-15
    stretched = merged_weights(model, matrix=np.diag([1.0, 1.0, 1.3]))
    # B = ω diag(1, 1, 1.3) is 1.1 ω 1 and ω diag(−.1, −.1, .2).
    share = (0.01 + 0.01 + 0.04) / (1 + 1 + 1.69)
    assert_allclose(family_distance(model, stretched), np.sqrt(share), rtol=1e-12)
    assert_allclose(common_matrix(model, stretched)[2, 2], 1.3 / 1.1, rtol=1e-12)
    reads_x = weights | {"value": weights["value"] + np.eye(D + 1)[0]}
    share = H / (H + np.sum(MU**2))
    assert_allclose(family_distance(model, reads_x), np.sqrt(share), rtol=1e-12)
    both = {name: np.stack([weights[name], stretched[name]]) for name in weights}
    assert family_distance(model, both).shape == (2,)
    nothing = {name: np.zeros_like(value) for name, value in weights.items()}
    assert family_distance(model, nothing) == 0
