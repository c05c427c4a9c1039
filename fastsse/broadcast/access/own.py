"""The operator's own authorisation: a function that is asked for each request, with a deadline.

    async def may(request, verb, topics) -> Grant | None

`request` is Starlette's, `verb` one of ``subscribe``, ``publish``, ``end``, ``operate``, and `topics` a tuple. The
function returns what it grants, or None. A function that fails, or takes too long, grants nothing.

The module knows how the function is found and asked; it must not know tokens.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from starlette.requests import Request

from fastsse.asgi import Scope
from fastsse.broadcast.access.grants import Grant
from fastsse.broadcast.web.problems import Problem
from fastsse.errors import SettingError

__all__ = ["May", "OwnRule", "load_rule"]

May = Callable[[Request, str, tuple[str, ...]], Awaitable[Grant | None]]
"""A function that says what a request may do; see above."""

_log = logging.getLogger("fastsse.broadcast.access")


class OwnRule:
    """The function, and how long it may take.

    Args:
        may: the function.
        seconds: its deadline.
    """

    def __init__(self, may: May, seconds: float) -> None:
        self._may = may
        self._seconds = seconds

    async def ask(self, scope: Scope, verb: str, topics: tuple[str, ...]) -> Grant | None:
        """Return what the function grants.

        Raises:
            Problem: 503 where the function fails, or takes too long.
        """
        try:
            async with asyncio.timeout(self._seconds):
                found: Any = await self._may(Request(scope), verb, topics)
        except Exception as error:  # its text may have what the request brought
            _log.error("the function of the setting may has failed: %s", type(error).__name__)
            raise Problem(
                503, "it cannot be found out now who may do that; try again later"
            ) from None
        if found is None or isinstance(found, Grant):
            return found
        _log.error("the function of the setting may must return a Grant or None")
        raise Problem(503, "it cannot be found out now who may do that; try again later")


def load_rule(name: str) -> May:
    """Import a function by its name, ``module:function``.

    Raises:
        SettingError: there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingError(f"may {name!r}: must be module:function ({error})") from error
    if not callable(found):
        raise SettingError(f"may {name!r}: must be a function")
    return cast("May", found)
