"""The roads to a Redis: URLs, users, TLS, Sentinel, Cluster; and errors that give no secret away."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.engines import Redis, need_engine
from support.servers import DEADLINE, free_port
from support.stores import Recorder

from fastsse.broadcast.names import Pattern
from fastsse.broadcast.stores import Draft
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.retention import Keep, Retention
from fastsse.errors import SettingError

need_engine(Redis)


@contextmanager
def running(engine: Redis) -> Iterator[Redis]:
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


async def try_out(url: str) -> None:
    """Append, hear of it and read it again."""
    store = open_url(url)
    told = Recorder()
    try:
        await store.open()
        await store.follow(told, 10)
        position = await store.append(Draft(("a",), b"data: x\n\n"), "k")
        assert [position] == [entry.position for entry in await told.told(1)]
        page = await store.read(("a",), 0, position + 1, 100)  # type: ignore[attr-defined]
        assert [position] == [entry.position for entry in page.entries]
    finally:
        await store.close()


class TestUsers:
    async def test_a_user_with_a_password(self) -> None:
        with running(Redis()) as engine:
            rights = ("~{n}:*", "+@all", "-@dangerous")  # without INFO, too
            engine.ask("ACL", "SETUSER", "hub", "on", ">s3cr3t@:/", *rights)
            engine.ask("ACL", "SETUSER", "default", "off")

            await try_out(f"redis://hub:s3cr3t%40%3A%2F@127.0.0.1:{engine.port}/0?namespace=n")

    @pytest.mark.parametrize("user", ["hub:wr0ng@", "", ":wr0ng@"])
    async def test_a_wrong_password_is_an_error_that_does_not_repeat_it(self, user: str) -> None:
        with running(Redis("--requirepass", "right")) as engine:
            with pytest.raises(OSError, match=r"(?i)auth|password") as caught:
                await open_url(f"redis://{user}127.0.0.1:{engine.port}/0").open()

        assert "wr0ng" not in f"{caught.value!r} {caught.value.__cause__!r}"


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("redis://:pa55@h/0?namespace={}", "namespace"),
            ("redis://:pa55@h/0?namespace=" + "x" * 65, "namespace"),
            ("redis://:pa55@h/0?keys=0", "keys"),
            ("redis://:pa55@h/0?keys=never", "keys"),
            ("redis://:pa55@h/zero", "path"),
            ("redis://:pa55@h:x/0", "URL"),
            ("redis+sentinel://:pa55@h:26379", "master"),
            ("redis+sentinel://:pa55@h:26379/main/zero", "path"),
            ("redis://:pa55@h/0?socket_keepalive=maybe&max_connections=x", "redis-py"),
            ("redis://:pa55@h/0?colour=red", "redis-py"),
        ],
    )
    def test_one_that_cannot_be_is_refused_and_its_password_not_repeated(
        self, url: str, words: str
    ) -> None:
        with pytest.raises(SettingError, match=words) as caught:
            open_url(url)

        assert "pa55" not in str(caught.value)

    def test_bounds_of_single_topics_are_refused(self) -> None:
        retention = Retention(Keep(), ((Pattern.of("news"), Keep(events=1)),))

        with pytest.raises(SettingError, match="one stream of Redis"):
            open_url("redis://h/0", retention=retention)

    async def test_another_database(self) -> None:
        with running(Redis()) as engine:
            await try_out(f"redis://127.0.0.1:{engine.port}/3?namespace=n")

            assert b":0" == engine.ask("EXISTS", "{n}:stream")


class TestTls:
    @pytest.fixture
    def files(self, tmp_path: Path) -> tuple[Path, Path]:
        """Make a key, and a certificate that is its own authority."""
        if shutil.which("openssl") is None:
            pytest.skip("no openssl here; apt-get install openssl")
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        return key, certificate

    async def test_a_server_behind_tls(self, files: tuple[Path, Path]) -> None:
        key, certificate = files
        port = free_port()
        flags = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
        with running(Redis("--tls-port", str(port), "--tls-auth-clients", "no", *flags)):
            trusted = f"ssl_ca_certs={certificate}"

            await try_out(f"rediss://127.0.0.1:{port}/0?namespace=n&{trusted}")
            with pytest.raises(OSError, match=r"(?i)certificate"):
                await open_url(f"rediss://127.0.0.1:{port}/0").open()


class TestCluster:
    async def test_a_node_of_a_cluster(self) -> None:
        with running(Redis("--cluster-enabled", "yes")) as engine:
            engine.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            async with asyncio.timeout(DEADLINE):
                while engine.ask("GET", "x") != b"$-1":
                    await asyncio.sleep(0.05)

            await try_out(f"redis+cluster://127.0.0.1:{engine.port}?namespace=n")


class Sentinel(Redis):
    """A Sentinel that watches one master under the name ``main``."""

    def __init__(self, master: int) -> None:
        super().__init__()
        self._master = master

    def command(self) -> list[str]:
        file = self.folder / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor main 127.0.0.1 {self._master} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        return [self.program, str(file), "--sentinel"]


class TestSentinel:
    async def test_the_master_that_sentinel_names_and_its_successor(self) -> None:
        with running(Redis()) as master, running(Redis()) as replica:
            replica.ask("REPLICAOF", "127.0.0.1", str(master.port))
            with running(Sentinel(master.port)) as sentinel:
                url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0?namespace=n"
                store, told = open_url(url), Recorder()
                store._patience = 3 * DEADLINE  # type: ignore[attr-defined]
                await store.open()
                try:
                    await store.follow(told, 10)
                    await store.append(Draft(("a",), b"data: x\n\n"))
                    async with asyncio.timeout(3 * DEADLINE):
                        while replica.ask("EXISTS", "{n}:stream") != b":1":
                            await asyncio.sleep(0.05)
                        while not sentinel.ask("SENTINEL", "REPLICAS", "main").startswith(b"*1"):
                            await asyncio.sleep(0.05)
                    master.kill()

                    await store.append(Draft(("a",), b"data: y\n\n"))

                    blocks = [entry.block for entry in await told.told(2)]
                    assert [b"data: x\n\n", b"data: y\n\n"] == blocks
                finally:
                    await store.close()

    async def test_a_name_that_sentinel_does_not_know(self) -> None:
        with running(Redis()) as master, running(Sentinel(master.port)) as sentinel:
            with pytest.raises(OSError, match="other"):
                await open_url(f"redis+sentinel://127.0.0.1:{sentinel.port}/other").open()
