"""A short measurement of revocations; the longer one is ``python tests/stress/revoking.py``."""

from __future__ import annotations

import statistics

import pytest

pytest.importorskip("granian")
pytest.importorskip("jwt")

from stress.revoking import BOUND, measure
from support.engines import ENGINES, Engine, shared

pytestmark = pytest.mark.long


@pytest.mark.parametrize("kind", ENGINES.values(), ids=ENGINES)
async def test_another_process_of_a_store_heeds_a_revocation_within_a_second(
    kind: type[Engine],
) -> None:
    """The median is judged, because another process may take the machine at any moment."""
    times = await measure(shared(kind).url("revoking"), 20, alone=False)

    assert statistics.median(times) < BOUND
