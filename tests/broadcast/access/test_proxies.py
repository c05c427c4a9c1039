"""The client's address behind trusted proxies: what is believed, and that nothing else is.

Each row is a connection's peer, header lines, and the address that counts. The proxies are those of `TRUSTED`.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mutations import Mutation, applied
from support.servers import APP, DEADLINE, Clients, environment, serve, wait_for
from support.starts import STARTS, kill, started, tree

from fastsse.broadcast.access.proxies import HOPS, Proxies
from fastsse.broadcast.settings import Settings
from fastsse.errors import SettingError

TRUSTED = ("10.0.0.0/8", "192.0.2.1", "2001:db8:aaaa::/48", "fe80::/64", "unix")
XFF, FWD = "x-forwarded-for", "forwarded"
Lines = Sequence[tuple[str, str | bytes]]

CASES: list[tuple[str, str, Lines, str]] = [
    ("no header", "10.0.0.1", [], "10.0.0.1"),
    ("a stranger's header", "198.51.100.9", [(XFF, "203.0.113.7")], "198.51.100.9"),
    ("a stranger's Forwarded", "198.51.100.9", [(FWD, "for=203.0.113.7")], "198.51.100.9"),
    ("one proxy", "10.0.0.1", [(XFF, "203.0.113.7")], "203.0.113.7"),
    ("one proxy by address", "192.0.2.1", [(XFF, "203.0.113.7")], "203.0.113.7"),
    ("beside the address", "192.0.2.2", [(XFF, "203.0.113.7")], "192.0.2.2"),
    ("a spoofed first hop", "10.0.0.1", [(XFF, "1.2.3.4, 203.0.113.7")], "203.0.113.7"),
    ("a spoofed proxy", "10.0.0.1", [(XFF, "1.2.3.4, 10.0.0.9, 203.0.113.7")], "203.0.113.7"),
    ("two proxies", "10.0.0.1", [(XFF, "203.0.113.7, 10.0.0.2")], "203.0.113.7"),
    ("three, without blanks", "10.0.0.1", [(XFF, "203.0.113.7,10.0.0.3,10.0.0.2")], "203.0.113.7"),
    ("all are proxies", "10.0.0.1", [(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
    ("two lines", "10.0.0.1", [(XFF, "203.0.113.7"), (XFF, "10.0.0.2")], "203.0.113.7"),
    ("a spoofed line before", "10.0.0.1", [(XFF, "1.2.3.4"), (XFF, "203.0.113.7")], "203.0.113.7"),
    ("an empty last line", "10.0.0.1", [(XFF, "1.2.3.4"), (XFF, "")], "10.0.0.1"),
    ("blanks and tabs", "10.0.0.1", [(XFF, "1.2.3.4 ,\t 203.0.113.7 \t")], "203.0.113.7"),
    ("a port", "10.0.0.1", [(XFF, "203.0.113.7:4711")], "203.0.113.7:4711"),
    ("a port too large", "10.0.0.1", [(XFF, "203.0.113.7:70000")], "10.0.0.1"),
    ("IPv6", "10.0.0.1", [(XFF, "2001:db8::7")], "2001:db8::7"),
    ("IPv6 in full", "10.0.0.1", [(XFF, "2001:DB8:0:0:0:0:0:7")], "2001:db8::7"),
    ("IPv6 in brackets", "10.0.0.1", [(XFF, "[2001:db8::7]")], "2001:db8::7"),
    ("IPv6 with a port", "10.0.0.1", [(XFF, "[2001:db8::7]:443")], "2001:db8::7:443"),
    ("an IPv6 proxy", "2001:db8:aaaa::1", [(XFF, "203.0.113.7")], "203.0.113.7"),
    ("a proxy's zone", "fe80::1%eth0", [(XFF, "203.0.113.7")], "203.0.113.7"),
    ("a hop's zone", "10.0.0.1", [(XFF, "fe80::1%eth0")], "10.0.0.1"),
    ("IPv4 within IPv6, proxy", "::ffff:10.0.0.1", [(XFF, "203.0.113.7")], "203.0.113.7"),
    ("IPv4 within IPv6, hop", "10.0.0.1", [(XFF, "1.2.3.4, ::ffff:203.0.113.7")], "203.0.113.7"),
    ("IPv4 within IPv6, inner", "10.0.0.1", [(XFF, "203.0.113.7, ::ffff:10.0.0.2")], "203.0.113.7"),
    ("unknown", "10.0.0.1", [(XFF, "1.2.3.4, unknown")], "10.0.0.1"),
    ("a name", "10.0.0.1", [(XFF, "1.2.3.4, localhost")], "10.0.0.1"),
    ("an empty hop", "10.0.0.1", [(XFF, "1.2.3.4, ")], "10.0.0.1"),
    ("two commas", "10.0.0.1", [(XFF, "1.2.3.4,,10.0.0.2")], "10.0.0.2"),
    ("leading zeros", "10.0.0.1", [(XFF, "203.0.113.007")], "10.0.0.1"),
    ("three numbers", "10.0.0.1", [(XFF, "203.0.113")], "10.0.0.1"),
    ("one number", "10.0.0.1", [(XFF, "3405803783")], "10.0.0.1"),
    ("a number over 255", "10.0.0.1", [(XFF, "203.0.113.256")], "10.0.0.1"),
    ("digits of another script", "10.0.0.1", [(XFF, "²03.0.113.7".encode())], "10.0.0.1"),
    ("bytes", "10.0.0.1", [(XFF, b"\xff\x00\x80, 203.0.113.7")], "203.0.113.7"),
    ("bytes last", "10.0.0.1", [(XFF, b"203.0.113.7, \xff\xfe")], "10.0.0.1"),
    ("a quote", "10.0.0.1", [(XFF, '"203.0.113.7"')], "10.0.0.1"),
    ("a network", "10.0.0.1", [(XFF, "203.0.113.0/24")], "10.0.0.1"),
    ("a Unix socket", "", [(XFF, "203.0.113.7")], "203.0.113.7"),
    ("a hop by a Unix socket", "10.0.0.1", [(XFF, "203.0.113.7, unix:")], "203.0.113.7"),
    ("too many hops", "10.0.0.1", [(XFF, ", ".join(["1.2.3.4"] + ["10.0.0.2"] * HOPS))], "10.0.0.2"),
    ("many hops", "10.0.0.1", [(XFF, ", ".join(["1.2.3.4"] + ["10.0.0.2"] * (HOPS - 1)))], "1.2.3.4"),
    ("a long lie", "10.0.0.1", [(XFF, "1.2.3.4," * 9000 + "203.0.113.7")], "203.0.113.7"),
    ("a long hop", "10.0.0.1", [(XFF, "1" * 60_000)], "10.0.0.1"),
    ("an address that is cut", "10.0.0.1", [(XFF, "21.2.3.4" + " " * 4089)], "10.0.0.1"),
    ("Forwarded", "10.0.0.1", [(FWD, "for=203.0.113.7")], "203.0.113.7"),
    ("Forwarded with more", "10.0.0.1", [(FWD, "proto=http;For=203.0.113.7;by=10.0.0.1")], "203.0.113.7"),
    ("Forwarded IPv6", "10.0.0.1", [(FWD, 'for="[2001:db8::7]:4711"')], "2001:db8::7:4711"),
    ("Forwarded IPv6 without brackets", "10.0.0.1", [(FWD, 'for="2001:db8::7"')], "10.0.0.1"),
    ("Forwarded, two hops", "10.0.0.1", [(FWD, "for=1.2.3.4, for=203.0.113.7;by=x, for=10.0.0.2")], "203.0.113.7"),
    ("Forwarded, two lines", "10.0.0.1", [(FWD, "for=1.2.3.4"), (FWD, "for=203.0.113.7")], "203.0.113.7"),
    ("an obfuscated identifier", "10.0.0.1", [(FWD, "for=1.2.3.4, for=_hidden")], "10.0.0.1"),
    ("an obfuscated inner hop", "10.0.0.1", [(FWD, "for=1.2.3.4, for=_x, for=10.0.0.2")], "10.0.0.2"),
    ("an obfuscated port", "10.0.0.1", [(FWD, 'for="203.0.113.7:_p"')], "203.0.113.7"),
    ("Forwarded unknown", "10.0.0.1", [(FWD, "for=1.2.3.4, for=unknown")], "10.0.0.1"),
    ("Forwarded without for", "10.0.0.1", [(FWD, "for=1.2.3.4, proto=https")], "10.0.0.1"),
    ("for twice", "10.0.0.1", [(FWD, "for=203.0.113.7;for=1.2.3.4")], "10.0.0.1"),
    ("an open quote on the left", "10.0.0.1", [(FWD, 'for="1.2.3.4, for=203.0.113.7')], "203.0.113.7"),
    ("a quote around a comma", "10.0.0.1", [(FWD, 'for=1.2.3.4, for=203.0.113.7;x=", for=9.9.9.9"')], "203.0.113.7"),
    ("an escaped quote", "10.0.0.1", [(FWD, r'for=203.0.113.7;x="a\", for=9.9.9.9"')], "203.0.113.7"),
    ("one further left", "10.0.0.1", [(FWD, r'for=1.2.3.4, for=203.0.113.7;x="a\", for=9.9.9.9"')], "203.0.113.7"),
    ("an open quote last", "10.0.0.1", [(FWD, 'for=1.2.3.4, for="203.0.113.7')], "10.0.0.1"),
    ("blanks around =", "10.0.0.1", [(FWD, "for = 203.0.113.7")], "10.0.0.1"),
    ("both, of one mind", "10.0.0.1", [(XFF, "203.0.113.7"), (FWD, "for=203.0.113.7")], "203.0.113.7"),
    ("both, a lie", "10.0.0.1", [(XFF, "203.0.113.7"), (FWD, "for=1.2.3.4")], "10.0.0.1"),
    ("both, one odd", "10.0.0.1", [(XFF, "203.0.113.7"), (FWD, "rubbish")], "10.0.0.1"),
    ("another header", "10.0.0.1", [("x-real-ip", "203.0.113.7")], "10.0.0.1"),
]  # fmt: skip


def client(peer: str | None, lines: Lines, **more: Any) -> str:
    """Find the client of a request; its port is shown where it is known."""
    scope = {
        "type": "http",
        "client": None if peer is None else (peer, "4711" if peer == "x" else 0),
        "headers": [
            (name.encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in lines
        ],
    }
    found = Proxies(Settings(trusted_proxies=TRUSTED, **more)).client(scope)
    return "" if found is None else ":".join(str(part) for part in found if part)


@pytest.mark.parametrize(
    ("peer", "lines", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_address_that_counts(peer: str, lines: Lines, expected: str) -> None:
    assert expected == client(peer, lines)


FAULTS = [
    ("every peer is trusted", "Proxies.client", "not self._trusts(peer)", "False"),
    ("every hop is trusted", "Proxies._follow", "not self._trusts(node.address)", "False"),
    ("no hop is trusted", "Proxies._follow", "not self._trusts(node.address)", "True"),
    ("an odd hop is passed over", "Proxies._follow", "break", "continue", "if node is None:\n            "),
    ("the first line is the newest", "_hops", "reversed(lines)", "lines"),
    ("what is cut is whole", "_hops", "cut and not start", "False"),
    ("quotes mean nothing", "_parts", "if quotes else -1", "if False else -1"),
    ("a quote may be escaped anywhere", "_parts", 'line[at - 1] == "\\\\"', "False"),
    ("IPv4 within IPv6 is IPv6", "_plain", "given.ipv4_mapped is not None", "False"),
    ("any port is a port", "_node", "number <= 65535", "True"),
    ("the last for counts", "_for", "if found is not None", "if False"),
    ("headers that differ are one", "_differ", "one.address != other.address", "False"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_the_table_finds_each_fault(fault: tuple[str, ...]) -> None:
    name, place, old, new, *before = fault
    lead = before[0] if before else ""
    mutation = Mutation(
        name, f"proxies:{place}", lead + old, lead + new, package="fastsse.broadcast.access"
    )

    with applied(mutation):
        wrong = [row for row, *case, expected in CASES if client(*case) != expected]

    assert wrong


def test_one_header_alone_may_be_named() -> None:
    both = [(XFF, "203.0.113.7"), (FWD, "for=198.51.100.9")]

    assert "203.0.113.7" == client("10.0.0.1", both, proxy_header=XFF)
    assert "198.51.100.9" == client("10.0.0.1", both, proxy_header=FWD)
    assert "10.0.0.1" == client("10.0.0.1", both[:1], proxy_header=FWD)


def test_a_connection_without_address_is_a_unix_socket() -> None:
    header = [(b"x-forwarded-for", b"203.0.113.7")]
    scope = {"type": "http", "client": None, "headers": header}

    trusting = Proxies(Settings(trusted_proxies=("unix",))).client(scope)
    others = Proxies(Settings(trusted_proxies=("10.0.0.0/8",))).client(scope)

    assert ("203.0.113.7", 0) == trusting
    assert others is None


address = st.ip_addresses().map(str)
text = st.one_of(
    st.binary(max_size=40),
    st.text('for=";,\\[]:.0123456789abcdef_ ', max_size=40).map(str.encode),
    address.map(str.encode),
)


@given(
    lie=st.lists(text, max_size=6),
    honest=st.ip_addresses(v=4, network="203.0.113.0/24"),
    header=st.sampled_from([XFF, FWD]),
)
def test_what_a_client_sends_never_counts(lie: list[bytes], honest: Any, header: str) -> None:
    own = f"for={honest}" if header == FWD else str(honest)
    joined = b", ".join([*lie, own.encode()])
    lines = [(header, part) for part in lie]

    in_one = client("10.0.0.1", [(header, joined)])
    in_lines = client("10.0.0.1", [*lines, (header, own)])

    assert str(honest) == in_one == in_lines


@given(lines=st.lists(st.tuples(st.sampled_from([XFF, FWD]), text), max_size=5))
def test_no_header_is_too_odd(lines: list[tuple[str, bytes]]) -> None:
    client("10.0.0.1", lines)

    assert "198.51.100.9" == client("198.51.100.9", lines)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("10.0.0.0/33", "must be an address"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("2001:db8::1/32", "write 2001:db8::/32"),
        ("proxy.example", "must be an address"),
        ("0.0.0.0/0", "trusts everybody"),
        ("::/0", "trusts everybody"),
        ("*", "must be an address"),
    ],
)
def test_networks_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        Proxies(Settings(trusted_proxies=(name,)))


async def test_quotas_and_logs_have_the_clients_address(
    clients: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--streams-per-address", "1", "--log-level", "info")
    with serve(*flags, "--trusted-proxies", "127.0.0.1") as server:
        target = "/events?topic=a"
        first = await clients.follow(server, target, "X-Forwarded-For: 2001:db8::7")
        head = f"GET {target} HTTP/1.1\r\nX-Forwarded-For: 203.0.113.7, "
        second = await clients.connect(server, head + "2001:db8::8")  # of the same 64 bits
        await second.start()
        third = await clients.connect(server, head + "2001:db8:0:1::7")
        await third.start()
        await first.close()

    assert (429, 200) == (second.status, third.status)
    assert 'remote="2001:db8::7"' in capsys.readouterr().err


async def test_without_trusted_proxies_no_header_counts(clients: Clients) -> None:
    with serve("--streams-per-address", "1") as server:
        await clients.follow(server, "/events?topic=a", "X-Forwarded-For: 203.0.113.7")
        head = "GET /events?topic=a HTTP/1.1\r\nX-Forwarded-For: 203.0.113.8"
        second = await clients.connect(server, head)
        await second.start()

    assert 429 == second.status


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
@pytest.mark.parametrize(
    "command", [["granian", "--interface", "asgi"], ["uvicorn", "--no-proxy-headers"]]
)
def test_a_unix_socket_is_a_proxy_when_that_is_said(command: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, serve_unix(command, f"{folder}/s") as path:
        statuses = [ask(path, address) for address in ("203.0.113.7", "203.0.113.7", "203.0.113.8")]

    assert [400, 429, 400] == statuses  # a post without a topic, one too many, another address


@contextmanager
def serve_unix(command: list[str], path: str) -> Iterator[str]:
    """Run a server at a Unix socket until it answers: an address has one post in a thousand seconds."""

    @contextmanager
    def start() -> Iterator[subprocess.Popen[bytes]]:
        whole = [sys.executable, "-m", *command, "--uds", path, APP]
        quotas = {"FASTSSE_TRUSTED_PROXIES": "unix", "FASTSSE_POSTS_PER_SECOND": "0.001"}
        with subprocess.Popen(whole, env=environment(**quotas)) as process:
            try:
                yield process
            finally:
                kill(tree({process.pid}))  # granian's worker, too

    def answering(_: subprocess.Popen[bytes]) -> str:
        wait_for(lambda: _answers(path), STARTS)
        return path

    with started(command[0], start, answering) as found:
        yield found


def _answers(path: str) -> bool:
    try:
        return ask(path, "192.0.2.99", "GET", "/health") == 200
    except OSError:
        return False


def ask(path: str, address: str, method: str = "POST", target: str = "/events") -> int:
    """Send one request over a Unix socket; return the status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE)
        connection.connect(path)
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        connection.sendall(f"{head}X-Forwarded-For: {address}\r\n\r\n".encode())
        return int(connection.recv(4096).split()[1])
