"""All that the hub holds is bounded, in the unit of what is held."""

from __future__ import annotations

import contextlib
import socket
import timeit
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from support.grown import FOLLOWED, KEPT, grow
from support.hubs import started
from support.posts import broadcast
from support.servers import Server, serve, wait_for

from fastsse import InvalidField, decode, encode
from fastsse.broadcast import Hub, SettingError, Settings, TooLarge
from fastsse.broadcast.hub.drafts import write_block
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.names import is_text
from fastsse.broadcast.web.metrics import Metrics
from fastsse.testing import fetch, open_stream

KIB = 1024


# Names.

TAKEN = {
    "family of joined emoji": "👨‍👩‍👧",
    "Persian with a non-joiner": "می‌خواهم",
    "ideographic space": "東京　大阪",
    "an emoji of Unicode 17": "\U0001fac8",
    "an emoji of no Unicode yet": "\U0001faf9",
    "unassigned": "\u0378",
    "no-break space": "a\u00a0b",
    "private use": "\ue000\U000f0000",
    "noncharacters": "\ufdd0\ufffe\uffff\U0010ffff",
    "right to left": "\u202eabc\u2066",
    "byte-order mark": "\ufeffa",
    "soft hyphen": "a\u00adb",
    "Hangul filler": "\u3164",
    "Braille blank": "\u2800",
    "tags": "🏴\U000e0067\U000e0062\U000e007f",
    "only a space": " ",
    "words of a pattern": "a*b?topic=c&d#e",
}
REFUSED = {
    **{f"U+{n:04X}": f"a{chr(n)}b" for n in (0, 9, 10, 13, 0x1B, 0x1F, 0x7F, 0x80, 0x85, 0x9F)},
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "high surrogate": "a\ud800b",
    "low surrogate": "\udfff",
    "a byte that is not UTF-8, as Python's own escapes it": "\udcff",
    "nothing": "",
}


@pytest.mark.parametrize("name", TAKEN.values(), ids=TAKEN)
async def test_a_topic_may_have_every_character_that_ends_no_line(name: str) -> None:
    """Names are judged by a list of ours, not by the interpreter's Unicode tables.

    From: zulip/zulip PR 20188, ancsemi/Haven#5362, cometd/cometd#620, review F25
    """
    async with started() as hub:
        receipt = await hub.publish(name, "x")

        async with hub.subscribe(name, last_event_id="earliest") as events:
            assert ((name,), "x") == (receipt.topics, (await anext(events)).data)
    assert name in dict(Settings(topics={name: {"lag_events": 1}}).topics)


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
async def test_a_topic_has_no_control_character_and_no_line_separator(name: str) -> None:
    """From: review F25"""
    async with started() as hub:
        with pytest.raises(InvalidField) as caught:
            await hub.publish(name, "x")
        with pytest.raises(InvalidField):
            hub.subscribe([name, "good"])

        assert "topic" == caught.value.field
        assert 0 == hub.history.topics
    with pytest.raises(SettingError):
        Settings(topics={name: {"lag_events": 1}})


def test_which_characters_are_refused_is_frozen() -> None:
    """From: cometd/cometd#620"""
    refused = [n for n in range(0x110000) if not is_text(chr(n))]

    controls = [*range(0x20), *range(0x7F, 0xA0)]
    assert [*controls, 0x2028, 0x2029, *range(0xD800, 0xE000)] == refused


async def test_a_name_is_its_bytes() -> None:
    """Two ways to write one letter are two topics, as the docs say.

    From: review F25
    """
    async with started() as hub:
        receipt = await hub.publish(["\u00e9", "e\u0301"], "x")

        assert 2 == len(receipt.topics)


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "😀" * 64])
async def test_the_length_of_a_name_is_counted_in_bytes(name: str) -> None:
    """From: review F12"""
    async with started() as hub:
        assert (name,) == (await hub.publish(name, "x")).topics
        with pytest.raises(InvalidField, match="256 bytes"):
            await hub.publish(name + "a", "x")


@pytest.mark.parametrize("query", ["topic=%F0%9F%91%A8%E2%80%8D%F0%9F%91%A9", "topic=%E3%80%80"])
async def test_names_over_http_are_the_same(query: str) -> None:
    """From: ancsemi/Haven#5362"""
    async with broadcast() as app:
        answer = await fetch(
            app, "/events", query, {"content-type": "text/plain"}, "POST", body=b"x"
        )

        assert 200 == answer.status


# Blocks.

LIMIT = 64 * KIB
FITTING = {
    "one line": "x" * LIMIT,
    "one line of umlauts": "ä" * (LIMIT // 2),
    "bytes": b"x" * LIMIT,
    "bytearray": bytearray(b"x" * LIMIT),
    "view": memoryview(b"x" * LIMIT),
    "view of integers": memoryview(bytearray(LIMIT)).cast("Q"),
    "NUL": "\0" * LIMIT,
    "500 lines": "x" * (LIMIT - 500) + "\n" * 500,
    "line ends that fit": "\n" * (LIMIT // 7),
}
TOO_LARGE = {
    "one byte more": "x" * (LIMIT + 1),
    "umlauts": "ä" * (LIMIT // 2 + 1),
    "fewer characters than bytes": "😀" * (LIMIT // 4 + 1),
    "bytes": b"x" * (LIMIT + 1),
    "bytearray": bytearray(LIMIT + 1),
    "view of integers": memoryview(bytearray(LIMIT + 8)).cast("Q"),
    "LF": "\n" * LIMIT,
    "CR": "\r" * LIMIT,
    "CRLF": "\r\n" * (LIMIT // 2),
    "LF in bytes": b"\n" * LIMIT,
    "CR in a bytearray": bytearray(b"\r" * LIMIT),
    "CRLF in a view": memoryview(b"\r\n" * (LIMIT // 2)),
    "LF in a view of integers": memoryview(bytearray(b"\n" * LIMIT)).cast("Q"),
    "lines of one letter": "x\n" * (LIMIT // 2),
    "lines of one emoji": "😀\n" * (LIMIT // 5),
}


@pytest.mark.parametrize("data", FITTING.values(), ids=FITTING)
async def test_data_up_to_the_limit_is_taken(data: Any) -> None:
    """From: pubky/pubky-homeserver PR 624"""
    async with started(max_event_size=LIMIT, history_bytes=2**30) as hub:
        await hub.publish("a", data)

        [frame] = hub.history.since(("a",), 0)
        [event] = decode(frame.block)  # type: ignore[union-attr]
        expected = data if isinstance(data, str) else bytes(data).decode()
        assert expected == event.data


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_what_is_written_larger_than_the_limit_is_refused(data: Any) -> None:
    """The history holds a block, not its data: a megabyte of line ends is a block of seven.

    From: review F2
    """
    async with started(max_event_size=LIMIT) as hub:
        with pytest.raises(TooLarge) as caught:
            await hub.publish("a", data)

        assert "data" == caught.value.field
        assert (0, 0) == (hub.stats.published, hub.history.size)


def test_a_block_that_is_taken_is_never_much_larger_than_the_limit() -> None:
    """From: review F2"""
    lines = "\n" * 100

    for text in ["x" * (LIMIT - n * 100) + lines * n for n in range(40)]:
        try:
            write_block(text, "e" * 256, 86_400_000, LIMIT)
        except TooLarge:
            assert len(encode(text, event="e" * 256, retry=86_400_000)) > LIMIT + 4096
        else:
            assert len(encode(text, event="e" * 256, retry=86_400_000)) <= LIMIT + 4096


@pytest.mark.parametrize(
    "data", ["\n" * 2**20, b"\r" * 2**20, "x" * 2**24], ids=["LF", "CR", "long"]
)
def test_what_is_too_large_is_refused_before_it_is_built(data: str | bytes) -> None:
    """From: review F2"""
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            write_block(data, None, None, Settings().max_event_size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 256 * KIB


@pytest.mark.parametrize("kind", ["e" * 256, "é" * 128, "👨‍👩‍👧"])
def test_an_event_type_may_have_256_bytes(kind: str) -> None:
    """From: pubky/pubky-homeserver PR 624, pydantic/httpx2 PR 1071"""
    write_block("x", kind, None, LIMIT)


@pytest.mark.parametrize("kind", ["e" * 257, "é" * 129, "😀" * 65, "e" * 2_500_000, "\ud800" * 86])
def test_a_longer_event_type_is_refused_by_its_bytes(kind: str) -> None:
    """From: pubky/pubky-homeserver PR 624, pydantic/httpx2 PR 1071"""
    with pytest.raises(TooLarge) as caught:
        write_block("x", kind, None, LIMIT)

    assert "event" == caught.value.field
    assert 300 > len(str(caught.value))


FORM = "application/x-www-form-urlencoded"
POSTED = {
    "event type in the query": (b"x", "text/plain", "topic=a&event=" + "e" * 257, "event"),
    "event type in a form": (b"topic=a&data=x&event=" + b"e" * 2000, FORM, "", "event"),
    "event type in a stream": (b"event:" + b"e" * 257 + b"\ndata:x\n\n", "text/event-stream", "topic=a", "event"),
    "line ends": (b"\n" * LIMIT, "text/plain", "topic=a", "data"),
    "line ends in a form": (b"topic=a&data=" + b"\r" * LIMIT, FORM, "", "data"),
    "line ends in a stream": (b"data\n" * LIMIT + b"\n", "text/event-stream", "topic=a", "data"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "query", "field"), POSTED.values(), ids=POSTED)
async def test_what_is_too_large_is_told_by_413(
    body: bytes, kind: str, query: str, field: str
) -> None:
    """From: pubky/pubky-homeserver PR 624, review F2"""
    async with broadcast(max_event_size=LIMIT) as app:
        answer = await fetch(app, "/events", query, {"content-type": kind}, "POST", body=body)

        assert 413 == answer.status, answer.body
        assert f'"field":"{field}"'.encode() in answer.body.replace(b": ", b":")
        assert 0 == app.hub.stats.published


@pytest.mark.parametrize("retry", [0, 1, 86_400_000])
def test_a_reconnection_time_may_be_a_day(retry: int) -> None:
    """From: review F10"""
    write_block("x", None, retry, LIMIT)


@pytest.mark.parametrize("retry", [-1, 86_400_001, 999_999_999_999_999_999, 2**63, 2**200])
def test_a_longer_reconnection_time_is_refused(retry: int) -> None:
    """A browser that was told to wait for a century never comes back.

    From: review F10
    """
    with pytest.raises(InvalidField) as caught:
        write_block("x", None, retry, LIMIT)

    assert ("retry", "86400000" in caught.value.rule) == (caught.value.field, True)


async def test_what_was_refused_is_counted_by_field() -> None:
    """From: review F2"""
    async with started(max_event_size=10) as hub:
        for wrong in (
            {"data": "x" * 11},
            {"data": "\n" * 10**4},
            {"event": "e" * 300},
            {"retry": -1},
            {"topics": "\n"},
        ):
            with pytest.raises(InvalidField):
                await hub.publish(**{"topics": "a", "data": "x", **wrong})  # type: ignore[arg-type]

        assert {"data": 2, "event": 1, "retry": 1, "topic": 1} == hub.stats.events_refused
        assert b'fastsse_events_refused_total{field="data"} 2.0' in Metrics(hub).text()


# Held for readers that do not read.


def _resident(server: Server) -> int:
    """Count the bytes that the processes of a server hold."""
    size = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            group = path.read_text().rpartition(")")[2].split()[2]
            if int(group) == server.process.pid:
                size += int(path.with_name("statm").read_text().split()[1]) * 4096
    return size


@pytest.mark.parametrize("lag_bytes", ["4194304", "100000000"], ids=["ended", "kept"])
def test_readers_that_do_not_read_hold_little(lag_bytes: str) -> None:
    """120 readers, each an audience of its own, and eight of the largest events that there may be.

    From: review F2
    """
    data = b"x" * (2**20 - 500) + b"\n" * 500
    with serve("--lag-bytes", lag_bytes) as server, contextlib.ExitStack() as stack:
        for n in range(120):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((server.host, server.port))
            query = f"topic=a&topic=own{n}&labels=1"
            reader.sendall(f"GET /events?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        wait_for(lambda: server.health()["streams"] == 120)
        before = _resident(server)

        for _ in range(8):
            kind = {"Content-Type": "text/plain"}
            assert 200 == server.request("POST", "/events?topic=a", data, kind).status
        wait_for(lambda: server.health()["blocked"] == (120 if lag_bytes == "100000000" else 0))

        assert _resident(server) - before < 100 * 2**20
        pending = server.health()["pending_bytes"]
        assert 0 <= pending <= 120 * 64 * KIB
        assert pending > 0 or lag_bytes == "4194304"


# Followed names.


@pytest.mark.parametrize("shape", FOLLOWED)
def test_what_followed_names_take_is_what_the_process_grows_by(shape: str) -> None:
    """From: review F13"""
    grown = grow(shape)

    assert grown["told"] / 2 < grown["resident"] < grown["told"] * 1.3, grown


def reason(hub: Hub, topics: tuple[str, ...]) -> str | None:
    refusal = hub.refusal(Terms(topics))
    return None if refusal is None else refusal.reason


async def test_names_that_streams_follow_are_bounded_in_bytes() -> None:
    """From: review F13"""
    async with started(max_followed=64 * KIB) as hub:
        opened = [hub.subscribe("honest")]
        junk = [tuple(f"{n}/{m}/" + "x" * 240 for m in range(100)) for n in range(2)]
        opened.append(hub.subscribe(junk[0]))

        assert "names" == reason(hub, junk[1])
        with pytest.raises(RuntimeError, match="names"):
            hub.subscribe(junk[1])
        assert None is reason(hub, ("honest",))
        opened.append(hub.subscribe("honest"))
        assert None is reason(hub, ("another",))
        assert 0 < hub.audiences.size <= 64 * KIB
        assert hub.health()["followed_bytes"] == hub.audiences.size

        opened.pop(1).close()
        assert None is reason(hub, junk[1])
        for subscription in opened:
            subscription.close()
        assert (0, 0) == (hub.audiences.size, hub.audiences.topics)


async def test_a_reader_of_names_that_find_no_room_is_turned_away_and_counted() -> None:
    """From: review F13"""
    async with broadcast(max_followed=10 * KIB, metric_classes=("news", "0/*")) as app:
        junk = "&".join(f"topic={n}/" + "x" * 200 for n in range(50))

        assert 503 == (await fetch(app, "/events", junk)).status
        assert 503 == (await fetch(app.hub.response([f"{n}" * 90 for n in range(50)]))).status
        async with (
            open_stream(app, "/events", "topic=news"),
            open_stream(app, "/events", "topic=news"),
        ):
            text = (await fetch(app, "/metrics")).body

        assert b'fastsse_refused_total{reason="names"} 2.0' in text
        assert b'fastsse_subscribers{topic_class="news"} 2.0' in text
        assert b'fastsse_subscribers{topic_class="0/*"} 0.0' in text


async def test_a_name_is_kept_once_whoever_follows_it() -> None:
    """From: review F13"""
    async with started() as hub:
        sets = [[f"{n:03}" + "x" * 200 for n in range(k, k + 50)] for k in range(40)]
        opened = [hub.subscribe(names) for names in sets]
        opened.pop(0).close()

        ids = {id(name) for audience in hub.audiences for name in audience.topics}

        assert 88 == len(ids) == hub.audiences.topics
        for subscription in opened:
            subscription.close()


async def test_ten_thousand_streams_of_their_own_fit_easily() -> None:
    """From: review F13"""
    async with started() as hub:
        opened = [hub.subscribe([f"user/{n:030}", "everybody"]) for n in range(1000)]

        assert 10 * hub.audiences.size < Settings().max_followed / 2
        for subscription in opened:
            subscription.close()


async def test_a_scrape_takes_no_longer_whatever_is_followed() -> None:
    """From: review F13"""
    async with started() as hub:
        metrics = Metrics(hub)
        few = min(timeit.repeat(metrics.text, number=1, repeat=20))
        opened = [hub.subscribe([f"{n}/{m}/" + "x" * 240 for m in range(100)]) for n in range(100)]

        many = min(timeit.repeat(metrics.text, number=1, repeat=20))
        for subscription in opened:
            subscription.close()

        assert many < 2 * few
        assert b"xxx" not in metrics.text()


# Kept for replay.


@pytest.mark.parametrize("shape", KEPT)
def test_what_the_history_says_it_takes_is_what_the_process_grows_by(shape: str) -> None:
    """From: review F12"""
    grown = grow(shape)

    assert grown["told"] / 2 < grown["resident"] < grown["told"] * 1.3, grown


async def test_one_publisher_does_not_make_all_others_past_go() -> None:
    """From: review F15"""
    async with started(history_total=10 * 2**20) as hub:
        await hub.publish("bank", "balance")
        for n in range(15):
            await hub.publish(f"flood {n}", "x" * 2**20)
            await hub.publish("flood", "x" * 2**20)

        async with hub.subscribe("bank", last_event_id="earliest") as events:
            assert "balance" == (await anext(events)).data
        assert hub.history.size <= 10 * 2**20


async def test_new_topics_without_number_do_not_make_a_followed_ones_past_go() -> None:
    """From: review F15"""
    async with started(max_topics=100) as hub, hub.subscribe("bank") as reader:
        receipts = [await hub.publish("bank", str(n)) for n in range(3)]
        for n in range(300):
            await hub.publish(f"flood {n}", "x")

        async with hub.subscribe("bank", last_event_id=receipts[0].id) as events:
            assert ["1", "2"] == [(await anext(events)).data for _ in range(2)]
        assert "0" == (await anext(reader)).data
        assert 100 == hub.history.topics
        assert 201 == hub.history.forgotten
        assert b"fastsse_history_forgotten_total 201.0" in Metrics(hub).text()
