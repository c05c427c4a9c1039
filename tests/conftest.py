"""Fixtures that more than one folder of tests uses: the twins of the codec."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest
from hypothesis import settings

settings.register_profile("fastsse", deadline=None, print_blob=True)
settings.load_profile("fastsse")

TWINS = {"py": "fastsse._codec_py", "c": "fastsse._codec_c"}
INSTALL = "build it: python -m pip install --editable ."


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "0") not in ("", "0")


def load_twin(name: str) -> ModuleType:
    """The twin's module. Skips where the compiled one was left out on purpose, fails where it must be."""
    if name == "c" and _is_set("FASTSSE_NO_EXTENSIONS"):
        pytest.skip("FASTSSE_NO_EXTENSIONS is set")
    try:
        return importlib.import_module(TWINS[name])
    except ImportError as error:
        if _is_set("FASTSSE_REQUIRE_EXTENSIONS"):
            pytest.fail(f"FASTSSE_REQUIRE_EXTENSIONS is set, and {error}; {INSTALL}")
        pytest.skip(f"no compiled twin here ({error}); {INSTALL}")


@pytest.fixture(params=["py", "c"])
def codec(request: pytest.FixtureRequest) -> ModuleType:
    """One twin's module: `codec.encode`, `codec.Decoder`, `codec.Event` ..."""
    return load_twin(request.param)


@pytest.fixture
def twins() -> tuple[ModuleType, ModuleType]:
    """Both twins, pure one first."""
    return load_twin("py"), load_twin("c")
