"""The requests of operators: they end streams of others, and revoke tokens.

    DELETE /streams?subject=ann         and &topic=…, or topics alone; reason=… is optional
    POST /revocations?subject=ann       or ?jti=…, and no other; reason=… is optional

Both are answered with how many streams ended in this process; other processes of a shared store hear it by the log.

The module knows these requests; it must not know how streams end, nor how a token is checked.
"""

from __future__ import annotations

from collections.abc import Awaitable
from math import ceil
from typing import TYPE_CHECKING

from fastsse import InvalidField
from fastsse.broadcast.access.grants import Grant
from fastsse.broadcast.hub.hub import Hub, HubClosed, TooManyRevoked
from fastsse.broadcast.web.answers import json_answer, not_started
from fastsse.broadcast.web.body import append_failed, called_off
from fastsse.broadcast.web.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from fastsse.broadcast.access.guard import Guard

__all__ = ["Operators"]

_NO_ACCESS = "streams are ended by an operator, and there is none without keys"
_NAMES_SOME = "must name a subject or topics: subject, topic; reason is optional"
_NAMES_ONE = (
    "must name a subject or the jti of a token, and not both: subject, jti; reason is optional"
)
_FULL = (
    "too many tokens and subjects are revoked; give tokens a shorter time, and revoked_seconds, too"
)
_LATER = 60.0  # seconds until some entry of a full list may be over


class Operators:
    """The requests of operators to one hub.

    Args:
        hub: whose streams are ended.
        guard: says who is an operator.
    """

    def __init__(self, hub: Hub, guard: Guard) -> None:
        self._hub = hub
        self._guard = guard

    async def end_streams(self, request: Request) -> Response:
        """End streams of a subject, of topics, or both."""
        grant = await self._operator(request)
        given = request.query_params
        known = {"subject", "topic", "reason"}
        if not set(given) <= known or not set(given) & {"subject", "topic"} or _twice(request):
            raise Problem(400, _NAMES_SOME)
        topics = tuple(given.getlist("topic")) or None
        reason = given.get("reason", "revoked")
        subject = given.get("subject")
        ending = self._hub.end_streams(subject, topics, reason=reason)
        found = await self._outcome(ending)
        self._guard.note("end_streams", grant, topics or (), request.scope, subject=subject)
        return json_answer({"ended": found})

    async def revoke(self, request: Request) -> Response:
        """Take the tokens of a subject no more, or one token."""
        grant = await self._operator(request)
        given = request.query_params
        subject, jti = given.get("subject"), given.get("jti")
        if not set(given) <= {"subject", "jti", "reason"} or (subject is None) == (jti is None):
            raise Problem(400, _NAMES_ONE)
        if _twice(request):
            raise Problem(400, _NAMES_ONE)
        reason = given.get("reason", "revoked")
        found = await self._outcome(self._hub.revoke(subject=subject, jti=jti, reason=reason))
        self._guard.note("revoke", grant, (), request.scope, subject=subject, jti=jti)
        return json_answer({"ended": found})

    async def _operator(self, request: Request) -> Grant:
        """Return the grant of an operator, at a hub that is started.

        Raises:
            Problem: 401 or 403 for everybody else; 503.
        """
        if not self._guard.closed:
            raise Problem(403, _NO_ACCESS)
        self._guard.rates.bill(request.scope)
        grant = await self._guard.find(request.scope, "operate", ())
        self._guard.need_operator(grant)
        if not self._hub.started:
            raise not_started()
        return grant

    async def _outcome(self, doing: Awaitable[int]) -> int:
        """Wait until something is done.

        Raises:
            Problem: 400 for a field, 503 or 507 where the log cannot be told, or there is no room.
        """
        try:
            return await doing
        except InvalidField as error:
            raise Problem.of_invalid(error) from None
        except TooManyRevoked:
            raise Problem(503, _FULL, headers={"Retry-After": str(ceil(_LATER))}) from None
        except HubClosed:
            raise called_off("draining", self._hub.settings) from None
        except OSError as error:
            raise append_failed(error, self._hub.settings) from None


def _twice(request: Request) -> bool:
    """Return True when a field that may stand once is there again."""
    names = [name for name, _ in request.query_params.multi_items() if name != "topic"]
    return len(names) != len(set(names))
