# cython: language_level=3, binding=False, freethreading_compatible=True
"""The pump, compiled: the same names in the same order as `_pump_py.py`. `finish` is Python in both."""

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
            _raise()
        if outcome == PYGEN_NEXT:
            self.waits_for = _take(result)
        else:
            self.value = _take(result)
            self.done = True
            self._iterator = self.waits_for = None

    def drop(self):
        """Give the awaitable up where it stands."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


cdef inline object _take(PyObject *owned):
    """Hand a reference that is ours over to Cython."""
    cdef object result = <object> owned
    Py_DECREF(owned)
    return result


cdef extern from *:
    """
    static int fastsse_error_is_set(void) { return -1; }

    /* What an awaitable is stepped by: a coroutine is its own iterator, others say. NULL with an error. */
    static PyObject *fastsse_iterator_of(PyObject *awaitable)
    {
        PyAsyncMethods *async;
        if (PyCoro_CheckExact(awaitable))
            return Py_NewRef(awaitable);
        async = Py_TYPE(awaitable)->tp_as_async;
        if (async == NULL || async->am_await == NULL) {
            const char *name = Py_TYPE(awaitable)->tp_name;
            PyErr_Format(PyExc_TypeError, "send must return an awaitable, not %.100s", name);
            return NULL;
        }
        return async->am_await(awaitable);
    }

    /* Call and step once. *iterator is a new reference unless the call failed. */
    static PySendResult fastsse_call(
        PyObject *call, PyObject *message, PyObject **iterator, PyObject **result)
    {
        PyObject *awaitable = PyObject_CallOneArg(call, message);
        *iterator = *result = NULL;
        if (awaitable == NULL)
            return PYGEN_ERROR;
        *iterator = fastsse_iterator_of(awaitable);
        Py_DECREF(awaitable);
        if (*iterator == NULL)
            return PYGEN_ERROR;
        return PyIter_Send(*iterator, Py_None, result);
    }
    """
    int _raise "fastsse_error_is_set"() except -1  # the error that is set already
    object _iterator_of "fastsse_iterator_of"(object awaitable)
    PySendResult _call "fastsse_call"(object call, object message, PyObject **iterator, PyObject **result)


def begin(awaitable):
    """Step an awaitable once; an exception of the awaitable is raised here."""
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
        outcome = _call(member.send, message, &iterator, &result)
        if outcome == PYGEN_RETURN:
            Py_DECREF(result)
            Py_DECREF(iterator)
            finished += 1
        elif outcome == PYGEN_NEXT:
            half = Half.__new__(Half)
            half._iterator = _take(iterator)
            half.waits_for = _take(result)
            rest.append((member, half))
        else:
            Py_XDECREF(iterator)
            try:
                _raise()
            except Exception as error:
                rest.append((member, error))
    return finished, rest
