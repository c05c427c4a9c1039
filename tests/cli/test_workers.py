"""`serve --workers` on a store that processes share: one log behind one port, whichever worker answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from support.cluster import Hub
from support.engines import Redis, need_engine, shared
from support.servers import Clients, Server, wait_for

pytest.importorskip("granian")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """Run a server with three workers."""
    need_engine(Redis)
    hub = Hub(shared(Redis).url("workers"), 3, "--heartbeat", "0", "--lifetime", "0")
    try:
        hub.start()
        hub.wait()
        yield hub
    finally:
        hub.close()


def server(hub: Hub) -> Server:
    assert hub._process is not None
    return Server(hub._process, hub.port)


async def test_every_worker_delivers_what_any_took_in_one_order(hub: Hub, clients: Clients) -> None:
    streams = [await clients.follow(server(hub), "/events?topic=order") for _ in range(12)]

    ids = [
        server(hub).publish("order", str(n)) for n in range(20)
    ]  # each by a connection of its own

    for stream in streams:
        events = await stream.events(20)
        assert ids == [event.id for event in events]
        assert [str(n) for n in range(20)] == [event.data for event in events]


async def test_a_reader_resumes_at_any_worker(hub: Hub, clients: Clients) -> None:
    ids = [server(hub).publish("resume", str(n)) for n in range(5)]

    for _ in range(12):
        stream = await clients.follow(
            server(hub), "/events?topic=resume", f"Last-Event-ID: {ids[2]}"
        )
        assert ["3", "4"] == [event.data for event in await stream.events(2)]


async def test_a_key_publishes_once_whichever_worker_takes_it(hub: Hub) -> None:
    headers = {"Idempotency-Key": '"once"', "Content-Type": "text/plain"}

    answers = [
        server(hub).request("POST", "/events?topic=key", "x", headers).json["id"] for _ in range(12)
    ]

    assert 1 == len(set(answers))


async def test_a_killed_worker_takes_no_other_with_it_and_is_replaced(
    hub: Hub, clients: Clients
) -> None:
    before = hub.workers
    starts = hub.starts

    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: hub.starts > starts)

    assert 3 == len(hub.workers)
    assert 1 == hub.addresses
    assert set(before[1:]) < set(hub.workers)
    streams = [await clients.follow(server(hub), "/events?topic=killed") for _ in range(6)]
    id = server(hub).publish("killed", "x")
    for stream in streams:
        assert [id] == [event.id for event in await stream.events(1)]


def test_the_address_is_printed_once_for_all_workers_and_again_at_a_restart(hub: Hub) -> None:
    assert 1 == hub.addresses
    starts = hub.starts

    server(hub).signal(signal.SIGHUP)
    wait_for(lambda: hub.starts == starts + 3 and hub.addresses > 1)

    for n in range(20):  # by the end of these each worker has seen that the address answers
        server(hub).publish("restarted", str(n))
    assert 2 == hub.addresses


def test_the_end_of_the_server_is_the_end_of_all_workers(hub: Hub) -> None:
    workers = hub.workers

    assert 0 == hub.stop()

    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
