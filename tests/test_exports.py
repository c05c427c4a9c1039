"""The public names of the package: every `__all__` true, sorted and complete, and every module able to stand alone."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import subprocess
import sys
import tomllib
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from support.sources import PACKAGE, SOURCES

import fastsse

FACED = [
    "fastsse.errors",
    "fastsse._codec",
    "fastsse.streams",
    "fastsse.response",
    "fastsse._relay",
]
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
# Imports all names, each in a child of one interpreter, which costs less than an interpreter each. The parent has
# imported the large libraries, and nothing of ours.
IMPORT_EACH = f"""
import asyncio, importlib, os, sys
for name in ("starlette.applications", "starlette.staticfiles", "prometheus_client", "aiohttp.web", "pydantic"):
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


MODULES = [f"fastsse.{name}".removesuffix(".") for name in SOURCES]


def load(name: str) -> ModuleType:
    """Import the module, or skip the test where an extra is not installed that the module needs."""
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
    """Collect the public functions and classes that a module defines."""
    nodes = ast.parse(source).body
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {
        node.name for node in nodes if isinstance(node, kinds) and not node.name.startswith("_")
    }


def public_things(module: ModuleType) -> list[str]:
    """List the functions and classes that a module defines, and the methods and properties of its classes."""
    names = sorted(defined(Path(str(module.__file__)).read_text("utf-8")))
    return [
        *names,
        *(f"{name}.{member}" for name in names for member in methods_of(getattr(module, name))),
    ]


def methods_of(thing: object) -> list[str]:
    """List the public methods and properties of a class; the names of a protocol speak for themselves."""
    if not isinstance(thing, type) or getattr(thing, "_is_protocol", False):
        return []
    kinds = (FunctionType, classmethod, staticmethod, property, cached_property)
    return sorted(
        name for name, it in vars(thing).items() if isinstance(it, kinds) and name[0] != "_"
    )


def explained(module: ModuleType, name: str) -> bool:
    """Return True when something has a docstring, of its own or by the method that it overrides."""
    thing = module
    for part in name.split("."):
        thing = getattr(thing, part)
    return bool(inspect.getdoc(thing))


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

    def test_its_public_things_are_explained(self, name: str) -> None:
        module = load(name)

        assert [] == [member for member in public_things(module) if not explained(module, member)]


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

    def test_the_modules_that_need_asyncio_are_imported_when_they_are_asked_for(self) -> None:
        told = run(
            "import sys, fastsse\n"
            "print('asyncio' in sys.modules)\n"
            "fastsse.Block\n"
            "print('asyncio' in sys.modules, 'fastsse.response' in sys.modules)\n"
            "fastsse.EventSourceResponse\n"
            "print('fastsse.response' in sys.modules)\n"
        )

        assert ["False", "True False", "True"] == told

    @pytest.mark.parametrize("name", ["header", "Message", "writer", "no_such_name"])
    def test_what_is_not_public_is_not_there(self, name: str) -> None:
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
            getattr(fastsse, name)

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


@pytest.mark.long
@pytest.mark.timeout(400)
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


def test_every_package_goes_into_a_wheel() -> None:
    project = PACKAGE.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("the package is installed: its project is not here")
    listed = tomllib.loads(project.read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")}

    assert {".".join(folder.parts) for folder in folders} == set(listed)
