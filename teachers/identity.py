"""The laws that a law of teachers is made of, and what tells one law from another."""

import hashlib
from collections.abc import Iterator
from typing import Any

from .checking import some_draws
from .law import Law
from .mixture import Mixture
from .pool import Pool
from .protocol import TeacherLaw


def laws_within(law: TeacherLaw) -> Iterator[TeacherLaw]:
    """A law, the laws of its parts, and the law that its pool was drawn from.

    >>> from attndyn.teachers import Gaussian, Sphere
    >>> [type(part).__name__ for part in laws_within(Mixture((0.5, Gaussian([1])), (0.5, Sphere(1).pool(3))))]
    ['Mixture', 'Gaussian', 'Pool', 'Sphere']
    """
    yield law
    if isinstance(law, Mixture):
        for part in law.laws:
            yield from laws_within(part)
    if isinstance(law, Pool) and law.recipe is not None:
        yield from laws_within(law.recipe.law)


def law_identity(law: TeacherLaw) -> dict[str, Any]:
    """What tells a law from another: its settings, or for one of the user's own a digest of some draws."""
    if isinstance(law, Mixture):
        parts = []
        for share, part in zip(law.exact_shares, law.laws, strict=True):
            parts.append({"share": str(share), "law": law_identity(part)})
        own = any(not isinstance(part, Law) for part in law.laws)
        return {"law": "mixture", "parts": parts} if own else law.to_dict()
    if isinstance(law, Law):
        return law.to_dict()
    digest = hashlib.sha256(some_draws(law, seed=0).tobytes()).hexdigest()
    return {"law": "own", "class": type(law).__qualname__, "draws": digest}
