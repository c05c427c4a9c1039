"""The conftest of aiohttp-sse-client's suite, which asks a public server for the resources of the web platform tests.

A server on this machine stands for that one. The resources answer as the tests of the suite, and those of the platform
that they were written after, expect.
"""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_LINES = (
    b"data:msg\ndata:msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n"
)
_STEPS = (b"retry: 2\ndata: opened\n\n", b"data: reconnected\n\n")  # of reconnect-fail.py; then 204
_seen: dict[str, int] = {}  # how often each address was asked for


class _Resources(BaseHTTPRequestHandler):
    """Answers by the last part of the path."""

    def do_GET(self) -> None:
        """Answer one request."""
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        before = _seen.get(self.path, 0)
        _seen[self.path] = before + 1
        resource = parts.path.rpartition("/")[2]
        if resource == "redirect.py":
            self._answer(int(query["status"]), headers={"Location": query["location"]})
        elif resource == "status-error.py":
            self._answer(int(query["status"]), b"data: data\n\n")
        elif resource == "reconnect-fail.py":
            status = 200 if before < len(_STEPS) else 204
            self._answer(status, _STEPS[before] if status == 200 else b"")
        else:
            time.sleep(int(query.get("sleep", "0")) / 1000)
            self._answer(200, self._body(resource, query, before))

    do_POST = do_GET

    def _body(self, resource: str, query: dict[str, str], before: int) -> bytes:
        if resource == "message2.py":
            return _LINES
        if resource == "last-event-id.py":
            place = self.headers.get("Last-Event-ID", "")
            if place:
                return b"data: " + place.encode("latin-1") + b"\n\n"
            return f"id: {query.get('idvalue', '…')}\nretry: 200\ndata: hello\n\n".encode()
        if resource.endswith(".event_stream"):
            field = resource.removesuffix(".event_stream")
            return f"data: {self.headers[field]}\n\n".encode()
        if "ok_first" in query and not before:
            return b"data: ok\n\n"
        return f"{query.get('message', 'data: data')}\n\n".encode()

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/event-stream", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if status not in (204, 205):
            self.wfile.write(body)

    def log_message(self, *_given: object) -> None:
        """Be quiet."""


_server = ThreadingHTTPServer(("127.0.0.1", 0), _Resources)
threading.Thread(target=_server.serve_forever, daemon=True).start()
os.environ["WPT_SERVER"] = f"http://127.0.0.1:{_server.server_port}/eventsource/"
