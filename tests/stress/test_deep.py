"""The stress of a reader that is late in a SQLite log, in short; the long one is ``python tests/stress/deep.py``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from stress.deep import fill, measure, start

pytest.importorskip("granian")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def test_a_late_reader_gets_all_and_the_server_does_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "deep.db"
    asyncio.run(fill(path, 50_000, 1000))

    assert 0 == asyncio.run(measure(path, 50_000, 20, 2.0))


def test_the_length_of_a_log_does_not_delay_the_start(tmp_path: Path) -> None:
    path = tmp_path / "long.db"
    asyncio.run(fill(path, 150_000, 1000))

    empty = min(start(tmp_path / f"new{n}.db") for n in range(3))

    assert min(start(path) for _ in range(3)) < 2 * empty + 1.0
