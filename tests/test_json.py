"""JSON for the codec: one answer, whichever of the three libraries writes and reads it."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import fastsse

LIBRARIES = ["orjson", "msgspec", "json"]
SOURCE = Path(fastsse.__file__).with_name("_json.py")
CODEC = """
import json, sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # whoever imports it gets an ImportError
import fastsse
from fastsse import _json
obj = json.loads(sys.argv[1])
block = fastsse.encode_json(obj, event="e", id="1", retry=5)
(event,) = fastsse.decode(block)
print(json.dumps([_json.LIBRARY, block.decode(), event.json() == obj]))
"""


def without(library: str) -> list[str]:
    """The libraries that must not be importable for this one to be chosen."""
    return LIBRARIES[: LIBRARIES.index(library)]


def require(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: python -m pip install {library}")


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`fastsse._json`, loaded once more where this library is the first that can be imported."""
    require(request.param)
    for name in without(request.param):
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location(f"json_by_{request.param}", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert request.param == module.LIBRARY
    return module


ANSWERS: list[tuple[Any, bytes]] = [
    (None, b"null"),
    (True, b"true"),
    (False, b"false"),
    (0, b"0"),
    (-(2**63), b"-9223372036854775808"),
    (2**64 - 1, b"18446744073709551615"),
    (2**70, b"1180591620717411303424"),
    (1.5, b"1.5"),
    ("", b'""'),
    ([], b"[]"),
    ((), b"[]"),
    ({}, b"{}"),
    ([None, [1, {"a": "b"}]], b'[null,[1,{"a":"b"}]]'),
    ({"b": 1, "a": 2}, b'{"b":1,"a":2}'),
    ({1: "a"}, b'{"1":"a"}'),
    (namedtuple("Point", "x y")(1, 2), b"[1,2]"),
    ("é€😀", '"é€😀"'.encode()),
    ("a/b</script>", b'"a/b</script>"'),
    ('"\\', rb'"\"\\"'),
    ("\n\r\t", rb'"\n\r\t"'),
    ("\r\n", rb'"\r\n"'),
    ("\u2028\u2029\x85", '"\u2028\u2029\x85"'.encode()),
    ("\x7f", b'"\x7f"'),
    (math.nan, b"null"),
    (math.inf, b"null"),
    (-math.inf, b"null"),
    ([1, {"a": math.nan}], b'[1,{"a":null}]'),
]
HOSTILE = [
    "\n",
    "\r",
    "\r\n",
    "a\nb\rc\r\nd",
    "".join(map(chr, range(0x100))),
    ["\n", {"\r": "\r\n"}],
    {"a\nb": {"c\rd": ["e\r\nf"]}},
    {"data: x\n\ndata: y": "\n\n"},
    "\x85\u2028\u2029\v\f\x1c\x1d\x1e",
]


class TestWriting:
    @pytest.mark.parametrize(("obj", "text"), ANSWERS, ids=ascii)
    def test_the_answer_is_the_same_by_each_library(
        self, library: ModuleType, obj: Any, text: bytes
    ) -> None:
        assert text == library.dumps(obj)

    @pytest.mark.parametrize("obj", HOSTILE, ids=ascii)
    def test_there_is_never_a_line_end_in_it(self, library: ModuleType, obj: Any) -> None:
        text = library.dumps(obj)

        assert b"\n" not in text
        assert b"\r" not in text
        assert obj == json.loads(text)

    @pytest.mark.parametrize(
        "obj",
        [object(), 1j, [object()], {"a": 1j}],
        ids=["object", "complex", "in a list", "in a dict"],
    )
    def test_what_json_cannot_say_is_a_type_error(self, library: ModuleType, obj: Any) -> None:
        with pytest.raises(TypeError):
            library.dumps(obj)

    def test_what_holds_itself_is_refused(self, library: ModuleType) -> None:
        circle: list[Any] = []
        circle.append(circle)

        with pytest.raises((ValueError, RecursionError)):
            library.dumps(circle)

    @pytest.mark.parametrize("obj", ["\ud800", ["a", {"b": "\udfff"}], {"\ud800": 1}], ids=ascii)
    def test_a_lone_surrogate_is_an_invalid_field(self, library: ModuleType, obj: Any) -> None:
        with pytest.raises(fastsse.InvalidField) as caught:
            library.dumps(obj)

        assert "data" == caught.value.field
        assert "lone surrogates" in caught.value.rule


class TestReading:
    @pytest.mark.parametrize(
        ("text", "obj"),
        [
            ("null", None),
            ("[1,2.5,true]", [1, 2.5, True]),
            ('{"a":{"b":"c\\n"}}', {"a": {"b": "c\n"}}),
            ('"é\\u20ac"', "é€"),
            (" [ 1 ] ", [1]),
            ("[\n1\n]", [1]),
            ('"\\ud83d\\ude00"', "😀"),
            ('"\\ud800"', "\ud800"),
            ('"\ud800"', "\ud800"),
        ],
        ids=ascii,
    )
    def test_the_answer_is_the_same_by_each_library(
        self, library: ModuleType, text: str, obj: Any
    ) -> None:
        assert obj == library.loads(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "[DONE]",
            "{",
            "[1,]",
            "'a'",
            "{} {}",
            "nul",
            "NaN",
            "Infinity",
            "-Infinity",
            "[NaN]",
            "01",
            "+1",
            ".5",
            "\ufeff1",
            '"\n"',
            "[" * 100_000,
        ],
        ids=lambda text: ascii(text[:9]),
    )
    def test_what_is_not_json_is_a_value_error(self, library: ModuleType, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 (each library has its own words)
            library.loads(text)


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_codec_writes_and_reads_by_the_first_that_is_importable(name: str) -> None:
    require(name)
    obj = '{"a": [1, null, "b\\n"]}'

    ran = subprocess.run(
        [sys.executable, "-c", CODEC, obj, *without(name)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    block = 'id: 1\nevent: e\nretry: 5\ndata: {"a":[1,null,"b\\n"]}\n\n'
    assert [name, block, True] == json.loads(ran.stdout)


def test_this_very_process_uses_the_first_that_is_installed() -> None:
    from fastsse import _json

    assert next(name for name in LIBRARIES if importlib.util.find_spec(name)) == _json.LIBRARY
