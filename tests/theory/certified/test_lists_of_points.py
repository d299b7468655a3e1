"""Certified fixed points, against eigenvalues with sixty digits, and what is refused."""

import random
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.teachers import Sphere
from attndyn.theory.certified import NoCertificate, fixed_point, fixed_points


def definite(generator, dimension):
    """A rational positive definite matrix."""
    L = [
        [Fraction(generator.randint(-3, 3), 4) for _ in range(dimension)]
        for _ in range(dimension)
    ]
    for i in range(dimension):
        L[i][i] = Fraction(generator.randint(2, 6), 4)
        L[i][i + 1 :] = [Fraction(0)] * (dimension - i - 1)
    square = np.array(L, dtype=object)
    return (square @ square.T).tolist()


def random_task(seed):
    """A task of one to four dimensions, of which Λ and Ω do not commute."""
    generator = random.Random(seed)
    dimension = generator.randint(1, 4)
    return Task(
        covariance=definite(generator, dimension),
        teacher_covariance=definite(generator, dimension),
        noise_variance=Fraction(generator.randint(0, 9), 10),
        context_length=generator.choice([1, 2, 7, 31, 400]),
    )


def exact(matrix):
    return mpmath.matrix(
        [[mpmath.mpf(x.numerator) / x.denominator for x in row] for row in matrix]
    )


def gains_by_eigenvalues(task):
    """c, and the gains as squared singular values of A^{-1/2} B Λ^{-1/2}."""
    Λ, Ω = exact(task.exact_covariance), exact(task.exact_teacher_covariance)
    N, D = mpmath.mpf(task.context_length), task.dimension
    noise = task.exact_noise_variance
    signal = Ω * Λ
    c = (
        sum(signal[i, i] for i in range(D))
        + mpmath.mpf(noise.numerator) / noise.denominator
    )
    B = Λ * Ω * Λ
    A = (1 + 1 / N) * B + Λ * (c / N)
    inner = mpmath.inverse(mpmath.cholesky(A)) * B
    T = inner * mpmath.inverse(mpmath.cholesky(Λ)).T
    return c, sorted(mpmath.eigsy(T * T.T, eigvals_only=True), reverse=True)


@pytest.mark.parametrize("seed", range(12))
def test_losses_gains_and_indices_of_random_tasks(seed):
    task = random_task(seed)
    with mpmath.workdps(60):
        c, gains = gains_by_eigenvalues(task)
        for point in fixed_points(task, Separate(heads=task.dimension)):
            loss = c - sum(gains[d - 1] for d in point.subset)
            assert point.loss.contains(str(loss)) or agree(point.loss, loss)
            for d, gain in zip(point.subset, point.gains, strict=True):
                assert agree(gain, gains[d - 1])
            learned = set(point.subset)
            others = set(range(1, task.dimension + 1)) - learned
            pairs = sum(j < d for d in learned for j in others)
            assert point.hessian_index == pairs


def agree(enclosure, number):
    """Whether a number of sixty digits is enclosed, but for its own rounding."""
    middle = mpmath.mpf(enclosure.midpoint.numerator) / enclosure.midpoint.denominator
    return abs(middle - number) <= float(enclosure.radius) + mpmath.mpf(10) ** -54


@pytest.mark.parametrize("digits", [5, 14, 20, 40])
def test_gains_that_hardly_differ_are_told_apart(digits):
    gap = Fraction(1, 10**digits)
    # The index of the point that learns the smaller gain is what a float eigensolver cannot see below 1e-14.
    task = Task(eigenvalues=[Fraction(1, 2), Fraction(1, 2) - gap], context_length=20)
    points = fixed_points(task, Separate(heads=2), bits=512)
    assert points.of(2).hessian_index == 1
    assert points.of(1).hessian_index == 0
    assert points.of(1).loss.upper < points.of(2).loss.lower


def test_a_gap_below_the_precision_is_refused():
    task = Task(
        eigenvalues=[Fraction(1, 2), Fraction(1, 2) - Fraction(1, 10**70)],
        context_length=20,
    )
    with pytest.raises(NoCertificate, match="more bits"):
        fixed_points(task, Separate(heads=2))


@pytest.mark.parametrize(
    "task",
    [
        Task(eigenvalues=[1, 1], context_length=20),
        Task(eigenvalues=[2, 1, 1], noise_variance="1/3", context_length=4),
        Task(
            covariance=[[2, 1], [1, 2]],
            teacher_covariance=[["2/3", "-1/3"], ["-1/3", "2/3"]],
            context_length=3,
        ),
    ],
    ids=["white", "two of three", "different Λ, equal gains"],
)
def test_equal_gains_are_proved_and_refused(task):
    with pytest.raises(NoCertificate, match="proved exactly: the fixed points are a"):
        fixed_points(task, Separate(heads=task.dimension))


@pytest.mark.parametrize("bits", [20, 24, 32, 48, 64])
def test_few_bits_refuse_or_widen_and_never_lie(bits):
    task, model = random_task(5), Separate(heads=4)
    precise = fixed_points(task, model)
    try:
        poor = fixed_points(task, model, bits=bits)
    except NoCertificate:
        return
    for point in poor:
        assert not point.loss.is_disjoint(precise.of(*point.subset).loss)
        assert point.hessian_index == precise.of(*point.subset).hessian_index


def test_one_dimension_one_pair_and_fewer_heads():
    one = fixed_points(Task(eigenvalues=["2/5"], context_length=1), Separate(heads=3))
    assert [(point.subset, point.hessian_index) for point in one] == [
        ((1,), 0),
        ((), 0),
    ]
    # A = 2λ² + λ², so that the gain is λ⁴/(3λ³) = λ/3.
    assert one.of(1).gains[0].contains("2/15")
    few = fixed_points(Task(eigenvalues=[3, 2, 1], context_length=9), Separate(heads=1))
    assert {point.subset for point in few} == {(), (1,), (2,), (3,)}


def test_the_divisor_moves_maps_and_nothing_else():
    task = Task(eigenvalues=["3/5", "2/5"], context_length=20)
    by_context = fixed_point(task, Separate(heads=2), (1,))
    undivided = fixed_point(task, Separate(heads=2, divisor="none"), (1,))
    assert not by_context.loss.is_disjoint(undivided.loss)
    ratio = by_context.M[0][0].midpoint / undivided.M[0][0].midpoint
    assert abs(ratio - 20) < Fraction(1, 10**50)


def test_a_single_point_of_many_dimensions():
    task = Task(eigenvalues=list(range(12, 0, -1)), trace=1, context_length=40)
    point = fixed_point(task, Separate(heads=12), (2, 5))
    assert point.hessian_index == 1 + 3
    with pytest.raises(ValueError, match="fixed_point"):
        fixed_points(
            Task(eigenvalues=list(range(13, 0, -1)), context_length=40),
            Separate(heads=2),
        )


TASK = Task(eigenvalues=[2, 1], context_length=20)


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        (TASK, Merged(heads=2), "rank one"),
        (TASK, Separate(heads=2, rank=2), "rank one"),
        (TASK, Separate(heads=2, softmax=True), "linear attention"),
        (TASK, Separate(heads=2, score_divisor=2), "score_divisor"),
        (Task(eigenvalues=[1, 0], context_length=3), Separate(heads=2), "positive def"),
        (
            Task(eigenvalues=[2, 1], inputs="uniform", context_length=3),
            Separate(heads=2),
            "Gaussian inputs",
        ),
        (
            Task(eigenvalues=[2, 1], input_mean=[1, 0], context_length=3),
            Separate(heads=2),
            "mean 0",
        ),
        (
            Task(eigenvalues=[2, 1], teachers=Sphere(2), context_length=3),
            Separate(heads=2),
            "Gaussian teachers",
        ),
        (
            Task(
                eigenvalues=[2, 1],
                fixed_teacher=[1, 1],
                in_context_fraction=0.5,
                context_length=3,
            ),
            Separate(heads=2),
            "fixed teacher",
        ),
    ],
)
def test_what_has_no_certificate_is_refused_in_one_sentence(task, model, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fixed_points(task, model)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("subset", [(0,), (3,), (1, 1), (1.5,), ("1",)])
def test_directions_that_do_not_exist_are_refused(subset):
    with pytest.raises(ValueError, match="different numbers from 1 to 2"):
        fixed_point(TASK, Separate(heads=2), subset)


@pytest.mark.parametrize("bits", [0, 19, -5, 10**6, 64.0, True, "64"])
def test_bits_that_are_no_precision_are_refused(bits):
    with pytest.raises(ValueError, match="bits must be a whole number"):
        fixed_points(TASK, Separate(heads=2), bits=bits)


def test_a_singular_teacher_law_is_refused():
    task = Task(
        eigenvalues=[2, 1],
        teacher_covariance=[[1, 0], [0, 0]],
        context_length=3,
    )
    with pytest.raises(NoCertificate, match="gain is zero"):
        fixed_points(task, Separate(heads=2))


def test_weights_of_context_lengths_are_read_as_they_are_written():
    weights = {3: "1/3", 7: 2, 20: Fraction(1, 7)}
    task = Task(eigenvalues=["1/2"], context_length=weights)
    shares = {N: Fraction(weight) for N, weight in weights.items()}
    whole = sum(shares.values())
    pairs = sum(Fraction(N + 1, N) * share for N, share in shares.items()) / whole
    single = sum(Fraction(1, N) * share for N, share in shares.items()) / whole
    # A = E[N(N+1)/δ²] λ² + E[N/δ²] λ² and B = λ² with δ = N, Ω = 1.
    λ = Fraction(1, 2)
    gain = λ / (pairs + single)
    assert fixed_points(task, Separate(heads=1)).of(1).gains[0].contains(gain)
    assert Task.from_dict(task.to_dict()) == task
