"""A short run of the reconnections; ten thousand for each transport are ``python tests/stress/client.py``."""

from __future__ import annotations

import sys

import pytest
from stress.client import measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


@pytest.mark.parametrize("way", ["stdlib", "asyncio-httpx2"])
def test_a_hundred_reconnections_leave_nothing_behind(way: str) -> None:
    pytest.importorskip("httpx2")

    assert measure(way, 100, seed=1)
