"""The layers, as ARCHITECTURE.md draws them: imports go down, wings stand apart, guests keep to their rooms.

Read from the source, so that an import inside a function counts too. What only type checkers see (under
`if TYPE_CHECKING`) may point anywhere: it is not there at run time.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import fastsse

PACKAGE = Path(fastsse.__file__).parent

# From the ground up. A module may import those of the layers under its own; a wing is one layer.
LAYERS: list[set[str]] = [
    {"errors"},
    {"_json"},
    {"_codec_py", "_codec_c"},
    {"_codec"},
    {"event"},
    {"streams", "_signals"},
    {"response"},
    {""},  # the face: fastsse itself
    {"broadcast", "client"},  # the wings
    {"adapters"},
    {"cli"},
    {"__main__"},
]
# Upwards, and why: a pickle must name the chooser and no twin, so each twin looks it up when it pickles.
UPWARDS = {("_codec_py", "event"), ("_codec_c", "event")}

# Each guest's rooms: modules, or a whole wing.
GUESTS: dict[str, set[str]] = {
    "orjson": {"_json"},
    "msgspec": {"_json"},
    "granian": {"cli"},
    "starlette": {"broadcast"},
    "python_multipart": {"broadcast"},
    "prometheus_client": {"broadcast.metrics"},
}


class Import(NamedTuple):
    """One import: who, what (without our package's name where it is ours), and whether as it loads."""

    module: str
    target: str
    ours: bool
    at_load: bool


def name_of(path: Path) -> str:
    """A module's name within the package; the package itself is the empty one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
CYTHON = {name_of(path): path for path in sorted(PACKAGE.rglob("*.pyx"))}
MODULES = SOURCES | CYTHON


class _Reader(ast.NodeVisitor):
    """Collects what a module imports at run time."""

    def __init__(self) -> None:
        self.found: list[tuple[str, tuple[str, ...], bool]] = []  # module, names, as it loads
        self._depth = 0

    def visit_If(self, node: ast.If) -> None:
        checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.orelse if checking else ast.iter_child_nodes(node):
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, (), not self._depth) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert not node.level, "an import names its module in full"
        assert node.module is not None
        names = tuple(alias.name for alias in node.names)
        self.found.append((node.module, names, not self._depth))

    def visit_Call(self, node: ast.Call) -> None:
        called = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        if called in ("import_module", "__import__") and isinstance(node.args[0], ast.Constant):
            self.found.append((str(node.args[0].value), (), not self._depth))
        self.generic_visit(node)


def read_python(path: Path) -> list[tuple[str, tuple[str, ...], bool]]:
    reader = _Reader()
    reader.visit(ast.parse(path.read_text("utf-8")))
    return reader.found


def read_cython(path: Path) -> list[tuple[str, tuple[str, ...], bool]]:
    """The import lines of a .pyx; what is cimported is there when it is compiled."""
    pattern = re.compile(
        r"^( *)(?:from +([\w.]+) +import +([\w, ]+|\()|import +([\w.]+))", re.MULTILINE
    )
    return [
        (module or plain, tuple(names.replace(",", " ").split()), not indent)
        for indent, module, names, plain in pattern.findall(path.read_text("utf-8"))
    ]


def imports_of(name: str) -> Iterator[Import]:
    path = MODULES[name]
    found = read_python(path) if path.suffix == ".py" else read_cython(path)
    for module, names, at_load in found:
        top, _, rest = module.partition(".")
        if top != "fastsse":
            yield Import(name, top, False, at_load)
            continue
        submodules = [f"{rest}.{member}".strip(".") for member in names]
        inner = [member for member in submodules if member in MODULES]
        for target in inner or [rest]:
            yield Import(name, target, True, at_load)
        if inner and len(inner) < len(names):  # names of the package itself beside its modules
            yield Import(name, rest, True, at_load)


IMPORTS = [one for name in MODULES for one in imports_of(name)]
LOADED = [one for one in IMPORTS if one.ours and one.at_load]


def layer_of(name: str) -> int:
    wing = name.partition(".")[0]
    for number, layer in enumerate(LAYERS):
        if wing in layer:
            return number
    pytest.fail(f"{name} has no layer: draw it in ARCHITECTURE.md and add it to LAYERS")


def described(imports: list[Import]) -> list[str]:
    return [f"{one.module or 'fastsse'} imports {one.target or 'fastsse'}" for one in imports]


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "fastsse")
def test_every_module_has_its_layer(name: str) -> None:
    assert 0 <= layer_of(name)


def test_imports_only_go_down() -> None:
    upward = [
        one
        for one in IMPORTS
        if one.ours
        and one.module.partition(".")[0] != one.target.partition(".")[0]
        and layer_of(one.target) >= layer_of(one.module)
        and (one.module, one.target) not in UPWARDS
    ]

    assert [] == described(upward)


def test_every_exception_is_still_needed() -> None:
    made = {(one.module, one.target) for one in IMPORTS if one.ours and not one.at_load}

    assert set() == {pair for pair in UPWARDS if pair[0] in MODULES} - made


def test_the_wings_never_import_each_other() -> None:
    wings = next(layer for layer in LAYERS if "broadcast" in layer)

    crossed = [
        one
        for one in IMPORTS
        if one.ours
        and {one.module.partition(".")[0], one.target.partition(".")[0]} <= wings
        and one.module.partition(".")[0] != one.target.partition(".")[0]
    ]

    assert [] == described(crossed)


def test_no_module_waits_for_one_that_waits_for_it() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for one in LOADED:
        graph[one.module].add(one.target)

    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")

    assert set(order) >= set(MODULES)


def test_a_store_knows_nothing_but_the_protocol() -> None:
    strayed = [
        one
        for one in IMPORTS
        if one.ours
        and one.module.startswith("broadcast.stores.")
        and one.target.startswith("broadcast")
        and one.target != "broadcast.stores"
    ]

    assert [] == described(strayed)


def test_a_guest_keeps_to_its_rooms() -> None:
    strayed = [
        one
        for one in IMPORTS
        if not one.ours
        and one.target not in sys.stdlib_module_names
        and not {one.module, one.module.partition(".")[0]} & GUESTS.get(one.target, set())
    ]

    assert [] == described(strayed)


def reached_from(*names: str) -> set[str]:
    """These modules and all that they import as they load, and what those import."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [one.target for one in LOADED if one.module == name]
    return reached


def test_no_guest_stands_in_the_way_of_an_event_stream() -> None:
    road = reached_from("broadcast", "broadcast.hub", "response", "streams")
    asked_for = {"_json", "broadcast.embedding"}  # JSON's choice; a response for Starlette's own

    strayed = [
        one
        for one in IMPORTS
        if one.module in road and one.target in GUESTS and one.module not in asked_for
    ]

    assert {"broadcast.hub", "broadcast.history", "_codec", "_json", "errors"} <= road
    assert [] == described(strayed)


class TestTheReader:
    """The rules above are worth what the reader sees."""

    def read(self, source: str, tmp_path: Path, suffix: str = ".py") -> set[tuple[str, bool]]:
        path = tmp_path / f"module{suffix}"
        path.write_text(source, "utf-8")
        found = read_python(path) if suffix == ".py" else read_cython(path)
        return {(module, at_load) for module, _, at_load in found}

    def test_it_sees_plain_imports(self, tmp_path: Path) -> None:
        source = "import a, b.c\nfrom d.e import f\n"

        assert {("a", True), ("b.c", True), ("d.e", True)} == self.read(source, tmp_path)

    def test_it_sees_imports_within_functions_and_classes(self, tmp_path: Path) -> None:
        source = (
            "def f():\n    import a\nasync def g():\n    from b import c\nclass C:\n    import d\n"
        )

        assert {("a", False), ("b", False), ("d", True)} == self.read(source, tmp_path)

    def test_it_sees_both_sides_of_a_try(self, tmp_path: Path) -> None:
        source = "try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    import c\n"

        assert {("a", True), ("b", True), ("c", True)} == self.read(source, tmp_path)

    def test_it_sees_what_is_imported_by_a_call(self, tmp_path: Path) -> None:
        source = "import importlib\nimportlib.import_module('a.b')\nx = __import__('c')\n"

        assert {("importlib", True), ("a.b", True), ("c", True)} == self.read(source, tmp_path)

    def test_it_passes_by_what_only_type_checkers_see(self, tmp_path: Path) -> None:
        source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\nif X:\n    import c\n"

        assert {("b", True), ("c", True)} == self.read(source, tmp_path)

    def test_it_reads_cython(self, tmp_path: Path) -> None:
        source = "from libc.string cimport x\nimport a\nfrom b import (\n    c,\n)\ndef f():\n    from d import e\n"

        assert {("a", True), ("b", True), ("d", False)} == self.read(source, tmp_path, ".pyx")

    def test_it_sees_the_package(self) -> None:
        seen = {(one.module, one.target) for one in IMPORTS if one.ours}

        assert {
            ("_codec_py", "errors"),
            ("_codec", "_codec_py"),
            ("event", "_codec"),
            ("", "errors"),
        } <= seen
