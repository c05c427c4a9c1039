"""Measures what the connection of one reader that has stopped reading holds before its `send` pends.

    python -m benchmarks.stalled [--size BYTES]

A real server (``fastsse serve``) and a real socket on the loopback. Events are published until the hub says that the
stream is blocked. The bytes in the kernel are then read from /proc/net/tcp, so this needs Linux. For other kernel
settings than the machine's own, run the command in a network namespace, as docs/operating.md shows.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import subprocess
import sys
from pathlib import Path

_MOST = 256 * 2**20  # bytes; a server that takes more does not tell of stalled readers
_SYSCTLS = ("tcp_wmem", "tcp_rmem", "tcp_notsent_lowat")
_LAX = (  # nobody is ended or skipped while we look
    *("--lag-bytes", str(2**40), "--lag-events", "10000000", "--lag-seconds", "86400"),
    *("--heartbeat", "0", "--lifetime", "0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="What one stalled reader holds in the kernel.")
    parser.add_argument("--size", type=int, default=10_000, help="data of one event, bytes")
    size = parser.parse_args().size
    command = [sys.executable, "-m", "fastsse", "serve", "--port", "0", *_LAX]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rstrip("/\n").rpartition(":")[2])
            sent, queued, unread = _stall(port, size)
        finally:
            server.terminate()
    for name in _SYSCTLS:
        print(f"net.ipv4.{name} = {Path(f'/proc/sys/net/ipv4/{name}').read_text().strip()}")
    print(f"handed to send before it pended   {sent / 1024:8.0f} KiB")
    print(f"in the server's send buffer       {queued / 1024:8.0f} KiB")
    print(f"in the client's receive buffer    {unread / 1024:8.0f} KiB")


def _stall(port: int, size: int) -> tuple[int, int, int]:
    """Measure the bytes handed to the send of one stalled stream, and those at either end of its connection."""
    publisher = http.client.HTTPConnection("127.0.0.1", port)
    with socket.create_connection(("127.0.0.1", port)) as reader:
        reader.sendall(b"GET /events?topic=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reader.recv(1)  # it has begun; and nothing more is read
        while not _ask(publisher, "GET", "/health")["blocked"]:
            id = _ask(publisher, "POST", "/events?topic=a", b"x" * size)["id"]
            block = len(f"id: {id}\ndata: \n\n") + size
            if int(id.rpartition("-")[2]) * block > _MOST:
                raise SystemExit(f"no send pended within {_MOST} bytes")
        sent = _ask(publisher, "GET", "/health")["delivered"] * block
        return sent, *_queues(port, reader.getsockname()[1])


def _ask(
    publisher: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> dict[str, int]:
    publisher.request(method, path, body, {"Content-Type": "text/plain"} if body else {})
    return json.loads(publisher.getresponse().read())


def _queues(server: int, client: int) -> tuple[int, int]:
    """Read the bytes that wait at the server to be sent or acknowledged, and at the client to be read."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, here, there, _, queues = line.split()[:5]
        ports = tuple(int(end.rpartition(":")[2], 16) for end in (here, there))
        found[ports] = [int(queue, 16) for queue in queues.split(":")]
    return found[server, client][0], found[client, server][1]


if __name__ == "__main__":
    main()
