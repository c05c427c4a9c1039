"""The history: bounds, order, floors, and gaps that are exact."""

from __future__ import annotations

import random
from collections.abc import Container
from sys import getsizeof

import pytest

from fastsse.broadcast.hub import history as module
from fastsse.broadcast.hub import past as past_module
from fastsse.broadcast.hub import shared
from fastsse.broadcast.hub.history import History, Lost, Record

Shown = int | tuple[int, int, tuple[str, ...]]


def history(followed: Container[str] = (), **bounds: int) -> History:
    found = {"events": 100, "size": 2**20, "total": 2**24, "topics": 100, **bounds}
    kept = (found["events"], found["size"])
    return History(
        kept=lambda _: kept,
        total=found["total"],
        topics=found["topics"],
        followed=lambda topic: topic in followed,
    )


def publish(past: History, position: int, *topics: str, size: int = 10) -> None:
    past.append(Record(position, topics, b"x" * size))


def since(
    past: History, topics: tuple[str, ...], after: int, told: dict[str, int] | None = None
) -> list[Shown]:
    return [
        (i.after, i.position, i.topics) if isinstance(i, Lost) else i.position
        for i in past.since(topics, after, told)
    ]


def test_records_of_several_topics_come_in_one_order() -> None:
    past = history()
    for position, topic in enumerate("abacab", 1):
        publish(past, position, topic)

    assert [1, 2, 3, 5, 6] == since(past, ("a", "b"), 0)
    assert [5, 6] == since(past, ("a", "b"), 3)
    assert [4] == since(past, ("c",), 0)
    assert [] == since(past, ("a",), 6)


def test_a_record_of_two_topics_comes_once() -> None:
    past = history()
    publish(past, 1, "a", "b")
    publish(past, 2, "b")

    assert [1, 2] == since(past, ("a", "b"), 0)


def test_topics_keep_as_much_as_each_may() -> None:
    may = {"few": (2, 2**20), "small": (100, 500), "none": (0, 2**20)}
    past = History(kept=lambda topic: may.get(topic, (100, 2**20)), total=2**24, topics=100)
    for position in range(1, 11):
        publish(past, position, "few", "small", "none", "many", size=10)

    assert [(0, 8, ("few",)), 9, 10] == since(past, ("few",), 0)
    assert [(0, 8, ("small",)), 9, 10] == since(past, ("small",), 0)  # 170 bytes each
    assert [(0, 10, ("none",))] == since(past, ("none",), 0)
    assert list(range(1, 11)) == since(past, ("many",), 0)


def test_a_chatty_topic_does_not_evict_a_quiet_one() -> None:
    past = history(events=3)
    publish(past, 1, "quiet")
    for position in range(2, 50):
        publish(past, position, "chatty")

    assert [1] == since(past, ("quiet",), 0)
    assert [(0, 46, ("chatty",)), 47, 48, 49] == since(past, ("chatty",), 0)


def test_gaps_come_before_what_is_kept_and_the_last_one_moves_the_reader() -> None:
    past = history(events=1)
    for position, topic in enumerate("abcab", 1):
        publish(past, position, topic)

    gaps = [i for i in past.since(("a", "b", "c"), 0) if isinstance(i, Lost)]

    assert [(1, 0), (2, 2)] == [(gap.position, gap.place) for gap in gaps]


def test_a_gap_ends_where_the_last_lost_record_stood() -> None:
    past = history(events=1)
    publish(past, 1, "a")
    publish(past, 2, "b")
    publish(past, 3, "a")

    assert [(0, 1, ("a",)), 2, 3] == since(past, ("a", "b"), 0)
    assert [2, 3] == since(past, ("a", "b"), 1)


def test_what_lies_between_two_floors_is_kept_between_two_gaps() -> None:
    past = history(events=1)
    for position, topic in enumerate("abcab", 1):
        publish(past, position, topic)

    assert [(0, 1, ("a",)), (0, 2, ("b",)), 3, 4, 5] == since(past, ("a", "b", "c"), 0)


def test_a_floor_that_the_reader_knows_of_is_no_gap_until_it_moves() -> None:
    past = history(events=1)
    publish(past, 1, "a")
    publish(past, 2, "a")
    told = past.floors(("a",))

    assert [2] == since(past, ("a",), 0, told)
    publish(past, 3, "a")
    assert [(1, 2, ("a",)), 3] == since(past, ("a",), 0, told)


def test_bytes_per_topic_are_bounded_but_the_newest_record_stays() -> None:
    past = history(size=1000)
    publish(past, 1, "a", size=500)
    publish(past, 2, "a", size=500)
    assert [(0, 1, ("a",)), 2] == since(past, ("a",), 0)

    publish(past, 3, "a", size=5000)
    assert [(0, 2, ("a",)), 3] == since(past, ("a",), 0)
    publish(past, 4, "a", size=1)
    assert [(0, 3, ("a",)), 4] == since(past, ("a",), 0)


def test_a_history_of_no_events_keeps_nothing_and_says_so() -> None:
    past = history(events=0)
    publish(past, 1, "a")

    assert [(0, 1, ("a",))] == since(past, ("a",), 0)
    assert [] == since(past, ("a",), 1)
    publish(past, 2, "a", size=100_000)
    assert past.size < 1000  # the topic's own


def test_the_least_recently_published_topic_is_forgotten_and_its_readers_are_told() -> None:
    past = history(topics=2)
    for position, topic in enumerate("abac", 1):
        publish(past, position, topic)

    assert 2 == past.topics
    assert [(0, 2, ("b",))] == since(past, ("b",), 0)
    assert [] == since(past, ("b",), 2)
    assert [1, 3] == since(past, ("a",), 0)


def test_bytes_over_all_topics_are_bounded() -> None:
    past = history(total=2000)
    for position in range(1, 101):
        publish(past, position, f"t{position}", size=100)

    assert 0 < past.size <= 2000
    assert [100] == since(past, ("t100",), 99)
    assert past.topics < 10


def test_a_flood_on_one_topic_costs_that_topic() -> None:
    past = history(total=100_000, topics=1000)
    for position in range(1, 21):
        publish(past, position, f"quiet{position}", size=300)
    for position in range(21, 200):
        publish(past, position, "flood", size=9000)

    assert [[n] for n in range(1, 21)] == [since(past, (f"quiet{n}",), 0) for n in range(1, 21)]
    lost, *kept = since(past, ("flood",), 0)
    assert isinstance(lost, tuple)
    assert (0, kept[0], ("flood",)) == (lost[0], lost[1] + 1, lost[2])  # type: ignore[operator]
    assert 199 == kept[-1]
    assert past.size <= 100_000
    assert past.trimmed > 100
    assert 0 == past.forgotten


def test_large_events_on_many_new_topics_cost_those() -> None:
    past = history(total=100_000, topics=1000)
    publish(past, 1, "quiet", size=300)
    for position in range(2, 100):
        publish(past, position, f"new{position}", size=9000)

    assert [1] == since(past, ("quiet",), 0)
    assert [99] == since(past, ("new99",), 98)
    assert past.forgotten > 80


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_flood_over_many_new_topics_leaves_what_somebody_follows(when: str) -> None:
    past = history({"quiet"} if when == "before" else (), total=100_000, topics=1000)
    for position in range(1, 6):
        publish(past, position, "quiet", size=300)
    past.follow("quiet", True)
    for position in range(6, 1000):
        publish(past, position, f"new{position}", size=300)

    assert [1, 2, 3, 4, 5] == since(past, ("quiet",), 0)
    assert 50 < past.topics < 120

    past.follow("quiet", False)
    for position in range(1000, 1200):
        publish(past, position, f"new{position}", size=300)
    assert 5 not in since(past, ("quiet",), 0)


def test_a_flood_on_a_followed_topic_leaves_what_is_small_and_followed_by_nobody() -> None:
    past = history({"flood"}, total=100_000, topics=1000)
    publish(past, 1, "quiet", size=300)
    for position in range(2, 100):
        publish(past, position, "flood", size=9000)

    assert [1] == since(past, ("quiet",), 0)


def test_many_new_topics_do_not_push_out_those_that_somebody_follows() -> None:
    past = history({"a", "b"}, topics=10)
    publish(past, 1, "a")
    publish(past, 2, "b", "c")
    for position in range(3, 100):
        publish(past, position, f"new{position}")

    assert ([1], [2]) == (since(past, ("a",), 0), since(past, ("b",), 0))
    assert 10 == past.topics
    assert [(0, 91, ("c",))] == since(past, ("c",), 0)
    for position, name in enumerate("defghijklm", 100):
        past.follow(f"new{position - 1}", True)
        publish(past, position, name)
    assert 10 == past.topics


def test_a_name_is_kept_once_and_let_go_with_its_last_record() -> None:
    past = history(events=2)
    for position in range(1, 4):
        publish(past, position, "stays", *(f"{position}/{n}" for n in range(50)))
    kept = [record for record in past.since(("stays",), 0) if isinstance(record, Record)]
    for position in range(4, 20):
        publish(past, position, "".join(["st", "ays"]))

    [first, last] = [record for record in past.since(("stays",), 17) if isinstance(record, Record)]
    assert first.topics is last.topics
    assert first.topics[0] is kept[0].topics[0]
    assert recounted(past) == past.size


def test_the_event_that_has_just_come_is_kept_whatever_the_total() -> None:
    past = history(total=1, topics=1)
    for position in range(1, 5):
        publish(past, position, f"t{position}", size=5000)

        assert [position] == since(past, (f"t{position}",), position - 1)
        assert 1 == past.topics


def test_only_one_event_is_kept_decoded() -> None:
    records = [Record(n, ("a",), b"data: %d\n\n" % n) for n in range(3)]

    assert ["0", "1", "1", "0"] == [records[n].event.data for n in (0, 1, 1, 0)]
    assert records[2].event is records[2].event


@pytest.mark.parametrize(("after", "expected"), [("a", 0), ("b", 1), ("never", 5), ("ab", 0)])
def test_the_place_before_the_oldest_kept(after: str, expected: int) -> None:
    past = history()
    for position, topic in enumerate("ababa", 1):
        publish(past, position, topic)

    assert expected == past.before_first((after,) if after != "ab" else ("a", "b"))


def test_the_latest_of_each_topic_comes_in_order_and_once() -> None:
    past = history()
    publish(past, 1, "a")
    publish(past, 2, "a", "b")
    publish(past, 3, "c")

    assert [2, 3] == [record.position for record in past.latest(("a", "b", "c"))]


def recounted(past: History) -> int:
    """Count what the history takes, from what is there."""
    records = {
        record for each in past._past.values() for record in each.records if record is not None
    }
    sets = {record.topics for record in records}
    names = {name for topics in sets for name in topics} | set(past._past)
    return (
        sum(len(record.block) + past_module.RECORD for record in records)
        + sum(past_module.SLOT * len(each) + module._TOPIC for each in past._past.values())
        + sum(shared._SET + 8 * len(topics) for topics in sets)
        + sum(shared._NAME + getsizeof(name) for name in names)
    )


@pytest.mark.parametrize("seed", range(20))
def test_at_any_place_a_reader_gets_all_that_is_kept_or_is_told_of_the_rest(seed: int) -> None:
    """Against a log that keeps everything: what is neither delivered nor within a gap would be lost unseen."""
    rng = random.Random(seed)
    past = history(
        events=rng.randint(1, 8),
        size=rng.choice([500, 5000]),
        total=rng.choice([4000, 12_000]),
        topics=4,
    )
    log: list[tuple[int, tuple[str, ...]]] = []
    position = 0
    for _ in range(200):
        position += rng.randint(1, 3)
        if rng.random() < 0.05:  # the store loses some events that the history never has
            for _ in range(rng.randint(1, 3)):
                log.append((position, tuple(sorted(rng.sample("abcdef", rng.randint(1, 2))))))
                position += rng.randint(1, 3)
            past.lost(position - 1)
            assert recounted(past) == past.size
        topics = tuple(sorted(rng.sample("abcdef", rng.randint(1, 2))))
        log.append((position, topics))
        publish(past, position, *topics, size=rng.randint(1, 300))
        past.follow(rng.choice("abcdef"), rng.random() < 0.5)
        assert recounted(past) == past.size
        followed = tuple(sorted(rng.sample("abcdef", rng.randint(1, 4))))
        after = rng.randint(0, position)

        got = since(past, followed, after)

        records = [item for item in got if isinstance(item, int)]
        gaps = [item for item in got if isinstance(item, tuple)]
        assert records == sorted(set(records))
        assert all(record > after for record in records)
        for place, names in log:
            wanted = {name for name in names if name in followed}
            if place > after and wanted:
                told = {t for start, end, ts in gaps if start < place <= end for t in ts} & wanted
                assert (place in records) or told == wanted
                assert not (place in records and told == wanted)
        gone = past.gone(followed, after)
        assert gone == max((end for _, end, _ in gaps), default=0)


class TestLost:
    """Ranges that the store has lost."""

    def test_an_empty_history_begins_after_what_is_lost(self) -> None:
        past = history()

        assert 0 == past.lost(1000)
        publish(past, 1001, "a")

        assert [(5, 1000, ("a",)), 1001] == since(past, ("a",), 5)
        assert [1001] == since(past, ("a",), 1000)
        assert (1001, 1000) == (past.head, past.floors(("a",))["a"])

    def test_what_is_kept_before_a_hole_comes_before_the_gap(self) -> None:
        past = history()
        publish(past, 1, "a")
        publish(past, 2, "b")

        assert 2 == past.lost(10)
        publish(past, 11, "a")

        assert [1, (2, 10, ("a",)), 11] == since(past, ("a",), 0)
        assert [(2, 10, ("c",))] == since(past, ("c",), 0)
        assert [1, 2, (2, 10, ("a", "b")), 11] == since(past, ("a", "b"), 0)

    def test_a_reader_within_a_hole_is_told_of_the_rest_of_it(self) -> None:
        past = history()
        publish(past, 1, "a")
        past.lost(10)
        publish(past, 11, "a")

        assert [(5, 10, ("a",)), 11] == since(past, ("a",), 5)
        assert [11] == since(past, ("a",), 10)

    def test_the_gap_at_the_beginning_does_not_move_a_reader_past_a_hole(self) -> None:
        past = history(events=2)
        for position in range(1, 4):
            publish(past, position, "a")
        past.lost(10)
        publish(past, 11, "b")

        gaps = [item for item in past.since(("b", "c"), 0) if isinstance(item, Lost)]
        both = [item for item in past.since(("a", "b"), 0) if isinstance(item, Lost)]

        assert [(3, 10, 10, True)] == [(g.after, g.position, g.place, g.hole) for g in gaps]
        assert [(0, 1, 1, False), (3, 10, 10, True)] == [
            (g.after, g.position, g.place, g.hole) for g in both
        ]

    def test_a_hole_is_told_for_the_topics_that_have_not_let_go_past_it(self) -> None:
        past = history(events=1)
        publish(past, 1, "a")
        publish(past, 2, "b")
        past.lost(10)
        publish(past, 11, "a")
        publish(past, 12, "a")

        assert [(0, 11, ("a",)), 2, (2, 10, ("b",)), 12] == since(past, ("a", "b"), 0)

    def test_what_was_reported_already_is_not_lost(self) -> None:
        past = history()
        publish(past, 5, "a")

        assert 5 == past.lost(5)
        assert 3 == past.lost(3)

        assert [5] == since(past, ("a",), 0)
        assert 5 == past.head

    def test_of_many_holes_the_oldest_becomes_the_floor(self) -> None:
        past = history()
        for n in range(module._HOLES + 1):
            publish(past, n * 10 + 1, "a")
            past.lost(n * 10 + 5)

        items = since(past, ("a",), 0)

        assert [(0, 5, ("a",)), 11, (11, 15, ("a",))] == items[:3]
        assert 1 + 2 * module._HOLES == len(items)
        assert recounted(past) == past.size

    def test_a_renewed_log_has_no_past(self) -> None:
        past = history()
        publish(past, 1, "a")
        past.lost(3)
        publish(past, 4, "a")

        past.renew(20)
        publish(past, 21, "a")

        assert [(2, 20, ("a",)), 21] == since(past, ("a",), 2)
        assert (1, 0) == (past.topics, past.forgotten)
        assert recounted(past) == past.size

    def test_what_is_gone_ends_at_the_last_floor_or_hole_that_the_reader_does_not_know_of(
        self,
    ) -> None:
        past = history(events=1)
        for position, topic in enumerate("aab", 1):
            publish(past, position, topic)

        assert [1, 1, 0] == [past.gone(("a", "b"), 0), past.gone(("a",), 0), past.gone(("a",), 1)]
        assert 0 == past.gone(("a", "b"), 0, {"a": 1})
        past.lost(9)
        assert [9, 9, 0] == [past.gone(("b",), after) for after in (0, 8, 9)]
        assert 0 == past.gone(("b",), 0, {"b": 9})
