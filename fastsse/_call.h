/* A short cut into a function that Cython has made.
 *
 * Cython's argument parser takes every call alike and costs as much as writing a small block. `call_shortcut`
 * puts a function before it that may look at the raw arguments first, and hand on the calls that it does not take.
 */
#ifndef FASTSSE_CALL_H
#define FASTSSE_CALL_H

#include <Python.h>

typedef PyObject *(*call_raw)(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);

/* Let calls of `function` go to `shortcut`. Returns where they went, or NULL with an exception. */
static call_raw call_shortcut(PyObject *function, call_raw shortcut)
{
    PyMethodDef *method;
    call_raw before;
    if (!PyCFunction_Check(function) || PyCFunction_GET_FLAGS(function) != (METH_FASTCALL | METH_KEYWORDS)) {
        PyErr_SetString(PyExc_SystemError, "not a function that takes its arguments raw");
        return NULL;
    }
    method = ((PyCFunctionObject *)function)->m_ml;
    before = (call_raw)(void (*)(void))method->ml_meth;
    method->ml_meth = (PyCFunction)(void (*)(void))shortcut;
    return before;
}

#endif
