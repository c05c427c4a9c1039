"""The broadcast as an ASGI app: routes, headers, status codes.

    GET, HEAD /events     an event stream ┐ raw ASGI: no framework stands between
    POST /events          publish         │
    DELETE /events        end topics      ┘
    POST /tickets         a ticket for a stream, for a token
    everything else       see `rest`

Every request passes `Access` first, and then the `Guard`. Errors are JSON problems.

The app owns the hub's life. The lifespan starts and stops the hub. At SIGTERM or SIGINT the app ends every stream, and
every body that is still being read, because a server would wait for them without limit.

The module knows HTTP and the request's scope: which of the scope an open stream may let go, and whether a bypass is in
it. The module must not know positions, the history or how events are sent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, Literal, get_args

from starlette.applications import Starlette

from fastsse import InvalidField
from fastsse._signals import on_shutdown
from fastsse.asgi import Receive, Scope, Send
from fastsse.broadcast.access.audit import note_denied
from fastsse.broadcast.access.grants import Grant, Verb
from fastsse.broadcast.access.guard import Guard
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.access.own import May
from fastsse.broadcast.access.proxies import Proxies
from fastsse.broadcast.hub.bypass import BYPASS
from fastsse.broadcast.hub.hub import Hub
from fastsse.broadcast.hub.refusal import Refusal
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.process import heed_one_sigterm
from fastsse.broadcast.rest import EVENTS, TICKETS, Rest, route_path
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.answers import (
    json_answer,
    no_path,
    not_started,
    our_fault,
)
from fastsse.broadcast.web.bodies import Bodies
from fastsse.broadcast.web.ending import end_by_query
from fastsse.broadcast.web.fields import Allow, Charge
from fastsse.broadcast.web.headers import header_once
from fastsse.broadcast.web.openapi import Facts
from fastsse.broadcast.web.problems import Problem
from fastsse.broadcast.web.publishing import publish
from fastsse.broadcast.web.query import read_terms, terms_of_request
from fastsse.errors import SettingError

__all__ = ["Broadcast", "KeepScope", "create_app"]

KeepScope = Literal["all", "path", "nothing"]

_LONGEST_PATH = 256  # characters: no path of ours is so long
_SHORT = 256  # bytes of a query whose meaning is kept
_QUOTAS = ("rate", "subject", "address")  # refusals that concern their reader alone
_KNOWN = 256  # queries whose meaning is kept


def create_app(
    settings: Settings | None = None,
    hub: Hub | None = None,
    *,
    keep_scope: KeepScope = "all",
    may: May | None = None,
) -> Broadcast:
    """Make the broadcast, to be served or mounted.

    Args:
        settings: the knobs; when None, those of the hub, or the defaults.
        hub: the hub whose events are served; when None, a new one over the store that the settings name.
        keep_scope: see `Broadcast`.
        may: says what a request without a token may do; see `access.own`.

    Raises:
        SettingError: an origin, a host, a key or a store that cannot be one, or another `keep_scope`.
        ImportError: the store's driver is not installed.
    """
    if hub is None:
        hub = Hub(settings)
    return Broadcast(hub.settings if settings is None else settings, hub, keep_scope, may)


class Broadcast:
    """The ASGI app: one app, one hub, one event loop.

    Args:
        settings: the knobs.
        hub: the hub whose events are served.
        keep_scope: how much of the request's scope is kept while its stream is open. A scope takes 2 to 4 KiB, for as
            long as the stream lasts.
            ``all``: everything, because middlewares around the app may read the scope after the stream has ended.
            ``path``: everything but the request's headers. For an app without middlewares around it, whose server still
            reads the path and the client's address, for its access log.
            ``nothing``: for an app without middlewares whose server does not look at the scope again. Granian without
            an access log is such a server.
        may: says what a request without a token may do; see `access.own`.

    Attributes:
        settings: the knobs.
        hub: the hub whose events are served.
        keep_scope: as given.

    Raises:
        SettingError: an origin, a host or a key that cannot be one, or another `keep_scope`.
    """

    def __init__(
        self, settings: Settings, hub: Hub, keep_scope: KeepScope = "all", may: May | None = None
    ) -> None:
        if keep_scope not in get_args(KeepScope):
            allowed = ", ".join(get_args(KeepScope))
            raise SettingError(f"keep_scope {keep_scope!r}: must be one of {allowed}")
        self.settings = settings
        self.hub = hub
        self.keep_scope = keep_scope
        self._access = Access(settings)
        self._proxies = Proxies(settings)
        self._guard = Guard(settings, self._access, hub.stats, may=may, revoked=hub.revoked)
        # Many readers send one query.
        self._read_known = lru_cache(maxsize=_KNOWN)(self._read_query)
        self._bodies = Bodies(settings, hub.stats)
        self._loop: asyncio.AbstractEventLoop | None = None  # that `lifespan` was last entered on
        self._entered = 0  # how many blocks of `lifespan` are open there
        self._starts = True  # the hub was started here, and is to be stopped here
        self._forget_signal: Callable[[], None] = _nothing
        asked = may is not None or settings.may != "none"
        facts = Facts(settings, self._guard.closed, bool(settings.keys), asked)
        self._rest = Rest(hub, self._access, self._guard, facts, self._lifespan)
        self._web = self._access.wrap(self._rest.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, send)

    def _answer(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return the awaitable that answers a request.

        This is no coroutine, because a coroutine would hold the request for as long as its stream is open.
        """
        if scope["type"] != "http":
            return self._rest.app(scope, receive, send)
        if self._proxies.trusted:
            scope["client"] = self._proxies.client(scope)
        path = route_path(scope)
        try:
            self._access.check(scope)
        except Problem as problem:
            return self._rest.stranger(problem, path, scope)(scope, receive, send)
        if path == EVENTS:
            if scope["method"] in ("GET", "HEAD"):
                if self._guard.settled(scope):
                    return self._stream(scope, receive, send)
                return self._stream_later(scope, receive, send)
            if scope["method"] in ("POST", "DELETE"):
                return self._change(scope, receive, send)
        if path == TICKETS and scope["method"] == "POST":
            return self._issue(scope, receive, send)
        if len(path) > _LONGEST_PATH:  # the file system would be asked about each of its parts
            answer = self._rest.refuse(no_path(path), scope, self._access.headers(scope))
            return answer(scope, receive, send)
        if path == "*" and scope["method"] == "OPTIONS":  # about the server itself
            return self._rest.probe(scope)(scope, receive, send)
        if scope.get("root_path", "").endswith("/"):  # the router knows no such place
            scope["root_path"] = scope["path"].removesuffix(path)
        return self._web(scope, receive, send)

    # The operators' port.

    def keep_numbers_apart(self) -> None:
        """Tell `/metrics` and the numbers of `/health` to those alone who ask `tell_operator`."""
        self._rest.keep_numbers_apart()

    async def tell_operator(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for `/health` or `/metrics`, as an ASGI app for a port that operators alone can reach."""
        await self._rest.tell_operator(scope, receive, send)

    # The hub's life.

    def drain(self) -> None:
        """Begin to end every stream and every body that is being read, and refuse new ones. Call it on the loop."""
        self.hub.drain()
        self._bodies.close()

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Start the hub, and stop it in the end: ``async with app.lifespan():``.

        A server enters the lifespan of the app that it runs. An application that mounts this app enters it in its own
        lifespan, because the lifespan of a mounted app is never run. Blocks may lie within each other and follow each
        other: the first one starts the hub, and the last one to end stops it. A hub that was started elsewhere is left
        running.

        Raises:
            OSError: the store cannot be opened, or not be closed properly.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # blocks on a loop that was closed count no more
            self._loop, self._entered, self._forget_signal = loop, 0, _nothing
        if not self._entered:
            self._starts = not self.hub.started
        self._entered += 1
        try:
            await self.hub.start()
            if self._forget_signal is _nothing:
                self._forget_signal = on_shutdown(self.drain)
            yield
        finally:
            self._entered -= 1
            if not self._entered:
                await self._end()

    async def _end(self) -> None:
        self._forget_signal()
        self._forget_signal = _nothing
        self._bodies.close()
        if self._starts:
            await self.hub.stop()

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None, None]:
        async with self.lifespan():
            yield

    # GET /events

    async def _stream_later(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a reader whose grant somebody has to be asked for."""
        try:
            self._access.check_reader(scope)
            asked = self._read_query(scope["query_string"])
            grant = await self._guard.find(scope, "subscribe", asked.topics, tickets=True)
        except (Problem, InvalidField) as error:
            headers = self._access.headers(scope)
            answer = self._rest.refuse(Problem.of_error(error), scope, headers)
            await answer(scope, receive, send)
            return
        await self._stream(scope, receive, send, grant)

    def _stream(
        self, scope: Scope, receive: Receive, send: Send, grant: Grant | None = None
    ) -> Awaitable[None]:
        headers = self._access.headers(scope)
        try:
            self._access.check_reader(scope)
            if grant is None:
                grant = self._guard.grant(scope, tickets=True)
            query = scope["query_string"]
            known = len(query) <= _SHORT and b"ticket=" not in query
            asked = self._read_known(query) if known else self._read_query(query)
            self._guard.need_stream(grant, asked)
            sent = header_once(scope, b"last-event-id")
            if not (self.hub.started or self.hub.draining):
                raise not_started()
        except (Problem, InvalidField) as error:
            return self._rest.refuse(Problem.of_error(error), scope, headers)(scope, receive, send)
        terms = self._guard.put_into(terms_of_request(asked, sent, scope), grant)
        refusal = self.hub.refusal(terms)
        if refusal is None and self._guard.rates.opens_too_often(terms):
            refusal = Refusal.of("rate", self.hub.settings)
        if refusal is not None:
            self.hub.stats.refused[refusal.reason] += 1
            if refusal.reason in _QUOTAS:
                note_denied(refusal.reason, scope, terms.subject)
            return refusal.tell(scope, send, self.hub.settings.turn_away, headers)
        if scope["method"] == "HEAD":
            return self.hub.answer_head(terms, send, headers)
        self._guard.spend(scope)
        self._guard.note("subscribe", grant, terms.topics, scope)
        outer = scope.get(BYPASS)
        self._let_go(scope)
        return self.hub.converse(terms, receive, send, headers, outer, asked=True)

    async def _issue(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a ticket."""
        headers = self._access.headers(scope)
        try:
            self._guard.rates.bill(scope)
            terms = self._read_query(scope["query_string"])
            answer = json_answer(await self._guard.issue(scope, terms))
            answer.raw_headers += headers
        except (Problem, InvalidField) as error:
            answer = self._rest.refuse(Problem.of_error(error), scope, headers)
        await answer(scope, receive, send)

    def _read_query(self, query: bytes) -> Terms:
        return read_terms(query, self.settings)

    def _let_go(self, scope: Scope) -> None:
        """Empty the scope as far as `keep_scope` allows."""
        if self.keep_scope == "nothing":
            scope.clear()
        elif self.keep_scope == "path":
            headers, scope["headers"] = scope["headers"], []
            # Cleared in place, too, because uvicorn's connection keeps this list while the stream lasts.
            if isinstance(headers, list):
                headers.clear()

    # POST and DELETE /events

    async def _change(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._access.headers(scope)
        try:
            bill = self._guard.rates.bill(scope)
            verb: Verb = "end" if scope["method"] == "DELETE" else "publish"
            allow = await self._guard.allower(scope, verb, bill)
            if not self.hub.started:
                raise not_started()
            response = json_answer(await self._publish_or_end(scope, receive, allow, bill.charge))
            response.raw_headers += headers
        except (Problem, InvalidField) as error:
            response = self._rest.refuse(Problem.of_error(error), scope, headers)
        except Exception:
            await self._rest.refuse(our_fault(), scope, headers)(scope, receive, send)
            raise  # for the server's log
        await response(scope, receive, send)

    async def _publish_or_end(
        self, scope: Scope, receive: Receive, allow: Allow, charge: Charge
    ) -> dict[str, object]:
        if scope["method"] == "DELETE":
            return await end_by_query(self.hub, scope["query_string"], allow)
        with self._bodies.reading(scope, receive) as body:
            if self.hub.draining:
                body.close()
            return await publish(self.hub, scope, body, self._bodies, allow, charge)


def _nothing() -> None:
    pass


if TYPE_CHECKING:
    app: Broadcast  # from the environment: for `granian --interface asgi fastsse.broadcast.app:app`
else:

    def __getattr__(name: str) -> Any:
        """Make `app` when it is asked for, so that a bad setting is an error where the server loads it."""
        if name != "app":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        made = create_app(Settings.load(), keep_scope="path")
        if "granian" in sys.modules and parent_process() is not None:
            heed_one_sigterm(asyncio.get_event_loop())  # the worker's; it does not run yet
        globals()["app"] = made
        return made
