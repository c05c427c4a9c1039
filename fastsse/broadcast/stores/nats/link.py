"""Connections to NATS: servers, credentials, TLS, and the requests of JetStream's API.

A `Link` is one connection that is never mended: when contact is lost the store takes another link, and asks there where
the log stands. nats-py would reconnect by itself and send again what it held, and nobody could tell what became of it.

The module knows nats-py and URLs; it must not know subjects, entries or logs. All errors leave it as `OSError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import SplitResult, unquote

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from fastsse.broadcast.stores import StoreUnusable

__all__ = [
    "ANSWERS",
    "OPTIONS",
    "Answer",
    "DriverError",
    "Link",
    "Message",
    "NoStream",
    "Place",
    "Said",
]

ANSWERS = 5.0  # s that any answer may take
_PINGS = 10  # s between two pings; a server that leaves two unanswered is given up
_CLOSING = 2.0  # s that the end of a connection may take
_HEADERS = 256  # bytes that the headers of one of our messages take, at most
# Of a URL, that say how to connect.
OPTIONS = frozenset(("creds", "nkey", "tls_ca", "tls_cert", "tls_key", "tls_hostname", "domain"))

Message = tuple[str, bytes, Mapping[str, str]]
"""Subject, payload and headers of a message."""

Answer = dict[str, Any] | OSError
"""What JetStream says to a message."""


class DriverError(ValueError):
    """A URL that cannot be used; the message repeats no part that may be secret."""


class Said(OSError):
    """JetStream has answered by an error.

    Attributes:
        code: JetStream's number for it, such as 10059; 0 when it gave none.
        status: the class of the error, as HTTP has them.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("description", "an error without a description")))
        self.code = int(error.get("err_code", 0))
        self.status = int(error.get("code", 0))


class NoStream(ConnectionError):
    """A subject has no listener: there is no such stream, or no JetStream."""


class Link:
    """One connection.

    Args:
        api: what the subjects of JetStream's API begin with.

    Attributes:
        lost: fails when contact is lost, with the reason.
    """

    def __init__(self, api: str) -> None:
        self._client: Any = Client()  # whose types are partly unknown
        self._api = api
        self._error: Exception | None = None
        self._inbox = ""
        self._flights = 0
        self._answers: dict[str, Callable[[Answer], None]] = {}
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, server: str, options: Mapping[str, Any]) -> None:
        """Connect to a server.

        Raises:
            OSError: it cannot be reached, or does not know us.
        """
        work = asyncio.ensure_future(
            self._client.connect(
                servers=[server],
                name="fastsse",
                allow_reconnect=False,
                connect_timeout=int(ANSWERS),
                ping_interval=_PINGS,
                max_outstanding_pings=2,
                error_cb=self._note,
                closed_cb=self._closed,
                **options,
            )
        )
        try:
            async with asyncio.timeout(2 * ANSWERS):
                # The driver would try the one server again and again.
                await asyncio.wait((work, self._failed), return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    raise ConnectionError(_words(self._error))
                await work
                self._inbox = self._client.new_inbox()
                await self._client.subscribe(f"{self._inbox}.*", cb=self._take_answer)
        except (Error, OSError, TimeoutError) as error:
            raise ConnectionError(_words(error)) from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
            if not self._inbox:
                await self.close()

    async def _note(self, error: Exception) -> None:
        self._error = error
        if not self._failed.done():
            self._failed.set_result(None)

    async def _closed(self) -> None:
        self.lose(f"contact was lost: {_words(self._error)}" if self._error else "contact was lost")

    @property
    def alive(self) -> bool:
        """False once contact is lost."""
        return not self.lost.done()

    @property
    def newer(self) -> bool:
        """True for a server of version 2.10 or later, whose consumers can have several filters."""
        version = self._client.connected_server_version
        return (version.major, version.minor) >= (2, 10)

    def lose(self, why: str) -> None:
        """Give the connection up; whoever waits for an answer gets an error."""
        if not self.lost.done():
            self.lost.set_exception(ConnectionError(why))
            self.lost.exception()  # which nobody may be waiting for

    async def close(self) -> None:
        """Close the connection. Nothing is raised."""
        self.lose("the connection was closed")
        try:
            with contextlib.suppress(Error, OSError, TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await self._client.close()
        finally:  # nats-py waits for a peer that takes nothing, and leaves the socket open when it fails
            transport: Any = getattr(self._client, "_transport", None)
            writer = getattr(transport, "_io_writer", None)
            if writer is not None:
                writer.transport.abort()

    async def until(self, done: asyncio.Future[Any], seconds: float = ANSWERS) -> bool:
        """Wait until something is done; False when that takes longer than so many seconds.

        Raises:
            OSError: contact is lost.
        """
        waits = (done, self.lost)
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            return True
        if self.lost.done():
            self.lost.result()
        return False

    async def ask(self, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make a request of JetStream's API, and return the answer.

        Raises:
            Said: the answer is an error.
            OSError: there is no answer.
        """
        payload = b"" if body is None else json.dumps(body).encode()
        [answer] = await self.publish([(f"{self._api}.{what}", payload, {})])
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def tell(self, subject: str, payload: bytes = b"", reply: str = "") -> None:
        """Publish a message that nobody answers, or whose answers come to a subject that is listened to.

        Raises:
            OSError: contact is lost.
        """
        try:
            await self._client.publish(subject, payload, reply=reply)
        except Error as error:
            self.lose(_words(error))
            raise ConnectionError(_words(error)) from error

    async def request(self, what: str, payload: bytes, reply: str) -> None:
        """Make a request of JetStream's API whose answers come to a subject that is listened to; nobody waits here."""
        await self.tell(f"{self._api}.{what}", payload, reply or f"{self._inbox}.-")

    async def listen(
        self, take: Callable[[Msg], Awaitable[None]]
    ) -> tuple[str, Callable[[], Awaitable[None]]]:
        """Listen to a new subject; return it, and a function that ends the listening.

        Raises:
            OSError: contact is lost.
        """
        subject = self._client.new_inbox()
        try:
            subscription = await self._client.subscribe(subject, cb=take)
        except Error as error:
            raise ConnectionError(_words(error)) from error

        async def end() -> None:
            with contextlib.suppress(Error, OSError):
                await subscription.unsubscribe()

        return subject, end

    async def publish(self, messages: Sequence[Message]) -> list[Answer]:
        """Publish messages together, and return the answer to each: what JetStream says, or the error that it is.

        Raises:
            OSError: not all answers came. Nobody knows what became of the messages.
        """
        self._flights += 1
        flight, left = self._flights, set(range(len(messages)))
        answers: list[Answer] = [OSError("no answer")] * len(messages)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(place: int, answer: Answer) -> None:
            answers[place] = answer
            left.discard(place)
            if not left and not done.done():
                done.set_result(None)

        try:
            for place, (subject, payload, headers) in enumerate(messages):
                if len(payload) + _HEADERS > self._client.max_payload:
                    settle(place, self._too_large(len(payload)))
                    continue
                token = f"{flight}-{place}"
                self._answers[token] = partial(settle, place)
                await self._client.publish(
                    subject, payload, reply=f"{self._inbox}.{token}", headers=dict(headers) or None
                )
            if left and not await self.until(done):
                why = f": {_words(self._error)}" if self._error else ""
                raise TimeoutError(f"JetStream has not answered within {ANSWERS:g} s{why}")
        except Error as error:
            self.lose(_words(error))
            raise ConnectionError(_words(error)) from error
        finally:
            for place in left:
                self._answers.pop(f"{flight}-{place}", None)
        return answers

    def _too_large(self, size: int) -> OSError:
        most = self._client.max_payload - _HEADERS
        return StoreUnusable(
            f"an event of {size:,} bytes is larger than the server takes, {most:,}: raise its max_payload"
        )

    async def _take_answer(self, msg: Msg) -> None:
        settle = self._answers.pop(msg.subject.rpartition(".")[2], None)
        if settle is not None:
            settle(_answer(msg))


def _answer(msg: Msg) -> Answer:
    """Read an answer of JetStream."""
    if msg.headers and msg.headers.get("Status") == "503":
        return NoStream("no JetStream answers: is it enabled, and does it have a leader?")
    try:
        answer: dict[str, Any] = json.loads(msg.data)
    except ValueError:
        return OSError("an answer of JetStream cannot be read")
    return Said(answer["error"]) if "error" in answer else answer


def _words(error: Exception | None) -> str:
    return str(error) or type(error).__name__


class Place:
    """The address of JetStream: where to connect, and as whom.

    Args:
        parts: a URL whose scheme is ``nats`` or ``tls``, with one host or several, and user and password or a token.
        options: those of the query that are among `OPTIONS`.

    Raises:
        DriverError: the URL cannot be used.
    """

    def __init__(self, parts: SplitResult, options: Mapping[str, str]) -> None:
        login, at, hosts = parts.netloc.rpartition("@")
        if parts.path.strip("/"):
            raise DriverError("a path has no meaning here; the log's name is ?namespace=")
        self._servers = [_server(parts.scheme, host) for host in hosts.split(",")]
        self._options: dict[str, Any] = {}
        if at:
            self._options |= _login(login)
        if "creds" in options:
            self._options["user_credentials"] = options["creds"]
        if "nkey" in options:
            self._options["nkeys_seed"] = options["nkey"]
        if parts.scheme == "tls" or any(name.startswith("tls_") for name in options):
            self._options["tls"] = _tls(options)
        if "tls_hostname" in options:
            self._options["tls_hostname"] = options["tls_hostname"]
        domain = options.get("domain")
        self._api = f"$JS.{domain}.API" if domain else "$JS.API"

    async def dial(self) -> Link:
        """Connect to one of the servers, chosen at random, otherwise to another.

        Raises:
            OSError: none can be reached, or knows us.
        """
        failed: OSError = ConnectionError("no server is named")
        for server in random.sample(self._servers, len(self._servers)):
            link = Link(self._api)
            try:
                await link.connect(server, self._options)
            except OSError as error:
                failed = error
                continue
            return link
        raise failed


def _server(scheme: str, host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "4222"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise DriverError("a port is no number from 1 to 65535")
    return f"{scheme}://{name or 'localhost'}:{port}"


def _login(text: str) -> dict[str, str]:
    user, colon, password = text.partition(":")
    if not colon:
        return {"token": unquote(user)}
    return {"user": unquote(user), "password": unquote(password)}


def _tls(options: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("tls_ca"))
        if "tls_cert" in options:
            context.load_cert_chain(options["tls_cert"], options.get("tls_key"))
    except (OSError, ssl.SSLError) as error:
        raise DriverError(f"TLS: {error.strerror or error}") from None
    return context
