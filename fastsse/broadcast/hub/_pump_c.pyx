# cython: language_level=3, binding=False, freethreading_compatible=True
"""The pump, compiled: the same names in the same order as `_pump_py.py`. `finish` is Python in both."""

cimport cython
from cpython.object cimport PyObject

from fastsse._step cimport (
    PYGEN_ERROR,
    PYGEN_NEXT,
    PYGEN_RETURN,
    PyIter_Send,
    PySendResult,
    step_call,
    step_error,
    step_iterator,
    step_taken,
)

__all__ = ["Half", "Member", "begin", "sweep"]

cdef extern from "Python.h":
    void Py_DECREF(PyObject *)
    void Py_XDECREF(PyObject *)


cdef class Member:
    """The part of a subscriber that the pump reads: see `_pump_py.Member`."""

    cdef public object send
    cdef public long long position
    cdef public bint live
    cdef public bint own_task

    def __init__(self, send, long long position, bint own_task):
        self.send = send
        self.position = position
        self.own_task = own_task
        self.live = False


@cython.final
cdef class Half:
    """An awaitable that was begun: see `_pump_py.Half`."""

    cdef object _iterator
    cdef readonly object waits_for
    cdef readonly object value
    cdef readonly bint done

    def step(self):
        """Go on to the next wait, or to the end."""
        cdef PyObject *result = NULL
        cdef PySendResult outcome = PyIter_Send(self._iterator, None, &result)
        if outcome == PYGEN_ERROR:
            step_error()
        if outcome == PYGEN_NEXT:
            self.waits_for = step_taken(result)
        else:
            self.value = step_taken(result)
            self.done = True
            self._iterator = self.waits_for = None

    def drop(self):
        """Give the awaitable up where it stands."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def begin(awaitable):
    """Step an awaitable once; an exception of the awaitable is raised here."""
    cdef Half half = Half.__new__(Half)
    half._iterator = step_iterator(awaitable)
    half.step()
    return half


def sweep(list members, Py_ssize_t start, Py_ssize_t stop, dict message, long long first, long long last):
    """Send one message to the members from `start` to `stop`: see `_pump_py.sweep`."""
    cdef Py_ssize_t finished = 0
    cdef Py_ssize_t index
    cdef list rest = []
    cdef Member member
    cdef Half half
    cdef PyObject *iterator
    cdef PyObject *result
    cdef PySendResult outcome
    for index in range(start, stop):
        member = <Member?> members[index]
        if not member.live:
            if member.own_task:
                rest.append((member, None))
            continue
        if first:
            if member.position >= first:
                if member.position < last:
                    rest.append((member, None))
                continue
            member.position = last
        outcome = step_call(member.send, message, &iterator, &result)
        if outcome == PYGEN_RETURN:
            Py_DECREF(result)
            Py_DECREF(iterator)
            finished += 1
        elif outcome == PYGEN_NEXT:
            half = Half.__new__(Half)
            half._iterator = step_taken(iterator)
            half.waits_for = step_taken(result)
            rest.append((member, half))
        else:
            Py_XDECREF(iterator)
            try:
                step_error()
            except Exception as error:
                rest.append((member, error))
    return finished, rest
