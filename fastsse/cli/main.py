"""The ``fastsse`` command: find the subcommand, run it, and turn its outcome into an exit code.

A subcommand's module is imported when its name is given: all but `serve` and `store` need the standard library, the
codec and the client, and load neither the hub nor a framework. The module knows subcommands and exit codes; it must not
know what a subcommand does.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from fastsse import FastSSEError, SettingError, __version__
from fastsse.cli.terminal import Failure, show

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; those of the process when None.

    Returns:
        The exit code: 0, 1 for a failure, 130 for Ctrl-C.

    Raises:
        SystemExit: code 2 for arguments or settings that are not allowed, 0 after --help and --version.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal lacks must not end the command.
            stream.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser(next((word for word in words if not word.startswith("-")), None))
    given = parser.parse_args(words)
    run: Callable[[argparse.Namespace], int] = given.run
    try:
        return run(given)
    except SettingError as error:
        parser.error(str(error))
    except (Failure, FastSSEError) as failure:
        show(f"fastsse: {failure}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone: print nothing more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(command: str | None) -> argparse.ArgumentParser:
    """Make the parser of all subcommands, with the arguments of the one that will run."""
    parser = argparse.ArgumentParser(
        prog="fastsse",
        description="Server-Sent Events: serve a broadcast, publish, subscribe, read any stream.",
    )
    parser.add_argument("--version", action="version", version=f"fastsse {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (summary, add_arguments) in _COMMANDS.items():
        subparser = commands.add_parser(name, help=summary)
        if name == command:
            add_arguments(subparser)
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import serve

    serve.add_arguments(parser)


def _add_store(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import store

    store.add_arguments(parser)


def _add_publish(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import publish

    publish.add_arguments(parser)


def _add_subscribe(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import subscribe

    subscribe.add_arguments(parser)


def _add_tail(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import tail

    tail.add_arguments(parser)


def _add_decode(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import filters

    filters.add_decode_arguments(parser)


def _add_encode(parser: argparse.ArgumentParser) -> None:
    from fastsse.cli import filters

    filters.add_encode_arguments(parser)


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "serve": ("run a broadcast with its live page", _add_serve),
    "store": ("look at a log, copy it, or trim it", _add_store),
    "publish": ("publish one event, or a stream of them", _add_publish),
    "subscribe": ("print the events of topics as they come", _add_subscribe),
    "tail": ("print the events of any stream as they come", _add_tail),
    "decode": ("turn an event stream into lines of JSON", _add_decode),
    "encode": ("turn lines of JSON into an event stream", _add_encode),
}
