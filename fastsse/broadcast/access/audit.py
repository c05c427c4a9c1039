"""The audit log: one line for each request that access control has let in, and for each that it has refused.

    allowed verb=publish subject="ann" topics="chat/1" remote="192.0.2.7:4711"
    allowed verb=revoke subject="root" topics="" of_subject="ann" remote="192.0.2.7:4713"
    denied reason=signature path="/events" remote="192.0.2.7:4712"
    denied reason=grant subject="eve" path="/events" remote="192.0.2.7:4714"

Lines go to the logger ``fastsse.broadcast.audit`` at INFO. Names of clients are JSON strings in ASCII, and are
shortened, so no name can end a line. No line has a token, a ticket or a key.

The module knows lines; it must not know grants.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from fastsse.asgi import Scope
from fastsse.errors import shorten

__all__ = ["note_allowed", "note_denied"]

_TOPICS = 5  # names that a line shows
_SHOWN = 64  # characters of a name

_log = logging.getLogger("fastsse.broadcast.audit")


def note_allowed(
    verb: str,
    subject: str | None,
    topics: Iterable[str],
    scope: Scope,
    of: Mapping[str, str | None] = MappingProxyType({}),
) -> None:
    """Write that a request was let in; `of` names those whom it concerns, by what they are."""
    if _log.isEnabledFor(logging.INFO):
        names = list(topics)
        shown = ",".join(shorten(name, _SHOWN) for name in names[:_TOPICS])
        more = f" more_topics={len(names) - _TOPICS}" if len(names) > _TOPICS else ""
        line = f"verb={verb} subject={_text(subject)} topics={_text(shown)}{more}{_named(of)}"
        _log.info("allowed %s remote=%s", line, _text(_remote(scope)))


def note_denied(reason: str, scope: Scope, subject: str | None = None) -> None:
    """Write that a request was refused, and whose it was, where that is known."""
    if _log.isEnabledFor(logging.INFO):
        whose = "" if subject is None else f" subject={_text(subject)}"
        path = _text(shorten(str(scope["path"]), _SHOWN))
        remote = _text(_remote(scope))
        _log.info("denied reason=%s%s path=%s remote=%s", reason, whose, path, remote)


def _named(of: Mapping[str, str | None]) -> str:
    given = [(kind, name) for kind, name in of.items() if name is not None]
    return "".join(f" of_{kind}={_text(shorten(name, _SHOWN))}" for kind, name in given)


def _text(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=True)


def _remote(scope: Scope) -> str | None:
    client = scope.get("client")
    if not client:
        return None
    host, *rest = map(str, client)
    port = [part for part in rest if part != "0"]  # 0: a proxy did not name it
    return shorten(":".join([f"[{host}]" if ":" in host and port else host, *port]), _SHOWN)
