"""Two shards, as docs/capacity.md shows them: two hubs on two namespaces of one Redis, and a choice by topic."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from proxies.documented import PROXIES, absent, find
from support.engines import Redis, shared
from support.servers import ROOT, Clients, Reply, Server, environment, free_port, serve, wait_for
from support.starts import STARTS, started

PAGE = (ROOT / "docs" / "capacity.md").read_text("utf-8")
MAIN, ORDERS = ("news", "orders", "ordersx/1", "x/orders/1"), ("orders/1", "orders/", "orders/a/b")


class Shards(NamedTuple):
    """Both hubs, and the proxy in front of them."""

    main: Server
    orders: Server
    front: Server

    def of(self, topic: str) -> Server:
        """Return the hub that should have a topic."""
        return self.orders if topic in ORDERS else self.main


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return found


def configuration(folder: Path, port: int, main: Server, orders: Server) -> str:
    """Put real ports into the page's block, and what nginx needs in a folder of its own."""
    text = block("nginx")
    for shown, real in ((8000, port), (8001, main.port), (8002, orders.port)):
        assert f"127.0.0.1:{shown}" in text
        text = text.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{real}")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}{text}}}\n"
    )


@contextmanager
def nginx(
    program: str, folder: Path, main: Server, orders: Server
) -> Generator[Server, None, None]:
    """Run nginx until it answers."""

    @contextmanager
    def start() -> Generator[Server, None, None]:
        port = free_port()
        (folder / "nginx.conf").write_text(configuration(folder, port, main, orders))
        command = [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
        process = subprocess.Popen(command, cwd=folder, env=environment())
        try:
            yield Server(process, port)
        finally:
            process.terminate()
            process.wait()

    def ready(front: Server) -> Server:
        wait_for(lambda: _answers(front), STARTS)
        return front

    with started("nginx", start, ready) as front:
        yield front


def _answers(front: Server) -> bool:
    try:
        return front.request("GET", "/health").status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    [proxy] = [one for one in PROXIES if one.program == "nginx"]
    program = find(proxy)
    if program is None:
        absent(f"no nginx here; {proxy.install}")
    folder = tmp_path_factory.mktemp("nginx")
    urls = [shared(Redis).url(name) for name in ("shard_main", "shard_orders")]
    with serve("--store", urls[0]) as main, serve("--store", urls[1]) as orders:
        with nginx(program, folder, main, orders) as front:
            yield Shards(main, orders, front)


def publish(server: Server, topic: str, text: str) -> Reply:
    return server.request(
        "POST", f"/events?topic={topic}", text.encode(), {"Content-Type": "text/plain"}
    )


@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("topic", MAIN + ORDERS)
async def test_a_topic_is_in_its_own_shard_and_resumes_there(
    shards: Shards, topic: str, escaped: bool
) -> None:
    name = topic.replace("/", "%2F") if escaped else topic
    clients = Clients()
    try:
        direct = await clients.follow(shards.of(topic), f"/events?topic={name}")
        through = await clients.follow(shards.front, f"/events?topic={name}")
        replies = [
            await asyncio.to_thread(publish, shards.front, name, f"{topic} {n}") for n in range(3)
        ]
        first = replies[0].json["id"]
        again = await clients.follow(
            shards.front, f"/events?topic={name}", f"Last-Event-ID: {first}"
        )
        found = [[event.data for event in await one.events(3)] for one in (direct, through)]
        resumed = [event.data for event in await again.events(2)]
    finally:
        await clients.close()

    assert [200, 200, 200] == [reply.status for reply in replies]
    wanted = [f"{topic} {n}" for n in range(3)]
    assert [wanted, wanted] == found
    assert wanted[1:] == resumed


@pytest.mark.parametrize(
    ("topics", "status"),
    [
        (("news", "orders/1"), 400),
        (("orders/1", "news"), 400),
        (("orders/1", "orders/2", "news"), 400),
        (("news", "x", "orders%2F1"), 400),
        (("orders/1", "orders%2f2"), 200),
        (("news", "orders"), 200),
        (("news",), 200),
    ],
    ids=str,
)
def test_topics_of_both_shards_are_refused(
    shards: Shards, topics: tuple[str, ...], status: int
) -> None:
    query = "&".join(f"topic={topic}" for topic in topics)

    reply = shards.front.request("POST", f"/events?{query}", b"x", {"Content-Type": "text/plain"})

    assert status == reply.status


def test_a_client_that_chooses_finds_the_same_shards() -> None:
    names: dict[str, Any] = {}
    exec(block("python"), names)

    ports = {topic: names["hub_of"](topic).rpartition(":")[2] for topic in ("news", *ORDERS, "x/y")}

    assert {"news": "8001", "x/y": "8001", **dict.fromkeys(ORDERS, "8002")} == ports
