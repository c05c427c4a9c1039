"""The sentences of this project, wherever they stand, and the rules of plain English that they keep.

Knows how docstrings and comments are written in Python, Cython, C, JavaScript and CSS, and where a page of Markdown has
text. Must not know which files there are, or which of them are excused. To see what breaks a rule in some files:
`python tests/support/prose.py PATH …`.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["RULES", "Fault", "Prose", "Rule", "faults", "nouns_first", "read"]


class Prose(NamedTuple):
    """One docstring, comment or paragraph: the line that it begins in, and its words with single spaces."""

    line: int
    text: str


class Rule(NamedTuple):
    """One thing that a sentence must not do, and why."""

    name: str
    pattern: re.Pattern[str]
    reason: str
    right_after: frozenset[str] = frozenset()  # words; after one of them the rule does not hold


class Fault(NamedTuple):
    """A sentence that breaks a rule."""

    line: int
    rule: str
    found: str
    reason: str

    def __str__(self) -> str:
        return f"{self.line}: {self.rule}: {self.found!r}: {self.reason}"


# --- the rules ------------------------------------------------------------------------------------------------------

# Where a sentence begins: at the start of a text, or after a stop, a question, an exclamation or a colon.
_START = r"(?:^|(?<=[.!?:] )|(?<=[.!?]\) ))"
_QUESTION = r"(?=[^.!]*\?)"
_BEFORE = r"(?:\b(?P<before>\w+)\W{1,3})?\b"
_BODIES = {some + one for some in ("any", "every", "no", "some") for one in ("body", "one")}
_THINGS = {some + one for some in ("any", "every", "no", "some") for one in ("thing", "where")}

RULES = [
    Rule(
        "begins with It",
        re.compile(rf"{_START}It(?:'s)?\b"),
        "a sentence is read alone, where nobody knows what it is: name the subject",
    ),
    Rule(
        "begins with The same",
        re.compile(
            rf"{_START}The same\b(?=[.,;:]|$| (?:as|but|by|for|from|in|of|to|when|where|with)\b)"
        ),
        "the reader must look for the other thing first: say again what is done",
    ),
    Rule(
        "begins with Who",
        re.compile(rf"{_START}(?:Who|Whom|Whose)\b(?!{_QUESTION})"),
        "the sentence has no subject: say a reader, a publisher, a caller",
    ),
    Rule(
        "begins with Whether",
        re.compile(rf"{_START}Whether\b"),
        'a predicate says what its answer means: "Return True when …", "True when …"',
    ),
    Rule(
        "begins with What",
        re.compile(rf"{_START}What\b(?!{_QUESTION})"),
        "a clause as the subject is a riddle: name the thing",
    ),
    Rule(
        "begins with Those or As `x`",
        re.compile(rf"{_START}(?:Those\b|As `[^`]*`,)"),
        "the reader must look for what is meant: name the thing",
    ),
    Rule(
        "else for otherwise",
        re.compile(rf"{_BEFORE}[Ee]lse\b(?!['’:])"),
        'in a sentence "else" joins nothing: say "otherwise"',
        frozenset(
            _BODIES | _THINGS | {"all", "little", "much", "or", "what", "whatever", "where", "who"}
        ),
    ),
    Rule(
        "who without a noun",
        re.compile(
            r"\b(?:[Bb]y|[Ff]or|[Ff]rom|of|than|[Tt]o|[Ww]ith) who\b(?! (?:we|you|they|he|she)\b)"
        ),
        '"who" needs somebody before it: "a reader who", "a caller who"',
    ),
    Rule(
        "wants for needs",
        re.compile(rf"{_BEFORE}wants\b"),
        'only people want something, a thing "needs" it',
        frozenset(_BODIES | {"caller", "reader", "who"}),
    ),
]


def faults(path: Path) -> list[Fault]:
    """List what breaks a rule in one file, from its top."""
    found = [
        Fault(line, rule.name, found, rule.reason)
        for line, text in read(path)
        for rule in RULES
        for found in _found(rule, text)
    ]
    return sorted(found + (nouns_first(path.read_text("utf-8")) if path.suffix == ".py" else []))


# Words with which a docstring describes a thing. A function does something, so its docstring begins with a verb.
_DOES = "a function does something: begin with a verb"
_NO_VERB = re.compile(
    r"(?:An?|All|And|Any\w*|As|At|Both|By|Each|Every\w*|For|From|How|In|Its|No(?:body|ne|thing)?|Of|On|One|Our|Some\w*|That|The|This|To"
    r"|Two|When|Where|Which|Whose|Why|With)\b"
)


def nouns_first(source: str) -> list[Fault]:
    """List the docstrings of functions that begin with no verb.

    Properties, fixtures and tests may: the first two are read as things, and a test's name says what the test does.
    """
    return [
        Fault(node.lineno, "begins with no verb", f"{node.name}: {text[:70]}", _DOES)
        for node in _nodes(source)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("test_")
        and not any(_is_for_a_thing(decorator) for decorator in node.decorator_list)
        and (text := ast.get_docstring(node) or "")
        and _NO_VERB.match(text)
    ]


def _is_for_a_thing(decorator: ast.expr) -> bool:
    return bool(re.search(r"\b(?:property|cached_property|fixture)\b", ast.unparse(decorator)))


def _found(rule: Rule, text: str) -> Iterator[str]:
    """Find where a text breaks a rule, and quote what stands there."""
    for match in rule.pattern.finditer(_CODE.sub("`x`", text)):
        before = match.groupdict().get("before") or ""
        if before.lower() not in rule.right_after:
            yield match.string[max(match.start() - 20, 0) : match.end() + 50]


_CODE = re.compile(r"`[^`]+`")  # has words of its own


# --- where prose stands ---------------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[Prose]:
    """Yield the docstrings, comments or paragraphs of a file, by what its name ends with.

    Raises:
        ValueError: nothing is known about files of this kind.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"{path.name}: prose is read in files that end in {', '.join(_READERS)}")
    return reader(path.read_text("utf-8"))


def _paragraphs(line: int, text: str) -> Iterator[Prose]:
    """Split a text at its empty lines; a drawing, a table or an example is none of its paragraphs.

    Args:
        line: the number of the text's first line.
    """
    paragraph: list[str] = []
    for number, row in enumerate([*text.splitlines(), ""], line):
        if row.strip():
            paragraph.append(row)
            continue
        if paragraph and not any(_DRAWN.search(drawn) for drawn in paragraph):
            yield Prose(number - len(paragraph), " ".join(" ".join(paragraph).split()))
        paragraph = []


_DRAWN = re.compile(r"\S {3,}\S|[│├└─→▲▼]|-->|^\s*(?:>>>|\$) ")


@lru_cache(maxsize=1)
def _nodes(source: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(source)))


def _read_python(source: str) -> Iterator[Prose]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in _nodes(source):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        if text is not None:
            yield from _paragraphs(node.body[0].lineno, text)
    yield from _read_hashes(source)


def _read_cython(source: str) -> Iterator[Prose]:
    for match in re.finditer(r'^( *)"""(.*?)"""', source, re.MULTILINE | re.DOTALL):
        line = source.count("\n", 0, match.start()) + 1
        yield from _paragraphs(line, textwrap.dedent(match[1] + match[2]))
    yield from _read_hashes(source)


def _read_hashes(source: str) -> Iterator[Prose]:
    """Yield comments that begin with a hash; lines of comment that follow each other are one."""
    together: list[str] = []
    begins, last = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        alone = not token.line[:column].strip()
        if not (together and alone and last == (line - 1, column)):
            yield from _paragraphs(begins, "\n".join(together))
            together, begins = [], line
        together.append(token.string.lstrip("#:!- "))
        last = (line, column if alone else -1)
    yield from _paragraphs(begins, "\n".join(together))


def _read_slashes(source: str) -> Iterator[Prose]:
    """Yield the comments of C, JavaScript and CSS."""
    for match in _SLASHES.finditer(source):
        text = re.sub(r"^[ \t]*(?:\*|//)[ \t]?", "", match[1] or match[2] or "", flags=re.MULTILINE)
        yield from _paragraphs(source.count("\n", 0, match.start()) + 1, text)


_SLASHES = re.compile(
    r"(?<!\S)/\*+\s(.*?)\*/"  # a block
    r"|((?:(?:^[ \t]*|(?<=\S )|(?<=\S  ))//(?: [^\n]*)?\n)+)",  # lines, or what follows code in its line
    re.MULTILINE | re.DOTALL,
)


def _read_markdown(source: str) -> Iterator[Prose]:
    """Yield paragraphs, items of lists and cells of tables, but neither headings nor code between fences."""
    text = re.sub(
        r"^( *)```.*?^\1```$", lambda code: "\n" * code[0].count("\n"), source, flags=_LINES
    )
    paragraph: list[str] = []
    for number, row in enumerate([*text.splitlines(), ""], 1):
        if _APART.match(row) and paragraph:
            yield Prose(number - len(paragraph), " ".join(" ".join(paragraph).split()))
            paragraph = []
        if row.startswith("|"):
            yield from (Prose(number, cell.strip()) for cell in row.strip("|").split(" | "))
        elif row.strip() and not row.startswith("#"):
            paragraph.append(re.sub(r"^ *(?:[-*]|\d+\.) +", "", row))


_LINES = re.MULTILINE | re.DOTALL
_APART = re.compile(r" *(?:$|\||#|[-*] |\d+\. )")

_READERS: dict[str, Callable[[str], Iterator[Prose]]] = {
    ".py": _read_python,
    ".pyx": _read_cython,
    ".pxd": _read_cython,
    ".c": _read_slashes,
    ".h": _read_slashes,
    ".js": _read_slashes,
    ".css": _read_slashes,
    ".md": _read_markdown,
}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for fault in faults(Path(name)):
            print(f"{name}:{fault}")
