"""The moments of laws against complete enumeration and against each other."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.inputs import Inputs
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere
from attndyn.theory import feature_moments, fixed_points, population, time_course
from attndyn.theory.moments import laws
from tests.oracles import enumeration

CORRELATED = [[1.0, 0.3], [0.3, 0.5]]
POOL = Pool([[1.0, -0.5], [0.2, 0.7], [-0.3, 0.4]], weights=[0.5, 0.3, 0.2])
MATRICES = Pool([[[1.0, -0.5], [0.3, 0.2]], [[0.2, 0.7], [-1.0, 0.4]]], weights=[3, 1])
TASKS = {
    "a pool": {"teachers": POOL},
    "signs": {"teachers": Pool(POOL.teachers[:, 0], POOL.weights, signs=True)},
    "noise": {"teachers": POOL, "noise_variance": 0.3, "query_noise_variance": 0.7},
    "a mean": {"teachers": POOL, "input_mean": [0.4, -0.2], "noise_variance": 0.2},
    "lengths": {"teachers": POOL, "context_length": {0: 1, 1: 2, 2: 3}},
    "outputs": {"teachers": MATRICES, "input_mean": [0.4, -0.2], "noise_variance": 0.1},
    "singular": {"teachers": POOL, "covariance": [[1.0, 0.5], [0.5, 0.25]]},
    "everything": {
        "teachers": MATRICES,
        "input_mean": [0.4, -0.2],
        "noise_variance": 0.1,
        "query_noise_variance": 0.5,
        "context_length": {0: 1, 1: 2, 2: 3},
    },
}
MODELS = {
    "context": {},
    "tokens": {"divisor": "tokens"},
    "a number": {"divisor": 1.7, "score_divisor": "sqrt_key"},
    "without the query": {"divisor": "tokens", "query_token": False},
    "scores": {"score_divisor": 2.5},
}


def task_of(name):
    options = {"covariance": CORRELATED, "context_length": 2, "inputs": "rademacher"}
    return Task(**options | TASKS[name])


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("name", TASKS)
def test_population_is_the_enumeration(name, options):
    task = task_of(name)
    model = Merged(2, outputs=task.outputs, **options)
    found = population(task, model)
    exact = enumeration.moments(task, model)
    K, D = task.outputs, task.dimension
    assert found.c == pytest.approx(exact.c, rel=1e-14)
    np.testing.assert_allclose(found.A, exact.A, rtol=1e-13, atol=1e-14)
    B = np.reshape(found.B, (K, K, D, D))
    np.testing.assert_allclose(B, exact.B, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", TASKS)
def test_the_enumeration_tells_wrong_moments_apart(name):
    """Control: Gaussian inputs, or a teacher less, have other moments."""
    task, model = task_of(name), Merged(2, outputs=task_of(name).outputs)
    exact = enumeration.moments(task, model)
    options = {"covariance": CORRELATED, "context_length": 2} | TASKS[name]
    gaussian = population(Task(**options), model)
    assert np.max(np.abs(gaussian.A - exact.A)) > 1e-3


def test_published_values():
    uniform = Task([1 / 12] * 10, inputs="uniform", context_length=10)
    assert population(uniform, Merged(1)).minimum_loss == pytest.approx(
        0.41246, abs=5e-6
    )
    gaussian = Task([1 / 12] * 10, context_length=10)
    assert population(gaussian, Merged(1)).minimum_loss == pytest.approx(
        0.43651, abs=5e-6
    )
    lengths = Task([1] * 5, context_length="0..10")
    loss = population(lengths, Merged(4, divisor="tokens")).minimum_loss
    assert loss / 5 == pytest.approx(0.62135, abs=5e-6)


LAWS = {
    "gaussian": Gaussian(CORRELATED, mean=[0.3, -1.0]),
    "sphere": Sphere(3, radius=1.7),
    "pool": POOL,
    "matrices": Gaussian.kronecker(CORRELATED, [[2.0, 0.1], [0.1, 1.0]]),
    "mixture": Mixture((0.25, Gaussian(CORRELATED)), (0.75, POOL)),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_teacher_moments_are_those_of_draws(law):
    W = law.draw(np.random.default_rng(0), 400_000).reshape(400_000, -1)
    ones = np.concatenate([W, np.ones((len(W), 1))], axis=1)
    size = W.shape[1]
    second = laws.teacher_second_moments(law).reshape(size, size)
    fourth = laws.teacher_fourth_moments(law)
    np.testing.assert_allclose(fourth[:-1, :-1, -1, -1], second, atol=1e-14)
    rng = np.random.default_rng(1)
    for _ in range(4):
        a, b = rng.normal(size=(2, size + 1))
        products = (ones @ a) ** 3 * (ones @ b)
        expected = np.einsum("ijkl,i,j,k,l->", fourth, a, a, a, b)
        error = products.std() / np.sqrt(len(W))
        assert abs(products.mean() - expected) < 6 * error


INPUTS = {
    "gaussian": "gaussian",
    "uniform": "uniform",
    "rademacher": "rademacher",
    "sphere": "sphere",
    "skewed": Inputs(
        lambda generator, shape: generator.exponential(size=shape) - 1,
        moments={3: 2, 4: 9, 5: 44, 6: 265},
    ),
}


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("mean", [None, [0.4, -0.2]], ids=["centred", "mean"])
def test_input_moments_are_those_of_draws_and_of_each_other(inputs, mean):
    task = Task(covariance=CORRELATED, inputs=inputs, input_mean=mean, context_length=2)
    T = np.array([[0.7, 0.4], [-0.1, 1.3]])
    fourth = laws.input_moments(task, 4)
    contracted = laws.contracted_fourth_moments(task, T)
    np.testing.assert_allclose(
        np.einsum("ab,abij->ij", T, fourth), contracted, rtol=1e-12, atol=1e-13
    )
    from attndyn.simulate.data.draws import inputs_of

    z = task.inputs.draw(np.random.default_rng(2), (400_000, 2))
    x = inputs_of(task, z)
    direction = np.array([0.6, -0.8])
    for order in (2, 3, 4, 6):
        moment = laws.input_moments(task, order)
        for _ in range(order):
            moment = moment @ direction
        products = (x @ direction) ** order
        error = products.std() / np.sqrt(len(x))
        assert abs(products.mean() - moment) < 6 * error + 1e-12


def test_what_the_theory_needs_of_inputs_of_ones_own():
    silent = Inputs(lambda generator, shape: generator.choice([-1.0, 1.0], shape))
    task = Task([2, 1], inputs=silent, context_length=3)
    message = r"the theory needs E\[\(xᵀΩx\)xxᵀ\]: Inputs\(draw, moments=\{4: …\}\)"
    with pytest.raises(ValueError, match=message):
        population(task, Merged(1))


def test_a_plain_pool_is_refused_where_the_block_must_be_invariant():
    task = Task([2, 1], teachers=POOL, context_length=3)
    assert not population(task, Merged(1)).invariant
    for ask in (fixed_points, lambda t, m: time_course(t, m, [0.0, 1.0], 0.1)):
        with pytest.raises(ValueError, match=r"Pool\(…, signs=True\) has the same"):
            ask(task, Separate(2))
    signed = Task(
        [2, 1], teachers=Pool(POOL.teachers[:, 0], signs=True), context_length=3
    )
    assert len(fixed_points(signed, Separate(2))) == 4


def test_several_outputs_have_no_gains():
    task = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=3)
    with pytest.raises(ValueError, match="of one output, and this loss has 2"):
        _ = population(task, Merged(1, outputs=2)).gains
    with pytest.raises(ValueError, match="the task has 2 outputs and the model 1"):
        population(task, Merged(1))


def test_directions_of_no_gain_are_dropped():
    for options in (
        {"eigenvalues": [2, 1, 0]},
        {"eigenvalues": [2, 1, 3], "teacher_covariance": np.diag([1, 1, 0])},
    ):
        task = Task(context_length=5, **options)
        plain = Task([2, 1], context_length=5)
        points = fixed_points(task, Separate(3))
        assert len(points) == 4
        losses = [point.loss for point in fixed_points(plain, Separate(3))]
        np.testing.assert_allclose([point.loss for point in points], losses, rtol=1e-14)
        times = np.linspace(0, 20, 5)
        np.testing.assert_allclose(
            time_course(task, Separate(2), times, 0.1).loss,
            time_course(plain, Separate(2), times, 0.1).loss,
            rtol=1e-12,
        )


def test_singular_covariances_that_do_not_commute():
    covariance = np.ones((3, 3)) + np.diag([1, 0, 0])
    teachers = np.array([[2, 0.3, 0], [0.3, 1, 0], [0, 0, 1]])
    task = Task(covariance=covariance, teacher_covariance=teachers, context_length=5)
    loss = population(task, Merged(1))
    assert loss.direction_count == 2
    assert loss.minimum_loss == pytest.approx(float(loss.loss(loss.minimum)))
    assert np.max(np.abs(loss.residual_correlation(loss.minimum))) < 1e-12


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("name", TASKS)
def test_features_are_the_enumeration(name, options):
    task = task_of(name)
    model = Merged(2, outputs=task.outputs, **options)
    found = feature_moments(task, model)
    exact = enumeration.moments(task, model)
    assert found.c == pytest.approx(exact.c, rel=1e-14)
    b = np.reshape(found.b, (task.outputs, -1))
    np.testing.assert_allclose(b, exact.b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        found.S, exact.S, rtol=1e-12, atol=1e-13 * np.max(exact.S)
    )


@pytest.mark.parametrize("query_token", [True, False])
def test_features_of_gaussian_inputs_agree_along_both_ways(query_token):
    """Isserlis' theorem against dense tensors, which a mean of next to nothing asks for."""
    options = {
        "covariance": CORRELATED,
        "teachers": POOL,
        "noise_variance": 0.2,
        "context_length": {1: 1, 4: 2},
    }
    model = Merged(2, query_token=query_token, divisor="tokens")
    plain = feature_moments(Task(**options), model)
    dense = feature_moments(Task(input_mean=[1e-300, 0], **options), model)
    np.testing.assert_allclose(dense.b, plain.b, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dense.S, plain.S, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["signs", "outputs"])
def test_the_gradient_off_the_restricted_block_vanishes_just_for_symmetric_teachers(
    name,
):
    """Whatever the mean of x: with W of both signs, on the restricted minimum, no feature off the block pulls."""
    pool = TASKS[name]["teachers"]
    for signs in (True, False):
        teachers = Pool(pool.teachers, pool.weights, signs=signs)
        task = Task(
            covariance=CORRELATED,
            input_mean=[0.4, -0.2],
            inputs="rademacher",
            teachers=teachers,
            context_length=2,
        )
        K, D = task.outputs, 2
        moments = feature_moments(task, Merged(1, outputs=K))
        i, j = moments.indices.T[:2]
        in_block = (i < D) & (j >= D)
        M = np.zeros((K, len(i)))
        M[:, in_block] = np.random.default_rng(0).normal(size=(K, in_block.sum()))
        gradient = moments.gradient(M if K > 1 else M[0])
        # Heads on the block are moved along a_y and B_x alone, by features (x, y); of the others those with two
        # entries of x, or two of y, would move a_x and B_y.
        off = np.atleast_2d(gradient)[:, ~in_block]
        assert (np.max(np.abs(off)) < 1e-12) == signs


def test_directions_of_little_variance_are_not_taken_for_none():
    """Whether a gain is zero is decided by Λ and Ω: λ²ω of a gain of 1e-18 is below the rounding of B."""
    for options in ({}, {"inputs": "uniform"}, {"input_mean": [0, 1e-3, 0]}):
        task = Task([1, 0.5, 1e-9], context_length=5, **options)
        assert population(task, Merged(1)).direction_count == 3
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    teachers = np.cov(rng.normal(size=(3, 10)))
    covariance = basis @ np.diag([1, 0.5, 1e-9]) @ basis.T
    for inputs in ("gaussian", "sphere", "uniform"):
        options = {"covariance": (covariance + covariance.T) / 2, "inputs": inputs}
        apart = Task(teacher_covariance=teachers, context_length=5, **options)
        assert population(apart, Merged(1)).direction_count == 3
        white = Task(context_length=5, **options)
        assert population(white, Merged(1)).direction_count == 3


@pytest.mark.parametrize("inputs", ["gaussian", "uniform"])
def test_moments_that_vanish_as_numbers_are_refused(inputs):
    with pytest.raises(ValueError, match="underflow"):
        population(Task([1, 1e-170], inputs=inputs, context_length=3), Merged(1))
    law = Gaussian.shared_basis([1, 1])
    for scale, problem in ((1e-170, "underflow"), (1e120, "overflow")):
        task = Task([scale] * 2, teachers=law, inputs=inputs, context_length=3)
        with pytest.raises(ValueError, match=problem):
            population(task, Merged(1, outputs=2))


@pytest.mark.parametrize(
    "options",
    [
        {"eigenvalues": [1, 0], "teacher_covariance": np.diag([0, 1])},
        {"eigenvalues": [1, 0.5], "teachers": Pool([[0, 0]])},
        {"covariance": CORRELATED, "teachers": Pool([[0, 0]]), "inputs": "uniform"},
    ],
    ids=["apart", "zero", "zero and uniform"],
)
def test_a_task_without_signal_has_a_loss_and_no_fixed_points(options):
    task = Task(noise_variance=0.1, context_length=3, **options)
    loss = population(task, Separate(2))
    assert loss.direction_count == 0
    assert loss.minimum_loss == 0.1
    assert not np.any(loss.minimum)
    assert float(loss.loss(np.eye(2))) == pytest.approx(
        0.1 + np.trace(loss.A @ loss.Lambda)
    )
    for ask in (fixed_points, lambda t, m: time_course(t, m, [0.0, 1.0], 0.1)):
        with pytest.raises(ValueError, match="nothing can be learned"):
            ask(task, Separate(2))


def test_the_memory_of_dense_moments_is_estimated_before_it_is_taken():
    """Tensors of x to the sixth order take more than S of Gaussian x, which needs none."""
    assert feature_moments(Task([1] * 6, context_length=3), Merged(1), limit_gib=2e-3)
    uniform = Task([1] * 6, inputs="uniform", context_length=3)
    with pytest.raises(MemoryError, match="limit_gib"):
        feature_moments(uniform, Merged(1), limit_gib=2e-3)
