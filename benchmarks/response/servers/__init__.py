"""The contenders: one answer to one request, as each library's own documentation streams it, under two servers."""

from __future__ import annotations

from benchmarks.load.servers import (
    Contender,
    describe_fastsse,
    needs_packages,
    run_granian,
    run_uvicorn,
    versions_of,
)

__all__ = ["CONTENDERS", "NAMES", "SERVERS"]

MODULES = "benchmarks.response.servers"
SERVERS = ("granian", "uvicorn")
NAMES = {  # the module of each, and the distributions that it needs beside the server's
    "floor": ("floor", ()),
    "fastsse": ("fastsse_app", ("starlette",)),
    "StreamingResponse": ("bare", ("starlette",)),
    "sse-starlette": ("sse_starlette_app", ("sse-starlette", "starlette")),
    "FastAPI": ("fastapi_app", ("fastapi",)),
    "Litestar": ("litestar_app", ("litestar",)),
}

_RUN = {"granian": run_granian, "uvicorn": run_uvicorn}
_NEEDED = {"granian": ("granian", "uvloop"), "uvicorn": ("uvicorn", "httptools", "uvloop")}


def _contender(name: str, server: str) -> Contender:
    module, own = NAMES[name]
    needed = (*own, *_NEEDED[server])
    version = describe_fastsse if name == "fastsse" else versions_of(*(own or (server,)))
    return Contender(
        f"{name}/{server}",
        _RUN[server](f"{MODULES}.{module}:app"),
        version,
        needs_packages(" ".join(needed), *needed),
    )


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for server in SERVERS
    for name in NAMES
    for contender in (_contender(name, server),)
}
