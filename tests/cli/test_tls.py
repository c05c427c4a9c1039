"""`serve` over TLS: curl and Node read streams, clients show certificates, and bad files are named at the start."""

from __future__ import annotations

import http.client
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import Command
from support.servers import DEADLINE, Server, serve, wait_for

pytest.importorskip("granian")
pytest.importorskip("cryptography")

from support.certificates import Authority, Pair

NODE = """
const http2 = require("http2"), https = require("https"), fs = require("fs");
const [port, ca] = process.argv.slice(1);
const options = { ca: fs.readFileSync(ca), servername: "localhost", ALPNProtocols: ["h2"] };
const done = (text) => { console.log(text); process.exit(0); };
const session = http2.connect(`https://localhost:${port}`, options);
session.on("error", (error) => done(String(error)));
https.get(`https://localhost:${port}/health`, { ca: options.ca }, (answer) => {
  const stream = session.request({ ":path": "/events?topic=a&last_event_id=earliest" });
  let text = "";
  stream.setEncoding("utf8");
  stream.on("data", (part) => {
    text += part;
    if (text.includes("data: over TLS")) done(`${answer.httpVersion} ${session.alpnProtocol}`);
  });
});
"""


class Site:
    """A server over TLS, its authority, and a certificate for its clients."""

    def __init__(self, server: Server, authority: Authority, pair: Pair, client: Pair) -> None:
        self.server = server
        self.authority = authority
        self.pair = pair
        self.client = client

    def curl(self, path: str, *arguments: str) -> tuple[int, str]:
        """Ask by curl; return its exit code and what it has written, after the answer the version of HTTP."""
        url = f"https://localhost:{self.server.port}{path}"
        told = ["-sS", "-m", str(DEADLINE), "-w", "\n%{http_version} %{http_code}"]
        command = ["curl", *told, "--cacert", self.authority.path, *arguments, url]
        done = subprocess.run(command, capture_output=True, check=False, timeout=2 * DEADLINE)
        return done.returncode, (done.stdout + done.stderr).decode()


def site(folder: Path, *, clients: bool) -> Iterator[Site]:
    if shutil.which("curl") is None:
        pytest.skip("no curl here; apt-get install curl")
    authority = Authority(folder)
    pair, client = authority.sign("server"), authority.sign("client")
    flags = ["--tls-cert", pair.cert, "--tls-key", pair.key]
    flags += ["--tls-client-ca", authority.path] if clients else []
    with serve(*flags) as server:
        yield Site(server, authority, pair, client)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from site(tmp_path_factory.mktemp("plain"), clients=False)


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from site(tmp_path_factory.mktemp("mutual"), clients=True)


def test_http_2_is_spoken_over_tls_and_http_1_to_whoever_asks_for_it(plain: Site) -> None:
    two = plain.curl("/health", "--http2")
    one = plain.curl("/health", "--http1.1")
    old = plain.curl("/health", "--tls-max", "1.2")

    assert (0, "2 200") == (two[0], two[1].splitlines()[-1])
    assert (0, "1.1 200") == (one[0], one[1].splitlines()[-1])
    assert (0, "2 200") == (old[0], old[1].splitlines()[-1])


def test_no_version_of_tls_before_1_2_is_spoken(plain: Site) -> None:
    old = ("--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0")

    assert 35 == plain.curl("/health", *old)[0]  # no handshake


def test_a_stream_is_published_and_read_over_tls(plain: Site) -> None:
    code, said = plain.curl(
        "/events?topic=a", "--data", "over TLS", "-H", "Content-Type: text/plain"
    )
    assert (0, "2 200") == (code, said.splitlines()[-1])

    code, said = plain.curl("/events?topic=a&last_event_id=earliest", "-m", "1", "-N")

    assert 28 == code  # a stream has no end, so curl runs into its time-out
    assert "data: over TLS" in said


def test_node_reads_a_stream_over_http_2(plain: Site) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here; apt-get install nodejs")
    plain.curl("/events?topic=a", "--data", "over TLS", "-H", "Content-Type: text/plain")

    command = ["node", "-e", NODE, str(plain.server.port), plain.authority.path]
    done = subprocess.run(command, capture_output=True, check=False, timeout=2 * DEADLINE)

    assert b"1.1 h2\n" == done.stdout, done.stderr


def test_a_plain_request_is_no_way_in(plain: Site) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.server.request("GET", "/health")

    assert 0 == plain.curl("/health")[0]


def test_clients_show_a_certificate_of_the_authority(mutual: Site, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").sign("stranger-client")

    none = mutual.curl("/health")
    good = mutual.curl("/health", "--cert", mutual.client.cert, "--key", mutual.client.key)
    other = mutual.curl("/health", "--cert", stranger.cert, "--key", stranger.key)

    assert none[0] != 0
    assert other[0] != 0
    assert (0, "2 200") == (good[0], good[1].splitlines()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP here")
def test_a_hangup_reads_the_files_anew(plain: Site) -> None:
    def shown() -> str:
        try:
            return ssl.get_server_certificate(("127.0.0.1", plain.server.port), timeout=DEADLINE)
        except OSError:
            return ""  # between the two workers

    before = shown()
    plain.authority.sign("server")  # over the files of the first one

    plain.server.signal(signal.SIGHUP)

    wait_for(lambda: shown() not in ("", before))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write good and bad files, by name."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    good, other = authority.sign("good"), authority.sign("other")
    locked = authority.sign("locked", b"password")
    found = {
        "cert": good.cert,
        "key": good.key,
        "other-key": other.key,
        "locked-cert": locked.cert,
        "locked-key": locked.key,
        "ca": authority.path,
        "missing": str(folder / "missing"),
        "folder": str(folder),
    }
    pem = Path(good.cert).read_text()
    texts = {
        "empty": b"",
        "der": ssl.PEM_cert_to_DER_cert(pem),
        "torn": pem[:200].encode(),
        "garbled": pem.replace("MI", "!!", 1).encode(),
        "torn-key": Path(good.key).read_bytes()[:120] + b"\n-----END PRIVATE KEY-----\n",
        "large": b"x" * (2**20 + 1),
    }
    for name, content in texts.items():
        path = folder / name
        path.write_bytes(content)
        found[name] = str(path)
    return found


@pytest.mark.parametrize(
    ("cert", "key", "ca", "words"),
    [
        ("cert", None, None, ["--tls-cert, --tls-key", "one does not go without the other"]),
        (None, "key", None, ["one does not go without the other"]),
        (None, None, "ca", ["one does not go without the other"]),
        ("missing", "key", None, ["--tls-cert", "missing'", "No such file"]),
        ("folder", "key", None, ["--tls-cert", "directory"]),
        ("cert", "missing", None, ["--tls-key", "missing'", "No such file"]),
        ("cert", "key", "missing", ["--tls-client-ca", "missing'", "No such file"]),
        ("empty", "key", None, ["--tls-cert", "empty'", "has no certificate"]),
        ("key", "cert", None, ["--tls-cert", "has a private key, and no certificate"]),
        ("cert", "cert", None, ["--tls-key", "has a certificate, and no private key"]),
        ("cert", "empty", None, ["--tls-key", "has no private key"]),
        ("cert", "key", "key", ["--tls-client-ca", "no certificate"]),
        ("der", "key", None, ["--tls-cert", "der'", "PEM, not DER"]),
        ("torn", "key", None, ["--tls-cert", "torn'", "cannot be read"]),
        ("garbled", "key", None, ["--tls-cert", "garbled'", "cannot be read"]),
        ("cert", "torn-key", None, ["--tls-key", "torn-key'", "cannot be read"]),
        ("cert", "key", "torn", ["--tls-client-ca", "torn'", "cannot be read"]),
        ("large", "key", None, ["--tls-cert", "more than 1048576 bytes"]),
        ("cert", "other-key", None, ["--tls-key", "other.key'", "another certificate"]),
        ("locked-cert", "locked-key", None, ["--tls-key", "is encrypted", "openssl pkey"]),
    ],
)
def test_bad_files_are_named_at_the_start(
    command: Command,
    files: dict[str, str],
    cert: str | None,
    key: str | None,
    ca: str | None,
    words: list[str],
) -> None:
    given = {"--tls-cert": cert, "--tls-key": key, "--tls-client-ca": ca}
    flags = [part for option, name in given.items() if name for part in (option, files[name])]

    done = command("serve", "--port", "0", *flags)

    assert (1, "") == (done.code, done.out), done
    for word in words:
        assert word in done.err
