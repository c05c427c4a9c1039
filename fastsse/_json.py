"""JSON for the codec: orjson when importable, else msgspec, else the standard library, chosen once.

The standard library is the reference and the others make it fast: what they refuse is tried again with
it, and its answer and its exceptions count. So all three agree:

- compact UTF-8 on one line, in which an encoder finds no line end; None is ``null``;
- NaN and the infinities are written as ``null``, as JavaScript's ``JSON.stringify`` does (orjson and
  msgspec cannot refuse them), and their names are refused when read;
- keys that are numbers, integers of any size, named tuples, lone surrogate escapes when read.

They differ in what the standard library does not write at all (dataclasses, datetimes, UUIDs, enums,
and msgspec's base64 for bytes), in how a float is spelt (``1e16``, ``1e+16``), and in one value: orjson
reads an integer beyond 64 bits as a float.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from fastsse.errors import InvalidField

__all__ = ["LIBRARY", "dumps", "loads"]


class _Library(NamedTuple):
    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[str | bytes], Any]
    refusals: tuple[type[Exception], ...]  # what it raises when the reference must decide


def dumps(obj: Any) -> bytes:
    """Write `obj` as JSON.

    Raises:
        InvalidField: a string in it has lone surrogates.
        TypeError, ValueError, RecursionError: the standard library's, for what cannot be written.
    """
    try:
        return encode_or_refuse(obj)
    except _refusals:
        return _encode_reference(obj)


def loads(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        ValueError: it is not JSON (`json.JSONDecodeError`), or nested too deeply.
    """
    try:
        return _decode(text)
    except _refusals:
        return _decode_reference(text)


def _encode_reference(obj: Any) -> bytes:
    try:
        text = _write(obj)
    except ValueError:  # a circular reference, refused again; or a float that is no number
        text = _write(json.loads(json.dumps(obj), parse_constant=_null))
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        rule = "must not contain lone surrogates: they have no UTF-8"
        raise InvalidField("data", obj, rule) from error


def _write(obj: Any) -> str:
    return json.dumps(obj, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _decode_reference(text: str | bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _null(_name: str) -> None:
    """What NaN and the infinities become."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _choose() -> _Library:
    try:
        import orjson
    except ImportError:
        pass
    else:
        return _Library("orjson", orjson.dumps, orjson.loads, (TypeError, ValueError))
    try:
        msgspec: Any = import_module("msgspec")
        codec: Any = import_module("msgspec.json")
    except ImportError:
        return _Library("json", _encode_reference, _decode_reference, ())
    refusals = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
    return _Library("msgspec", codec.encode, codec.decode, refusals)


LIBRARY, encode_or_refuse, _decode, _refusals = _choose()
# `encode_or_refuse` is the library's own: for the compiled twin, which turns to `dumps` when it raises.
