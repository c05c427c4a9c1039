"""What the package offers: every `__all__` true, sorted and complete, and every module able to stand alone."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastsse

PACKAGE = Path(fastsse.__file__).parent
FACED = ["fastsse.errors", "fastsse._codec", "fastsse.streams", "fastsse.response"]
IMPORT = """
import importlib, sys
name = sys.argv[1]
try:
    importlib.import_module(name)
    print("imported")
except ModuleNotFoundError as error:
    print("needs", error.name)
except BaseException as error:
    print(repr(error))
"""
# The same for all names, where a child costs less than an interpreter. Its parent has imported what is large,
# and nothing of ours.
IMPORT_EACH = f"""
import asyncio, importlib, os, sys
for name in ("starlette.applications", "starlette.staticfiles", "prometheus_client"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
for name in sys.argv[1:]:
    if not os.fork():
        sys.argv[1] = name
        exec({IMPORT!r})
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def modules() -> list[str]:
    """Every module of the package, by name."""
    paths = sorted(PACKAGE.rglob("*.py"))
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


MODULES = modules()


def load(name: str) -> ModuleType:
    """The module; skips where it needs an extra that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "fastsse":
            raise
        pytest.skip(f"{name} needs {error.name}: python -m pip install 'fastsse-core[all]'")


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: as the linter sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def defined(source: str) -> set[str]:
    """The public functions and classes that a module defines."""
    nodes = ast.parse(source).body
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {
        node.name for node in nodes if isinstance(node, kinds) and not node.name.startswith("_")
    }


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
class TestEveryModule:
    def test_its_list_is_true_and_sorted(self, name: str) -> None:
        module = load(name)

        assert sorted(set(module.__all__), key=order) == list(module.__all__)
        assert [] == [member for member in module.__all__ if not hasattr(module, member)]

    def test_its_list_is_complete(self, name: str) -> None:
        if name in FACED:
            pytest.skip(
                "its list is what the face shows; what it has for its siblings is not on it"
            )
        module = load(name)
        assert module.__file__ is not None

        names = defined(Path(module.__file__).read_text("utf-8"))

        assert set() == names - set(module.__all__)

    def test_it_says_what_it_is_for(self, name: str) -> None:
        assert load(name).__doc__


class TestFace:
    @pytest.mark.parametrize("name", FACED)
    def test_it_shows_all_that_the_ground_floor_offers(self, name: str) -> None:
        module = load(name)

        assert set() == set(module.__all__) - set(fastsse.__all__)
        assert all(getattr(fastsse, member) is getattr(module, member) for member in module.__all__)

    def test_it_shows_nothing_else(self) -> None:
        offered = {member for name in FACED for member in load(name).__all__}

        assert offered == set(fastsse.__all__)

    def test_a_star_takes_just_that(self) -> None:
        taken: dict[str, object] = {}

        exec("from fastsse import *", taken)

        assert set(fastsse.__all__) == set(taken) - {"__builtins__"}

    def test_it_has_a_version(self) -> None:
        numbers = fastsse.__version__.split(".")

        assert 3 == len(numbers)

    @pytest.mark.parametrize("name", [n for n in fastsse.__all__ if not n.isupper()])
    def test_every_name_is_explained(self, name: str) -> None:
        assert getattr(fastsse, name).__doc__


def run(script: str, *names: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", script, *names],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return ran.stdout.splitlines()


def test_every_module_can_be_imported_alone() -> None:
    if hasattr(os, "fork"):
        told = run(IMPORT_EACH, *MODULES)
    else:
        told = [said for name in MODULES for said in run(IMPORT, name)]

    failed = {
        name: said
        for name, said in zip(MODULES, told, strict=True)
        if said != "imported" and not (said.startswith("needs ") and "fastsse" not in said)
    }
    assert {} == failed
