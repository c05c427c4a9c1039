"""The OpenAPI document: valid, complete in both directions, true of the answers of real servers."""

from __future__ import annotations

import ast
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.described import OPEN, Described
from support.neighbours import need
from support.servers import DEADLINE, Reply, Server, free_port, serve
from support.tokens import AUDIENCE, bearer, claims, key_flags, sign, write_keys

import fastsse.broadcast
from fastsse.broadcast import Settings
from fastsse.broadcast.app import create_app
from fastsse.broadcast.rest import METHODS
from fastsse.broadcast.web.openapi import Description, Facts
from fastsse.broadcast.web.operations import OPERATIONS, STATUSES

SECRET = "secret:8vF2kq0ZpX7sLwR4mT9cYbN1dHgJ6aQe"
MADE_BY_THE_FRAMEWORK = {416}
NO_ENTRY_NEEDED = {405}  # of methods that are not there
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT = {"Content-Type": "text/plain"}
STREAM = {"Content-Type": "text/event-stream"}
ELSEWHERE = {"Origin": "https://elsewhere.example"}
PREFLIGHT = {"Origin": "https://friend.example", "Access-Control-Request-Method": "GET"}

KNOBS: list[dict[str, Any]] = [
    {},
    {"keys": (SECRET,)},
    {"keys": (SECRET,), "anonymous_read": ("news/*",), "anonymous_publish": ("inbox",)},
    {"may": "json:loads"},
    {"keys": (SECRET,), "may": "json:loads"},
    {"origins": ("https://friend.example",)},
    {"origins": ("*",), "keys": (SECRET,), "cookie": "hub"},
    {"max_topic_length": 1, "topics_per_stream": 1, "topics_per_publish": 1, "max_event_size": 1},
]


def description(**knobs: Any) -> Described:
    settings = Settings(**knobs)
    keys, may = bool(settings.keys), settings.may != "none"
    made = Description(METHODS, Facts(settings, keys or may, keys, may))
    return Described(json.loads(made.written()))


# The document.


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_the_document_is_openapi(knobs: dict[str, Any]) -> None:
    validator = need("openapi_spec_validator")

    validator.validate(description(**knobs).document)


def test_every_route_has_its_operations_and_every_operation_has_its_route() -> None:
    routes = {path: set(allow.split(", ")) for path, allow in METHODS.items()}

    assert routes == {path: set(found) for path, found in OPERATIONS.items()}


def test_every_route_of_the_framework_is_among_them() -> None:
    router = create_app()._rest.app.routes
    served = {getattr(route, "path", "").replace("/page", "/page/{file}") for route in router}

    assert served <= set(METHODS)


def test_names_of_operations_are_unique_and_all_components_are_used() -> None:
    document = description(keys=(SECRET,), origins=("https://friend.example",)).document
    operations = [one for path in document["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    text = json.dumps(document)

    assert len(set(names)) == len(names)
    unused = [
        name
        for kind in ("schemas", "parameters", "requestBodies")
        for name in document["components"][kind]
        if f'"#/components/{kind}/{name}"' not in text
    ]
    assert [] == unused


def statuses_in(path: Path) -> set[int]:
    """Collect the numbers in a module's code that are statuses of problems."""
    found = {
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and type(node.value) is int
    }
    return {number for number in found if number in range(400, 423) or number in range(428, 508)}


def test_every_problem_that_the_code_makes_is_described_and_no_other() -> None:
    folder = Path(fastsse.broadcast.__file__).parent
    modules = [*folder.glob("web/*.py"), *folder.glob("access/*.py"), *folder.glob("*.py")]
    modules.append(folder / "hub" / "refusal.py")
    own = {"operations.py", "openapi.py", "settings.py", "admission.py", "keeping.py"}
    own.add("operators.py")  # another listener, which has no description
    raised = {number for path in modules if path.name not in own for number in statuses_in(path)}

    described = {
        status
        for path in OPERATIONS.values()
        for operation in path.values()
        for status in operation.problems
    }

    assert described | NO_ENTRY_NEEDED == raised | MADE_BY_THE_FRAMEWORK
    assert described == set(STATUSES)


def test_a_mounted_app_tells_where_it_is() -> None:
    made = Description(METHODS, Facts(Settings(), False, False, False))

    assert [{"url": "/"}] == json.loads(made.written())["servers"]
    assert [{"url": '/a/"hub'}] == json.loads(made.written('/a/"hub'))["servers"]


def test_the_document_is_written_once() -> None:
    made = Description(METHODS, Facts(Settings(), False, False, False))

    assert made._rest is made._rest


def test_no_key_and_no_name_of_a_topic_or_host_is_told() -> None:
    knobs: dict[str, Any] = {
        "keys": (f"https://issuer.example={SECRET}",),
        "audience": ("the-audience",),
        "anonymous_read": ("zebra/*",),
        "anonymous_publish": ("giraffe",),
        "hosts": ("hub.internal",),
        "origins": ("https://friend.example",),
        "store": "memory:",
    }
    text = json.dumps(description(**knobs).document)

    for told in ("issuer", SECRET[7:], "the-audience", "zebra", "giraffe", "internal", "friend"):
        assert told not in text


@pytest.mark.parametrize(
    ("knobs", "read", "publish", "operator"),
    [
        ({}, None, None, None),
        ({"keys": (SECRET,)}, "bct", "bc", "bc"),
        ({"keys": (SECRET,), "anonymous_read": ("a",)}, "bct-", "bc", "bc"),
        ({"keys": (SECRET,), "anonymous_publish": ("a",)}, "bct", "bc-", "bc"),
        ({"may": "json:loads"}, "t-", "-", "-"),
        ({"keys": (SECRET,), "may": "json:loads"}, "bct-", "bc-", "bc-"),
    ],
    ids=str,
)
def test_credentials_follow_the_settings(
    knobs: dict[str, Any], read: str | None, publish: str | None, operator: str | None
) -> None:
    paths = description(**knobs).document["paths"]

    def short(path: str, method: str) -> str | None:
        """Write a requirement as its schemes' first letters, and a dash for none."""
        found = paths[path][method].get("security")
        return None if found is None else "".join((list(one) or ["-"])[0][0] for one in found)

    assert (read, publish) == (short("/events", "get"), short("/events", "post"))
    assert operator == short("/metrics", "get") == short("/streams", "delete")
    assert (401 in description(**knobs).statuses("GET", "/events")) == bool(knobs)


def test_bounds_follow_the_settings() -> None:
    components = description(max_topic_length=7, topics_per_stream=3).document["components"]

    assert 7 == components["schemas"]["Topic"]["maxLength"]
    assert 3 == components["parameters"]["Followed"]["schema"]["maxItems"]


# Real servers.


@pytest.fixture(scope="module")
def opened() -> Iterator[Server]:
    flags = ["--max-event-size", "1000", "--body-seconds", "1", "--hosts", "hub.example"]
    with serve(*flags, "--origins", "https://friend.example") as server:
        yield server


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = write_keys(tmp_path_factory.mktemp("keys"))
    with serve(*key_flags(keys), "--audience", AUDIENCE) as server:
        yield server


@pytest.fixture(scope="module")
def hurried() -> Iterator[Server]:
    with serve("--opens-per-second", "0.1", "--posts-per-second", "0.1") as server:
        yield server


def ask(server: Server, method: str, target: str, headers: dict[str, str], body: Any) -> Reply:
    """Send a request; of an event stream, read the head alone."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        endless = method == "GET" and response.status == 200 and target.startswith("/events")
        return Reply(response.status, found, OPEN.encode() if endless else response.read())
    finally:
        connection.close()


def described(server: Server) -> Described:
    reply = server.request("GET", "/openapi.json")
    assert (200, "application/json") == (reply.status, reply.headers["content-type"])
    return Described(reply.json)


@pytest.mark.parametrize("name", ["opened", "closed"])
def test_each_method_of_each_path_is_answered_405_or_has_its_entry(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(name)
    document = described(server)
    every = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")

    answered = {
        path: {
            method
            for method in every
            if ask(server, method, path.replace("{file}", "page.css"), {}, None).status != 405
        }
        for path in document.operations()
    }

    assert document.operations() == answered


def test_numbers_that_have_a_port_of_their_own_are_not_described() -> None:
    with serve("--operator-port", str(free_port())) as server:
        answered = {
            method: ask(server, method, "/metrics", {}, None).status
            for method in ("GET", "HEAD", "OPTIONS")
        }

        assert METHODS.keys() - {"/metrics"} == described(server).operations().keys()
        assert {404} == set(answered.values())


class Row(NamedTuple):
    """A request, and the status that it is answered with."""

    server: str
    method: str
    target: str
    status: int
    headers: dict[str, str] = {}  # noqa: RUF012 (a default of a tuple is never changed)
    body: str | None = None
    path: str = ""


GRANTED = {"subscribe": ["a"], "publish": ["a"], "end": ["a"], "operator": True}
BAD = {"Authorization": "Bearer x"}
ROWS = [
    Row("opened", "GET", "/events?topic=a", 200),
    Row("opened", "HEAD", "/events?topic=a", 200),
    Row("opened", "GET", "/events", 400),
    Row("opened", "GET", "/events", 400, {"Accept": "text/html"}),
    Row("opened", "HEAD", "/events?labels=2&topic=a", 400),
    Row("opened", "GET", "/events?topic=private/a", 403),
    Row("opened", "GET", "/events?topic=a&x=" + "x" * 62_000, 200),
    Row("opened", "GET", "/events?topic=a", 421, {"Host": "other.example"}),
    Row("opened", "POST", "/events", 200, FORM, "topic=a&data=x"),
    Row("opened", "POST", "/events?topic=a", 200, TEXT | {"Idempotency-Key": '"k1"'}, "x"),
    Row("opened", "POST", "/events?topic=a", 422, TEXT | {"Idempotency-Key": '"k1"'}, "y"),
    Row("opened", "POST", "/events?topic=a", 200, STREAM, "data: x\n\ndata: y\n\ndata: z"),
    Row("opened", "POST", "/events?topic=a", 200, STREAM | {"Idempotency-Key": "k2"}, ": none\n\n"),
    Row("opened", "POST", "/events?topic=a", 400, STREAM, "data: x\n\ndata: \udcff\n\n"),
    Row("opened", "POST", "/events?topic=a", 413, STREAM, f"data: {'x' * 1001}\n\n"),
    Row("opened", "POST", "/events", 400, FORM, "topic=a&data=%"),
    Row("opened", "POST", "/events?retry=5&topic=a", 403, TEXT, "x"),
    Row("opened", "POST", "/events?topic=a", 403, TEXT | ELSEWHERE, "x"),
    Row("opened", "POST", "/events?topic=a", 408, TEXT | {"Content-Length": "5"}),
    Row("opened", "POST", "/events?topic=a", 413, TEXT, "x" * 1001),
    Row("opened", "POST", "/events?topic=a", 415, {"Content-Type": "a/b; charset=latin-1"}, "x"),
    Row("opened", "POST", "/events?topic=b&end=1", 200, TEXT, "x"),
    Row("opened", "POST", "/events?topic=b", 409, TEXT, "x"),
    Row("opened", "POST", "/events?topic=b", 409, STREAM, "data: x\n\n"),
    Row("opened", "DELETE", "/events?topic=c&reason=failed", 200),
    Row("opened", "DELETE", "/events?topic=c&reason=none", 400),
    Row("opened", "DELETE", "/events?topic=c", 403, ELSEWHERE),
    Row("opened", "POST", "/tickets?topic=a", 404),
    Row("opened", "DELETE", "/streams?subject=a", 403),
    Row("opened", "GET", "/health", 200),
    Row("opened", "GET", "/health", 200, {"Host": "other.example"}),
    Row("opened", "HEAD", "/health", 200),
    Row("opened", "GET", "/metrics", 200),
    Row("opened", "HEAD", "/metrics", 200),
    Row("opened", "GET", "/openapi.json", 200),
    Row("opened", "HEAD", "/openapi.json", 200),
    Row("opened", "GET", "/", 200),
    Row("opened", "GET", "/", 206, {"Range": "bytes=0-4"}),
    Row("opened", "GET", "/", 206, {"Range": "bytes=0-4,6-7"}),
    Row("opened", "GET", "/", 416, {"Range": "bytes=9999999-"}),
    Row("opened", "GET", "/", 400, {"Range": "lines=1"}),
    Row("opened", "HEAD", "/", 200),
    Row("opened", "GET", "/page/page.css", 200, path="/page/{file}"),
    Row("opened", "GET", "/page/icon.svg", 200, path="/page/{file}"),
    Row("opened", "GET", "/page/main.js", 200, path="/page/{file}"),
    Row("opened", "GET", "/page/none", 404, path="/page/{file}"),
    Row("opened", "HEAD", "/page/none", 404, path="/page/{file}"),
    *[Row("opened", "OPTIONS", path, 204) for path in METHODS if "{" not in path],
    *[Row("opened", "OPTIONS", path, 200, PREFLIGHT) for path in METHODS if "{" not in path],
    *[Row("opened", "OPTIONS", path, 400, PREFLIGHT | ELSEWHERE) for path in ("/", "/events")],
    *[Row("opened", "OPTIONS", path, 421, {"Host": "no.example"}) for path in ("/", "/events")],
    Row("closed", "GET", "/events?topic=a", 200, {"Authorization": "good"}),
    Row("closed", "GET", "/events?topic=a", 401),
    Row("closed", "GET", "/events?topic=a", 401, BAD),
    Row("closed", "GET", "/events?topic=a&ticket=x", 401),
    Row("closed", "HEAD", "/events?topic=b", 403, {"Authorization": "good"}),
    Row("closed", "POST", "/events?topic=a", 401, TEXT, "x"),
    Row("closed", "POST", "/events?topic=b", 403, TEXT | {"Authorization": "good"}, "x"),
    Row("closed", "POST", "/events?topic=a", 200, TEXT | {"Authorization": "good"}, "x"),
    Row("closed", "DELETE", "/events?topic=a", 401),
    Row("closed", "POST", "/tickets?topic=a", 200, {"Authorization": "good"}),
    Row("closed", "POST", "/tickets?topic=a", 401),
    Row("closed", "POST", "/tickets?topic=b", 403, {"Authorization": "good"}),
    Row("closed", "DELETE", "/streams?subject=a", 200, {"Authorization": "good"}),
    Row("closed", "DELETE", "/streams", 400, {"Authorization": "good"}),
    Row("closed", "DELETE", "/streams?subject=a", 401),
    Row("closed", "GET", "/health", 200),
    Row("closed", "GET", "/health", 200, {"Authorization": "good"}),
    Row("closed", "GET", "/health", 401, BAD),
    Row("closed", "GET", "/metrics", 401),
    Row("closed", "GET", "/metrics", 200, {"Authorization": "good"}),
    Row("closed", "GET", "/openapi.json", 200),
    Row("closed", "GET", "/openapi.json", 200, BAD),
    Row("hurried", "POST", "/events?topic=a", 200, TEXT, "x"),
    Row("hurried", "POST", "/events?topic=a", 429, TEXT, "x"),
    Row("hurried", "HEAD", "/events?topic=a", 200),
    Row("hurried", "HEAD", "/events?topic=a", 429),
    Row("hurried", "GET", "/events?topic=a", 429),
    Row("hurried", "DELETE", "/events?topic=a", 429),
]


def answer(server: Server, row: Row) -> Reply:
    body = None if row.body is None else row.body.encode("utf-8", "surrogateescape")
    headers = dict(row.headers)
    if headers.get("Authorization") == "good":
        headers |= bearer(sign(claims(fastsse=GRANTED)))
    return ask(server, row.method, row.target, headers, body)


@pytest.mark.parametrize("name", ["opened", "closed", "hurried"])
def test_answers_are_as_described(name: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(name)
    document = described(server)
    rows = [row for row in ROWS if row.server == name]

    replies = [answer(server, row) for row in rows]

    for row, reply in zip(rows, replies, strict=True):
        assert row.status == reply.status, (row, reply)
        document.check(row.method, row.path or row.target.partition("?")[0], reply)
