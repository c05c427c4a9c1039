"""The metrics: valid Prometheus text whose numbers are the hub's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.driver import fetch, open_stream
from support.stores import ScriptedStore

from fastsse.broadcast import Hub, Settings
from fastsse.broadcast.app import create_app
from fastsse.broadcast.hub.stats import Histogram
from fastsse.broadcast.web.metrics import CONTENT_TYPE, Metrics


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub(Settings(heartbeat=0, lifetime=0, history_events=2), step_sends=True)
    await made.start()
    yield made
    await made.stop()


def samples(hub: Hub) -> dict[str, float]:
    """Return the value of each sample by its name and labels, as a scraper reads them."""
    text = Metrics(hub).text().decode()
    return {
        sample.name
        + "".join(f"{{{k}={v}}}" for k, v in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_happened_is_counted(hub: Hub) -> None:
    async with (
        open_stream(hub.response(["news/sport", "news.home"])) as two,
        open_stream(hub.response("chat:1", last_event_id="old-1")),
    ):
        for number in range(3):
            await hub.publish("news/sport", str(number))
        await two.events(3)

        got = samples(hub)

    assert (2, 3) == (got["fastsse_streams"], got["fastsse_topics"])
    assert got["fastsse_followed_bytes"] > 1000
    assert (3, 3, 1) == tuple(
        got[f"fastsse_{name}_total"] for name in ("published", "delivered", "sends")
    )
    assert got["fastsse_sent_bytes_total"] > 60
    assert (1, 1) == tuple(got[f"fastsse_openings_total{{kind={k}}}"] for k in ("new", "gap"))
    assert 1 == got["fastsse_gaps_total{reason=restart}"]
    assert 1 == got["fastsse_delivery_seconds_count"]
    assert 0 < got["fastsse_delivery_seconds_sum"] < 5
    assert (1, 3) == (got["fastsse_history_topics"], got["fastsse_head"])


async def test_a_store_that_cannot_be_reached_is_told_with_its_seconds() -> None:
    store = ScriptedStore()
    async with Hub(Settings(heartbeat=0, lifetime=0), store) as hub:
        assert (None, None) == (hub.stalled, hub.health()["stalled"])
        assert 0 == samples(hub)["fastsse_store_stalled_seconds"]

        store.stall()
        await asyncio.sleep(0.01)

        assert 0 < samples(hub)["fastsse_store_stalled_seconds"] < 60
        assert 0 < json.loads(json.dumps(hub.health()))["stalled"] < 60
        assert "ok" == hub.health()["status"]

        store.recover()

        assert hub.stalled is None

    assert hub.stalled is None


async def test_what_is_over_is_counted_by_reason(hub: Hub) -> None:
    async with open_stream(hub.response("a")):
        pass

    hub.drain()
    got = samples(hub)

    assert 1 == got["fastsse_ended_total{reason=disconnected}"]
    assert (0, 1) == (got["fastsse_streams"], got["fastsse_draining"])


async def test_only_the_classes_that_settings_name_are_counted() -> None:
    hub = Hub(Settings(metric_classes=("news*", "*sport", "chat:1", "none")), step_sends=True)
    await hub.start()
    events = [
        hub.subscribe(["news/sport", "news.home", "sport"]),  # once in each class
        hub.subscribe("chat:1"),
        hub.subscribe("chat:1"),
        *(hub.subscribe([f"c{n}/{m}" for n in range(100)]) for m in range(2)),
    ]

    got = samples(hub)
    classes = {k: v for k, v in got.items() if k.startswith("fastsse_subscribers")}
    for subscription in events:
        subscription.close()

    of = "fastsse_subscribers{topic_class=%s}"
    assert {of % "news*": 1, of % "*sport": 1, of % "chat:1": 2, of % "none": 0} == classes
    assert {0} == {v for k, v in samples(hub).items() if k.startswith("fastsse_subscribers")}
    assert (0, 0) == (hub.audiences.size, hub.audiences.topics)
    await hub.stop()


async def test_the_app_answers_a_scrape_and_counts_whom_it_refuses(hub: Hub) -> None:
    app = create_app(hub=hub)
    hub.drain()
    assert 503 == (await fetch(app, "/events", query="topic=a")).status
    assert 503 == (await fetch(hub.response("a"))).status

    answer = await fetch(app, "/metrics")

    assert (200, CONTENT_TYPE) == (answer.status, answer.headers["content-type"])
    assert b'fastsse_refused_total{reason="draining"} 2.0\n' in answer.body


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells no numbers of a process")
async def test_a_scrape_has_the_process_s_own_numbers_and_none_twice(hub: Hub) -> None:
    answer = await fetch(create_app(hub=hub), "/metrics")

    families = [f.name for f in text_string_to_metric_families(answer.body.decode())]
    assert {"process_open_fds", "process_resident_memory_bytes"} <= set(families)
    assert len(set(families)) == len(families)
    assert b"process_" not in Metrics(hub).text()


async def test_health_has_the_numbers_that_the_page_shows(hub: Hub) -> None:
    async with open_stream(hub.response("a")) as one:
        await hub.publish("a", "x")
        await one.events(1)

        answer = await fetch(create_app(hub=hub), "/health")

    members = json.loads(answer.body)
    assert (1, 10_000, 1) == tuple(members[name] for name in ("streams", "limit", "published"))
    assert (1, 1, {"new": 1}) == tuple(members[name] for name in ("delivered", "sends", "openings"))
    assert 1 == sum(members["latency"]["counts"])
    assert len(members["lag"]["bounds"]) + 1 == len(members["lag"]["counts"])
    assert members["sent_bytes"] > 10


def test_a_histogram_counts_up_to_and_with_its_bounds() -> None:
    histogram = Histogram((1, 10))

    histogram.observe(1)
    histogram.observe(1.5, times=2)
    histogram.observe(11)

    assert ([1, 2, 1], 15.0) == (histogram.counts, histogram.total)
