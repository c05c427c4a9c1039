"""The files of TLS that `serve` hands to its server: looked at before the start, so that a fault is told in words.

granian reads the files again in each worker. A file that is not what its option says would end the worker with a line
that names no file. The module knows files and the standard library's ssl; it must not know which server reads them.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple, NoReturn

from fastsse.cli.terminal import Failure

__all__ = ["Tls", "read_tls"]

_LARGEST = 2**20  # bytes of a file
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = "PRIVATE KEY-----"
_ENCRYPTED = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")
_DECRYPT = "is encrypted, and nobody would type its password; write it without: openssl pkey -in FILE -out KEY"


class Tls(NamedTuple):
    """The files of TLS.

    Attributes:
        cert: the server's certificate, followed by those between it and the authority that clients know.
        key: its private key.
        client_ca: certificates of the authorities, one of which must have signed each client's certificate; None:
            clients need none.
    """

    cert: Path
    key: Path
    client_ca: Path | None


def read_tls(cert: str | None, key: str | None, client_ca: str | None) -> Tls | None:
    """Check the files of the options ``--tls-cert``, ``--tls-key`` and ``--tls-client-ca``; None where none is given.

    Raises:
        Failure: a file that cannot be read, that is not what it should be, or that does not go with the other one.
    """
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise Failure("--tls-cert, --tls-key: one does not go without the other; give both files")
    _check_certificates("--tls-cert", cert)
    _check_key(key)
    _check_pair(cert, key)
    if client_ca is not None:
        _check_certificates("--tls-client-ca", client_ca)
    return Tls(Path(cert), Path(key), None if client_ca is None else Path(client_ca))


def _check_certificates(option: str, path: str) -> None:
    text = _read(option, path)
    if _CERTIFICATE not in text:
        found = "has a private key, and " if _PRIVATE_KEY in text else "has "
        _fail(option, path, f"{found}no certificate; must be PEM, as in {_CERTIFICATE}")
    try:  # with a password, so that OpenSSL does not ask for one at the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        _fail(option, path, f"has a certificate that cannot be read ({_reason(error)})")


def _check_key(path: str) -> None:
    text = _read("--tls-key", path)
    if any(mark in text for mark in _ENCRYPTED):
        _fail("--tls-key", path, _DECRYPT)
    if _PRIVATE_KEY not in text:
        found = "has a certificate, and " if _CERTIFICATE in text else "has "
        _fail("--tls-key", path, f"{found}no private key; must be PEM")


def _check_pair(cert: str, key: str) -> None:
    """Check that the key is the certificate's, whose other faults have been found by now."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH" or error.reason == "KEY_TYPE_MISMATCH":
            _fail("--tls-key", key, f"is the key of another certificate than that of {cert!r}")
        _fail("--tls-key", key, f"cannot be read as the key of {cert!r} ({_reason(error)})")


def _read(option: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        _fail(option, path, f"{error.strerror}")
    if len(content) > _LARGEST:
        _fail(option, path, f"has more than {_LARGEST} bytes")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        _fail(option, path, "is no text; must be PEM, not DER")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or "bad form"
    return str(reason).replace("_", " ").lower()


def _fail(option: str, path: str, words: str) -> NoReturn:
    raise Failure(f"{option} {path!r}: {words}")
