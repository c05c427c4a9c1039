"""The chooser of the code that undoes percent-encoding: compiled, or pure.

The pure twin is taken where the codec is pure, and where this extension alone failed to compile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsse import COMPILED
from fastsse.broadcast.web._escapes_py import BrokenEscape

__all__ = ["SLICE", "BrokenEscape", "unescape", "unescaped_size"]

if TYPE_CHECKING or not COMPILED:
    from fastsse.broadcast.web._escapes_py import SLICE, unescape, unescaped_size
else:
    try:
        from fastsse.broadcast.web._escapes_c import SLICE, unescape, unescaped_size
    except ImportError:  # its compilation failed, unlike the codec's
        from fastsse.broadcast.web._escapes_py import SLICE, unescape, unescaped_size
