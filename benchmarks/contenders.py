"""The contenders of a task: the compiled twin, the pure twin, the floor, and every peer that is installed."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import floor, node, peers
from benchmarks.cells import (
    Cell,
    Encoding,
    Pushed,
    Task,
    decode_cell,
    encode_cell,
    json_cell,
    many_cell,
    split_cell,
)
from benchmarks.corpora import Cut, corpus

COMPILED = "fastsse"
PURE = "fastsse pure"
FLOOR = "floor"
OURS = (COMPILED, PURE, FLOOR)


class Missing(Exception):
    """A contender that is not here; the message says how to get it."""


@cache
def twin(name: str) -> ModuleType:
    """Load the module of one of `OURS`.

    Raises:
        Missing: it is not built.
    """
    if name == FLOOR:
        try:
            module = floor.load()
        except floor.FloorUnavailable as error:
            raise Missing(str(error)) from error
        _give_json(module)
        return module
    if name == PURE:
        return importlib.import_module("fastsse._codec_py")
    import fastsse

    try:
        return importlib.import_module("fastsse._codec_c")
    except ImportError as error:
        raise Missing(
            f"compile {Path(fastsse.__file__).parent}/_codec_c.pyx: pip install -e ."
        ) from error


def _give_json(module: ModuleType) -> None:
    """Let the floor write JSON with the library that fastsse has chosen."""
    from fastsse import _json

    module.use_json(_json.encode_or_refuse)


@cache
def _cut(name: str, chunking: str) -> Cut:
    return corpus(name).cut(chunking)


Loader = Callable[["Field"], tuple[Any, str]]
"""Gives a contender and its version.

Raises:
    Missing: it is not installed.
"""


class Field:
    """All contenders, each loaded when the field is made.

    Args:
        only: names of the contenders; empty for all that are installed.
        processors: the processors that node may run on; None where affinity is unknown.
        loaders: every contender there is, by name.

    Raises:
        Missing: one of `only` is not installed, or is no contender's name.
    """

    def __init__(
        self,
        only: Iterable[str] = (),
        processors: Iterable[int] | None = None,
        loaders: Mapping[str, Loader] | None = None,
    ) -> None:
        self.absent: dict[str, str] = {}  # name -> how to get it
        self.versions: dict[str, str] = {}
        self._loaded: dict[str, Any] = {}
        self._nodes: list[node.Node] = []
        self._processors = processors
        loaders = LOADERS if loaders is None else loaders
        wanted = tuple(only)
        unknown = set(wanted) - set(loaders)
        if unknown:
            there = ", ".join(loaders)
            raise Missing(f"no contender is called {min(unknown)!r}; there are {there}")
        for name in wanted or loaders:
            self._load(name, loaders[name])
        if wanted and self.absent:
            raise Missing(
                "; ".join(f"{name} is not here: {how}" for name, how in self.absent.items())
            )

    def _load(self, name: str, load: Loader) -> None:
        try:
            self._loaded[name], self.versions[name] = load(self)
        except (Missing, ImportError) as error:
            self.absent[name] = str(error)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    def cells(self, task: Task) -> dict[str, Cell]:
        """Make a cell for each contender that can do the task."""
        cells: dict[str, Cell] = {}
        for name, contender in self._loaded.items():
            if name in OURS:
                cells[name] = our_cell(task, contender)
            elif _CAN[name] == task.verb:
                cells[name] = _peer_cell(task, contender)
        return cells

    def close(self) -> None:
        for process in self._nodes:
            process.close()

    def start_node(self, package: str) -> node.Node:
        process = node.Node(package, self._processors)
        self._nodes.append(process)
        return process


def our_cell(task: Task, module: ModuleType) -> Cell:
    """Make a cell of one of our twins, or of the floor."""
    if task.verb == "decode":
        return decode_cell(Pushed(module.Decoder), _cut(task.corpus, task.chunking))
    if task.verb == "encode":
        return encode_cell(encoding_of(module), corpus(task.corpus).fields)
    if task.verb == "encode_many":
        return many_cell(module.encode_many, decoder_of(module), corpus(task.corpus))
    if task.verb == "encode_json":
        return json_cell(module.encode_json, corpus(task.corpus))
    return split_cell(module.LineSplitter, _cut(task.corpus, task.chunking))


def encoding_of(module: ModuleType) -> Encoding:
    """Return the encoder of `module`, which is called directly, whatever the shape."""
    return Encoding(lambda _shape: module.encode)


def decoder_of(module: ModuleType) -> Callable[[bytes], Any]:
    """Return a function that decodes a whole stream into the events of `module`."""
    return lambda stream: module.Decoder(max_event_size=None).feed(stream)


def _peer_cell(task: Task, contender: Any) -> Cell:
    if task.verb == "encode":
        return encode_cell(contender, corpus(task.corpus).fields)
    if task.verb == "encode_json":
        return json_cell(contender, corpus(task.corpus))
    cut = _cut(task.corpus, task.chunking)
    if isinstance(contender, node.Node):
        return node.NodeCell(contender, cut)
    return decode_cell(contender, cut)


def _ours(name: str) -> Loader:
    def load(_field: Field) -> tuple[Any, str]:
        import fastsse

        return twin(name), "" if name == FLOOR else fastsse.__version__

    return load


def _peer(peer: peers.Peer) -> Loader:
    def load(_field: Field) -> tuple[Any, str]:
        try:
            return peer.load(), metadata.version(peer.package) if peer.package else ""
        except ImportError as error:
            raise Missing(f"pip install {peer.package}") from error

    return load


def _in_node(package: str) -> Loader:
    def load(field: Field) -> tuple[Any, str]:
        reason = node.installed(package)
        if reason is not None:
            raise Missing(reason)
        process = field.start_node(package)
        return process, f"{process.version} on node {process.node.lstrip('v')}"

    return load


LOADERS: dict[str, Loader] = {name: _ours(name) for name in OURS}
_CAN: dict[str, str] = {}
for _verb, _peers in (
    ("decode", peers.DECODERS),
    ("encode", peers.ENCODERS),
    ("encode_json", peers.JSON_ENCODERS),
):
    for _one in _peers:
        LOADERS[_one.name] = _peer(_one)
        _CAN[_one.name] = _verb
for _name, _package in peers.NODE.items():
    LOADERS[_name] = _in_node(_package)
    _CAN[_name] = "decode"


def keep_memory() -> None:
    """Keep freed memory in the process, where the C library can be told to.

    Otherwise a large block may come new from the system, which costs more than filling it. That would depend on the
    memory around it, and so on the contenders that were measured before.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "mallopt"):  # musl has none
        for option in _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD:
            library.mallopt(option, 2**30)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def pin() -> tuple[int, ...] | None:
    """Stay on one processor, the last that we may use; None where that cannot be asked for.

    Returns:
        The processors that we had before.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    processors = tuple(sorted(os.sched_getaffinity(0)))
    os.sched_setaffinity(0, processors[-1:])
    return processors
