"""The project's sentences keep the rules of plain English, and its names the words of ARCHITECTURE.md.

The rules stand in `support/prose.py`, each with its reason; the words that must not be used are in the table below. The
test reads every file that people read: the package, its kernels, benchmarks, examples, tests and documents.
"""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest
from support.prose import RULES, Fault, faults, nouns_first, read

ROOT = Path(__file__).parents[1]
FOLDERS = ["fastsse", "csrc", "benchmarks", "examples", "docs", "tests"]
KINDS = {".py", ".pyx", ".pxd", ".c", ".h", ".js", ".css", ".md"}
MADE_BY_A_TOOL = re.compile(r"/fastsse/.*\.c$|/build/|/node_modules/|/\.")

# Words that name something else by the table of ARCHITECTURE.md, and the one to use instead. The wing's names are held
# to them, where a name counts as the words that it is made of. In sentences most of these words are plain English.
WORDS = {
    "account": "tally",
    "accounts": "tallies",
    "behind": "after, where it means later in the log",
    "direct": "bypass",
    "embedding": "subscription",
    "frame": "record",
    "frames": "records",
    "life": "fanout",
    "sequence": "position",
    "way": "outer send",
}
# An alias that documents gave, a type of the library, and a body that gives way to another.
NAMES_ALLOWED = {"Direct", "Sequence", "_give_way"}
# Elsewhere a frame may be one of HTTP/2 or of a browser's window.
IN_SENTENCES = {
    "fastsse/broadcast/": re.compile(r"\b(?:Frames?|[Hh]ub\.streams|open_account)\b"),
    "fastsse/broadcast/hub/": re.compile(r"\b[Ff]rames?\b"),
    "fastsse/broadcast/stores/": re.compile(r"\b[Ff]rames?\b"),
}


def files() -> list[Path]:
    """List every file with prose in it, each once."""
    inner = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    found = [path for path in [*sorted(ROOT.glob("*.md")), *inner] if path.suffix in KINDS]
    return [path for path in found if not MADE_BY_A_TOOL.search(f"/{name_of(path)}")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_sentences_are_plain_english(folder: str) -> None:
    there = [path for path in files() if name_of(path).rpartition("/")[0].split("/")[0] == folder]
    found = [f"{name_of(path)}:{fault}" for path in there for fault in faults(path)]

    assert there
    assert [] == found


def names_in(source: str) -> set[str]:
    """Collect the names that a Python or Cython source uses."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def words_of(name: str) -> list[str]:
    """Cut a name into its words: `max_line_size`, `EventTooLarge`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def of_the_wing() -> list[Path]:
    """List the broadcast's own modules."""
    found = [path for path in files() if path.suffix in (".py", ".pyx")]
    return [path for path in found if name_of(path).startswith("fastsse/broadcast/")]


def test_names_are_words_of_the_table() -> None:
    found = [
        f"{name_of(path)}: {name}: say {WORDS[word]}"
        for path in of_the_wing()
        for name in sorted(names_in(path.read_text("utf-8")) - NAMES_ALLOWED)
        for word in words_of(name)
        if word in WORDS
    ]

    assert [] == found


def test_sentences_use_the_words_of_the_table() -> None:
    found = [
        f"{name_of(path)}:{prose.line}: {match[0]}"
        for path in of_the_wing()
        for folder, pattern in IN_SENTENCES.items()
        if name_of(path).startswith(folder)
        for prose in read(path)
        for match in pattern.finditer(prose.text)
    ]

    assert [] == found


GOOD = [
    "A reader that is late gets a gap.",
    "Return True when the reader has gone.",
    "The same topics in the same form make one audience.",
    "Who may speak to us? The hosts that are named.",
    "An event, or else a gap; nothing else, and nobody else's.",
    "A reader who comes back, to whom a gap is told.",
    "A label goes to a reader who wants it.",
    "Asks who waits for what, and says whether it does.",
    "The pump sends as `send` allows. As a rule that is at once.",
]
BAD = {
    "begins with It": ["It sends.", "The pump sends. It sends at once.", "Two things: It sends."],
    "begins with The same": ["The same, for bytes.", "The same for what is not ASCII."],
    "begins with Who": ["Who is late is not waited for.", "A gap. Whom it is told to is counted."],
    "begins with Whether": ["Whether nothing can leave."],
    "begins with What": ["What a reader gets.", "Sends. What is left waits."],
    "begins with Those or As `x`": ["Those of a topic.", "As `encode`, for many."],
    "else for otherwise": [
        "The compiled one, else the pure one.",
        "Else it waits.",
        "Which else waits.",
    ],
    "who without a noun": ["Like `stream`, for who has the topics.", "The share of who is late."],
    "wants for needs": ["A public address wants `--open`."],
}


class TestTheRules:
    """Each rule finds what it forbids and lets the rest pass."""

    @pytest.mark.parametrize("sentence", GOOD)
    def test_plain_english_passes(self, sentence: str, tmp_path: Path) -> None:
        assert [] == self.faults_of(f'"""{sentence}"""\n', tmp_path)

    @pytest.mark.parametrize(
        ("rule", "sentence"), [(rule, one) for rule, bad in BAD.items() for one in bad]
    )
    def test_a_riddle_is_found(self, rule: str, sentence: str, tmp_path: Path) -> None:
        found = self.faults_of(f'"""{sentence}"""\n', tmp_path)

        assert [rule] == [fault.rule for fault in found]

    @pytest.mark.parametrize("kind", ["def", "async def"])
    def test_a_functions_docstring_begins_with_a_verb(self, kind: str) -> None:
        source = "{} f():\n    {!r}\n"

        assert [] == nouns_first(source.format(kind, "Return the pump."))
        assert [2] == [len(nouns_first(2 * source.format(kind, "The pump.")))]
        assert [] == nouns_first("@property\n" + source.format(kind, "The pump."))
        assert [] == nouns_first(
            "@pytest.fixture(scope='session')\n" + source.format(kind, "A hub.")
        )
        assert [] == nouns_first("class Pump:\n    'The pump.'\n")

    def test_every_rule_is_tried(self) -> None:
        assert [rule.name for rule in RULES] == list(BAD)

    def faults_of(self, source: str, tmp_path: Path) -> list[Fault]:
        path = tmp_path / "module.py"
        path.write_text(source, "utf-8")
        return faults(path)


class TestTheReader:
    """The rules are worth what the reader sees."""

    @pytest.mark.parametrize(
        ("name", "source", "expected"),
        [
            ("m.py", '"""One.\n\nTwo,\n  three.\n"""\n', [(1, "One."), (3, "Two, three.")]),
            ("m.py", 'def f():\n    """One."""\n    x = "Two."\n', [(2, "One.")]),
            ("m.py", "# One,\n# two.\nx = 1  # Three.\n", [(1, "One, two."), (3, "Three.")]),
            ("m.py", '"""One.\n\n    a   b\n"""\n', [(1, "One.")]),
            ("m.pyx", 'cdef int f():\n    """One."""\n    # Two.\n', [(2, "One."), (3, "Two.")]),
            ("m.c", "/* One,\n * two. */\nint x; // Three.\n", [(1, "One, two."), (3, "Three.")]),
            ("m.js", "// One,\n// two.\nf(); // Three.\n", [(1, "One, two."), (3, "Three.")]),
            ("m.js", "/** One. */\nf('http://x');\n", [(1, "One.")]),
            ("m.css", "/* One. */\na {}\n", [(1, "One.")]),
            ("m.md", "# One\n\nTwo,\nthree.\n", [(3, "Two, three.")]),
            ("m.md", "- One.\n- Two,\n  three.\n", [(1, "One."), (2, "Two, three.")]),
            ("m.md", "| a | One. |\n", [(1, "a"), (1, "One.")]),
            ("m.md", "```\nOne.\n```\nTwo.\n", [(4, "Two.")]),
        ],
    )
    def test_it_sees_sentences_and_where_they_begin(
        self, name: str, source: str, expected: list[tuple[int, str]], tmp_path: Path
    ) -> None:
        path = tmp_path / name
        path.write_text(source, "utf-8")

        assert expected == list(read(path))

    def test_it_refuses_what_it_cannot_read(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"m\.bin: prose is read in files that end in \.py"):
            read(tmp_path / "m.bin")

    def test_a_name_is_cut_into_its_words(self) -> None:
        assert ["max", "line", "size"] == words_of("_max_line_size")
        assert ["event", "too", "large"] == words_of("EventTooLarge")
        assert ["read", "json", "id"] == words_of("readJSON_id")

    def test_it_looks_at_every_kind_of_file(self) -> None:
        names = {name_of(path) for path in files()}

        assert {
            "README.md",
            "csrc/sse.h",
            "fastsse/_codec_c.pyx",
            "fastsse/broadcast/page/main.js",
            "fastsse/errors.py",
            "tests/test_prose.py",
        } <= names
        assert not any(name.startswith("fastsse/") and name.endswith(".c") for name in names)
