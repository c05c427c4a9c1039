"""The ``fastsse`` command: find the subcommand, run it, and turn its outcome into an exit code.

A subcommand's module is imported when its name is given: all but `serve` and `store` need the standard library, the
codec and the client, and load neither the hub nor a framework. The module knows subcommands and exit codes; it must not
know what a subcommand does.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from fastsse import FastSSEError, SettingError, __version__
from fastsse.cli.terminal import Failure, open_closed, settle, show
from fastsse.errors import quote

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
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal lacks must not end the command.
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in words if not word.startswith("-")), "")
    try:
        code = _run(words, command)
        sys.stdout.flush()
        return code
    except SettingError as error:
        _refuse(f"fastsse {command}", str(error))
    except (Failure, FastSSEError) as failure:
        show(f"fastsse: {failure}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        return 1
    except OSError as error:  # the disk to which our output goes is full, for instance
        show(f"fastsse: {error.strerror or error}", sys.stderr)
        return 1
    finally:
        settle()


def _run(words: list[str], command: str) -> int:
    parser = _parser(command)
    if not words:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(f"fastsse {command}", f"unknown arguments: {' '.join(map(quote, unknown))}")
    run: Callable[[argparse.Namespace], int] = given.run
    return run(given)


def _refuse(command: str, why: str) -> NoReturn:
    """End the process because of its arguments."""
    show(f"{command}: error: {why}; {command} --help tells more", sys.stderr)
    raise SystemExit(2)


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, where argparse would list every option before."""

    def error(self, message: str) -> NoReturn:
        """End the process with code 2."""
        _refuse(self.prog, message)


def _parser(command: str) -> argparse.ArgumentParser:
    """Make the parser of all subcommands, with the arguments of the one that will run."""
    parser = _Parser(
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
