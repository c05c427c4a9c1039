"""A short run of the cancellations under each server; a thousand are ``python tests/stress/cancel.py``."""

from __future__ import annotations

import importlib.util
import sys

import pytest

pytest.importorskip("anyio")

from stress.cancel import CANCELLATIONS, CASES, SERVERS, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals end the servers")


@pytest.mark.parametrize("server", SERVERS)
def test_however_a_stream_is_cancelled_all_is_closed_once_and_nothing_is_left(server: str) -> None:
    """Each case meets each cancellation once, at a random moment."""
    if importlib.util.find_spec(server) is None:
        pytest.skip(f"{server} is not installed")

    verdict = run(server, rounds=len(CASES) * len(CANCELLATIONS))

    assert [] == verdict["faults"]
    assert len(CASES) * len(CANCELLATIONS) * 0.9 < verdict["streams"]
