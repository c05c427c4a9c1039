"""Options, addresses, headers: what is refused, and how it is told."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from support.neighbours import need

from fastsse import Event
from fastsse.client import (
    AsyncEventSource,
    BadContentType,
    BadData,
    BadRedirect,
    BadStatus,
    EventSource,
    Headers,
    OutOfTime,
    Response,
    StreamEnded,
    WaitTooLong,
)
from fastsse.client.messages import clean_url

URL = "http://a.example/"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reconnection_time": -1}, ValueError, "reconnection_time -1: must be seconds, 0 or more"),
        ({"reconnection_time": "3"}, TypeError, "reconnection_time must be seconds, not '3'"),
        ({"max_delay": float("nan")}, ValueError, "max_delay nan"),
        ({"max_delay": True}, TypeError, "max_delay must be seconds"),
        ({"idle_timeout": 0}, ValueError, "idle_timeout 0: must be seconds, more than 0, or None"),
        ({"max_retries": -1}, ValueError, "max_retries -1: must be 0 or more"),
        ({"max_retries": 1.5}, TypeError, "max_retries must be a whole number"),
        ({"max_event_size": 0}, ValueError, "max_event_size must be at least 1"),
        ({"retry_status": [200]}, ValueError, "retry_status 200: must be statuses from 400 to 599"),
        ({"on_open": 1}, TypeError, "on_open must be a function or None, not 1"),
        ({"auth": "Bearer x"}, TypeError, "auth must be a function or None"),
        ({"headers": {"X": "a\nb"}}, ValueError, "value of header X must have no control"),
        ({"headers": {"X Y": "a"}}, ValueError, "header name 'X Y': must be a token"),
        ({"headers": {"X": 1}}, TypeError, "value of header X must be str, not int"),
        ({"headers": {"X": "\ud800"}}, ValueError, "no lone surrogates"),
        ({"body": iter([b"a"])}, TypeError, "body must be str, bytes or a function"),
        ({"body": b"a", "json": 1}, TypeError, "body and json exclude each other"),
        ({"method": "GET /"}, ValueError, "method 'GET /': must be a word"),
        ({"last_event_id": 5}, TypeError, "last_event_id must be str, not int"),
        ({"last_event_id": "a\n"}, ValueError, "last_event_id 'a"),
    ],
)
@pytest.mark.parametrize("kind", [EventSource, AsyncEventSource])
def test_an_option_that_is_not_allowed_is_refused_at_once(
    kind: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace(".", r"\.")):
        kind(URL, **options)


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="Authorization") as caught:
        EventSource(URL, headers={"Authorization": "Bearer s3cret\n"})

    assert "s3cret" not in str(caught.value)


def test_a_hook_for_comments_must_not_be_async() -> None:
    async def hook(_: str) -> None: ...

    with pytest.raises(TypeError, match="on_comment must be a plain function"):
        AsyncEventSource(URL, on_comment=hook)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "/events",
        "ftp://a.example/",
        "http://",
        "http:///x",
        "http://[",
        "http://a:0/",
        "http://a:99999/",
        "http://a b/",
        "http://a\r\nb/",
        "http://a/\x00",
        "http://xn--a..b\u3002/",
    ],
)
def test_an_address_that_is_none_of_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be http://HOST or https://HOST"):
        EventSource(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a.example", "http://a.example/"),
        ("HTTP://a.example/", "http://a.example/"),
        (" https://a.example:8443/x?y=z#frag ", "https://a.example:8443/x?y=z"),
        ("http://bücher.example/ü?ü=ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%BC"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://a.example/%2F%zz?a=%26", "http://a.example/%2F%zz?a=%26"),
        ("http://u:p@a.example/", "http://u:p@a.example/"),
        ("http://a.example/a b", "http://a.example/a%20b"),
    ],
)
def test_an_address_becomes_ascii(url: str, expected: str) -> None:
    assert expected == clean_url(url)


def test_parameters_are_added_to_the_query() -> None:
    assert "http://a.example/?x=1&a=1&a=2&b=%26" == clean_url(
        "http://a.example/?x=1", {"a": [1, 2], "b": "&"}
    )
    assert "http://a.example/?a=1" == clean_url("http://a.example/", [("a", 1)])


class TestHeaders:
    def test_names_are_found_in_any_case_and_joined(self) -> None:
        headers = Headers([("A", "1"), ("a", "2")])

        assert "1, 2" == headers["A"] == headers.get("a")
        assert ["a"] == list(headers)
        assert 1 == len(headers)
        assert (("A", "1"), ("a", "2")) == headers.pairs()
        assert headers.get("b") is None

    def test_a_copy_has_other_values(self) -> None:
        headers = Headers({"A": "1", "B": "2"}).but({"a": None, "C": "3"})

        assert (("B", "2"), ("C", "3")) == headers.pairs()

    def test_the_callers_mapping_is_left_alone(self) -> None:
        given = {"Accept": "x"}

        EventSource(URL, headers=given)

        assert {"Accept": "x"} == given


class TestClients:
    @pytest.mark.parametrize("given", [1, object(), [], len])
    @pytest.mark.parametrize("kind", [EventSource, AsyncEventSource])
    async def test_what_is_no_client_is_refused(self, kind: Any, given: Any) -> None:
        events = kind(URL, client=given)

        with pytest.raises(TypeError, match=f"{kind.__name__} cannot use a "):
            await anext(events) if kind is AsyncEventSource else next(events)

    async def test_a_client_of_the_other_kind_is_refused(self) -> None:
        httpx2: Any = need("httpx2")
        with httpx2.Client(verify=False) as client:
            with pytest.raises(TypeError, match="AsyncEventSource cannot use a httpx2"):
                await anext(AsyncEventSource(URL, client=client))
        async with httpx2.AsyncClient(verify=False) as client:
            with pytest.raises(TypeError, match=r"EventSource cannot use a httpx2.*AsyncClient"):
                next(EventSource(URL, client=client))

    def test_an_unknown_library_is_refused(self) -> None:
        with pytest.raises(TypeError, match="client 'curl': must be one of 'stdlib', 'httpx2'"):
            next(EventSource(URL, client="curl"))
        with pytest.raises(TypeError, match="client 'aiohttp': must be one of"):
            next(EventSource(URL, client="aiohttp"))


RESPONSE = Response(404, Headers({"content-type": "x/y"}), URL)


@pytest.mark.parametrize(
    "error",
    [
        BadStatus(RESPONSE),
        BadContentType(RESPONSE),
        BadRedirect(RESPONSE, "a circle"),
        OutOfTime(1.0, None, "over"),
        WaitTooLong(1.0, StreamEnded(), "too long", 5.0),
        StreamEnded(),
        BadData(Event("x"), int, "no number"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_can_be_pickled(error: Exception) -> None:
    copied = pickle.loads(pickle.dumps(error))

    assert (type(error), str(error)) == (type(copied), str(copied))
    assert error.__dict__.keys() == copied.__dict__.keys()


def test_messages_say_what_came() -> None:
    error = BadStatus(RESPONSE)
    error.body = b"no \n such  topic"

    assert "http://a.example/ answered 404: no such topic" == str(error)
    assert "answered with content type 'x/y', not text/event-stream" in str(
        BadContentType(RESPONSE)
    )
    assert "last: the server ended" in str(OutOfTime(1.0, StreamEnded(), "over"))
