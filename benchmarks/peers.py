"""The peers, each driven as its users drive it. A peer is imported when it is measured; one that is not installed is
absent.

Each loader says how its peer is fed. Some peers need a response of their HTTP library. Making that response, of the
same chunks, is not timed; the library's own work on every chunk is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from benchmarks.cells import (
    ALL,
    DATA,
    EVENT,
    ID,
    Awaited,
    AwaitedEncoding,
    Encoding,
    Pulled,
    Shape,
    loop,
)

HEADERS = {"content-type": "text/event-stream"}
URL = "http://localhost/events"


class Peer(NamedTuple):
    """A package, and how its decoder or encoder is loaded. `package` is its name on PyPI, "" for none."""

    name: str
    package: str
    load: Callable[[], Any]


class Over(Exception):
    """The stream has ended: raised where a peer would reconnect."""


def _over() -> None:
    raise Over


# Decoders.


def _httpx_sse() -> Pulled:
    import httpx
    import httpx_sse

    class Body(httpx.SyncByteStream):
        def __init__(self, chunks: Sequence[bytes]) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

    def events(chunks: Sequence[bytes]) -> Iterator[Any]:
        response = httpx.Response(200, headers=HEADERS, stream=Body(chunks))
        return httpx_sse.EventSource(response).iter_sse()

    return Pulled(events, _event)


def _httpx2() -> Pulled:
    import httpx2

    class Body(httpx2.SyncByteStream):
        def __init__(self, chunks: Sequence[bytes]) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

    def events(chunks: Sequence[bytes]) -> Iterator[Any]:
        request = httpx2.Request("GET", URL)
        response = httpx2.Response(200, headers=HEADERS, stream=Body(chunks), request=request)
        return iter(httpx2.EventSource(response))

    return Pulled(events, _event)


def _openai() -> Pulled:
    from openai._streaming import SSEDecoder

    return Pulled(lambda chunks: SSEDecoder().iter_bytes(iter(chunks)), _event)


def _anthropic() -> Pulled:
    from anthropic._streaming import SSEDecoder

    return Pulled(lambda chunks: SSEDecoder().iter_bytes(iter(chunks)), _event)


def _launchdarkly() -> Pulled:
    from ld_eventsource.actions import Event
    from ld_eventsource.reader import _BufferedLineReader, _SSEReader

    def events(chunks: Sequence[bytes]) -> Iterator[Any]:
        return _SSEReader(_BufferedLineReader.lines_from(chunks)).events_and_comments()

    return Pulled(events, _event, only=Event)


def _sseclient() -> Pulled:
    from sseclient import SSEClient

    return Pulled(lambda chunks: SSEClient(chunks).events(), _event)


def _requests_sse() -> Pulled:
    """Feed requests-sse by lines, for which urllib3 hands a chunked body on in pieces of at most 512 bytes."""
    import requests
    import requests_sse

    class Raw:
        def __init__(self, chunks: Sequence[bytes]) -> None:
            self._pieces = [
                chunk[at : at + 512] for chunk in chunks for at in range(0, len(chunk), 512)
            ]

        def stream(self, _size: int, decode_content: bool = False) -> Iterator[bytes]:
            del decode_content
            return iter(self._pieces)

    class Session:
        def __init__(self, raw: Raw) -> None:
            self._raw = raw

        def request(self, **_request: object) -> requests.Response:
            response = requests.Response()
            response.status_code = 200
            response.headers.update(HEADERS)
            response.url = URL
            response.raw = self._raw
            return response

    def events(chunks: Sequence[bytes]) -> Iterator[Any]:
        source = requests_sse.EventSource(URL, session=Session(Raw(chunks)), on_error=_over)
        source.connect()
        return source

    return Pulled(events, _type, over=Over)


def _aiohttp_sse_client() -> Awaited:
    from aiohttp import StreamReader
    from aiohttp_sse_client.client import EventSource
    from yarl import URL as Url

    class Protocol:
        """A connection whose whole body has come, so that nothing needs to be paused."""

        _reading_paused = False

        def pause_reading(self) -> None: ...

        def resume_reading(self, **_how: object) -> None: ...

    class Response:
        status = 200
        content_type = HEADERS["content-type"]
        real_url = Url(URL)

        def __init__(self, chunks: Sequence[bytes]) -> None:
            self.content = StreamReader(Protocol(), 2**16, loop=loop())
            for chunk in chunks:
                self.content.feed_data(chunk)
            self.content.feed_eof()

    class Session:
        def __init__(self, response: Response) -> None:
            self._response = response

        async def request(self, *_request: object, **_options: object) -> Response:
            return self._response

    async def events(chunks: Sequence[bytes]) -> AsyncIterator[Any]:
        source = EventSource(URL, session=Session(Response(chunks)), on_error=_over)
        await source.connect()
        return source

    return Awaited(events, _type, Over)


def _event(event: Any) -> str | None:
    return event.event  # type: ignore[no-any-return]


def _type(event: Any) -> str | None:
    return event.type  # type: ignore[no-any-return]


# Encoders. Each is called through one Python function, as an application would.


def _same(function: Callable[..., Any]) -> Callable[[Shape], Callable[..., Any]]:
    return lambda _shape: function


def _sse_starlette() -> Encoding:
    from sse_starlette.event import ServerSentEvent

    def encode(data: str, **fields: Any) -> bytes:
        return ServerSentEvent(data, **fields).encode()

    return Encoding(_same(encode))


def _fastapi() -> Encoding:
    from fastapi.sse import format_sse_event

    def encode(data: str, **fields: Any) -> bytes:
        return format_sse_event(data_str=data, **fields)

    return Encoding(_same(encode))


def _litestar() -> Encoding:
    from litestar.response.sse import ServerSentEventMessage

    def encode(data: str, **fields: Any) -> bytes:
        return ServerSentEventMessage(data, **fields).encode()

    return Encoding(_same(encode))


def _aiohttp_sse() -> AwaitedEncoding:
    from aiohttp_sse import EventSourceResponse

    written: list[bytes] = []

    class Response(EventSourceResponse):
        async def write(self, data: bytes) -> None:
            written.append(data)

    async def make() -> Response:
        return Response()

    def taken() -> bytes:
        blocks = b"".join(written)
        written.clear()
        return blocks

    return AwaitedEncoding(_same(loop().run_until_complete(make()).send), taken)


def _f_string() -> Encoding:
    """Encode with the f-string that people write by hand. Data is not cut into lines, so anybody can inject a field."""

    def data_only(data: str) -> bytes:
        return f"data: {data}\n\n".encode()

    def with_event(data: str, event: str) -> bytes:
        return f"event: {event}\ndata: {data}\n\n".encode()

    def with_id(data: str, event: str, id: str) -> bytes:
        return f"id: {id}\nevent: {event}\ndata: {data}\n\n".encode()

    def with_all(data: str, event: str, id: str, retry: int) -> bytes:
        return f"id: {id}\nevent: {event}\nretry: {retry}\ndata: {data}\n\n".encode()

    functions: dict[Shape, Callable[..., bytes]] = {
        DATA: data_only,
        EVENT: with_event,
        ID: with_id,
        ALL: with_all,
    }
    return Encoding(functions.__getitem__)


def _orjson_bytes() -> Callable[[Any], bytes]:
    """Write JSON as a block by hand: orjson, and bytes around it. Safe, because JSON has no line end."""
    import orjson

    return partial(_json_block, orjson.dumps)


def _json_block(dumps: Callable[[Any], bytes], obj: Any) -> bytes:
    return b"data: %b\n\n" % dumps(obj)


DECODERS = (
    Peer("httpx-sse", "httpx-sse", _httpx_sse),
    Peer("httpx2", "httpx2", _httpx2),
    Peer("openai", "openai", _openai),
    Peer("anthropic", "anthropic", _anthropic),
    Peer("launchdarkly", "launchdarkly-eventsource", _launchdarkly),
    Peer("sseclient-py", "sseclient-py", _sseclient),
    Peer("requests-sse", "requests-sse", _requests_sse),
    Peer("aiohttp-sse-client", "aiohttp-sse-client", _aiohttp_sse_client),
)

ENCODERS = (
    Peer("f-string", "", _f_string),
    Peer("fastapi", "fastapi", _fastapi),
    Peer("sse-starlette", "sse-starlette", _sse_starlette),
    Peer("litestar", "litestar", _litestar),
    Peer("aiohttp-sse", "aiohttp-sse", _aiohttp_sse),
)

JSON_ENCODERS = (Peer("orjson + bytes", "orjson", _orjson_bytes),)

NODE = {
    "node eventsource-parser": "eventsource-parser",
    "node eventsource-parser 3": "eventsource-parser-3",
}
"""Contenders in node, and the npm package of each."""
