"""Chooser of the codec: the compiled twin, else the pure one.

FASTSSE_NO_EXTENSIONS=1 chooses the pure twin although the compiled one is installed. Type checkers always
see the pure twin, so there is no stub that could grow stale.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

__all__ = [
    "COMPILED",
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "Decoder",
    "Event",
    "LineSplitter",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
]

COMPILED: bool  # whether the names here are the compiled twin's

if TYPE_CHECKING:
    from fastsse._codec_py import (
        DEFAULT_MAX_EVENT_SIZE,
        DEFAULT_MAX_LINE_SIZE,
        MAX_RETRY,
        Decoder,
        Event,
        LineSplitter,
        decode,
        encode,
        encode_comment,
        encode_json,
        encode_many,
    )
else:
    try:
        if os.environ.get("FASTSSE_NO_EXTENSIONS", "0") not in ("", "0"):
            raise ImportError("extensions are switched off")
        from fastsse import _codec_c as _twin

        COMPILED = True
    except ImportError:
        from fastsse import _codec_py as _twin

        COMPILED = False
    for _name in __all__[1:]:
        globals()[_name] = getattr(_twin, _name)
    del _name, _twin
