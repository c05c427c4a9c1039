"""The options of `fastsse.EventSourceResponse`, for the classes that hand them on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from fastsse.asgi import App, Headers

__all__ = ["Options", "as_text", "refuse_instead"]


class Options(TypedDict, total=False):
    """The keyword arguments of `fastsse.EventSourceResponse`, which explains them."""

    status_code: int
    status: int | None
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
    heartbeat: float | None
    heartbeat_form: Literal["block", "line"]
    send_timeout: float | None
    retry: int | None
    json: bool
    surrogates: Literal["refuse", "replace"]
    line_separators: Literal["keep", "escape"]
    wait_first: bool
    instead: Callable[[Any], App | None] | None
    last: Any
    on_close: Callable[[str], object] | None
    background: Callable[[], Awaitable[object]] | None


def as_text(headers: Headers) -> list[tuple[str, str]]:
    """Write the headers of an ASGI response as text, for frameworks that need it."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def refuse_instead(options: Options, remedy: str) -> None:
    """Refuse the option `instead` where the framework starts its response before the items give one.

    Raises:
        TypeError: the option is given; the message names `remedy`.
    """
    if options.get("instead") is not None:
        raise TypeError(
            "instead decides on status and headers, which this framework sends before the items begin: use"
            f" {remedy}"
        )
