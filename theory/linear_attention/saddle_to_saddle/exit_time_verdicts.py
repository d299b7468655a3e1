"""What can be said of the exit times of a staircase."""

DETERMINED = "determined"
EQUAL_HEADS = "rests on exactly equal heads or on a ridge"
EXACT_ZEROS = "rests on exact zeros"
NOT_VERIFIED = "not verified"

EXPLANATIONS = {
    EQUAL_HEADS: (
        "the staircase rests on exactly equal heads or on a ridge: its exit times hold for these weights in exact "
        "arithmetic, and change when each weight is moved by a relative 1e-9"
    ),
    EXACT_ZEROS: (
        "the staircase rests on exact zeros among the weights: its exit times hold for these weights, and change "
        "when the zeros are filled with 1e-9 of their head's size"
    ),
}


class SensitiveStaircaseWarning(UserWarning):
    """The exit times hold for exactly these weights: a simulation, which rounds, may do otherwise."""
