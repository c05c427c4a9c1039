"""How `serve` runs granian: its options as measured, what its worker loads, and its logs. The only importer of granian.

granian (2.8) counts connections, not requests, and leaves those beyond its limit hanging: so its limit lies above the
number of streams that the broadcast admits. A worker that does not stop is killed. One worker is one hub. The
module knows granian and the app; it must not know options that granian has no part in.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from math import ceil
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.common import AbstractServer

from fastsse.broadcast.app import create_app
from fastsse.broadcast.process import heed_one_sigterm, tune_collector
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.worker import Security, Worker
from fastsse.cli.address import operator_ports
from fastsse.cli.signals import MainProcess, thread_workers
from fastsse.cli.terminal import Failure
from fastsse.cli.tls import Tls

if TYPE_CHECKING:
    from multiprocessing.synchronize import Semaphore  # which not every system has

__all__ = ["launch", "load"]

_BACKLOG = 4096  # connections that may wait to be accepted
_HEAD_SIZE = 65536  # bytes of a request's head, and of what a connection has yet to write
_PING = 30  # s between two pings over HTTP/2; a peer that does not answer within `_PONG` is gone
_PONG = 20  # s
_KILL = 5  # s beyond --drain; streams end within one, so only a worker that hangs is killed


def launch(
    given: argparse.Namespace,
    settings: Settings,
    address: str,
    port: int,
    connections: int,
    tls: Tls | None,
) -> None:
    """Run granian until it has stopped.

    Args:
        given: the options ``http``, ``log_level``, ``loop``, ``operator_port``, ``runtime_threads`` and ``workers``.
        settings: of the broadcast.
        address: the address to bind.
        port: the port to bind, which is free.
        connections: how many there may be at a time.
        tls: the files of TLS, which are good; None to serve without.

    Raises:
        SettingError: an origin or a host of the settings cannot be one.
        Failure: uvloop is asked for and not installed.
    """
    create_app(settings)  # the worker makes its own; this one only shows what the app refuses
    server = _server(given, settings, address, port, connections, tls)
    process = MainProcess(server)
    server.on_startup(process.take_signals)
    server.on_reload(process.end_workers)
    operators = operator_ports(given.operator_port, given.workers)
    turn = multiprocessing.Semaphore(1) if given.workers > 1 else None
    if turn is not None:
        server.on_reload(partial(_give_back, turn))
    loader = partial(load, settings, address, port, operators, _security(tls), turn)
    server.serve(target_loader=loader, wrap_loader=False)


def load(
    settings: Settings,
    address: str,
    port: int,
    operators: Sequence[int] = (),
    security: Security = "none",
    turn: Semaphore | None = None,
) -> Worker:
    """Make the app in the worker. The loader is pickled where processes are spawned, so it cannot be a closure."""
    # granian without an access log never looks at a request's scope again.
    app = create_app(settings, keep_scope="nothing")
    worker = Worker(app, address, port, operators, security, turn)
    tune_collector()
    if parent_process() is not None:
        loop = asyncio.get_event_loop()  # the worker's; it does not run yet
        heed_one_sigterm(loop, worker.end)
        worker.end_with_parent(loop)
    else:
        thread_workers.append(worker)
    return worker


def _give_back(turn: Semaphore) -> None:
    """Let one of the workers of a restart print the address again; no worker runs at this moment."""
    turn.acquire(block=False)
    turn.release()


def _security(tls: Tls | None) -> Security:
    if tls is None:
        return "none"
    return "tls" if tls.client_ca is None else "clients"


def _server(
    given: argparse.Namespace,
    settings: Settings,
    address: str,
    port: int,
    connections: int,
    tls: Tls | None,
) -> AbstractServer[Any]:
    return Granian(
        f"{create_app.__module__}:app",
        address,
        port,
        workers=given.workers,
        interface=Interfaces.ASGI,
        http=HTTPModes(given.http or ("1" if tls is None else "auto")),
        http1_settings=HTTP1Settings(max_buffer_size=_HEAD_SIZE),
        http2_settings=HTTP2Settings(
            max_headers_size=_HEAD_SIZE, keep_alive_interval=1000 * _PING, keep_alive_timeout=_PONG
        ),
        websockets=False,
        runtime_threads=given.runtime_threads,
        runtime_mode=RuntimeModes.mt,
        loop=Loops(_loop(given.loop)),
        backlog=_BACKLOG,
        backpressure=connections,
        # Readers of a worker that died find another one, and the log is not lost with it.
        respawn_failed_workers=given.workers > 1,
        respawn_interval=0.0,  # the old worker has ended by then, see MainProcess.end_workers
        workers_kill_timeout=ceil(settings.drain) + _KILL,
        ssl_cert=None if tls is None else tls.cert,
        ssl_key=None if tls is None else tls.key,
        ssl_ca=None if tls is None else tls.client_ca,
        ssl_client_verify=tls is not None and tls.client_ca is not None,
        ssl_protocol_min=SSLProtocols.tls12,
        log_level=LogLevels(given.log_level),
        log_dictconfig=_logging(given.log_level),
    )


def _loop(name: str) -> str:
    """Choose the event loop: uvloop where it is installed, unless asyncio is asked for."""
    if name == "asyncio":
        return name
    if find_spec("uvloop") is not None:
        return "uvloop"
    if name == "uvloop":
        raise Failure("--loop uvloop: it is not installed; pip install uvloop")
    return "asyncio"


def _logging(level: str) -> dict[str, Any]:
    """Configure granian's logs and ours, all on stderr."""
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
            # At lower levels this library logs a line for every odd byte that a stranger posts.
            "python_multipart": ours | {"level": "ERROR"},
        },
    }
