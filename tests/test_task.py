"""Task: what it holds, what it refuses, how it travels."""

import copy
import pickle
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attndyn import Task
from attndyn.task import eigenvalue_list

E = [2.0, 1.0]
quick = settings(max_examples=25, deadline=None)
sizes = st.floats(1e-3, 1e3)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """Tasks of every kind: diagonal or not, with and without noise, teachers, mixtures and lengths."""
    dimension = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    options: dict = {
        "context_length": draw(
            st.one_of(st.integers(1, 50), st.integers(1, 9).map("1..{}".format))
        )
    }
    if draw(st.booleans()):
        options["eigenvalues"] = draw(
            st.lists(sizes, min_size=dimension, max_size=dimension)
        )
    else:
        options["covariance"] = random_covariance(rng, dimension)
    if draw(st.booleans()):
        options["teacher_covariance"] = random_covariance(rng, dimension)
    if draw(st.booleans()):
        options |= {
            "fixed_teacher": rng.normal(size=dimension),
            "in_context_fraction": draw(st.floats(0, 1)),
        }
    if draw(st.booleans()):
        options["noise_variance"] = draw(sizes)
    if draw(st.booleans()):
        options["trace"] = draw(sizes)
    return Task(**options)


def random_covariance(rng, dimension):
    factor = rng.normal(size=(dimension, dimension))
    return factor @ factor.T + np.eye(dimension)


@quick
@given(tasks())
def test_json_and_toml_give_the_task_back(task):
    assert Task.from_json(task.to_json()) == task
    assert Task.from_toml(task.to_toml()) == task
    assert Task.from_dict(task.to_dict()).digest == task.digest


@quick
@given(tasks())
def test_the_repr_makes_an_equal_task(task):
    text = repr(task)
    assume(not text.startswith("<Task "))  # it would be longer than half a screen
    again = eval(text, {"Task": Task})
    assert again == task
    assert hash(again) == hash(task)
    np.testing.assert_array_equal(again.covariance, task.covariance)


@quick
@given(tasks())
def test_the_spectrum_decreases_and_rebuilds_the_covariance(task):
    assert np.all(np.diff(task.eigenvalues) <= 0)
    assert np.all(task.eigenvalues > 0)
    rebuilt = (task.eigenvectors * task.eigenvalues) @ task.eigenvectors.T
    np.testing.assert_allclose(
        rebuilt, task.covariance, rtol=1e-9, atol=1e-12 * task.trace
    )
    ascending = (
        task.eigenvectors[:, ::-1] * task.eigenvalues
    ) @ task.eigenvectors.T  # control: the wrong order
    if task.eigenvalues[0] > 1.5 * task.eigenvalues[-1]:
        assert not np.allclose(ascending, task.covariance, rtol=1e-6, atol=0)


@quick
@given(st.lists(sizes, min_size=1, max_size=5), sizes)
def test_trace_rescales_and_keeps_the_ratios(eigenvalues, trace):
    task = Task(eigenvalues=eigenvalues, trace=trace, context_length=3)
    assert task.trace == pytest.approx(trace, rel=1e-13)
    np.testing.assert_allclose(
        np.diag(task.covariance) / task.covariance[0, 0],
        np.divide(eigenvalues, eigenvalues[0]),
    )


def test_without_trace_nothing_is_rescaled():
    assert Task(eigenvalues=[4, 3, 2, 1], context_length=31).trace == 10.0
    assert Task(covariance=[[2, 1], [1, 2]], context_length=31).trace == 4.0
    assert Task(
        covariance=[[2, 1], [1, 2]], trace=1, context_length=31
    ).covariance.tolist() == [
        [0.5, 0.25],
        [0.25, 0.5],
    ]


def test_the_published_spectrum():
    task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    assert task.eigenvalues.tolist() == [0.4, 0.3, 0.2, 0.1]
    assert (task.dimension, task.context_lengths) == (4, (31,))


def test_defaults():
    task = Task(E, context_length=3)
    np.testing.assert_array_equal(task.teacher_covariance, np.eye(2))
    assert (task.fixed_teacher, task.in_context_fraction, task.noise_variance) == (
        None,
        1.0,
        0.0,
    )


def test_the_order_of_the_eigenvalues_is_kept_in_the_covariance_only():
    task = Task(eigenvalues=[1, 3, 2], context_length=3)
    assert np.diag(task.covariance).tolist() == [1, 3, 2]
    assert task.eigenvalues.tolist() == [3, 2, 1]
    assert np.argmax(task.eigenvectors, axis=0).tolist() == [1, 2, 0]
    assert task != Task(eigenvalues=[3, 2, 1], context_length=3)


@pytest.mark.parametrize(
    ("given_length", "kept", "lengths"),
    [
        (7, 7, (7,)),
        (np.int64(7), 7, (7,)),
        ("7", 7, (7,)),
        (" 7 ", 7, (7,)),
        ("1..3", "1..3", (1, 2, 3)),
        (" 1 .. 3 ", "1..3", (1, 2, 3)),
        ("1..1", "1..1", (1,)),
    ],
)
def test_context_lengths(given_length, kept, lengths):
    task = Task(E, context_length=given_length)
    assert task.context_length == kept
    assert type(task.context_length) is type(kept)
    assert task.context_lengths == lengths


def test_a_diagonal_covariance_and_its_eigenvalues_are_the_same_task():
    one, other = (
        Task(eigenvalues=E, context_length=3),
        Task(covariance=np.diag(E), context_length=3),
    )
    assert one == other
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"eigenvalues": [2.0, 1.5]},
        {"context_length": 4},
        {"context_length": "1..3"},
        {"noise_variance": 0.1},
        {"trace": 1.0},
        {"teacher_covariance": [[1.0, 0.0], [0.0, 2.0]]},
        {"fixed_teacher": [1.0, 1.0], "in_context_fraction": 1.0},
    ],
)
def test_tasks_that_differ_are_unequal(changed):
    plain = {"eigenvalues": E, "context_length": 3}
    assert Task(**plain | changed) != Task(**plain)
    assert Task(**plain | changed).digest != Task(**plain).digest


def test_a_task_is_unequal_to_anything_else():
    assert Task(E, context_length=3) != Task(E, context_length=3).to_dict()


def test_negative_zero_is_zero():
    options = {"eigenvalues": E, "context_length": 3, "in_context_fraction": 0.5}
    one, other = (
        Task(fixed_teacher=[0.0, 1], **options),
        Task(fixed_teacher=[-0.0, 1], **options),
    )
    assert one == other
    assert hash(one) == hash(other)
    options |= {"fixed_teacher": [1, 1]}
    assert (
        Task(**options | {"in_context_fraction": 0.0}).digest
        == Task(**options | {"in_context_fraction": -0.0}).digest
    )


def test_a_fraction_of_one_needs_no_teacher():
    assert Task(E, in_context_fraction=1, context_length=3) == Task(E, context_length=3)


@pytest.mark.parametrize(
    "travel", [copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))]
)
def test_a_task_is_frozen_here_and_after_travel(travel):
    original = Task(E, fixed_teacher=[1, 2], in_context_fraction=0.5, context_length=3)
    task = travel(original)
    assert task == original
    with pytest.raises(AttributeError):
        task.noise_variance = 1.0
    for name in (
        "covariance",
        "teacher_covariance",
        "fixed_teacher",
        "eigenvalues",
        "eigenvectors",
    ):
        with pytest.raises(ValueError, match="read-only"):
            getattr(task, name)[0] = 7.0


def test_the_arrays_that_were_passed_stay_free_and_apart():
    covariance = np.array([[2.0, 1.0], [1.0, 2.0]])
    task = Task(covariance=covariance, context_length=3)
    covariance[0, 0] = 9.0
    assert task.covariance[0, 0] == 2.0


def test_html_is_a_table_of_the_settings():
    html = Task(E, context_length="1..3", noise_variance=0.25)._repr_html_()
    assert html.startswith("<table>")
    for text in ("Task", "eigenvalues", "[2.0, 1.0]", "noise_variance", "0.25", "1..3"):
        assert text in html


REFUSED = {
    "neither": ({}, "pass eigenvalues or covariance, one of the two: neither given"),
    "both": ({"eigenvalues": E, "covariance": np.eye(2)}, "both given"),
    "no eigenvalue": (
        {"eigenvalues": []},
        "eigenvalues must have shape (D,), not (0,)",
    ),
    "eigenvalues as a matrix": (
        {"eigenvalues": [[1]]},
        "eigenvalues must have shape (D,), not (1, 1)",
    ),
    "no variance": (
        {"eigenvalues": [0, 0]},
        "eigenvalues are all 0: x would be constant",
    ),
    "negative eigenvalue": ({"eigenvalues": [1, -2]}, "the smallest is -2"),
    "nan eigenvalue": (
        {"eigenvalues": [1, np.nan]},
        "eigenvalues must be finite: it holds nan or inf",
    ),
    "complex array": (
        {"eigenvalues": np.array([1j, 2])},
        "eigenvalues must be numbers of shape (D,)",
    ),
    "complex eigenvalue": (
        {"eigenvalues": [1j, 2]},
        "eigenvalues must be numbers of shape (D,), not [1j, 2]",
    ),
    "text": ({"eigenvalues": "abc"}, "must be numbers of shape (D,), not 'abc'"),
    "indefinite": (
        {"covariance": [[1, 2], [2, 1]]},
        "positive semidefinite: its smallest eigenvalue is -1",
    ),
    "zero covariance": (
        {"covariance": np.zeros((3, 3))},
        "covariance is 0 everywhere",
    ),
    "negative diagonal": (
        {"covariance": np.diag([1, -1e-30])},
        "positive semidefinite: its smallest eigenvalue is -1e-30",
    ),
    "asymmetric": (
        {"covariance": [[1, 0.5], [0, 1]]},
        "covariance must be symmetric: pass (C + C.T) / 2",
    ),
    "not square": ({"covariance": [[1, 2]]}, "covariance must be square, not 1 × 2"),
    "a vector": ({"covariance": [1, 2]}, "covariance must have shape (D, D), not (2,)"),
    "ragged": (
        {"covariance": [[1], [1, 2]]},
        "covariance must be numbers of shape (D, D)",
    ),
    "infinite": ({"covariance": [[np.inf]]}, "covariance must be finite"),
    "teachers of another D": (
        {"teacher_covariance": np.eye(3)},
        "must have shape (2, 2), not (3, 3)",
    ),
    "teachers indefinite": (
        {"teacher_covariance": -np.eye(2)},
        "teacher_covariance must be positive semidefinite",
    ),
    "teachers of nothing": (
        {"teacher_covariance": np.zeros((2, 2))},
        "teacher_covariance is 0 everywhere",
    ),
    "fraction without teacher": (
        {"in_context_fraction": 0.5},
        "in_context_fraction 0.5 needs a fixed_teacher",
    ),
    "teacher without fraction": (
        {"fixed_teacher": [1, 2]},
        "needs in_context_fraction between 0 and 1, not None",
    ),
    "fraction above 1": (
        {"fixed_teacher": [1, 2], "in_context_fraction": 1.5},
        "between 0 and 1, not 1.5",
    ),
    "fraction nan": (
        {"fixed_teacher": [1, 2], "in_context_fraction": np.nan},
        "between 0 and 1, not nan",
    ),
    "fraction as text": (
        {"fixed_teacher": [1, 2], "in_context_fraction": "half"},
        "between 0 and 1, not 'half'",
    ),
    "teacher too long": (
        {"fixed_teacher": [1] * 3, "in_context_fraction": 0.5},
        "must have shape (2,), not (3,)",
    ),
    "negative noise": (
        {"noise_variance": -1},
        "noise_variance must be zero or more and finite, not -1",
    ),
    "infinite noise": ({"noise_variance": np.inf}, "zero or more and finite, not inf"),
    "nan noise": ({"noise_variance": np.nan}, "zero or more and finite, not nan"),
    "noise as text": ({"noise_variance": "one"}, "zero or more and finite, not 'one'"),
    "huge noise": ({"noise_variance": "1e400"}, "zero or more and finite, not '1e400'"),
    "huge exponent": (
        {"eigenvalues": ["1e999999999"]},
        "must be numbers of shape (D,)",
    ),
    "a quotient by zero": ({"eigenvalues": ["1/0"]}, "must be numbers of shape (D,)"),
    "too many digits": (
        {"eigenvalues": ["0." + "1" * 2000]},
        "must be numbers of shape (D,)",
    ),
    "three numbers": ({"eigenvalues": ["1/2/3"]}, "must be numbers of shape (D,)"),
    "a truth value": ({"eigenvalues": [True]}, "must be numbers of shape (D,)"),
    "noise as list": ({"noise_variance": [1]}, "zero or more and finite, not [1]"),
    "zero trace": ({"trace": 0}, "trace must be positive and finite, not 0"),
    "infinite trace": ({"trace": np.inf}, "trace must be positive and finite, not inf"),
    "trace as bool": ({"trace": True}, "trace must be positive and finite, not True"),
    "trace as list": (
        {"trace": [1, 2]},
        "trace must be positive and finite, not [1, 2]",
    ),
    "trace that underflows": (
        {"eigenvalues": [1, 1e-300], "trace": 1e-300},
        "outside the range of floating point",
    ),
    "trace of an overflow": (
        {"eigenvalues": [1e308] * 2, "trace": 1},
        "outside the range of floating point",
    ),
}
LENGTHS = [
    0,
    -3,
    True,
    2.0,
    None,
    "1..0",
    "5..3",
    "0..0",
    "3 1",
    "1..",
    "many",
    "1..2.5",
    [],
    {},
    {3},
]


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_one_line_that_says_why(options, message):
    base = (
        {}
        if {"eigenvalues", "covariance"} & set(options) or not options
        else {"eigenvalues": E}
    )
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Task(**base | {"context_length": 3} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", LENGTHS, ids=repr)
def test_refused_context_lengths(length):
    with pytest.raises(
        ValueError,
        match=re.escape(f"a list or {{n: weight}}, not {length!r}"),
    ):
        Task(E, context_length=length)


FILES = {
    "unknown field": (
        "eigenvalues = [1]\ncontext = 3",
        "Task has no field context: allowed are context_length, cov",
    ),
    "two unknown": ("a = 1\nb = 2", "Task has no field a, b:"),
    "missing field": ("eigenvalues = [1]", "Task needs the field context_length"),
    "malformed": ("eigenvalues = [1", "Unclosed array"),
    "wrong type": (
        'eigenvalues = [1]\ncontext_length = 3\ntrace = "one"',
        "trace must be positive and finite, not 'one'",
    ),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_refused_files(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Task.from_toml(text)


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null"])
def test_json_that_is_no_object(text):
    with pytest.raises(
        ValueError,
        match=re.escape(f"Task must be a JSON object of its fields, not {text}"),
    ):
        Task.from_json(text)


def test_a_field_that_json_states_twice_is_refused():
    with pytest.raises(
        ValueError, match="the field context_length is stated twice: keep one of them"
    ):
        Task.from_json('{"eigenvalues": [1], "context_length": 5, "context_length": 6}')


def test_a_nearly_singular_diagonal_is_exact_and_accepted():
    assert Task(
        covariance=np.diag([1, 1e-30]), context_length=3
    ).eigenvalues.tolist() == [1, 1e-30]


def test_an_asymmetry_of_rounding_is_averaged_away():
    task = Task(covariance=[[1, 0.5 + 1e-15], [0.5, 1]], context_length=3)
    np.testing.assert_array_equal(task.covariance, task.covariance.T)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_the_checks_of_a_covariance_do_not_depend_on_its_size(size):
    near = np.array([[1, 1 - 1e-12], [1 - 1e-12, 1]])
    assert Task(covariance=size * near, context_length=3).eigenvalues[-1] > 0
    singular = size * np.array([[1, 1 - 1e-16], [1 - 1e-16, 1]])
    assert Task(covariance=singular, context_length=3).eigenvalues[-1] == 0
    with pytest.raises(ValueError, match="positive semidefinite"):
        Task(
            covariance=size * np.array([[1, 1 + 1e-6], [1 + 1e-6, 1]]), context_length=3
        )
    with pytest.raises(ValueError, match="symmetric"):
        Task(covariance=size * np.array([[1, 0.5 + 1e-6], [0.5, 1]]), context_length=3)


def test_eigenvalues_from_text():
    assert eigenvalue_list("4, 3,2.5") == [4.0, 3.0, 2.5]
    assert eigenvalue_list("2/5, 1/3,1e-3") == [0.4, Fraction(1, 3), 0.001]
    with pytest.raises(
        ValueError, match=re.escape("such as 4,3,2,1 or 2/5,3/10, not '4;3'")
    ):
        eigenvalue_list("4;3")


def exact_spectrum(*eigenvalues, **options):
    return Task(eigenvalues, context_length=3, **options).exact_variances.tolist()


@pytest.mark.parametrize(
    "number",
    [
        0.4,
        "0.4",
        "2/5",
        " 4 / 10 ",
        "4e-1",
        Decimal("0.4"),
        Fraction(2, 5),
        np.float64(0.4),
        ".4",
        "0.4/1.0",
    ],
    ids=repr,
)
def test_a_number_is_the_one_that_is_written(number):
    task = Task(
        [number],
        teacher_covariance=[[number]],
        noise_variance=number,
        fixed_teacher=[number],
        in_context_fraction=number,
        context_length=3,
    )
    everything = [
        task.exact_covariance,
        task.exact_teacher_covariance,
        task.exact_fixed_teacher,
    ]
    assert [each.item() for each in everything] == [Fraction(2, 5)] * 3
    assert task.exact_noise_variance == task.exact_in_context_fraction == Fraction(2, 5)
    assert (
        task.covariance.item() == task.noise_variance == task.in_context_fraction == 0.4
    )
    assert task.to_dict()["eigenvalues"] == [0.4]
    assert task == Task.from_dict(task.to_dict())


def test_a_trace_rescales_exactly():
    assert exact_spectrum(4, 3, 2, 1, trace=1.0) == [
        Fraction(n, 10) for n in (4, 3, 2, 1)
    ]
    assert exact_spectrum(0.1, 0.2, trace=0.7) == [Fraction(7, 30), Fraction(7, 15)]
    assert exact_spectrum(1, 1, 1, trace="1/7") == [Fraction(1, 21)] * 3
    matrix = Task(
        covariance=[[0.2, "1/3"], ["1/3", 0.8]], trace=2, context_length=3
    ).exact_covariance
    assert matrix.tolist() == [
        [Fraction(2, 5), Fraction(2, 3)],
        [Fraction(2, 3), Fraction(8, 5)],
    ]


def test_doubles_are_the_nearest_ones():
    task = Task(["1/3", "2/3", "1e-300"], context_length=3)
    assert np.diag(task.covariance).tolist() == [1 / 3, 2 / 3, 1e-300]
    assert np.diag(
        Task(["1/3", "2/3"], trace="1/7", context_length=3).covariance
    ).tolist() == [1 / 21, 2 / 21]


def test_tasks_of_doubles_are_stored_as_ever():
    spread = np.random.default_rng(0).uniform(0.1, 1, 5)
    task = Task(spread, trace=0.3, noise_variance=0.1, context_length=3)
    ever = (
        (np.diag(spread) / (float(np.trace(np.diag(spread))) / 0.3)).diagonal().tolist()
    )
    assert task.to_dict() == {
        "eigenvalues": ever,
        "noise_variance": 0.1,
        "context_length": 3,
    }
    assert Task.from_toml(
        "eigenvalues = [0.4, 0.3]\ntrace = 0.7\ncontext_length = 3"
    ) == Task([0.4, 0.3], trace=0.7, context_length=3)


def test_fractions_travel_as_text():
    task = Task(
        covariance=[["1/3", 0.1], [0.1, 2]],
        teacher_covariance=[["1/7", 0], [0, 1]],
        fixed_teacher=["1/9", 2],
        in_context_fraction="1/3",
        noise_variance="1/6",
        context_length=3,
    )
    assert task.to_dict() == {
        "covariance": [["1/3", 0.1], [0.1, 2.0]],
        "teacher_covariance": [["1/7", 0.0], [0.0, 1.0]],
        "fixed_teacher": ["1/9", 2.0],
        "in_context_fraction": "1/3",
        "noise_variance": "1/6",
        "context_length": 3,
    }
    for other in (
        Task.from_json(task.to_json()),
        Task.from_toml(task.to_toml()),
        pickle.loads(pickle.dumps(task)),
    ):
        assert other == task
        assert other.exact_covariance.tolist() == task.exact_covariance.tolist()
    assert task != Task.from_dict(task.to_dict() | {"noise_variance": 1 / 6})
    scaled = Task([1, 1, 1], trace=1.0, context_length=3)
    assert copy.deepcopy(scaled).exact_variances.tolist() == [Fraction(1, 3)] * 3


@pytest.mark.parametrize("size", [5e-324, 1e308])
def test_a_covariance_at_the_ends_of_doubles_is_kept(size):
    task = Task(covariance=np.full((2, 2), size), context_length=2)
    np.testing.assert_array_equal(task.covariance, size)
