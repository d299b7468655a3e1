"""Models that the settings of a run state."""

import pytest

from attndyn import Factorised, Merged, Separate
from attndyn.models.stated_models import model_differences, stated_model

MODELS = [
    Merged(2),
    Merged(3, softmax=True, query_token=False, score_divisor="sqrt(3)"),
    Separate(2, rank=3, divisor="tokens"),
    Factorised(2, outputs=2, softmax=True, score_divisor="sqrt_key"),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_both_forms_are_read(model):
    """The call that makes it, of `train`, and the settings of an experiment."""
    kind = type(model).__name__.lower()
    for stated in (repr(model), {"model": kind, **model.to_dict()}):
        assert stated_model({"model": stated}) == model


@pytest.mark.parametrize(
    "stated",
    [
        "network",
        "Merged(",
        "Merged(2)(3)",
        "Merged(heads=print())",
        "Merged(heads=2, depth=3)",
        "Merged(heads=0)",
        "Own(heads=2)",
        "os.getcwd()",
        {"model": "own", "heads": 2},
        {"model": "merged", "heads": "many"},
        {},
        3,
        None,
    ],
    ids=repr,
)
def test_anything_else_states_no_model(stated):
    assert stated_model({"model": stated}) is None


def test_every_setting_is_compared():
    base = {"heads": 2, "rank": 2, "softmax": True}
    others = {
        "heads": 3,
        "rank": 3,
        "softmax": False,
        "query_token": False,
        "score_divisor": 3,
        "outputs": 2,
        "divisor": "tokens",
    }
    for name, value in others.items():
        found = model_differences(Separate(**base), Separate(**base | {name: value}), 4)
        assert name in [each.name for each in found]
    assert model_differences(Separate(**base), Separate(**base), 4) == ()
    (kind,) = model_differences(Merged(2), Separate(2), 4)
    assert (
        kind.in_words("one", "two") == "one has model = Merged and two model = Separate"
    )


def test_divisors_are_compared_in_numbers():
    named = Separate(2, rank=4, softmax=True, score_divisor="sqrt_key")
    assert (
        model_differences(named, Separate(2, 4, softmax=True, score_divisor=2), 9) == ()
    )
