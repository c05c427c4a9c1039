"""Ask a server for its health again and again, from a process of its own: ``python tests/stress/probe.py HOST PORT``.

A thread of the attacker would wait for the attacker's interpreter, and that wait would count as the server's. The probe
stops when its standard input ends, and then prints the seconds that each answer took, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator

__all__ = ["PAUSE", "probing"]

PAUSE = 0.05  # s between two questions
_DEADLINE = 30.0  # s that one answer may take


@contextlib.asynccontextmanager
async def probing(host: str, port: int, latencies: list[float]) -> AsyncIterator[None]:
    """Probe a server for as long as the block lasts, and then add what each answer took, in seconds.

    Raises:
        RuntimeError: an answer was not 200, or never came.
    """
    probe = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, host, str(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield
    finally:
        out, _ = await probe.communicate(b"")  # which ends its standard input
    if probe.returncode:
        raise RuntimeError("the probe has failed; its traceback is above")
    latencies += json.loads(out)


def _ask(host: str, port: int) -> float:
    began = time.perf_counter()
    connection = http.client.HTTPConnection(host, port, timeout=_DEADLINE)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    assert answer.status == 200, answer.status
    return time.perf_counter() - began


def _main(host: str, port: int) -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    latencies: list[float] = []
    while not over.wait(PAUSE):
        latencies.append(_ask(host, port))
    print(json.dumps(latencies))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
