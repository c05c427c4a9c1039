# cython: language_level=3
# What the flow and the pump step awaitables by: see _step.h.

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF as _release


cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    PySendResult PyIter_Send(object iterator, object value, PyObject **result)


cdef extern from "_step.h":
    int step_error() except -1  # the error that is set already
    object step_iterator(object awaitable)
    PySendResult step_call(object call, object message, PyObject **iterator, PyObject **result)


cdef inline object step_taken(PyObject *owned):
    """Hand a reference that is ours over to Cython."""
    cdef object result = <object> owned
    _release(result)
    return result
