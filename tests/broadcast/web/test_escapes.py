"""Percent-encoding undone by both twins: the bytes that come of it, the place of a fault, and the cost."""

from __future__ import annotations

import importlib
import sys
import time
from contextlib import suppress
from types import ModuleType
from urllib.parse import quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.twins import ESCAPES, NAMES, load_twin

from fastsse.broadcast.web._escapes import BrokenEscape


@pytest.fixture(params=NAMES, scope="module")
def escapes(request: pytest.FixtureRequest) -> ModuleType:
    """The module of one twin, with `unescape` and `unescaped_size`."""
    return load_twin(request.param, ESCAPES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b"+", b" "),
        (b"%2B", b"+"),
        (b"%25", b"%"),
        (b"%2541", b"%41"),
        (b"%00%ff%FF%fF", b"\0\xff\xff\xff"),
        (b"a+b%0A%0d\nc", b"a b\n\r\nc"),
        (b"%C3%A4\xc3\xa4", "ää".encode()),
    ],
)
def test_what_escapes_stand_for(escapes: ModuleType, text: bytes, expected: bytes) -> None:
    assert expected == escapes.unescape(text)
    assert len(expected) == escapes.unescaped_size(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"%", 0),
        (b"%4", 0),
        (b"%%41", 0),
        (b"%4%41", 0),
        (b"%g1", 0),
        (b"%1g", 0),
        (b"%/0", 0),
        (b"%:0", 0),
        (b"%@0", 0),
        (b"%`0", 0),
        (b"% 1", 0),
        (b"%+1", 0),
        (b"%-1", 0),
        (b"%\xb21", 0),
        (b"100%", 3),
        (b"%41%4", 3),
        (b"%41+%", 4),
        (b"%41%", 3),
        (b"%zz%", 0),
    ],
)
def test_a_broken_escape_is_refused_with_its_place(
    escapes: ModuleType, text: bytes, at: int
) -> None:
    with pytest.raises(BrokenEscape) as caught:
        escapes.unescape(text)

    assert at == caught.value.at


@given(st.binary(max_size=80).map(lambda text: text.replace(b"%", b"%4")) | st.binary(max_size=80))
def test_the_twins_agree(text: bytes) -> None:
    outcomes = []
    for name in NAMES:
        twin = load_twin(name, ESCAPES)
        try:
            outcomes.append((twin.unescape(text), twin.unescaped_size(text)))
        except BrokenEscape as error:
            outcomes.append((error.at, twin.unescaped_size(text)))

    assert outcomes[0] == outcomes[1]


@given(st.lists(st.sampled_from([b"%", b"%4", b"1", b"+", b"f", b"G", b"%0a", b"\xff"])))
def test_the_twins_agree_on_what_is_nearly_an_escape(parts: list[bytes]) -> None:
    test_the_twins_agree.hypothesis.inner_test(b"".join(parts))  # type: ignore[attr-defined]


@given(st.binary(max_size=80))
def test_what_was_escaped_comes_back(escapes: ModuleType, data: bytes) -> None:
    text = quote_plus(data).encode()

    assert data == escapes.unescape(text) == unquote_to_bytes(text.replace(b"+", b" "))
    assert len(data) == escapes.unescaped_size(text)


def test_a_text_of_another_type_is_refused(escapes: ModuleType) -> None:
    for text in (None, "a", 1):
        with pytest.raises((TypeError, AttributeError)):
            escapes.unescape(text)
        with pytest.raises((TypeError, AttributeError)):
            escapes.unescaped_size(text)


@pytest.mark.parametrize("unit", [b"%0a", b"%0aa", b"+", b"a", b"%0", b"%"])
def test_a_slice_takes_milliseconds(escapes: ModuleType, unit: bytes) -> None:
    text = unit * (escapes.SLICE // len(unit))
    best = 1.0
    for _ in range(5):
        began = time.thread_time()
        with suppress(BrokenEscape):
            escapes.unescape(text)
        escapes.unescaped_size(text)
        best = min(best, time.thread_time() - began)

    assert best < 0.1  # not optimised and watched, as for coverage, it takes ten times as long


def test_the_pure_twin_takes_over_where_the_compiled_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_twin("c", ESCAPES)
    for room, chooser, pure in (("web", "_escapes", "_escapes_py"), ("hub", "_pump", "_pump_py")):
        package = f"fastsse.broadcast.{room}"
        name = f"{package}.{chooser}"
        importlib.import_module(name)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, f"{name}_c", None)
            patch.setattr(sys.modules[package], chooser, sys.modules[name])  # to be put back
            patch.delitem(sys.modules, name, raising=False)
            chosen = importlib.import_module(name)
            twin = importlib.import_module(f"{package}.{pure}")

            assert all(getattr(chosen, it) is getattr(twin, it) for it in twin.__all__)
