"""Frameworks, servers and libraries of other people that tests run beside ours: the dependency group `neighbours`."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from support.twins import is_set

__all__ = ["need"]

INSTALL = "make .venv/.group-neighbours, or python -m pip install --group neighbours"


def need(*modules: str) -> ModuleType:
    """Import other people's modules, and return the first one.

    Where one is absent the test skips and says how to install it, or fails where neighbours are required. At the top
    of a file the whole file skips.

    Args:
        modules: the modules' import names.
    """
    found: list[ModuleType] = []
    for name in modules:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
                raise  # the module is here, and lacks something else
            if is_set("FASTSSE_REQUIRE_NEIGHBOURS"):
                pytest.fail(f"FASTSSE_REQUIRE_NEIGHBOURS is set, and there is no {name}; {INSTALL}")
            pytest.skip(f"no {name} here; {INSTALL}", allow_module_level=True)
    return found[0]
