"""Steps that a serving process takes once: one SIGTERM ends it, and others change nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from support.driver import turns

from fastsse.broadcast.process import Once, heed_one_sigterm


@pytest.fixture
def _handlers() -> Iterator[None]:
    """Put back the handlers that the process had before the test."""
    if sys.platform == "win32":
        pytest.skip("no POSIX signals")
    signums = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {signum: signal.getsignal(signum) for signum in signums}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_one_call_of_one_function_passes() -> None:
    called: list[tuple[str, int]] = []
    once = Once()
    first = once.wrap(lambda n: called.append(("first", n)))
    second = once.wrap(lambda n: called.append(("second", n)))

    second(1)
    second(2)
    first(3)

    assert [("second", 1)] == called


@pytest.mark.usefixtures("_handlers")
def test_a_worker_heeds_one_sigterm_and_no_sigint() -> None:
    heard: list[int] = []
    loop = asyncio.new_event_loop()
    heed_one_sigterm(loop)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, heard.append, signum)

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        signal.raise_signal(signum)
    loop.run_until_complete(turns())
    loop.close()

    assert [signal.SIGTERM] == heard


@pytest.mark.usefixtures("_handlers")
def test_what_ends_the_streams_is_called_first_and_decides_when_the_server_hears() -> None:
    heard: list[str] = []
    stops: list[Callable[[], object]] = []
    loop = asyncio.new_event_loop()
    heed_one_sigterm(loop, stops.append)
    loop.add_signal_handler(signal.SIGTERM, heard.append, "server")

    for _ in range(2):
        signal.raise_signal(signal.SIGTERM)
    loop.run_until_complete(turns())
    loop.close()
    assert [] == heard
    [stop] = stops
    stop()

    assert ["server"] == heard
