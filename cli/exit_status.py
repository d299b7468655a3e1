"""The exit statuses of the commands and their meanings."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended; 128 + the number of the signal where a signal ended it, as shells count.

    >>> int(ExitStatus.OTHER_THAN_EXPECTED)
    1
    """

    AS_EXPECTED = 0
    OTHER_THAN_EXPECTED = 1
    NOT_DONE = 2
    UNDECIDED = 3
    UNDEFINED = 4
    # 128 + the number of the signal.
    HUNG_UP = 129
    INTERRUPTED = 130
    NOBODY_READS = 141
    TERMINATED = 143


MEANING = {
    ExitStatus.AS_EXPECTED: "done, and every verdict is as expected",
    ExitStatus.OTHER_THAN_EXPECTED: "done, and something is refuted, diverged, or otherwise not as expected",
    ExitStatus.NOT_DONE: "not done: a wrong option, or a file that cannot be read or written",
    ExitStatus.UNDECIDED: "check: a statement is neither proved nor refuted",
    ExitStatus.UNDEFINED: "check: a statement has no value at some point",
    ExitStatus.HUNG_UP: "ended because its terminal was closed",
    ExitStatus.INTERRUPTED: "ended by Ctrl-C",
    ExitStatus.NOBODY_READS: "ended because its output was closed, as by head",
    ExitStatus.TERMINATED: "ended by SIGTERM",
}
"""The meaning of each status, as `attndyn --help` and docs/commands.md state it."""


def in_words(*statuses: ExitStatus) -> str:
    """The meaning of these statuses in one line, for the help of a command.

    >>> in_words(ExitStatus.AS_EXPECTED)
    'Exit status: 0 done, and every verdict is as expected.'
    """
    return f"Exit status: {'; '.join(f'{int(status)} {MEANING[status]}' for status in statuses)}."
