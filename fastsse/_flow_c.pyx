# cython: language_level=3, binding=False, freethreading_compatible=True
"""The flow, compiled: the same names in the same order as `_flow_py.py`."""

cimport cython
from cpython.object cimport PyObject

from fastsse._step cimport (
    PYGEN_NEXT,
    PYGEN_RETURN,
    PyIter_Send,
    PySendResult,
    step_call,
    step_error,
    step_iterator,
    step_taken,
)

import asyncio

__all__ = ["Blocks", "Outlet", "iterate"]

cdef object CancelledError = asyncio.CancelledError
cdef object get_running_loop = asyncio.get_running_loop


cdef extern from "Python.h":
    void Py_DECREF(PyObject *)
    void Py_XDECREF(PyObject *)


cdef class Blocks:
    """Blocks that wait to be taken: see `_flow_py.Blocks`."""

    cdef public list _blocks
    cdef public Py_ssize_t _size
    cdef public Py_ssize_t _limit
    cdef public object _notify
    cdef public object _room
    cdef public bint _stopped
    cdef public bint _told
    cdef public bint over

    def __init__(self, Py_ssize_t limit, notify):
        self._blocks = []
        self._limit = limit
        self._notify = notify

    @property
    def full(self):
        """True while the items wait for room."""
        return self._room is not None

    cpdef take(self):
        """Return the blocks that are ready, joined; empty when there is none."""
        cdef list blocks = self._blocks
        if not blocks:
            return b""
        self._blocks = []
        self._size = 0
        self._told = False
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    cpdef tell(self):
        """Tell the taker of blocks that are ready, once."""
        if self._blocks and not self._told:
            self._told = True
            self._notify()


@cython.final
cdef class _Iteration:
    """The awaitable of `iterate`, with all that a generator has by which a task drives it."""

    cdef Blocks _blocks
    cdef object _following
    cdef object _write
    cdef object _steps  # of what is awaited now; None between two awaits

    def __await__(self):
        return self

    def __next__(self):
        return self._go_on()

    def throw(self, kind, value=None, trace=None):
        """Raise an exception where the items wait."""
        cdef object error = kind if value is None else value
        cdef object steps = self._steps
        cdef object waits_for
        if isinstance(error, type):
            error = error()
        if not hasattr(steps, "throw"):
            self._leave()
            raise error
        try:
            waits_for = steps.throw(error)
        except StopIteration as stop:
            return self._go_on_with(stop.value)
        except StopAsyncIteration:
            self._leave()
            raise StopIteration from None
        except BaseException:
            self._leave()
            raise
        self._blocks.tell()
        return waits_for

    def close(self):
        """Give the items up where they wait."""
        cdef object steps = self._steps
        self._leave()
        if hasattr(steps, "close"):
            steps.close()

    cdef _leave(self):
        self._steps = None
        self._blocks._room = None

    cdef object _go_on_with(self, item):
        self._add(item)
        return self._go_on()

    cdef _add(self, item):
        """Take the result of what was awaited: an item, or room."""
        cdef Blocks blocks = self._blocks
        cdef object block
        self._steps = None
        if blocks._room is not None:
            blocks._room = None
            return
        if blocks._stopped:  # the items have swallowed the cancellation
            self._following = None
            return
        block = self._write(item)
        blocks._blocks.append(block)
        blocks._size += len(block)
        if blocks._size >= blocks._limit:
            blocks._room = get_running_loop().create_future()
            self._steps = step_iterator(blocks._room)

    cdef object _go_on(self):
        """Go on until something is waited for, and return it; StopIteration at the end."""
        cdef PyObject *result = NULL
        cdef PySendResult outcome
        cdef object waits_for
        while self._following is not None:
            if self._steps is None:
                self._steps = step_iterator(self._following())
            outcome = PyIter_Send(self._steps, None, &result)
            if outcome == PYGEN_RETURN:
                self._add(step_taken(result))
            elif outcome == PYGEN_NEXT:
                waits_for = step_taken(result)
                self._blocks.tell()
                return waits_for
            else:
                self._leave()
                try:
                    step_error()
                except StopAsyncIteration:
                    break
        raise StopIteration


def iterate(Blocks blocks, following, write):
    """Write items until they end or are stopped: see `_flow_py.iterate`."""
    cdef _Iteration made = _Iteration.__new__(_Iteration)
    made._blocks = blocks
    made._following = following
    made._write = write
    return made


cdef class Outlet:
    """The short way from blocks to the server's own `send`: see `_flow_py.Outlet`."""

    cdef public object _own
    cdef public object _now
    cdef public object _source
    cdef public double _sent_at
    cdef public bint _over
    cdef public bint _pending
    cdef public bint _plain

    def __init__(self, own, now):
        self._own = own
        self._now = now
        self._sent_at = now()

    def _flush(self):
        """Send what is ready, unless a send is pending: whoever made that one goes on with the rest."""
        cdef Blocks source
        if self._pending or self._over:
            return
        if not self._plain or not isinstance(self._source, Blocks):
            self._flush_all()
            return
        source = <Blocks> self._source
        if source.over or not source._blocks:
            self._flush_all()
            return
        self._send_blocks(source)

    cdef _send_blocks(self, Blocks source):
        cdef dict message
        cdef PyObject *iterator = NULL
        cdef PyObject *result = NULL
        cdef PySendResult outcome
        self._pending = True
        self._sent_at = self._now()
        message = {"type": "http.response.body", "body": source.take(), "more_body": True}
        outcome = step_call(self._own, message, &iterator, &result)
        if outcome == PYGEN_RETURN:
            Py_DECREF(result)
            Py_DECREF(iterator)
            self._pending = False
            if source._room is not None:
                self._flush_all()
        elif outcome == PYGEN_NEXT:
            self._carry_on(step_taken(iterator), step_taken(result))
        else:
            Py_XDECREF(iterator)
            try:
                step_error()
            except (Exception, CancelledError) as error:
                self._send_failed(error)
                self._pending = False
