"""TLS: a certificate that nobody trusts ends the stream at once, and a secured read can be interrupted."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.misbehaving import head
from support.neighbours import need

from fastsse.client import AsyncEventSource, CertificateError, EventSource

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the key")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for localhost that is signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    command = ["openssl", *request, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def url(files: tuple[Path, Path]) -> Iterator[str]:
    """Serve one event over TLS to each connection, and then nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    over = threading.Event()
    threads: list[threading.Thread] = []

    def serve(plain: socket.socket) -> None:
        plain.settimeout(10)
        with plain:
            try:
                with context.wrap_socket(plain, server_side=True) as sock:
                    sock.recv(65536)
                    sock.sendall(head() + b"data: a\n\n")
                    over.wait(10)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(plain,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        yield f"https://localhost:{listener.getsockname()[1]}/"
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("library", ["stdlib", "httpx2", "httpx", "requests"])
def test_a_certificate_that_nobody_trusts_ends_the_stream(url: str, library: str) -> None:
    if library != "stdlib":
        need(library)
    with EventSource(url, client=library) as events:
        with pytest.raises(CertificateError, match="not to be trusted: self-signed certificate"):
            next(events)


@pytest.mark.parametrize("library", ["httpx2", "httpx", "aiohttp"])
async def test_a_certificate_that_nobody_trusts_ends_the_stream_of_a_task(
    url: str, library: str
) -> None:
    need(library)
    async with AsyncEventSource(url, client=library) as events:
        with pytest.raises(CertificateError, match="not to be trusted"):
            await anext(events)


@pytest.mark.parametrize("library", ["stdlib", "httpx2", "httpx", "requests"])
def test_a_secured_read_is_interrupted(
    url: str, library: str, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = str(files[0])
    client: Any = library
    if library == "stdlib":
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
    elif library == "requests":
        client = need(library).Session()
        client.trust_env, client.verify = False, trusted
    else:
        client = need(library).Client(verify=ssl.create_default_context(cafile=trusted))
    events = EventSource(url, client=client)
    assert "a" == next(events).data
    threading.Timer(0.05, events.close).start()

    begun = time.monotonic()

    assert [] == list(events)
    assert time.monotonic() - begun < 2.0
    if library != "stdlib":
        client.close()
