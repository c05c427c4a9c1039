/* Stepping an awaitable once, without the task that an `await` would need. */
#ifndef FASTSSE_STEP_H
#define FASTSSE_STEP_H

#include <Python.h>

/* Raise the error that is set already, in Cython's manner. */
static int step_error(void)
{
    return -1;
}

/* Return what an awaitable is stepped by: a coroutine is its own iterator, others say. NULL with an error. */
static PyObject *step_iterator(PyObject *awaitable)
{
    PyAsyncMethods *async;
    if (PyCoro_CheckExact(awaitable))
        return Py_NewRef(awaitable);
    async = Py_TYPE(awaitable)->tp_as_async;
    if (async == NULL || async->am_await == NULL) {
        const char *name = Py_TYPE(awaitable)->tp_name;
        PyErr_Format(PyExc_TypeError, "object %.100s can't be used in 'await' expression", name);
        return NULL;
    }
    return async->am_await(awaitable);
}

/* Call and step once. *iterator is a new reference unless the call failed. */
static inline PySendResult step_call(PyObject *call, PyObject *message, PyObject **iterator, PyObject **result)
{
    PyObject *awaitable = PyObject_CallOneArg(call, message);
    *iterator = *result = NULL;
    if (awaitable == NULL)
        return PYGEN_ERROR;
    *iterator = step_iterator(awaitable);
    Py_DECREF(awaitable);
    if (*iterator == NULL)
        return PYGEN_ERROR;
    return PyIter_Send(*iterator, Py_None, result);
}

#endif
