"""Event: what a decoder dispatches. Immutable, and the same value in both twins."""

from __future__ import annotations

import contextlib
import copy
import enum
import pickle
import pickletools
from types import ModuleType
from typing import Any

import pytest
from support.standard import MAX_RETRY, Fields, fields_of

FIELDS = [
    Fields("a"),
    Fields(""),
    Fields("a\nb\n", "x", "1", 5),
    Fields("é€😀\u2028\0", "événement", "…", 0),
    Fields('say "it\'s"', " ", " ", MAX_RETRY),
    Fields("a", "", "", None),
]
OTHERS = [
    Fields("b", "x", "1", 5),
    Fields("a", "y", "1", 5),
    Fields("a", "x", "2", 5),
    Fields("a", "x", "1", 6),
    Fields("a", "x", "1", None),
    Fields("a", "x", "", 5),
    Fields("a", "message", "1", 5),
]

every_event = pytest.mark.parametrize("fields", FIELDS, ids=ascii)
Twins = tuple[ModuleType, ModuleType]


class Text(str):
    __slots__ = ()


class TestMaking:
    @every_event
    def test_the_fields_are_what_was_given(self, codec: ModuleType, fields: Fields) -> None:
        assert fields == fields_of(codec.Event(*fields))
        assert fields == fields_of(codec.Event(**fields._asdict()))

    def test_all_but_the_data_have_defaults(self, codec: ModuleType) -> None:
        assert Fields("a", "message", "", None) == fields_of(codec.Event("a"))

    @pytest.mark.parametrize(
        ("arguments", "fields"),
        [
            ((), {}),
            ((), {"event": "x"}),
            (("a", "x", "1", 5, "more"), {}),
            (("a",), {"name": "x"}),
            (("a",), {"data": "b"}),
        ],
        ids=repr,
    )
    def test_other_arguments_are_refused(
        self, codec: ModuleType, arguments: tuple[Any, ...], fields: dict[str, Any]
    ) -> None:
        with pytest.raises(TypeError):
            codec.Event(*arguments, **fields)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"data": None}, "data must be str, not NoneType"),
            ({"data": b"a"}, "data must be str, not bytes"),
            ({"data": {"a": 1}}, "data must be str, not dict"),
            ({"data": "a", "event": None}, "event must be str, not NoneType"),
            ({"data": "a", "event": b"x"}, "event must be str, not bytes"),
            ({"data": "a", "id": None}, "id must be str, not NoneType"),
            ({"data": "a", "id": 1}, "id must be str, not int"),
            ({"data": "a", "retry": "1"}, "retry must be int or None, not str"),
            ({"data": "a", "retry": 1.5}, "retry must be int or None, not float"),
            ({"data": "a", "retry": True}, "retry must be int or None, not bool"),
            ({"data": "a", "retry": False}, "retry must be int or None, not bool"),
        ],
        ids=repr,
    )
    def test_a_field_of_another_type_is_refused(
        self, codec: ModuleType, fields: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(TypeError) as caught:
            codec.Event(**fields)

        assert message == str(caught.value)

    def test_a_subclass_of_str_or_int_counts_as_what_it_holds(self, codec: ModuleType) -> None:
        level = enum.IntEnum("Level", {"HIGH": 5})

        event = codec.Event(Text("a"), Text("x"), Text("1"), level.HIGH)

        assert Fields("a", "x", "1", 5) == fields_of(event)
        assert [str, str, str, int] == [type(value) for value in fields_of(event)]

    def test_any_value_may_be_held_that_the_encoder_would_refuse(self, codec: ModuleType) -> None:
        fields = Fields("\ud800", "a\nb", "1\0", -(2**80))

        assert fields == fields_of(codec.Event(*fields))


class TestImmutable:
    @pytest.mark.parametrize("name", ["data", "event", "id", "retry", "other", "__class__"])
    def test_no_attribute_can_be_set(self, codec: ModuleType, name: str) -> None:
        event = codec.Event("a")

        with pytest.raises((AttributeError, TypeError)):
            setattr(event, name, "b")

        assert Fields("a") == fields_of(event)
        assert codec.Event is type(event)

    @pytest.mark.parametrize("name", ["data", "event", "id", "retry", "other"])
    def test_no_attribute_can_be_deleted(self, codec: ModuleType, name: str) -> None:
        event = codec.Event("a")

        with pytest.raises((AttributeError, TypeError)):
            delattr(event, name)

        assert Fields("a") == fields_of(event)

    def test_a_dispatched_event_is_closed_too(self, codec: ModuleType) -> None:
        (event,) = codec.decode(b"data: a\n\n")

        with pytest.raises(AttributeError):
            event.data = "b"

        assert codec.Event is type(event)

    def test_it_cannot_be_made_anew_in_place(self, codec: ModuleType) -> None:
        event = codec.Event("a", "x", "1", 5)

        with contextlib.suppress(TypeError):
            event.__init__("b")

        assert Fields("a", "x", "1", 5) == fields_of(event)

    def test_it_has_no_room_for_more(self, codec: ModuleType) -> None:
        assert not hasattr(codec.Event("a"), "__dict__")

    def test_it_has_no_subclasses(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError, match="is not an acceptable base type"):
            type("Mine", (codec.Event,), {})


class TestEquality:
    @every_event
    def test_equal_fields_make_equal_events(self, codec: ModuleType, fields: Fields) -> None:
        one, other = codec.Event(*fields), codec.Event(*fields)

        assert one == other
        assert not one != other  # noqa: SIM202 (the operator itself is asked)
        assert hash(one) == hash(other)

    @pytest.mark.parametrize("fields", OTHERS, ids=repr)
    def test_each_field_counts(self, codec: ModuleType, fields: Fields) -> None:
        one, other = codec.Event("a", "x", "1", 5), codec.Event(*fields)

        assert one != other
        assert not one == other  # noqa: SIM201 (the operator itself is asked)
        assert len({one, other}) == 2

    @pytest.mark.parametrize("other", ["a", None, 1, Fields("a"), ("a", "message", "", None)])
    def test_it_equals_nothing_else(self, codec: ModuleType, other: Any) -> None:
        assert codec.Event("a") != other
        assert not codec.Event("a") == other  # noqa: SIM201
        assert other != codec.Event("a")

    def test_another_class_may_claim_to_be_equal(self, codec: ModuleType) -> None:
        class Anything:
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]

        assert codec.Event("a") == Anything()

    def test_a_class_with_the_same_name_is_not_one(self, codec: ModuleType) -> None:
        class Event:
            data, event, id, retry = "a", "message", "", None

        assert codec.Event("a") != Event()

    def test_it_has_no_order(self, codec: ModuleType) -> None:
        with pytest.raises(TypeError):
            codec.Event("a") < codec.Event("b")  # noqa: B015 (raises)

    def test_each_field_counts_for_its_hash(self, codec: ModuleType) -> None:
        events = [codec.Event(*fields) for fields in OTHERS]

        assert len(OTHERS) == len({hash(event) for event in events})

    def test_it_is_a_key(self, codec: ModuleType) -> None:
        seen = {codec.Event("a"): 1, codec.Event("b"): 2}

        assert (1, 2) == (seen[codec.Event("a")], seen[codec.Event("b")])

    @every_event
    def test_both_twins_agree(self, twins: Twins, fields: Fields) -> None:
        pure, compiled = (twin.Event(*fields) for twin in twins)

        assert pure == compiled
        assert compiled == pure
        assert not pure != compiled  # noqa: SIM202
        assert not compiled != pure  # noqa: SIM202
        assert hash(pure) == hash(compiled)
        assert {pure} == {compiled}
        assert repr(pure) == repr(compiled)

    @pytest.mark.parametrize("fields", OTHERS, ids=repr)
    def test_both_twins_differ_alike(self, twins: Twins, fields: Fields) -> None:
        pure, compiled = twins[0].Event("a", "x", "1", 5), twins[1].Event(*fields)

        assert pure != compiled
        assert compiled != pure


class TestText:
    def test_its_repr_is_how_to_make_it(self, codec: ModuleType) -> None:
        event = codec.Event('a\n"b"', "x", "1", 5)

        assert "Event(data='a\\n\"b\"', event='x', id='1', retry=5)" == repr(event)
        assert "Event(data='', event='message', id='', retry=None)" == repr(codec.Event(""))

    @every_event
    def test_its_repr_makes_it_again(self, codec: ModuleType, fields: Fields) -> None:
        event = codec.Event(*fields)

        assert event == eval(repr(event), {"Event": codec.Event})

    def test_it_matches_by_position(self, codec: ModuleType) -> None:
        match codec.Event("a", "x", "1", 5):
            case codec.Event(data, kind, id, retry):
                assert ("a", "x", "1", 5) == (data, kind, id, retry)
            case _:
                pytest.fail("no match")

    def test_it_matches_by_name(self, codec: ModuleType) -> None:
        match codec.Event("a", "x"):
            case codec.Event(event="y"):
                pytest.fail("matched another type")
            case codec.Event(event="x", retry=None, data=data):
                assert "a" == data
            case _:
                pytest.fail("no match")


class TestCopies:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @every_event
    def test_a_pickle_is_equal(self, codec: ModuleType, fields: Fields, protocol: int) -> None:
        event = codec.Event(*fields)

        assert event == pickle.loads(pickle.dumps(event, protocol))

    def test_a_pickle_names_neither_twin(self, codec: ModuleType) -> None:
        pickled = pickle.dumps(codec.Event("a"))

        texts = [argument for _, argument, _ in pickletools.genops(pickled)]
        assert "fastsse.event" in texts
        assert b"_codec" not in pickled

    def test_both_twins_make_one_pickle(self, twins: Twins) -> None:
        pure, compiled = (pickle.dumps(twin.Event("a", "x", "1", 5)) for twin in twins)

        assert pure == compiled

    @pytest.mark.parametrize("make", [copy.copy, copy.deepcopy])
    @every_event
    def test_a_copy_is_equal(self, codec: ModuleType, fields: Fields, make: Any) -> None:
        event = codec.Event(*fields)

        assert event == make(event)

    def test_a_copy_of_what_holds_events_is_equal(self, codec: ModuleType) -> None:
        events = codec.decode(b"data: a\n\nid: 1\ndata: b\n\n")

        assert events == copy.deepcopy(events)


class TestJson:
    @pytest.mark.parametrize(
        ("data", "obj"),
        [
            ("null", None),
            ("[1, 2.5, true]", [1, 2.5, True]),
            ('{"a": {"b": "c\\n"}}', {"a": {"b": "c\n"}}),
            ('"é€😀"', "é€😀"),
            (' {\n "a": 1\n} ', {"a": 1}),
        ],
    )
    def test_the_data_is_parsed(self, codec: ModuleType, data: str, obj: Any) -> None:
        assert obj == codec.Event(data).json()

    @pytest.mark.parametrize("data", ["", "[DONE]", "{", "'a'", "{} {}", "nan", "\ufeff{}"])
    def test_data_that_is_not_json_is_a_value_error(self, codec: ModuleType, data: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 (each library has its own words)
            codec.Event(data).json()

    def test_what_encode_json_wrote_comes_back(self, codec: ModuleType) -> None:
        obj = {"a": [1, None, "b\r\nc\u2028"], "d": {}}

        (event,) = codec.decode(codec.encode_json(obj))

        assert obj == event.json()


class TestEncode:
    @pytest.mark.parametrize(
        ("fields", "block"),
        [
            (Fields("a"), b"data: a\n\n"),
            (Fields(""), b"data: \n\n"),
            (Fields("a\nb", "x", "1", 5), b"id: 1\nevent: x\nretry: 5\ndata: a\ndata: b\n\n"),
            (Fields("a", retry=0), b"retry: 0\ndata: a\n\n"),
            (Fields("a\r\nb\rc"), b"data: a\ndata: b\ndata: c\n\n"),
        ],
        ids=repr,
    )
    def test_a_block_is_exact(self, codec: ModuleType, fields: Fields, block: bytes) -> None:
        assert block == codec.Event(*fields).encode()

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            (Fields("\ud800"), "data"),
            (Fields("a", ""), "event"),
            (Fields("a", "x\ndata: evil"), "event"),
            (Fields("a", "x", "1\r"), "id"),
            (Fields("a", "x", "1\0"), "id"),
            (Fields("a", "x", "1", -1), "retry"),
            (Fields("a", "x", "1", MAX_RETRY + 1), "retry"),
        ],
        ids=ascii,
    )
    def test_what_cannot_be_written_is_refused(
        self, codec: ModuleType, fields: Fields, field: str
    ) -> None:
        event = codec.Event(*fields)

        with pytest.raises(codec.InvalidField) as caught:
            event.encode()

        assert field == caught.value.field

    def test_a_dispatched_event_is_written_as_it_came(self, codec: ModuleType) -> None:
        block = b"id: 1\nevent: x\nretry: 5\ndata: a\ndata: \n\n"

        (event,) = codec.decode(block)

        assert block == event.encode()
