"""A short run of all attacks at once (``python tests/stress/abuse.py`` is the long one), and what it would find."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

pytest.importorskip("granian")
pytest.importorskip("jwt")

from stress import abuse
from stress.abuse import FLAGS, RATE, run, strange, uncounted
from stress.attackers import Attack
from stress.honest import Honest
from stress.plans import HONEST, Line, token
from support.servers import Server, serve
from support.tokens import bearer, key_flags, write_keys

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="127/8 and /proc are Linux's"
)


@pytest.mark.long
async def test_honest_readers_are_served_whatever_strangers_send() -> None:
    """Time is judged by the long run, because another process may take the machine at any moment."""
    verdict = await run(readers=150, seconds=8, quiet=2, share=1.0)

    assert [] == verdict.faults
    assert verdict.attacked.p99 < 2.0


# The judgement, where there is something to find.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = write_keys(tmp_path_factory.mktemp("keys"))
    with serve(*key_flags(keys), *FLAGS) as running:
        yield running


async def forge(server: Server, data: str) -> None:
    """Publish to the honest topic as an attacker who was let in by a fault."""
    headers = bearer(token("mallory", {"publish": [HONEST]})) | {"Content-Type": "text/plain"}
    target = f"/events?topic={HONEST}"
    reply = await asyncio.to_thread(server.request, "POST", target, data, headers)
    assert 200 == reply.status


@pytest.mark.parametrize("data", ["FORGED", "", "{next} 0", "{next}", "1 0", "x\ny"])
async def test_an_event_that_nobody_honest_has_published_is_found(
    server: Server, data: str
) -> None:
    honest = Honest(server)
    try:
        await honest.open(3)
        await honest.publish(0.2, RATE)
        assert [] == honest.faults()

        await forge(server, data.format(next=honest.published + 1))
        await honest.publish(0.2, RATE)
        [fault] = honest.faults()
    finally:
        honest.close()

    assert f"{3 * (1 + data.count(chr(10)))} foreign events" in fault


async def test_an_honest_stream_that_ends_and_an_event_that_is_missed_are_found(
    server: Server,
) -> None:
    honest = Honest(server)
    try:
        await honest.open(3)
        await honest.publish(0.2, RATE)
        operator = bearer(token("operator", {"operator": True}))
        target = f"/streams?topic={HONEST}"
        reply = await asyncio.to_thread(server.request, "DELETE", target, None, operator)
        assert {"ended": 3} == reply.json
        await honest.publish(0.2, RATE)
        faults = honest.faults()
    finally:
        honest.close()

    assert "3 honest streams were ended" in faults
    assert "3 honest readers lack events" in faults


REFUSED = Line(Attack("a", 1.0, []), frozenset({401}), frozenset({"key"}), (("denied", "key"),))
SILENT = Line(Attack("b", 1.0, []), frozenset({0, 400}))


@pytest.mark.parametrize(
    ("answers", "faults"),
    [
        ({"a": {401: 7}, "b": {400: 1}}, []),
        ({"a": {401: 7, 0: 2, -1: 3}}, []),
        ({"a": {401: 7, 200: 1}}, ["a: 1 answers of 200"]),
        ({"a": {401: 7}, "b": {200: 2, 400: 9}}, ["b: 2 answers of 200"]),
        ({"a": {500: 1}}, ["a: 1 answers of 500", "a: no answer"]),
        ({"a": {0: 9}}, ["a: no answer"]),
        ({}, ["a: no answer"]),
    ],
)
def test_an_answer_that_an_attack_must_not_get_is_found(
    answers: dict[str, dict[int, int]], faults: list[str]
) -> None:
    assert faults == strange([REFUSED, SILENT], answers)


@pytest.mark.parametrize(
    ("denied", "met", "faults"),
    [
        (5, 1, []),
        (6, 1, []),
        (4, 1, ["a: 5 refused, 4 counted"]),
        (5, 0, ["a: ('denied', 'key') did not grow"]),
    ],
)
def test_a_refusal_that_nobody_has_counted_is_found(
    denied: int, met: int, faults: list[str]
) -> None:
    counted = Counter({("fastsse_denied_total", "key"): denied, ("denied", "key"): met})

    assert faults == uncounted([REFUSED, SILENT], {"a": {401: 3, 403: 2}}, counted)


@pytest.mark.long
async def test_memory_beyond_the_bound_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse, "GROWTH", -1e6)

    verdict = await run(readers=2, seconds=1, quiet=0.5, share=1.0, only="garbage")

    [fault] = verdict.faults
    assert "the server grew by" in fault
