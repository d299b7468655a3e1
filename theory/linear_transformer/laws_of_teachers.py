"""Which of the laws of teachers with known dynamics a task of several outputs has."""

from ...task import Task
from .kronecker_tasks import kronecker_task


def is_kronecker(task: Task) -> bool:
    """Whether E W_ia W_jb = Γ_ij Ω_ab, and the layer is known on this task.

    >>> from attndyn.teachers import Gaussian
    >>> is_kronecker(Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=9))
    False
    """
    try:
        kronecker_task(task, None, "is_kronecker")
    except ValueError:
        return False
    return True
