"""The decoder as one file to copy: the standard's table, an old Python, and sources that have changed."""

from __future__ import annotations

import ast
import copy
import inspect
import itertools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support import vendored
from support.blocks import code_blocks
from support.cases import CASES, PROMPT, Case
from support.standard import Fields, Reading

import fastsse
from fastsse import vendor
from fastsse.vendor import SourceChanged, main, write

ROOT = Path(__file__).parents[2]
COPY = Path(vendored.__file__)
SHORT = 30  # bytes: up to here a stream is cut at every pair of places
SOURCES = ["_codec_py.py", "errors.py"]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.section} {case.rule}")

# Run by an old Python, beside the copy: reads rows, and says which ones went wrong.
OLD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import vendored
wrong = []
for rule, stream, events, last, retry, comments in json.load(sys.stdin):
    stream = bytes.fromhex(stream)
    for cuts in [[stream], [stream[at:at + 1] for at in range(len(stream))]] + [
        [stream[:at], stream[at:]] for at in range(len(stream))
    ]:
        told = []
        decoder = vendored.Decoder(on_comment=told.append)
        found = [[e.data, e.event, e.id, e.retry] for cut in cuts for e in decoder.feed(cut)]
        if (found, decoder.last_event_id, decoder.retry, told) != (events, last, retry, comments):
            wrong.append(rule)
loaded = sorted(name for name in sys.modules if "fastsse" in name)
print(json.dumps([wrong, loaded, list(sys.version_info[:2])]))
"""


def read(chunks: Iterable[bytes]) -> Reading:
    comments: list[str] = []
    decoder = vendored.Decoder(on_comment=comments.append)
    events = [Fields(*_fields(event)) for chunk in chunks for event in decoder.feed(chunk)]
    return Reading(events, decoder.last_event_id, decoder.retry, comments)


def _fields(event: vendored.Event) -> tuple[str, str, str, int | None]:
    return event.data, event.event, event.id, event.retry


def expected(case: Case) -> Reading:
    return Reading(case.events, case.last_event_id, case.retry, list(case.comments))


class TestTheCopy:
    def test_it_is_what_the_command_writes(self) -> None:
        made = "python -m fastsse.vendor > tests/support/vendored.py"

        assert write() == COPY.read_text("utf-8"), made

    def test_the_command_writes_its_bytes(self) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "fastsse.vendor"], capture_output=True, check=True, cwd=ROOT
        )

        assert COPY.read_bytes() == ran.stdout

    def test_the_command_takes_no_arguments(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert 2 == main(["sse.py"])
        assert "usage: python -m fastsse.vendor > sse.py" in capsys.readouterr().err

    def test_it_is_python_3_9_and_imports_the_standard_library_alone(self) -> None:
        tree = ast.parse(COPY.read_text("utf-8"), feature_version=(3, 9))

        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        packages = {str(name).partition(".")[0] for name in modules | names}
        assert packages <= {*sys.stdlib_module_names, "__future__"}

    def test_it_begins_with_the_licence_and_tells_its_version(self) -> None:
        head = COPY.read_text("utf-8").split('"""')[0]
        words = [line.removeprefix("#").removeprefix(" ") for line in head.splitlines()[2:]]

        assert (ROOT / "LICENSE").read_text("utf-8").splitlines() == words
        assert fastsse.__version__ == vendored.__version__
        assert vendored.__doc__ is not None
        assert f"fastsse-core {fastsse.__version__}" in vendored.__doc__

    def test_its_names_are_there_and_explained(self) -> None:
        things = [getattr(vendored, name) for name in vendored.__all__]

        assert [] == [it for it in things if callable(it) and not inspect.getdoc(it)]


class TestTheStandard:
    @every_case
    def test_whole_and_byte_by_byte(self, case: Case) -> None:
        assert expected(case) == read([case.stream])
        assert expected(case) == read(bytes([octet]) for octet in case.stream)
        assert case.events == [Fields(*_fields(event)) for event in vendored.decode(case.stream)]

    @every_case
    def test_at_every_cut(self, case: Case) -> None:
        for cut in range(len(case.stream) + 1):
            assert expected(case) == read([case.stream[:cut], case.stream[cut:]]), cut

    @every_case
    def test_at_every_pair_of_cuts(self, case: Case) -> None:
        stream = case.stream[:SHORT]
        wanted = read([stream])

        for first, second in itertools.combinations(range(len(stream) + 1), 2):
            assert wanted == read([stream[:first], stream[first:second], stream[second:]])

    @pytest.mark.parametrize("row", PROMPT, ids=lambda row: row.rule)
    def test_each_event_comes_at_once(self, row: Any) -> None:
        decoder = vendored.Decoder()

        assert row.events == [
            [Fields(*_fields(event)) for event in decoder.feed(chunk)] for chunk in row.chunks
        ]

    @pytest.mark.parametrize("version", ["3.9", "3.10", "3.13"])
    def test_on_another_python(self, version: str, tmp_path: Path) -> None:
        python = find_python(version)
        (tmp_path / "vendored.py").write_bytes(COPY.read_bytes())
        rows = [
            (
                case.rule,
                case.stream.hex(),
                case.events,
                case.last_event_id,
                case.retry,
                case.comments,
            )
            for case in CASES
        ]

        ran = subprocess.run(
            [python, "-I", "-W", "error", "-c", OLD, str(tmp_path)],
            input=json.dumps(rows),
            capture_output=True,
            check=True,
            text=True,
        )

        wrong, loaded, ran_by = json.loads(ran.stdout)
        assert ([], []) == (wrong, loaded)
        assert version == ".".join(map(str, ran_by))


def find_python(version: str) -> str:
    """Find a Python of some version on this machine, or skip the test."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        *sorted(pyenv.glob(f"versions/{version}.*/bin/python")),
        shutil.which(f"python{version}"),
    ]
    for python in found:
        if python is not None and subprocess.run([python, "-c", ""], check=False).returncode == 0:
            return str(python)
    pytest.skip(f"no Python {version} here")


class TestWhatItPromises:
    def test_an_event_over_the_limit_comes_after_those_before_it(self) -> None:
        decoder = vendored.Decoder(max_event_size=10)

        with pytest.raises(vendored.EventTooLarge) as caught:
            decoder.feed(b"data: a\n\ndata: 0123456789\n\n")
        with pytest.raises(vendored.EventTooLarge):
            decoder.feed(b"data: b\n\n")
        decoder.reset()

        assert [vendored.Event("a")] == caught.value.events
        assert (10, "event is over 10 bytes; reset() to go on, or raise the limit") == (
            caught.value.limit,
            str(caught.value),
        )
        assert [vendored.Event("b")] == decoder.feed(b"data: b\n\n")

    def test_a_line_without_an_end_is_bounded(self) -> None:
        decoder = vendored.Decoder(max_event_size=1000)

        with pytest.raises(vendored.EventTooLarge):
            list(map(decoder.feed, [b"x"] * 1001))

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_chunks_are_bytes_like(self, kind: Any) -> None:
        assert [vendored.Event("a")] == vendored.decode(kind(b"data: a\n\n"))

    @pytest.mark.parametrize("chunk", ["data: a\n\n", 5, None, [1]])
    def test_other_chunks_are_refused(self, chunk: Any) -> None:
        with pytest.raises(TypeError, match="chunk must be bytes-like, not "):
            vendored.Decoder().feed(chunk)

    @pytest.mark.parametrize(
        "clone", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
    )
    def test_an_event_is_a_value(self, clone: Any) -> None:
        event = vendored.Event('{"a": 1}', "x", "1", 5)

        assert event == clone(event)
        assert hash(event) == hash(clone(event))
        assert {"a": 1} == event.json()
        assert event != vendored.Event('{"a": 1}', "x", "1")
        assert event != event.data
        with pytest.raises(AttributeError, match="immutable"):
            event.data = "b"

    def test_an_error_survives_a_pickle(self) -> None:
        error = vendored.EventTooLarge(5, [vendored.Event("a")])

        again = pickle.loads(pickle.dumps(error))

        assert (5, [vendored.Event("a")]) == (again.limit, again.events)


class TestSourcesThatHaveChanged:
    """The generator refuses what it no longer understands, and says why."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in SOURCES:
            source = Path(vendor.__file__).with_name(name)
            (tmp_path / name).write_text(source.read_text("utf-8"), "utf-8")
        return tmp_path

    def change(self, folder: Path, old: str, new: str, name: str = "_codec_py.py") -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), "utf-8")

    def test_as_they_are(self, folder: Path) -> None:
        assert write() == write(folder)

    @pytest.mark.parametrize(
        "part", ["def _decoded(", "class _Lines:", "_FOLD = ", "class Decoder:"]
    )
    def test_a_part_is_gone(self, folder: Path, part: str) -> None:
        self.change(folder, part, part.replace("_", "_other").replace("class D", "class OtherD"))

        with pytest.raises(SourceChanged, match=r"_codec_py\.py has no \w+ any more"):
            write(folder)

    def test_an_error_is_gone(self, folder: Path) -> None:
        self.change(folder, "class EventTooLarge(", "class Other(", "errors.py")

        with pytest.raises(SourceChanged, match=r"errors\.py has no EventTooLarge any more"):
            write(folder)

    @pytest.mark.parametrize(
        "change", vendor._CHANGES, ids=lambda change: f"{change.part} {change.old[:30].strip()}"
    )
    def test_a_text_that_is_to_be_changed_is_another(self, folder: Path, change: Any) -> None:
        name = next(name for name in SOURCES if change.old in (folder / name).read_text("utf-8"))
        *_, word = re.finditer(r"[A-Za-z]{4,}", change.old)
        self.change(
            folder, change.old, f"{change.old[: word.end()]}x{change.old[word.end() :]}", name
        )

        with pytest.raises(SourceChanged, match=f"{change.part} does not have this once"):
            write(folder)

    def test_a_text_that_is_to_be_changed_is_there_twice(self, folder: Path) -> None:
        line = "        return _json.loads(self.data)\n"
        self.change(folder, line, line * 2)

        with pytest.raises(SourceChanged, match="Event does not have this once"):
            write(folder)

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("        new_helper(chunk)\n", r"uses what it does not have: \['new_helper'\]"),
            ("        import numpy\n", r"imports \['numpy'\]"),
            ("        from . import streams\n", r"imports \['\.'\]"),
            (
                "        # The other twin does so, too.\n",
                r"speaks of what it does not have: \['twin'\]",
            ),
            ("        match chunk:\n            case b'': pass\n", r"is not Python 3\.9"),
            ("        try: pass\n        except* ValueError: pass\n", r"is not Python 3\.9"),
        ],
        ids=["a name", "a library", "a neighbour", "a word", "match", "except*"],
    )
    def test_a_new_line_needs_what_the_file_does_not_have(
        self, folder: Path, line: str, reason: str
    ) -> None:
        before = "        chunk = _bytes(chunk, _CHUNK)\n        if self._feeding:\n"
        self.change(folder, before, line + before)

        with pytest.raises(SourceChanged, match=reason):
            write(folder)

    def test_a_change_of_the_decoder_is_in_the_file(self, folder: Path) -> None:
        self.change(folder, "_FOLD = 4096", "_FOLD = 8192")

        assert "_FOLD = 8192" in write(folder)


def test_the_example_of_the_document(tmp_path: Path) -> None:
    blocks = code_blocks(ROOT / "docs" / "sdks.md")
    [command] = [block.text for block in blocks if block.language == "sh"]
    [shown] = [block.text for block in blocks if block.text.startswith("from sse import")]
    assert "python -m fastsse.vendor > sse.py\n" == command
    (tmp_path / "sse.py").write_bytes(COPY.read_bytes())

    subprocess.run([sys.executable, "-c", shown], check=True, cwd=tmp_path)
