"""Writes docs/mutants.md: how many mutants fell, by which claims, and why the others survive.

`python -m tests.mutation.page` writes the part on structural mutations anew, which needs no trial of all others.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import structural
from .justified import CLASSES, Reason, read, reason
from .sites import KINDS, Site
from .trial import Outcome

FELL = ("claim", "exception", "import", "timeout")

Result = tuple[Site, Outcome]

HEADER = """\
# Mutants

This page is for readers who ask whether the claims would notice a wrong formula. A *mutant* is the package with one
formula of `theory/` broken on purpose. `make mutants` makes one for every syntax node, and asks whether a claim of the
*fast* or *standard* tier falls.

**What is broken.**

| kind | change |
| --- | --- |
| constant | N becomes N + 1, and ½ becomes 1 |
| exponent | it goes up or down by one |
| sign | it changes |
| factor | it multiplies where it divided, or the reverse |
| term | one term of a sum is dropped |
| length | a context length N becomes N + 1 |

**What is left alone.** No mutants are made of indices, array axes and shapes, tolerances, default arguments, messages,
and thresholds that only choose a branch. The same holds for the modules of `theory/symbolic` that read, write and
decide what is equal.

**How a mutant is tried.** It is tried against the claims that run the broken function, cheapest first, until one
falls. A mutant that may survive, for a reason in the last section, is tried only against claims that take less than a
second.

**How a mutant falls.**

| column | meaning |
| --- | --- |
| claim | a verdict is not the expected one |
| exception | a claim fails instead of giving a verdict |
| import | the package cannot be imported |
| timeout | a claim takes five times as long as it should |

The numbers on this page are those of the last whole run, which takes hours. Modules that have been renamed, added or
removed since then differ from the table. Every `make test` tries a sample of twenty mutants again. This page
is written by `python -m tests.mutation`, and the reasons come from `tests/mutation/justified.toml`.
"""

STRUCTURAL_TITLE = "## Structural mutations"
STRUCTURAL = f"""{STRUCTURAL_TITLE}

Some mistakes are not a change of a number, sign or term. Examples are two quantities that are exchanged, a branch that
is taken at ties, a term that is left out in one branch, a matrix that is transposed, and a range that ends one early.
The mutations in this table were made by hand. Every `make test` tries each of them
(`tests/mutation/structural.toml`), and it makes the claim in the last column fall:
"""
SURVIVORS = "## Survivors"


def unexplained(results: Sequence[Result]) -> list[Site]:
    """Survivors without a reason."""
    reasons = read()
    return [
        site
        for site, outcome in results
        if outcome.how == "survived" and reason(site, reasons) is None
    ]


def text(results: Sequence[Result]) -> str:
    """The whole page."""
    parts = [
        *_counts(results),
        *_claims(results),
        *structural_part(),
        *_survivors(results),
    ]
    return "\n".join([HEADER, *parts]).rstrip("\n") + "\n"


def write(results: Sequence[Result], root: Path) -> None:
    """Write the page of the package at `root`."""
    (root / "docs" / "mutants.md").write_text(text(results), encoding="utf-8")


def structural_part() -> list[str]:
    """Lines on the mutations of structural.toml, every one of which must fall by its claim."""
    rows = [
        (f"`{each.file}`", each.what, f"`{each.claim}`") for each in structural.read()
    ]
    return [STRUCTURAL, *_table(("module", "mutation", "claim that falls"), rows)]


def update(root: Path) -> None:
    """Write the part on structural mutations of the page of the package at `root` anew."""
    page = root / "docs" / "mutants.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(STRUCTURAL_TITLE)
    if not rest:
        before, _, rest = before.partition(SURVIVORS)
    else:
        rest = rest.partition(SURVIVORS)[2]
    page.write_text(
        before + "\n".join([*structural_part(), SURVIVORS]) + rest, encoding="utf-8"
    )


def _counts(results: Sequence[Result]) -> list[str]:
    lines = ["## How many", ""]
    for title, name, groups in (
        ("module", lambda site: site.file, sorted({site.file for site, _ in results})),
        ("kind", lambda site: site.kind, KINDS),
    ):
        rows = [
            _row(f"`{group}`", [o for s, o in results if name(s) == group])
            for group in groups
        ]
        total = _row("all", [outcome for _, outcome in results])
        lines += _table((title, "mutants", *FELL, "survive"), [*rows, total])
    return lines


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    how = Counter(outcome.how for outcome in outcomes)
    return (
        name,
        *(
            str(n)
            for n in (len(outcomes), *(how[each] for each in FELL), how["survived"])
        ),
    )


def _claims(results: Sequence[Result]) -> list[str]:
    first = Counter(outcome.claim for _, outcome in results if outcome.claim)
    rows = [(f"`{claim}`", str(count)) for claim, count in first.most_common()]
    return ["## Which claim fell first", "", *_table(("claim", "mutants"), rows)]


def _survivors(results: Sequence[Result]) -> list[str]:
    """Survivors by reason; those without one come last."""
    reasons, lines = read(), [SURVIVORS, ""]
    found: dict[Reason | None, list[Site]] = {}
    for site, outcome in results:
        if outcome.how == "survived":
            found.setdefault(reason(site, reasons), []).append(site)
    for kind, meaning in CLASSES.items():
        groups = [
            (why, sites)
            for why, sites in found.items()
            if why is not None and why.kind == kind
        ]
        lines += [
            f"### {kind.capitalize()}: {sum(len(sites) for _, sites in groups)}",
            "",
            f"{meaning[0].upper()}{meaning[1:]}.",
            "",
        ]
        lines += _table(
            ("where", "mutants", "reason"),
            [_reasoned(why, sites) for why, sites in groups],
        )
    left = [
        (f"`{site.file}`, `{site.function}`", f"`{site.before} → {site.after}`")
        for site in found.get(None, [])
    ]
    return [
        *lines,
        f"### Without a reason: {len(left)}",
        "",
        *(_table(("where", "mutation"), left) if left else []),
    ]


def _reasoned(why: Reason, sites: Sequence[Site]) -> tuple[str, str, str]:
    shown = "; ".join(f"`{site.before} → {site.after}`" for site in sites[:3])
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    return f"`{why.file}`, `{why.function}`: {shown}{more}", str(len(sites)), why.reason


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [
        *(
            "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
            for cells in lines
        ),
        "",
    ]


if __name__ == "__main__":
    update(structural.ROOT)
