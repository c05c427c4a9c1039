"""JSON for the codec: orjson when it can be imported, otherwise msgspec, otherwise the standard library.

The choice is made once, at import. All three give one answer. A library writes JSON's own kinds of values. For
every other kind `fastsse._forms` is asked. A value that a library refuses, or would spell in its own way, is written by
`fastsse._forms` as a whole: the answer, or the exception, of `_forms` counts. So:

- JSON is written as compact UTF-8 on one line, without line ends; None is ``null``;
- NaN and the infinities are written as ``null``, as JavaScript's ``JSON.stringify`` does (orjson and
  msgspec cannot refuse them);
- models, dataclasses, dates and so on are written in the forms that `fastsse._forms` lists;
- everything that `json.loads` reads is read, and gives the same value: ``NaN``, ``Infinity`` and ``-Infinity``,
  which models and their servers do send, numbers that are too large for a float, integers of any size, lone
  surrogate escapes.

This module knows values and text; it must not know blocks or events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from fastsse import _forms
from fastsse._text import check_options, escape_line_separators, replace_surrogates
from fastsse.errors import InvalidField

__all__ = ["LIBRARY", "dumps", "dumps_mended", "dumps_replacing", "loads"]

# Floats in the spelling of `_forms.spelled`. Older versions of orjson, and msgspec, spell some of them otherwise.
_SPELLINGS = {1e16: b"1e+16", 1.5e-5: b"0.000015", 1e-6: b"1e-6", 1e-300: b"1e-300"}

# orjson reads an integer beyond 64 bits as a float. Such an integer has 19 digits or more, so three neighbours among
# every sixth character of the text are digits. Looking for them takes a fifth of the time that orjson takes.
_STRIDE = 6
_DIGITS_ALIKE = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
_LONG_INTEGER = re.compile(r"\d{19}", re.ASCII)


class _Library(NamedTuple):
    name: str
    encode: Callable[..., bytes]
    form: Any  # the two arguments that `encode` takes after the object
    options: Any
    decode: Callable[[str | bytes], Any]
    refusals: tuple[type[Exception], ...]  # exceptions after which the reference decides


def dumps(obj: Any) -> bytes:
    """Write `obj` as JSON.

    Raises:
        InvalidField: a string in it has lone surrogates.
        TypeError: JSON has no form for a value in it; the message names the type.
        ValueError: `obj` contains itself, or a model refuses to be written.
        RecursionError: `obj` is nested too deeply.
    """
    try:
        return encode_or_refuse(obj, form, options)
    except _refusals:
        return _encode_reference(obj)


def dumps_replacing(obj: Any) -> bytes:
    """Write `obj` as JSON, with U+FFFD for each lone surrogate.

    Raises:
        TypeError, ValueError, RecursionError: as `dumps`.
    """
    return replace_surrogates(_forms.write(obj)).encode()


def dumps_mended(obj: Any, surrogates: object, line_separators: object) -> bytes:
    """Write `obj` as JSON like `dumps`, with the options of `encode_json`.

    Raises:
        ValueError: an option is neither of its two words; also as `dumps`.
        InvalidField, TypeError, RecursionError: as `dumps`.
    """
    check_options(surrogates, line_separators)
    try:
        data = dumps(obj)
    except InvalidField:
        if surrogates != "replace":
            raise
        data = dumps_replacing(obj)
    return escape_line_separators(data) if line_separators == "escape" else data


def loads(text: str | bytes) -> Any:
    """Read JSON, with the values that `json.loads` gives.

    Raises:
        ValueError: `text` is not JSON (`json.JSONDecodeError`), or is nested too deeply.
    """
    if _ROUNDS:
        sample = text[::_STRIDE]
        sample = sample.encode("utf-8", "replace") if isinstance(sample, str) else bytes(sample)
        if b"000" in sample.translate(_DIGITS_ALIKE) and _has_long_integer(text):
            return _decode_reference(text)
    try:
        return _decode(text)
    except _refusals:
        return _decode_reference(text)


def _has_long_integer(text: str | bytes) -> bool:
    whole = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
    return _LONG_INTEGER.search(whole) is not None


def _encode_reference(obj: Any, _form: None = None, _options: None = None) -> bytes:
    try:
        return _forms.write(obj).encode()
    except UnicodeEncodeError as error:
        rule = "must not contain lone surrogates: they have no UTF-8"
        raise InvalidField("data", obj, rule) from error


def _encode_plain(obj: Any, encode: Callable[[Any], bytes], _options: None) -> bytes:
    """Write what `encode` writes as the reference does.

    Raises:
        TypeError: `obj` has other kinds of values.
    """
    if not _forms.is_plain(obj):
        raise TypeError("not plain")
    return encode(obj)


def _decode_reference(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _choose() -> _Library:
    try:
        import orjson
    except ImportError:
        pass
    else:
        return _orjson(orjson)
    try:
        msgspec: Any = import_module("msgspec")
        codec: Any = import_module("msgspec.json")
    except ImportError:
        return _Library("json", _encode_reference, None, None, _decode_reference, ())
    refusals = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
    return _Library("msgspec", _encode_plain, codec.encode, None, codec.decode, refusals)


def _orjson(orjson: Any) -> _Library:
    refusals = (TypeError, ValueError, RecursionError)
    if any(text != orjson.dumps(number) for number, text in _SPELLINGS.items()):
        return _Library("orjson", _encode_plain, orjson.dumps, None, orjson.loads, refusals)

    def simpler(obj: Any) -> Any:
        if hasattr(obj.__class__, "model_dump_json"):  # the most frequent kind, without a detour
            try:
                return orjson.Fragment(obj.model_dump_json(by_alias=True))
            except ValueError:
                pass
        found = _forms.simpler(obj)
        return orjson.Fragment(found.text) if type(found) is _forms.Raw else found

    options = (
        orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
        | orjson.OPT_PASSTHROUGH_SUBCLASS
    )
    return _Library("orjson", orjson.dumps, simpler, options, orjson.loads, refusals)


LIBRARY, encode_or_refuse, form, options, _decode, _refusals = _choose()
_ROUNDS = LIBRARY == "orjson"  # integers beyond 64 bits become floats
# `encode_or_refuse` is the library's own function where that serves. The compiled twin calls it with `form` and
# `options`, and calls `dumps` when it raises.
