"""Which claims somebody means by a name: an id, what precedes a dot in ids, or a Python file."""

from collections.abc import Sequence
from difflib import get_close_matches

from ..claims import all_claims
from ..evidence.claim import TIERS, Claim
from .registry import load_claims, registered

MAX_SUGGESTIONS = 3
"""Most names that are suggested for a misspelt one."""

SIMILARITY = 0.7
"""Share of letters in common from where on a name is suggested: a letter or two are wrong, not the word."""


def claims_named(names: Sequence[str], tier: str) -> list[Claim]:
    """The claims of these names in the order of the ledger, or all of the package up to the tier if none is given.

    ValueError for a tier that does not exist, or a name that no claim has, with those that resemble it.
    """
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {tier!r}")
    return _claims_of_names(names) if names else _claims_up_to(tier)


def _claims_up_to(tier: str) -> list[Claim]:
    """The claims of the package of this tier and of those below it."""
    included = TIERS[: TIERS.index(tier) + 1]
    return [claim for claim in all_claims() if claim.tier in included]


def _claims_of_names(names: Sequence[str]) -> list[Claim]:
    # A file registers its claims when it is run, and only then are they among those that can be asked for.
    ids_of_files = {name: load_claims(name) for name in names if name.endswith(".py")}
    claims = _claims_that_exist()
    wanted = [part for name in names for part in ids_of_files.get(name, [name])]
    matching = {name: _resolve(name, claims) for name in wanted}
    unknown = [name for name in wanted if not matching[name]]
    if unknown:
        raise ValueError(
            f"no claim is called {', '.join(unknown)}: {_suggestion(unknown, claims)}"
        )
    # In the order of the ledger, and each once, however often it is named.
    chosen = {
        claim.id for claims_of_name in matching.values() for claim in claims_of_name
    }
    return [claim for claim in claims if claim.id in chosen]


def _resolve(name: str, claims: Sequence[Claim]) -> list[Claim]:
    """The claims whose id is this name, or begins with it and a dot."""
    return [
        claim for claim in claims if claim.id == name or claim.id.startswith(f"{name}.")
    ]


def _claims_that_exist() -> list[Claim]:
    """Every claim of the package and every registered one; ValueError if two have one id."""
    claims = all_claims()
    users = registered()
    for claim in claims:
        if claim.id in users:
            raise ValueError(
                f"the package has a claim {claim.id} already: choose another id at {users[claim.id].location}"
            )
    return [*claims, *(registration.claim for registration in users.values())]


def _suggestion(unknown: Sequence[str], claims: Sequence[Claim]) -> str:
    """The ids, or first parts of ids, that are nearest to what somebody has written; the first parts if none is."""
    ids = [claim.id for claim in claims]
    sections = list(dict.fromkeys(name.split(".")[0] for name in ids))
    # Sections first: whoever has written half of an id may mean all claims that begin so.
    names = [*sections, *ids]
    similar = [match for name in unknown for match in _similar(name, names)]
    if similar:
        return f"did you mean {', '.join(dict.fromkeys(similar))}?"
    return f"the names begin with {', '.join(sections)}, and docs/claims.md lists them"


def _similar(written: str, names: Sequence[str]) -> list[str]:
    """The names that resemble the written one, or whose second part does."""
    similar = get_close_matches(written, names, MAX_SUGGESTIONS, SIMILARITY)
    if similar:
        return similar
    # "aligned" is no name, and resembles none as a whole, but it is the second part of two.
    second_parts = {name.partition(".")[2] for name in names} - {""}
    parts = get_close_matches(written, second_parts, MAX_SUGGESTIONS, SIMILARITY)
    matches = [name for name in names if name.partition(".")[2] in parts]
    return matches[:MAX_SUGGESTIONS]
