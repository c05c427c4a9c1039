/* A short cut into a function that Cython has made.
 *
 * Cython's argument parser runs at every call and costs as much as writing a small block. `call_shortcut` puts a
 * function before the parser. That function sees the raw arguments, and passes on the calls that it does not serve.
 */
#ifndef FASTSSE_CALL_H
#define FASTSSE_CALL_H

#include <Python.h>

typedef PyObject *(*call_raw)(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names);

/* Send calls of `function` to `shortcut`. Returns where they went before, or NULL with an exception. */
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
