"""The store that a command's settings or URL name.

The module knows settings and URLs; it must not know what a command does with a store.
"""

from __future__ import annotations

from fastsse.broadcast.settings import Settings
from fastsse.broadcast.stores import Store
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.retention import Retention
from fastsse.cli.terminal import Failure

__all__ = ["make_store"]


def make_store(settings: Settings) -> Store:
    """Make the store that the settings name, without reaching for its engine.

    Raises:
        SettingError: the URL cannot be one.
        Failure: the driver is not installed; the message names the extra that installs it.
    """
    try:
        return open_url(settings.store, retention=Retention.of(settings))
    except ImportError as error:
        raise Failure(f"--{error}") from error
