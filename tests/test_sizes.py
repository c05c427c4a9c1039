"""How large a module and a function may become before they have to be cut.

A file over 400 lines has a second subject, and a function over 45 has a second step: both are found by no other
test. Lines are counted as an editor shows them, docstrings and comments included.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sources import SOURCES

MODULE_LINES = 400
FUNCTION_LINES = 45

# The reference for the compiled twin follows the standard step by step, and is read in one piece.
READ_IN_ONE_PIECE = {"_codec_py"}


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Find the functions that are too long: the name and the number of lines of each."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield node.name, lines


def too_long(name: str, path: Path) -> Iterator[str]:
    """Find what is too long in one module: the module itself, and functions by their names in it."""
    source = path.read_text("utf-8")
    if len(source.splitlines()) > MODULE_LINES and name not in READ_IN_ONE_PIECE:
        yield name or "fastsse"
    for function, _ in long_functions(source):
        yield f"{name}.{function}"


def test_no_module_and_no_function_is_too_long() -> None:
    found = {one for name, path in SOURCES.items() for one in too_long(name, path)}

    assert set() == found


@pytest.mark.parametrize(("lines", "expected"), [(45, []), (46, [("f", 46)])])
def test_a_function_is_counted_from_its_def_to_its_last_line(
    lines: int, expected: list[tuple[str, int]]
) -> None:
    source = "@decorated\nasync def f():\n" + "    pass\n" * (lines - 1) + "\n\nx = 1\n"

    assert expected == list(long_functions(source))
