"""The gateway of the examples and the page about relays, between a service that we play and OpenAI's own SDK."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from support.blocks import code_blocks
from support.models import STREAMS
from support.neighbours import need
from support.servers import ROOT, Clients, Server, serve_granian, unchunk

from fastsse import decode
from fastsse.testing import fetch, lifespan

openai = need("openai", "httpx", "fastapi", "granian")

EVENTS = 40
PAGE = ROOT / "docs" / "relay.md"

# Plays the service: asks for its key, thinks, and streams in pieces that know no blocks.
SERVICE = """
import asyncio, json
from random import Random
from urllib.parse import parse_qs
from support.models import STREAMS, chunked

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    async def answer(status, kind, chunks):
        headers = [(b"content-type", kind), (b"set-cookie", b"secret=1"), (b"x-request-id", b"req_1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if kind == b"text/event-stream":
            await asyncio.sleep(0.5)  # thinks
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    if scope["path"] == "/health":
        return await answer(200, b"text/plain", [])
    body, more = b"", scope["method"] == "POST"
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body")
    asked = json.loads(body or b"{}")
    name = "openai" if scope["path"].endswith("completions") else "responses"
    stream = STREAMS[name](Random(3), EVENTS)
    if (b"authorization", b"Bearer the-key") not in scope["headers"]:
        await answer(401, b"application/json", [b'{"error": {"message": "no key"}}'])
    elif asked.get("model") == "busy":
        await answer(429, b"application/json", [b'{"error": {"message": "slow down", "code": "rate"}}'])
    elif asked and not asked.get("stream"):
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
        await answer(200, b"application/json", [json.dumps(whole).encode()])
    else:
        after = parse_qs(scope["query_string"].decode()).get("starting_after")
        if after:
            marked = b'"sequence_number":%d}' % int(after[0])
            stream = stream.partition(marked)[2].lstrip(b"\\\\n")
        await answer(200, b"text/event-stream", chunked(stream, Random(4), 90))
""".replace("EVENTS", str(EVENTS))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "service.py").write_text(SERVICE)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(folder)])
    with serve_granian(app="service:app", PYTHONPATH=path) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(service: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run examples/gateway.py, with a path that says that it is ready."""
    folder = tmp_path_factory.mktemp("gateway")
    example = (ROOT / "examples" / "gateway.py").read_text()
    (folder / "gateway.py").write_text(example + '\n\napp.get("/health")(report)\n')
    env = {"UPSTREAM": f"{service.url}/v1", "UPSTREAM_KEY": "the-key", "HEARTBEAT": "0.1"}
    path = os.pathsep.join([str(ROOT), str(folder)])
    with serve_granian(app="gateway:app", PYTHONPATH=path, **env) as server:
        yield server


@pytest.fixture
async def sdk(gateway: Server) -> Any:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="anything", max_retries=0
    ) as client:
        yield client


QUESTION: Any = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


async def test_the_sdk_reads_an_answer_whole_although_comments_come_while_the_model_thinks(
    sdk: Any, gateway: Server
) -> None:
    before = gateway.request("GET", "/usage").json.get("total_tokens", 0)
    wanted = [event.json() for event in decode(STREAMS["openai"](Random(3), EVENTS))[:-1]]

    stream = await sdk.chat.completions.create(**QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]

    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert [it["choices"][0]["delta"]["content"] for it in wanted if it["choices"]] == texts
    assert before + EVENTS + 3 == gateway.request("GET", "/usage").json["total_tokens"]


async def test_the_bytes_are_the_services_but_for_the_comments(
    gateway: Server, clients: Clients
) -> None:
    body = b'{"model": "m", "stream": true}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}"

    connection = await clients.connect(gateway, head, body)
    await connection.start()
    answer, complete = unchunk(await connection.to_the_end())

    assert complete
    assert answer.startswith(b":\n\n:\n\n")
    assert STREAMS["openai"](Random(3), EVENTS) == answer.replace(b":\n\n", b"")
    assert b"set-cookie" not in connection.head.lower()
    assert b"x-request-id: req_1" in connection.head.lower()


async def test_the_sdk_reads_the_responses_api(sdk: Any) -> None:
    stream = await sdk.responses.create(model="m", input="?", stream=True)
    numbers = [event.sequence_number async for event in stream]

    assert list(range(EVENTS + 1)) == numbers


async def test_an_answer_that_is_no_stream_and_an_error_are_the_services(sdk: Any) -> None:
    whole = await sdk.chat.completions.create(**QUESTION)
    with pytest.raises(openai.RateLimitError, match="slow down"):
        await sdk.chat.completions.create(**QUESTION | {"model": "busy"}, stream=True)

    assert "chatcmpl-1" == whole.id


def test_a_browser_comes_back_to_where_it_was(gateway: Server) -> None:
    headers = {"X-Ids": "1", "Last-Event-ID": "36"}

    reply = gateway.request("GET", "/v1/responses/resp_1", headers=headers)
    events = decode(reply.body)

    assert ["37", "38", "39", "40"] == [event.id for event in events]
    assert [37, 38, 39, 40] == [event.json()["sequence_number"] for event in events]


async def test_the_sdk_may_be_the_upstream(service: Server) -> None:
    from fastsse import relay

    key = "the-key"
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=key) as client:
        create = client.chat.completions.with_streaming_response.create
        answer = await fetch(relay(create(**QUESTION, stream=True)))
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key="wrong", max_retries=0
    ) as client:
        create = client.chat.completions.with_streaming_response.create
        refused = await fetch(relay(create(**QUESTION, stream=True)))

    assert STREAMS["openai"](Random(3), EVENTS) == answer.body
    assert (401, b'{"error": {"message": "no key"}}') == (refused.status, refused.body)


async def test_the_page_about_relays_runs(service: Server) -> None:
    names: dict[str, Any] = {}
    code = [it.text for it in code_blocks(PAGE) if it.language == "python"]
    source = "\n".join(code).replace("https://api.openai.com", service.url)
    exec(compile(source.replace("Bearer ...", "Bearer the-key"), str(PAGE), "exec"), names)

    async with lifespan(names["app"]):
        answer = await fetch(
            names["app"], "/v1/chat/completions", method="POST", body=b'{"stream": true}'
        )
    await names["client"].aclose()

    assert 3 == len(code)
    assert 5 == names["tokens"]
    assert (200, STREAMS["openai"](Random(3), EVENTS)) == (answer.status, answer.body)


async def test_the_page_about_relays_publishes_into_a_hub(service: Server) -> None:
    import httpx

    from fastsse.broadcast import Hub

    names: dict[str, Any] = {}
    code = [it.text for it in code_blocks(PAGE) if it.language == "python"]
    exec(compile("import httpx\n" + code[2], str(PAGE), "exec"), names)
    wanted = [event.data for event in decode(STREAMS["responses"](Random(3), EVENTS))]

    async with Hub() as hub, hub.subscribe("run") as events, httpx.AsyncClient() as client:
        headers = {"authorization": "Bearer the-key"}
        url = f"{service.url}/v1/responses"
        async with client.stream("POST", url, headers=headers, json={"stream": True}) as response:
            await names["publish"](hub, "run", response)
        assert wanted == [(await anext(events)).data for _ in wanted]
