"""Arguments of another type: told at the call, by name, and not in the middle of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastsse import Event
from fastsse.broadcast import Hub, Settings

TOPICS: list[Any] = [None, 5, b"a", [b"a"], ["a", 5], [None], [["a"]], [{"a": 1}]]


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with Hub(Settings(heartbeat=0.0, lifetime=0.0)) as made:
        yield made


@pytest.mark.parametrize("topics", TOPICS, ids=repr)
async def test_topics_that_are_no_text_are_refused(hub: Hub, topics: Any) -> None:
    rule = "topics must be str or an iterable of str, not "

    for call in (hub.response, hub.subscribe):
        with pytest.raises(TypeError, match=rule):
            call(topics)
    with pytest.raises(TypeError, match=rule):
        await hub.publish(topics, "x")

    assert 0 == hub.open_streams


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"last_event_id": 5}, "last_event_id must be str or None, not 5"),
        ({"last_event_id": b"earliest"}, "last_event_id must be str or None, not b'earliest'"),
        ({"filter": "news"}, "filter must be a function or None, not 'news'"),
    ],
)
async def test_a_readers_terms_of_another_type_are_refused(
    hub: Hub, more: dict[str, Any], words: str
) -> None:
    for call in (hub.response, hub.subscribe):
        with pytest.raises(TypeError, match=words):
            call("a", **more)

    assert 0 == hub.open_streams


@pytest.mark.parametrize("data", [5, {"a": 1}, ["a"], Event("a"), True, ...], ids=repr)
async def test_data_that_is_no_text_is_refused_with_what_makes_text_of_it(
    hub: Hub, data: Any
) -> None:
    """The message must not name `encode_json`, whose block would be published as data."""
    with pytest.raises(TypeError, match=r"data must be str or .*json\.dumps.*, not ") as caught:
        await hub.publish("a", data)

    assert "encode_json" not in str(caught.value)
    assert str(caught.value).endswith(f", not {type(data).__name__}")
    assert 0 == hub.head


async def test_a_key_that_is_no_text_is_refused(hub: Hub) -> None:
    with pytest.raises(TypeError, match="key must be str or None, not int"):
        await hub.publish("a", "x", key=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [5, {"max_streams": 5}, Settings])
def test_a_hub_says_what_its_settings_are(settings: Any) -> None:
    with pytest.raises(TypeError, match=r"settings must be Settings\(...\) or None, not "):
        Hub(settings)
