"""Certificates for tests of TLS: an authority of our own, and what it has signed, as files.

Knows the library of certificates; must not know which server or client reads the files.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Pair"]

LIFE = timedelta(days=1)


class Pair(NamedTuple):
    """The files of a certificate and of its key."""

    cert: str
    key: str


class Authority:
    """A new authority, whose own certificate is at `path`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        own = self._build(self._name, self._key.public_key(), ca=True)
        self.path = self._write(f"{name}.pem", own.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, password: bytes | None = None) -> Pair:
        """Sign a certificate for localhost and 127.0.0.1, which a client may show as well."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._build(_named(name), key.public_key(), ca=False)
        written = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption(),
        )
        cert = self._write(f"{name}.pem", signed.public_bytes(serialization.Encoding.PEM))
        return Pair(cert, self._write(f"{name}.key", written))

    def _write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)

    def _build(self, subject: x509.Name, key: Any, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        places = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - LIFE)
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(places), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
