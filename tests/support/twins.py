"""Loads one twin by name, and decides what a test does where the compiled one is missing."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest

__all__ = ["CODEC", "ESCAPES", "FLOW", "INSTALL", "NAMES", "PUMP", "is_set", "load_twin"]

NAMES = ("py", "c")
CODEC = "fastsse._codec_{}"
PUMP = "fastsse.broadcast.hub._pump_{}"
FLOW = "fastsse._flow_{}"
ESCAPES = "fastsse.broadcast.web._escapes_{}"
INSTALL = "build it: python -m pip install --editable ."


def is_set(variable: str) -> bool:
    """Return True when an environment variable says yes, read as the chooser and the build read it."""
    return os.environ.get(variable, "0") not in ("", "0")


def load_twin(name: str, modules: str = CODEC) -> ModuleType:
    """Load the twin "py" or "c"; skip where the compiled one was left out on purpose, fail where it is required."""
    if name == "c" and is_set("FASTSSE_NO_EXTENSIONS"):
        pytest.skip("FASTSSE_NO_EXTENSIONS is set")
    try:
        return importlib.import_module(modules.format(name))
    except ImportError as error:
        if is_set("FASTSSE_REQUIRE_EXTENSIONS"):
            pytest.fail(f"FASTSSE_REQUIRE_EXTENSIONS is set, and {error}; {INSTALL}")
        pytest.skip(f"no compiled twin here ({error}); {INSTALL}")
