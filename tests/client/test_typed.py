"""Events whose data is read as a model."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from typing import Any, Literal

import pytest
from support.misbehaving import Misbehaving, answer, send, stream
from support.neighbours import need

from fastsse import Event
from fastsse.client import BadData, EventSource
from fastsse.client.typed import reader


class Kind(enum.Enum):
    HOT = "hot"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass
class Shape:
    name: str
    points: list[Point]
    tags: dict[str, Point] = dataclasses.field(default_factory=dict)
    kind: Kind | None = None
    at: datetime.datetime | None = None
    size: Literal["s", "m"] = "s"
    extra: Any = None


def read(model: Any, data: str) -> Any:
    return reader(model)(Event(data))


def test_a_dataclass_is_made_of_an_object() -> None:
    data = (
        '{"name": "n", "points": [{"x": 1}, {"x": 2, "y": 3}], "tags": {"a": {"x": 4}}, "kind": "hot",'
        ' "at": "2026-01-02T03:04:05", "size": "m", "extra": [1], "unknown": 1}'
    )

    assert Shape(
        "n",
        [Point(1), Point(2, 3.0)],
        {"a": Point(4)},
        Kind.HOT,
        datetime.datetime(2026, 1, 2, 3, 4, 5),
        "m",
        [1],
    ) == read(Shape, data)
    assert Shape("n", []) == read(Shape, '{"name": "n", "points": [], "kind": null}')


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (Point, "{}", "data.x is missing"),
        (Point, "[]", "data must be an object"),
        (Point, '{"x": "1"}', "data.x must be int, not '1'"),
        (Point, '{"x": true}', "data.x must be int, not True"),
        (Point, '{"x": 1.5}', "data.x must be int"),
        (Shape, '{"name": "n", "points": [{"x": null}]}', "data.points.x must be int"),
        (Shape, '{"name": "n", "points": [], "size": "l"}', "data.size is none of"),
        (Shape, '{"name": "n", "points": [], "kind": "cold"}', "data.kind is none of"),
        (dict, "[1]", "data must be dict"),
        (int, '"1"', "data must be int"),
        (dict, "{", "no dict"),
        (json.loads, "{", "no loads"),
        (list[int], '["a"]', "data must be int"),
    ],
)
def test_data_that_is_not_so_is_refused(model: Any, data: str, words: str) -> None:
    with pytest.raises(BadData) as caught:
        read(model, data)

    assert words in str(caught.value)
    assert caught.value.event == Event(data)
    assert caught.value.model is model


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (str, "as it is", "as it is"),
        (dict, '{"a": 1}', {"a": 1}),
        (list, "[1]", [1]),
        (float, "1", 1.0),
        (bool, "true", True),
        (list[Point], '[{"x": 1}]', [Point(1)]),
        (int | None, "null", None),
        (str.upper, "abc", "ABC"),
    ],
)
def test_plain_models(model: Any, data: str, expected: Any) -> None:
    assert expected == read(model, data)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TypeError, match="a model must be a class or a function, not 5"):
        reader(5)


def test_msgspec_reads_its_own() -> None:
    msgspec: Any = need("msgspec")
    model = msgspec.defstruct("Metric", [("x", int)])

    assert model(1) == read(model, '{"x": 1}')
    with pytest.raises(BadData, match="no Metric: Expected `int`"):
        read(model, '{"x": "1"}')


def test_pydantic_reads_its_own() -> None:
    pydantic: Any = need("pydantic")
    model = pydantic.create_model("Metric", x=(int, ...))

    assert model(x=1) == read(model, '{"x": 1}')
    assert [1, 2] == read(pydantic.TypeAdapter(list[int]), "[1, 2]")
    with pytest.raises(BadData, match="no Metric: 1 validation error"):
        read(model, '{"x": "a"}')


BODY = (
    b'event: p\ndata: {"x": 1}\n\ndata: other\n\nevent: q\ndata: 7\n\n'
    b'event: p\ndata: {}\n\nevent: p\ndata: {"x": 2}\n\n'
)


def test_events_of_one_type() -> None:
    with Misbehaving([stream(BODY)], [send(answer(204))]) as server:
        with EventSource(server.url, reconnection_time=0.002) as events:
            points = events.on("p", Point)
            assert Point(1) == next(points)
            with pytest.raises(BadData):
                next(points)
            assert [Point(2)] == list(events.on("p", Point))


def test_events_of_several_types() -> None:
    with Misbehaving([stream(BODY)], [send(answer(204))]) as server:
        with EventSource(server.url, reconnection_time=0.002) as events:
            typed = events.typed({"p": Point, "q": int, "message": str})
            assert [Point(1), "other", 7] == [next(typed), next(typed), next(typed)]
