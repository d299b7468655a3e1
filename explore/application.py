"""The explorer as a web application: the page's files, what its tabs are, and their answers."""

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import encoded
from .tab import Tab
from .tabs import all_tabs
from .workers import Worker

PAGE = Path(__file__).parent / "page"
"""The files of the page."""

HOSTS = ["127.0.0.1", "localhost"]
"""The names by which a page on this machine may ask: any other is refused, so that no foreign site can."""

LARGEST_REQUEST = 20_000
"""Bytes of a request: settings have a few hundred."""

_POLICY = {
    b"content-security-policy": b"default-src 'self'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
"""Nothing from elsewhere is loaded, nothing is kept from an older version."""


class Refused(Exception):
    """A request that is not answered: its HTTP status, and the reason in a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Policy:
    """Adds the headers that keep the page to itself to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _POLICY.items():
                    headers[name.decode()] = value.decode()
            await send(message)

        await self._app(scope, receive, send_with_policy)


class Answers:
    """Computes the answers of tabs. What is drawn first has a thread of its own: it never waits for what follows."""

    def __init__(self, tabs: tuple[Tab, ...]) -> None:
        self._tabs = {tab.name: tab for tab in tabs}
        self._first = Worker("first parts")
        self._rest = Worker("later parts")

    def warm_up(self) -> None:
        """Compute the defaults of every tab in the background, so that compiled functions are loaded before use."""
        for tab in self._tabs.values():
            for number, part in enumerate(tab.parts):
                worker = self._worker(number)
                # A page that is open does not wait for the tabs that are not.
                job = partial(_answer, tab, {}, part, False)
                worker.submit(job, can_wait=True)

    async def respond(self, request: Request) -> Response:
        """The answer to `POST /tabs/NAME/PART` with {"settings": {…}, "moving": true or false}."""
        try:
            tab = self._tabs.get(request.path_params["tab"])
            part = request.path_params["part"]
            if tab is None or part not in tab.parts:
                raise Refused(404, f"there is nothing at {request.url.path}")
            asked = await _asked(request)
            settings, moving = asked["settings"], bool(asked["moving"])
            worker = self._worker(list(tab.parts).index(part))
            future = worker.submit(partial(_answer, tab, settings, part, moving))
            content = await asyncio.wrap_future(future)
        except Refused as refused:
            return JSONResponse({"error": refused.reason}, refused.status)
        except asyncio.CancelledError:
            # Ctrl-C does not wait for what is being computed.
            return JSONResponse({"error": "The explorer has been ended."}, 503)
        except (ValueError, ArithmeticError) as error:
            return JSONResponse({"error": " ".join(str(error).split())}, 422)
        return Response(content, media_type="application/json")

    def _worker(self, number: int) -> Worker:
        return self._first if number == 0 else self._rest


def application(
    tabs: tuple[Tab, ...] | None = None, *, warms_up: bool = False
) -> Starlette:
    """The explorer of these tabs, of all if none are given; with `warms_up` it computes their defaults at once.

    >>> application().routes[0].path
    '/'
    """
    shown = all_tabs() if tabs is None else tabs
    answers = Answers(shown)
    if warms_up:
        answers.warm_up()
    described = [tab.to_dict() for tab in shown]

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def descriptions(request: Request) -> Response:
        return JSONResponse(described)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/tabs", descriptions),
            Route("/tabs/{tab}/{part}", answers.respond, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ],
        middleware=[
            Middleware(Policy),
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
        ],
    )


async def _asked(request: Request) -> dict[str, Any]:
    """The settings that a request asks for, and whether a slider moves; Refused if it is anything else."""
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    if kind != "application/json":
        raise Refused(
            415,
            f"settings are asked for as application/json, not {kind or 'without a type'}",
        )
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST:
            raise Refused(413, f"settings take at most {LARGEST_REQUEST:,} bytes")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "the settings are no JSON") from None
    settings = asked.get("settings", {}) if isinstance(asked, dict) else None
    if not isinstance(settings, dict):
        raise Refused(422, 'a request is {"settings": {…}, "moving": true or false}')
    return {"settings": settings, "moving": asked.get("moving", False)}


def _answer(tab: Tab, settings: dict[str, Any], part: str, moving: bool) -> bytes:
    """The answer of a part as JSON: with the time that it took, and with the first part the same in Python."""
    start = time.perf_counter()
    answer = tab.respond(settings, part, moving)
    if part == next(iter(tab.parts)):
        answer["python"] = tab.in_python(tab.settings(settings))
    answer["milliseconds"] = round(1000 * (time.perf_counter() - start), 1)
    return encoded(answer)
