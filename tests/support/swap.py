"""A pytest plugin that puts modules of `fastsse.compat` in the places of the libraries whose names they answer to.

For other projects' test suites: ``FASTSSE_SWAP=sse_starlette python -m pytest -p swap``. The suite then imports
``sse_starlette`` and gets ours. The plugin is loaded before the suite's own conftest. Without the variable nothing is
swapped, so that one command measures both.

    FASTSSE_SWAP=sse_starlette, aiohttp_sse, httpx_sse, aiohttp_sse_client
                                              the library is never imported
    FASTSSE_SWAP=fastapi                      FastAPI's applications import our names from it, and use them as they
                                              would under ``from fastsse.compat.fastapi import …``
    FASTSSE_SWAP=fastapi.routing              FastAPI itself uses our names: its own serving, with our events
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NoReturn

__all__ = ["put_names", "swap"]


# Private modules whose names tests import beside public ones: such a test fails alone, and not all of its file.
PRIVATE = {"httpx_sse": ("_api", "_decoders")}


class _Private(ModuleType):
    """Has any name; whatever calls one fails."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_given: object, **_named: object) -> NoReturn:
            raise AssertionError(f"{self.__name__}.{name} is a private name")

        return refuse


def swap(name: str) -> None:
    """Have ``import NAME``, and an import of each public module under that name, find ours."""
    if name.startswith("fastapi"):
        put_names(everywhere=name == "fastapi.routing")
        return
    package = import_module(f"fastsse.compat.{name}")
    sys.modules[name] = package
    for private in PRIVATE.get(name, ()):
        sys.modules[f"{name}.{private}"] = _Private(f"{name}.{private}")
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        if not module.name.startswith("_"):
            sys.modules[f"{name}.{module.name}"] = import_module(
                f"{package.__name__}.{module.name}"
            )


def put_names(*, everywhere: bool) -> None:
    """Put our names for those of `fastapi.sse` into FastAPI's modules: all of them, or where applications look."""
    import_module("fastapi.responses")
    theirs, ours = import_module("fastapi.sse"), import_module("fastsse.compat.fastapi")
    places = ["fastapi.sse", "fastapi.responses"]
    if everywhere:
        places = [place for place in sys.modules if place.partition(".")[0] == "fastapi"]
    for name in ours.__all__:
        original = getattr(theirs, name)
        for place in places:
            if getattr(sys.modules[place], name, None) is original:
                setattr(sys.modules[place], name, getattr(ours, name))


for _name in filter(None, os.environ.get("FASTSSE_SWAP", "").split(",")):
    swap(_name)
