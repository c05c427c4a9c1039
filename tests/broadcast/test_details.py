"""Problem details: the members that every problem has, and the type that a client gets."""

from __future__ import annotations

import json

import pytest

from fastsse.broadcast.details import media_type, title_of, write_details


def test_a_problem_has_its_own_members_first() -> None:
    body = write_details(404, "nothing is there", {"field": "path"})

    assert body.endswith(b"}\n")
    assert {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "nothing is there",
        "field": "path",
    } == json.loads(body)


def test_lone_surrogates_in_the_detail_do_not_break_the_answer() -> None:
    assert "a\\udc80" == json.loads(write_details(400, "a\udc80"))["detail"]


@pytest.mark.parametrize(("status", "title"), [(503, "Service Unavailable"), (499, "Error")])
def test_a_status_has_a_title(status: int, title: str) -> None:
    assert title == title_of(status)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/problem+json"),
        (b"*/*", "application/problem+json"),
        (b"text/*", "application/problem+json"),
        (b"application/json", "application/problem+json"),
        (b"text/html,application/xhtml+xml;q=0.9", "application/json"),
        (b"application/json, Text/HTML;q=0.5", "application/json"),
    ],
)
def test_a_browser_gets_the_type_that_it_shows(accept: bytes | None, expected: str) -> None:
    headers = [] if accept is None else [(b"accept", accept)]

    assert expected == media_type({"headers": headers})
