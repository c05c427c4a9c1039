"""The live page as files: where they lie, which type each has, and the headers that keep the page to itself.

The module knows files and headers; it must not know the hub or the app's other routes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from fastsse.asgi import Scope

__all__ = ["PAGE_HEADERS", "PageFiles", "index_page"]

PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Over plain HTTP and a public name Chromium ignores this header and says so in its console. The header stays all
    # the same: where a proxy in front speaks TLS, only the proxy knows.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}

_PAGE = Path(__file__).parent.parent / "page"
# Fixed, because what a system knows of ".js" varies, and `nosniff` makes browsers insist on the type.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


class PageFiles(StaticFiles):
    """The files of the page, for a `Mount`."""

    def __init__(self) -> None:
        super().__init__(directory=_PAGE)

    def get_path(self, scope: Scope) -> str:
        """Return the file that a path names, wherever the app is mounted, and whoever has cut that place off."""
        name: str = scope["path"].rpartition("/page/")[2]
        return os.path.normpath(os.path.join(*name.split("/")))

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with a file, its fixed type and the page's headers."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(PAGE_HEADERS)
        kind = _MEDIA_TYPES.get(Path(full_path).suffix)
        if kind is not None:
            response.headers["content-type"] = kind
        return response


def index_page() -> Response:
    """Answer with the page itself."""
    kind = _MEDIA_TYPES[".html"]
    return FileResponse(_PAGE / "index.html", headers=PAGE_HEADERS, media_type=kind)
