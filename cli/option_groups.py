"""Groups of options that several commands share: a dataclass whose fields are options of the command."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any


def with_grouped_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command for typer: each argument whose type is a dataclass becomes the options that are its fields.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Size:
    ...     width: int = 1
    ...     height: int = 2
    >>> @with_grouped_options
    ... def area(size: Size, unit: str = "m") -> str:
    ...     return f"{size.width * size.height} {unit}"
    >>> area(height=3), list(inspect.signature(area).parameters)
    ('3 m', ['width', 'height', 'unit'])
    """
    signature = inspect.signature(command)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        group: Any = parameter.annotation
        options = [parameter]
        if is_dataclass(group):
            groups[name] = group
            options = list(inspect.signature(parameter.annotation).parameters.values())
        # By keyword, so that options without a default may follow others.
        parameters += [
            option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options
        ]

    @functools.wraps(command)
    def grouped(**options: Any) -> Any:
        for name, group in groups.items():
            own = [each.name for each in fields(group) if each.name in options]
            options[name] = group(**{option: options.pop(option) for option in own})
        return command(**options)

    # What typer reads the options from.
    grouped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    grouped.__annotations__ = {each.name: each.annotation for each in parameters}
    return grouped
