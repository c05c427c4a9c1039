"""Anthropic's own SDK, with the decoder of fastsse and without, against a server that writes streams as servers do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from support.blocks import code_blocks
from support.misbehaving import head, send, trickle
from support.neighbours import need
from support.sdks import SAID, SHAPES, WORDS, Answering, Shape, as_said, for_anthropic, outcome
from support.servers import ROOT

from fastsse import EventTooLarge

anthropic = need("anthropic", "httpx2")

from fastsse.adapters.anthropic import UnsupportedSDK, use_fastsse  # noqa: E402

LAST = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
BAD = b": \xff\n\n"
ASKED: dict[str, Any] = {
    "model": "m",
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "say it"}],
}
PAGE = ROOT / "docs" / "sdks.md"
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    with Answering() as server:
        yield server


def client_of(server: Answering) -> Any:
    return anthropic.Anthropic(api_key="k", base_url=server.url, max_retries=0)


def async_client_of(server: Answering) -> Any:
    return anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0)


@pytest.fixture(scope="module")
def plain(server: Answering) -> Iterator[Any]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def ours(server: Answering) -> Iterator[Any]:
    with use_fastsse(client_of(server)) as client:
        yield client


def said_in(events: list[Any]) -> str:
    """Put the words of an answer together; without its beginning it is no answer."""
    words = [event.delta.text for event in events if event.type == "content_block_delta"]
    return "".join(words) if events and events[0].type == "message_start" else ""


def say(client: Any) -> str:
    return said_in(list(client.messages.create(**ASKED, stream=True)))


async def asay(client: Any) -> str:
    return said_in([event async for event in await client.messages.create(**ASKED, stream=True)])


class TestEveryShape:
    @every_shape
    def test_a_message_is_read_to_its_end(self, server: Answering, ours: Any, shape: Shape) -> None:
        server.says(shape.write(for_anthropic()))

        assert SAID == as_said(say(ours))

    @every_shape
    def test_without_the_adapter_it_ends_as_told(
        self, server: Answering, plain: Any, shape: Shape
    ) -> None:
        server.says(shape.write(for_anthropic()))

        assert shape.anthropic == outcome(say, plain)

    @every_shape
    def test_its_helper_collects_the_message(
        self, server: Answering, ours: Any, shape: Shape
    ) -> None:
        server.says(shape.write(for_anthropic()))

        with ours.messages.stream(**ASKED) as stream:
            message = stream.get_final_message()

        assert SAID == as_said(message.content[0].text)

    async def test_an_async_client_reads_each_to_its_end(self, server: Answering) -> None:
        said = {}
        async with use_fastsse(async_client_of(server)) as client:
            for shape in SHAPES:
                server.says(shape.write(for_anthropic()))
                said[shape.name] = as_said(await asay(client))

        assert {shape.name: SAID for shape in SHAPES} == said

    async def test_an_async_client_without_it_ends_as_told(self, server: Answering) -> None:
        broken = [shape for shape in SHAPES if shape.anthropic.endswith("Error")]
        async with async_client_of(server) as client:
            for shape in broken:
                server.says(shape.write(for_anthropic()))
                with pytest.raises(ValueError) as caught:  # noqa: PT011
                    await asay(client)
                assert shape.anthropic == type(caught.value).__name__

    def test_byte_by_byte(self, server: Answering, ours: Any) -> None:
        start, *_ = for_anthropic()
        delta = next(event for event in for_anthropic() if WORDS[0] in event[1])
        body = b"".join(shape.write([start, delta]) for shape in SHAPES[:-1])
        body = body.replace(b"\xef\xbb\xbf", b"")
        server.script = [send(head(200, {"Connection": "close"})), trickle(body)]

        assert WORDS[0] * (len(SHAPES) - 1) == say(ours).replace("\ufffd", "")


class TestTheDecoder:
    """The events that streams of the SDK are given, beside those of its own decoder."""

    BODY = (
        b": first\nid: 1\nretry: 5\nevent: ping\ndata: {}\n\n"
        b"event: message\ntrace: 7\ndata: {\ndata: }\n\n"
        b"event:message\ndata: 1\n\nevent: x\nevent: message\ndata: 2\n\n"
        b"event: message\nevent:\ndata: 3\n\nevent: message\nevent\ndata: 4\n\n"
        b"event:  message\ndata: 5\n\nevents: message\ndata: 6\n\ndata: 7\n\n"
    )

    def read(self, client: Any, *chunks: bytes) -> list[tuple[Any, ...]]:
        events = client._make_sse_decoder().iter_bytes(iter(chunks))
        return [
            (event.event, event.data, event.id, event.retry, getattr(event, "raw", None))
            for event in events
        ]

    def test_it_gives_what_theirs_gives_where_theirs_is_right(self, ours: Any, plain: Any) -> None:
        given = self.read(ours, self.BODY)

        assert self.read(plain, self.BODY) == given
        assert 9 == len(given)
        assert {"ping", "message", " message", None} == {event for event, *_ in given}

    def test_it_gives_that_however_it_is_cut(self, ours: Any) -> None:
        whole = self.read(ours, self.BODY)

        for cut in range(len(self.BODY)):
            assert whole == self.read(ours, self.BODY[:cut], self.BODY[cut:])

    def test_a_mark_at_the_start_is_not_in_the_lines(self, ours: Any, plain: Any) -> None:
        assert self.read(plain, self.BODY) == self.read(ours, b"\xef\xbb\xbf" + self.BODY)

    def test_an_event_comes_at_once_where_line_ends_are_mixed(self, ours: Any, plain: Any) -> None:
        def taken(client: Any) -> int:
            chunks = iter([b"event: x\ndata: {}\n\r\n", b": later\n\n", b": last\n\n"])
            next(client._make_sse_decoder().iter_bytes(chunks))
            return 3 - len(list(chunks))

        assert (1, 2) == (taken(ours), taken(plain))

    async def test_it_gives_that_to_an_async_stream(self, ours: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(self.BODY), 7):
                yield self.BODY[at : at + 7]

        events = [event async for event in ours._make_sse_decoder().aiter_bytes(chunks())]

        assert [data for _, data, *_ in self.read(ours, self.BODY)] == [
            event.data for event in events
        ]

    def test_each_stream_begins_afresh(self, ours: Any) -> None:
        decoder = ours._make_sse_decoder()

        list(decoder.iter_bytes(iter([b"id: 1\nevent: left\ndata: over"])))
        (event,) = decoder.iter_bytes(iter([b"\xef\xbb\xbfdata: a\n\n"]))

        assert (None, "a", None) == (event.event, event.data, event.id)


class TestWhatTheSDKOffers:
    def test_an_event_of_the_type_message_is_read_and_one_without_a_type_is_not(
        self, server: Answering, ours: Any
    ) -> None:
        server.says(b'event: message\ndata: {"type": "one"}\n\ndata: {"type": "two"}\n\n' + LAST)

        assert ["one", "message_stop"] == [
            event.type for event in ours.messages.create(**ASKED, stream=True)
        ]

    @pytest.mark.parametrize("data", [b"", b" ", b"\t "])
    def test_blank_data_is_passed_over(self, server: Answering, ours: Any, data: bytes) -> None:
        server.says(b"event: message_stop\ndata: %s\n\n" % data + LAST)

        assert ["message_stop"] == [
            event.type for event in ours.messages.create(**ASKED, stream=True)
        ]

    def test_an_error_in_the_stream_is_told_as_by_the_sdk(
        self, server: Answering, ours: Any, plain: Any
    ) -> None:
        server.says(b'event: error\ndata: {"error": {"type": "overloaded_error"}}\n\n')

        with pytest.raises(anthropic.APIStatusError, match="overloaded"):
            say(plain)
        with pytest.raises(anthropic.APIStatusError, match="overloaded"):
            say(ours)

    def test_a_raw_response(self, server: Answering, ours: Any) -> None:
        server.says(BAD + SHAPES[0].write(for_anthropic()))

        raw = ours.messages.with_raw_response.create(**ASKED, stream=True)

        assert SAID == said_in(list(raw.parse()))

    def test_the_response_is_closed_after_the_last_event(
        self, server: Answering, ours: Any
    ) -> None:
        server.says(BAD + SHAPES[0].write(for_anthropic()))
        stream = ours.messages.create(**ASKED, stream=True)

        for _ in stream:
            pass

        assert stream.response.is_closed


class TestCopies:
    @pytest.fixture(autouse=True)
    def broken(self, server: Answering) -> None:
        """Have the server write what the SDK's own decoder cannot read."""
        server.says(BAD + SHAPES[0].write(for_anthropic()))

    @pytest.mark.parametrize(
        "copied",
        [
            lambda client: client.with_options(timeout=30),
            lambda client: client.copy(),
            lambda client: client.with_options(max_retries=0).with_options(timeout=30),
        ],
        ids=["with_options", "copy", "of a copy"],
    )
    def test_a_copy_has_the_decoder(self, ours: Any, copied: Callable[[Any], Any]) -> None:
        assert SAID == say(copied(ours))

    async def test_a_copy_of_an_async_client_has_it(self, server: Answering) -> None:
        async with use_fastsse(async_client_of(server)) as client:
            assert SAID == await asay(client.with_options(timeout=30))

    @pytest.mark.parametrize("name", ["AnthropicVertex", "AsyncAnthropicVertex"])
    def test_a_copy_of_another_clouds_client_has_it(self, name: str) -> None:
        client = getattr(anthropic, name)(region="r", project_id="p", access_token="t")

        decoder = use_fastsse(client).with_options(timeout=30)._make_sse_decoder()

        (event,) = decoder.iter_bytes(iter([b"\xef\xbb\xbfevent: x\ndata: \xff\n\n"]))
        assert ("x", "\ufffd") == (event.event, event.data)

    def test_a_copy_keeps_the_limit(self, server: Answering) -> None:
        with use_fastsse(client_of(server), max_event_size=20) as client:
            with pytest.raises(EventTooLarge):
                say(client.with_options(timeout=30))

    def test_other_clients_do_not_change(self, server: Answering, plain: Any, ours: Any) -> None:
        with client_of(server) as later:
            outcomes = [outcome(say, client) for client in (plain, ours, later)]

        assert ["UnicodeDecodeError", SAID, "UnicodeDecodeError"] == outcomes


def test_the_example_of_the_document(
    server: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [shown] = [block for block in code_blocks(PAGE) if "fastsse.adapters.anthropic " in block.text]
    server.says(BAD + SHAPES[0].write(for_anthropic()))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)

    exec(shown.text, {})

    assert SAID == capsys.readouterr().out


class TestTheCall:
    def test_it_returns_the_client_itself(self, server: Answering) -> None:
        with client_of(server) as client:
            assert use_fastsse(client) is client
            assert isinstance(client, anthropic.Anthropic)

    def test_an_event_that_is_too_large_comes_after_those_before_it(
        self, server: Answering
    ) -> None:
        server.says(LAST * 3 + LAST.replace(b"{", b"{" + b" " * 1000) + LAST)
        seen: list[str] = []

        with use_fastsse(client_of(server), max_event_size=100) as client:
            stream = client.messages.create(**ASKED, stream=True)
            with pytest.raises(EventTooLarge, match="event is over 100 bytes"):
                seen.extend(event.type for event in stream)

        assert ["message_stop"] * 3 == seen

    def test_comments_without_an_end_are_bounded(self, server: Answering) -> None:
        server.says(b": ping\n" * 1000)

        with use_fastsse(client_of(server), max_event_size=1000) as client:
            with pytest.raises(EventTooLarge):
                say(client)

    @pytest.mark.parametrize(("limit", "error"), [(0, ValueError), ("10", TypeError)])
    def test_a_wrong_limit_is_refused_at_once(
        self, server: Answering, limit: Any, error: type[Exception]
    ) -> None:
        with client_of(server) as client:
            with pytest.raises(error, match="max_event_size must be"):
                use_fastsse(client, max_event_size=limit)

    def test_a_client_of_another_sdk_is_refused(self) -> None:
        openai = need("openai")

        with openai.OpenAI(api_key="k") as client:
            with pytest.raises(TypeError, match="a client of anthropic, not OpenAI"):
                use_fastsse(client)

    def test_a_client_that_reads_another_format_is_refused(self) -> None:
        bedrock = anthropic.AnthropicBedrock(
            aws_access_key="k", aws_secret_key="s", aws_region="us-east-1"
        )

        with pytest.raises(TypeError, match="AnthropicBedrock has one of its own"):
            use_fastsse(bedrock)
        bedrock.close()

    def test_a_version_without_the_hook_is_refused(
        self, plain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr("anthropic._base_client.BaseClient._make_sse_decoder")

        with pytest.raises(UnsupportedSDK) as caught:
            use_fastsse(plain)

        assert ("anthropic", anthropic.__version__) == (caught.value.sdk, caught.value.version)
        assert f"anthropic {anthropic.__version__} has no BaseClient._make_sse_decoder, " in str(
            caught.value
        )
