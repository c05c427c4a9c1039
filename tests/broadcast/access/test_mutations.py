"""Faults in access control, one at a time: the table of cases finds each of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.access_cases import CASES, SHAPES, Case, credentials, hs
from support.access_mutations import ACCESS_MUTATIONS
from support.access_revocations import REVOCATIONS
from support.driver import fetch, lifespan
from support.mutations import Mutation, applied
from support.tokens import AUDIENCE, Keys, bearer, key_flags, write_keys

from fastsse.broadcast import Settings
from fastsse.broadcast.app import create_app

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FACES = {"METRICS": ("GET", "/metrics")}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_keys(tmp_path_factory.mktemp("keys"))


async def wrong_rows(keys: Keys) -> list[str]:
    """Ask every case of an app in this process; return the names of those that are answered otherwise than they say."""
    app = hub_of(keys, anonymous_read=("open/*", "front"), anonymous_publish=("inbox", "open/*"))
    found: list[str] = []
    async with lifespan(app):
        for name, case, sent in others():
            if await ask(app, case, sent) != case.status:
                found.append(name)
        for shape in SHAPES:
            case = Case(None, "HEAD", "topic=a", shape.status)
            if await ask(app, case, bearer(shape.make())) != shape.status:
                found.append(shape.name)
        for case in CASES:
            sent = credentials(case.grant) | (FORM if case.body else {})
            if await ask(app, case, sent) != case.status:
                found.append(f"{case.grant} {case.method} {case.target}")
        found += await wrong_revocations(app)
    wide = hub_of(keys, anonymous_read=("*",))
    async with lifespan(wide):
        if await ask(wide, Case(None, "HEAD", "topic=private/x", 401), {}) != 401:
            found.append("what is private at a hub that is open to everybody")
    return found


async def wrong_revocations(app: Any) -> list[str]:
    """Revoke what each row says; return the names of those whose tokens are answered otherwise than they say."""
    found: list[str] = []
    for number, row in enumerate(REVOCATIONS):
        case, reader = row.of(number), Case(None, "HEAD", "topic=a", row.status)
        sent = bearer(case.token(time.time()))
        ticket = await reply(app, "POST", "/tickets", "topic=a", sent)
        for kind, name in case.what.items():
            await app.hub.revoke(**{kind: name})
        name = json.loads(ticket.body)["ticket"] if ticket and ticket.status == 200 else ""
        by_ticket = Case(None, "HEAD", f"topic=a&ticket={name}", row.status)
        fresh = bearer(case.token(time.time()))
        for ask_for, headers in ((reader, sent), (reader, fresh), (by_ticket, {})):
            if await ask(app, ask_for, headers) != row.status:
                found.append(row.name)
    return found


def hub_of(keys: Keys, **knobs: Any) -> Any:
    files = tuple(key_flags(keys)[1].split(","))
    return create_app(Settings(keys=files, audience=(AUDIENCE,), leeway=0.0, **knobs))


def others() -> Iterator[tuple[str, Case, dict[str, str]]]:
    """Make the cases that bring something else than a token as a shape has it, or ask for what is open."""
    refused = Case(None, "HEAD", "topic=front", 401)
    yield "another scheme", refused, {"Authorization": f"Basic {hs()}"}
    yield "a bad token for what is open", refused, bearer(hs(exp=1))


async def ask(app: Any, case: Case, sent: dict[str, str]) -> int | None:
    method, path = FACES.get(case.method, (case.method, "/events"))
    answer = await reply(app, method, path, case.target, sent, (case.body or "").encode())
    return int(answer.status) if answer else None


async def reply(
    app: Any, method: str, path: str, query: str, sent: dict[str, str], body: bytes = b""
) -> Any | None:
    """Ask an app. Returns None where it raises: a fault that shows itself is found, too."""
    headers = {"host": "localhost"} | {name.lower(): value for name, value in sent.items()}
    try:
        return await fetch(app, path, query, headers, method=method, body=body)
    except Exception:
        return None


def test_the_table_finds_nothing_without_a_fault(keys: Keys) -> None:
    assert [] == asyncio.run(wrong_rows(keys))


@pytest.mark.long
@pytest.mark.parametrize("mutation", ACCESS_MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_table_finds_each_fault(mutation: Mutation, keys: Keys) -> None:
    with applied(mutation):
        assert asyncio.run(wrong_rows(keys))
