"""The words of ASGI: headers read, messages made, and a class that is one of Starlette's where that is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from fastsse import last_event_id
from fastsse.asgi import (
    accepts,
    as_starlette,
    body_message,
    has_directive,
    header,
    headers,
    start_message,
)

SCOPE: dict[str, Any] = {
    "headers": [
        (b"accept", b"Text/HTML;q=0.9, text/event-stream"),
        (b"x-one", b"1"),
        (b"accept", b"application/json"),
        (b"cache-control", b"no-cache, max-age=0"),
    ]
}


class TestHeaders:
    def test_the_first_value_is_found(self) -> None:
        assert b"Text/HTML;q=0.9, text/event-stream" == header(SCOPE, b"accept")
        assert header(SCOPE, b"host") is None

    def test_all_values_are_found_in_their_order(self) -> None:
        assert [b"Text/HTML;q=0.9, text/event-stream", b"application/json"] == headers(
            SCOPE, b"accept"
        )
        assert [] == headers(SCOPE, b"host")

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [(b"text/html", True), (b"application/json", True), (b"text/plain", False)],
    )
    def test_a_media_type_is_found_in_each_of_them(self, kind: bytes, expected: bool) -> None:
        assert expected == accepts(SCOPE, kind)

    def test_a_range_names_no_media_type(self) -> None:
        assert not accepts({"headers": [(b"accept", b"text/*, */*")]}, b"text/html")

    def test_a_directive_is_found_by_its_whole_name(self) -> None:
        assert has_directive(SCOPE, b"no-cache")
        assert not has_directive(SCOPE, b"no-c")

    def test_a_long_list_is_read_up_to_its_bound(self) -> None:
        scope = {"headers": [(b"accept", b"a/b," * 1000 + b"text/html")]}

        assert not accepts(scope, b"text/html")


class TestMessages:
    def test_a_start_has_status_and_headers(self) -> None:
        assert {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"a", b"b")],
        } == start_message(200, [(b"a", b"b")])

    @pytest.mark.parametrize("more", [True, False])
    def test_a_body_says_whether_more_comes(self, more: bool) -> None:
        message = body_message(b"x", more=more)

        assert {"type": "http.response.body", "body": b"x", "more_body": more} == message


class TestLastEventID:
    @pytest.mark.parametrize(
        ("headers", "query", "expected"),
        [
            ([], b"", ""),
            ([(b"last-event-id", b"7")], b"", "7"),
            ([(b"last-event-id", "é€".encode())], b"", "é€"),
            ([(b"last-event-id", b"\xff")], b"", "\ufffd"),
            ([(b"last-event-id", b"7")], b"last_event_id=8", "7"),
            ([(b"last-event-id", b"")], b"last_event_id=8", "8"),
            ([(b"host", b"x")], b"a=b&last_event_id=8%2D9", "8-9"),
            ([], b"last_event_id=%C3%A9+x", "é x"),
            ([], b"last_event_id=", ""),
            ([], b"lastEventId=8", "8"),
            ([], b"last-event-id=8", "8"),
            ([], b"Last-Event-ID=8", "8"),
            ([], b"last%45vent%49d=8", "8"),
            ([], b"lastEventId=7&lastEventId=8", "8"),
            ([], b"last_event_id=7&lastEventId=8&lastEventId=", "8"),
            ([], b"x=%zz&%FF=%&&lastEventId=8", "8"),
            ([], b"lastEventId=\xc3\xa9", "\u00e9"),
            ([], b"lastEventId=%FF", "\ufffd"),
            ([], b"lastEvent=7&last=8&id=9&eventId=10", ""),
        ],
        ids=range(19),
    )
    def test_it_is_the_headers_else_the_querys(
        self, headers: list[tuple[bytes, bytes]], query: bytes, expected: str
    ) -> None:
        assert expected == last_event_id({"headers": headers, "query_string": query})

    def test_a_scope_without_a_query_is_fine(self) -> None:
        assert "" == last_event_id({"headers": []})


class Plain:
    """A response of ours."""

    def __new__(cls) -> Plain:
        return object.__new__(as_starlette(cls))


class TestAsStarlette:
    def test_a_class_becomes_one_of_its_responses_once(self) -> None:
        responses = pytest.importorskip("starlette.responses")

        adopted = as_starlette(Plain)

        assert issubclass(adopted, (Plain, responses.Response))
        assert adopted is as_starlette(Plain) is as_starlette(adopted)
        assert ("Plain", Plain.__module__, Plain.__doc__) == (
            adopted.__name__,
            adopted.__module__,
            adopted.__doc__,
        )

    def test_where_it_is_not_loaded_the_class_is_itself_and_nothing_is_imported(self) -> None:
        code = (
            "import sys\n"
            "from fastsse.asgi import as_starlette\n"
            "class Plain: pass\n"
            "assert as_starlette(Plain) is Plain\n"
            "assert not [name for name in sys.modules if name.startswith('starlette')]\n"
        )

        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
