"""The machine without I/O: waits to the millisecond, back-off, limits, and calls at the wrong time."""

from __future__ import annotations

import pytest

from fastsse import EventTooLarge
from fastsse.client import (
    BadRedirect,
    BadStatus,
    Headers,
    NetworkError,
    OutOfTime,
    Request,
    Response,
    StreamEnded,
    TooManyRetries,
    WaitTooLong,
)
from fastsse.client.connection import Again, Connection, Read, State, Stop
from fastsse.client.delays import back_off, retry_after
from fastsse.client.policy import Policy

URL = "http://a.example/events"


class World:
    """A clock and a source of numbers that a test moves."""

    def __init__(self, **policy: object) -> None:
        self.time = 1000.0
        self.random = 1.0 - 2**-53
        self.connection = Connection(
            Request("GET", URL, Headers()),
            Policy(**policy),  # type: ignore[arg-type]
            clock=lambda: self.time,
            now=lambda: 784111777.0,  # Sun, 06 Nov 1994 08:49:37 GMT
            random=lambda: self.random,
        )

    def answer(self, status: int = 200, **headers: str) -> Read | Again | Stop:
        """Make a request and answer it."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if status == 200:
            fields.setdefault("content-type", "text/event-stream")
        url = self.connection.begin().url
        return self.connection.answered(Response(status, Headers(fields), url))

    def stream(self, body: bytes = b"") -> Again | Stop:
        """Make a request whose answer is a stream that ends."""
        assert self.answer() == Read()
        self.connection.feed(body)
        return self.connection.ended()


def delay_of(step: object) -> float:
    assert isinstance(step, Again)
    return step.delay


class TestWaits:
    def test_the_first_wait_is_the_callers(self) -> None:
        assert 3.0 == delay_of(World().stream())

    def test_after_an_event_the_wait_is_the_servers_to_the_millisecond(self) -> None:
        world = World()

        assert [1.234] * 5 == [delay_of(world.stream(b"retry: 1234\ndata:\n\n")) for _ in range(5)]

    def test_failures_in_a_row_double_the_longest_wait_up_to_the_cap(self) -> None:
        world = World(reconnection_time=1.0, max_delay=30.0)

        delays = [delay_of(world.stream()) for _ in range(8)]

        assert pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]) == delays

    def test_no_wait_is_shorter_than_the_reconnection_time(self) -> None:
        world = World(reconnection_time=1.0)
        world.random = 0.0

        assert [1.0] * 8 == [delay_of(world.stream()) for _ in range(8)]

    def test_a_reconnection_time_over_the_cap_counts(self) -> None:
        world = World(reconnection_time=60.0, max_delay=30.0)

        assert [60.0] * 5 == [delay_of(world.stream()) for _ in range(5)]

    def test_a_connection_alone_does_not_end_the_row_of_failures(self) -> None:
        world = World(reconnection_time=1.0)

        assert [1.0, 2.0, 4.0] == pytest.approx(
            [delay_of(world.stream(b": here\nid: 1\n\n")) for _ in range(3)]
        )

    def test_an_event_ends_the_row_of_failures(self) -> None:
        world = World(reconnection_time=1.0)
        for _ in range(3):
            world.stream()

        assert 1.0 == delay_of(world.stream(b"data:\n\n"))
        assert 1.0 == delay_of(world.stream())
        assert 2.0 == pytest.approx(delay_of(world.stream()))

    def test_a_reconnection_time_of_zero_backs_off_in_a_row(self) -> None:
        world = World(reconnection_time=0.0)

        delays = [delay_of(world.stream()) for _ in range(20)]

        assert 0.0 == delays[0]
        assert [0.02, 0.04, 0.08] == pytest.approx(delays[1:4])
        assert 30.0 == pytest.approx(delays[-1])

    def test_the_wait_is_at_random_between_both_ends(self) -> None:
        assert 1.0 == back_off(1.0, 4, 30.0, lambda: 0.0)
        assert 4.5 == back_off(1.0, 4, 30.0, lambda: 0.5)

    def test_ten_million_failures_are_no_overflow(self) -> None:
        assert 30.0 == back_off(1.0, 10_000_000, 30.0, lambda: 1.0)

    def test_wait_left_tells_when_to_come_again(self) -> None:
        world = World(reconnection_time=2.0)
        world.stream()
        assert 2.0 == world.connection.wait_left()

        world.time += 1.5

        assert 0.5 == world.connection.wait_left()

    def test_an_attempt_is_counted_until_an_event(self) -> None:
        world = World()
        for _ in range(3):
            world.stream()

        assert 4 == world.connection.begin().attempt


class TestRetryAfter:
    DATE = "Sun, 06 Nov 1994 08:49:47 GMT"  # ten seconds after the world's time

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("0", 0.0),
            ("120", 120.0),
            ("007", 7.0),
            (DATE, 10.0),
            ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
            ("Sun Nov  6 08:49:47 1994", 10.0),
            ("", 0.0),
            ("-1", 0.0),
            ("1.5", 0.0),
            ("٣", 0.0),
            ("tomorrow", 0.0),
            ("Sun, 99 Nov 1994 08:49:47 GMT", 0.0),
            ("Sun, 06 Nov 1994 08:49:36 GMT", 0.0),
            ("Sun, 06 Nov 99999999 08:49:36 GMT", 0.0),
            ("9" * 5000, 1e15),
        ],
    )
    def test_it_is_read_in_seconds(self, given: str, expected: float) -> None:
        assert expected == retry_after(Headers({"Retry-After": given}), lambda: 784111777.0)

    def test_a_date_is_compared_with_that_of_the_answer(self) -> None:
        headers = Headers({"Retry-After": self.DATE, "Date": "Sun, 06 Nov 1994 08:49:45 GMT"})

        assert 2.0 == retry_after(headers, lambda: 0.0)

    def test_the_longer_wait_counts(self) -> None:
        assert 7.0 == delay_of(World().answer(503, retry_after="7"))
        assert 3.0 == delay_of(World().answer(503, retry_after="1"))

    def test_a_redirect_may_ask_for_a_wait_too(self) -> None:
        assert Again(5.0, None) == World().answer(302, location="/b", retry_after="5")
        assert Again(0.0, None) == World().answer(302, location="/b")

    def test_a_wait_of_a_day_ends_the_stream(self) -> None:
        step = World().answer(503, retry_after="86400")

        assert isinstance(step, Stop)
        assert isinstance(step.why, WaitTooLong)
        assert (3600.0, 86400.0) == (step.why.limit, step.why.asked)
        assert isinstance(step.why.last, BadStatus)

    def test_without_max_wait_a_day_is_waited_for(self) -> None:
        assert 86400.0 == delay_of(World(max_wait=None).answer(503, retry_after="86400"))


class TestLimits:
    def test_retries_in_a_row_are_counted_and_the_last_error_is_told(self) -> None:
        world = World(max_retries=2)
        world.stream()
        world.stream()

        step = world.stream()

        assert isinstance(step.why, TooManyRetries)
        assert 2 == step.why.limit
        assert isinstance(step.why.last, StreamEnded)

    def test_an_event_lets_the_count_begin_anew(self) -> None:
        world = World(max_retries=1)

        for _ in range(5):
            assert isinstance(world.stream(b"data:\n\n"), Again)

    def test_no_retry_lets_the_end_be_the_end(self) -> None:
        world = World(max_retries=0)

        assert Stop(None) == world.stream(b"data:\n\n")
        assert State.STOPPED == world.connection.state

    def test_no_retry_raises_an_error_as_it_is(self) -> None:
        world = World(max_retries=0)
        world.connection.begin()
        error = NetworkError("gone")

        assert Stop(error) == world.connection.ended(error)

    def test_time_is_counted_from_the_first_request(self) -> None:
        world = World(max_time=10.0, reconnection_time=4.0)
        assert world.connection.time_left() is None

        assert isinstance(world.stream(b"data:\n\n"), Again)
        world.time += 4.0
        assert 6.0 == world.connection.time_left()
        assert isinstance(world.stream(b"data:\n\n"), Again)
        world.time += 4.0
        step = world.stream(b"data:\n\n")

        assert isinstance(step.why, OutOfTime)
        assert 10.0 == step.why.limit

    def test_a_caller_who_goes_on_has_all_limits_anew(self) -> None:
        world = World(max_time=10.0, max_retries=1, reconnection_time=1.0)
        world.stream()
        assert isinstance(world.stream().why, TooManyRetries)
        world.time += 60.0

        assert isinstance(world.stream(), Again)

    def test_a_caller_who_goes_on_waits_as_after_any_failure(self) -> None:
        world = World(reconnection_time=2.0)
        world.answer(404)
        assert 2.0 == world.connection.wait_left()
        world.time += 2.0

        world.answer(404)

        assert 4.0 == pytest.approx(world.connection.wait_left())

    def test_a_caller_who_knows_of_a_long_wait_may_come_at_once(self) -> None:
        world = World()
        world.answer(503, retry_after="86400")

        assert 0.0 == world.connection.wait_left()

    def test_redirects_are_bounded(self) -> None:
        world = World(max_redirects=2)
        world.answer(302, location="/1")
        world.answer(302, location="/2")

        step = world.answer(302, location="/3")

        assert isinstance(step.why, BadRedirect)

    def test_an_event_over_the_limit_keeps_what_came_before(self) -> None:
        world = World(max_event_size=10)
        world.answer()

        with pytest.raises(EventTooLarge) as caught:
            world.connection.feed(b"id: 1\ndata: a\n\ndata: 0123456789")

        assert ["a"] == [event.data for event in caught.value.events]
        assert State.FAILED == world.connection.state
        assert "1" == world.connection.begin().headers["last-event-id"]


class TestWrongTimes:
    def test_no_request_begins_while_one_is_under_way(self) -> None:
        world = World()
        world.connection.begin()

        with pytest.raises(RuntimeError, match="while the stream is connecting"):
            world.connection.begin()

    def test_no_request_begins_after_204(self) -> None:
        world = World()
        assert Stop(None) == world.answer(204)

        with pytest.raises(RuntimeError, match="while the stream is stopped"):
            world.connection.begin()

    def test_a_connection_that_is_given_up_is_waited_after(self) -> None:
        world = World(reconnection_time=2.0)
        world.answer()

        world.connection.abandon()

        assert (State.WAITING, 2.0) == (world.connection.state, world.connection.wait_left())

    def test_giving_up_while_waiting_changes_nothing(self) -> None:
        world = World(reconnection_time=2.0)
        world.stream(b"data:\n\n")
        world.time += 1.5

        world.connection.abandon()

        assert 0.5 == world.connection.wait_left()
