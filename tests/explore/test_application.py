"""The explorer as a web application: what it answers, and what it refuses."""

import asyncio
import json
import time
from dataclasses import dataclass, replace
from queue import Queue
from typing import Any
from urllib.parse import unquote

import pytest

from attndyn.explore import Slider, Tab, all_tabs
from attndyn.explore.application import LARGEST_REQUEST, application

ASK = "/tabs/example/first"


@dataclass(frozen=True)
class Response:
    """What an application sends."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks an application as a server would, without a server."""

    def __init__(self, *tabs):
        self.app = application(tabs or None)

    def get(self, path, **headers):
        return asyncio.run(self._response("GET", path, b"", headers))

    def post(self, path, body, kind="application/json", **headers):
        return asyncio.run(self.posted(path, body, kind, **headers))

    async def posted(self, path, body, kind="application/json", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self._response(
            "POST", path, content, {"content-type": kind} | headers
        )

    async def _response(self, method, path, body, headers):
        sent = []
        given = {"host": "127.0.0.1:8765"} | headers
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [
                (name.encode(), value.encode()) for name, value in given.items()
            ],
        }

        bodies = [body]

        async def receive():
            if not bodies:
                # The client stays, and sends no more.
                await asyncio.Event().wait()
            body = bodies.pop()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        start = sent[0]
        content = b"".join(message.get("body", b"") for message in sent[1:])
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Response(start["status"], names, content)


def computed(settings, moving):
    if settings["size"] == 3:
        raise ArithmeticError("there is no answer\nfor a size of 3")
    return {"double": 2 * settings["size"], "moving": moving}


def example(first=computed):
    return Tab(
        name="example",
        title="Example",
        introduction="",
        controls=(Slider("size", "size", (1, 2, 3, 4), 2),),
        parts={"first": first, "second": lambda settings, moving: {"second": True}},
        in_python=lambda settings: f"print(2 * {settings['size']})",
        stored=(),
    )


@pytest.fixture
def client():
    return Client(example())


def test_an_answer_says_the_same_in_python(client):
    answer = client.post(ASK, {"settings": {"size": 4}, "moving": True}).json()
    assert answer.pop("milliseconds") >= 0
    assert answer == {"double": 8, "moving": True, "python": "print(2 * 4)"}
    later = client.post("/tabs/example/second", {"settings": {}}).json()
    assert later.pop("milliseconds") >= 0
    assert later == {"second": True}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"size": 5}, "size must be a whole number from 1 to 4, not 5"),
        ({"other": 5}, "there is no setting 'other': there are size"),
        ({"size": 3}, "there is no answer for a size of 3"),
    ],
)
def test_settings_without_an_answer_are_refused_in_a_sentence(
    client, settings, sentence
):
    refused = client.post(ASK, {"settings": settings})
    assert refused.status == 422
    assert refused.json() == {"error": sentence}


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        (ASK, b"{}", "text/plain", 415),
        (ASK, b"{}", "application/x-www-form-urlencoded", 415),
        (ASK, b"{", "application/json", 400),
        (ASK, b"[" * 5000, "application/json", 400),
        (ASK, b"\xff", "application/json", 400),
        (ASK, b"[]", "application/json", 422),
        (ASK, b'{"settings": 3}', "application/json", 422),
        (ASK, b" " * (LARGEST_REQUEST + 1), "application/json", 413),
        ("/tabs/example/third", b"{}", "application/json", 404),
        ("/tabs/other/first", b"{}", "application/json", 404),
    ],
)
def test_other_requests_are_refused_in_a_sentence(client, path, body, kind, status):
    refused = client.post(path, body, kind)
    assert refused.status == status
    assert len(refused.json()["error"].split()) > 3


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "0.0.0.0"])
def test_a_foreign_host_is_refused(client, host):
    for path in ("/", "/tabs", "/page/explorer.js"):
        assert client.get(path, host=host).status == 400
    assert client.post(ASK, {}, host=host).status == 400


@pytest.mark.parametrize("path", ["/", "/tabs", "/page/explorer.js", "/none"])
def test_every_response_keeps_the_page_to_itself(client, path):
    headers = client.get(path, host="localhost:99").headers
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/page/../tab.py", "/page/%2e%2e/tab.py", "/page/"])
def test_nothing_but_the_page_is_sent(client, path):
    assert client.get(path).status == 404


def test_one_answer_is_computed_at_a_time():
    running, most = [], []

    def slow(settings, moving):
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return {}

    client = Client(example(slow))

    async def ask():
        await asyncio.gather(*(client.posted(ASK, {}) for _ in range(5)))

    asyncio.run(ask())
    assert max(most) == 1
    assert len(most) >= 5


def test_a_first_part_does_not_wait_for_later_ones():
    finished = []

    def slow(settings, moving):
        time.sleep(0.1)
        finished.append("second")
        return {}

    tab = replace(example(), parts={"first": computed, "second": slow})
    client = Client(tab)
    client.post(ASK, {})
    assert finished == []


def test_a_request_that_is_cancelled_is_answered():
    def slow(settings, moving):
        time.sleep(0.5)
        return {}

    client = Client(example(slow))

    async def ask():
        asking = asyncio.create_task(client.posted(ASK, {}))
        await asyncio.sleep(0.05)
        asking.cancel()
        return await asking

    assert asyncio.run(ask()).status == 503


def test_it_warms_up_with_the_defaults_of_every_part():
    asked = Queue()

    def noted(settings, moving):
        asked.put((settings, moving))
        return {}

    parts = {"first": noted, "second": noted}
    application((replace(example(), parts=parts),), warms_up=True)
    for _ in parts:
        assert asked.get(timeout=10) == ({"size": 2}, False)


def test_the_page_loads_nothing_from_elsewhere(client):
    html = client.get("/").body.decode()
    addresses = [part.split('"')[0] for part in html.split('src="')[1:]]
    addresses += [part.split('"')[0] for part in html.split('href="')[1:]]
    assert len(addresses) >= 5
    for address in addresses:
        assert address.startswith("/page/")
        assert client.get(address).status == 200


def test_every_tab_has_a_script(client):
    assert {tab.name for tab in all_tabs()} >= {"linear_attention"}
    for tab in all_tabs():
        script = client.get(f"/page/{tab.name}.js")
        assert script.status == 200
        assert "javascript" in script.headers["content-type"]
        assert "export function build(" in script.body.decode()
