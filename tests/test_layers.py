"""The layers, as ARCHITECTURE.md draws them: imports go down, wings stand apart, guests keep to their rooms.

Read from the source, so that an import inside a function counts too, and so does one for type checkers alone (under
`if TYPE_CHECKING`): whoever must know another module's types knows that module.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from support.sources import MODULES, PACKAGE

# From the ground up. A module may import those of the layers under its own, and none of its own layer. A folder is
# named as one, `broadcast.hub`, where its modules may import each other.
LAYERS: list[set[str]] = [
    {"errors", "_asyncio", "_forms", "_text"},
    {"_json"},
    {"_codec_py", "_codec_c"},
    {"_codec"},
    {"event"},
    {"asgi", "_threads"},
    {"_gate", "_items", "_stepping"},
    {"_flow_py", "_flow_c"},
    {"_flow"},
    {"_bridge", "_instead", "_sending"},
    {"_source", "_request", "_signals", "_serving"},
    {"streams"},
    {"_connection"},
    {"response", "testing"},
    {"testing_sync"},
    {"pytest_plugin"},
    {"_upstream"},
    {"_relay"},
    {""},  # the face: fastsse itself
    {"broadcast.names"},
    {"broadcast.knobs"},
    {"broadcast.keeping"},
    {"broadcast.admission"},
    {
        "broadcast.details",
        "broadcast.settings",
        "broadcast.process",
        "broadcast.sockets",
        "broadcast.stores",
        "client.messages",
        "client.policy",
        "client._chunks",
        "client._inflate",
        "client._loops",
    },
    {"client.errors", "client.redirects", "client.delays", "client.transports"},
    {"client.connection", "client.typed", "client._opening", "client._failures"},
    {"client.options", "client._stdlib", "client._httpx", "client._aiohttp", "client._requests"},
    {"client._base", "client._httpx2"},
    {"client._sync", "client._async"},
    {"client"},  # the wing's face
    {"broadcast.hub"},
    {"broadcast"},  # the wing's face
    {"broadcast.web"},
    {"broadcast.access"},
    {"broadcast.rest"},
    {"broadcast.app", "broadcast.operators"},
    {"broadcast.worker"},
    {"adapters"},
    {"vendor"},
    {"compat"},
    {"cli"},
    {"__main__"},
]
WINGS = {"broadcast", "client"}

# Upwards, and why. A pickle must name the chooser and no twin, so each twin looks the chooser up when it pickles.
UPWARDS = {("_codec_py", "event"), ("_codec_c", "event")}

# Each guest's rooms: modules, or a whole folder.
GUESTS: dict[str, set[str]] = {
    "orjson": {"_json"},
    "msgspec": {"_json", "client.typed"},
    "aiohttp": {
        "client._aiohttp",
        "adapters.aiohttp",
        "compat.aiohttp_sse",
        "compat.aiohttp_sse_client",
    },
    "anthropic": {"adapters.anthropic"},
    "asyncpg": {"broadcast.stores.postgresql"},
    "anyio": {"compat.sse_starlette"},
    "django": {"adapters.django"},
    "fastapi": {"compat.fastapi"},
    "flask": {"adapters.flask"},
    "httpx": {"compat.httpx_sse"},
    "httpx2": {"adapters.httpx2", "compat.httpx_sse"},
    "multidict": {"compat.aiohttp_sse_client"},
    "nats": {"broadcast.stores.nats"},
    "openai": {"adapters.openai"},
    "pydantic": {"compat.fastapi"},
    "requests": {"client._requests", "compat.requests_sse", "compat.sseclient"},
    "trio": {"client._loops"},
    "urllib3": {"client._requests", "compat.sseclient"},
    "yarl": {"client._aiohttp", "compat.aiohttp_sse_client"},
    "granian": {"cli.granian"},
    "litestar": {"adapters.litestar"},
    "pytest": {"pytest_plugin"},
    "quart": {"adapters.quart"},
    "hiredis": {"broadcast.stores.redis"},
    "redis": {"broadcast.stores.redis"},
    "sqlalchemy": {"broadcast.stores.postgresql"},
    "sanic": {"adapters.sanic"},
    "starlette": {
        "broadcast.web",
        "broadcast.access",
        "broadcast.app",
        "broadcast.rest",
        "compat.fastapi",
        "compat.sse_starlette",
    },
    "cryptography": {"broadcast.access"},
    "jwt": {"broadcast.access"},
    "python_multipart": {"broadcast.web.forms"},
    "prometheus_client": {"broadcast.web.metrics"},
    "werkzeug": {"adapters.flask"},
}


When = Literal["load", "call", "types"]
Found = tuple[str, tuple[str, ...], When]  # module, the names taken from there


class Import(NamedTuple):
    """One import: by which module, of what (without our package's name where it is ours), and when it runs."""

    module: str
    target: str
    ours: bool
    when: When


class _Reader(ast.NodeVisitor):
    """Collects what a module imports, and when."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._when: When = "load"

    def visit_If(self, node: ast.If) -> None:
        checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        self._visit_all(node.body, "types" if checking else self._when)
        self._visit_all(node.orelse, self._when)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self._visit_all(ast.iter_child_nodes(node), "call")

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, (), self._when) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert not node.level, "an import names its module in full"
        assert node.module is not None
        names = tuple(alias.name for alias in node.names)
        self.found.append((node.module, names, self._when))

    def visit_Call(self, node: ast.Call) -> None:
        called = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        if called in ("import_module", "__import__") and isinstance(node.args[0], ast.Constant):
            self.found.append((str(node.args[0].value), (), self._when))
        self.generic_visit(node)

    def _visit_all(self, nodes: Iterable[ast.AST], when: When) -> None:
        before, self._when = self._when, when
        for node in nodes:
            self.visit(node)
        self._when = before


def read_python(path: Path) -> list[Found]:
    reader = _Reader()
    reader.visit(ast.parse(path.read_text("utf-8")))
    return reader.found


def read_cython(path: Path) -> list[Found]:
    """Read the import lines of a .pyx; what is cimported is there when it is compiled."""
    pattern = re.compile(
        r"^( *)(?:from +([\w.]+) +import +([\w, ]+|\()|import +([\w.]+))", re.MULTILINE
    )
    return [
        (
            module or plain,
            tuple(names.replace(",", " ").split()),
            "call" if indent else "load",
        )
        for indent, module, names, plain in pattern.findall(path.read_text("utf-8"))
    ]


def imports_of(name: str) -> Iterator[Import]:
    path = MODULES[name]
    found = read_python(path) if path.suffix == ".py" else read_cython(path)
    for module, names, when in found:
        top, _, rest = module.partition(".")
        if top != "fastsse":
            yield Import(name, top, False, when)
            continue
        submodules = [f"{rest}.{member}".strip(".") for member in names]
        inner = [member for member in submodules if member in MODULES]
        for target in inner or [rest]:
            yield Import(name, target, True, when)
        if inner and len(inner) < len(names):  # names of the package itself beside its modules
            yield Import(name, rest, True, when)


IMPORTS = [one for name in MODULES for one in imports_of(name)]
OURS = [one for one in IMPORTS if one.ours]


def folders_of(name: str) -> list[str]:
    """List a module and the folders that it lies in, innermost first: the one with a layer of its own counts."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def room_of(name: str) -> str:
    """Find what has a layer: the module itself, or the innermost folder around it."""
    named = set().union(*LAYERS)
    for room in folders_of(name):
        if room in named and (room == name or room not in WINGS):
            return room
    pytest.fail(f"{name} has no layer: draw it in ARCHITECTURE.md and add it to LAYERS")


def layer_of(name: str) -> int:
    room = room_of(name)
    return next(number for number, layer in enumerate(LAYERS) if room in layer)


def described(imports: Iterable[Import]) -> set[str]:
    return {f"{one.module or 'fastsse'} imports {one.target or 'fastsse'}" for one in imports}


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "fastsse")
def test_every_module_has_its_layer(name: str) -> None:
    assert 0 <= layer_of(name)


def test_imports_only_go_down() -> None:
    upward = [
        one
        for one in OURS
        if room_of(one.module) != room_of(one.target)
        and layer_of(one.target) >= layer_of(one.module)
        and (one.module, one.target) not in UPWARDS
    ]

    assert set() == described(upward)


def test_every_exception_is_still_needed() -> None:
    made = {(one.module, one.target) for one in OURS if one.when != "load"}

    assert set() == {pair for pair in UPWARDS if pair[0] in MODULES} - made


def test_the_wings_never_import_each_other() -> None:
    crossed = [
        one
        for one in OURS
        if {wing_of(one.module), wing_of(one.target)} <= WINGS
        and wing_of(one.module) != wing_of(one.target)
    ]

    assert set() == described(crossed)


def wing_of(name: str) -> str:
    return name.partition(".")[0]


def reached_from(*names: str, over: Iterable[Import]) -> set[str]:
    """Follow imports: these modules, all that they import, and what those import."""
    targets: dict[str, set[str]] = {}
    for one in over:
        targets.setdefault(one.module, set()).add(one.target)
    reached: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= targets.get(name, set()) - reached
    return reached


def in_circles(imports: list[Import]) -> list[Import]:
    """Find the imports from whose target another road of imports leads back."""
    return [one for one in imports if one.module in reached_from(one.target, over=imports)]


def test_no_module_needs_one_that_needs_it() -> None:
    counted = [one for one in OURS if (one.module, one.target) not in UPWARDS]

    assert set() == described(in_circles(counted))


def test_a_store_knows_nothing_but_its_own_room_and_the_rule_for_names() -> None:
    strayed = [
        one
        for one in OURS
        if one.module.startswith("broadcast.stores.")
        and wing_of(one.target) == "broadcast"
        and one.target != "broadcast.names"
        and not one.target.startswith("broadcast.stores")
    ]

    assert set() == described(strayed)


def test_a_guest_keeps_to_its_rooms() -> None:
    strayed = [
        one
        for one in IMPORTS
        if not one.ours
        and one.target not in sys.stdlib_module_names
        and (one.target, one.when) != ("typing_extensions", "types")
        and not {*folders_of(one.module)} & GUESTS.get(one.target, set())
    ]

    assert set() == described(strayed)


def test_no_guest_stands_in_the_way_of_an_event_stream() -> None:
    loaded = [one for one in OURS if one.when == "load"]
    road = reached_from("broadcast", "broadcast.hub.hub", "response", "streams", over=loaded)
    asked_for = {"_json"}  # the choice between three libraries

    strayed = [
        one
        for one in IMPORTS
        if one.module in road and one.target in GUESTS and one.module not in asked_for
    ]

    assert {"broadcast.hub.hub", "broadcast.hub.history", "_codec", "_json", "errors"} <= road
    assert set() == described(strayed)


PAGE = PACKAGE / "broadcast" / "page"
SCRIPTS = {path.relative_to(PAGE).as_posix(): path for path in sorted(PAGE.rglob("*.js"))}


def scripts_of(name: str) -> set[str]:
    """Collect the page's modules that one of them imports."""
    found = re.findall(r'^import .* from "(.*)";$', SCRIPTS[name].read_text("utf-8"), re.MULTILINE)
    return {posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) for path in found}


def test_the_pages_stream_does_not_know_what_draws_it() -> None:
    rooms = {name: {posixpath.dirname(one) for one in scripts_of(name)} for name in SCRIPTS}

    assert set() == {one for name in SCRIPTS for one in scripts_of(name)} - set(SCRIPTS)
    assert {"stream"} == set().union(*(rooms[name] for name in rooms if name.startswith("stream/")))
    assert {"stream", "view"} == rooms["main.js"]
    assert "" not in set().union(*rooms.values())


def test_the_pages_modules_import_in_no_circle() -> None:
    imports = [Import(name, one, True, "load") for name in SCRIPTS for one in scripts_of(name)]

    assert set() == described(in_circles(imports))


class TestTheRules:
    """The rules above must find what they forbid."""

    def imports(self, *pairs: str) -> list[Import]:
        return [Import(*pair.split(">"), ours=True, when="load") for pair in pairs]

    def test_a_circle_of_two_is_found(self) -> None:
        imports = self.imports("a>b", "b>a", "b>c")

        assert {"a imports b", "b imports a"} == described(in_circles(imports))

    def test_a_circle_of_three_is_found(self) -> None:
        imports = self.imports("a>b", "b>c", "c>a", "d>a", "c>e")

        assert {"a imports b", "b imports c", "c imports a"} == described(in_circles(imports))

    def test_two_roads_to_one_place_are_no_circle(self) -> None:
        assert [] == in_circles(self.imports("a>b", "a>c", "b>d", "c>d"))

    @pytest.mark.parametrize(
        ("name", "room"),
        [
            ("errors", "errors"),
            ("", ""),
            ("broadcast", "broadcast"),
            ("broadcast.app", "broadcast.app"),
            ("broadcast.hub", "broadcast.hub"),
            ("broadcast.hub.hub", "broadcast.hub"),
            ("cli.serve", "cli"),
        ],
    )
    def test_a_module_belongs_to_its_folder(self, name: str, room: str) -> None:
        assert room == room_of(name)

    def test_a_module_of_a_wing_needs_a_layer_of_its_own(self) -> None:
        with pytest.raises(pytest.fail.Exception, match=r"broadcast\.new has no layer"):
            room_of("broadcast.new")


class TestTheReader:
    """The rules above are worth what the reader sees."""

    def read(self, source: str, tmp_path: Path, suffix: str = ".py") -> set[tuple[str, When]]:
        path = tmp_path / f"module{suffix}"
        path.write_text(source, "utf-8")
        found = read_python(path) if suffix == ".py" else read_cython(path)
        return {(module, when) for module, _, when in found}

    def test_it_sees_plain_imports(self, tmp_path: Path) -> None:
        source = "import a, b.c\nfrom d.e import f\n"

        assert {("a", "load"), ("b.c", "load"), ("d.e", "load")} == self.read(source, tmp_path)

    def test_it_sees_imports_within_functions_and_classes(self, tmp_path: Path) -> None:
        source = (
            "def f():\n    import a\nasync def g():\n    from b import c\nclass C:\n    import d\n"
        )

        assert {("a", "call"), ("b", "call"), ("d", "load")} == self.read(source, tmp_path)

    def test_it_sees_both_sides_of_a_try(self, tmp_path: Path) -> None:
        source = "try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    import c\n"

        assert {("a", "load"), ("b", "load"), ("c", "load")} == self.read(source, tmp_path)

    def test_it_sees_what_is_imported_by_a_call(self, tmp_path: Path) -> None:
        source = "import importlib\nimportlib.import_module('a.b')\nx = __import__('c')\n"

        assert {("importlib", "load"), ("a.b", "load"), ("c", "load")} == self.read(
            source, tmp_path
        )

    def test_it_sees_what_only_type_checkers_see(self, tmp_path: Path) -> None:
        source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\nif X:\n    import c\n"

        assert {("a", "types"), ("b", "load"), ("c", "load")} == self.read(source, tmp_path)

    def test_it_reads_cython(self, tmp_path: Path) -> None:
        source = "from libc.string cimport x\nimport a\nfrom b import (\n    c,\n)\ndef f():\n    from d import e\n"

        assert {("a", "load"), ("b", "load"), ("d", "call")} == self.read(source, tmp_path, ".pyx")

    def test_it_sees_the_package(self) -> None:
        seen = {(one.module, one.target) for one in IMPORTS if one.ours}

        assert {
            ("_codec_py", "errors"),
            ("_codec", "_codec_py"),
            ("event", "_codec"),
            ("", "errors"),
        } <= seen
