"""The chooser: which twin stands behind `fastsse`, and that both offer the same names the same way."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from support.twins import INSTALL, is_set

import fastsse
from fastsse import _codec, _codec_py, event

BUILT = importlib.util.find_spec("fastsse._codec_c") is not None
NAMES = _codec_py.__all__
REPORT = """
import json, sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # whoever imports it gets an ImportError
import fastsse
from fastsse import _codec, event
print(json.dumps({
    "compiled": fastsse.COMPILED,
    "twins": sorted({getattr(fastsse, name).__module__ for name in ("encode", "decode", "Decoder")}),
    "one event": fastsse.Event is _codec.Event is event.Event,
    "loaded": sorted(name for name in ("fastsse._codec_py", "fastsse._codec_c") if sys.modules.get(name)),
    "works": fastsse.decode(fastsse.encode("a", id="1"))[0].id,
}))
"""

SUBINTERPRETER = """
import json, os
import fastsse
try:
    import _interpreters as interpreters
except ImportError:  # Python 3.11 and 3.12
    import _xxsubinterpreters as interpreters
reading, writing = os.pipe()
other = interpreters.create()
interpreters.run_string(other, f'''
import json, os
import fastsse
found = [fastsse.COMPILED, fastsse.decode(fastsse.encode("a", id="1"))[0].id]
os.write({writing}, json.dumps(found).encode())
''')
interpreters.destroy(other)
os.close(writing)
print(json.dumps([fastsse.COMPILED, *json.loads(os.read(reading, 1000))]))
"""

needs_build = pytest.mark.skipif(not BUILT, reason=f"no compiled twin here; {INSTALL}")


def report(*blocked: str, **environment: str) -> dict[str, Any]:
    """Let a fresh interpreter choose, where some modules cannot be imported, and return what it chose."""
    inherited = {k: v for k, v in os.environ.items() if k != "FASTSSE_NO_EXTENSIONS"}
    ran = subprocess.run(
        [sys.executable, "-c", REPORT, *blocked],
        capture_output=True,
        text=True,
        check=True,
        env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    chosen: dict[str, Any] = json.loads(ran.stdout)
    return chosen


def expected(twin: str) -> dict[str, Any]:
    return {
        "compiled": twin == "fastsse._codec_c",
        "twins": [twin],
        "one event": True,
        "loaded": [twin],
        "works": "1",
    }


class TestChoice:
    @needs_build
    @pytest.mark.parametrize(
        "environment",
        [{}, {"FASTSSE_NO_EXTENSIONS": "0"}, {"FASTSSE_NO_EXTENSIONS": ""}],
        ids=["nothing set", "0", "empty"],
    )
    def test_the_compiled_twin_is_taken_where_it_is_built(
        self, environment: dict[str, str]
    ) -> None:
        assert expected("fastsse._codec_c") == report(**environment)

    @pytest.mark.parametrize("value", ["1", "true", "yes"])
    def test_a_variable_takes_the_pure_twin(self, value: str) -> None:
        assert expected("fastsse._codec_py") == report(FASTSSE_NO_EXTENSIONS=value)

    def test_the_pure_twin_is_taken_where_the_compiled_one_cannot_be_imported(self) -> None:
        assert expected("fastsse._codec_py") == report("fastsse._codec_c")

    @needs_build
    def test_the_compiled_twin_is_a_compiled_one(self) -> None:
        spec = importlib.util.find_spec("fastsse._codec_c")

        assert spec is not None
        assert isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)

    def test_the_compiled_twin_is_there_where_it_is_required(self) -> None:
        if not is_set("FASTSSE_REQUIRE_EXTENSIONS"):
            pytest.skip("FASTSSE_REQUIRE_EXTENSIONS is not set")

        assert report()["compiled"]

    def test_this_very_process_has_what_it_says(self) -> None:
        twin = sys.modules[fastsse.encode.__module__]

        assert fastsse.COMPILED == (twin.__name__ == "fastsse._codec_c")
        assert all(getattr(twin, name) is getattr(_codec, name) for name in NAMES)
        assert event.Event is _codec.Event is fastsse.Event


class TestSameness:
    def test_the_chooser_offers_the_names_of_the_twins(self) -> None:
        assert ["COMPILED", *NAMES] == _codec.__all__

    def test_the_names_are_the_same(self, codec: ModuleType) -> None:
        assert list(NAMES) == list(codec.__all__)
        assert all(hasattr(codec, name) for name in NAMES)

    @pytest.mark.parametrize("name", [name for name in NAMES if name.isupper()])
    def test_the_constants_are_the_same(self, codec: ModuleType, name: str) -> None:
        wanted = getattr(_codec_py, name)

        assert (wanted, type(wanted)) == (getattr(codec, name), type(getattr(codec, name)))

    @pytest.mark.parametrize("name", [name for name in NAMES if name.islower()])
    def test_the_functions_are_called_alike(self, codec: ModuleType, name: str) -> None:
        pure = inspect.signature(getattr(_codec_py, name))

        other = inspect.signature(getattr(codec, name))

        assert [(p.name, p.kind) for p in pure.parameters.values()] == [
            (p.name, p.kind) for p in other.parameters.values()
        ]

    @pytest.mark.parametrize(
        "name", [name for name in NAMES if name[0].isupper() and not name.isupper()]
    )
    def test_the_classes_have_the_same_members(self, codec: ModuleType, name: str) -> None:
        def members(owner: Any) -> list[str]:
            return sorted(member for member in dir(owner) if not member.startswith("_"))

        assert members(getattr(_codec_py, name)) == members(getattr(codec, name))

    @pytest.mark.parametrize("name", [name for name in NAMES if not name.isupper()])
    def test_each_name_says_what_it_does(self, codec: ModuleType, name: str) -> None:
        wanted = getattr(_codec_py, name)

        assert wanted.__doc__
        assert wanted.__doc__.splitlines()[0].strip() in getattr(codec, name).__doc__


@needs_build
def test_a_subinterpreter_gets_the_pure_twin_and_leaves_the_main_one_its_own() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "FASTSSE_NO_EXTENSIONS"}
    ran = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETER],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert [True, False, "1"] == json.loads(ran.stdout)
