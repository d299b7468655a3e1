"""Breaks every formula of the theory, one at a time, and writes which claim falls: `python -m tests.mutation`.

Finished trials are kept in build/mutants and not repeated while the code has not changed on which the claims depend
that were checked. The package is copied first, so that work on it can go on meanwhile.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from . import page, sample
from .justified import read, reason
from .sites import Site, all_sites, module, mutated
from .trial import Cost, Outcome, attempt, costs, warm

ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "mutants"
COPIED = (
    *(file.name for file in sorted(ROOT.glob("*.py"))),
    "CITATION.cff",
    "py.typed",
)
ROOMS = ("runtime", "models", "teachers", "theory", "simulate", "compare")
WORKERS = 2
TIERS = ("fast", "standard")
CHEAP = 1.0
"""Seconds that a claim may take on which a mutant is tried that may survive."""


def main() -> None:
    """Copy the package, check it as it is, break it, write docs/mutants.md; exit 1 if a survivor is unexplained."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=main.__doc__
    )
    parser.add_argument(
        "--only",
        default="",
        help="only mutations whose file, function and statement contain this",
    )
    parser.add_argument(
        "--tier",
        choices=TIERS,
        default="standard",
        help="the last tier of claims to check",
    )
    options = parser.parse_args()
    tree = _copied()
    sys.path.insert(0, str(tree.parent))
    warm(BUILD / "flows")
    chosen = [site for site in all_sites(tree) if options.only in site.key]
    known = _costs(TIERS[: TIERS.index(options.tier) + 1])
    wrong = [cost.claim for cost in known if not cost.holds]
    if wrong:
        sys.exit(
            f"the unbroken theory must pass first, but these claims do not hold: {', '.join(wrong)}"
        )
    # From both ends: what one has tried the other finds kept, and both end together however long a module takes.
    _in_workers(lambda share: _try_all(chosen[:: (1, -1)[share]], tree, known))
    results = [
        (site, outcome)
        for site in chosen
        if (outcome := _kept(site, to_try(site, known)))
    ]
    if not options.only and options.tier == "standard":
        page.write(results, ROOT)
        sample.write(results, known)
    unexplained = page.unexplained(results)
    for site in unexplained:
        print(f"survives, and nobody says why: {site.key}")
    sys.exit(1 if unexplained or len(results) < len(chosen) else 0)


def _copied() -> Path:
    """The copy of the package as it is now, in a folder named by the digest of its source."""
    files = [ROOT / name for name in COPIED if (ROOT / name).exists()]
    files += [
        f
        for room in ROOMS
        for f in sorted((ROOT / room).rglob("*"))
        if f.is_file() and f.suffix != ".pyc"
    ]
    files = [file for file in files if "__pycache__" not in file.parts]
    digest = hashlib.sha256(
        b"\0".join(file.read_bytes() for file in files)
    ).hexdigest()[:16]
    tree = BUILD / digest / "attndyn"
    for file in files:
        target = tree / file.relative_to(ROOT)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return tree


def _costs(tiers: Sequence[str]) -> list[Cost]:
    """The claims of these tiers, cheapest first."""
    folder = BUILD / "costs"
    folder.mkdir(exist_ok=True)
    paths = {
        name: folder / f"{name} {code[:24]}.json"
        for name, code in _claims(tiers).items()
    }
    missing = [name for name, path in paths.items() if not path.exists()]

    def measure(share: int) -> None:
        for cost in costs(missing[share::WORKERS], BUILD / "runs"):
            plain = asdict(cost) | {
                "calls": sorted(cost.calls),
                "code": paths[cost.claim].stem.split()[1],
            }
            paths[cost.claim].write_text(json.dumps(plain), encoding="utf-8")
            print(
                f"{cost.claim}: {cost.seconds:.1f} s, {'holds' if cost.holds else 'DOES NOT HOLD'}",
                flush=True,
            )

    _in_workers(measure)
    plain = [json.loads(path.read_text(encoding="utf-8")) for path in paths.values()]
    found = [Cost(**each | {"calls": frozenset(each["calls"])}) for each in plain]
    return sorted((cost for cost in found if cost.calls), key=lambda cost: cost.seconds)


def _claims(tiers: Sequence[str]) -> dict[str, str]:
    """Ids of the claims of these tiers and the digest of the code that each depends on.

    They are read in another process, since this one must not import theory.
    """
    code = f"""from attndyn.compare.claims import all_claims, section_files
from attndyn.runtime.code_digest import source_digest, sources
files = section_files()
digests = {{file: source_digest(sources(file)) for file in set(files.values())}}
print(*(f"{{claim.id}} {{digests[files[claim.id]]}}" for claim in all_claims() if claim.tier in {tiers!r}))"""
    environment = os.environ | {"PYTHONPATH": sys.path[0]}
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    words = shown.stdout.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _try_all(sites: Sequence[Site], tree: Path, known: Sequence[Cost]) -> None:
    begin = time.monotonic()
    for number, site in enumerate(sites, 1):
        tried = _last_fallen_first(site, to_try(site, known))
        if _kept(site, tried) is None:
            file = tree / site.file
            text = mutated(file.read_text(encoding="utf-8"), site)
            outcome = attempt(module(site.file), file, text, tried, BUILD / "runs")
            _remember(site, outcome, tried)
            spent = time.monotonic() - begin
            print(
                f"{number}/{len(sites)} {spent:.0f} s {outcome.how} {outcome.claim} <- {site.key}",
                flush=True,
            )


def to_try(site: Site, known: Sequence[Cost]) -> list[Cost]:
    """The claims that run what is broken, only the cheap ones where a reason says why it may survive."""
    excused = reason(site, read()) is not None
    return [
        cost for cost in reaching(site, known) if cost.seconds <= CHEAP or not excused
    ]


def reaching(site: Site, known: Sequence[Cost]) -> list[Cost]:
    """The claims that run the function in which a formula stands, or its file if it stands outside of functions."""
    if site.function == "module":
        return [
            cost
            for cost in known
            if any(call.startswith(f"{site.file}:") for call in cost.calls)
        ]
    return [cost for cost in known if f"{site.file}:{site.function}" in cost.calls]


def _last_fallen_first(site: Site, known: Sequence[Cost]) -> list[Cost]:
    """The claim comes first that fell last time, then the one that fell last at another mutant of this function.

    They most likely fall again, whatever has changed since; a claim that may not fall costs its whole time.
    """
    fallen = [_read(_hint(site.key)), _read(_hint(_function(site)))]
    return sorted(
        known,
        key=lambda cost: (
            fallen.index(cost.claim) if cost.claim in fallen else len(fallen)
        ),
    )


def _remember(site: Site, outcome: Outcome, tried: Sequence[Cost]) -> None:
    """Keep an outcome, which depends on the claim that fell, or on all that were tried, and on their code."""
    fallen = [cost for cost in tried if cost.claim == outcome.claim]
    path = _place(site, fallen or tried)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"key": site.key} | asdict(outcome)), encoding="utf-8")
    for text in (site.key, _function(site)) if outcome.claim else ():
        _hint(text).parent.mkdir(exist_ok=True)
        _hint(text).write_text(outcome.claim, encoding="utf-8")


def _hint(text: str) -> Path:
    """Where the claim is kept that fell last at a mutant, or at any mutant of a function."""
    return BUILD / "fallen" / hashlib.sha256(text.encode()).hexdigest()[:24]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _function(site: Site) -> str:
    return f"{site.file} | {site.function}"


def _kept(site: Site, known: Sequence[Cost]) -> Outcome | None:
    """The outcome of a trial that still holds: the claim that fell last time falls again, or all still hold."""
    last = _read(_hint(site.key))
    first = [cost for cost in known if cost.claim == last]
    for claims in (first, known):
        path = _place(site, claims)
        if path.exists():
            plain = json.loads(path.read_text(encoding="utf-8"))
            if plain["claim"] or claims is known:
                return Outcome(plain["how"], plain["claim"], plain["checked"])
    return None


def _place(site: Site, claims: Sequence[Cost]) -> Path:
    text = "\n".join(
        [site.key, *sorted(f"{cost.claim} {cost.code}" for cost in claims)]
    )
    return BUILD / "outcomes" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _in_workers(work: Callable[[int], None]) -> None:
    """Call `work` with 0, 1, … in as many forked processes; all are ended with this one."""
    children = []
    for share in range(WORKERS):
        child = os.fork()
        if child == 0:
            try:
                work(share)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        sys.exit("a worker failed: see above")


if __name__ == "__main__":
    main()
