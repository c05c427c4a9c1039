"""The options that the adapters hand on are those of the response."""

from __future__ import annotations

import inspect

from fastsse import EventSourceResponse
from fastsse.adapters._options import Options


def test_every_option_of_the_response_is_one_of_the_adapters() -> None:
    taken = set(inspect.signature(EventSourceResponse).parameters)

    assert taken - {"items", "content"} == set(Options.__annotations__)
