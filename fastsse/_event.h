/* The memory of the compiled Event: what cannot be said in Cython.
 *
 * The fields of an Event are member slots, which the interpreter reads in one specialised step; a property takes
 * three times as long. A pool keeps the memory of the last events that died for the next ones. An Event holds exact
 * str and int only, so it is never part of a cycle, and the garbage collector need not know of it.
 *
 * The GIL protects the pool. A build without the GIL has no pool, and allocates memory for each event. Debug builds,
 * in which the interpreter counts objects, have no pool either.
 */
#ifndef FASTSSE_EVENT_H
#define FASTSSE_EVENT_H

#include <Python.h>
#include <stddef.h>
#include <structmember.h>

/* The layout that Cython gives to `cdef class Event`; event_prepare() checks its size. */
typedef struct {
    PyObject_HEAD
    PyObject *data;
    PyObject *event;
    PyObject *id;
    PyObject *retry;
} event_object;

#if defined(Py_GIL_DISABLED) || defined(Py_REF_DEBUG) || defined(Py_TRACE_REFS)
#define EVENT_POOL 0
#else
#define EVENT_POOL 256
static event_object *event_pool[EVENT_POOL];
static size_t event_pooled = 0;
#endif

/* tp_alloc: returns an Event whose fields are NULL. */
static PyObject *event_alloc(PyTypeObject *type, Py_ssize_t Py_UNUSED(items))
{
    event_object *self;
#if EVENT_POOL
    if (event_pooled) {
        self = event_pool[--event_pooled];
        Py_SET_REFCNT((PyObject *)self, 1);
    } else
#endif
    {
        self = PyObject_New(event_object, type);
        if (self == NULL) {
            return NULL;
        }
    }
    self->data = self->event = self->id = self->retry = NULL;
    return (PyObject *)self;
}

static void event_dealloc(PyObject *object)
{
    event_object *self = (event_object *)object;
    Py_XDECREF(self->data);
    Py_XDECREF(self->event);
    Py_XDECREF(self->id);
    Py_XDECREF(self->retry);
#if EVENT_POOL
    if (event_pooled < EVENT_POOL) {
        event_pool[event_pooled++] = self;
        return;
    }
#endif
    PyObject_Free(object);
}

/* Make an Event. Takes over the reference to `data`, also when it fails; borrows the others. */
static inline PyObject *event_new(PyTypeObject *type, PyObject *data, PyObject *event, PyObject *id, PyObject *retry)
{
    event_object *self = (event_object *)event_alloc(type, 0);
    if (self == NULL) {
        Py_DECREF(data);
        return NULL;
    }
    self->data = data;
    self->event = Py_NewRef(event);
    self->id = Py_NewRef(id);
    self->retry = Py_NewRef(retry);
    return (PyObject *)self;
}

static PyMemberDef event_members[] = {
    {"data", T_OBJECT_EX, offsetof(event_object, data), READONLY, "The data buffer, lines joined by LF."},
    {"event", T_OBJECT_EX, offsetof(event_object, event), READONLY, "The event type."},
    {"id", T_OBJECT_EX, offsetof(event_object, id), READONLY, "The last event ID string at dispatch."},
    {"retry", T_OBJECT_EX, offsetof(event_object, retry), READONLY, "The reconnection time, or None."},
};

/* Give the class these functions and members. Call once, before the first Event is made. */
static int event_prepare(PyTypeObject *type)
{
    if (type->tp_basicsize != (Py_ssize_t)sizeof(event_object)) {
        PyErr_SetString(PyExc_SystemError, "Event has another layout than _event.h says");
        return -1;
    }
    type->tp_name = "fastsse.Event"; /* the name in messages */
    type->tp_alloc = event_alloc;
    type->tp_dealloc = event_dealloc;
    for (size_t i = 0; i < sizeof event_members / sizeof event_members[0]; i++) {
        PyObject *slot = PyDescr_NewMember(type, &event_members[i]);
        int failed = slot == NULL || PyDict_SetItemString(type->tp_dict, event_members[i].name, slot) < 0;
        Py_XDECREF(slot);
        if (failed) {
            return -1;
        }
    }
    PyType_Modified(type);
    return 0;
}

#endif
