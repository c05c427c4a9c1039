"""A proxy between a client and a server, by TCP alone, that cuts its first connections off after so many bytes.

    with Cutting(server.port, [Cut(up=100), Cut(down=0), Cut(up=5000, down=3)]) as proxy:
        ...                                         the fourth connection and all later ones are left alone

`up` are bytes of the client's, `down` bytes of the server's. With ``Cut(down=0)`` the server gets its request, and the
client no answer: the cut after which nobody knows what was done. The module knows bytes; it must not know HTTP.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

__all__ = ["Cut", "Cutting"]


class Cut(NamedTuple):
    """How many bytes a connection lets through in each direction before it is cut; None: all."""

    up: int | None = None
    down: int | None = None


class Cutting:
    """The proxy; a context manager.

    Attributes:
        url: of the proxy.
        cut: how many connections were cut.
    """

    def __init__(self, port: int, cuts: Sequence[Cut]) -> None:
        self._port = port
        self._cuts = list(cuts)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.cut = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            for sock in (self._socket, *self._open):
                _close(sock)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                cut = self._cuts.pop(0) if self._cuts else Cut()
                with self._lock:
                    self._open |= {client, server}
                for source, sink, most in ((client, server, cut.up), (server, client, cut.down)):
                    threading.Thread(
                        target=self._pass, args=(source, sink, most), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, most: int | None) -> None:
        """Pass bytes on; after `most` of them, or at the end, close both sides."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if most is not None:
                    data, most = data[:most], most - len(data)
                sink.sendall(data)
                if most is not None and most < 0:
                    self.cut += 1
                    break
        for sock in (source, sink):
            _close(sock)


def _close(sock: socket.socket) -> None:
    """Shut a socket down, so that the other thread stops reading it, and close it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
