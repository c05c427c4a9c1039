"""The exception tree: what catches what, what each says, and that each survives a pickle and a copy."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import pytest

from fastsse import (
    BlockTooLarge,
    Event,
    EventTooLarge,
    FastSSEError,
    InvalidField,
    LimitExceeded,
    LineTooLong,
    SettingError,
    errors,
)

ERRORS: dict[str, FastSSEError] = {
    "the root": FastSSEError("what"),
    "a field of text": InvalidField("id", "1\n", "must not contain CR or LF"),
    "a field of bytes": InvalidField("data", b"\xff", "must be valid UTF-8"),
    "a field of bool": InvalidField("retry", True, "must be a whole number"),
    "a field of None": InvalidField("data", None, "leaves nothing to write"),
    "a limit": LimitExceeded(5, []),
    "a line": LineTooLong(5, [b"a", b""]),
    "a block": BlockTooLarge(5, [b"a\n\n"]),
    "a setting": SettingError("retry -1: must be 0 to 5"),
    "an event": EventTooLarge(5, [Event("a", "x", "1", 5)]),
}
every_error = pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
LONG = {
    "text": "x" * 2**20,
    "bytes": b"x" * 2**20,
    "a list": list(range(10_000)),
    "a number": 10**4000,
    "what repr makes longer": "\0" * 20,
}


class TestTree:
    def test_every_name_descends_from_the_root(self) -> None:
        assert all(issubclass(getattr(errors, name), FastSSEError) for name in errors.__all__)

    @pytest.mark.parametrize(
        ("error", "bases"),
        [
            (FastSSEError, (Exception,)),
            (InvalidField, (FastSSEError, ValueError)),
            (LimitExceeded, (FastSSEError,)),
            (LineTooLong, (LimitExceeded,)),
            (BlockTooLarge, (LimitExceeded,)),
            (EventTooLarge, (LimitExceeded,)),
            (SettingError, (FastSSEError, ValueError)),
        ],
    )
    def test_it_is_as_drawn(self, error: type[Exception], bases: tuple[type, ...]) -> None:
        assert bases == error.__bases__

    def test_the_drawing_names_every_class(self) -> None:
        assert errors.__doc__ is not None
        assert all(name in errors.__doc__ for name in errors.__all__)

    def test_both_twins_raise_the_same_classes(self, codec: ModuleType) -> None:
        assert (InvalidField, EventTooLarge, LineTooLong) == (
            codec.InvalidField,
            codec.EventTooLarge,
            codec.LineTooLong,
        )

    def test_an_invalid_field_is_a_value_error(self, codec: ModuleType) -> None:
        with pytest.raises(ValueError, match="must not contain CR or LF"):
            codec.encode("x", id="\n")


class BadRepr:
    def __repr__(self) -> str:
        raise KeyError("no repr")


class TestMessages:
    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (InvalidField("id", "1\n", "is so"), "id '1\\n': is so"),
            (InvalidField("retry", -1, "is so"), "retry -1: is so"),
            (InvalidField("data", b"\xff", "is so"), "data b'\\xff': is so"),
            (InvalidField("data", None, "is so"), "data None: is so"),
            (LineTooLong(5, []), "line is over 5 bytes; reset() to go on, or raise the limit"),
            (BlockTooLarge(5, []), "block is over 5 bytes; reset() to go on, or raise the limit"),
            (EventTooLarge(5, []), "event is over 5 bytes; reset() to go on, or raise the limit"),
            (LimitExceeded(5, []), "input is over 5 bytes; reset() to go on, or raise the limit"),
        ],
    )
    def test_they_say_what_was_given_and_what_is_allowed(
        self, error: FastSSEError, message: str
    ) -> None:
        assert message == str(error)

    @pytest.mark.parametrize("value", LONG.values(), ids=LONG.keys())
    def test_a_long_value_is_shortened(self, value: Any) -> None:
        message = str(InvalidField("data", value, "is so"))

        assert len("data : is so") + 60 == len(message)
        assert message.endswith("…: is so")

    @pytest.mark.parametrize("size", range(55, 62))
    def test_a_value_is_shown_whole_while_it_fits(self, size: int) -> None:
        value = "x" * size

        shown = str(InvalidField("data", value, "is so"))

        assert (repr(value) if size <= 58 else "'" + "x" * 58 + "…") == shown[5:-7]

    @pytest.mark.parametrize(("size", "shown"), [(4, "xxxx"), (5, "xxxxx"), (6, "xxxx…")])
    def test_a_text_is_cut_to_what_a_place_has_for_it(self, size: int, shown: str) -> None:
        assert shown == errors.shorten("x" * size, 5)

    def test_a_number_too_large_for_text_is_shown_by_its_type(self, codec: ModuleType) -> None:
        with pytest.raises(InvalidField) as caught:
            codec.encode("x", retry=10**5000)

        assert "retry of type int: must be a whole number of milliseconds" in str(caught.value)

    def test_a_value_without_a_repr_is_shown_by_its_type(self, codec: ModuleType) -> None:
        with pytest.raises(InvalidField) as caught:
            codec.encode("x", retry=BadRepr())

        assert str(caught.value).startswith("retry of type BadRepr: ")

    def test_a_message_is_one_line(self, codec: ModuleType) -> None:
        with pytest.raises(InvalidField) as caught:
            codec.encode("x", id="1\r\ndata: evil")

        assert 1 == len(str(caught.value).splitlines())


def parts(error: FastSSEError) -> tuple[Any, ...]:
    return type(error), str(error), error.args, vars(error)


class TestCopies:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @every_error
    def test_a_pickle_tells_the_same(self, error: FastSSEError, protocol: int) -> None:
        assert parts(error) == parts(pickle.loads(pickle.dumps(error, protocol)))

    @pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
    @every_error
    def test_a_copy_tells_the_same(self, error: FastSSEError, make: Any) -> None:
        assert parts(error) == parts(make(error))

    def test_one_that_was_raised_tells_the_same(self, codec: ModuleType) -> None:
        raised = []
        for call in (
            lambda: codec.encode("x", id="\n"),
            lambda: codec.encode(b"\xff"),
            lambda: codec.encode(memoryview(b"\xff")),
            lambda: codec.Decoder(max_event_size=9).feed(b"data: a\n\ndata: bcdef\n\n"),
            lambda: codec.LineSplitter(max_line_size=2).feed(b"a\nbcd\n"),
        ):
            with pytest.raises(FastSSEError) as caught:
                call()
            raised.append(caught.value)

        again = pickle.loads(pickle.dumps(raised))

        assert [parts(error) for error in raised] == [parts(error) for error in again]
        assert [codec.Event("a")] == again[3].events
        assert [b"a"] == again[4].lines
