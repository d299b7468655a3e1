"""Mutations that no change of a number, sign or term reaches: `python -m tests.mutation.structural RUNS`.

They stand in structural.toml: two things exchanged, a branch taken at ties, a term left out in one branch, a matrix
transposed, a range that ends one early. Each names the claim that falls.
"""

import ast
import json
import sys
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from .sites import module
from .trial import Cost, attempt, to_hold, warm

FILE = Path(__file__).with_name("structural.toml")
ROOT = FILE.parent.parent.parent
SECONDS = 20.0
"""More than a claim of the list takes, also where the package's functions are compiled first."""


@dataclass(frozen=True)
class Structural:
    """Text `old`, which stands once in `file`, replaced by `new`: `what` that is, and the `claim` that falls.

    `old` is written as `ast.unparse` writes code, so that it does not depend on how lines are broken.
    """

    file: str
    what: str
    old: str
    new: str
    claim: str

    def mutated(self, root: Path = ROOT) -> str:
        """The module's text with the mutation; ValueError unless `old` stands in it exactly once."""
        source = (root / self.file).read_text(encoding="utf-8")
        text = ast.unparse(ast.parse(source))
        count = text.count(self.old)
        if count != 1:
            raise ValueError(
                f"{self.file} holds {self.old!r} {count} times, not once: mend structural.toml"
            )
        return text.replace(self.old, self.new)


def read(file: Path = FILE) -> list[Structural]:
    """The mutations of a file, in its order."""
    return [
        Structural(**each)
        for each in tomllib.loads(file.read_text(encoding="utf-8"))["mutant"]
    ]


def tried(runs: Path) -> list[dict[str, str]]:
    """What becomes of each mutation, and of their claims over the unbroken package."""
    found = []
    for mutant in read():
        costs = [Cost(mutant.claim, SECONDS, True, frozenset())]
        outcome = attempt(
            module(mutant.file), ROOT / mutant.file, mutant.mutated(), costs, runs
        )
        found.append(asdict(mutant) | {"how": outcome.how})
    claims = to_hold(sorted({mutant.claim for mutant in read()}))
    unbroken, file = (
        (ROOT / "theory" / "linear_attention" / "merged.py"),
        "theory/linear_attention/merged.py",
    )
    costs = [Cost(claim, SECONDS, True, frozenset()) for claim in claims]
    outcome = attempt(
        module(file), unbroken, unbroken.read_text(encoding="utf-8"), costs, runs
    )
    return [*found, {"what": "unbroken", "claim": outcome.claim, "how": outcome.how}]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    warm(folder / "flows")
    print(json.dumps(tried(folder)))
