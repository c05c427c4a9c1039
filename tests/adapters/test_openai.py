"""OpenAI's own SDK, with the decoder of fastsse and without, against a server that writes streams as servers do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.blocks import code_blocks
from support.misbehaving import head, reset, send, trickle
from support.neighbours import need
from support.sdks import (
    SAID,
    SHAPES,
    WORDS,
    Answering,
    Shape,
    as_said,
    for_openai,
    for_responses,
    outcome,
)
from support.servers import ROOT

from fastsse import EventTooLarge, FastSSEError

openai = need("openai", "httpx")

from fastsse.adapters.openai import UnsupportedSDK, use_fastsse  # noqa: E402

RETRY = b"retry: 5\n\n"
MESSAGES = [{"role": "user", "content": "say it"}]
PAGE = ROOT / "docs" / "sdks.md"
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])


@pytest.fixture(scope="module")
def server() -> Iterator[Answering]:
    with Answering() as server:
        yield server


def client_of(server: Answering, **options: Any) -> Any:
    return openai.OpenAI(api_key="k", base_url=server.url, max_retries=0, **options)


def async_client_of(server: Answering) -> Any:
    return openai.AsyncOpenAI(api_key="k", base_url=server.url, max_retries=0)


@pytest.fixture(scope="module")
def plain(server: Answering) -> Iterator[Any]:
    with client_of(server) as client:
        yield client


@pytest.fixture(scope="module")
def ours(server: Answering) -> Iterator[Any]:
    with use_fastsse(client_of(server)) as client:
        yield client


def chat(client: Any) -> str:
    chunks = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def respond(client: Any) -> str:
    events = client.responses.create(model="m", input="say it", stream=True)
    return "".join(event.delta for event in events)


class TestEveryShape:
    @every_shape
    def test_a_completion_is_read_to_its_end(
        self, server: Answering, ours: Any, shape: Shape
    ) -> None:
        server.says(shape.write(for_openai()))

        assert SAID == as_said(chat(ours))

    @every_shape
    def test_without_the_adapter_it_ends_as_told(
        self, server: Answering, plain: Any, shape: Shape
    ) -> None:
        server.says(shape.write(for_openai()))

        assert shape.openai == outcome(chat, plain)

    @every_shape
    def test_a_response_is_read_to_its_end(
        self, server: Answering, ours: Any, shape: Shape
    ) -> None:
        server.says(shape.write(for_responses()))

        assert SAID == as_said(respond(ours))

    async def test_an_async_client_reads_each_to_its_end(self, server: Answering) -> None:
        said = {}
        async with use_fastsse(async_client_of(server)) as client:
            for shape in SHAPES:
                server.says(shape.write(for_openai()))
                chunks = await client.chat.completions.create(
                    model="m", messages=MESSAGES, stream=True
                )
                words = [chunk.choices[0].delta.content or "" async for chunk in chunks]
                said[shape.name] = as_said("".join(words))

        assert {shape.name: SAID for shape in SHAPES} == said

    async def test_an_async_client_without_it_ends_as_told(self, server: Answering) -> None:
        broken = [shape for shape in SHAPES if shape.openai.endswith("Error")]
        async with async_client_of(server) as client:
            for shape in broken:
                server.says(shape.write(for_openai()))
                with pytest.raises(ValueError) as caught:  # noqa: PT011
                    async for _ in await client.chat.completions.create(
                        model="m", messages=MESSAGES, stream=True
                    ):
                        pass
                assert shape.openai == type(caught.value).__name__

    def test_byte_by_byte(self, server: Answering, ours: Any) -> None:
        body = b"\xef\xbb\xbf" + b"".join(shape.write(for_openai()[:1]) for shape in SHAPES[:-1])
        body = body.replace(b"\xef\xbb\xbf", b"")
        server.script = [send(head(200, {"Connection": "close"})), trickle(body)]

        assert WORDS[0] * (len(SHAPES) - 1) == chat(ours).replace("\ufffd", "")


class TestWhatTheSDKOffers:
    @pytest.fixture(autouse=True)
    def broken(self, server: Answering) -> None:
        """Have the server write what the SDK's own decoder cannot read."""
        server.says(RETRY + SHAPES[0].write(for_openai()))

    def test_a_raw_response(self, ours: Any) -> None:
        raw = ours.chat.completions.with_raw_response.create(
            model="m", messages=MESSAGES, stream=True
        )

        words = [chunk.choices[0].delta.content or "" for chunk in raw.parse()]

        assert SAID == "".join(words)

    def test_a_streaming_response(self, ours: Any) -> None:
        with ours.chat.completions.with_streaming_response.create(
            model="m", messages=MESSAGES, stream=True
        ) as response:
            words = [chunk.choices[0].delta.content or "" for chunk in response.parse()]

        assert SAID == "".join(words)

    def test_its_helper_for_completions(self, ours: Any) -> None:
        with ours.chat.completions.stream(model="m", messages=MESSAGES) as stream:
            words = [event.delta for event in stream if event.type == "content.delta"]

        assert SAID == "".join(words)

    def test_its_decoder_gives_what_theirs_gives_where_theirs_is_right(
        self, ours: Any, plain: Any
    ) -> None:
        body = (
            b"event: first\ndata: 1\n\n"
            b'id: 1\nretry: 5\nevent: thread.run.queued\ndata: {"id": "1"}\n\ndata: {}\n\n'
        )

        def read(client: Any) -> list[tuple[Any, ...]]:
            events = client._make_sse_decoder().iter_bytes(iter([body]))
            return [(event.event, event.data, event.id, event.retry) for event in events]

        assert read(plain) == read(ours)
        assert 3 == len(read(ours))

    def test_an_assistants_event_keeps_its_type(self, server: Answering, ours: Any) -> None:
        server.says(RETRY + b'event: thread.run.queued\ndata: {"id": "run_1"}\n\n')

        with pytest.warns(DeprecationWarning, match="Assistants"):
            events = list(
                ours.beta.threads.runs.create(thread_id="t", assistant_id="a", stream=True)
            )

        assert [("thread.run.queued", "run_1")] == [
            (event.event, event.data.id) for event in events
        ]

    def test_a_client_that_made_its_resources_before(self, server: Answering) -> None:
        with client_of(server) as client:
            completions = client.chat.completions
            use_fastsse(client)

            chunks = completions.create(model="m", messages=MESSAGES, stream=True)

            assert SAID == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    def test_a_connection_that_breaks_is_told_as_by_the_sdk(
        self, server: Answering, ours: Any, plain: Any
    ) -> None:
        chunked = head(200, {"Transfer-Encoding": "chunked"})
        server.script = [send(chunked + b"5\r\n: hel\r\n"), reset]

        assert outcome(chat, plain) == outcome(chat, ours)

    def test_an_error_in_the_stream_is_told_as_by_the_sdk(
        self, server: Answering, ours: Any, plain: Any
    ) -> None:
        server.says(b'data: {"error": {"message": "overloaded"}}\n\n')

        with pytest.raises(openai.APIError, match="overloaded"):
            chat(plain)
        with pytest.raises(openai.APIError, match="overloaded"):
            chat(ours)

    def test_the_response_is_closed_after_the_last_event(self, ours: Any) -> None:
        chunks = ours.chat.completions.create(model="m", messages=MESSAGES, stream=True)

        for _ in chunks:
            pass

        assert chunks.response.is_closed


class TestCopies:
    @pytest.fixture(autouse=True)
    def broken(self, server: Answering) -> None:
        """Have the server write what the SDK's own decoder cannot read."""
        server.says(RETRY + SHAPES[0].write(for_openai()))

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
        assert SAID == chat(copied(ours))

    async def test_a_copy_of_an_async_client_has_it(self, server: Answering) -> None:
        async with use_fastsse(async_client_of(server)) as client:
            chunks = await client.with_options(timeout=30).chat.completions.create(
                model="m", messages=MESSAGES, stream=True
            )

            assert SAID == "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    def test_a_copy_of_an_azure_client_has_it(self, server: Answering) -> None:
        azure = openai.AzureOpenAI(api_key="k", api_version="1", base_url=server.url, max_retries=0)
        with use_fastsse(azure) as client:
            assert [SAID, SAID] == [chat(client), chat(client.with_options(timeout=30))]

    def test_a_copy_keeps_the_limit(self, server: Answering) -> None:
        with use_fastsse(client_of(server), max_event_size=20) as client:
            with pytest.raises(EventTooLarge):
                chat(client.with_options(timeout=30))

    def test_other_clients_do_not_change(self, server: Answering, plain: Any, ours: Any) -> None:
        with client_of(server) as later:
            outcomes = [outcome(chat, client) for client in (plain, ours, later)]

        assert ["JSONDecodeError", SAID, "JSONDecodeError"] == outcomes

    def test_a_client_that_was_copied_before_does_not_change(self, server: Answering) -> None:
        with client_of(server) as client:
            copy = client.copy()
            use_fastsse(client)

            assert "JSONDecodeError" == outcome(chat, copy)


def test_the_example_of_the_document(
    server: Answering, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [shown] = [block for block in code_blocks(PAGE) if "fastsse.adapters.openai " in block.text]
    server.says(RETRY + SHAPES[0].write(for_openai()))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)

    exec(shown.text, {})

    assert SAID == capsys.readouterr().out


class TestTheCall:
    def test_it_returns_the_client_itself(self, server: Answering) -> None:
        with client_of(server) as client:
            assert use_fastsse(client) is client

    def test_the_client_is_still_one_of_its_class(self, ours: Any) -> None:
        assert isinstance(ours, openai.OpenAI)
        assert ("OpenAI", openai.OpenAI.__module__) == (type(ours).__name__, type(ours).__module__)

    def test_twice_is_as_once_with_the_newer_limit(self, server: Answering) -> None:
        server.says(SHAPES[0].write(for_openai()))
        with use_fastsse(client_of(server), max_event_size=20) as client:
            use_fastsse(client)

            assert SAID == chat(client)
            assert type(client).__mro__[1] is openai.OpenAI

    def test_an_event_that_is_too_large_comes_after_those_before_it(
        self, server: Answering
    ) -> None:
        small, large = b'data: {"id": "1"}\n\n', b'data: {"id": "' + b"x" * 1000 + b'"}\n\n'
        server.says(small * 3 + large + small)
        seen: list[str] = []

        with use_fastsse(client_of(server), max_event_size=100) as client:
            chunks = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            with pytest.raises(EventTooLarge, match="event is over 100 bytes"):
                seen.extend(chunk.id for chunk in chunks)

        assert ["1", "1", "1"] == seen

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_byte_is_refused_at_once(self, server: Answering, limit: int) -> None:
        with client_of(server) as client:
            with pytest.raises(ValueError, match="max_event_size must be at least 1"):
                use_fastsse(client, max_event_size=limit)

    @pytest.mark.parametrize("limit", ["10", 1.5, True, []])
    def test_a_limit_that_is_no_int_is_refused_at_once(self, server: Answering, limit: Any) -> None:
        with client_of(server) as client:
            with pytest.raises(TypeError, match="max_event_size must be int or None"):
                use_fastsse(client, max_event_size=limit)

    @pytest.mark.parametrize(
        "other", [None, object(), openai, openai.OpenAI], ids=["None", "object", "module", "class"]
    )
    def test_what_is_no_client_is_refused(self, other: Any) -> None:
        with pytest.raises(TypeError, match="client must be a client of openai, not "):
            use_fastsse(other)

    def test_a_view_of_a_client_is_refused(self, server: Answering) -> None:
        with client_of(server) as client:
            with pytest.raises(TypeError, match="not OpenAIWithRawResponse"):
                use_fastsse(client.with_raw_response)

    def test_a_client_with_a_decoder_of_its_own_is_left_alone(self, server: Answering) -> None:
        class Other(openai.OpenAI):  # type: ignore[misc,name-defined]
            def _make_sse_decoder(self) -> Any:
                return super()._make_sse_decoder()

        with Other(api_key="k", base_url=server.url) as client:
            with pytest.raises(TypeError, match="Other has one of its own"):
                use_fastsse(client)

            assert type(client) is Other


class TestAVersionWithoutTheHook:
    """A later version, played by the installed one with a part taken out."""

    def refused(self, client: Any, missing: str) -> None:
        kind = type(client)
        with pytest.raises(UnsupportedSDK) as caught:
            use_fastsse(client)

        assert ("openai", openai.__version__) == (caught.value.sdk, caught.value.version)
        assert f"openai {openai.__version__} has no {missing}, " in str(caught.value)
        assert isinstance(caught.value, FastSSEError)
        assert type(client) is kind

    def test_no_method_of_the_client(self, plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("openai._base_client.BaseClient._make_sse_decoder")

        self.refused(plain, "BaseClient._make_sse_decoder")

    @pytest.mark.parametrize("name", ["Stream", "AsyncStream"])
    @pytest.mark.parametrize("method", ["__init__", "_iter_events"])
    def test_a_stream_that_does_not_ask(
        self, plain: Any, monkeypatch: pytest.MonkeyPatch, name: str, method: str
    ) -> None:
        monkeypatch.setattr(f"openai._streaming.{name}.{method}", lambda _self: None)

        self.refused(plain, f"{name} that reads by the decoder of its client")

    @pytest.mark.parametrize("name", ["Stream", "AsyncStream", "ServerSentEvent"])
    def test_a_class_that_is_gone(
        self, plain: Any, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.delattr(f"openai._streaming.{name}")

        self.refused(plain, f"_streaming.{name}")

    @pytest.mark.parametrize("name", ["_streaming.ServerSentEvent", "_base_client.BaseClient"])
    def test_a_module_that_is_gone(
        self, plain: Any, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        module = name.partition(".")[0]
        monkeypatch.setitem(sys.modules, f"openai.{module}", None)  # type: ignore[arg-type]

        self.refused(plain, name)

    def test_an_event_that_is_made_otherwise(
        self, plain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("openai._streaming.ServerSentEvent", lambda text: text)

        self.refused(plain, "ServerSentEvent(event=, data=, id=, retry=)")
