"""A short run of the attacks by strangers; the long one is ``python tests/stress/bodies.py``."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("granian")

from stress.bodies import ATTACKS, run_one

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals end the server"),
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_probe_and_a_publisher_are_answered_whatever_strangers_post(attack: str) -> None:
    """The server has room for 40 bodies instead of 512. Before places were bounded, answers took seconds."""
    verdict = await run_one(ATTACKS[attack], 120, 1.5, "--max-bodies", "40")

    assert verdict.latencies[-1] < 1.0
    assert verdict.answers[200] > 0
    assert (0, 0) == verdict.held
