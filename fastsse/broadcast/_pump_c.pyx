# cython: language_level=3, binding=False, freethreading_compatible=True
"""The pump, compiled: the same names in the same order as `_pump_py.py`. Waiting (`finish`) is Python in both."""

cimport cython
from cpython.object cimport PyObject

__all__ = ["Half", "Member", "begin", "sweep"]

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    PySendResult PyIter_Send(object iterator, object value, PyObject **result)
    void Py_DECREF(PyObject *)
    bint PyCoro_CheckExact(object)


cdef class Member:
    """What the pump needs to know of a subscriber: see `_pump_py.Member`."""

    cdef public object send
    cdef public long long position
    cdef public bint live
    cdef public bint itself

    def __init__(self, send, long long position, bint itself):
        self.send = send
        self.position = position
        self.itself = itself
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
            _raise()
        if outcome == PYGEN_NEXT:
            self.waits_for = _take(result)
        else:
            self.value = _take(result)
            self.done = True
            self._iterator = self.waits_for = None

    def drop(self):
        """Give it up where it stands."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


cdef inline object _take(PyObject *owned):
    """A reference that is ours becomes Cython's."""
    cdef object result = <object> owned
    Py_DECREF(owned)
    return result


cdef extern from *:
    """
    static int fastsse_error_is_set(void) { return -1; }
    """
    int _raise "fastsse_error_is_set"() except -1  # the error that is set already


cdef inline object _iterator_of(object awaitable):
    """What an awaitable is stepped by: a coroutine is its own iterator, others say."""
    if PyCoro_CheckExact(awaitable):
        return awaitable
    return type(awaitable).__await__(awaitable)


def begin(awaitable):
    """Step an awaitable once. What it raises is raised here."""
    cdef Half half = Half.__new__(Half)
    half._iterator = _iterator_of(awaitable)
    half.step()
    return half


def sweep(list members, Py_ssize_t start, Py_ssize_t stop, dict message, long long first, long long last):
    """Send one message to the members from `start` to `stop`: see `_pump_py.sweep`."""
    cdef Py_ssize_t finished = 0
    cdef Py_ssize_t index
    cdef list rest = []
    cdef Member member
    cdef Half half
    cdef object iterator
    cdef PyObject *result
    cdef PySendResult outcome
    for index in range(start, stop):
        member = <Member?> members[index]
        if not member.live:
            if member.itself:
                rest.append((member, None))
            continue
        if first:
            if member.position >= first:
                if member.position < last:
                    rest.append((member, None))
                continue
            member.position = last
        try:
            iterator = _iterator_of(member.send(message))
            result = NULL
            outcome = PyIter_Send(iterator, None, &result)
            if outcome == PYGEN_ERROR:
                _raise()
        except Exception as error:
            rest.append((member, error))
            continue
        if outcome == PYGEN_RETURN:
            Py_DECREF(result)
            finished += 1
        else:
            half = Half.__new__(Half)
            half._iterator = iterator
            half.waits_for = _take(result)
            rest.append((member, half))
    return finished, rest
