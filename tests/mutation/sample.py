"""A sample of mutants that every run of the tests tries again: `python -m tests.mutation.sample RUNS`."""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from .page import Result
from .sites import Site, all_sites, module, mutated
from .trial import Cost, attempt, to_hold, warm

FILE = Path(__file__).with_name("sample.json")
ROOT = FILE.parent.parent.parent
COUNT, SEED, CHEAP = 20, 0, 1.5


def draw(results: Sequence[Result], known: Sequence[Cost]) -> list[dict[str, str]]:
    """Mutants that fell by a cheap claim, module after module in turn, by a fixed seed: key and claim of each."""
    cheap = {cost.claim for cost in known if cost.seconds < CHEAP}
    shuffled = random.Random(SEED).sample(results, len(results))
    modules: dict[str, list[dict[str, str]]] = {}
    for site, outcome in shuffled:
        if outcome.how == "claim" and outcome.claim in cheap:
            modules.setdefault(site.file, []).append(
                {"key": site.key, "claim": outcome.claim}
            )
    rounds = [
        each[turn]
        for turn in range(COUNT)
        for each in modules.values()
        if turn < len(each)
    ]
    return rounds[:COUNT]


def write(results: Sequence[Result], known: Sequence[Cost]) -> None:
    """Keep the sample for the tests."""
    FILE.write_text(
        json.dumps(draw(results, known), indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )


def tried(runs: Path) -> list[dict[str, str]]:
    """What becomes of each mutant of the sample, "gone" where its line has changed, and of an unbroken module."""
    sample = json.loads(FILE.read_text(encoding="utf-8"))
    sites = {site.key: site for site in all_sites(ROOT)}
    found = []
    for each in sample:
        site = sites.get(each["key"])
        how = "gone" if site is None else _how(site.file, [each["claim"]], runs, site)
        found.append(each | {"how": how})
    claims = to_hold(sorted({each["claim"] for each in sample}))
    unbroken = _how(sample[0]["key"].split(" | ")[0], claims, runs)
    return [*found, {"key": "", "claim": " ".join(claims), "how": unbroken}]


def _how(name: str, claims: Sequence[str], runs: Path, site: Site | None = None) -> str:
    file = ROOT / name
    text = file.read_text(encoding="utf-8")
    broken = text if site is None else mutated(text, site)
    costs = [Cost(claim, CHEAP, True, frozenset()) for claim in claims]
    return attempt(module(name), file, broken, costs, runs).how


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    warm(folder / "flows")
    print(json.dumps(tried(folder)))
