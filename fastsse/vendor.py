"""Write the decoder as one file to copy into another project: ``python -m fastsse.vendor > sse.py``.

The file needs Python 3.9 and the standard library, and nothing of this package. Generators of SDKs put such a file into
the clients that they write.

The text is that of the pure twin: the parts that a decoder needs, with the changes in `_CHANGES`. Where the source no
longer has a part, or a text that is to be changed, nothing is written and `SourceChanged` says what is missing. The
result is checked before it is given: its syntax, its imports, that each name is defined, and that no sentence speaks
of what has stayed behind.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

from fastsse import __version__

__all__ = ["SourceChanged", "main", "write"]

# The parts in the order of the file: which source has them, and their names.
_PARTS = [
    ("_codec_py.py", "DEFAULT_MAX_EVENT_SIZE MAX_RETRY _BOM _COLON _LF _CR _FOLD _CHUNK"),
    ("errors.py", "LimitExceeded EventTooLarge"),
    ("_codec_py.py", "_Draft Event _fields _event _Lines Decoder decode"),
    ("_codec_py.py", "_str _int _exact_str _exact_int _bytes _limit _decoded _milliseconds"),
]
_IMPORTS = {"__future__", "collections.abc", "json", "threading", "typing"}
_LEFT_BEHIND = re.compile(r"\b(?:\w*fastsse\w*|twins?|encode\w*|splitters?|codec)\b", re.IGNORECASE)

_LICENSE = """\
MIT License

Copyright (c) 2026 The fastsse authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

_HEADER = '''\
# SPDX-License-Identifier: MIT
#
{license}
"""Decode Server-Sent Events by the steps of the HTML standard, section "Interpreting an event stream".

    decoder = Decoder()
    for chunk in response:  # bytes, cut anywhere
        for event in decoder.feed(chunk):
            print(event.event, event.data)

Needs Python 3.9 or later, and nothing beyond the standard library. Written by ``python -m fastsse.vendor`` of
fastsse-core {version}: write it anew instead of changing it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Lock
from typing import Any, NoReturn, SupportsIndex, final

__version__ = "{version}"

__all__ = [
    "DEFAULT_MAX_EVENT_SIZE",
    "MAX_RETRY",
    "Decoder",
    "Event",
    "EventTooLarge",
    "decode",
]

'''


class SourceChanged(RuntimeError):
    """The source no longer has the shape that the file is made from: `fastsse.vendor` must follow it."""


class _Change(NamedTuple):
    """A text of a part that stands there once, and the text in its place."""

    part: str
    old: str
    new: str


_BYTES_LIKE = "bytes | bytearray | memoryview"
_CHANGES = [
    _Change(
        "Decoder", "def feed(self, chunk: Buffer, /)", f"def feed(self, chunk: {_BYTES_LIKE}, /)"
    ),
    _Change("decode", "(stream: Buffer)", f"(stream: {_BYTES_LIKE})"),
    _Change(
        "LimitExceeded", "class LimitExceeded(FastSSEError):", "class LimitExceeded(Exception):"
    ),
    _Change("LimitExceeded", "where the codec holds it", "where the decoder holds it"),
    _Change(
        "EventTooLarge",
        """ Their
            type is not named to type checkers, because the codec imports this module.
""",
        "\n",
    ),
    _Change("EventTooLarge", "list[Any]", "list[Event]"),
    _Change(
        "Event",
        """    An event of the compiled twin equals one of the pure twin with the same fields.

""",
        "",
    ),
    _Change(
        "Event",
        "a field has another type. Values are checked only when `encode` writes them.",
        "a field has another type.",
    ),
    _Change(
        "Event",
        '"""Parse the data as JSON, with the library that `encode_json` writes with.',
        '"""Parse the data as JSON.',
    ),
    _Change("Event", "return _json.loads(self.data)", "return json.loads(self.data)"),
    _Change(
        "Event",
        '''    def encode(self) -> bytes:
        """Write this event as one block. An empty id and the type ``"message"`` are left out.

        Raises:
            InvalidField: a field cannot be written; see `encode`.
        """
        return _encode_event(self, self.id or None)

''',
        "",
    ),
    _Change("Event", "\"type 'fastsse.Event' is not", "\"type 'Event' is not"),
    _Change(
        "Event",
        'if not getattr(type(other), "_is_fastsse_event", False):',
        "if not isinstance(other, Event):",
    ),
    _Change(
        "Event",
        """        from fastsse.event import restore

        return restore, _fields(self)

    _is_fastsse_event = True  # lets each twin recognise the other's events without importing it
""",
        """        return Event, _fields(self)
""",
    ),
]


def write(sources: Traversable | None = None) -> str:
    """Write the file.

    Args:
        sources: the folder of the sources; None for this package.

    Returns:
        Its text, equal for equal sources.

    Raises:
        SourceChanged: the source lacks what the file is made from.
    """
    body = ""
    for file, names in _PARTS:
        source = (sources or resources.files("fastsse")).joinpath(file)
        found = _parts_of(source.read_text("utf-8"))
        for name in names.split():
            if name not in found:
                raise SourceChanged(f"{file} has no {name} any more")
            body += _spaced(_changed(name, found[name]))
    license = "\n".join(f"# {line}".rstrip() for line in _LICENSE.splitlines())
    text = _HEADER.format(license=license, version=__version__) + body
    _check(text, body)
    return text


def main(arguments: list[str]) -> int:
    """Write the file to stdout as UTF-8, and return the exit code."""
    if arguments:
        print("usage: python -m fastsse.vendor > sse.py", file=sys.stderr)
        return 2
    sys.stdout.buffer.write(write().encode("utf-8"))
    return 0


def _parts_of(source: str) -> dict[str, str]:
    """Find the functions, classes and constants of a module, each as it is written."""
    lines = source.splitlines(keepends=True)
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        first = node.lineno
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
            first = min([first, *(one.lineno for one in node.decorator_list)])
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        else:
            continue
        found[name] = "".join(lines[first - 1 : node.end_lineno])
    return found


def _changed(name: str, text: str) -> str:
    """Make the changes to one part."""
    for change in _CHANGES:
        if change.part == name:
            if text.count(change.old) != 1:
                raise SourceChanged(f"{name} does not have this once: {change.old!r}")
            text = text.replace(change.old, change.new)
    return text


def _spaced(part: str) -> str:
    """Put the blank lines before a part that its kind has: two before a function or class, none before a constant."""
    return f"\n\n{part}" if part.startswith(("def ", "class ", "@")) else part


def _check(text: str, body: str) -> None:
    """Refuse a file that would not work alone.

    Args:
        text: the whole file.
        body: the parts of it that come from the source.
    """
    try:
        tree = ast.parse(text, feature_version=(3, 9))
    except SyntaxError as error:
        raise SourceChanged(f"the file is not Python 3.9: {error}") from error
    defined, used, imported = set(dir(builtins)) | {"__version__"}, set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or ""))
            defined |= {alias.asname or alias.name for alias in node.names}
    if used - defined:
        raise SourceChanged(f"the file uses what it does not have: {sorted(used - defined)}")
    if imported - _IMPORTS:
        raise SourceChanged(f"the file imports {sorted(imported - _IMPORTS)}")
    left = sorted({found.group() for found in _LEFT_BEHIND.finditer(body)})
    if left:
        raise SourceChanged(f"the file speaks of what it does not have: {left}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
