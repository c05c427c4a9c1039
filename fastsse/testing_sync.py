"""The client of `fastsse.testing` for tests that are plain functions: the loop runs in a thread of its own.

    with Client(app) as client:  # runs the application's startup and shutdown, too
        with client.stream("/events", query={"topic": "news"}) as stream:
            [event] = stream.events(1)
            stream.disconnect()
            stream.ended()
        assert 200 == client.fetch("/health").status

Methods, deadlines and errors are those of `fastsse.testing`. An exception of the application is raised in the test. A
client keeps nothing outside itself, so any number of them may be open, one after the other or together, also within a
test that runs on an event loop.

The module knows one thread and its loop; it must not know any application or framework.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Self, TypeVar

from fastsse._codec import Event
from fastsse._serving import GivenHeaders, Query
from fastsse.asgi import App
from fastsse.testing import DEADLINE, Answer, Stream, fetch, lifespan, open_stream

__all__ = ["Client", "SyncStream"]

T = TypeVar("T")

_Run = Callable[[Coroutine[Any, Any, Any]], Any]  # runs a coroutine on the client's loop


class SyncStream:
    """One response as its client sees it; made by `Client.stream`. Each method waits, within the deadline."""

    __slots__ = ("_run", "_stream")

    def __init__(self, run: _Run, stream: Stream) -> None:
        self._run = run
        self._stream = stream

    @property
    def status(self) -> int:
        """The status code; 0 until the response starts."""
        return self._stream.status

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers: names in lower case; values of a repeated header joined by ", "."""
        return self._stream.headers

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as the application sent them."""
        return self._stream.raw_headers

    @property
    def complete(self) -> bool:
        """True once the final body message came, so that the client sees a proper end."""
        return self._stream.complete

    @property
    def running(self) -> bool:
        """True until the application returns."""
        return self._stream.running

    @property
    def unread(self) -> bytes:
        """The bytes that the client has read and the test has not; they stay to be read."""
        return self._do(lambda stream: stream.unread)

    def chunk(self) -> bytes:
        """Return the next body chunk, as it was sent.

        Raises:
            Ended: there is none any more.
        """
        return self._wait(self._stream.chunk())

    def block(self) -> bytes:
        """Return the next bytes up to and including a blank line.

        Raises:
            Ended: there is no blank line any more.
        """
        return self._wait(self._stream.block())

    def events(self, count: int) -> list[Event]:
        """Return the next `count` events; blocks that dispatch nothing are passed over.

        Raises:
            Ended: there are fewer.
        """
        return self._wait(self._stream.events(count))

    def rest(self) -> bytes:
        """Return all unread bytes once the application has returned."""
        return self._wait(self._stream.rest())

    def disconnect(self) -> None:
        """Close the client's end. Idempotent."""
        self._do(Stream.disconnect)

    def stall(self) -> None:
        """Stop reading: the application's `send` blocks once the server takes no more."""
        self._do(Stream.stall)

    def resume(self) -> None:
        """Read again, first the chunks that the server has taken meanwhile."""
        self._do(Stream.resume)

    def blocked(self) -> None:
        """Wait until a `send` is pending."""
        self._wait(self._stream.blocked())

    def started(self) -> None:
        """Wait for the start of the response; `Client.stream` has done so unless told otherwise."""
        self._wait(self._stream.started())

    def ended(self) -> None:
        """Wait until the application has returned.

        Raises:
            Exception: the application has raised it.
        """
        self._wait(self._stream.ended())

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        result: T = self._run(coroutine)
        return result

    def _do(self, function: Callable[[Stream], T]) -> T:
        """Call a function of the stream on the stream's loop."""

        async def call() -> T:
            return function(self._stream)

        return self._wait(call())


class Client:
    """A client of one application, whose loop runs in a thread from the beginning of the block to its end.

    Args:
        app: an ASGI application, or a response that is one.
        lifespan: run the application's startup and shutdown around the block. An application that has none may be
            given False, as a response must.
        deadline: seconds that startup and shutdown may take, and any wait of a stream unless it says otherwise.

    Raises:
        AssertionError: startup or shutdown has failed, or a wait its deadline.
        Exception: the application has raised it.
    """

    def __init__(self, app: App, *, lifespan: bool = True, deadline: float = DEADLINE) -> None:
        self._app = app
        self._lifespan = lifespan
        self._deadline = deadline
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._life: AbstractAsyncContextManager[dict[str, Any]] | None = None
        self._state: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="fastsse-test-client")
        self._thread.start()
        try:
            if self._lifespan:
                life = lifespan(self._app, self._deadline)
                self._state = self._run(life.__aenter__())
                self._life = life
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_failure: object) -> None:
        try:
            if self._life is not None:
                self._run(self._life.__aexit__(None, None, None))
        finally:
            self._life = None
            self._close()

    @contextmanager
    def stream(
        self,
        path: str = "/",
        query: Query = "",
        headers: GivenHeaders = (),
        method: str = "GET",
        **options: Any,
    ) -> Generator[SyncStream]:
        """Open a request, and hold it open for the block.

        Args:
            options: the others of `fastsse.testing.open_stream`; so are the errors.
        """
        opening = open_stream(self._app, path, query, headers, method, **self._defaults(options))
        stream: Stream = self._run(opening.__aenter__())
        try:
            yield SyncStream(self._run, stream)
        except BaseException as error:
            if not self._run(opening.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            self._run(opening.__aexit__(None, None, None))

    def fetch(
        self,
        path: str = "/",
        query: Query = "",
        headers: GivenHeaders = (),
        method: str = "GET",
        **options: Any,
    ) -> Answer:
        """Send a request, and return its finite response.

        Args:
            options: the others of `fastsse.testing.open_stream`; so are the errors.
        """
        given = self._defaults(options)
        answer: Answer = self._run(fetch(self._app, path, query, headers, method, **given))
        return answer

    def _defaults(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"deadline": self._deadline, "state": self._state, **options}

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError(
                "this client is not open: use it within `with Client(app) as client`"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _close(self) -> None:
        """Cancel what is left on the loop, and wait for its thread."""
        if self._loop is None or self._thread is None:
            return
        self._run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None


async def _cancel_all() -> None:
    """Cancel every other task of the running loop, and close its generators."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
