"""The address that `serve` binds: found by its name, and its port kept from other servers.

The module knows sockets; it must not know which server will listen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Generator, Sequence
from ipaddress import ip_address

from fastsse.cli.terminal import Failure

__all__ = ["check_free", "hold_port", "operator_ports", "resolve"]

_PATIENCE = (
    1.0  # s to wait for another server that binds the port just now; that takes some microseconds
)
_LAST_PORT = 65535
_LOOPBACK = "127.0.0.1"
_LOOK = 0.002  # s between two looks


def resolve(host: str) -> tuple[str, bool]:
    """Find the address of a host, and whether other machines can reach it.

    Raises:
        Failure: the host is neither an address nor a name that can be looked up.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Failure(f"--host {host!r}: must be an address or a name of this machine") from None
    addresses = sorted((str(entry[4][0]) for entry in found), key=lambda a: ":" in a)
    address = addresses[0].partition("%")[0]  # IPv4 first: curl and browsers fall back to it
    return address, not ip_address(address).is_loopback


@contextlib.contextmanager
def hold_port(address: str, port: int) -> Generator[int, None, None]:
    """Check that a port is free and, on Linux, keep other servers from sharing it; give its number.

    granian binds with SO_REUSEPORT, so it would share a port that is taken, and each of the two servers would get half
    of the connections. Therefore a socket that does not listen stays bound to the port. granian may share the port with
    that socket. Another `serve` checks without SO_REUSEPORT, and so finds the port taken, even if both start at the
    same moment, or while the worker is restarted.

    Args:
        address: the address to bind.
        port: the port; 0 for any free one.

    Raises:
        Failure: the port cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # otherwise a port that was in use a minute ago counts as taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with _one_at_a_time(port):
            try:
                probe.bind((address, port))
            except OSError as error:
                raise Failure(_why_not_bound(error, address, port)) from error
            if sys.platform == "linux":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        if sys.platform == "linux":
            yield int(probe.getsockname()[1])
            return
        found = int(probe.getsockname()[1])
    yield found


def operator_ports(first: int | None, workers: int) -> tuple[int, ...]:
    """List the ports for operators, one for each worker; none where `first` is None.

    Raises:
        Failure: there are not so many ports.
    """
    if not first:
        return () if first is None else (0,)
    if first + workers - 1 > _LAST_PORT:
        raise Failure(
            f"--operator-port {first}: {workers} workers need as many ports from there on"
        )
    return tuple(range(first, first + workers))


def check_free(option: str, ports: Sequence[int]) -> None:
    """Check that ports of the loopback are free, so that a mistake is told before anything starts.

    Raises:
        Failure: one of the ports is in use, or may not be bound.
    """
    for number in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, number))
                probe.listen()
            except OSError as error:
                why = "is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
                raise Failure(f"{option}: {number} on {_LOOPBACK}: {why}; give another") from error


@contextlib.contextmanager
def _one_at_a_time(port: int) -> Generator[None]:
    """Let one `serve` of this machine at a time bind a port (Linux).

    Two sockets with SO_REUSEADDR may be bound to one port while neither listens, so two servers that bind at once would
    both succeed. The lock is a name of its own kind (an abstract Unix address), which the kernel frees with its
    process. After `_PATIENCE` seconds the port is bound without the lock: somebody else may hold the name for ever.
    """
    if sys.platform != "linux":
        yield
        return
    end = time.monotonic() + _PATIENCE
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                lock.bind(f"\0fastsse-port-{port}")
                break
            time.sleep(_LOOK)
        yield


def _why_not_bound(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: is in use on {address}; give another, or 0 for any free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {address}: is no address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port {port}: may not be bound by this user; take one above 1023"
    return f"--host {address} --port {port}: {error.strerror}"
