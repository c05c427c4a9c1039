"""The sockets of this process at the address that it serves: the listener, and the connections that it accepted.

granian (2.8) limits neither how long a write may take nor, at its end, how long a connection may stay; and it gives
nobody its sockets. So they are found where the system lists the descriptors of a process. Each descriptor is duplicated
before it is examined: the duplicate stays the same socket, whatever granian's threads close and open meanwhile. Where
there is no such list (Windows), nothing is found.

The module knows descriptors and addresses; it must not know HTTP, hubs or how a server works.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

__all__ = ["UNSENT", "count_descriptors", "limit_silence", "limit_unsent", "shut"]

# Bytes that wait in the kernel for a connection, beside those that are on their way.
UNSENT = 128 * 1024

_LISTS = ("/proc/self/fd", "/dev/fd")  # Linux; macOS and the BSDs
_ANY = ("", "0.0.0.0", "::")  # a listener at one of these accepts connections at every address


def limit_silence(address: str, port: int, seconds: float) -> bool:
    """Have the kernel end each connection whose peer takes none of the bytes to be sent for `seconds`.

    That ends connections whose peer has vanished, and those whose peer acknowledges but opens no window. A connection
    without bytes to be sent may be idle for any time. Connections that are accepted later inherit the limit from the
    listener.

    Returns:
        True if the system can do that: Linux can (TCP_USER_TIMEOUT).
    """
    option: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None:
        return False
    for found in _at(address, port):
        with suppress(OSError):  # the peer has gone just now
            found.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
    return True


def limit_unsent(address: str, port: int, size: int = UNSENT) -> bool:
    """Have the kernel take no more for a connection while `size` bytes wait there that it has not sent yet.

    Otherwise the kernel takes some megabytes for each connection whose peer does not read. To copy them takes time that
    other streams need, and no count of what a process holds has them. Bytes on their way to the peer do not count, so a
    fast connection is as fast as before. Connections that are accepted later inherit the limit from the listener.

    Returns:
        True if the system can do that: Linux and macOS can (TCP_NOTSENT_LOWAT).
    """
    option: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is None:
        return False
    for found in _at(address, port):
        with suppress(OSError):  # the peer has gone just now
            found.setsockopt(socket.IPPROTO_TCP, option, size)
    return True


def shut(address: str, port: int) -> int:
    """End every connection. Bytes that the kernel has taken are still delivered, those that the server holds are not.

    Returns:
        The number of connections.
    """
    count = 0
    for found in _at(address, port):
        with suppress(OSError):  # the listener, which has no peer; or the peer has gone just now
            found.getpeername()
            found.shutdown(socket.SHUT_RDWR)
            count += 1
    return count


def count_descriptors() -> int:
    """Return how many descriptors this process has open; 0 where the system does not say."""
    return len(_descriptors())


def _at(address: str, port: int) -> Iterator[socket.socket]:
    """Yield a duplicate of each socket that is bound to the address; it is closed when the next one is asked for."""
    for descriptor in _descriptors():
        with suppress(OSError), closing(_duplicate(descriptor)) as found:
            if _is_at(found, address, port):
                yield found


def _descriptors() -> list[int]:
    for path in _LISTS:
        with suppress(OSError):
            return [int(name) for name in os.listdir(path)]
    return []


def _duplicate(descriptor: int) -> socket.socket:
    """Make a socket of a duplicate of the descriptor.

    Raises:
        OSError: the descriptor is no socket, or has been closed.
    """
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _is_at(found: socket.socket, address: str, port: int) -> bool:
    if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
        return False
    here = found.getsockname()
    return here[1] == port and (address in _ANY or here[0].partition("%")[0] == address)
