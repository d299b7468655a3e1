"""The tabs of the explorer, which are found rather than listed.

A tab is a module here, with the name of a wing, that holds `TAB`, a `Tab`; and a script of that name in
`explore/page`, an ES module that exports

    export function build(place, tools) { …; return { show, status } }

`build` fills the empty element `place` once, when the tab is first opened, with the charts that `tools` makes
(`explore/page/tools.js` says which). `show({settings, answers, moving})` is called whenever an answer arrives:
`answers` holds, by the name of its part, what is there for exactly these settings, so that a part that is still
computed, or has failed, is missing. It updates what is drawn, never rebuilds it. `status(…)`, of the same argument,
gives the words for the head of the page. A script makes no request and knows no address: in the stored page the same
script gets stored answers.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ..tab import Tab

FIRST = "linear_attention"
"""The tab that opens first; the others follow by name."""


def all_tabs() -> tuple[Tab, ...]:
    """Every tab of the explorer, in the order of the page.

    >>> all_tabs()[0].title
    'Linear attention'
    """
    names = [module.name for module in iter_modules(__path__)]
    ordered = sorted(names, key=lambda name: (name != FIRST, name))
    return _tabs(tuple(ordered))


@cache
def _tabs(names: tuple[str, ...]) -> tuple[Tab, ...]:
    modules = [import_module(f".{name}", __name__) for name in names]
    return tuple(module.TAB for module in modules if hasattr(module, "TAB"))
