"""The ASGI server in memory: a client that reads, stalls and leaves, and an application whose faults are found."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.blocks import code_blocks, run_block
from support.servers import ROOT

from fastsse import Event, encode, testing
from fastsse.testing import CHANNEL, Ended, Sends, Stream, fetch, lifespan, open_stream

SENDS: list[Sends] = ["granian", "coroutine", "wrapped"]
SOON = 0.05  # s
START = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"1"), (b"a", b"2")]}


def body(chunk: Any, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


class App:
    """An application that sends some messages, then waits for the client to leave; it keeps all that it receives."""

    def __init__(self, *messages: Any) -> None:
        self.messages = messages
        self.sent = 0
        self.received: list[Any] = []
        self.scope: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        for message in self.messages:
            await send(message)
            self.sent += 1
        while True:
            message = await receive()
            self.received.append(message)
            if message["type"] == "http.disconnect":
                return


def finite(*chunks: bytes) -> Any:
    """Make an application that sends a whole response and returns."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(START)
        for chunk in chunks:
            await send(body(chunk))
        await send(body(b"", more=False))

    return app


def chunks(count: int) -> list[dict[str, Any]]:
    return [body(b"%d" % number) for number in range(count)]


class TestReading:
    async def test_the_start_is_there_when_the_block_begins(self) -> None:
        async with open_stream(App(START)) as stream:
            assert 200 == stream.status
            assert ({"a": "1, 2"}, [(b"a", b"1"), (b"a", b"2")]) == (
                stream.headers,
                stream.raw_headers,
            )

    async def test_it_can_begin_before_the_start(self) -> None:
        async with open_stream(App(START), wait=False) as stream:
            before = stream.status
            await stream.started()

            assert (0, 200) == (before, stream.status)

    async def test_chunks_come_as_they_were_sent(self) -> None:
        async with open_stream(App(START, body(b"ab"), body(b""), body(b"c"))) as stream:
            assert [b"ab", b"c"] == [await stream.chunk(), await stream.chunk()]

    @pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"])
    @pytest.mark.parametrize("cut", [1, 3, 100])
    async def test_a_block_ends_with_its_blank_line_however_it_comes(
        self, end: bytes, cut: int
    ) -> None:
        whole = b"data: a" + end + b"data: b" + end
        pieces = [body(whole[at : at + cut]) for at in range(0, len(whole), cut)]

        async with open_stream(App(START, *pieces)) as stream:
            read = await stream.block() + await stream.block()
            events = testing.Decoder().feed(read + stream.unread)

        assert whole.rstrip(b"\n") == read.rstrip(b"\n")
        assert ["a", "b"] == [event.data for event in events]

    async def test_a_chunk_gives_the_rest_of_one_that_a_block_has_left(self) -> None:
        async with open_stream(App(START, body(b"a\n\nb"))) as stream:
            assert (b"a\n\n", b"b") == (await stream.block(), await stream.chunk())

    async def test_events_pass_over_blocks_that_dispatch_nothing(self) -> None:
        sent = [encode("a"), b":\n\n", encode("b", event="c")]

        async with open_stream(App(START, body(b"".join(sent)))) as stream:
            assert [Event("a"), Event("b", event="c")] == await stream.events(2)

    async def test_what_is_unread_can_be_seen_and_stays(self) -> None:
        async with open_stream(App(START, body(b"a\n\nb"), body(b"c"))) as stream:
            await stream.block()
            seen = stream.unread

            assert (b"bc", b"bc") == (seen, stream.unread)
            assert b"b" == await stream.chunk()

    async def test_a_finite_response_is_read_to_its_end(self) -> None:
        async with open_stream(finite(b"ab", b"c")) as stream:
            assert b"abc" == await stream.rest()
            assert (True, False) == (stream.complete, stream.running)
            with pytest.raises(Ended, match="a chunk"):
                await stream.chunk()

    async def test_fetch_gives_all_of_it(self) -> None:
        assert (200, {"a": "1, 2"}, b"abc") == await fetch(finite(b"ab", b"c"))


class TestTheRequest:
    async def test_its_scope_says_what_was_asked(self) -> None:
        app = App(START)

        async with open_stream(
            app, "/p", {"a": "b c", "d": ["e", "f"]}, {"X-Y": "z"}, "POST", state={"k": 1}
        ):
            pass

        assert ("POST", "/p", b"a=b+c&d=e&d=f") == (
            app.scope["method"],
            app.scope["path"],
            app.scope["query_string"],
        )
        assert [(b"host", b"127.0.0.1:8000"), (b"x-y", b"z")] == app.scope["headers"]
        assert {"k": 1} == app.scope["state"]

    async def test_its_body_is_received_then_the_disconnect(self) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        app = App(START)

        async with open_stream(app, method="POST", body=pieces()) as stream:
            await asyncio.sleep(0.01)
            stream.disconnect()
            await stream.ended()

        assert [b"a", b"b", b"", None] == [message.get("body") for message in app.received]


@pytest.mark.parametrize("sends", SENDS)
class TestStalling:
    async def test_sends_block_when_the_server_takes_no_more(self, sends: Sends) -> None:
        app = App(START, *chunks(CHANNEL + 3))

        async with open_stream(app, sends=sends, wait=False) as stream:
            stream.stall()
            await stream.blocked()

            assert (1 + CHANNEL, b"") == (app.sent, stream.unread)

            stream.resume()
            assert [b"%d" % n for n in range(CHANNEL + 3)] == [
                await stream.chunk() for _ in range(CHANNEL + 3)
            ]

    async def test_a_client_that_leaves_lets_them_go_and_swallows_what_comes(
        self, sends: Sends
    ) -> None:
        app = App(START, *chunks(CHANNEL + 3))

        async with open_stream(app, sends=sends, wait=False) as stream:
            stream.stall()
            await stream.blocked()
            stream.disconnect()
            await stream.ended()

        assert len(app.messages) == app.sent


async def test_a_server_of_asgi_2_4_raises_once_the_client_has_gone() -> None:
    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        while (await receive())["type"] != "http.disconnect":
            pass
        await send(body(b"x"))

    async with open_stream(app, spec_version="2.4") as stream:
        stream.disconnect()
        with pytest.raises(OSError, match="gone"):
            await stream.ended()


async def stalled(app: Any) -> None:
    """Let the application run into a client that does not read."""
    async with open_stream(app, sends="coroutine", wait=False) as stream:
        stream.stall()
        await stream.ended()


FAULTS: dict[str, tuple[list[Any], str]] = {
    "a body first": ([body(b"x")], "before the start"),
    "two starts": ([START, START], "started twice"),
    "text": ([START, body("x")], "must be bytes, not str"),
    "more after the end": ([START, body(b"", more=False), body(b"x")], "after the final body"),
    "an unknown message": ([{"type": "http.response.trailers"}], "unknown message"),
    "a name in upper case": ([{**START, "headers": [(b"A", b"1")]}], "not lower case"),
}


class TestFaultsOfTheApplication:
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_the_protocol_is_kept_or_the_test_fails(self, fault: str) -> None:
        messages, said = FAULTS[fault]

        with pytest.raises(AssertionError, match=said):
            async with open_stream(App(*messages), wait=False):
                await asyncio.sleep(0)

    async def test_one_is_reported_by_the_test_and_not_by_asyncio_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(AssertionError):
            async with open_stream(App(START, START), wait=False):
                await asyncio.sleep(0)
        gc.collect()

        assert [] == caplog.records

    async def test_one_that_it_has_swallowed_fails_the_test_too(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                await send(body(b"x"))
            except AssertionError:
                await App(START)(scope, receive, send)

        with pytest.raises(AssertionError, match="before the start"):
            async with open_stream(app):
                pass

    async def test_a_send_while_one_is_pending_is_one(self) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(START)
            await asyncio.gather(*(send(message) for message in chunks(CHANNEL + 2)))

        with pytest.raises(AssertionError, match="while the last one was pending"):
            await stalled(app)

    async def test_a_wrapped_send_must_be_finished_by_the_task_that_began_it(self) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            begun = send(START)
            begun.send(None)
            await asyncio.create_task(finish(begun))

        async def finish(begun: Any) -> None:
            await asyncio.sleep(0)
            try:
                begun.send(None)
            except StopIteration:
                return

        with pytest.raises(RuntimeError, match="by the task that had begun it"):
            async with open_stream(app, sends="wrapped"):
                pass

    async def test_its_exception_is_raised_once(self) -> None:
        async def app(*_: Any) -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            async with open_stream(app):
                pass

    async def test_one_that_does_not_heed_the_disconnect_fails_the_test(self) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(START)
            await asyncio.Event().wait()

        with pytest.raises(AssertionError, match=r"did not return within 0\.05 s"):
            async with open_stream(app, deadline=SOON):
                pass

    async def test_a_response_without_its_end_is_none_to_fetch(self) -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(START)

        with pytest.raises(AssertionError, match="without a final body"):
            await fetch(app)

    async def test_a_failure_of_the_test_is_the_one_to_be_reported(self) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            await receive()
            await receive()
            raise ValueError("of the application")

        with pytest.raises(KeyError, match="of the test"):
            async with open_stream(app):
                raise KeyError("of the test")


WAITS: dict[str, Callable[[Stream], Any]] = {
    "a chunk": lambda stream: stream.chunk(),
    "a block": lambda stream: stream.block(),
    "a blocked send": lambda stream: stream.blocked(),
    "the application's return": lambda stream: stream.ended(),
}


@pytest.mark.parametrize("event", WAITS)
async def test_every_wait_has_a_deadline(event: str) -> None:
    async with open_stream(App(START), deadline=SOON) as stream:
        with pytest.raises(AssertionError, match=f"no sign of {event} within 0.05 s"):
            await WAITS[event](stream)


class TestLifespan:
    async def test_startup_and_shutdown_stand_round_the_block(self) -> None:
        done: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            for name in ("startup", "shutdown"):
                assert f"lifespan.{name}" == (await receive())["type"]
                done.append(name)
                scope["state"]["name"] = name
                await send({"type": f"lifespan.{name}.complete"})

        async with lifespan(app) as state:
            during = (list(done), dict(state))

        assert (["startup"], {"name": "startup"}) == during
        assert ["startup", "shutdown"] == done

    async def test_a_startup_that_fails_fails_the_test(self) -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

        with pytest.raises(AssertionError, match="no database"):
            async with lifespan(app):
                pass

    async def test_an_application_that_returns_fails_it(self) -> None:
        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            return

        with pytest.raises(AssertionError, match=r"has returned at lifespan\.startup"):
            async with lifespan(app):
                pass

    async def test_an_exception_of_the_application_is_raised(self) -> None:
        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            async with lifespan(app):
                pass

    async def test_no_answer_in_time_fails_it(self) -> None:
        async def app(*_: Any) -> None:
            await asyncio.Event().wait()

        with pytest.raises(AssertionError, match=r"no answer to lifespan\.startup within 0\.05 s"):
            async with lifespan(app, deadline=SOON):
                pass


async def test_the_tests_of_the_document_pass() -> None:
    names: dict[str, Any] = {}
    for block in code_blocks(ROOT / "docs" / "testing.md"):
        run_block(block, names)

    tests = [member for name, member in names.items() if name.startswith("test_")]
    for test in tests:
        if inspect.isawaitable(ran := test()):
            await ran

    assert 3 == len(tests)
