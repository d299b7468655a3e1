"""The command that starts the explorer."""

from importlib.util import find_spec
from typing import Annotated

import typer

from .whole_numbers import counted

PORT = 8765
"""Of none of the services that notebooks and documentation use."""


def explore(
    port: Annotated[
        int, counted("Port of this machine; 0 takes one that is free.", least=0)
    ] = PORT,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open the page in a browser.")
    ] = False,
) -> None:
    """Move sliders over theory and runs, on a page that this machine serves until Ctrl-C."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the explorer needs {' and '.join(missing)}: pip install 'attndyn[explore]'"
        )
    if port > 65535:
        raise ValueError(f"--port must be at most 65535, not {port}")
    from ..explore.server import serve

    serve(port, opens_browser=not no_browser)
