"""The ``fastsse`` command: serve a broadcast, publish to one, subscribe to one.

`serve` launches granian as measured: room for more connections than we admit (it counts all of them, and the rest
hang), a process that is killed if it will not stop, one worker because one worker is one hub. `publish` and
`subscribe` need nothing but the standard library. It knows flags, addresses and exit codes; it must not know what
the app does with a request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import io
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import Field, fields, replace
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from importlib.util import find_spec
from math import ceil
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult, urlencode, urlsplit

from fastsse import Decoder, Event, EventTooLarge, FastSSEError, __version__
from fastsse._signals import Once, heed_one_sigterm
from fastsse.broadcast.settings import ENVIRONMENT_PREFIX, SettingError, Settings

if TYPE_CHECKING:
    from granian.server.common import AbstractServer

    from fastsse.broadcast.app import Broadcast

__all__ = ["main"]

_THREADS = 2  # that write to sockets, where there are processors for them
_BACKLOG = 4096  # connections that may wait to be accepted
_HEAD_ROOM = 1024  # connections beside the streams: publishers, probes, pages, idle ones
_FILES = 256  # descriptors beside the connections
_KILL = 5  # s beyond --drain; streams end within one, so this only ends what hangs
_KNOCK = 0.02  # s between two looks whether the server answers
_CONNECT = 10.0  # s
_CHUNK = 65536  # bytes read at once

_NO_ACCESS_CONTROL = (
    "can be reached from other machines, and there is no access control yet: whoever reaches it can read and "
    "publish; say --open if that is what you want"
)


class _Failure(Exception):
    """What ends the command: the message goes to stderr."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; those of the process when None.

    Returns:
        The exit code: 0, 1 for a failure, 130 for Ctrl-C.

    Raises:
        SystemExit: code 2 for arguments that cannot be, 0 after --help and --version.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is no reason to end
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    given = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = given.run
    try:
        return run(given)
    except SettingError as error:
        parser.error(str(error))
    except (_Failure, FastSSEError) as failure:
        print(f"fastsse: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastsse", description="Server-Sent Events: serve a broadcast, publish, subscribe."
    )
    parser.add_argument("--version", action="version", version=f"fastsse {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="run a broadcast with its live page"))
    _add_publish(commands.add_parser("publish", help="publish one event, or a stream of them"))
    _add_subscribe(commands.add_parser("subscribe", help="print the events of topics as they come"))
    return parser


# serve


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a broadcast with its live page under granian."
    parser.set_defaults(run=_serve)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to bind; a public one wants --open (default: %(default)s)",
    )
    add("--port", type=_port, default=8000, help="0: any free one (default: %(default)s)")
    add(
        "--open",
        action="store_true",
        help="allow a public address, though there is no access control yet",
    )
    add("--workers", type=int, default=1, help="must be 1: one worker is one hub")
    add("--runtime-threads", type=_positive, default=min(_THREADS, _processors()), metavar="N",
        help="threads that write to sockets: the way to more cores (default: %(default)s; 1 on one core)")  # fmt: skip
    add("--loop", choices=("auto", "asyncio", "uvloop"), default="auto",
        help="event loop; auto: uvloop where it is installed (default: %(default)s)")  # fmt: skip
    add("--http", choices=("1", "2", "auto"), default="1",
        help="auto: HTTP/1 and, without TLS, HTTP/2; 12 KiB more a connection (default: %(default)s)")  # fmt: skip
    add("--log-level", choices=("critical", "error", "warning", "info", "debug"), default="warning",
        help="logs go to stderr (default: %(default)s)")  # fmt: skip
    add(
        "--config",
        metavar="FILE",
        help="a TOML file with the settings below as keys, such as max_streams",
    )
    knobs = parser.add_argument_group(
        "settings", "Each has an environment variable; a flag goes before it, it before --config."
    )
    for knob in fields(Settings):
        _add_knob(knobs, knob)


def _processors() -> int:
    """How many this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _add_knob(group: Any, knob: Field[Any]) -> None:
    about, default = knob.metadata, knob.default
    tables = knob.name == "topics"
    several = isinstance(default, tuple)
    unit = "A,B" if several and not tables else (about["unit"] or "NAME").upper()
    shown = "none" if several else f"{default:g}" if isinstance(default, float) else default
    text = f"{about['help']} (default: {shown}; {ENVIRONMENT_PREFIX}{knob.name.upper()})"
    flag = "--" + knob.name.replace("_", "-")
    options: dict[str, Any] = {"dest": f"knob_{knob.name}", "help": text.replace("%", "%%")}
    if about["choices"]:
        options["choices"] = about["choices"]
    elif tables:
        options |= {"action": "append", "metavar": unit}
    else:
        options |= {"type": _names if several else type(default), "metavar": unit}
    group.add_argument(flag, **options)


def _serve(given: argparse.Namespace) -> int:
    knobs = {
        name.removeprefix("knob_"): value
        for name, value in vars(given).items()
        if name.startswith("knob_")
    }
    try:
        settings = Settings.load(file=given.config, **knobs)
    except OSError as error:
        raise _Failure(f"--config {given.config!r}: {error.strerror}") from error
    if given.workers != 1:
        raise _Failure(
            f"--workers {given.workers}: must be 1: each worker would be a hub of its own, and what is published "
            "at one would not reach the others; --runtime-threads is the way to more cores"
        )
    address, public = _resolve(given.host)
    if public and not given.open:
        raise _Failure(f"--host {given.host}: {_NO_ACCESS_CONTROL}")
    if not public:
        settings = replace(settings, hosts=(*settings.hosts, given.host))
    port = _free_port(address, given.port)
    connections = settings.max_streams + max(_HEAD_ROOM, settings.max_streams // 4)
    _allow_files(connections + _FILES)
    server = _granian(given, settings, address, port, connections)
    server.on_startup(partial(_heed_one_signal, _hangup(), _has_terminal()))
    server.on_reload(partial(_end_workers, server))
    server.serve(target_loader=partial(_load, settings, address, port), wrap_loader=False)
    return 0


def _granian(
    given: argparse.Namespace, settings: Settings, address: str, port: int, connections: int
) -> AbstractServer[Any]:
    try:
        from granian import Granian
        from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
        from granian.log import LogLevels

        from fastsse.broadcast import app
    except ImportError as error:
        raise _Failure(f"serve needs {error.name}: pip install 'fastsse-core[server]'") from error
    app.create_app(settings)  # the worker makes its own; here for what it refuses
    return Granian(
        f"{app.__name__}:app",
        address,
        port,
        interface=Interfaces.ASGI,
        http=HTTPModes(given.http),
        websockets=False,
        runtime_threads=given.runtime_threads,
        runtime_mode=RuntimeModes.mt,
        loop=Loops(_loop(given.loop)),
        backlog=_BACKLOG,
        backpressure=connections,
        respawn_interval=0.0,  # the old worker has ended, see _end_workers
        workers_kill_timeout=ceil(settings.drain) + _KILL,
        log_level=LogLevels(given.log_level),
        log_dictconfig=_logging(given.log_level),
    )


def _load(settings: Settings, address: str, port: int) -> _Served:
    """The app, made in the worker's process. Pickled where processes are spawned, so not a closure."""
    from fastsse.broadcast import tune_collector
    from fastsse.broadcast.app import create_app

    app = create_app(settings)
    app.alone = True  # granian, without an access log
    served = _Served(app, address, port)
    tune_collector()
    if parent_process() is not None:
        heed_one_sigterm(asyncio.get_event_loop())  # the worker's; it does not run yet
    else:
        _threads.append(served)
    return served


class _Served:
    """The app; says on stdout where it is, once it answers there."""

    def __init__(self, app: Broadcast, address: str, port: int) -> None:
        self._app = app
        self._address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "lifespan":
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(self._announce())
        return self._app(scope, receive, send)

    def drain(self) -> None:
        """From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._app.drain)

    async def _announce(self) -> None:
        answers = False
        while not answers:
            await asyncio.sleep(_KNOCK)
            if self._app.hub.draining:
                self._end_again()
                return
            answers = await self._answers()
        print(f"fastsse: http://{_authority(self._address, self._port)}/", flush=True)

    @staticmethod
    def _end_again() -> None:
        """It came before granian's loop ran for good, and may have been heard by the app alone."""
        if parent_process() is not None:
            signal.raise_signal(signal.SIGTERM)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self._address, self._port)
        except OSError:
            return False
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()


def _heed_one_signal(hangup: Any, terminal: bool) -> None:
    """In the main process, once granian's handlers are in place: see `heed_one_sigterm`.

    Args:
        hangup: SIGHUP's handler before granian's; None where there is no such signal.
        terminal: whether the process had one at its start.
    """
    _shield_forks()
    once = Once()
    for signum in (signal.SIGTERM, signal.SIGINT):
        stop = once.wrap(partial(_stop, signal.getsignal(signum)))
        signal.signal(signum, stop)
    if hangup is signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, hangup)
    elif hangup is not None and terminal:
        signal.signal(signal.SIGHUP, partial(_hang_up, stop, signal.getsignal(signal.SIGHUP)))


def _shield_forks() -> None:
    """A forked worker that is told to end before it has handlers of its own ends.

    It would swallow that, by the main process's handlers, or as what was pending when Python began in it; and be
    killed in the end. So SIGTERM waits until the worker has the default action.
    """
    if not hasattr(os, "register_at_fork"):
        return
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, (signal.SIGTERM,))

    def forget() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        unblock()

    os.register_at_fork(
        before=partial(signal.pthread_sigmask, signal.SIG_BLOCK, (signal.SIGTERM,)),
        after_in_parent=unblock,
        after_in_child=forget,
    )


def _hang_up(stop: Any, restart: Any, *arguments: Any) -> None:
    """A terminal that is closed ends its programs; a SIGHUP that somebody sends restarts the worker."""
    (restart if _has_terminal() else stop)(*arguments)


def _hangup() -> Any:
    return signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


def _end_workers(server: AbstractServer[Any]) -> None:
    """At SIGHUP, before granian makes the new worker, which else would serve beside the old one for a while.

    They would be two hubs on one port, each with a part of the readers and a part of what is published.
    """
    for served in _threads:
        served.drain()
    _threads.clear()
    for worker in server.wrks:
        worker.terminate()
        worker.join(server.workers_kill_timeout)
        if worker.is_alive():
            worker.kill()
            worker.join()
    if server.interrupt_signal:  # it came just now, and granian has forgotten to look
        server.main_loop_interrupt.set()


def _stop(handler: Any, *arguments: Any) -> None:
    for served in _threads:
        served.drain()
    handler(*arguments)


# What workers of this very process serve: on free-threaded Python they are threads, and hear no signal at all.
_threads: list[_Served] = []


def _logging(level: str) -> dict[str, Any]:
    """granian's logging, on stderr, with ours beside it."""
    ours = {"handlers": ["console"], "level": level.upper(), "propagate": False}
    return {
        "handlers": {
            name: {
                "class": "logging.StreamHandler",
                "formatter": form,
                "stream": "ext://sys.stderr",
            }
            for name, form in (("console", "generic"), ("access", "access"))
        },
        "loggers": {
            "_granian": dict(ours),
            "granian.access": ours | {"handlers": ["access"]},
            "fastsse": dict(ours),
        },
    }


def _loop(name: str) -> str:
    if name == "asyncio":
        return name
    if find_spec("uvloop") is not None:
        return "uvloop"
    if name == "uvloop":
        raise _Failure("--loop uvloop: it is not installed; pip install uvloop")
    return "asyncio"


def _resolve(host: str) -> tuple[str, bool]:
    """The address to bind, and whether other machines reach it."""
    from ipaddress import ip_address

    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Failure(f"--host {host!r}: must be an address or a name of this machine") from None
    addresses = sorted((str(entry[4][0]) for entry in found), key=lambda a: ":" in a)
    address = addresses[0].partition("%")[0]  # IPv4 first: what curl and browsers try in the end
    return address, not ip_address(address).is_loopback


def _free_port(address: str, port: int) -> int:
    """The port, found free: granian shares one that is taken (SO_REUSEPORT), and each would get half of us."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # else a port that was in use a minute ago counts as taken
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise _Failure(_bind_message(error, address, port)) from error
        return int(probe.getsockname()[1])


def _bind_message(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: is in use on {address}; give another, or 0 for any free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {address}: is no address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port {port}: may not be bound by this user; take one above 1023"
    return f"--host {address} --port {port}: {error.strerror}"


def _allow_files(count: int) -> None:
    """Raise the soft limit of open files: a connection is one, and usual limits end at 1,024."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= count:
        return
    allowed = count if hard == unlimited else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        print(
            f"fastsse: open files are limited to {allowed}, and --max-streams wants {count}; "
            "raise the limit (ulimit -Hn), or lower --max-streams",
            file=sys.stderr,
        )


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _port(text: str) -> int:
    port = _whole(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 0 to 65535")
    return port


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be at least 1")
    return number


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


# publish


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Publish one event, or with --stream every event of an event stream as it arrives."
    )
    parser.set_defaults(run=_publish)
    add = parser.add_argument
    add("url", help="of the broadcast, such as http://127.0.0.1:8000")
    add("topic")
    add("data", nargs="?", default="-", help="the event's data; - or nothing: standard input")
    add("--event", help="the event type")
    add("--retry", type=_whole, metavar="MS", help="reconnection time for its readers")
    add("--stream", action="store_true", help="standard input is an event stream")


def _publish(given: argparse.Namespace) -> int:
    if given.stream and (given.data != "-" or given.event is not None or given.retry is not None):
        raise _Failure(
            "--stream reads everything from standard input: leave out DATA, --event and --retry"
        )
    asked = {"topic": given.topic, "event": given.event, "retry": given.retry}
    query = [(name, value) for name, value in asked.items() if value is not None]
    kind = "text/event-stream" if given.stream else "text/plain; charset=utf-8"
    with _exchange("POST", given.url, query, {"Content-Type": kind}, _body(given)) as response:
        print(response.read().decode(), end="")
    return 0


def _body(given: argparse.Namespace) -> bytes | Iterator[bytes]:
    if given.stream:
        return _chunks(sys.stdin.buffer)
    if given.data == "-":
        return sys.stdin.buffer.read()
    return _bytes(given.data)


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    """What there is, as soon as there is something."""
    read: Callable[[int], bytes] = getattr(source, "read1", source.read)
    while chunk := read(_CHUNK):
        yield chunk


# subscribe


def _add_subscribe(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print the data of each event as it comes. Gaps are told on stderr."
    parser.set_defaults(run=_subscribe)
    add = parser.add_argument
    add("url", help="of the broadcast, such as http://127.0.0.1:8000")
    add("topic", nargs="+")
    add(
        "--last-event-id",
        metavar="ID",
        help="begin behind this event; earliest: with all that is kept",
    )
    add(
        "--json",
        action="store_true",
        help="print each event as a line of JSON: id, event, data, retry",
    )


def _subscribe(given: argparse.Namespace) -> int:
    query = [("topic", topic) for topic in given.topic]
    headers: dict[str, str | bytes] = {"Accept": "text/event-stream"}
    if given.last_event_id:
        headers["Last-Event-ID"] = _bytes(given.last_event_id)
    decoder = Decoder(last_event_id=given.last_event_id or "")
    show = _show_json if given.json else _show
    with _exchange("GET", given.url, query, headers) as response:
        while chunk := _read(response, decoder):
            try:
                events = decoder.feed(chunk)
            except EventTooLarge as error:
                for event in error.events:
                    show(event)
                raise
            for event in events:
                show(event)
    raise _Failure(f"the stream ended; {_where(decoder)}")


def _read(response: HTTPResponse, decoder: Decoder) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _Failure(f"the stream broke off; {_where(decoder)}") from error


def _show(event: Event) -> None:
    if event.event == "gap":
        print(f"fastsse: gap: {event.data}", file=sys.stderr, flush=True)
    else:
        print(event.data, flush=True)


def _show_json(event: Event) -> None:
    members = {"id": event.id, "event": event.event, "data": event.data, "retry": event.retry}
    print(json.dumps(members, ensure_ascii=False), flush=True)


def _where(decoder: Decoder) -> str:
    return f"to go on from here: --last-event-id {decoder.last_event_id or 'earliest'}"


# HTTP, by the standard library


@contextlib.contextmanager
def _exchange(
    method: str,
    url: str,
    query: list[tuple[str, Any]],
    headers: dict[str, Any],
    body: bytes | Iterator[bytes] | None = None,
) -> Generator[HTTPResponse, None, None]:
    """A request and its response, 200, to be read; an iterator goes out chunked, each chunk as it comes."""
    parts = _broadcast_url(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_CONNECT)
    path = parts.path if parts.path.strip("/") else "/events"
    with contextlib.closing(connection):
        try:
            connection.connect()
            connection.sock.settimeout(None)  # streams may be quiet
            # A body that is refused before its end cannot be sent to its end; the answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                target = f"{path}?{urlencode(query, errors='surrogateescape')}"
                connection.request(method, target, body, headers)
            response = connection.getresponse()
        except (OSError, HTTPException, ValueError) as error:  # ValueError: no header, no URL
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise _Failure(f"{parts.scheme}://{parts.netloc}: {reason}") from error
        with response:
            if response.status != 200:
                raise _refused(response)
            yield response


def _broadcast_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    raise _Failure(
        f"{url!r}: must be http://HOST or https://HOST, with a port and a path if you like"
    )


def _refused(response: HTTPResponse) -> _Failure:
    try:
        detail = json.loads(response.read())["detail"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        detail = response.reason
    return _Failure(f"refused ({response.status}): {detail}")


def _bytes(argument: str) -> bytes:
    """An argument as it was typed, be it UTF-8 or not."""
    return argument.encode("utf-8", "surrogateescape")
