"""Eras: numbers of logs that follow each other, as positions that only grow."""

from __future__ import annotations

import pytest

from fastsse.broadcast.hub.eras import Eras
from fastsse.broadcast.stores import Log


def test_in_the_first_log_a_position_is_its_number() -> None:
    eras = Eras("a")

    assert ["a-0", "a-7"] == [eras.id(0), eras.id(7)]
    assert [7, 7] == [eras.position(7), eras.number(7)]


def test_a_renewed_log_goes_on_after_the_last_position() -> None:
    eras = Eras("a")

    place = eras.renew(Log("b", 0, 40), 70)

    assert "b-40" == eras.id(place)
    assert 40 == eras.number(place)
    assert [place - 1, place, place + 1] == [eras.position(n) for n in (39, 40, 41)]
    assert "b-41" == eras.id(eras.position(41))


def test_positions_of_earlier_logs_keep_their_ids() -> None:
    eras = Eras("a")
    second = eras.renew(Log("b", 30, 40), 70)
    third = eras.renew(Log("c", 0, 0), second + 5)
    eras.anchor(1)

    ids = [eras.id(position) for position in (70, second, second + 5, third, third + 1)]

    assert ["a-70", "b-40", "b-45", "c-0", "c-1"] == ids


def test_all_numbers_that_a_renewed_log_holds_have_positions_of_their_own() -> None:
    eras = Eras("a")
    place = eras.renew(Log("b", 30, 40), 70)

    positions = [eras.position(number) for number in range(30, 41)]

    assert list(range(71, 82)) == positions
    assert place == positions[-1]
    assert 71 == eras.position(3)  # gone from the log: the place before its first entry


def test_the_first_number_of_an_empty_log_may_be_huge() -> None:
    eras = Eras("a")
    place = eras.renew(Log("b"), 70)
    before = eras.id(place)

    assert eras.loose
    eras.anchor(2**61)

    assert "b-0" == before
    assert not eras.loose
    assert (place + 1, place + 2) == (eras.position(2**61), eras.position(2**61 + 1))
    assert place == eras.position(0)  # the id that readers have from before the first entry
    assert f"b-{2**61}" == eras.id(place + 1)


def test_positions_fit_63_bits_however_often_logs_are_renewed() -> None:
    eras = Eras("a")
    head = 2**62 - 1

    for n in range(50):
        head = eras.renew(Log(f"b{n}", 0, 2**62 - 1 if n % 2 else 0), head)
        if eras.loose:
            eras.anchor(2**61)
        head += 1000

    assert head < 2**63


def test_a_place_in_a_forgotten_era_still_has_an_id() -> None:
    eras = Eras("a")
    head = 5
    for n in range(20):
        head = eras.renew(Log(f"b{n}", 0, 3), head) + 2

    assert eras.id(1).endswith("-0")
    assert eras.id(head).startswith("b19-")


@pytest.mark.parametrize("number", [1, 40])
def test_a_log_of_one_number_is_not_loose(number: int) -> None:
    eras = Eras("a")

    place = eras.renew(Log("b", number, number), 9)

    assert not eras.loose
    assert (10, f"b-{number}") == (place, eras.id(place))


def test_a_log_is_known_while_it_is_remembered() -> None:
    eras = Eras("a")
    for name in "bcd":
        eras.renew(Log(name), 10)

    assert [True, True, False] == [eras.knows(name) for name in "ade"]
