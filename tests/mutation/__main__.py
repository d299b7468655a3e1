"""Breaks every formula of the theory, one at a time, and writes which claim falls: `python -m tests.mutation`.

Finished trials are kept in build/mutants and not repeated, as long as neither theory nor claims have changed. The
package is copied first, so that work on it can go on meanwhile.
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
from .sites import Site, all_sites, module, mutated
from .trial import Cost, Outcome, attempt, costs, warm

ROOT = Path(__file__).parent.parent.parent
BUILD = ROOT / "build" / "mutants"
COPIED = ("__init__.py", "model.py", "settings.py", "sources.py", "task.py", "CITATION.cff", "py.typed")
ROOMS = ("theory", "simulate", "compare")
WORKERS = 2
TIERS = ("fast", "standard")


def main() -> None:
    """Copy the package, check it as it is, break it, write docs/mutants.md; exit 1 if a survivor is unexplained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=main.__doc__)
    parser.add_argument("--only", default="", help="only mutations whose file, function and line contain this")
    parser.add_argument("--tier", choices=TIERS, default="standard", help="the last tier of claims to check")
    options = parser.parse_args()
    tree, digest = _copied()
    sys.path.insert(0, str(tree.parent))
    warm(BUILD / "flows")
    chosen = [site for site in all_sites(tree) if options.only in site.key]
    known = _costs(digest, TIERS[: TIERS.index(options.tier) + 1])
    wrong = [cost.claim for cost in known if not cost.holds]
    if wrong:
        sys.exit(f"the unbroken theory must pass first, but these claims do not hold: {', '.join(wrong)}")
    # From both ends: what one has tried the other finds kept, and both end together however long a module takes.
    _in_workers(lambda share: _try_all(chosen[:: (1, -1)[share]], tree, known, digest))
    results = [(site, outcome) for site in chosen if (outcome := _kept(site, tree, digest, known))]
    if not options.only and options.tier == "standard":
        page.write(results, ROOT)
        sample.write(results, known)
    unexplained = page.unexplained(results)
    for site in unexplained:
        print(f"survives, and nobody says why: {site.key}")
    sys.exit(1 if unexplained or len(results) < len(chosen) else 0)


def _copied() -> tuple[Path, str]:
    """The copy of the package as it is now, and the digest of its source."""
    files = [ROOT / name for name in COPIED if (ROOT / name).exists()]
    files += [f for room in ROOMS for f in sorted((ROOT / room).rglob("*")) if f.is_file() and f.suffix != ".pyc"]
    files = [file for file in files if "__pycache__" not in file.parts]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
    tree = BUILD / digest / "attndyn"
    for file in files:
        target = tree / file.relative_to(ROOT)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return tree, digest


def _costs(digest: str, tiers: Sequence[str]) -> list[Cost]:
    """The claims of these tiers, cheapest first."""
    folder = BUILD / digest / "costs"
    folder.mkdir(exist_ok=True)
    names = _claims(tiers)
    missing = [name for name in names if not (folder / f"{name}.json").exists()]

    def measure(share: int) -> None:
        for cost in costs(missing[share::WORKERS], BUILD / "runs"):
            plain = asdict(cost) | {"calls": sorted(cost.calls)}
            (folder / f"{cost.claim}.json").write_text(json.dumps(plain), encoding="utf-8")
            print(f"{cost.claim}: {cost.seconds:.1f} s, {'holds' if cost.holds else 'DOES NOT HOLD'}", flush=True)

    _in_workers(measure)
    plain = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    found = [Cost(**each | {"calls": frozenset(each["calls"])}) for each in plain]
    return sorted((cost for cost in found if cost.calls), key=lambda cost: cost.seconds)


def _claims(tiers: Sequence[str]) -> list[str]:
    """Ids of the claims of these tiers: read in another process, since this one must not import theory."""
    code = f"""from attndyn.compare.claims import all_claims
print(*(claim.id for claim in all_claims() if claim.tier in {tiers!r}))"""
    environment = os.environ | {"PYTHONPATH": sys.path[0]}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    return shown.stdout.split()


def _try_all(sites: Sequence[Site], tree: Path, known: Sequence[Cost], digest: str) -> None:
    begin = time.monotonic()
    for number, site in enumerate(sites, 1):
        if _kept(site, tree, digest, known) is None:
            file = tree / site.file
            text = mutated(file.read_text(encoding="utf-8"), site)
            outcome = attempt(
                module(site.file), file, text, _last_fallen_first(site, reaching(site, known)), BUILD / "runs"
            )
            path = _place(site, digest, known)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"key": site.key} | asdict(outcome)), encoding="utf-8")
            _remember(site, outcome)
            spent = time.monotonic() - begin
            print(f"{number}/{len(sites)} {spent:.0f} s {outcome.how} {outcome.claim} <- {site.key}", flush=True)


def reaching(site: Site, known: Sequence[Cost]) -> list[Cost]:
    """The claims that run the function in which a formula stands; all of them if it stands outside of functions."""
    if site.function == "module":
        return list(known)
    return [cost for cost in known if f"{site.file}:{site.function}" in cost.calls]


def _last_fallen_first(site: Site, known: Sequence[Cost]) -> list[Cost]:
    """The claim that fell last time comes first: it most likely falls again, whatever has changed since."""
    path = _hint(site)
    fallen = path.read_text(encoding="utf-8") if path.exists() else ""
    return sorted(known, key=lambda cost: cost.claim != fallen)


def _remember(site: Site, outcome: Outcome) -> None:
    if outcome.claim:
        _hint(site).parent.mkdir(exist_ok=True)
        _hint(site).write_text(outcome.claim, encoding="utf-8")


def _hint(site: Site) -> Path:
    return BUILD / "fallen" / hashlib.sha256(site.key.encode()).hexdigest()[:24]


def _kept(site: Site, tree: Path, digest: str, known: Sequence[Cost]) -> Outcome | None:
    path = _place(site, digest, known)
    if not path.exists():
        return None
    plain = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(plain["how"], plain["claim"], plain["checked"])


def _place(site: Site, digest: str, known: Sequence[Cost]) -> Path:
    """Where the outcome of a trial is kept: it depends on the theory, the claims, and which of them are checked."""
    claims = ",".join(cost.claim for cost in sorted(known, key=lambda cost: cost.claim))
    name = hashlib.sha256(f"{site.key}\n{claims}".encode()).hexdigest()[:24]
    return BUILD / digest / "outcomes" / f"{name}.json"


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
