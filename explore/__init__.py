"""The explorer: a page on this machine whose sliders move theory and runs; `attndyn explore` starts it.

Each tab is found, not listed: a module of `explore.tabs` that holds a `TAB`, and a script of the same name in
`explore/page`. `explore.tabs` says what both must have.
"""

from .controls import Choice, Option, Slider, SliderList
from .tab import Tab
from .tabs import all_tabs

__all__ = ["Choice", "Option", "Slider", "SliderList", "Tab", "all_tabs"]
