"""The table of access: shapes of tokens, verbs, topics and transports, each asked of one real server.

Each row says what is sent and what is answered. A row that is let in shows that the rows beside it are refused for
what they change, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.access_cases import ALL, CASES, READ, SHAPES, Case, Shape, credentials, hs
from support.servers import Reply, Server, serve
from support.tokens import (
    AUDIENCE,
    Keys,
    bearer,
    key_flags,
    write_keys,
)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def server(keys: Keys) -> Iterator[Server]:
    flags = [*key_flags(keys), "--audience", AUDIENCE, "--leeway", "0"]
    flags += ["--anonymous-read", "open/*,front", "--anonymous-publish", "inbox,open/*"]
    with serve(*flags, "--origins", "https://friend.example") as running:
        yield running


def head(server: Server, topics: str, headers: dict[str, str]) -> Reply:
    return server.request("HEAD", f"/events?{topics}", None, headers)


def granted(**grant: Any) -> dict[str, Any]:
    return {"fastsse": grant}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shapes_of_tokens(server: Server, shape: Shape) -> None:
    token = shape.make()

    reply = head(server, "topic=a", bearer(token))

    assert shape.status == reply.status
    challenge = reply.headers.get("www-authenticate", "")
    words = {200: "", 401: 'error="invalid_token"', 403: 'error="insufficient_scope"'}
    assert words[shape.status] in challenge
    assert bool(challenge) == (shape.status != 200)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_token_that_is_not_good_opens_nothing_that_is_open_to_everybody(
    server: Server, shape: Shape
) -> None:
    token = shape.make()

    reply = head(server, "topic=front", bearer(token))

    assert (401 if shape.status == 401 else 403) == reply.status


def test_a_token_is_refused_the_second_time_as_it_was_the_first(server: Server) -> None:
    token = hs(aud="https://other.example")

    assert [401] * 3 == [head(server, "topic=a", bearer(token)).status for _ in range(3)]


# Ways to bring a token.


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer {}", 200),
        ("bearer {}", 200),
        ("BEARER   {}", 200),
        ("Bearer {} ", 200),
        ("Basic {}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("{}", 401),
        ("Bearer{}", 401),
        ("Token {}", 401),
        ("DPoP {}", 401),
        ("Bearer\t{}", 401),
    ],
)
def test_schemes(server: Server, header: str, status: int) -> None:
    assert status == head(server, "topic=a", {"Authorization": header.format(hs())}).status


@pytest.mark.parametrize("name", ["access_token", "authorization", "token", "jwt", "ticket"])
def test_a_token_in_the_url_is_no_credential(server: Server, name: str) -> None:
    assert 401 == head(server, f"topic=a&{name}={hs()}", {}).status


# Verbs and topics.


def ask(server: Server, case: Case, kind: dict[str, str]) -> Reply:
    headers = credentials(case.grant) | kind
    if case.method == "METRICS":
        return server.request("GET", "/metrics", None, headers)
    return server.request(case.method, f"/events?{case.target}", case.body, headers)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.grant} {case.method} {case.target} {case.body}"
)
def test_verbs_and_topics(server: Server, case: Case) -> None:
    reply = ask(server, case, FORM if case.body else {})

    assert case.status == reply.status, reply


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "text/event-stream"])
@pytest.mark.parametrize(
    ("grant", "topics", "status"),
    [
        (None, "topic=inbox", 200),
        (None, "topic=a", 401),
        (None, "topic=inbox&topic=a", 401),
        ({"publish": ["a"]}, "topic=a", 200),
        ({"publish": ["a"]}, "topic=b", 403),
        ({"publish": ["a"]}, "topic=a&topic=b", 403),
        ({"publish": ["a"]}, "topic=a&end=1", 403),
        ({"subscribe": ["a"]}, "topic=a", 403),
    ],
)
def test_bodies_of_every_kind(
    server: Server, kind: str, grant: dict[str, Any] | None, topics: str, status: int
) -> None:
    case = Case(grant, "POST", topics, status, "data: x\n\n")

    assert status == ask(server, case, {"Content-Type": kind}).status


def test_a_multipart_form_is_asked_for_its_topics(server: Server) -> None:
    part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = part.format("topic", "b") + part.format("data", "x") + "--b--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=b"}

    refused = ask(server, Case({"publish": ["a"]}, "POST", "", 403, body), kind)
    taken = ask(server, Case({"publish": ["b"]}, "POST", "", 200, body), kind)

    assert (403, 200) == (refused.status, taken.status)


def test_what_is_refused_is_not_published(server: Server) -> None:
    before = server.request("GET", "/health", None, credentials({"operator": True})).json["head"]

    for case in CASES:
        if case.method == "POST" and case.status in (401, 403):
            ask(server, case, FORM)

    after = server.request("GET", "/health", None, credentials({"operator": True})).json["head"]
    assert before == after


# Health, the page, preflights.


def test_everybody_is_told_that_the_hub_is_well_and_no_more(server: Server) -> None:
    reply = server.request("GET", "/health")

    assert (200, {"status": "ok"}) == (reply.status, reply.json)


def test_an_operator_is_told_the_numbers(server: Server) -> None:
    reply = server.request("GET", "/health", None, credentials({"operator": True}))

    assert 200 == reply.status
    assert reply.json["denied"]["anonymous"] > 0


def test_a_reader_is_told_no_numbers(server: Server) -> None:
    assert {"status": "ok"} == server.request("GET", "/health", None, credentials(ALL)).json


def test_the_page_is_for_everybody(server: Server) -> None:
    assert 200 == server.request("GET", "/").status


def test_a_preflight_may_ask_for_a_token(server: Server) -> None:
    asked = {
        "Origin": "https://friend.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, last-event-id",
    }

    reply = server.request("OPTIONS", "/events", None, asked)

    assert 200 == reply.status
    assert "authorization" in reply.headers["access-control-allow-headers"].lower()


# The texts of answers.


def test_an_answer_repeats_neither_token_nor_topic(server: Server) -> None:
    token = hs(sub="s3cr3t-subject", fastsse={"subscribe": ["s3cr3t-topic"]})

    for status, sent in ((403, token), (401, token[:-9])):
        reply = server.request("GET", "/events?topic=other-topic", None, bearer(sent))

        text = reply.body.decode() + str(reply.headers)
        assert status == reply.status
        assert [] == [word for word in (sent, "s3cr3t", "other-topic") if word in text]
        assert "application/problem+json" == reply.headers["content-type"]


def test_a_topic_that_is_there_is_refused_as_one_that_is_not(server: Server) -> None:
    writer = credentials({"publish": ["kept/secret"]})
    server.request(
        "POST", "/events?topic=kept/secret", "x", writer | {"Content-Type": "text/plain"}
    )

    replies = [
        server.request(
            "GET", f"/events?topic={topic}&last_event_id=earliest", None, credentials(READ)
        )
        for topic in ("kept/secret", "kept/nothing")
    ]

    assert replies[0].body == replies[1].body
    assert 403 == replies[0].status
