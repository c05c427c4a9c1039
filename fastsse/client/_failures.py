"""The meaning of a failure of an HTTP library, in words of ours; and how a socket is shut down under its reader.

The module knows exceptions of the standard library; it must not know an HTTP library.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from fastsse.client.errors import CertificateError, IdleTimeout, NetworkError

__all__ = ["network_error", "shut_down"]


def network_error(error: BaseException, *timeouts: type[BaseException]) -> NetworkError:
    """Make the exception that a caller catches.

    Args:
        error: what the library raised.
        timeouts: the exceptions by which the library says that no byte came in time.
    """
    if isinstance(error, timeouts):
        return IdleTimeout("no byte came in time")
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            # Aiohttp's own kind has none.
            reason = getattr(seen, "verify_message", None) or str(seen)
            return CertificateError(f"the certificate is not to be trusted: {reason}")
        seen = seen.__cause__ or seen.__context__
    text = getattr(error, "strerror", None) or str(error)
    name = type(error).__name__
    return NetworkError(f"{name}: {text}" if text else name)


def shut_down(sock: Any) -> None:
    """Shut a socket down both ways, so that its reader wakes up. A TLS socket is shut down without a word of TLS."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
