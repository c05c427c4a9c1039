"""``fastsse serve``: a broadcast with its live page, in a process of its own.

The options are read, what would be unsafe or would not work is refused, and the rest goes to the launcher
(`granian.py`). The module knows options and settings; it must not know signals, nor what the app does with a request.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from dataclasses import replace

from fastsse.broadcast.settings import ENVIRONMENT_PREFIX, KNOBS, Settings
from fastsse.broadcast.stores.opening import is_shared
from fastsse.cli.address import check_free, hold_port, operator_ports, resolve
from fastsse.cli.arguments import port, positive
from fastsse.cli.connections import SPARE, allow_connections
from fastsse.cli.knobs import add_knobs, given_knobs
from fastsse.cli.stores import make_store
from fastsse.cli.terminal import WARNING, Failure, show
from fastsse.cli.tls import Tls, read_tls

__all__ = ["add_arguments"]

_ALIKE = 0.9  # how much of a variable's name has to be a setting's
_THREADS = 2  # that write to sockets, where there are processors for them

_NO_ACCESS_CONTROL = (
    "other machines can reach it, and there is no access control: set --keys, so that readers and publishers need "
    "tokens, or pass --open to let everybody read and publish"
)

_OPENED = (
    "--open: everybody who reaches {} can read every topic but private/…, publish to every topic and end it, and read "
    "/metrics and /health"
)

_FEW_NAMES = "answers to addresses, localhost and {} alone; pass --hosts hub.example for the name that readers use"

_ONE_WORKER = (
    "must be 1 with this store: each worker is a hub of its own, and what is published at one would not reach the "
    "others; take a store that processes share (--store redis://…), or more --runtime-threads"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`, those of all settings among them, and what runs it."""
    parser.description = "Run a broadcast with its live page under granian."
    parser.set_defaults(run=_serve)
    add = parser.add_argument
    add("--host", default="127.0.0.1",
        help="address to bind; a public one needs --keys, or --open (default: %(default)s)")  # fmt: skip
    add("--port", type=port, default=8000, help="0: any free one (default: %(default)s)")
    add("--open", action="store_true",
        help="allow a public address without keys: everybody may read and publish")  # fmt: skip
    add("--workers", type=positive, default=1, metavar="N",
        help="processes; more than one need a --store that processes share (default: %(default)s)")  # fmt: skip
    add("--runtime-threads", type=positive, default=min(_THREADS, _processors()), metavar="N",
        help="threads that write to sockets: the way to more cores (default: %(default)s; 1 on one core)")  # fmt: skip
    add("--connections", type=positive, metavar="N",
        help="connections of all kinds at a time, streams included; further ones wait unanswered (default: "
        f"max_streams and max_bodies, and {SPARE:,} for pages, probes and idle ones)")  # fmt: skip
    add("--loop", choices=("auto", "asyncio", "uvloop"), default="auto",
        help="event loop; auto: uvloop where it is installed (default: %(default)s)")  # fmt: skip
    add("--http", choices=("1", "2", "auto"),
        help="auto: HTTP/1 and HTTP/2; without TLS 12 KiB more a connection (default: auto with TLS, otherwise "
        "1)")  # fmt: skip
    add("--log-level", choices=("critical", "error", "warning", "info", "debug"), default="warning",
        help="logs go to stderr (default: %(default)s)")  # fmt: skip
    add("--config", metavar="FILE",
        help="a TOML file with the settings below as keys, such as max_streams")  # fmt: skip
    _add_reach(parser)
    add_knobs(parser)


def _add_reach(parser: argparse.ArgumentParser) -> None:
    """Add the options of how the server is reached beside its address: TLS, and the operators' port."""
    add = parser.add_argument
    add("--tls-cert", metavar="FILE",
        help="serve over TLS: the certificate, and those between it and the authority, as PEM; needs "
        "--tls-key")  # fmt: skip
    add("--tls-key", metavar="FILE", help="the certificate's private key, as PEM, not encrypted")
    add("--tls-client-ca", metavar="FILE",
        help="authorities, as PEM, one of which must have signed each client's certificate "
        "(default: clients need none)")  # fmt: skip
    add("--operator-port", type=port, metavar="PORT",
        help="loopback port for /metrics and all of /health, which are then told nowhere else; worker by worker "
        "one port more; 0: any free ones (default: where readers are served)")  # fmt: skip


def _processors() -> int:
    """Return how many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _serve(given: argparse.Namespace) -> int:
    settings = _settings(given)
    tls = read_tls(given.tls_cert, given.tls_key, given.tls_client_ca)
    shared = is_shared(make_store(settings))
    if given.workers != 1 and not shared:
        raise Failure(f"--workers {given.workers}: {_ONE_WORKER}")
    address, public = resolve(given.host)
    if public and not settings.keys and settings.may == "none":
        if not given.open:
            raise Failure(f"--host {given.host}: {_NO_ACCESS_CONTROL}")
        print(f"fastsse: {_OPENED.format(given.host)}", file=sys.stderr)
    if public and not settings.hosts:
        print(f"fastsse: {_FEW_NAMES.format(given.host)}", file=sys.stderr)
    settings = replace(settings, hosts=(*settings.hosts, given.host.partition("%")[0]))
    with hold_port(address, given.port) as bound:
        check_free("--operator-port", operator_ports(given.operator_port, given.workers))
        connections = allow_connections(given.connections, settings)
        _launcher()(given, settings, address, bound, connections, tls)
    return 0


def _settings(given: argparse.Namespace) -> Settings:
    for name in sorted(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX) and (near := _meant(name)):
            show(f"fastsse: {name}: is no setting; {near} is", sys.stderr, WARNING)
    try:
        return Settings.load(file=given.config, **given_knobs(given))
    except OSError as error:
        raise Failure(f"--config {given.config!r}: {error.strerror}") from error


def _meant(variable: str) -> str:
    """Return the setting that a variable of the environment misspells; empty where it is a setting, or like none.

    Unknown variables are no error, because others set some of this name: Kubernetes does for a service ``fastsse``.
    """
    known = [ENVIRONMENT_PREFIX + name.upper() for name in KNOBS]
    if variable in known:
        return ""
    return next(iter(difflib.get_close_matches(variable, known, 1, _ALIKE)), "")


def _launcher() -> Callable[[argparse.Namespace, Settings, str, int, int, Tls | None], None]:
    """Import what runs the server; granian and the app's libraries are imported only now."""
    try:
        from fastsse.cli.granian import launch
    except ImportError as error:
        raise Failure(f"serve needs {error.name}: pip install 'fastsse-core[server]'") from error
    return launch
