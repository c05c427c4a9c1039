"""The chooser of the codec: the compiled twin when it can be imported, otherwise the pure one.

The environment variable FASTSSE_NO_EXTENSIONS=1 chooses the pure twin although the compiled one is
installed. Type checkers always see the pure twin, so there is no stub that could grow stale.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

__all__ = [
    "COMPILED",
    "DEFAULT_MAX_BLOCK_SIZE",
    "DEFAULT_MAX_EVENT_SIZE",
    "DEFAULT_MAX_LINE_SIZE",
    "MAX_RETRY",
    "BlockSplitter",
    "Decoder",
    "Event",
    "LineSplitter",
    "decode",
    "encode",
    "encode_comment",
    "encode_json",
    "encode_many",
]

COMPILED: bool  # True when the names here are those of the compiled twin

if TYPE_CHECKING:
    from fastsse._codec_py import (
        DEFAULT_MAX_BLOCK_SIZE,
        DEFAULT_MAX_EVENT_SIZE,
        DEFAULT_MAX_LINE_SIZE,
        MAX_RETRY,
        BlockSplitter,
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
        from fastsse._codec_c import (
            DEFAULT_MAX_BLOCK_SIZE,
            DEFAULT_MAX_EVENT_SIZE,
            DEFAULT_MAX_LINE_SIZE,
            MAX_RETRY,
            BlockSplitter,
            Decoder,
            Event,
            LineSplitter,
            decode,
            encode,
            encode_comment,
            encode_json,
            encode_many,
        )

        COMPILED = True
    except ImportError:
        from fastsse._codec_py import (
            DEFAULT_MAX_BLOCK_SIZE,
            DEFAULT_MAX_EVENT_SIZE,
            DEFAULT_MAX_LINE_SIZE,
            MAX_RETRY,
            BlockSplitter,
            Decoder,
            Event,
            LineSplitter,
            decode,
            encode,
            encode_comment,
            encode_json,
            encode_many,
        )

        COMPILED = False
