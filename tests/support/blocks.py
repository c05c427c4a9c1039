"""The code blocks of the documents, and how they are run.

A value that a block shows in a comment is checked. The comment stands on the line of its statement, or on the lines
below it::

    encode("a")  # b'data: a\\n\\n'
    encode(1)
    # raises TypeError: data must be …

A comment counts as a value when it begins as the repr of a value does, or with "raises". The module knows Markdown
and Python; it must not know what a block is about.
"""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["CodeBlock", "code_blocks", "run_block"]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"(?:b?['\"\[({]|-?\d|(?:True|False|None)$|Event\(|raises ).*")


class CodeBlock(NamedTuple):
    """One fenced block of a document.

    Attributes:
        language: what the fence names; "" for none.
        text: the lines between the fences.
        line: where the text begins in the document, counted from 1.
    """

    language: str
    text: str
    line: int


def code_blocks(path: Path) -> list[CodeBlock]:
    """Find the fenced blocks of a Markdown file, in order."""
    page = path.read_text("utf-8")
    return [
        CodeBlock(found[1], found[2], page.count("\n", 0, found.start(2)) + 1)
        for found in _FENCED.finditer(page)
    ]


def run_block(block: CodeBlock, names: dict[str, Any]) -> int:
    """Run the statements of a Python block in `names`, and return how many shown values were checked.

    Raises:
        AssertionError: a value is not the shown one.
    """
    lines = block.text.split("\n")
    checked = 0
    for statement in ast.parse(block.text).body:
        shown = _shown(lines, statement.end_lineno or 1)
        if shown is None or not isinstance(statement, (ast.Expr, ast.Assign)):
            _execute(statement, names)
            continue
        at = block.line + statement.lineno - 1
        assert shown == _outcome(statement, names), f"line {at}"
        checked += 1
    return checked


def _shown(lines: list[str], end: int) -> str | None:
    """Find the value that is shown for a statement whose last line is number `end`; None when there is none."""
    _, _, comment = lines[end - 1].partition("  # ")
    if not comment:
        below = itertools.takewhile(lambda line: line.startswith("# "), lines[end:])
        comment = " ".join(line.removeprefix("# ").strip() for line in below)
    return comment if _SHOWN.fullmatch(comment) else None


def _outcome(statement: ast.Expr | ast.Assign, names: dict[str, Any]) -> str:
    """Run a statement and write its value, or what it raised, as a comment shows it."""
    try:
        value = eval(compile(ast.Expression(statement.value), "document", "eval"), names)
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    if isinstance(statement, ast.Assign):
        [target] = statement.targets
        assert isinstance(target, ast.Name)
        names[target.id] = value
    return repr(value)


def _execute(statement: ast.stmt, names: dict[str, Any]) -> None:
    exec(compile(ast.Module([statement], []), "document", "exec"), names)
