"""The socket of the explorer: only this machine reaches it, and answers leave at once."""

import socket

import pytest

from attndyn.explore.server import HOST, _listening


def test_answers_are_not_held_back():
    with _listening(0) as listening:
        address, port = listening.getsockname()
        assert address == HOST
        # asyncio sets TCP_NODELAY on connections whose protocol is TCP, not on those that leave it open.
        assert listening.proto == socket.IPPROTO_TCP
        assert port > 0
        with pytest.raises(ValueError, match=f"^port {port} is in use"):
            _listening(port)
