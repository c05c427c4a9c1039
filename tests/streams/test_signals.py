"""SIGTERM and SIGINT: our callbacks come first, then the handler that stood there before, and none is lost.

The effect of a signal on a process is tested in a process of its own; the rest here, where pytest owns the handlers.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.driver import turns
from support.servers import DEADLINE, ROOT, Clients, environment, serve_granian, serve_uvicorn

from fastsse import _signals
from fastsse._signals import end_streams, on_shutdown

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")

LOOPS = ["asyncio", "uvloop"]


class Server:
    """A server's handler: a function that was installed before ours."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def handle(self, signum: int, _frame: object) -> None:
        self.heard.append(signum)


@pytest.fixture
def server() -> Iterator[Server]:
    """Install a server's handlers for SIGTERM and SIGINT, and take them away in the end."""
    server = Server()
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    for signum in before:
        signal.signal(signum, server.handle)
    yield server
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_the_module_has_rules_of_no_server() -> None:
    source = inspect.getsource(_signals)

    assert [] == re.findall("granian|uvicorn|hypercorn|gunicorn", source)


@pytest.mark.usefixtures("server")
class TestInOneProcess:
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    async def test_the_callbacks_and_the_server_hear_the_first_signal(
        self, server: Server, signum: signal.Signals
    ) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("first"))
        on_shutdown(lambda: told.append("second"))

        signal.raise_signal(signum)
        await turns()

        assert ["first", "second"] == told
        assert [signum] == server.heard

    async def test_the_callbacks_run_on_the_loop_and_not_inside_the_handler(self) -> None:
        told: list[object] = []
        on_shutdown(lambda: told.append(asyncio.get_running_loop()))

        signal.raise_signal(signal.SIGTERM)

        assert [] == told
        await turns()
        assert [asyncio.get_running_loop()] == told

    async def test_the_second_signal_goes_straight_to_the_server(self, server: Server) -> None:
        told: list[int] = []
        on_shutdown(lambda: told.append(1))

        signal.raise_signal(signal.SIGTERM)
        await turns()
        signal.raise_signal(signal.SIGINT)
        await turns()

        assert [1] == told
        assert [signal.SIGTERM, signal.SIGINT] == server.heard
        assert server.handle == signal.getsignal(signal.SIGTERM)

    async def test_who_comes_after_the_signal_is_told_at_once(self) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("early"))
        signal.raise_signal(signal.SIGTERM)
        await turns()

        on_shutdown(lambda: told.append("late"))
        await turns()

        assert ["early", "late"] == told

    async def test_who_comes_late_and_takes_it_back_is_not_told(self) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("early"))
        signal.raise_signal(signal.SIGTERM)

        on_shutdown(lambda: told.append("late"))()
        await turns()

        assert ["early"] == told

    async def test_another_server_on_the_same_loop_starts_afresh(self) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("first server"))
        signal.raise_signal(signal.SIGTERM)
        await turns()
        another = Server()
        signal.signal(signal.SIGTERM, another.handle)

        on_shutdown(lambda: told.append("second server"))
        await turns()
        before = list(told)
        signal.raise_signal(signal.SIGTERM)
        await turns()

        assert ["first server"] == before
        assert ["first server", "second server"] == told
        assert [signal.SIGTERM] == another.heard

    async def test_a_handler_that_is_put_on_top_and_calls_ours_is_no_circle(
        self, server: Server
    ) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("below"))
        ours: Any = signal.getsignal(signal.SIGTERM)
        above: list[int] = []

        def on_top(signum: int, frame: object) -> None:
            above.append(signum)
            ours(signum, frame)

        signal.signal(signal.SIGTERM, on_top)
        on_shutdown(lambda: told.append("above"))
        signal.raise_signal(signal.SIGTERM)
        await turns()

        assert ["below", "above"] == told
        assert [signal.SIGTERM] == above
        assert [signal.SIGTERM] == server.heard

    async def test_the_last_undo_puts_back_what_was_there(self, server: Server) -> None:
        told: list[int] = []
        undo_one = on_shutdown(lambda: told.append(1))
        undo_two = on_shutdown(lambda: told.append(2))

        undo_one()
        installed = signal.getsignal(signal.SIGTERM)
        undo_two()
        undo_two()

        assert installed != server.handle
        assert server.handle == signal.getsignal(signal.SIGTERM)
        assert server.handle == signal.getsignal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        await turns()
        assert [] == told

    async def test_an_undo_leaves_a_handler_that_was_put_on_top(self) -> None:
        undo = on_shutdown(lambda: None)
        another = Server()
        signal.signal(signal.SIGTERM, another.handle)

        undo()

        assert another.handle == signal.getsignal(signal.SIGTERM)

    async def test_an_ignored_signal_stays_ignored(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

        undo = on_shutdown(lambda: None)

        assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)
        undo()

    async def test_a_callback_runs_in_the_context_of_its_registrar(self) -> None:
        variable = contextvars.ContextVar("variable", default="unset")
        told: list[str] = []
        variable.set("registrar")
        on_shutdown(lambda: told.append(variable.get()))
        variable.set("interrupted")

        signal.raise_signal(signal.SIGTERM)
        await turns()

        assert ["registrar"] == told

    async def test_a_callback_that_raises_keeps_no_other_from_running(self, server: Server) -> None:
        told: list[str] = []
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: errors.append(context["exception"])
        )
        failure = RuntimeError("a callback")

        def fail() -> None:
            raise failure

        on_shutdown(fail)
        on_shutdown(lambda: told.append("next"))
        signal.raise_signal(signal.SIGTERM)
        await turns()

        assert ["next"] == told
        assert [failure] == errors
        assert [signal.SIGTERM] == server.heard

    def test_a_loop_that_is_closed_is_passed_over(self, server: Server) -> None:
        told: list[int] = []

        async def register() -> None:
            on_shutdown(lambda: told.append(1))

        asyncio.run(register())
        signal.raise_signal(signal.SIGTERM)

        assert [] == told
        assert [signal.SIGTERM] == server.heard

    def test_outside_the_main_thread_nothing_is_installed(self, server: Server) -> None:
        async def register() -> None:
            on_shutdown(lambda: None)()

        thread = threading.Thread(target=asyncio.run, args=[register()])
        thread.start()
        thread.join()

        assert server.handle == signal.getsignal(signal.SIGTERM)

    def test_without_a_running_loop_it_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            on_shutdown(lambda: None)


class Thread:
    """A loop that runs in a thread of its own, and what was told there."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.told: list[str] = []
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def register(self, name: str) -> Callable[[], None]:
        async def register() -> Callable[[], None]:
            return on_shutdown(lambda: self.told.append(name))

        return asyncio.run_coroutine_threadsafe(register(), self.loop).result(DEADLINE)

    def settle(self) -> list[str]:
        """Let the loop run what is scheduled, and return what was told."""
        asyncio.run_coroutine_threadsafe(turns(), self.loop).result(DEADLINE)
        return self.told

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE)
        self.loop.close()


@pytest.fixture
def thread() -> Iterator[Thread]:
    thread = Thread()
    yield thread
    thread.stop()


@pytest.mark.usefixtures("server")
class TestEndStreams:
    async def test_every_callback_of_the_running_loop_is_called_once(self) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("first"))
        on_shutdown(lambda: told.append("second"))

        end_streams()
        end_streams()

        assert ["first", "second"] == told

    async def test_what_is_registered_afterwards_is_left_alone_until_a_signal(
        self, server: Server
    ) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("before"))

        end_streams()
        on_shutdown(lambda: told.append("after"))
        await turns()
        before = list(told)
        signal.raise_signal(signal.SIGTERM)
        await turns()

        assert ["before"] == before
        assert ["before", "after"] == told
        assert [signal.SIGTERM] == server.heard

    async def test_the_handlers_are_what_they_were(self, server: Server) -> None:
        on_shutdown(lambda: None)

        end_streams()

        assert server.handle == signal.getsignal(signal.SIGTERM)
        assert server.handle == signal.getsignal(signal.SIGINT)

    async def test_a_callback_that_was_taken_back_is_not_called(self) -> None:
        told: list[str] = []
        undo = on_shutdown(lambda: told.append("taken back"))
        on_shutdown(lambda: told.append("kept"))

        undo()
        end_streams()
        undo()

        assert ["kept"] == told

    async def test_a_callback_runs_in_the_context_of_its_registrar(self) -> None:
        variable = contextvars.ContextVar("variable", default="unset")
        told: list[str] = []
        variable.set("registrar")
        on_shutdown(lambda: told.append(variable.get()))
        variable.set("caller")

        end_streams()

        assert ["registrar"] == told

    async def test_a_callback_that_raises_keeps_no_other_from_running(self) -> None:
        told: list[str] = []
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: errors.append(context["exception"])
        )
        failure = RuntimeError("a callback")

        def fail() -> None:
            raise failure

        on_shutdown(fail)
        on_shutdown(lambda: told.append("next"))
        end_streams()

        assert ["next"] == told
        assert [failure] == errors

    async def test_a_callback_may_end_streams_itself(self) -> None:
        told: list[str] = []
        on_shutdown(end_streams)
        on_shutdown(lambda: told.append("once"))

        end_streams()

        assert ["once"] == told

    async def test_a_loop_in_a_thread_is_ended_alone(self, thread: Thread) -> None:
        told: list[str] = []
        undo = on_shutdown(lambda: told.append("here"))
        thread.register("there")

        end_streams(thread.loop)

        assert ["there"] == await asyncio.to_thread(thread.settle)
        assert [] == told
        undo()

    async def test_other_loops_are_left_alone(self, thread: Thread) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("here"))
        undo = thread.register("there")

        end_streams()

        assert [] == await asyncio.to_thread(thread.settle)
        assert ["here"] == told
        undo()

    def test_it_can_be_called_from_where_no_loop_runs(self, thread: Thread) -> None:
        thread.register("one")
        thread.register("two")

        end_streams(thread.loop)

        assert ["one", "two"] == thread.settle()

    def test_an_undo_works_in_a_thread_too(self, thread: Thread) -> None:
        undo = thread.register("taken back")
        thread.register("kept")

        undo()
        end_streams(thread.loop)

        assert ["kept"] == thread.settle()

    def test_the_main_loop_can_be_ended_from_a_thread(self, server: Server) -> None:
        async def main() -> list[object]:
            told: list[object] = []
            on_shutdown(lambda: told.append(threading.current_thread()))
            await asyncio.to_thread(end_streams, asyncio.get_running_loop())
            await turns()
            return told

        assert [threading.main_thread()] == asyncio.run(main())
        assert server.handle == signal.getsignal(signal.SIGTERM)

    def test_a_loop_that_is_closed_is_passed_over(self) -> None:
        told: list[int] = []

        async def register() -> asyncio.AbstractEventLoop:
            on_shutdown(lambda: told.append(1))
            return asyncio.get_running_loop()

        end_streams(asyncio.run(register()))

        assert [] == told

    def test_without_a_loop_it_is_refused(self) -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            end_streams()

    async def test_a_signal_tells_the_loops_of_threads_too(
        self, server: Server, thread: Thread
    ) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("here"))
        thread.register("there")

        signal.raise_signal(signal.SIGTERM)
        await turns()

        assert ["there"] == await asyncio.to_thread(thread.settle)
        assert ["here"] == told
        assert [signal.SIGTERM] == server.heard

    async def test_a_thread_does_not_make_the_main_loop_forget_that_it_was_ended(
        self, thread: Thread
    ) -> None:
        told: list[str] = []
        on_shutdown(lambda: told.append("early"))
        signal.raise_signal(signal.SIGTERM)
        await turns()
        await asyncio.to_thread(thread.register, "there")

        on_shutdown(lambda: told.append("late"))
        await turns()

        assert ["early", "late"] == told


PRELUDE = """
import asyncio, os, signal, sys, threading
from fastsse._signals import on_shutdown

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background

def run(main):
    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.run(main())
    else:
        asyncio.run(main())

def kill(signum):
    os.kill(os.getpid(), signum)
"""


def python(loop: str, code: str) -> subprocess.CompletedProcess[str]:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, loop],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("loop", LOOPS)
class TestInAProcessOfItsOwn:
    def test_where_nobody_else_listens_the_process_still_dies_of_it(self, loop: str) -> None:
        result = python(
            loop,
            """
async def main():
    told = asyncio.Event()
    on_shutdown(told.set)
    kill(signal.SIGTERM)
    await told.wait()
    print("told", flush=True)
    await asyncio.Event().wait()
run(main)
""",
        )

        assert ("told\n", -signal.SIGTERM) == (result.stdout, result.returncode), result.stderr

    def test_the_second_signal_kills_at_once(self, loop: str) -> None:
        result = python(
            loop,
            """
from fastsse import _signals
_signals.GRACE = 60.0
async def main():
    told = asyncio.Event()
    on_shutdown(told.set)
    kill(signal.SIGTERM)
    await told.wait()
    print("told", flush=True)
    kill(signal.SIGTERM)
    await asyncio.Event().wait()
run(main)
""",
        )

        assert ("told\n", -signal.SIGTERM) == (result.stdout, result.returncode), result.stderr

    def test_a_keyboard_interrupt_comes_after_the_callbacks(self, loop: str) -> None:
        result = python(
            loop,
            """
async def main():
    on_shutdown(lambda: print("told", flush=True))
    kill(signal.SIGINT)
    await asyncio.Event().wait()
try:
    run(main)
except KeyboardInterrupt:
    print("interrupted")
""",
        )

        assert "told\ninterrupted\n" == result.stdout, result.stderr

    def test_a_loops_own_handler_hears_it_too(self, loop: str) -> None:
        """granian listens in this way: by the loop's wake-up descriptor, whichever handler is installed."""
        result = python(
            loop,
            """
async def main():
    told, heard = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)
    on_shutdown(told.set)
    kill(signal.SIGTERM)
    await told.wait()
    await heard.wait()
    heard.clear()
    kill(signal.SIGTERM)
    await heard.wait()
    print("both, twice")
run(main)
""",
        )

        assert "both, twice\n" == result.stdout, result.stderr

    def test_a_signal_from_outside_wakes_a_loop_that_waits(self, loop: str) -> None:
        result = python(
            loop,
            """
async def main():
    told = asyncio.Event()
    on_shutdown(told.set)
    threading.Thread(target=kill, args=[signal.SIGTERM]).start()
    await told.wait()
    print("told", flush=True)
run(main)
""",
        )

        assert ("told\n", 0) == (result.stdout, result.returncode), result.stderr

    def test_a_forked_child_has_its_signals_back(self, loop: str) -> None:
        result = python(
            loop,
            """
async def main():
    on_shutdown(lambda: print("told", flush=True))
    child = os.fork()
    if not child:
        kill(signal.SIGTERM)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
run(main)
""",
        )

        assert f"{-signal.SIGTERM}\n" == result.stdout, result.stderr

    def test_after_the_run_the_handlers_are_pythons_own(self, loop: str) -> None:
        result = python(
            loop,
            """
async def main():
    on_shutdown(lambda: None)()
run(main)
print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)
""",
        )

        assert "True\nTrue\n" == result.stdout, result.stderr


SERVED = """
import asyncio
from fastsse._signals import on_shutdown

ended = asyncio.Event()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            if step == "lifespan.startup":
                on_shutdown(ended.set)
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/events":
        await send({"type": "http.response.body", "body": b"data: open\\n\\n", "more_body": True})
        await ended.wait()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
"""

SERVERS: list[Any] = [
    pytest.param(serve_granian, ("--loop", "asyncio"), id="granian-asyncio"),
    pytest.param(serve_granian, ("--loop", "uvloop"), id="granian-uvloop"),
    pytest.param(serve_uvicorn, ("--loop", "asyncio"), id="uvicorn-asyncio"),
    pytest.param(serve_uvicorn, ("--loop", "uvloop"), id="uvicorn-uvloop"),
]


@pytest.mark.parametrize(("serve", "flags"), SERVERS)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_under_a_real_server_the_stream_ends_and_so_does_the_server(
    serve: Any, flags: tuple[str, ...], signum: signal.Signals, tmp_path: Path
) -> None:
    pytest.importorskip(serve.__name__.removeprefix("serve_"))
    pytest.importorskip(flags[1])
    (tmp_path / "served.py").write_text(SERVED)
    clients = Clients()

    with serve(*flags, app="served:app", PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}") as server:
        stream = await clients.follow(server, "/events")
        server.signal(signum)
        body = await stream.to_the_end()
        code = await asyncio.to_thread(server.wait)
    await clients.close()

    assert body.endswith(b"0\r\n\r\n")
    assert code in (0, -signum, 128 + signum)
