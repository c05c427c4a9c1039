"""Sockets that are found among the descriptors of the process: only those at our address change, and none is kept."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from fastsse.broadcast import sockets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no list of descriptors")

Pair = tuple[socket.socket, socket.socket]  # the accepted end and the client's


class Port:
    """A listener and the connections that it accepts."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._opened = ExitStack()
        try:
            listener = socket.create_server((address, 0), family=family)
        except OSError:
            pytest.skip(f"no {address} here")
        self.listener = self._opened.enter_context(closing(listener))
        self.address = address
        self.number = int(self.listener.getsockname()[1])

    def connect(self) -> Pair:
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)
        client = socket.create_connection((here, self.number), 5)
        accepted, _ = self.listener.accept()
        for end in (client, accepted):
            end.settimeout(5)
            self._opened.enter_context(closing(end))
        return accepted, client

    def close(self) -> None:
        self._opened.close()


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::1", "::"])
def port(request: pytest.FixtureRequest) -> Iterator[Port]:
    opened = Port(request.param)
    yield opened
    opened.close()


@pytest.fixture
def other() -> Iterator[Port]:
    """Open another port, as a process has for a database or an upstream."""
    opened = Port()
    yield opened
    opened.close()


def works(pair: Pair) -> bool:
    accepted, client = pair
    accepted.sendall(b"x")
    client.sendall(b"y")
    return (b"x", b"y") == (client.recv(1), accepted.recv(1))


def test_every_accepted_connection_is_shut_and_nothing_else(port: Port, other: Port) -> None:
    pairs = [port.connect() for _ in range(3)]
    beside = other.connect()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", port.number))
    left, right = socket.socketpair()

    count = sockets.shut(port.address, port.number)

    assert 3 == count
    for accepted, client in pairs:
        assert b"" == client.recv(1)
        with pytest.raises(BrokenPipeError):
            accepted.sendall(b"x")
    assert works(beside)
    assert works((left, right))
    assert works(port.connect())
    datagrams.sendto(b"z", ("127.0.0.1", port.number))
    assert b"z" == datagrams.recv(1)
    for end in (datagrams, left, right):
        end.close()


def test_what_was_sent_before_still_arrives(other: Port) -> None:
    accepted, client = other.connect()
    accepted.sendall(b"last words")

    sockets.shut(other.address, other.number)

    assert b"last words" == client.recv(100)
    assert b"" == client.recv(1)


def test_a_connection_that_this_process_made_to_the_port_is_not_its_own(other: Port) -> None:
    """Such a connection has another local port, so it is not shut; it sees the end of the other side."""
    accepted, client = other.connect()
    accepted.close()

    assert 0 == sockets.shut(other.address, other.number)
    client.sendall(b"x")


def test_an_address_that_is_not_bound_has_no_connections(other: Port) -> None:
    pair = other.connect()

    assert 0 == sockets.shut("127.0.0.2", other.number)
    assert works(pair)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="no TCP_USER_TIMEOUT")
def test_silence_is_limited_for_what_is_accepted_and_what_will_be(port: Port, other: Port) -> None:
    def limit(of: socket.socket) -> int:
        return of.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    before, _ = port.connect()
    beside, _ = other.connect()

    assert sockets.limit_silence(port.address, port.number, 2.5)

    after, client = port.connect()
    assert [2500, 2500, 2500] == [limit(end) for end in (port.listener, before, after)]
    assert [0, 0, 0] == [limit(end) for end in (other.listener, beside, client)]


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="no TCP_NOTSENT_LOWAT")
def test_the_kernel_takes_little_for_a_connection_whose_peer_does_not_read(port: Port) -> None:
    assert sockets.limit_unsent(port.address, port.number)

    accepted, client = port.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    accepted.setblocking(False)
    taken = 0
    with suppress(BlockingIOError):
        while taken < 2**24:
            select.select([], [accepted], [], 0.2)  # the kernel says so when it has room again
            taken += accepted.send(b"x" * 2**16)
    assert sockets.UNSENT <= taken < 2**20


def test_looking_keeps_no_descriptor(other: Port) -> None:
    other.connect()
    before = sockets.count_descriptors()

    for _ in range(10):
        sockets.shut(other.address, other.number)
        sockets.limit_silence(other.address, other.number, 1.0)

    assert before == sockets.count_descriptors() > 3
