"""The history: bounds, order, floors, and gaps that are exact."""

from __future__ import annotations

import random

import pytest

from fastsse.broadcast.history import Frame, History, Lost

Shown = int | tuple[int, int, tuple[str, ...]]


def history(**bounds: int) -> History:
    found = {"events": 100, "size": 2**20, "total": 2**24, "topics": 100, **bounds}
    kept = (found["events"], found["size"])
    return History(kept=lambda _: kept, total=found["total"], topics=found["topics"])


def publish(past: History, position: int, *topics: str, size: int = 10) -> None:
    past.append(Frame(position, topics, b"x" * size))


def since(
    past: History, topics: tuple[str, ...], after: int, told: dict[str, int] | None = None
) -> list[Shown]:
    return [
        (i.after, i.position, i.topics) if isinstance(i, Lost) else i.position
        for i in past.since(topics, after, told)
    ]


def test_frames_of_several_topics_come_in_one_order() -> None:
    past = history()
    for position, topic in enumerate("abacab", 1):
        publish(past, position, topic)

    assert [1, 2, 3, 5, 6] == since(past, ("a", "b"), 0)
    assert [5, 6] == since(past, ("a", "b"), 3)
    assert [4] == since(past, ("c",), 0)
    assert [] == since(past, ("a",), 6)


def test_a_frame_of_two_topics_comes_once() -> None:
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


def test_a_gap_ends_where_the_last_lost_frame_stood() -> None:
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


def test_bytes_per_topic_are_bounded_but_the_newest_frame_stays() -> None:
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
    assert 0 == past.size


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

    assert [2, 3] == [frame.position for frame in past.latest(("a", "b", "c"))]


@pytest.mark.parametrize("seed", range(20))
def test_at_any_place_a_reader_gets_all_that_is_kept_or_is_told_of_the_rest(seed: int) -> None:
    """Against a log that keeps everything: what is neither delivered nor within a gap would be lost unseen."""
    rng = random.Random(seed)
    past = history(events=rng.randint(1, 8), size=rng.choice([500, 5000]), total=4000, topics=4)
    log: list[tuple[int, tuple[str, ...]]] = []
    position = 0
    for _ in range(200):
        position += rng.randint(1, 3)
        topics = tuple(sorted(rng.sample("abcdef", rng.randint(1, 2))))
        log.append((position, topics))
        publish(past, position, *topics, size=rng.randint(1, 300))
        followed = tuple(sorted(rng.sample("abcdef", rng.randint(1, 4))))
        after = rng.randint(0, position)

        got = since(past, followed, after)

        frames = [item for item in got if isinstance(item, int)]
        gaps = {t: item[1] for item in got if isinstance(item, tuple) for t in item[2]}
        assert frames == sorted(set(frames))
        assert all(frame > after for frame in frames)
        for place, names in log:
            wanted = [name for name in names if name in followed]
            if place > after and wanted and place not in frames:
                assert all(gaps.get(name, 0) >= place for name in wanted)
