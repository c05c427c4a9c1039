"""JSON for the codec: one answer, whichever of the three libraries writes and reads it."""

from __future__ import annotations

import datetime
import importlib.util
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.forms import REFUSED, VALUES

import fastsse
from fastsse import _forms

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
    """List the libraries that must not be importable for this one to be chosen."""
    return LIBRARIES[: LIBRARIES.index(library)]


def require(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: python -m pip install {library}")


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load `fastsse._json` once more, where this library is the first that can be imported."""
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
READ = [  # texts, which json.loads reads
    "NaN",
    "[Infinity,-Infinity]",
    '{"v":-Infinity}',
    "1e999",
    "-1e999",
    "1e-999",
    "-0",
    "-0.0",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775809",
    "-9999999999999999999",
    "9999999999999999999",
    "18446744073709551615",
    "18446744073709551616",
    "[1180591620717411303424,-1180591620717411303424]",
    '{"id":' + "1" * 400 + "}",
    "0." + "1" * 60,
    "1234567890123456789012345.5e3",
    '"12345678901234567890123"',
    '{"a":1,"a":2}',
    r'"\ud83d"',
    r'["\ude00\ud83d","\ud83d\ude00"]',
    "[" * 300 + "]" * 300,
    " \t\r\n1 ",
    r'"\u0000\/"',
    '"\x7f\u2028"',
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


@dataclass
class Nested:
    a: Any


class Broken:
    def model_dump_json(self, *, by_alias: bool) -> str:
        raise ZeroDivisionError(by_alias)


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


class TestForms:
    """Values that are not JSON's own: models, dataclasses, dates ..., each in one form."""

    @pytest.mark.parametrize("name", VALUES)
    def test_a_value_has_one_form_by_each_library(self, library: ModuleType, name: str) -> None:
        value, text = VALUES[name]

        assert text == library.dumps(value).decode()
        assert f"[{text}]" == library.dumps([value]).decode()
        assert f'{{"a":{text}}}' == library.dumps({"a": value}).decode()

    @pytest.mark.parametrize("name", VALUES)
    def test_both_twins_write_it_as_one_event(self, codec: ModuleType, name: str) -> None:
        value, text = VALUES[name]

        block = codec.encode_json(value, event="e", id="1")

        assert [codec.Event(text, "e", "1")] == codec.decode(block)

    @pytest.mark.parametrize("name", VALUES)
    def test_it_is_json(self, name: str) -> None:
        value, text = VALUES[name]

        again = json.loads(text)

        assert again == json.loads(fastsse.encode_json(value)[6:].replace(b"data: ", b""))

    @pytest.mark.parametrize("name", REFUSED)
    def test_a_refusal_names_the_type(self, library: ModuleType, name: str) -> None:
        value, said = REFUSED[name]

        for item in (value, [value], {"a": value}, [{"a": (value,)}]):
            with pytest.raises(TypeError, match=re.escape(said)):
                library.dumps(item)

    def test_floats_are_spelled_alike_by_each_library(self, library: ModuleType) -> None:
        chance = random.Random(7)
        bits = [struct.unpack("d", chance.randbytes(8))[0] for _ in range(2000)]
        near = [chance.uniform(-1, 1) * 10.0**power for power in range(-12, 24) for _ in range(40)]

        for number in (*bits, *near):
            text = library.dumps(number)
            assert text.decode() == (_forms.spelled(number) if math.isfinite(number) else "null")
            assert text == b"null" or number == json.loads(text)

    def test_each_form_can_be_found_again_below_any_depth(self, library: ModuleType) -> None:
        value: Any = datetime.date(2026, 1, 2)
        for _ in range(100):
            value = Nested([value])

        text = library.dumps(value).decode()

        assert '{"a":[' * 100 + '"2026-01-02"' + "]}" * 100 == text

    def test_what_a_model_raises_reaches_the_caller(self, library: ModuleType) -> None:
        with pytest.raises(ZeroDivisionError):
            library.dumps([Broken()])

    def test_a_dataclass_that_holds_itself_is_refused(self, library: ModuleType) -> None:
        circle = Nested(None)
        circle.a = circle

        with pytest.raises(ValueError, match="a Nested contains itself"):
            library.dumps(circle)

    def test_one_object_may_stand_twice(self, library: ModuleType) -> None:
        shared = Nested(1)

        assert b'[{"a":1},{"a":1}]' == library.dumps([shared, shared])


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

    @pytest.mark.parametrize("text", READ, ids=lambda text: ascii(text[:30]))
    def test_it_is_what_the_standard_library_reads(self, library: ModuleType, text: str) -> None:
        expected = json.loads(text)

        assert repr(expected) == repr(library.loads(text))
        assert repr(expected) == repr(library.loads(text.encode("utf-8", "surrogatepass")))
        assert repr(expected) == repr(fastsse.Event(text).json())

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
            "nan",
            "+Infinity",
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


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_process_with_this_library_writes_the_same_bytes_by_both_twins(name: str) -> None:
    require(name)

    ran = subprocess.run(
        [sys.executable, "-m", "support.forms", *without(name)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    library, found = json.loads(ran.stdout)
    expected = {row: text for row, (_, text) in VALUES.items() if row in found}
    assert name == library
    assert len(found) > 40
    assert expected == {row: set_of_one(texts) for row, texts in found.items()}


def set_of_one(texts: list[str]) -> str:
    (text,) = set(texts)
    return text


def test_this_very_process_uses_the_first_that_is_installed() -> None:
    from fastsse import _json

    assert next(name for name in LIBRARIES if importlib.util.find_spec(name)) == _json.LIBRARY


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ("a\ud83d", '"a\ufffd"'),
        ("\ud83d\ude00", '"😀"'),
        ({"\ude00": ["\ud83d"]}, '{"\ufffd":["\ufffd"]}'),
        ([math.nan, "\ud83d\ud83d"], '[null,"\ufffd\ufffd"]'),
    ],
    ids=ascii,
)
def test_lone_surrogates_may_be_replaced(library: ModuleType, obj: Any, text: str) -> None:
    assert text.encode() == library.dumps_replacing(obj)


@pytest.mark.skipif("model" not in VALUES, reason="pydantic is not installed")
class TestSurrogatesOfModels:
    def test_half_a_pair_in_a_model_is_an_invalid_field(self, library: ModuleType) -> None:
        from support.forms import Checked, Message

        for model in (Message(note="a\ud83d"), Checked(aB=1)):
            model = {"a": [model, "\ud83d"]}
            with pytest.raises(fastsse.InvalidField, match="lone surrogates"):
                library.dumps(model)

    def test_half_a_pair_in_a_model_is_replaced(self, library: ModuleType) -> None:
        from support.forms import MESSAGE, Message

        text = library.dumps_replacing([Message(note="a\ud83d")]).decode()

        assert "[" + MESSAGE.replace("null", '"a\ufffd"') + "]" == text
