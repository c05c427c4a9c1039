"""The proxies of docs/proxies.md, run with the very blocks of that page.

Nothing of a configuration stands here: a recipe puts a port, an address or a folder into a block, adds what a proxy
needs to run unprivileged in the foreground of a folder of its own, and says how to start it. A block that has lost
what a recipe puts something into fails here, so that page and tests cannot part.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from support.servers import ROOT, Server, environment, wait_for
from support.starts import STARTS, Hung, started

__all__ = ["PAGE", "PROXIES", "Proxy", "absent", "find", "run", "start"]

PAGE = ROOT / "docs" / "proxies.md"
NODE = ROOT / "tests" / "node"
MODULES = Path("/usr/lib/apache2/modules")

Command = list[str]
Recipe = Callable[[list[str], Path, int, int], Command]


class Proxy(NamedTuple):
    """One proxy of docs/proxies.md.

    Attributes:
        name: its heading.
        program: what must be installed.
        install: how, on Debian or from a registry.
        recipe: (blocks, folder, port in front, port of the hub) -> what to start.
        host: the name that browsers call it by.
        tells: a reader that left is known to the hub at once, otherwise at the second heartbeat.
        posts: the body of a POST comes to the hub as it is sent.
        waits: an EventSource survives a restart of the hub.
        versions: the arguments that make it print its version.
    """

    name: str
    program: str
    install: str
    recipe: Recipe
    host: str = "hub.example"
    tells: bool = True
    posts: bool = True
    waits: bool = True
    versions: tuple[str, ...] = ("-v",)


def find(proxy: Proxy) -> str | None:
    """Find a proxy's program: beside this Python, on the path, in the folders of servers."""
    beside = str(Path(sys.executable).parent)
    folders = [beside, os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    if proxy.program == "vite":
        folders = [str(NODE / "node_modules" / ".bin")] if shutil.which("node") else []
    return shutil.which(proxy.program, path=os.pathsep.join(folders))


def absent(why: str) -> NoReturn:
    """Skip, or fail where every proxy is required."""
    if os.environ.get("FASTSSE_REQUIRE_PROXIES", "0") not in ("", "0"):
        pytest.fail(f"FASTSSE_REQUIRE_PROXIES is set, and there is {why}")
    pytest.skip(why)


def blocks(name: str) -> list[str]:
    """Read the fenced blocks under a heading of the page."""
    page = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section is not None, f"{PAGE.name} has no heading {name}"
    return re.findall(r"^```\w+\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)


@contextmanager
def start(proxy: Proxy, port: int, back: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a proxy in front of `back`, and end it with all of its processes. Its words are shown on failure."""
    with contextlib.ExitStack() as stack:
        # Not pytest's folder: workers of another user must be able to enter it.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastsse-proxy-")))
        folder.chmod(0o755)
        said = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            proxy.recipe(blocks(proxy.name), folder, port, back),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=folder,
            env=environment(HOME=str(folder), XDG_DATA_HOME=str(folder)),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))


@contextmanager
def run(proxy: Proxy, port: int, back: Server) -> Iterator[Server]:
    """Run a proxy in front of a server that answers at /health, until it passes such an answer on."""

    def passing(process: subprocess.Popen[bytes]) -> Server:
        front = Server(process, port)
        wait_for(lambda: _passes(proxy, front), STARTS)
        return front

    with started(proxy.name, lambda: start(proxy, port, back.port), passing) as front:
        yield front


def _passes(proxy: Proxy, front: Server) -> bool:
    if front.process.poll() is not None:
        raise Hung(f"ended with {front.process.returncode}")
    try:
        return front.request("GET", "/health", headers={"Host": proxy.host}).status == 200
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)  # some wait for their streams
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _put(text: str, *pairs: tuple[str, str]) -> str:
    """Replace the first of each pair, which must be there, by the second."""
    for old, new in pairs:
        assert old in text, f"{PAGE.name} no longer says {old!r}"
        text = text.replace(old, new)
    return text


def _write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _hub(back: int) -> tuple[str, str]:
    return "127.0.0.1:8000", f"127.0.0.1:{back}"


# --- recipes ----------------------------------------------------------------------------------------------------


def _nginx(given: list[str], folder: Path, port: int, back: int) -> Command:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    server = _put(given[0], _hub(back), ("listen 80;", f"listen 127.0.0.1:{port};"))
    # One process: the workers of a master that root started could not write into the folder.
    head = f"daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n"
    text = f"{head}http {{\naccess_log off;\n{paths}{server}}}\n"
    config = _write(folder, "nginx.conf", text)
    return [_program("nginx"), "-e", "stderr", "-p", str(folder), "-c", config]


def _caddy(given: list[str], folder: Path, port: int, back: int) -> Command:
    site = f"http://:{port} {{\n\tbind 127.0.0.1"
    alone = f"{{\n\tadmin off\n\tstorage file_system {folder}\n\tgrace_period"
    text = _put(given[0], _hub(back), ("hub.example {", site), ("{\n\tgrace_period", alone))
    config = _write(folder, "Caddyfile", text)
    return [_program("caddy"), "run", "--config", config, "--adapter", "caddyfile"]


def _haproxy(given: list[str], folder: Path, port: int, back: int) -> Command:
    config = _put(given[0], _hub(back), ("bind :80\n", f"bind 127.0.0.1:{port}\n"))
    return [_program("haproxy"), "-db", "-f", _write(folder, "haproxy.cfg", config)]


def _apache(given: list[str], folder: Path, port: int, back: int) -> Command:
    site, away = given
    names = "mpm_event authz_core alias asis proxy proxy_http"
    load = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in names.split())
    user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    site = _put(
        site,
        _hub(back),
        ("*:80>", f"127.0.0.1:{port}>"),
        ("/etc/apache2/away.asis", _write(folder, "away.asis", away)),
    )
    own = f"ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog /dev/stderr\nServerName localhost\n"
    config = _write(folder, "httpd.conf", f"{load}{own}{user}Listen 127.0.0.1:{port}\n{site}")
    return [_program("apache2"), "-DFOREGROUND", "-f", config]


def _varnish(given: list[str], folder: Path, port: int, back: int) -> Command:
    vcl = _write(folder, "hub.vcl", _put(given[0], ('"8000"', f'"{back}"')))
    place = ["-n", str(folder / "work"), "-j", "none", "-s", "malloc,32m"]
    return [_program("varnishd"), "-F", "-f", vcl, "-a", f"127.0.0.1:{port}", *place]


def _traefik(given: list[str], folder: Path, port: int, back: int) -> Command:
    static, dynamic = given
    own = ("Host(`hub.example`)", "PathPrefix(`/`)")
    found = _write(folder, "hub.yml", _put(dynamic, _hub(back), own))
    static = _put(static, ('":80"', f'"127.0.0.1:{port}"'), ("/etc/traefik/hub.yml", found))
    quiet = "global: {checkNewVersion: false, sendAnonymousUsage: false}\n"
    return [_program("traefik"), f"--configFile={_write(folder, 'traefik.yml', quiet + static)}"]


def _envoy(given: list[str], folder: Path, port: int, back: int) -> Command:
    front = ("address: 0.0.0.0, port_value: 80}", f"address: 127.0.0.1, port_value: {port}}}")
    text = _put(given[0], front, ("port_value: 8000", f"port_value: {back}"))
    config = _write(folder, "envoy.yaml", text)
    quiet = ["--log-level", "error", "--concurrency", "1", "--disable-hot-restart"]
    return [_program("envoy"), "-c", config, *quiet]


def _vite(given: list[str], folder: Path, port: int, back: int) -> Command:
    _write(folder, "index.html", "<!doctype html><title>A page under development</title>")
    own = f'"/health": {json.dumps(f"http://127.0.0.1:{back}")},\n      "/events":'
    text = _put(given[0], _hub(back), ('"/events":', own))
    config = _write(folder, "vite.config.mjs", text)
    place = ["--host", "127.0.0.1", "--port", str(port), "--strictPort"]
    return [_program("vite"), str(folder), "--config", config, "--logLevel", "error", *place]


def _lighttpd(given: list[str], folder: Path, port: int, back: int) -> Command:
    own = f'server.document-root = "{folder}"\nserver.bind = "127.0.0.1"\nserver.port = {port}\n'
    config = _write(folder, "lighttpd.conf", own + _put(given[0], ("8000", str(back))))
    return [_program("lighttpd"), "-D", "-f", config]


def _squid(given: list[str], folder: Path, port: int, back: int) -> Command:
    folder.chmod(0o777)  # started by root, it writes as another user
    site = _put(
        given[0], ("http_port 80 ", f"http_port 127.0.0.1:{port} "), (" 8000 ", f" {back} ")
    )
    logs = f"access_log none\ncache_log {folder}/log\npid_filename none\ncoredump_dir {folder}\n"
    own = f"{logs}shutdown_lifetime 0 seconds\nvisible_hostname localhost\n"
    config = _write(folder, "squid.conf", own + site)
    return [_program("squid"), "-N", "-n", f"fastsse{port}", "-f", config]


def _program(program: str) -> str:
    found = find(next(proxy for proxy in PROXIES if proxy.program == program))
    assert found is not None
    return found


PROXIES = (
    Proxy("nginx", "nginx", "apt-get install nginx", _nginx),
    Proxy("Caddy", "caddy", "apt-get install caddy", _caddy, versions=("version",)),
    Proxy("HAProxy", "haproxy", "apt-get install haproxy", _haproxy),
    Proxy("Apache", "apache2", "apt-get install apache2", _apache, tells=False, posts=False),
    Proxy("Varnish", "varnishd", "apt-get install varnish", _varnish, versions=("-V",)),
    Proxy("Traefik", "traefik", "pip install --group proxies", _traefik, versions=("version",)),
    Proxy("Envoy", "envoy", "pip install --group proxies", _envoy, versions=("--version",)),
    Proxy("Vite", "vite", "npm install --prefix tests/node", _vite, host="localhost"),
    Proxy("lighttpd", "lighttpd", "apt-get install lighttpd", _lighttpd, tells=False, waits=False),
    Proxy("Squid", "squid", "apt-get install squid", _squid, waits=False),
)
