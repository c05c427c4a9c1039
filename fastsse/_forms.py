"""Forms: the one JSON text of each kind of value that an application yields.

The fast JSON libraries differ in the kinds that they know, and in how they write them. So the kinds that are not JSON's
own are described here, once, and every library is told to ask:

    models (`model_dump_json`: pydantic)    their own JSON, by alias, taken as it is
    pydantic's dataclasses                  their own JSON, by alias
    dataclasses, attrs classes              an object of all fields
    msgspec's structs                       as msgspec has it: renamed fields, tag, array_like, omit_defaults, UNSET
    enums                                   their value
    datetime, date, time                    ISO 8601, the offset as given: "2026-11-30T12:00:00+00:00"
    timedelta                               ISO 8601: "P1DT2H3M4.5S"
    UUID, Decimal, paths, IP addresses      their text; so a Decimal keeps its digits
    sets                                    arrays, in order: numbers and strings by value, others by their text
    named tuples, deques, mappings          arrays and objects
    NaN, infinities                         null; "NaN" as a key

A key is text: that of a str, number, enum, datetime, UUID and so on; ``true``, ``false``, ``null``. Bytes are refused,
because JSON has none. Subclasses of str, int, float, list and dict are written as what they are made of.

`write` is the reference, in plain Python: what a library refuses is written here. No library is imported, nor are the
modules of these kinds: a kind is known by the attributes of its class, or by the name of one of its base classes.

The module knows values and JSON; it must not know libraries, blocks or events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from json.encoder import encode_basestring
from typing import Any, NamedTuple, cast

__all__ = ["Raw", "is_plain", "simpler", "spelled", "write"]

Put = Callable[[str], object]

_LEAST, _MOST = 1e-4, 1e16  # floats between them are spelled without an exponent, everywhere


_class: Callable[[object], Any] = type  # a class that may have any attribute, to type checkers


class Raw(NamedTuple):
    """JSON that is written already."""

    text: str


def write(obj: Any) -> str:
    """Write `obj` as compact JSON, which has no line ends unless a model's own JSON has some.

    Raises:
        TypeError: JSON has no form for a value in `obj`, or for a key.
        ValueError: `obj` contains itself.
        RecursionError: `obj` is nested too deeply.
    """
    parts: list[str] = []
    _write(obj, parts.append, set())
    return "".join(parts)


def _write(obj: Any, put: Put, around: set[int]) -> None:
    """Write one value. `around` has the ids of the containers around it."""
    kind = _class(obj)
    if kind is str:
        put(encode_basestring(obj))
    elif obj is None:
        put("null")
    elif kind is bool:
        put("true" if obj else "false")
    elif kind is int:
        put(int.__repr__(obj))
    elif kind is float:
        put(spelled(obj) if obj - obj == 0 else "null")
    elif kind is Raw:
        put(obj.text)
    elif id(obj) in around:
        raise ValueError(f"a {kind.__name__} contains itself: JSON has no form for that")
    else:
        around.add(id(obj))
        if kind is dict:
            _write_object(obj, put, around)
        elif kind is list or kind is tuple:
            _write_array(obj, put, around)
        else:
            _write(simpler(obj), put, around)
        around.discard(id(obj))


def _write_object(obj: dict[Any, Any], put: Put, around: set[int]) -> None:
    lead = "{"
    for key, value in obj.items():
        put(f"{lead}{encode_basestring(key if type(key) is str else _key(key))}:")
        _write(value, put, around)
        lead = ","
    put("}" if obj else "{}")


def _write_array(obj: Iterable[Any], put: Put, around: set[int]) -> None:
    lead = "["
    for value in obj:
        put(lead)
        _write(value, put, around)
        lead = ","
    put("]" if lead == "," else "[]")


def spelled(number: float) -> str:
    """Write a finite float: the shortest digits that read back the same, an exponent below 1e-5 and from 1e16 on."""
    text = float.__repr__(number)
    if "e-0" not in text:
        return text
    digits, _, exponent = text.partition("e-0")
    if exponent != "5":
        return f"{digits}e-{exponent}"
    sign = "-" if digits[0] == "-" else ""
    return f"{sign}0.0000{digits.removeprefix('-').replace('.', '')}"


def _key(key: object) -> str:
    """Write the key of an object as text."""
    name = _name(key)
    if isinstance(key, Enum):
        return _key(key.value)
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return _float_key(key)
    simple = () if isinstance(key, tuple) else _simpler_by_name(key)
    if not isinstance(simple, str):
        raise TypeError(
            f"a key in JSON must be str, a number, an enum, a date or a UUID, not {name}"
        )
    return simple


def _float_key(key: float) -> str:
    if key != key:
        return "NaN"
    if key - key:
        return "Infinity" if key > 0 else "-Infinity"
    return spelled(key)


def is_plain(obj: Any) -> bool:
    """Return True for what every library writes alike: JSON's own kinds, floats without an exponent.

    Raises:
        RecursionError: `obj` is nested too deeply, or contains itself.
    """
    kind = _class(obj)
    if kind is str or kind is int or kind is bool or obj is None:
        return True
    if kind is float:
        return bool(obj == 0 or _LEAST <= abs(obj) < _MOST)
    if kind is dict:
        return all(type(key) is str and is_plain(value) for key, value in obj.items())
    return (kind is list or kind is tuple) and all(map(is_plain, obj))


# Values that are not JSON's own.


def simpler(obj: object) -> Any:
    """Return what is written in place of `obj`: a value of JSON's own kinds, whose parts may need this again, or Raw.

    Raises:
        TypeError: JSON has no form for `obj`.
    """
    if isinstance(obj, Enum):
        value: Any = obj.value
        return value
    kind: type = type(obj)
    for mark, form in _FORMS_BY_MARK.items():
        if hasattr(kind, mark):
            return form(obj)
    return _simpler_by_name(obj)


def _simpler_by_name(obj: object) -> Any:
    for base in type(obj).__mro__:
        form = _FORMS_BY_NAME.get(f"{base.__module__}.{base.__qualname__}")
        if form is not None:
            return form(obj, base)
    if isinstance(obj, Mapping):
        return dict(cast("Any", obj))
    raise TypeError(_refusal(obj))


def _refusal(obj: object) -> str:
    name = _name(obj)
    if isinstance(obj, (bytes, bytearray, memoryview)):
        return f"JSON has no bytes: decode a {name}, or write it in base64"
    if isinstance(obj, type):
        return f"JSON has no form for a class, such as {obj.__qualname__}: make an object of it"
    return f"JSON has no form for {name}: give a model, a dataclass or a value of JSON's own kinds"


def _name(obj: object) -> str:
    kind: type = type(obj)
    known = kind.__module__ == "builtins"
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


# Classes that are known by an attribute.


def _model(obj: Any) -> Any:
    """Return a model's own JSON; where it cannot be UTF-8, because of half a surrogate pair, the model's values."""
    try:
        return Raw(obj.model_dump_json(by_alias=True))
    except ValueError:
        return obj.model_dump(mode="json", by_alias=True)


def _pydantic_dataclass(obj: Any) -> Any:
    kind = _class(obj)
    serializer = kind.__pydantic_serializer__
    try:
        return Raw(serializer.to_json(obj, by_alias=True).decode())
    except ValueError:
        return serializer.to_python(obj, mode="json", by_alias=True)


def _struct(obj: Any) -> Any:
    """Return what msgspec writes for a struct."""
    kind = _class(obj)
    config: Any = kind.__struct_config__
    values: list[Any] = [getattr(obj, name) for name in kind.__struct_fields__]
    tagged = config.tag_field is not None
    if config.array_like:
        return [config.tag, *values] if tagged else values
    found: dict[str, Any] = {config.tag_field: config.tag} if tagged else {}
    names: tuple[str, ...] = kind.__struct_encode_fields__
    defaults: tuple[Any, ...] = kind.__struct_defaults__ if config.omit_defaults else ()
    first = len(values) - len(defaults)  # that may have a default
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        omitted = index >= first and _is_default(value, defaults[index - first])
        if not omitted and not _is_unset(value):
            found[name] = value
    return found


def _is_default(value: Any, default: Any) -> bool:
    if value is default:
        return True
    factory = getattr(default, "factory", None)
    return factory in (list, dict, set) and type(value) is factory and not value


def _is_unset(value: Any) -> bool:
    return type(value).__name__ == "UnsetType" and _name(value).startswith("msgspec.")


def _attrs(obj: Any) -> Any:
    kind = _class(obj)
    return _object(obj, [attribute.name for attribute in kind.__attrs_attrs__])


def _dataclass(obj: Any) -> Any:
    from dataclasses import fields

    return _object(obj, [field.name for field in fields(obj)])


def _object(obj: Any, names: list[str]) -> dict[str, Any]:
    try:
        found = {name: getattr(obj, name) for name in names}
    except AttributeError as error:
        raise TypeError(f"a field of {_name(obj)} has no value: {error}") from error
    return {name: value for name, value in found.items() if not _is_unset(value)}


_FORMS_BY_MARK: dict[str, Callable[[Any], Any]] = {
    "model_dump_json": _model,
    "__pydantic_serializer__": _pydantic_dataclass,
    "__struct_fields__": _struct,
    "__attrs_attrs__": _attrs,
    "__dataclass_fields__": _dataclass,
}

# Classes that are known by the name of one of their bases.


def _isoformat(obj: Any, base: Any) -> str:
    text: str = base.isoformat(obj)
    return text


def _text(obj: Any, _base: Any) -> str:
    return str(obj)


def _list(obj: Any, _base: Any) -> list[Any]:
    return list(obj)


def _members(obj: Any, _base: Any) -> list[Any]:
    """Return the members of a set, in an order that does not change from process to process."""
    kinds: set[type] = {type(member) for member in obj}
    if kinds <= {str}:
        return sorted(obj)
    if kinds <= {int, float} and all(member == member for member in obj):
        return sorted(obj)
    return sorted(obj, key=write)


def _duration(obj: Any, _base: Any) -> str:
    """Write a timedelta as ISO 8601 has it: days, hours, minutes and seconds, of which zeros are left out."""
    microseconds = (obj.days * 86400 + obj.seconds) * 10**6 + obj.microseconds
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 10**6)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    time = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    if seconds or fraction or not (days or time):
        digits = f".{fraction:06}".rstrip("0") if fraction else ""
        time += f"{seconds}{digits}S"
    return f"{sign}P{f'{days}D' if days else ''}{f'T{time}' if time else ''}"


_FORMS_BY_NAME: dict[str, Callable[[Any, Any], Any]] = {
    "builtins.str": lambda obj, _base: str.__str__(obj),
    "builtins.int": lambda obj, _base: int.__index__(obj),
    "builtins.float": lambda obj, _base: float.__float__(obj),
    "builtins.dict": lambda obj, _base: dict(obj.items()),
    "builtins.list": _list,
    "builtins.tuple": _list,
    "builtins.set": _members,
    "builtins.frozenset": _members,
    "collections.deque": _list,
    "datetime.datetime": _isoformat,
    "datetime.date": _isoformat,
    "datetime.time": _isoformat,
    "datetime.timedelta": _duration,
    "decimal.Decimal": _text,
    "ipaddress._IPAddressBase": _text,
    "pathlib.PurePath": _text,
    "pathlib._local.PurePath": _text,  # Python 3.13
    "pydantic.networks.AnyUrl": _text,
    "pydantic.types.SecretStr": _text,  # asterisks
    "pydantic_core._pydantic_core.MultiHostUrl": _text,  # before pydantic 2.10
    "pydantic_core._pydantic_core.Url": _text,
    "uuid.UUID": _text,
}
