"""The pump's pass: who is sent to, who is not, and who is handed back."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest
from support.twins import PUMP, load_twin

from fastsse.broadcast.hub._pump_py import finish
from fastsse.broadcast.hub.subscriber import Gate


@pytest.fixture(params=["py", "c"])
def pump(request: pytest.FixtureRequest) -> ModuleType:
    """One twin's module: `pump.sweep`, `pump.begin`, `pump.Member`, `pump.Half`."""
    return load_twin(request.param, PUMP)


class _Future:
    """granian's finished awaitable, and one that waits, in one."""

    def __init__(self, waits: bool) -> None:
        self.waits = waits

    def __await__(self) -> _Future:
        return self

    def __next__(self) -> Any:
        if not self.waits:
            raise StopIteration
        future = asyncio.get_running_loop().create_future()
        future._asyncio_future_blocking = True
        return future


def member(
    pump: ModuleType, send: Any, position: int = 0, *, live: bool = True, own_task: bool = False
) -> Any:
    made = pump.Member(send, position, own_task)
    made.live = live
    return made


async def _coroutine(_: object) -> None:
    return None


MESSAGE = {"type": "http.response.body", "body": b"x", "more_body": True}


@pytest.mark.parametrize("send", [lambda _: _Future(False), _coroutine])
async def test_who_has_room_is_sent_to_and_moves(pump: ModuleType, send: Any) -> None:
    members = [member(pump, send) for _ in range(3)]

    assert (3, []) == pump.sweep(members, 0, 3, MESSAGE, 1, 5)

    assert [5, 5, 5] == [m.position for m in members]


async def test_a_pass_may_stop_in_the_middle(pump: ModuleType) -> None:
    members = [member(pump, _coroutine) for _ in range(4)]

    assert (2, []) == pump.sweep(members, 1, 3, MESSAGE, 1, 1)

    assert [0, 1, 1, 0] == [m.position for m in members]


async def test_who_has_no_room_is_handed_back_half_sent(pump: ModuleType) -> None:
    blocked = member(pump, lambda _: _Future(True))

    finished, [(subscriber, half)] = pump.sweep([blocked], 0, 1, MESSAGE, 1, 1)

    assert (0, blocked) == (finished, subscriber)
    assert isinstance(half, pump.Half)
    assert not half.done
    assert 1 == blocked.position


async def test_who_has_the_message_already_is_passed_over_and_who_has_a_part_is_handed_back(
    pump: ModuleType,
) -> None:
    whole, part = member(pump, _coroutine, 5), member(pump, _coroutine, 4)

    assert (0, [(part, None)]) == pump.sweep([whole, part], 0, 2, MESSAGE, 3, 5)

    assert (5, 4) == (whole.position, part.position)


async def test_who_is_blocked_is_passed_over_and_who_sends_itself_is_handed_back(
    pump: ModuleType,
) -> None:
    blocked, own_task = (
        member(pump, _coroutine, live=False),
        member(pump, _coroutine, live=False, own_task=True),
    )

    assert (0, [(own_task, None)]) == pump.sweep([blocked, own_task], 0, 2, MESSAGE, 1, 1)


async def test_a_heartbeat_moves_nobody(pump: ModuleType) -> None:
    ahead = member(pump, _coroutine, 7)

    assert (1, []) == pump.sweep([ahead], 0, 1, MESSAGE, 0, 0)

    assert 7 == ahead.position


async def test_what_a_send_raises_is_handed_back_and_stops_nobody(pump: ModuleType) -> None:
    def broken(_: object) -> Any:
        raise OSError("gone")

    async def later(_: object) -> None:
        raise OSError("gone")

    members = [member(pump, broken), member(pump, later), member(pump, _coroutine)]

    finished, rest = pump.sweep(members, 0, 3, MESSAGE, 1, 1)

    assert 1 == finished
    assert [OSError, OSError] == [type(outcome) for _, outcome in rest]


async def test_a_member_is_read_and_changed_from_outside(pump: ModuleType) -> None:
    made = pump.Member(_coroutine, 7, True)
    assert (_coroutine, 7, True, False) == (made.send, made.position, made.own_task, made.live)

    made.send, made.position, made.own_task, made.live = len, 8, False, True

    assert (len, 8, False, True) == (made.send, made.position, made.own_task, made.live)


async def test_what_the_first_step_raises_is_raised_and_so_is_what_a_later_one_does(
    pump: ModuleType,
) -> None:
    async def fail(waits: int) -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        pump.begin(fail(0))
    half = pump.begin(fail(1))
    assert not half.done
    with pytest.raises(OSError, match="gone"):
        half.step()


async def test_a_send_that_is_not_asynchronous_is_said_to_be_so(pump: ModuleType) -> None:
    with pytest.raises(TypeError, match="object int can't be used in 'await' expression"):
        pump.begin(5)

    finished, [(_, error)] = pump.sweep([member(pump, lambda _: 5)], 0, 1, MESSAGE, 1, 1)

    assert (0, TypeError) == (finished, type(error))


async def test_a_half_done_awaitable_is_finished_with_its_value(pump: ModuleType) -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def wait() -> str:
        await asyncio.sleep(0)
        return await future

    half = pump.begin(wait())
    asyncio.get_running_loop().call_soon(future.set_result, "value")

    assert await finish(half, Gate())
    assert "value" == half.value


async def test_a_shut_gate_lets_the_waiting_task_go_and_closes_the_awaitable(
    pump: ModuleType,
) -> None:
    closed: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    gate = Gate()
    half = pump.begin(wait())
    asyncio.get_running_loop().call_soon(gate.close)

    assert not await finish(half, gate)

    assert [True] == closed
    assert not await finish(pump.begin(wait()), gate)


async def test_cancelling_the_task_closes_the_awaitable(pump: ModuleType) -> None:
    closed: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def park() -> None:
        await finish(pump.begin(wait()), Gate())

    task = asyncio.ensure_future(park())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [True] == closed
