"""The gate: a task that waits in somebody else's `receive` is called back, and hears every cancellation but ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.driver import turns

from fastsse._gate import Bell, Gate, cancellable_task, outlast

ORDERS = pytest.mark.parametrize("order", ["ours first", "theirs first"])
GONE = {"type": "http.disconnect"}
PIECE = {"type": "http.request", "body": b"", "more_body": True}


class Client:
    """A client that sends `pieces` messages, and then stays until the test tells it to go."""

    def __init__(self, pieces: int = 0) -> None:
        self.gone = asyncio.Event()
        self.pieces = pieces
        self.asked = 0

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self.asked <= self.pieces:
            return PIECE
        await self.gone.wait()
        return GONE


async def entered(gate: Gate, receive: Any = None) -> asyncio.Task[tuple[bool, int]]:
    """Start a task that waits at the gate. Its result is that of `listen`, and the cancellations left in the task."""
    task = asyncio.create_task(listen(gate, receive or Client().receive))
    await turns()
    assert not task.done()
    return task


async def listen(gate: Gate, receive: Any) -> tuple[bool, int]:
    gone = await gate.listen(receive)
    await asyncio.sleep(0)  # where a cancellation that was left over would strike
    return gone, cancellations()


def cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def at_once(order: str, gate: Gate, schedule: Callable[..., object], *arguments: object) -> None:
    """Cancel the task twice in one turn of the loop, by the gate and by `schedule`, before the task hears of either."""
    if order == "ours first":
        gate.close()
        schedule(*arguments)
    else:
        schedule(*arguments)
        gate.close()


class TestListening:
    async def test_it_ends_when_the_client_has_gone(self) -> None:
        client = Client(pieces=3)
        task = await entered(Gate(), client.receive)

        client.gone.set()

        assert (True, 0) == await task
        assert 4 == client.asked

    async def test_it_ends_when_the_gate_is_closed(self) -> None:
        gate = Gate()
        task = await entered(gate)

        gate.close()

        assert (False, 0) == await task

    async def test_it_does_not_begin_at_a_closed_gate(self) -> None:
        gate, client = Gate(), Client()
        gate.close()

        assert (False, 0) == await listen(gate, client.receive)
        assert 0 == client.asked

    @pytest.mark.parametrize("first", ["gone", "closed"])
    async def test_a_client_that_goes_as_the_gate_closes_leaves_no_cancellation_behind(
        self, first: str
    ) -> None:
        gate, client = Gate(), Client()
        task = await entered(gate, client.receive)

        for act in (
            (client.gone.set, gate.close) if first == "gone" else (gate.close, client.gone.set)
        ):
            act()

        assert 0 == (await task)[1]

    async def test_a_gate_that_its_own_task_closes_lets_it_go(self) -> None:
        gate, client = Gate(), Client()

        async def receive() -> dict[str, Any]:
            gate.close()
            return await client.receive()

        assert (False, 0) == await asyncio.create_task(listen(gate, receive))

    async def test_a_receive_that_swallows_our_cancellation_leaves_none_behind(self) -> None:
        gate = Gate()

        async def receive() -> dict[str, Any]:
            try:
                return await Client().receive()
            except asyncio.CancelledError:
                return PIECE

        task = await entered(gate, receive)

        gate.close()

        assert (False, 0) == await task

    async def test_a_receive_that_fails_when_it_is_cancelled_fails_and_leaves_none_behind(
        self,
    ) -> None:
        gate = Gate()

        async def receive() -> dict[str, Any]:
            try:
                return await Client().receive()
            except asyncio.CancelledError:
                raise OSError("the connection is lost") from None

        task = await entered(gate, receive)

        gate.close()

        with pytest.raises(OSError, match="lost"):
            await task
        assert 0 == task.cancelling()

    async def test_a_cancellation_that_was_swallowed_before_is_not_taken_for_a_new_one(
        self,
    ) -> None:
        gate = Gate()

        async def serve() -> tuple[bool, int]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return await listen(gate, Client().receive)
            raise AssertionError("it was to be cancelled")

        task = asyncio.create_task(serve())
        await turns()
        task.cancel()
        await turns()

        gate.close()

        assert (False, 1) == await task


class TestOthersCancellations:
    async def test_one_goes_through(self) -> None:
        task = await entered(Gate())

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

    @ORDERS
    async def test_one_goes_through_as_the_gate_closes(self, order: str) -> None:
        gate = Gate()
        task = await entered(gate)

        at_once(order, gate, asyncio.get_running_loop().call_soon, task.cancel)

        with pytest.raises(asyncio.CancelledError):
            await task
        assert 1 == task.cancelling()

    @ORDERS
    async def test_a_timeout_that_is_up_as_the_gate_closes_is_a_timeout(self, order: str) -> None:
        gate = Gate()
        limits: list[asyncio.Timeout] = []

        async def serve() -> None:
            async with asyncio.timeout(None) as limit:
                limits.append(limit)
                await gate.listen(Client().receive)

        task = asyncio.create_task(serve())
        await turns()

        at_once(order, gate, limits[0].reschedule, 0)

        with pytest.raises(TimeoutError):
            await task
        assert 0 == task.cancelling()


class TestATaskThatCannotBeCancelled:
    @pytest.fixture(autouse=True)
    def shell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the test's task look like a shell, as granian's rust tasks do; a task that the gate makes does not."""
        outer = asyncio.current_task
        monkeypatch.setattr(asyncio, "current_task", lambda: _shell_of(outer()))

    async def test_it_is_known(self) -> None:
        assert cancellable_task() is None

    @pytest.mark.parametrize("gone", [True, False])
    async def test_it_listens_by_a_task_that_can(self, gone: bool) -> None:
        gate, client = Gate(), Client()
        asyncio.get_running_loop().call_later(0, client.gone.set if gone else gate.close)

        assert gone == await gate.listen(client.receive)


def _shell_of(task: Any) -> Any:
    """Return a shell that belongs to no loop in place of a test's own task; any other task as it is."""
    if task is None or "listen" in repr(task.get_coro()):
        return task
    return asyncio.Task.__new__(asyncio.Task)


class TestResting:
    @pytest.mark.parametrize("kind", [Gate, Bell])
    @pytest.mark.parametrize("act", ["wake", "close"])
    async def test_it_ends_when_it_is_woken_or_closed(self, kind: type[Gate], act: str) -> None:
        gate = kind()
        task = asyncio.create_task(gate.rest())
        await turns()
        before = task.done()

        getattr(gate, act)()
        await task

        assert not before
        assert gate.shut == (act == "close")

    async def test_nobody_rests_at_a_closed_gate(self) -> None:
        gate = Gate()
        gate.close()

        await gate.rest()

    async def test_a_bell_wakes_all(self) -> None:
        bell = Bell()
        tasks = [asyncio.create_task(bell.rest()) for _ in range(3)]
        await turns()

        bell.wake()

        await asyncio.gather(*tasks)


class TestOutlasting:
    async def test_a_cancellation_is_raised_once_the_task_is_done(self) -> None:
        release = asyncio.Event()
        inner = asyncio.create_task(release.wait())
        outer = asyncio.create_task(outlast(inner))
        await turns()

        for _ in range(3):
            outer.cancel()
            await turns()
        before = outer.done()
        release.set()

        with pytest.raises(asyncio.CancelledError):
            await outer
        assert (False, True) == (before, inner.result())

    async def test_an_exception_of_the_task_is_left_to_it(self) -> None:
        async def fail() -> None:
            raise OSError("broken")

        task = asyncio.create_task(fail())

        await outlast(task)

        assert "broken" == str(task.exception())
