"""One command-line option for each setting, with its help, made from the settings' own descriptions.

The module knows kinds of settings; it must not know what a setting does.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from functools import partial
from typing import Any

from fastsse.broadcast.knobs import Choice, Knob, Number, Switch, Tables, Text
from fastsse.broadcast.settings import ENVIRONMENT_PREFIX, KNOBS
from fastsse.cli.arguments import names
from fastsse.errors import SettingError

__all__ = ["add_knobs", "given_knobs"]

_PREFIX = "knob_"  # keeps the settings apart from other options in the namespace


def add_knobs(parser: argparse.ArgumentParser, only: Collection[str] = KNOBS) -> None:
    """Add an option for each setting, or for some by name, in a group of its own."""
    group = parser.add_argument_group(
        "settings",
        "A flag goes before the environment variable that its help names, that before --config.",
    )
    for name in only:
        knob = KNOBS[name]
        about = f"{knob.help} (default: {knob.shown}; {ENVIRONMENT_PREFIX}{name.upper()})"
        group.add_argument(
            "--" + name.replace("_", "-"),
            dest=_PREFIX + name,
            help=about.replace("%", "%%"),
            **_form(name, knob),
        )


def given_knobs(given: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the command line by name; None for those that were not given."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in vars(given).items()
        if name.startswith(_PREFIX)
    }


def _form(name: str, knob: Knob) -> dict[str, Any]:
    """Say to argparse how an option of this kind is read."""
    if isinstance(knob, Number):
        return {"type": partial(_read, name, knob), "metavar": knob.spelled_unit.upper()}
    if isinstance(knob, Choice):
        return {"choices": knob.choices}
    if isinstance(knob, Switch):
        return {"action": argparse.BooleanOptionalAction}
    if isinstance(knob, Text):
        return {"metavar": knob.what}
    if isinstance(knob, Tables):
        return {"action": "append", "metavar": knob.form}
    return {"type": names, "metavar": "A,B"}


def _read(name: str, knob: Knob, text: str) -> Any:
    """Read a value as from the environment; argparse shows the rule of a text that is refused."""
    try:
        return knob.parse(name, text)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
