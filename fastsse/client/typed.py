"""Events whose data is read as a model: msgspec, pydantic, dataclasses, plain JSON, text, or a function.

    model                               the data is read by
    msgspec.Struct                      msgspec.json
    pydantic.BaseModel, TypeAdapter     its own validation of JSON
    a dataclass                         json, and a check of each field's type
    str                                 nothing: the text as it is
    dict, list, int, float, bool        json, and a check of the type
    a function                          the function, which takes the text

Members that a dataclass does not have are passed over, so that a server may add some.

The module knows models and data; it must not know how events come.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fastsse import Event
from fastsse._json import loads
from fastsse.client.errors import BadData
from fastsse.errors import quote

__all__ = ["Reader", "reader", "readers"]

Reader = Callable[[Event], Any]

_PLAIN = (dict, list, int, float, bool)


def readers(models: Mapping[str, Any]) -> dict[str, Reader]:
    """Make a reader for each type of event.

    Raises:
        TypeError: a model of no known kind.
    """
    return {event: reader(model) for event, model in models.items()}


def reader(model: Any) -> Reader:
    """Make the function that reads an event's data as `model`; the function raises `BadData`.

    Raises:
        TypeError: a model of no known kind.
    """
    read = _parser(model)

    def read_event(event: Event) -> Any:
        try:
            return read(event.data)
        except Exception as error:
            raise BadData(event, model, str(error)) from error

    return read_event


def _parser(model: Any) -> Callable[[str], Any]:
    if model is str:
        return str
    for name in ("model_validate_json", "validate_json"):  # pydantic
        if callable(validate := getattr(model, name, None)):
            return validate  # type: ignore[no-any-return]
    if hasattr(model, "__struct_fields__"):
        msgspec: Any = import_module("msgspec.json")
        return msgspec.Decoder(model).decode  # type: ignore[no-any-return]
    if model in _PLAIN or dataclasses.is_dataclass(model) or get_origin(model) is not None:
        return lambda text: _as(model, loads(text), "data")
    if callable(model):
        return model  # type: ignore[no-any-return]
    raise TypeError(f"a model must be a class or a function, not {quote(model)}")


def _as(kind: Any, given: Any, where: str) -> Any:
    """Return a JSON value as a type: a dataclass is made of an object, in lists and dicts, too."""
    value: Any = given
    origin: Any = get_origin(kind) or kind
    inner: tuple[Any, ...] = get_args(kind)
    if origin is Any or origin is object:
        return value
    if dataclasses.is_dataclass(origin) and isinstance(origin, type):
        return _as_dataclass(origin, value, where)
    if (origin, type(value)) == (list, list):
        return [_as(inner[0], one, where) for one in value] if inner else value
    if (origin, type(value)) == (dict, dict):
        return {key: _as(inner[1], one, where) for key, one in value.items()} if inner else value
    if origin in (Union, UnionType, Literal):
        return _as_choice(inner, value, where)
    if origin is float and type(value) is int:
        return float(value)
    if type(value) is origin or value is origin is None:
        return value
    if inspect.isclass(origin) and origin not in (*_PLAIN, str):
        # Dates, and classes that are made of one value, as enums.
        kinds: Any = origin
        return getattr(kinds, "fromisoformat", kinds)(value)
    raise TypeError(f"{where} must be {getattr(kind, '__name__', kind)}, not {quote(value)}")


def _as_choice(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Return a value as the first type of a union that fits, or as one of the values of a Literal."""
    for kind in kinds:
        if kind is type(None) or kind is None:
            if value is None:
                return None
            continue
        if not isinstance(kind, type) and get_origin(kind) is None:  # of a Literal
            if kind == value:
                return value
            continue
        try:
            return _as(kind, value, where)
        except (TypeError, ValueError):
            continue
    raise TypeError(f"{where} is none of {', '.join(map(str, kinds))}: {quote(value)}")


def _as_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"{where} must be an object, not {quote(value)}")
    hints = get_type_hints(kind)
    fields = [one for one in dataclasses.fields(kind) if one.init]
    members = {
        one.name: _as(hints[one.name], value[one.name], f"{where}.{one.name}")
        for one in fields
        if one.name in value
    }
    for one in fields:
        absent = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if absent and one.name not in members:
            raise TypeError(f"{where}.{one.name} is missing")
    return kind(**members)
