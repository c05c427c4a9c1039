"""The stress of the SQLite store, in short; the long one is ``python tests/stress/sqlite.py --rounds 50``."""

from __future__ import annotations

from pathlib import Path

import pytest
from stress.sqlite import run


@pytest.mark.parametrize(
    ("mode", "rounds"),
    [
        ("normal", 1),
        *(pytest.param(mode, 6, marks=pytest.mark.long) for mode in ("full", "normal")),
    ],
)
def test_a_killed_process_has_lost_nothing_that_it_acknowledged(
    tmp_path: Path, mode: str, rounds: int
) -> None:
    assert 0 < run(rounds, 500 * rounds, mode, 1, tmp_path / "log.db")
