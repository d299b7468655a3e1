"""One tab of the explorer: its controls, what it computes of them, and the same in Python."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .answers import Answer, plain
from .controls import Control, Settings, checked_settings

Part = Callable[[Settings, bool], Answer]
"""Computes an answer from checked settings; the second argument says whether a slider is moving."""

Grid = Mapping[str, Sequence[Any]]
"""The values of some controls of which every combination is stored."""


@dataclass(frozen=True)
class Tab:
    """A tab. `name`: of its module and of its script; `title`: on the tab; `introduction`: one sentence above it.

    `parts` are computed one after another, each drawn as soon as it is there: by name, what must be there at once
    first. A part is told whether a slider is moving, and may then be coarser. It raises ValueError or ArithmeticError
    in one sentence where it has no answer.

    `in_python` (checked settings → text) is a script that runs as it is and computes the same; it asks for full
    detail. `stored` are the grids of settings whose answers go into the stored page.
    """

    name: str
    title: str
    introduction: str
    controls: tuple[Control, ...]
    parts: Mapping[str, Part]
    in_python: Callable[[Settings], str]
    stored: tuple[Grid, ...]

    def settings(self, given: Mapping[str, object] | None = None) -> Settings:
        """The value of every control, where `given` sets some; ValueError for names or values that there are not."""
        return checked_settings(self.controls, given or {})

    def respond(
        self,
        given: Mapping[str, object] | None = None,
        part: str = "",
        moving: bool = False,
    ) -> Answer:
        """The answer of a part, of all parts together if none is named, as plain numbers, strings and lists.

        ValueError or ArithmeticError in one sentence for settings without an answer.
        """
        settings = self.settings(given)
        names = [part] if part else list(self.parts)
        answer: Answer = {}
        for name in names:
            answer |= plain(self.parts[name](settings, moving))
        return answer

    def to_dict(self) -> dict[str, Any]:
        """What the page is told of the tab."""
        return {
            "name": self.name,
            "title": self.title,
            "introduction": self.introduction,
            "controls": [control.to_dict() for control in self.controls],
            "parts": list(self.parts),
        }
