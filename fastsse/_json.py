"""JSON for the codec: orjson when importable, else msgspec, else the standard library, chosen once.

All three write compact UTF-8 on one line, so an encoder finds no line end in it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["LIBRARY", "dumps", "loads"]

LIBRARY: str

try:
    import orjson

    def dumps(obj: Any) -> bytes:
        return orjson.dumps(obj)

    def loads(text: str | bytes) -> Any:
        return orjson.loads(text)

    LIBRARY = "orjson"
except ImportError:
    try:
        import msgspec.json

        def dumps(obj: Any) -> bytes:
            return msgspec.json.encode(obj)

        def loads(text: str | bytes) -> Any:
            return msgspec.json.decode(text)

        LIBRARY = "msgspec"
    except ImportError:
        import json

        def dumps(obj: Any) -> bytes:
            return json.dumps(
                obj, ensure_ascii=False, allow_nan=False, separators=(",", ":")
            ).encode()

        def loads(text: str | bytes) -> Any:
            return json.loads(text)

        LIBRARY = "json"
