"""The table of values and their JSON: one row for each kind that `fastsse._forms` knows.

Values of libraries that are not installed are left out, so the table is as long as what is here. Run as a program,
``python -m support.forms LIBRARY …`` it hides the named libraries, and prints what both twins write.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import importlib.util
import ipaddress
import json
import math
import pathlib
import sys
import types
import uuid
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["REFUSED", "VALUES"]

T = TypeVar("T")

ID = uuid.UUID("12345678-1234-5678-1234-56789ABCDEF0")
NOON = datetime.datetime(2026, 11, 30, 12)
EAST = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
ODD = datetime.timezone(-datetime.timedelta(minutes=19, seconds=32))


class Colour(enum.Enum):
    RED = "red"
    WHEN = NOON
    PAIR = (1, "a")


class Word(str, enum.Enum):  # noqa: UP042 (the older spelling of it)
    HI = "hi"


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.Flag):
    A = 1
    B = 2


class Spoken(str, enum.Enum):  # noqa: UP042
    """An enum whose members say something else than their value."""

    YES = "yes"

    def __str__(self) -> str:
        return "no"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Number(int):
    def __repr__(self) -> str:
        return "another number"


class Ratio(float):
    def __repr__(self) -> str:
        return "another ratio"


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Plain:
    a: int
    _hidden: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    when: datetime.date
    inner: Any = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Box(Generic[T]):
    value: T


@dataclasses.dataclass(init=False)
class Hollow:
    missing: int


class Attributes:
    """An object whose class is not known in any way."""


def _ordered() -> collections.OrderedDict[str, int]:
    found = collections.OrderedDict(a=1, b=2)
    found.move_to_end("a")
    return found


VALUES: dict[str, tuple[Any, str]] = {
    "datetime without an offset": (NOON, '"2026-11-30T12:00:00"'),
    "datetime in UTC": (NOON.replace(tzinfo=datetime.UTC), '"2026-11-30T12:00:00+00:00"'),
    "datetime with an offset": (
        NOON.replace(microsecond=5, tzinfo=EAST),
        '"2026-11-30T12:00:00.000005+05:30"',
    ),
    "datetime with an odd offset": (NOON.replace(tzinfo=ODD), '"2026-11-30T12:00:00-00:19:32"'),
    "datetime of an early year": (datetime.datetime(1, 1, 1), '"0001-01-01T00:00:00"'),
    "date": (datetime.date(2026, 1, 2), '"2026-01-02"'),
    "time": (datetime.time(1, 2, 3), '"01:02:03"'),
    "time with an offset": (datetime.time(1, 2, 3, tzinfo=EAST), '"01:02:03+05:30"'),
    "no time": (datetime.timedelta(), '"PT0S"'),
    "days": (datetime.timedelta(days=400), '"P400D"'),
    "a time before": (-datetime.timedelta(days=1, seconds=1), '"-P1DT1S"'),
    "all units": (
        datetime.timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=500_000),
        '"P1DT2H3M4.5S"',
    ),
    "UUID": (ID, '"12345678-1234-5678-1234-56789abcdef0"'),
    "Decimal": (decimal.Decimal("1.10"), '"1.10"'),
    "Decimal that is no number": (decimal.Decimal("NaN"), '"NaN"'),
    "Decimal with an exponent": (decimal.Decimal("1E+3"), '"1E+3"'),
    "enum": (Colour.RED, '"red"'),
    "enum of a datetime": (Colour.WHEN, '"2026-11-30T12:00:00"'),
    "enum of a tuple": (Colour.PAIR, '[1,"a"]'),
    "enum of str": (Word.HI, '"hi"'),
    "enum that speaks otherwise": (Spoken.YES, '"yes"'),
    "enum of int": (Level.LOW, "1"),
    "flags": (Bits.A | Bits.B, "3"),
    "str of a subclass": (Text("text"), '"text"'),
    "int of a subclass": (Number(7), "7"),
    "float of a subclass": (Ratio(0.5), "0.5"),
    "dict of a subclass": (collections.defaultdict(list, a=[1]), '{"a":[1]}'),
    "dict with an order of its own": (_ordered(), '{"b":2,"a":1}'),
    "mapping": (types.MappingProxyType({"a": NOON}), '{"a":"2026-11-30T12:00:00"}'),
    "named tuple": (Point(1, Point(2, None)), "[1,[2,null]]"),
    "deque": (collections.deque([1, 2], 5), "[1,2]"),
    "set of numbers": ({10, 9, 1.5}, "[1.5,9,10]"),
    "set of strings": (frozenset(["b", "a", "é"]), '["a","b","é"]'),
    "set of both": ({"b", 2, None, (1,)}, '["b",2,[1],null]'),
    "empty set": (set(), "[]"),
    "path": (pathlib.PurePosixPath("/a/b"), '"/a/b"'),
    "IP address": (ipaddress.ip_address("::1"), '"::1"'),
    "IP network": (ipaddress.ip_network("10.0.0.0/8"), '"10.0.0.0/8"'),
    "dataclass": (Plain(1, {2}), '{"a":1,"_hidden":[2]}'),
    "dataclass with slots": (
        Slotted(datetime.date(2026, 1, 2), [ID]),
        '{"when":"2026-01-02","inner":["12345678-1234-5678-1234-56789abcdef0"]}',
    ),
    "generic dataclass": (Box[Plain](Plain(1)), '{"value":{"a":1,"_hidden":null}}'),
    "dict of lists of dataclasses": ({"a": [Plain(1)]}, '{"a":[{"a":1,"_hidden":null}]}'),
    "int beyond 64 bits": ([2**64, -(2**70)], "[18446744073709551616,-1180591620717411303424]"),
    "no numbers": ([math.nan, -math.inf, Ratio("inf")], "[null,null,null]"),
    "floats": (
        [1e15, 1e16, 1.5e300, 1e-4, 1e-5, -1.25e-5, 1e-6, 5e-324, -0.0],
        "[1000000000000000.0,1e+16,1.5e+300,0.0001,0.00001,-0.0000125,1e-6,5e-324,-0.0]",
    ),
    "keys that are numbers": ({1: 1, 2.5: 2, 1e-7: 3}, '{"1":1,"2.5":2,"1e-7":3}'),
    "keys that are no numbers": (
        {math.nan: 1, math.inf: 2, -math.inf: 3},
        '{"NaN":1,"Infinity":2,"-Infinity":3}',
    ),
    "keys that are constants": ({True: 1, False: 2, None: 3}, '{"true":1,"false":2,"null":3}'),
    "keys that are enums": (
        {Colour.RED: 1, Word.HI: 2, Level.LOW: 3, Colour.WHEN: 4},
        '{"red":1,"hi":2,"1":3,"2026-11-30T12:00:00":4}',
    ),
    "keys that are dates": (
        {NOON: 1, NOON.date(): 2},
        '{"2026-11-30T12:00:00":1,"2026-11-30":2}',
    ),
    "keys with a text": (
        {ID: 1, decimal.Decimal("1.0"): 2, Text("t"): 3},
        '{"12345678-1234-5678-1234-56789abcdef0":1,"1.0":2,"t":3}',
    ),
}

REFUSED: dict[str, tuple[Any, str]] = {
    "bytes": (b"a", "JSON has no bytes: decode a bytes"),
    "bytearray": ([bytearray(b"a")], "JSON has no bytes: decode a bytearray"),
    "memoryview": ({"a": memoryview(b"a")}, "JSON has no bytes: decode a memoryview"),
    "object": (Attributes(), "Attributes: give a model"),
    "complex": (1j, "JSON has no form for complex"),
    "class": (Plain, "a class, such as Plain"),
    "generic alias": (list[int], "GenericAlias"),
    "generic alias of a dataclass": (Box[int], "GenericAlias"),
    "generator": ((n for n in ()), "JSON has no form for generator"),
    "key that is a tuple": ({(1, 2): 1}, "not tuple"),
    "key that is a named tuple": ({Point(1, 2): 1}, "Point"),
    "key that is bytes": ({b"a": 1}, "bytes"),
    "key that is a set": ({frozenset([1]): 1}, "not frozenset"),
    "key that is an object": ({Attributes(): 1}, "Attributes"),
    "dataclass with an object": (Box(Attributes()), "Attributes"),
    "dataclass without its value": (Hollow(), "a field of support.forms.Hollow has no value"),
}


def _has(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


if _has("pydantic"):
    import pydantic
    import pydantic.dataclasses

    class Message(pydantic.BaseModel):
        sent_at: datetime.datetime = pydantic.Field(NOON, alias="sentAt")
        price: decimal.Decimal = decimal.Decimal("1.10")
        note: Any = None

    class Names(pydantic.RootModel[list[str]]):
        pass

    class Page(pydantic.BaseModel, Generic[T]):
        item: T

    class Indented(pydantic.BaseModel):
        a: int = 1

        def model_dump_json(self, **options: Any) -> str:
            return super().model_dump_json(indent=1, **options)

    @pydantic.dataclasses.dataclass
    class Checked:
        a_b: int = pydantic.Field(alias="aB")

    MESSAGE = '{"sentAt":"2026-11-30T12:00:00","price":"1.10","note":null}'
    VALUES |= {
        "model": (Message(), MESSAGE),
        "models in containers": (
            {"a": [Message(), (Message(),)]},
            f'{{"a":[{MESSAGE},[{MESSAGE}]]}}',
        ),
        "model in a dataclass": (Box(Message()), f'{{"value":{MESSAGE}}}'),
        "model with a dataclass": (
            Message(note=Plain(1)),
            MESSAGE.replace("null", '{"a":1,"_hidden":null}'),
        ),
        "root model": (Names(["a", "é"]), '["a","é"]'),
        "generic model": (Page[Names](item=Names([])), '{"item":[]}'),
        "model that writes several lines": ([Indented()], '[{\n "a": 1\n}]'),
        "dataclass of pydantic": ([Checked(aB=1)], '[{"aB":1}]'),
        "URL": ({"a": pydantic.AnyUrl("http://a/b")}, '{"a":"http://a/b"}'),
        "secret": (pydantic.SecretStr("a"), '"**********"'),
        "URL of HTTP": (pydantic.HttpUrl("http://a/"), '"http://a/"'),
    }
    REFUSED |= {
        "class of models": (Message, "a class, such as Message"),
        "generic alias of a model": (Page[int], "a class, such as Page[int]"),
    }

if _has("msgspec"):
    import msgspec

    class Struct(msgspec.Struct, rename="camel", tag="s", tag_field="kind"):
        the_text: str
        when: Any = NOON
        unset: Any = msgspec.UNSET

    class Row(msgspec.Struct, array_like=True, tag=3):
        a: int
        b: Any = None

    class Brief(msgspec.Struct, omit_defaults=True, kw_only=True):
        a: int
        b: list[int] = []
        c: str = "c"
        d: dict[str, int] = msgspec.field(default_factory=dict)
        e: Any = None

    class Wide(msgspec.Struct, Generic[T]):
        item: T

    VALUES |= {
        "struct": (Struct("a"), '{"kind":"s","theText":"a","when":"2026-11-30T12:00:00"}'),
        "struct like an array": ([Row(1, {ID})], f'[[3,1,["{ID}"]]]'),
        "struct without its defaults": (
            [Brief(a=1), Brief(a=1, b=[2], e=0)],
            '[{"a":1},{"a":1,"b":[2],"e":0}]',
        ),
        "generic struct": (Wide[int](2**70), '{"item":1180591620717411303424}'),
        "dataclass with an unset field": (Box(msgspec.UNSET), "{}"),
    }
    REFUSED |= {"struct with bytes": (Wide(b"a"), "JSON has no bytes")}

if _has("pydantic") and _has("msgspec"):
    VALUES |= {"struct with a model": (Wide(Message()), f'{{"item":{MESSAGE}}}')}

if _has("attrs"):
    import attrs

    @attrs.define
    class Defined:
        a: Any
        _b: int = 2

    VALUES |= {"class of attrs": (Defined({NOON}), '{"a":["2026-11-30T12:00:00"],"_b":2}')}


def _print(hidden: list[str]) -> None:
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    from fastsse import _codec_py, _json, decode

    twins = [_codec_py]
    if importlib.util.find_spec("fastsse._codec_c"):
        twins.append(importlib.import_module("fastsse._codec_c"))
    found: dict[str, list[str]] = {}
    for name, (value, _) in VALUES.items():
        found[name] = [decode(twin.encode_json(value))[0].data for twin in twins]
    print(json.dumps([_json.LIBRARY, found]))


if __name__ == "__main__":
    _print(sys.argv[1:])
