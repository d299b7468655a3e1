"""Theory is asked about a task first, and then about a model on it."""

from ..runtime.checks import refuse_wrong_order
from ..task import Task


def require_task_first(call: str, task: object, model: object) -> None:
    """TypeError, with the right call, unless the task comes first and the model after it.

    >>> require_task_first("population(task, model)", "merged", Task([1], context_length=5))
    Traceback (most recent call last):
    TypeError: call population(task, model): got str, then Task
    """
    in_order = isinstance(task, Task) and not isinstance(model, Task)
    refuse_wrong_order(call, in_order, task, model)
