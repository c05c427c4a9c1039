"""A short run of late commits and rollbacks; the long one is ``python tests/stress/postgresql.py``."""

from __future__ import annotations

import pytest
from support.engines import need_engine
from support.postgres import Postgres

need_engine(Postgres)

from stress.postgresql import run  # noqa: E402 - which needs the driver

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", [1, 2])
def test_no_reader_misses_or_reorders_what_commits_late(seed: int) -> None:
    engine = Postgres()
    engine.start()
    try:
        trial = run(engine, "stress", events=6000, writers=8, seed=seed)
    finally:
        engine.close()

    assert 6000 == len(trial.committed)
    assert trial.rolled_back
    assert trial.cuts
