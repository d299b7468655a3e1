"""`attndyn explore`: the explorer served on this machine until Ctrl-C."""

import asyncio
import errno
import logging
import signal
import socket
import webbrowser
from types import FrameType

import uvicorn

from .application import application

HOST = "127.0.0.1"
"""Only programs of this machine reach it."""


class Server(uvicorn.Server):
    """A server that ends at Ctrl-C as something that is done, and opens the browser when it answers."""

    address = ""
    opens_browser = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and then open the browser."""
        await super().startup(sockets)
        if self.opens_browser and not self.should_exit:
            # Some browsers return only when they are closed.
            asyncio.get_running_loop().run_in_executor(
                None, webbrowser.open, self.address
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at Ctrl-C without an error, at other signals as they ask."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)
        elif self.should_exit:
            self.force_exit = True
        else:
            self.should_exit = True


def serve(port: int, opens_browser: bool) -> None:
    """Serve the explorer on this port until Ctrl-C, and print its address; port 0 is one that is free.

    ValueError if the port is in use.
    """
    listening = _listening(port)
    address = f"http://{HOST}:{listening.getsockname()[1]}/"
    config = uvicorn.Config(
        application(warms_up=True),
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    server = Server(config)
    server.address = address
    server.opens_browser = opens_browser
    print(f"The explorer is at {address} until Ctrl-C.", flush=True)
    with listening:
        server.run(sockets=[listening])


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message says what nobody asked for: Ctrl-C cancels what is being computed."""
    return not record.getMessage().startswith("Cancel ")


def _listening(port: int) -> socket.socket:
    """A socket at this port of this machine; ValueError if it is in use."""
    # asyncio sends at once only where the protocol is stated: else a head and its body can be 40 ms apart.
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # A port that was closed a moment ago is free.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
    except OSError as error:
        opened.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ValueError(
            f"port {port} is in use or not allowed: pass another one, or --port 0 for one that is free"
        ) from None
    opened.listen()
    return opened
