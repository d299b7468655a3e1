"""Teachers N(0, Ω) of one output, alone or beside a fixed one: arguments of a task, and the law that they describe."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np

from ..runtime.arrays import FloatArray, read_only
from ..runtime.covariances import positive_semidefinite
from ..runtime.decimals import (
    Numbers,
    Written,
    exact_fraction,
    frozen_numbers,
    in_message,
    number,
    number_array,
)
from .gaussian import Gaussian
from .mixture import Mixture
from .pool import Pool
from .protocol import TeacherLaw


@dataclass(frozen=True)
class NormalTeachers:
    """Teachers N(0, Ω), with probability p beside a fixed one w₀: as doubles, as a law, and as they were written."""

    law: TeacherLaw
    covariance: FloatArray
    fixed: FloatArray | None
    fraction: float | Fraction
    written: dict[str, Any]


def normal_teachers(
    covariance: Numbers | None,
    fixed_teacher: Numbers | None,
    fraction: object,
    dimension: int,
) -> NormalTeachers:
    """Teachers as `teacher_covariance`, `fixed_teacher` and `in_context_fraction` describe them."""
    Ω = _teacher_covariance(covariance, dimension)
    w0, p = _checked_mixture(fixed_teacher, fraction, dimension)
    # As it was written, so that the law holds the exact numbers as well.
    normal = Gaussian(Ω.doubles if Ω.exact is None else Ω.exact)
    written: dict[str, Any] = {"teacher_covariance": frozen_numbers(Ω)}
    if w0 is None:
        return NormalTeachers(normal, read_only(Ω.doubles), None, p, written)
    written["fixed_teacher"] = frozen_numbers(w0)
    written["in_context_fraction"] = p
    exact_p = exact_fraction(p)
    law = Mixture((exact_p, normal), (1 - exact_p, Pool(w0.doubles[None])))
    return NormalTeachers(law, read_only(Ω.doubles), read_only(w0.doubles), p, written)


def as_normal_teachers(law: TeacherLaw) -> NormalTeachers | None:
    """The same of a law that is N(0, Ω) with one output, alone or beside one fixed teacher; None of another."""
    if _is_centred(law):
        return normal_teachers(_written_covariance(law), None, None, law.dimension)
    if not isinstance(law, Mixture) or len(law.laws) != 2:
        return None
    normal, fixed = law.laws
    if not _is_centred(normal) or not _is_one_teacher(fixed):
        return None
    w0 = fixed.teachers[0, 0]
    p = law.exact_shares[0]
    return normal_teachers(_written_covariance(normal), w0, p, law.dimension)


def _is_centred(law: TeacherLaw) -> TypeGuard[Gaussian]:
    """Whether a law is N(0, Ω) with one output."""
    return isinstance(law, Gaussian) and law.symmetric and law.outputs == 1


def _is_one_teacher(law: TeacherLaw) -> TypeGuard[Pool]:
    """Whether a law is one fixed teacher, given by its numbers."""
    if not isinstance(law, Pool) or law.signs:
        return False
    return len(law.teachers) == 1 and law.recipe is None


def _written_covariance(law: Gaussian) -> Numbers:
    """Ω of N(0, Ω), as it was written."""
    return law.written.doubles if law.written.exact is None else law.written.exact


def refuse_second_law(*arguments: object) -> None:
    """ValueError where Ω, w₀ or p, in this order, come beside a law of teachers."""
    names = ("teacher_covariance", "fixed_teacher", "in_context_fraction")
    stated = [
        name for name, value in zip(names, arguments, strict=True) if value is not None
    ]
    if stated:
        raise ValueError(
            f"teachers= says everything about the teacher: leave {' and '.join(stated)} out"
        )


def refuse_other_dimension(law: TeacherLaw, dimension: int) -> None:
    """ValueError unless the teachers are for x of this dimension."""
    if law.dimension != dimension:
        raise ValueError(
            f"teachers are for x of dimension {law.dimension}, and Λ is {dimension} × {dimension}"
        )


def _teacher_covariance(value: Numbers | None, dimension: int) -> Written:
    """Ω (D, D), the identity if left out."""
    if value is None:
        return Written(np.eye(dimension), None)
    return positive_semidefinite("teacher_covariance", value, dimension)


def _checked_mixture(
    fixed_teacher: Numbers | None, fraction: object, dimension: int
) -> tuple[Written | None, float | Fraction]:
    """w₀ (D,) and p, or None and 1; ValueError for one without the other."""
    value = number(fraction)
    if fixed_teacher is None:
        if fraction is not None and value != 1:
            raise ValueError(
                f"in_context_fraction {in_message(fraction)} needs a fixed_teacher for the other sequences"
            )
        return None, 1.0
    if value is None or not 0 <= value <= 1:
        raise ValueError(
            f"a fixed_teacher needs in_context_fraction between 0 and 1, not {in_message(fraction)}"
        )
    return number_array("fixed_teacher", fixed_teacher, (dimension,)), value
