"""docs/operating.md says what is so: the settings, the names of the metrics, the proxy's lines."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from servers import DEADLINE, Clients, Server, environment, free_port, serve, wait_for

from fastsse.broadcast import Hub
from fastsse.broadcast.metrics import Metrics

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operating.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_that_of_the_settings() -> None:
    command = [sys.executable, str(DOCS / "settings.py"), "--check"]

    done = subprocess.run(
        command, capture_output=True, env=environment(), timeout=DEADLINE, check=False
    )

    assert (0, b"") == (done.returncode, done.stdout), done.stderr


async def test_every_metric_that_it_names_is_there() -> None:
    hub = Hub()
    await hub.start()
    families = {family.name for family in Metrics(hub).collect()}
    await hub.stop()

    named = {name.removesuffix("_total") for name in re.findall(r"fastsse_[a-z_]+", PAGE)}

    assert len(named) > 5
    assert set() == named - families


@contextmanager
def nginx(lines: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A proxy with these lines."""
    modules = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in modules)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{lines}}}\n"
    )
    with subprocess.Popen(["nginx", "-e", "stderr", "-p", folder, "-c", config]) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
async def test_events_pass_the_proxy_as_they_come(clients: Clients, tmp_path: Path) -> None:
    match = re.search(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    port = free_port()
    with serve("--hosts", "hub.example") as server:
        lines = match[1].replace("listen 80", f"listen 127.0.0.1:{port}")
        lines = lines.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        with nginx(lines, tmp_path) as process:
            proxy = Server(process, port)
            wait_for(lambda: _answers(proxy))
            stream = await clients.follow(proxy, "/events?topic=a")
            for number in range(3):
                server.publish("a", str(number))

                assert [str(number)] == [event.data for event in await stream.events(1)]
            headers = {"Host": "hub.example"}
            assert 200 == proxy.request("GET", "/health", None, headers).status


def _answers(server: Server) -> bool:
    try:
        return server.request("GET", "/health").status == 200
    except OSError:
        return False
